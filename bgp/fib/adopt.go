package fib

import (
	"cmp"
	"net/netip"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
)

// What a route in the kernel points to, when it is not a group.
const (
	objAbsent    = -1 // not in the kernel
	objBlackhole = -2
	objOther     = -3 // something we did not make; written anew
)

const setBlackhole = -1

// cell is the mirror of one wanted route: cells[i] belongs to want[i].
type cell struct {
	set   int32 // wanted next hops, or setBlackhole
	obj   int32 // what the kernel's route points to: a group, or obj*
	stale bool  // installed with another source or type than wanted
}

// stray is a route of ours in the kernel that is not wanted.
type stray struct {
	prefix netip.Prefix
	metric uint32
	obj    int32
	source netip.Addr
	typ    uint8
	known  bool // wanted before by this process: deleted also before Complete
	double bool // a second copy of a wanted route
	gone   bool
}

func (s *stray) differs(r *bgp.Route) bool {
	return s.typ != routeType(r) || s.source != r.Source
}

func routeType(r *bgp.Route) uint8 {
	if r.Type == bgp.BlackholeRoute {
		return unix.RTN_BLACKHOLE
	}
	return unix.RTN_UNICAST
}

// metricOf is the metric as the kernel stores it: IPv6 turns 0 into 1024
// (IP6_RT_PRIO_USER).
func metricOf(r *bgp.Route) uint32 {
	if r.Metric == 0 && !r.Prefix.Addr().Is4() {
		return 1024
	}
	return r.Metric
}

func compareKey(r *bgp.Route, prefix netip.Prefix, metric uint32) int {
	if r.Prefix != prefix {
		return bgp.ComparePrefix(r.Prefix, prefix)
	}
	return cmp.Compare(metricOf(r), metric)
}

func (f *FIB) setOf(r *bgp.Route) int32 {
	if r.Type == bgp.BlackholeRoute {
		return setBlackhole
	}
	return f.t.setOf(family(r.Prefix.Addr()), r.NextHops)
}

// adopt makes next the wanted set and carries the mirror over to it by merging
// the two sorted slices. It reports whether anything differs from before.
func (f *FIB) adopt(next []bgp.Route) (changed bool) {
	old, oldCells := f.want, f.cells
	if sameRoutes(old, next) && len(oldCells) == len(next) {
		return false
	}
	cells := f.spare[:0]
	if cap(cells) < len(next) {
		cells = make([]cell, 0, len(next))
	}
	var strays []stray
	defer f.t.forgetSlices()
	f.sources = false
	j := 0
	for i := range next {
		r := &next[i]
		f.sources = f.sources || r.Source.IsValid()
		for j < len(old) && compareKey(&old[j], r.Prefix, metricOf(r)) < 0 {
			strays = retire(strays, &old[j], oldCells[j])
			changed = true
			j++
		}
		if j == len(old) || compareKey(&old[j], r.Prefix, metricOf(r)) != 0 {
			cells = append(cells, f.fresh(r))
			changed = true
			continue
		}
		o, c := &old[j], oldCells[j]
		j++
		if !sameNextHops(o, r) {
			if s := f.setOf(r); s != c.set {
				c.set, changed = s, true
			}
		}
		if o.Source != r.Source || o.Type != r.Type || o.Takeover != r.Takeover {
			c.stale, changed = c.stale || c.obj != objAbsent, true
		}
		cells = append(cells, c)
	}
	for ; j < len(old); j++ {
		strays = retire(strays, &old[j], oldCells[j])
		changed = true
	}
	if len(strays) > 0 {
		f.strays = append(f.strays, strays...)
		slices.SortStableFunc(f.strays, func(a, b stray) int {
			if c := bgp.ComparePrefix(a.prefix, b.prefix); c != 0 {
				return c
			}
			return cmp.Compare(a.metric, b.metric)
		})
	}
	f.want, f.cells, f.spare = next, cells, oldCells
	return changed
}

// sameRoutes says that two sets are the same memory, which those of successive
// plans are when no route changed.
func sameRoutes(a, b []bgp.Route) bool {
	return len(a) == len(b) && unsafe.SliceData(a) == unsafe.SliceData(b)
}

// fresh makes the cell of a route that was not wanted before. The kernel may
// hold it nevertheless: then it is no longer a stray.
func (f *FIB) fresh(r *bgp.Route) cell {
	c := cell{set: f.setOf(r), obj: objAbsent}
	if len(f.strays) == 0 {
		return c
	}
	i, ok := slices.BinarySearchFunc(f.strays, r, func(s stray, r *bgp.Route) int {
		return -compareKey(r, s.prefix, s.metric)
	})
	if ok && !f.strays[i].gone && !f.strays[i].double {
		s := &f.strays[i]
		c.obj, c.stale = s.obj, s.differs(r)
		s.gone = true
	}
	return c
}

// retire turns an installed route that is no longer wanted into a stray.
func retire(strays []stray, r *bgp.Route, c cell) []stray {
	if c.obj == objAbsent {
		return strays
	}
	s := stray{prefix: r.Prefix, metric: metricOf(r), obj: c.obj, source: r.Source, typ: routeType(r), known: true}
	if c.stale {
		s.obj = objOther // what exactly is installed is not known: write it anew if it comes back
	}
	return append(strays, s)
}

func sameNextHops(a, b *bgp.Route) bool {
	if a.Type != b.Type || len(a.NextHops) != len(b.NextHops) {
		return false
	}
	if unsafe.SliceData(a.NextHops) == unsafe.SliceData(b.NextHops) {
		return true
	}
	return slices.Equal(a.NextHops, b.NextHops)
}
