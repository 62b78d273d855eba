package routing

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// Lookups are the tables that a packet may pass: those of Transit Gateways and
// those of VPCs, each by a name that is unique among all. The caller makes them
// from Decisions and VPC route tables.
type Lookups map[string]map[netip.Prefix]Step

// Step is what one table says of a prefix: another lookup in the table Next, or
// else that the packet leaves by Hops; without any it is dropped.
type Step struct {
	Next string
	Hops []bgp.NextHop
}

// mostLookups ends loops between tables, such as a TGW's static route to a VPC
// whose route table sends it back.
const mostLookups = 8

// Flatten follows the tables that begin at start: for every prefix of any of them
// it says where packets end, so that one lookup by longest prefix does what in
// AWS are several. A prefix without hops is dropped; so is what has no route.
func (l Lookups) Flatten(start string) []bgp.Route {
	prefixes := map[netip.Prefix]bool{}
	l.reach(start, map[string]bool{}, prefixes)
	routes := make([]bgp.Route, 0, len(prefixes))
	for _, p := range slices.SortedFunc(maps.Keys(prefixes), bgp.ComparePrefix) {
		r := bgp.Route{Prefix: p, Metric: 100, NextHops: l.walk(start, p)}
		if len(r.NextHops) == 0 {
			r.Type = bgp.BlackholeRoute
		}
		routes = append(routes, r)
	}
	return routes
}

// reach collects the prefixes of all tables that start leads to. With all of them
// there is no prefix whose addresses end in different places, except by a more
// specific one in the set.
func (l Lookups) reach(table string, seen map[string]bool, prefixes map[netip.Prefix]bool) {
	if seen[table] {
		return
	}
	seen[table] = true
	for p, s := range l[table] {
		prefixes[p] = true
		if s.Next != "" {
			l.reach(s.Next, seen, prefixes)
		}
	}
}

func (l Lookups) walk(table string, p netip.Prefix) []bgp.NextHop {
	for range mostLookups {
		s, ok := longest(l[table], p)
		if !ok || s.Next == "" {
			return s.Hops
		}
		table = s.Next
	}
	return nil
}

func longest(table map[netip.Prefix]Step, p netip.Prefix) (Step, bool) {
	for bits := p.Bits(); bits >= 0; bits-- {
		if s, ok := table[netip.PrefixFrom(p.Addr(), bits).Masked()]; ok {
			return s, true
		}
	}
	return Step{}, false
}
