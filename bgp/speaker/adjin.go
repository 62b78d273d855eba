package speaker

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// session is what is known about one configured neighbor. Fields above the
// line are guarded by Speaker.op, those below by Speaker.mu; spec is written
// with both held.
type session struct {
	spec     bgp.Neighbor
	inEngine bool // GoBGP has it
	deferred bool // timers or limit to be pushed when the session is down
	// -----
	state   bgp.NeighborState
	frame   bgp.ImportFrame
	local   netip.Addr // our end of the session, known once it is up
	up      bool
	losing  bool // its end is known before GoBGP tells of it, see Speaker.losing
	adjIn   map[nlri]entry
	refused map[nlri]denial
	count   [2]tally // of both, by family

	over       bool      // more prefixes than the limit: the session is to end
	ceaseAt    time.Time // try to end it then
	ceaseTries int

	extended   bool         // takes IPv6 next hops for IPv4, on this session, see extended.go
	retell     bool         // it may be told more than when it came up
	drops      bgp.Refusals // of the host when the session was first seen down
	dropsKnown bool

	restarting bool // GoBGP is silent because we restart, see restart.go
	expired    bool // the hold timer has

	sweepAt time.Time // drop what is still stale then; zero: nothing is stale
	pause   time.Duration
	upSince time.Time

	baseIn, baseOut, baseUpdates uint64 // of engine incarnations before this
	lastIn, lastOut, lastUpdates uint64
	missed                       time.Time // look then whether an announcement slipped through

	touched  map[nlri]struct{} // paths with an event while a copy is judged; nil: no copy
	disagree time.Time         // since when GoBGP says otherwise about up

	again   bool      // GoBGP is to try it at once, see Speaker.hurry
	hurried time.Time // when that was last so

	opens  uint64    // OPENs that GoBGP has sent, as last seen
	opened time.Time // when the latest one was seen that has brought no session, see silence
}

// entry is one accepted path, small because there may be hundreds of thousands.
type entry struct {
	shared *shared
	since  int64 // Unix nanoseconds
	stale  bool
}

func (e entry) path(neighbor string, p nlri) bgp.Path {
	return bgp.Path{
		Prefix: p.prefix, Neighbor: neighbor, ID: p.id, NextHop: e.shared.nextHop, Attrs: &e.shared.attrs,
		Since: time.Unix(0, e.since), Stale: e.stale,
	}
}

// learn applies one received path; called with mu held.
func (s *Speaker) learn(n *session, r received, now time.Time, buf []byte) []byte {
	if r.withdrawn {
		s.unlearn(n, r.nlri)
		n.unrefuse(r.nlri)
		return buf
	}
	// Over a link-local session BIRD sends :: and, behind it, the link-local next
	// hop (RFC 2545 section 3), which GoBGP does not hand on. It is the neighbor's.
	if a := n.spec.Address; a.Zone() != "" && (!r.nextHop.IsValid() || r.nextHop.IsUnspecified()) {
		r.nextHop = a.WithZone("")
	}
	why := n.spec.Import.Evaluate(n.frame, r.prefix, r.nextHop, r.attrs.ASPath)
	echo := why != "" && holdsOurs(n.frame, r.attrs.ASPath)
	if !s.admit(n, r.nlri, echo) { // what it replaces is withdrawn all the same
		s.unlearn(n, r.nlri)
		n.unrefuse(r.nlri)
		return buf
	}
	if why != "" {
		// A refused path replaces the earlier one (RFC 4271 section 9.1.2: a
		// route that is not eligible is as good as withdrawn).
		s.unlearn(n, r.nlri)
		if n.refuse(r.nlri, denial{why, echo}) {
			n.state.Rejected++
			s.out.reject(bgp.Rejected{Prefix: r.prefix, ID: r.id, Neighbor: n.spec.Name, Reason: why})
		}
		return buf
	}
	n.unrefuse(r.nlri)
	switch {
	case n.spec.Import.LocalPref != 0:
		r.attrs.LocalPref = n.spec.Import.LocalPref
	case r.attrs.LocalPref == 0 || !n.frame.Internal():
		r.attrs.LocalPref = 100
	}
	if !n.frame.Internal() && slices.Contains(r.attrs.Communities, bgp.GracefulShutdown) {
		r.attrs.LocalPref = 0 // the last choice, as the neighbor asks (RFC 8326 section 4.3)
	}
	sh, buf := s.pool.get(buf, r.nextHop, &r.attrs)
	e := entry{shared: sh, since: now.UnixNano()}
	if old, ok := n.adjIn[r.nlri]; ok {
		s.pool.put(old.shared)
		e.since = old.since
		if old.shared == sh && !old.stale {
			return buf // the same again
		}
	} else {
		n.count[familyOf(r.prefix)].own++
	}
	n.adjIn[r.nlri] = e
	s.out.path(n.spec.Name, r.nlri)
	return buf
}

// unlearn drops an accepted path; called with mu held.
func (s *Speaker) unlearn(n *session, p nlri) {
	if e, ok := n.adjIn[p]; ok {
		s.pool.put(e.shared)
		delete(n.adjIn, p)
		n.count[familyOf(p.prefix)].own--
		s.out.path(n.spec.Name, p)
	}
}

// flush drops everything a neighbor sent; called with mu held.
func (s *Speaker) flush(n *session) {
	for p, e := range n.adjIn {
		s.pool.put(e.shared)
		s.out.path(n.spec.Name, p)
	}
	n.adjIn, n.refused, n.count, n.sweepAt = map[nlri]entry{}, map[nlri]denial{}, [2]tally{}, time.Time{}
}

// markStale keeps everything for now (RFC 4724 section 4.2); mu held.
func (s *Speaker) markStale(n *session) {
	for p, e := range n.adjIn {
		if !e.stale {
			e.stale = true
			n.adjIn[p] = e
			s.out.path(n.spec.Name, p)
		}
	}
}

// sweepStale drops what was not sent again; mu held.
func (s *Speaker) sweepStale(n *session, match func(netip.Prefix) bool) {
	for p, e := range n.adjIn {
		if e.stale && match(p.prefix) {
			s.unlearn(n, p)
		}
	}
}

// AdjIn returns what the named neighbor sent, sorted by prefix: the accepted
// paths, and the refused ones with reasons.
func (s *Speaker) AdjIn(name string) ([]bgp.Path, []bgp.Rejected) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.byName[name]
	if n == nil {
		return nil, nil
	}
	paths := make([]bgp.Path, 0, len(n.adjIn))
	for p, e := range n.adjIn {
		paths = append(paths, e.path(name, p))
	}
	refused := make([]bgp.Rejected, 0, len(n.refused))
	for p, r := range n.refused {
		refused = append(refused, bgp.Rejected{Prefix: p.prefix, ID: p.id, Neighbor: name, Reason: r.why})
	}
	slices.SortFunc(paths, func(a, b bgp.Path) int { return nlri{a.Prefix, a.ID}.compare(nlri{b.Prefix, b.ID}) })
	slices.SortFunc(refused, func(a, b bgp.Rejected) int { return nlri{a.Prefix, a.ID}.compare(nlri{b.Prefix, b.ID}) })
	return paths, refused
}

// Refused returns the paths that import policy refused and whose prefix is
// wanted, sorted by prefix, then neighbor.
func (s *Speaker) Refused(wanted func(netip.Prefix) bool) []bgp.Rejected {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []bgp.Rejected
	for name, n := range s.byName {
		for p, r := range n.refused {
			if wanted(p.prefix) {
				out = append(out, bgp.Rejected{Prefix: p.prefix, ID: p.id, Neighbor: name, Reason: r.why})
			}
		}
	}
	slices.SortFunc(out, func(a, b bgp.Rejected) int {
		if c := bgp.ComparePrefix(a.Prefix, b.Prefix); c != 0 {
			return c
		}
		return cmp.Or(compareNames(a.Neighbor, b.Neighbor), cmp.Compare(a.ID, b.ID))
	})
	return out
}
