package routing

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// learned are the candidates of one Connect peer by prefix: the routes of its two
// sessions are merged for the peer [CONNECT], so that one peer is one way however
// many sessions brought the prefix, and there is no ECMP between them [HOW]. Which
// of two different paths counts is not documented (open point 5); here it is the
// better one.
func (t *TGW) learned(p Peer, a Attachment, paths []Path) (merged map[netip.Prefix]candidate, excess int) {
	merged = map[netip.Prefix]candidate{}
	first := map[netip.Prefix]int64{} // when the peer first had it, for the limit
	for _, path := range paths {
		if path.Peer != p.ID {
			continue
		}
		since := path.Since.UnixNano()
		if at, ok := first[path.Prefix]; !ok || since < at {
			first[path.Prefix] = since
		}
		ebgp := p.ASN != t.ASN
		// On iBGP a route is installed only if the appliance has it from an eBGP
		// neighbor, and it must carry an ASN [CONNECT].
		if !ebgp && len(path.Attrs.ASPath) == 0 {
			continue
		}
		c := candidate{
			via:   Via{Attachment: a.ID, ResourceID: a.ResourceID, Type: Connect, Peer: p.ID, NextHop: path.NextHop},
			attrs: path.Attrs, ebgp: ebgp, peerASN: p.ASN,
		}
		have, ok := merged[path.Prefix]
		if !ok || better(&c, &have) < 0 {
			merged[path.Prefix] = c
		}
	}
	limit := t.limits().FromPeer
	if len(first) <= limit {
		return merged, 0
	}
	// Assumed: what was there first stays, whatever it is.
	order := make([]netip.Prefix, 0, len(first))
	for prefix := range first {
		order = append(order, prefix)
	}
	slices.SortFunc(order, func(a, b netip.Prefix) int { return cmp.Or(cmp.Compare(first[a], first[b]), bgp.ComparePrefix(a, b)) })
	for _, prefix := range order[limit:] {
		delete(merged, prefix)
	}
	return merged, len(order) - limit
}

func (t *TGW) limits() Limits {
	l := t.Limits
	l.FromPeer, l.ToPeer, l.All = cmp.Or(l.FromPeer, DefaultLimits.FromPeer), cmp.Or(l.ToPeer, DefaultLimits.ToPeer), cmp.Or(l.All, DefaultLimits.All)
	return l
}
