package routing

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// RouteServerPath is what a peer of a VPC Route Server announced.
type RouteServerPath struct {
	Peer    string
	Prefix  netip.Prefix
	NextHop netip.Addr // an interface's address in the VPC
	Attrs   *bgp.Attrs
}

// RouteServerRoutes chooses what a VPC Route Server writes into route tables: one
// next hop per prefix, because a VPC route table has no ECMP, by AS_PATH length,
// then the lowest MED, of which 0 is the best and what a path without has
// [RS-HOW; the order before MED is assumed]. The last resort is the lowest next
// hop (assumed). Of a peer with more than limit prefixes none beyond the limit
// count [VPC-QUOTA: 100, fixed; what happens to the others is assumed].
func RouteServerRoutes(paths []RouteServerPath, limit int) (best []RouteServerPath) {
	perPeer := map[string]int{}
	chosen := map[netip.Prefix]RouteServerPath{}
	paths = slices.Clone(paths)
	slices.SortStableFunc(paths, func(a, b RouteServerPath) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
	for _, p := range paths {
		if perPeer[p.Peer]++; perPeer[p.Peer] > limit {
			continue
		}
		have, ok := chosen[p.Prefix]
		if !ok || cmp.Or(
			cmp.Compare(len(p.Attrs.ASPath), len(have.Attrs.ASPath)),
			cmp.Compare(p.Attrs.MED, have.Attrs.MED), // 0 without one
			p.NextHop.Compare(have.NextHop)) < 0 {
			chosen[p.Prefix] = p
		}
	}
	for _, prefix := range slices.SortedFunc(maps.Keys(chosen), bgp.ComparePrefix) {
		best = append(best, chosen[prefix])
	}
	return best
}
