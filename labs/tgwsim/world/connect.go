package world

import (
	"net/netip"
	"slices"
	"time"
)

// Quotas that no request raises [QUOTA].
const (
	mostPeers  = 4 // of a Connect attachment
	mostBlocks = 5 // CIDR blocks of a Transit Gateway
)

// CreateConnect makes a Connect attachment on a transport attachment. There is
// no ClientToken: repeated, it makes a second one [API; that AWS accepts several
// on one transport attachment: QUOTA].
func (w *World) CreateConnect(transportID string, tags Tags) (id string, err error) {
	err = w.change(func(s *State, now time.Time) *Error {
		t, err := s.attachment(transportID)
		if err != nil {
			return err
		}
		if t.Type != TypeVPC && t.Type != "direct-connect-gateway" { // [CONNECT]
			return refuse("InvalidParameterValue", "%s is a %s attachment, which cannot carry a Connect attachment", transportID, t.Type) // code assumed
		}
		if t.State != "available" {
			return incorrectState(transportID, t.State)
		}
		g, err := s.availableGateway(t.TransitGatewayID)
		if err != nil {
			return err
		}
		if g.Encryption != "" && g.Encryption != "disabled" { // [ENC], code assumed
			return refuse("UnsupportedOperation", "Transit Gateway %s has Encryption Support %s: Connect attachments are not supported", g.ID, g.Encryption)
		}
		id = s.NewID("tgw-attach")
		a := &Attachment{
			ID: id, TransitGatewayID: g.ID, Type: TypeConnect, TransportID: transportID,
			ResourceID: transportID, ResourceOwnerID: s.AccountID, Tags: tags, // ResourceID: assumed
		}
		a.begin("pending", "available", now, s.Delays.Create)
		s.Attachments[id] = a
		s.joinDefaults(g, a, now)
		return nil
	})
	return id, err
}

// joinDefaults associates and propagates a new attachment as its TGW's options
// say [API, DefaultRouteTableAssociation].
func (s *State) joinDefaults(g *TransitGateway, a *Attachment, now time.Time) {
	if g.DefaultAssociation != "" {
		a.TableID = g.DefaultAssociation
		a.Association.begin("associating", "associated", now, s.Delays.Create+s.Delays.Associate)
	}
	if g.DefaultPropagation != "" {
		p := &Lifecycle{}
		p.begin("enabling", "enabled", now, s.Delays.Create+s.Delays.Associate)
		a.Propagations = map[string]*Lifecycle{g.DefaultPropagation: p}
	}
}

// DeleteConnect removes a Connect attachment. Its peers must have gone before
// [CONNECT-OLD; the code is assumed].
func (w *World) DeleteConnect(id string) error {
	return w.change(func(s *State, now time.Time) *Error {
		a, err := s.attachment(id)
		if err != nil {
			return err
		}
		if a.Type != TypeConnect {
			return attachmentNotFound(id)
		}
		if a.State != "available" {
			return incorrectState(id, a.State)
		}
		for _, p := range s.ConnectPeers {
			if p.AttachmentID == id && p.State != "deleted" {
				return refuse("DependencyViolation", "%s has non-deleted Connect peers", id)
			}
		}
		a.begin("deleting", "deleted", now, s.Delays.Delete)
		return nil
	})
}

// NewConnectPeer are the parameters of CreateConnectPeer.
type NewConnectPeer struct {
	AttachmentID          string
	PeerAddress           netip.Addr
	TransitGatewayAddress netip.Addr // invalid: the first free one of the TGW's CIDR blocks [CONNECT]
	Inside                []netip.Prefix
	ASN                   uint32 // 0: the TGW's own, and so iBGP [CONNECT][API]
	Tags                  Tags
}

// CreateConnectPeer makes a Connect peer. The codes of its refusals are assumed
// where nothing else is said.
func (w *World) CreateConnectPeer(n NewConnectPeer) (id string, err error) {
	err = w.change(func(s *State, now time.Time) *Error {
		a, err := s.attachment(n.AttachmentID)
		if err != nil {
			return err
		}
		if a.Type != TypeConnect {
			return refuse("InvalidParameterValue", "%s is not a Connect attachment", a.ID)
		}
		if a.State != "available" {
			return incorrectState(a.ID, a.State)
		}
		g, err := s.availableGateway(a.TransitGatewayID)
		if err != nil {
			return err
		}
		p := &ConnectPeer{AttachmentID: a.ID, PeerAddress: n.PeerAddress, ASN: n.ASN, TransitGatewayASN: g.ASN, Tags: n.Tags}
		if p.ASN == 0 {
			p.ASN = g.ASN
		}
		if err := p.inside(n.Inside); err != nil {
			return err
		}
		if err := s.unique(g, p); err != nil {
			return err
		}
		if p.TransitGatewayAddress, err = s.outer(g, n); err != nil {
			return err
		}
		id = s.NewID("tgw-connect-peer")
		p.ID = id
		p.begin("pending", "available", now, s.Delays.Create)
		s.ConnectPeers[id] = p
		return nil
	})
	return id, err
}

// reserved are the /29s that AWS refuses [CONNECT].
var reserved = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/29"), netip.MustParsePrefix("169.254.1.0/29"), netip.MustParsePrefix("169.254.2.0/29"),
	netip.MustParsePrefix("169.254.3.0/29"), netip.MustParsePrefix("169.254.4.0/29"), netip.MustParsePrefix("169.254.5.0/29"),
	netip.MustParsePrefix("169.254.169.248/29"),
}

var (
	linkLocal   = netip.MustParsePrefix("169.254.0.0/16")
	uniqueLocal = netip.MustParsePrefix("fd00::/8")
)

// inside takes the inside CIDR blocks: exactly one /29 of 169.254.0.0/16 and at
// most one /125 of fd00::/8 [CONNECT][TF-PEER].
func (p *ConnectPeer) inside(blocks []netip.Prefix) *Error {
	for _, b := range blocks {
		switch {
		case b != b.Masked(): // assumed
			return refuse("InvalidParameterValue", "inside CIDR block %s has host bits set", b)
		case b.Addr().Is4() && !p.Inside4.IsValid() && b.Bits() == 29 && linkLocal.Contains(b.Addr()) && !slices.Contains(reserved, b):
			p.Inside4 = b
		case b.Addr().Is6() && !p.Inside6.IsValid() && b.Bits() == 125 && uniqueLocal.Contains(b.Addr()):
			p.Inside6 = b
		default:
			return refuse("InvalidParameterValue", "%s is not a legal inside CIDR block: exactly one /29 of 169.254.0.0/16 that is not reserved, and at most one /125 of fd00::/8", b)
		}
	}
	if !p.Inside4.IsValid() {
		return refuse("InvalidParameterValue", "an IPv4 inside CIDR block is required")
	}
	return nil
}

// unique checks what a new peer must not share with the live ones of its Transit
// Gateway: BGP addresses [CONNECT], and four peers are the most of an attachment
// [QUOTA].
func (s *State) unique(g *TransitGateway, p *ConnectPeer) *Error {
	peers := 0
	for _, o := range s.livePeers(g.ID) {
		if o.AttachmentID == p.AttachmentID {
			peers++
		}
		if o.Inside4.Overlaps(p.Inside4) {
			return refuse("InvalidParameterValue", "inside CIDR block %s is used by %s", p.Inside4, o.ID)
		}
		if o.Inside6.IsValid() && p.Inside6.IsValid() && o.Inside6.Overlaps(p.Inside6) {
			return refuse("InvalidParameterValue", "inside CIDR block %s is used by %s", p.Inside6, o.ID)
		}
	}
	if peers >= mostPeers {
		return refuse("TransitGatewayConnectPeerLimitExceeded", "%s has %d Connect peers, the maximum", p.AttachmentID, mostPeers)
	}
	return nil
}

// livePeers are the Connect peers of a Transit Gateway that hold addresses: all
// until they are deleted, in no order.
func (s *State) livePeers(gatewayID string) (live []*ConnectPeer) {
	for _, p := range s.ConnectPeers {
		a := s.Attachments[p.AttachmentID]
		if p.State != "deleted" && a != nil && a.TransitGatewayID == gatewayID {
			live = append(live, p)
		}
	}
	return live
}

// outer is the Transit Gateway's GRE address: of its CIDR blocks, of the peer
// address's family, and used by no other peer [CONNECT]. The pages disagree on
// the last (facts/aws.md 1.1); this is the stricter reading.
func (s *State) outer(g *TransitGateway, n NewConnectPeer) (netip.Addr, *Error) {
	used := map[netip.Addr]bool{}
	for _, p := range s.livePeers(g.ID) {
		used[p.TransitGatewayAddress] = true
	}
	if !n.PeerAddress.IsValid() {
		return netip.Addr{}, refuse("InvalidParameterValue", "the peer address is not an IP address")
	}
	if addr := n.TransitGatewayAddress; addr.IsValid() {
		switch {
		case addr.Is4() != n.PeerAddress.Is4():
			return addr, refuse("InvalidParameterValue", "%s and %s are of different address families", addr, n.PeerAddress)
		case !slices.ContainsFunc(g.CIDRBlocks, func(b netip.Prefix) bool { return b.Contains(addr) }):
			return addr, refuse("InvalidParameterValue", "%s is not in a CIDR block of %s", addr, g.ID)
		case used[addr]:
			return addr, refuse("InvalidParameterValue", "%s is used by another Connect peer", addr)
		}
		return addr, nil
	}
	for _, b := range g.CIDRBlocks {
		if b.Addr().Is4() != n.PeerAddress.Is4() {
			continue
		}
		// The first address names the network. Assumed: it is never given out.
		for addr := b.Addr().Next(); b.Contains(addr); addr = addr.Next() {
			if !used[addr] {
				return addr, nil
			}
		}
	}
	return netip.Addr{}, refuse("InsufficientFreeAddresses", "%s has no free address of the family of %s in its CIDR blocks", g.ID, n.PeerAddress)
}

// DeleteConnectPeer removes a Connect peer.
func (w *World) DeleteConnectPeer(id string) error {
	return w.change(func(s *State, now time.Time) *Error {
		p, ok := s.ConnectPeers[id]
		if !ok || p.State == "deleted" {
			return refuse("InvalidTransitGatewayConnectPeerID.NotFound", "Transit Gateway Connect Peer %s was not found", id) // [TF-PEER]
		}
		if p.State != "available" {
			return incorrectState(id, p.State)
		}
		p.begin("deleting", "deleted", now, s.Delays.Delete)
		return nil
	})
}

func (s *State) attachment(id string) (*Attachment, *Error) {
	a, ok := s.Attachments[id]
	if !ok || a.State == "deleted" {
		return nil, attachmentNotFound(id)
	}
	return a, nil
}

func attachmentNotFound(id string) *Error {
	return refuse("InvalidTransitGatewayAttachmentID.NotFound", "Transit Gateway Attachment %s was not found", id) // [TF-PEER]
}

func incorrectState(id, state string) *Error {
	return refuse("IncorrectState", "%s is in invalid state: %s", id, state) // [TF-PEER]
}

// availableGateway is a Transit Gateway that may be changed.
func (s *State) availableGateway(id string) (*TransitGateway, *Error) {
	g, ok := s.TransitGateways[id]
	switch {
	case !ok || g.State == "deleted":
		return nil, refuse("InvalidTransitGatewayID.NotFound", "Transit Gateway %s was not found", id) // [TF-PEER]
	case g.State != "available":
		return nil, incorrectState(id, g.State)
	}
	return g, nil
}
