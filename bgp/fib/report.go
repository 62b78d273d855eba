package fib

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
)

// report says what is true of the wanted routes now.
func (f *FIB) report() bgp.RoutesApplied {
	a := bgp.RoutesApplied{Gen: f.gen}
	for i := range f.cells {
		c := &f.cells[i]
		s := &bgp.RouteReport{}
		switch k := -1; {
		case len(f.errs) > 0 && f.errs[int32(i)] != nil:
			err := f.errs[int32(i)]
			s.Status, s.Detail = statusOf(err), err.Error()
		case c.set >= 0 && f.t.sets[c.set].content < 0:
			s.Status, s.Detail = f.t.sets[c.set].status, f.t.sets[c.set].detail
		case c.obj != objAbsent:
			continue
		default:
			if k = f.blocked(i); k >= 0 {
				continue // the foreign route is reported below
			}
			s.Status, s.Detail = bgp.RouteFailed, "not installed"
		}
		s.Prefix, s.Metric = f.want[i].Prefix, f.want[i].Metric
		a.Reports = append(a.Reports, *s)
	}
	f.shadows(&a)
	slices.SortStableFunc(a.Reports, func(x, y bgp.RouteReport) int {
		if c := bgp.ComparePrefix(x.Prefix, y.Prefix); c != 0 {
			return c
		}
		return cmp.Compare(x.Metric, y.Metric)
	})
	a.Reports = slices.CompactFunc(a.Reports, func(x, y bgp.RouteReport) bool {
		return x.Prefix == y.Prefix && x.Metric == y.Metric
	})
	return a
}

// shadows adds what routes of others do to ours: in main, which is consulted
// first, a route wins for every prefix it covers; in our own table for exactly
// its prefix, by the lower metric. One that leads to the same device does no
// harm and is only listed.
func (f *FIB) shadows(a *bgp.RoutesApplied) {
	for k := range f.foreignMain {
		r := &f.foreignMain[k]
		hit := false
		for i := f.search(r); i < len(f.want) && covers(r, &f.want[i]); i++ {
			hit = true
			f.shadow(a, i, r)
		}
		if hit {
			a.Foreign = append(a.Foreign, f.foreign(r))
		}
	}
	for k := range f.foreignOwn {
		r := &f.foreignOwn[k]
		hit := false
		for i := f.search(r); i < len(f.want) && f.want[i].Prefix == r.prefix; i++ {
			hit = true
			if r.metric <= metricOf(&f.want[i]) {
				f.shadow(a, i, r)
			}
		}
		if hit {
			a.Foreign = append(a.Foreign, f.foreign(r))
		}
	}
	slices.SortStableFunc(a.Foreign, func(x, y bgp.ForeignRoute) int { return bgp.ComparePrefix(x.Prefix, y.Prefix) })
}

// search returns the first wanted route at or behind the prefix. What a prefix
// covers follows it without interruption in the order of bgp.ComparePrefix.
func (f *FIB) search(r *kroute) int { return searchPrefix(f.want, r) }

func searchPrefix(want []bgp.Route, r *kroute) int {
	return sort.Search(len(want), func(i int) bool { return bgp.ComparePrefix(want[i].Prefix, r.prefix) >= 0 })
}

func covers(r *kroute, w *bgp.Route) bool {
	return r.prefix.Bits() <= w.Prefix.Bits() && r.prefix.Contains(w.Prefix.Addr())
}

func (f *FIB) shadow(a *bgp.RoutesApplied, i int, r *kroute) {
	if f.sameWay(i, r) {
		return
	}
	a.Reports = append(a.Reports, bgp.RouteReport{
		Prefix: f.want[i].Prefix, Metric: f.want[i].Metric, Status: bgp.RouteShadowed, Detail: f.print(r),
	})
}

// sameWay says whether a foreign route leads where the wanted one would.
func (f *FIB) sameWay(i int, r *kroute) bool {
	s := f.cells[i].set
	if s == setBlackhole {
		return r.typ == unix.RTN_BLACKHOLE
	}
	ct := f.t.sets[s].content
	if ct < 0 || r.typ != unix.RTN_UNICAST {
		return false
	}
	parts := f.t.contents[ct].parts
	oifs := []int32{r.oif}
	if len(r.paths) > 0 {
		oifs = oifs[:0]
		for _, p := range r.paths {
			oifs = append(oifs, p.oif)
		}
	}
	for _, o := range oifs {
		if !slices.ContainsFunc(parts, func(p part) bool { return f.t.exits[p.exit].oif == o }) {
			return false
		}
	}
	return true
}

func (f *FIB) foreign(r *kroute) bgp.ForeignRoute {
	return bgp.ForeignRoute{Prefix: r.prefix, Table: r.table, Protocol: r.protocol, Detail: f.print(r)}
}

// print writes a route as iproute2 would.
func (f *FIB) print(r *kroute) string {
	var b strings.Builder
	if r.typ != unix.RTN_UNICAST {
		b.WriteString(typeName(r.typ) + " ")
	}
	b.WriteString(r.prefix.String())
	hop := func(k kpath) {
		if k.gateway.IsValid() {
			b.WriteString(" via " + k.gateway.String())
		}
		if name := f.t.names[k.oif]; name != "" {
			b.WriteString(" dev " + name)
		}
	}
	if r.nhid != 0 {
		fmt.Fprintf(&b, " nhid %d", r.nhid)
	}
	hop(kpath{r.oif, r.gateway})
	for _, p := range r.paths {
		b.WriteString(" nexthop")
		hop(p)
	}
	fmt.Fprintf(&b, " table %s proto %s", tableName(r.table), protocolName(r.protocol))
	if r.metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.metric)
	}
	return b.String()
}

func typeName(t uint8) string {
	names := map[uint8]string{
		unix.RTN_UNICAST: "unicast", unix.RTN_LOCAL: "local", unix.RTN_BROADCAST: "broadcast", unix.RTN_ANYCAST: "anycast",
		unix.RTN_MULTICAST: "multicast", unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable",
		unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw",
	}
	if n, ok := names[t]; ok {
		return n
	}
	return fmt.Sprint(t)
}

// protocolName is the name in /etc/iproute2/rt_protos.
func protocolName(p uint8) string {
	names := map[uint8]string{
		unix.RTPROT_REDIRECT: "redirect", unix.RTPROT_KERNEL: "kernel", unix.RTPROT_BOOT: "boot", unix.RTPROT_STATIC: "static",
		unix.RTPROT_RA: "ra", unix.RTPROT_ZEBRA: "zebra", unix.RTPROT_BIRD: "bird", unix.RTPROT_DHCP: "dhcp",
		unix.RTPROT_BGP: "bgp", unix.RTPROT_ISIS: "isis", unix.RTPROT_OSPF: "ospf", unix.RTPROT_RIP: "rip",
	}
	if n, ok := names[p]; ok {
		return n
	}
	return fmt.Sprint(p)
}

func tableName(t uint32) string {
	switch t {
	case unix.RT_TABLE_MAIN:
		return "main"
	case unix.RT_TABLE_LOCAL:
		return "local"
	case unix.RT_TABLE_DEFAULT:
		return "default"
	}
	return fmt.Sprint(t)
}
