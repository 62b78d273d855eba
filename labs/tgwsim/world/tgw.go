package world

import (
	"net/netip"
	"slices"
	"time"
)

// TransitGatewayChange are the options that ModifyTransitGateway can change.
// What is nil stays.
type TransitGatewayChange struct {
	AddBlocks, RemoveBlocks                []netip.Prefix
	Description                            *string
	ASN                                    *uint32
	VPNECMP                                *bool
	DefaultAssociation, DefaultPropagation *string // a route table, empty: off
	Encryption                             *bool
}

// ModifyTransitGateway changes options and CIDR blocks.
func (w *World) ModifyTransitGateway(id string, c TransitGatewayChange) error {
	return w.change(func(s *State, now time.Time) *Error {
		g, err := s.availableGateway(id)
		if err != nil {
			return err
		}
		blocks, err := s.changeBlocks(g, c)
		if err != nil {
			return err
		}
		if c.ASN != nil && *c.ASN != g.ASN && s.has(id, TypeConnect, "vpn", "direct-connect-gateway") { // [API]
			return refuse("IncorrectState", "%s has attachments with BGP sessions: its ASN can not be changed", id) // code assumed
		}
		if c.Encryption != nil && *c.Encryption && s.has(id, TypeConnect, TypePeering) { // [ENC], code assumed
			return refuse("UnsupportedOperation", "%s has Connect or peering attachments: Encryption Support can not be enabled", id)
		}
		for _, table := range []*string{c.DefaultAssociation, c.DefaultPropagation} {
			if table == nil || *table == "" {
				continue
			}
			if _, err := s.table(*table); err != nil {
				return err
			}
		}
		g.CIDRBlocks = blocks
		set(&g.Description, c.Description)
		set(&g.ASN, c.ASN)
		set(&g.VPNECMP, c.VPNECMP)
		set(&g.DefaultAssociation, c.DefaultAssociation) // concerns new attachments only [API]
		set(&g.DefaultPropagation, c.DefaultPropagation)
		if c.Encryption != nil {
			g.Encryption = map[bool]string{true: "enabling", false: "disabled"}[*c.Encryption]
		}
		g.begin("modifying", "available", now, s.Delays.Modify)
		return nil
	})
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// has says whether a Transit Gateway has a live attachment of one of the types.
func (s *State) has(gatewayID string, types ...string) bool {
	for _, a := range s.Attachments {
		if a.TransitGatewayID == gatewayID && a.Live() && slices.Contains(types, a.Type) {
			return true
		}
	}
	return false
}

// changeBlocks adds and removes CIDR blocks: IPv4 /24 or larger, IPv6 /64 or
// larger, not of 169.254.0.0/16, no overlap with attached VPCs [CREATE-TGW], at
// most five [QUOTA]. Codes assumed.
func (s *State) changeBlocks(g *TransitGateway, c TransitGatewayChange) ([]netip.Prefix, *Error) {
	blocks := slices.Clone(g.CIDRBlocks)
	for _, b := range c.RemoveBlocks {
		i := slices.Index(blocks, b)
		if i < 0 {
			return nil, refuse("InvalidParameterValue", "%s is no CIDR block of %s", b, g.ID)
		}
		for _, p := range s.livePeers(g.ID) {
			if b.Contains(p.TransitGatewayAddress) { // assumed
				return nil, refuse("DependencyViolation", "CIDR block %s is used by %s", b, p.ID)
			}
		}
		blocks = slices.Delete(blocks, i, i+1)
	}
	for _, b := range c.AddBlocks {
		most := 24
		if b.Addr().Is6() {
			most = 64
		}
		if b != b.Masked() || b.Bits() > most || b.Overlaps(linkLocal) {
			return nil, refuse("InvalidParameterValue", "%s is no legal CIDR block of a Transit Gateway", b)
		}
		for _, o := range blocks {
			if o.Overlaps(b) {
				return nil, refuse("InvalidParameterValue", "%s overlaps the CIDR block %s", b, o)
			}
		}
		for _, a := range s.Attachments {
			v := s.VPCs[a.ResourceID]
			if a.TransitGatewayID != g.ID || a.Type != TypeVPC || !a.Live() || v == nil {
				continue
			}
			if slices.ContainsFunc(v.CIDRs, b.Overlaps) {
				return nil, refuse("InvalidParameterValue", "%s overlaps VPC %s", b, v.ID)
			}
		}
		blocks = append(blocks, b)
	}
	if len(blocks) > mostBlocks {
		return nil, refuse("TransitGatewayCidrBlockLimitExceeded", "%s can have %d CIDR blocks", g.ID, mostBlocks)
	}
	return blocks, nil
}
