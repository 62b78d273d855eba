package ha

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// rib is our view of the Loc-RIB: every prefix somebody offers, in prefix
// order, with who offers it. Sites offer configured prefixes, neighbors offer
// learned paths.
type rib struct {
	byPrefix map[netip.Prefix]*entry
	order    []*entry // by prefix, except for added
	added    []*entry // new since the order was last made
}

type entry struct {
	prefix netip.Prefix
	sites  []*siteState // that have it configured, by name
	paths  []learned    // by neighbor name
	// hidden are paths of neighbors that are not configured: the speaker still
	// has them, and if they are configured again before it takes note it will
	// not tell us again. Its withdrawals end them.
	hidden []learned
	// placed is where the last plan put the prefix: it outlives the claim until
	// the route is out of the kernel.
	placed []placing
	routed span // a route that carries traffic
	out    span // an announcement
	// host is the site whose inner address this is; never announced.
	host *siteState
	// gone is when the planner first saw the entry without any claim.
	gone time.Time
	dead bool
}

type learned struct {
	bgp.Path
	from *neighborState // nil when hidden
}

func (r *rib) init() { r.byPrefix = map[netip.Prefix]*entry{} }

func (e *entry) empty() bool { return len(e.sites) == 0 && len(e.paths) == 0 && e.host == nil }

func (r *rib) get(p netip.Prefix) *entry {
	e := r.byPrefix[p]
	if e == nil {
		e = &entry{prefix: p}
		r.byPrefix[p] = e
		r.added = append(r.added, e)
	}
	return e
}

// apply follows a batch of changes of the Adj-RIBs-In.
func (r *rib) apply(changes []bgp.PathChange, neighbors map[string]*neighborState) {
	for i := range changes {
		p := &changes[i].Path
		e := r.byPrefix[p.Prefix]
		if changes[i].Withdrawn {
			if e == nil {
				continue
			}
			if at, ok := e.find(p.Neighbor); ok {
				e.paths = slices.Delete(e.paths, at, at+1)
			}
			e.unhide(p.Neighbor)
			continue
		}
		if e == nil {
			e = r.get(p.Prefix)
		}
		from := neighbors[p.Neighbor]
		if from == nil {
			e.unhide(p.Neighbor)
			e.hidden = append(e.hidden, learned{*p, nil})
			continue
		}
		at, ok := e.find(p.Neighbor)
		if ok {
			e.paths[at] = learned{*p, from}
		} else {
			e.paths = slices.Insert(e.paths, at, learned{*p, from})
		}
	}
}

func (e *entry) unhide(neighbor string) {
	e.hidden = slices.DeleteFunc(e.hidden, func(l learned) bool { return l.Neighbor == neighbor })
}

func (e *entry) find(neighbor string) (int, bool) {
	return slices.BinarySearchFunc(e.paths, neighbor, func(l learned, n string) int { return cmp.Compare(l.Neighbor, n) })
}

// reconfigure replaces the configured claims and hides paths of neighbors that
// are not configured.
func (r *rib) reconfigure(sites []*siteState, neighbors map[string]*neighborState) {
	byName := make(map[string]*siteState, len(sites))
	for _, s := range sites {
		byName[s.cfg.Name] = s
	}
	for _, e := range r.byPrefix {
		e.sites, e.host = nil, nil
		e.placed = slices.DeleteFunc(e.placed, func(p placing) bool { return byName[p.site.cfg.Name] == nil })
		for i := range e.placed {
			e.placed[i].site = byName[e.placed[i].site.cfg.Name]
		}
		all := append(e.paths, e.hidden...)
		e.paths, e.hidden = nil, nil
		for _, l := range all {
			if l.from = neighbors[l.Neighbor]; l.from != nil {
				e.paths = append(e.paths, l)
			} else {
				e.hidden = append(e.hidden, l)
			}
		}
		slices.SortFunc(e.paths, func(a, b learned) int { return cmp.Compare(a.Neighbor, b.Neighbor) })
	}
	for _, s := range sites { // in name order, so that entry.sites is sorted
		for _, p := range s.cfg.Prefixes {
			e := r.get(p)
			e.sites = append(e.sites, s)
		}
		for _, a := range []netip.Addr{s.cfg.Address4, s.cfg.Address6} {
			if a.IsValid() {
				r.get(netip.PrefixFrom(a, a.BitLen())).host = s
			}
		}
	}
}

// sorted returns all entries in prefix order; new ones are merged in once.
func (r *rib) sorted() []*entry {
	if len(r.added) == 0 {
		return r.order
	}
	less := func(a, b *entry) int { return bgp.ComparePrefix(a.prefix, b.prefix) }
	slices.SortFunc(r.added, less)
	merged := make([]*entry, 0, len(r.order)+len(r.added))
	i, j := 0, 0
	for i < len(r.order) && j < len(r.added) {
		if less(r.order[i], r.added[j]) < 0 {
			merged = append(merged, r.order[i])
			i++
		} else {
			merged = append(merged, r.added[j])
			j++
		}
	}
	merged = append(merged, r.order[i:]...)
	merged = append(merged, r.added[j:]...)
	r.order, r.added = merged, nil
	return merged
}

// forget drops entries marked dead.
func (r *rib) forget(any bool) {
	if !any {
		return
	}
	r.order = slices.DeleteFunc(r.order, func(e *entry) bool {
		if e.dead {
			delete(r.byPrefix, e.prefix)
		}
		return e.dead
	})
}
