package router

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/wgbgp/wgbgp/bgp"
)

func TestSelectionIsThatOfATransitGateway(t *testing.T) {
	p := netip.MustParsePrefix("10.1.0.0/16")
	with := func(neighbor string, med int, path ...bgp.ASN) bgp.PathChange {
		a := &bgp.Attrs{ASPath: path}
		if med >= 0 {
			a.MED, a.HasMED = uint32(med), true
		}
		return bgp.PathChange{Path: bgp.Path{Prefix: p, Neighbor: neighbor, Attrs: a}}
	}
	for _, c := range []struct {
		name  string
		paths []bgp.PathChange
		want  []string
	}{
		{"equal paths share", []bgp.PathChange{with("b", 50, 65010), with("a", 50, 65010)}, []string{"a", "b"}},
		{"shorter AS_PATH wins over MED", []bgp.PathChange{with("a", 200, 65010), with("b", 10, 65010, 65010)}, []string{"a"}},
		{"lower MED wins", []bgp.PathChange{with("a", 50, 65010), with("b", 10, 65010)}, []string{"b"}},
		{"missing MED is 100", []bgp.PathChange{with("a", -1, 65010), with("b", 101, 65010)}, []string{"a"}},
		{"missing MED equals 100", []bgp.PathChange{with("a", -1, 65010), with("b", 100, 65010)}, []string{"a", "b"}},
		{"another AS_PATH of the same length does not share", []bgp.PathChange{with("a", 50, 65010), with("b", 50, 65011)}, []string{"a"}},
		{"withdrawn", []bgp.PathChange{with("a", 50, 65010), {Path: bgp.Path{Prefix: p, Neighbor: "a"}, Withdrawn: true}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rib{}
			r.update(c.paths)
			var got []string
			for _, b := range r.best(p) {
				got = append(got, b.Neighbor)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("best: got %v, want %v", got, c.want)
			}
		})
	}
}
