package router

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// missingMED is what a Transit Gateway takes for a path without MED
// (facts of the AWS documentation, "route priority").
const missingMED = 100

// rib holds every path by prefix and neighbor.
type rib map[netip.Prefix]map[string]bgp.Path

func (r rib) update(changes []bgp.PathChange) {
	for _, c := range changes {
		p := c.Path.Prefix
		if c.Withdrawn {
			delete(r[p], c.Path.Neighbor)
			if len(r[p]) == 0 {
				delete(r, p)
			}
			continue
		}
		if r[p] == nil {
			r[p] = map[string]bgp.Path{}
		}
		r[p][c.Path.Neighbor] = c.Path
	}
}

func (r rib) prefixes() []netip.Prefix {
	return slices.SortedFunc(maps.Keys(r), bgp.ComparePrefix)
}

// best are the paths a Transit Gateway would use: the shortest AS_PATH, among
// these the lowest MED, and all of these whose AS_PATH is the same. They are
// sorted by neighbor.
func (r rib) best(p netip.Prefix) []bgp.Path {
	var best []bgp.Path
	for _, path := range slices.SortedFunc(maps.Values(r[p]), func(a, b bgp.Path) int { return cmp.Compare(a.Neighbor, b.Neighbor) }) {
		c := -1
		if len(best) > 0 {
			c = comparePaths(path, best[0])
		}
		switch {
		case c < 0:
			best = []bgp.Path{path}
		case c == 0 && slices.Equal(path.Attrs.ASPath, best[0].Attrs.ASPath):
			best = append(best, path)
		}
	}
	return best
}

func comparePaths(a, b bgp.Path) int {
	return cmp.Or(cmp.Compare(len(a.Attrs.ASPath), len(b.Attrs.ASPath)), cmp.Compare(med(a), med(b)))
}

func med(p bgp.Path) uint32 {
	if !p.Attrs.HasMED {
		return missingMED
	}
	return p.Attrs.MED
}
