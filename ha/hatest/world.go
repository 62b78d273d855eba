package hatest

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// epoch is when every world begins, on the monotonic clock of all hosts.
var epoch = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// Result is what a run came to.
type Result struct {
	Trace     uint64 // equal runs have equal traces
	Events    uint64
	Plans     uint64 // that differed from the one before
	Planned   uint64 // times that a core was asked
	Facts     uint64
	Outages   uint64     // times that a prefix was not reached from a region any more
	Violation *Violation // nil: every invariant held
}

// Run plays the scenario until its end or until an invariant does not hold.
func Run(s *Scenario) Result {
	return newWorld(s).run()
}

func (w *world) run() Result {
	for w.violation == nil && w.q.Len() > 0 {
		e := w.q.next()
		if e.at > w.s.Length {
			break
		}
		w.now = e.at
		w.events++
		e.do()
		w.check.step()
	}
	return Result{w.hash, w.events, w.plans, w.planned, w.facts, w.check.outages, w.violation}
}

type world struct {
	s   *Scenario
	q   queue
	now time.Duration

	hosts   []*host
	regions []*region
	sites   []*site
	fleet   []*wire // between every two hosts

	prefixes []netip.Prefix // all, in the order of plans
	index    map[netip.Prefix]int32
	siteOf   []int32 // by prefix index: whose it is; -1: of a VPC
	twinOf   []*site // by prefix index: who has it besides; nil: nobody

	check     *checker
	violation *Violation

	wireAttrs map[wireKey]*bgp.Attrs // see onWire

	hash                          uint64
	events, plans, planned, facts uint64
}

// siteKind is how a site proves that it lives.
type siteKind uint8

const (
	kindBeat  siteKind = iota // static, protocol heartbeat
	kindBFD                   // static, BFD
	kindBGP                   // BGP with BFD
	kindProbe                 // static, echo
	kindRoam                  // static, heartbeat, one session that roams between the hosts of a region
)

// site is a remote place.
type site struct {
	id       int
	name     string
	kind     siteKind
	prefixes []int32
	links    []*link
	up       bool
	talks    bool   // sends data all the time; else only keepalives, every 25 s
	at       int    // where a site that roams dials
	group    string // redundancy group: of two static sites
	twin     *site  // whose prefixes it has too
	luck     dice
}

func newWorld(s *Scenario) *world {
	w := &world{s: s, index: map[netip.Prefix]int32{}, wireAttrs: map[wireKey]*bgp.Attrs{}, hash: 14695981039346656037}
	w.check = newChecker(w)
	for r := range s.Regions {
		w.regions = append(w.regions, &region{id: r, vpc: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(r), 0}), 24)})
	}
	for i := range s.Hosts {
		w.hosts = append(w.hosts, newHost(w, i))
	}
	for a := range w.hosts {
		for b := range a {
			w.fleet = append(w.fleet, newWire(w, w.hosts[b], w.hosts[a]))
		}
	}
	for i := range s.Sites {
		w.addSite(i)
	}
	w.pairSites()
	w.listPrefixes()
	for _, h := range w.hosts {
		h.prepare()
	}
	w.check.prepare()
	for _, h := range w.hosts {
		h.start()
	}
	for _, f := range s.Faults {
		w.q.put(f.At, func() { w.inject(f) })
	}
	return w
}

func (w *world) addSite(i int) {
	o := w.s.layout(i)
	s := &site{id: i, name: fmt.Sprintf("s%05d", i), kind: o.kind, luck: o.luck, up: true, talks: o.talks, at: o.hosts[0]}
	for n, h := range o.hosts {
		s.links = append(s.links, newLink(w, w.hosts[h], s, o.backup[n]))
	}
	w.sites = append(w.sites, s)
}

// layout is what is decided of a site before the world begins.
type layout struct {
	kind   siteKind
	talks  bool
	hosts  []int  // that it has tunnels to
	backup []bool // the host is its backup
	luck   dice
}

// layout chooses the kind of a site and the hosts that it has tunnels to: one,
// two or three, mostly two, of one region or of several.
func (s *Scenario) layout(i int) layout {
	luck := s.dice("site", i)
	o := layout{talks: luck.oneIn(2)}
	switch n := luck.below(10); {
	case s.Large && n == 0:
		o.kind = kindBeat
	case s.Large && n < 6:
		o.kind = kindBFD
	case s.Large:
		o.kind = kindBGP
	default:
		o.kind = siteKind(n / 2)
	}
	first, tunnels, step := luck.below(s.Hosts), 2, 1
	if n := luck.below(6); n == 0 {
		tunnels = 1
	} else if n == 1 {
		tunnels = 3
	}
	if luck.oneIn(2) || o.kind == kindRoam {
		step = s.Regions // to the next host of the region
	}
	for n := range s.Hosts {
		h := (first + n*step) % s.Hosts
		if len(o.hosts) == tunnels || slices.Contains(o.hosts, h) || o.kind == kindRoam && h%s.Regions != first%s.Regions {
			continue
		}
		o.backup = append(o.backup, len(o.hosts) > 0 && luck.oneIn(3))
		o.hosts = append(o.hosts, h)
	}
	o.luck = luck
	return o
}

// pairSites gives some static sites a twin: another site with the same prefix.
func (w *world) pairSites() {
	for i := 1; i < len(w.sites) && !w.s.Large; i++ {
		a, b := w.sites[i-1], w.sites[i]
		static := func(s *site) bool { return s.kind == kindBFD || s.kind == kindProbe || s.kind == kindBeat }
		if static(a) && static(b) && a.group == "" && i%2 == 1 {
			a.group, b.group = a.name, a.name
			b.twin = a
		}
	}
}

// listPrefixes gives every prefix of the world its place in the order of plans.
func (w *world) listPrefixes() {
	type owned struct {
		p    netip.Prefix
		site int32
	}
	var all []owned
	for _, r := range w.regions {
		all = append(all, owned{r.vpc, -1})
	}
	for i, s := range w.sites {
		all = append(all, owned{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24), int32(s.id)})
		if i%4 == 0 {
			a := netip.MustParseAddr("2001:db8::").As16()
			a[4], a[5] = byte(i>>8), byte(i)
			all = append(all, owned{netip.PrefixFrom(netip.AddrFrom16(a), 48), int32(s.id)})
		}
	}
	slices.SortFunc(all, func(a, b owned) int { return bgp.ComparePrefix(a.p, b.p) })
	for i, o := range all {
		w.prefixes, w.siteOf = append(w.prefixes, o.p), append(w.siteOf, o.site)
		w.index[o.p] = int32(i)
		if o.site >= 0 {
			s := w.sites[o.site]
			s.prefixes = append(s.prefixes, int32(i))
		}
	}
	w.twinOf = make([]*site, len(w.prefixes))
	for _, s := range w.sites {
		if s.twin == nil {
			continue
		}
		for _, p := range s.twin.prefixes {
			w.twinOf[p] = s
			s.prefixes = append(s.prefixes, p)
		}
		slices.Sort(s.prefixes)
	}
	for _, r := range w.regions {
		r.paths = make([][]tgwPath, len(w.prefixes))
	}
}

// serves reports whether the prefix is behind the site.
func (w *world) serves(s *site, p int32) bool { return int32(s.id) == w.siteOf[p] || w.twinOf[p] == s }

// after lets something happen later.
func (w *world) after(d time.Duration, do func()) { w.q.put(w.now+d, do) }

// time is the present instant as the cores see it.
func (w *world) time() time.Time { return epoch.Add(w.now) }

// note adds to the trace: what happened, and to whom.
func (w *world) note(words ...uint64) {
	h := w.hash ^ uint64(w.now)
	for _, v := range words {
		h = (h ^ v) * 1099511628211
		h ^= h >> 29
	}
	w.hash = h
}

// What note tells apart.
const (
	tracePlan = iota
	traceFault
	traceLink
	traceSession
	traceTGW
	traceRoute
	traceFact
)

// inner is the inner address of a site.
func (s *site) inner() netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(128 + s.id>>8), byte(s.id), 1})
}

// region is one AWS region with its Transit Gateway.
type region struct {
	id    int
	vpc   netip.Prefix
	paths [][]tgwPath // by prefix index
}
