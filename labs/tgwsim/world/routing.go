package world

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/labs/tgwsim/routing"
)

// Routing is the configuration of a Transit Gateway as far as it decides about
// routes; nil if there is no such Transit Gateway. Only what is available
// counts: assumed.
func (s *State) Routing(gatewayID string) *routing.TGW {
	g := s.TransitGateways[gatewayID]
	if g == nil {
		return nil
	}
	t := &routing.TGW{ID: g.ID, ASN: bgp.ASN(g.ASN)}
	for _, table := range sorted(s.Tables) {
		if table.TransitGatewayID != gatewayID || table.State != "available" {
			continue
		}
		r := routing.Table{ID: table.ID}
		for _, st := range table.Static {
			r.Static = append(r.Static, routing.Static{Prefix: st.Prefix, Attachment: st.AttachmentID, Blackhole: st.Blackhole, PrefixList: st.PrefixListID})
		}
		t.Tables = append(t.Tables, r)
	}
	for _, a := range sorted(s.Attachments) {
		if a.TransitGatewayID != gatewayID || a.State != "available" && a.State != "modifying" {
			continue
		}
		r := routing.Attachment{ID: a.ID, Type: routing.Type(a.Type), ResourceID: a.ResourceID, PolicyTable: a.PolicyTableID != ""}
		if a.Association.State == "associated" {
			r.Table = a.TableID
		}
		for _, table := range slices.Sorted(maps.Keys(a.Propagations)) {
			if a.Propagations[table].State == "enabled" {
				r.Propagates = append(r.Propagates, table)
			}
		}
		if v := s.VPCs[a.ResourceID]; v != nil && a.Type == TypeVPC {
			r.Networks = v.CIDRs
		}
		t.Attachments = append(t.Attachments, r)
	}
	for _, p := range sorted(s.ConnectPeers) {
		a := s.Attachments[p.AttachmentID]
		if p.State == "available" && a != nil && a.TransitGatewayID == gatewayID {
			t.Peers = append(t.Peers, routing.Peer{ID: p.ID, Attachment: p.AttachmentID, ASN: bgp.ASN(p.ASN)})
		}
	}
	return t
}

// FromDecision is what SearchTransitGatewayRoutes shows of a decided table: an
// attachment once, however many of its peers carry the route (assumed).
func FromDecision(routes []routing.Route) []Route {
	shown := make([]Route, 0, len(routes))
	for _, r := range routes {
		w := Route{Prefix: r.Prefix, Static: r.Static, Blackhole: r.Blackhole, PrefixListID: r.PrefixList}
		for _, v := range r.Via {
			via := Via{AttachmentID: v.Attachment, ResourceID: v.ResourceID, ResourceType: string(v.Type)}
			if !slices.Contains(w.Via, via) {
				w.Via = append(w.Via, via)
			}
		}
		shown = append(shown, w)
	}
	return shown
}

// sorted are the values of a map in the order of their keys.
func sorted[V any](m map[string]V) []V {
	values := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		values = append(values, m[k])
	}
	return values
}

// Values are the values of one of State's maps, sorted by ID.
func Values[V any](m map[string]V) []V { return sorted(m) }

// hosts of a prefix, for addresses that an example gives out.
func hostOf(p netip.Prefix, n int) netip.Addr {
	a := p.Addr()
	for range n {
		a = a.Next()
	}
	return a
}
