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
	queue    []*entry // to be worked out by the next plan, see settled.go
	spare    []*entry // the queue of the last plan, to be used again
}

type entry struct {
	prefix netip.Prefix
	sites  []*siteState // that have it configured, by name
	paths  []learned    // by neighbor name, then path identifier
	// hidden are paths of neighbors that are not configured: the speaker still
	// has them, and if they are configured again before it takes note it will
	// not tell us again. Its withdrawals end them.
	hidden []learned
	ghosts []ghost // see takeover.go
	// carried is the rank of a site's prefix that this host forwards; empty: it does
	// not.
	carried Rank
	// placed is where the last plan put the prefix: it outlives the claim until
	// the route is out of the kernel.
	placed []placing
	routed span // a route that carries traffic
	out    span // an announcement
	former []formerWay
	// host is the site whose inner address this is; never announced.
	host *siteState
	agg  *aggregateState // it is a configured aggregate
	sunk span            // the blackhole of an aggregate
	// gone is when the planner first saw the entry without any claim.
	gone time.Time
	dead bool
	// settled is the epoch in which the planner found that nothing is left to do
	// about the entry, see settled.go; 0: something is, and it is queued. routedGen
	// is the first plan with the present routes, or without any.
	settled   uint64
	queued    bool
	watchers  []*siteState // whose change unsettles it
	routedGen uint64
	waiters   []*siteState // that let another host go on, see keepWaiting
}

type learned struct {
	bgp.Path
	from     *neighborState // nil when hidden
	received *bgp.Attrs     // Attrs are those after what communities ask for
	wish     *wish
}

func (r *rib) init() { r.byPrefix = map[netip.Prefix]*entry{} }

// empty reports whether nobody claims the prefix.
func (e *entry) empty() bool {
	return len(e.sites) == 0 && len(e.paths) == 0 && e.host == nil && e.agg == nil
}

func (r *rib) get(p netip.Prefix) *entry {
	e := r.byPrefix[p]
	if e == nil {
		e = &entry{prefix: p}
		r.byPrefix[p] = e
		r.added = append(r.added, e)
		r.touch(e)
	}
	return e
}

// apply follows a batch of changes of the Adj-RIBs-In.
func (r *rib) apply(now time.Time, changes []bgp.PathChange, neighbors map[string]*neighborState, h *heeder) {
	for i := range changes {
		p := &changes[i].Path
		e := r.byPrefix[p.Prefix]
		if changes[i].Withdrawn {
			if e == nil {
				continue
			}
			r.touch(e)
			if at, ok := e.find(p); ok {
				e.haunt(now, &e.paths[at])
				e.paths = slices.Delete(e.paths, at, at+1)
			}
			e.unhide(p)
			continue
		}
		if e == nil {
			e = r.get(p.Prefix)
		}
		r.touch(e)
		from := neighbors[p.Neighbor]
		if from == nil {
			e.unhide(p)
			e.hidden = append(e.hidden, learned{Path: *p, received: p.Attrs})
			continue
		}
		l := learned{Path: *p, from: from, received: p.Attrs}
		l.heed(h)
		from.note(p.NextHop)
		if from.began.IsZero() {
			from.began = now
		}
		at, ok := e.find(p)
		if ok {
			e.paths[at] = l
		} else {
			e.paths = slices.Insert(e.paths, at, l)
		}
	}
}

// reveal gives a neighbor the paths of its name that came before it was known.
func (r *rib) reveal(n *neighborState, h *heeder) {
	for _, e := range r.byPrefix {
		for i := 0; i < len(e.hidden); {
			l := e.hidden[i]
			if l.Neighbor != n.cfg.Name {
				i++
				continue
			}
			e.hidden = slices.Delete(e.hidden, i, i+1)
			r.touch(e)
			l.from = n
			l.heed(h)
			n.note(l.NextHop)
			if at, ok := e.find(&l.Path); !ok {
				e.paths = slices.Insert(e.paths, at, l)
			}
		}
	}
}

func (e *entry) unhide(p *bgp.Path) {
	e.hidden = slices.DeleteFunc(e.hidden, func(l learned) bool { return compareSource(&l.Path, p) == 0 })
}

func (e *entry) find(p *bgp.Path) (int, bool) {
	return slices.BinarySearchFunc(e.paths, p, func(l learned, p *bgp.Path) int { return compareSource(&l.Path, p) })
}

// compareSource orders the paths to one prefix by where they came from.
func compareSource(a, b *bgp.Path) int {
	return cmp.Or(cmp.Compare(a.Neighbor, b.Neighbor), cmp.Compare(a.ID, b.ID))
}

// reconfigure replaces the configured claims and hides paths of neighbors that
// are not configured.
func (r *rib) reconfigure(sites []*siteState, neighbors map[string]*neighborState, h *heeder) {
	byName := make(map[string]*siteState, len(sites))
	for _, s := range sites {
		byName[s.cfg.Name] = s
	}
	for _, e := range r.byPrefix {
		e.sites, e.host, e.agg, e.watchers, e.waiters = nil, nil, nil, nil, nil
		e.placed = slices.DeleteFunc(e.placed, func(p placing) bool { return byName[p.site.cfg.Name] == nil })
		for i := range e.placed {
			e.placed[i].site, e.placed[i].from = byName[e.placed[i].site.cfg.Name], nil
		}
		e.ghosts = slices.DeleteFunc(e.ghosts, func(g ghost) bool { return neighbors[g.from.cfg.Name] == nil })
		for i := range e.ghosts {
			e.ghosts[i].from = neighbors[e.ghosts[i].from.cfg.Name]
		}
		all := append(e.paths, e.hidden...)
		e.paths, e.hidden = nil, nil
		for _, l := range all {
			l.from = neighbors[l.Neighbor]
			l.heed(h)
			if l.from != nil {
				l.from.note(l.NextHop)
				e.paths = append(e.paths, l)
			} else {
				e.hidden = append(e.hidden, l)
			}
		}
		slices.SortFunc(e.paths, func(a, b learned) int { return compareSource(&a.Path, &b.Path) })
	}
	for _, s := range sites { // in name order, so that entry.sites is sorted
		for _, p := range s.cfg.Prefixes {
			e := r.get(p)
			e.sites = append(e.sites, s)
		}
		for _, a := range []netip.Addr{s.cfg.Address4, s.cfg.Address6} {
			if a.IsValid() && !isLinkLocal(a) {
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
