package hatest

import (
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
)

// end is one end of a BGP session: a host of ours, or a Transit Gateway.
type end struct {
	host   *host
	region *region
	n      int // which of the two sessions of a Connect peer
}

// session is a BGP session of a host with another one or with a Transit Gateway.
// What is sent arrives in order; what is lost on the way arrives when the path
// works again, if the session lives to see it.
type session struct {
	w    *world
	ends [2]end
	path func() bool
	hold time.Duration
	luck dice

	up     [2]bool
	epoch  uint32 // of the session: messages of an earlier one are void
	lost   uint32 // counts changes of the path
	arrive [2]time.Duration
	stuck  []func()
	again  bool // stuck is being sent again
	since  time.Duration
	in     [2][]*bgp.Attrs // by prefix index: what a host has from the other end
}

func newSession(w *world, luck dice, hold time.Duration, path func() bool) *session {
	return &session{w: w, path: path, hold: hold, luck: luck}
}

// ready reports whether the ends can talk.
func (s *session) ready() bool {
	for _, e := range s.ends {
		if e.host != nil && e.host.proc == nil {
			return false
		}
	}
	return s.path()
}

// seek has the ends try to connect if they are not.
func (s *session) seek() {
	if s.up[0] && s.up[1] || !s.ready() {
		return
	}
	lost, epoch := s.lost, s.epoch
	s.w.after(s.luck.between(time.Second, 4*time.Second), func() {
		if s.ready() && s.lost == lost && s.epoch == epoch && !(s.up[0] && s.up[1]) {
			s.establish()
		}
	})
}

// establish opens a new connection; an old one at either end gives way to it.
func (s *session) establish() {
	for i := range s.ends {
		s.down(i, "connection-collision")
	}
	s.epoch++
	s.up, s.since, s.stuck = [2]bool{true, true}, s.w.now, nil
	s.w.note(traceSession, uint64(s.epoch), 1)
	for i, e := range s.ends {
		if e.host == nil {
			e.region.greet(s, 1-i)
			continue
		}
		if s.in[i] == nil {
			s.in[i] = make([]*bgp.Attrs, len(s.w.prefixes))
		}
		e.host.put(ha.NeighborObserved{NeighborState: s.state(i, false)})
		e.host.greet(s, i)
	}
}

// state is what a host's speaker says about its end.
func (s *session) state(i int, complete bool) bgp.NeighborState {
	o := s.ends[1-i]
	st := bgp.NeighborState{Name: s.name(i), State: bgp.StateEstablished, Since: epoch.Add(s.since), EndOfRIB4: complete, EndOfRIB6: complete}
	if o.host != nil {
		st.Address, st.RouterID = o.host.address(), o.host.address()
	}
	return st
}

// name is what the i-th end calls the other one.
func (s *session) name(i int) string {
	if o := s.ends[1-i]; o.host != nil {
		return neighborName(o.host)
	}
	return tgwSession(s.ends[1-i].n)
}

// send has something happen at the other end, in order. last says that the
// initial table ends with it.
func (s *session) send(from int, changes []change, last bool) {
	to := 1 - from
	at := max(s.arrive[to], s.w.now+s.luck.between(2*time.Millisecond, 60*time.Millisecond))
	s.arrive[to] = at
	epoch := s.epoch
	var deliver func()
	deliver = func() {
		switch {
		case s.epoch != epoch || !s.up[to]:
		case !s.path() || len(s.stuck) > 0 && !s.again:
			s.stuck = append(s.stuck, deliver)
		default:
			s.receive(to, changes, last)
		}
	}
	s.w.q.put(at, deliver)
}

// change is what a speaker says about one prefix.
type change struct {
	prefix int32
	attrs  *bgp.Attrs // nil: withdrawn
}

func (s *session) receive(i int, changes []change, last bool) {
	e := s.ends[i]
	if e.host == nil {
		e.region.receive(s, i, changes)
		return
	}
	out := make([]bgp.PathChange, 0, len(changes))
	from, hop := s.name(i), s.ends[1-i]
	for _, c := range changes {
		p := bgp.PathChange{Path: bgp.Path{Prefix: s.w.prefixes[c.prefix], Neighbor: from}, Withdrawn: c.attrs == nil}
		if c.attrs == nil && s.in[i][c.prefix] == nil {
			continue
		}
		s.in[i][c.prefix] = c.attrs
		if c.attrs != nil {
			p.Path.Attrs, p.Path.Since = c.attrs, s.w.time()
			if hop.host != nil {
				p.Path.NextHop = hop.host.address()
			}
		}
		out = append(out, p)
	}
	if len(out) > 0 {
		e.host.put(ha.PathsChanged{Changes: out})
	}
	if last {
		e.host.put(ha.NeighborObserved{NeighborState: s.state(i, true)})
	}
}

// down ends the session at one end.
func (s *session) down(i int, reason string) {
	if !s.up[i] {
		return
	}
	s.up[i] = false
	s.w.note(traceSession, uint64(s.epoch), 0, uint64(i))
	e := s.ends[i]
	if e.host == nil {
		e.region.lose(s, i)
		return
	}
	if e.host.proc == nil {
		return
	}
	st := s.state(i, false)
	st.State, st.Reason, st.Since = bgp.StateActive, reason, s.w.time()
	e.host.put(ha.NeighborObserved{NeighborState: st})
	var gone []bgp.PathChange
	for p, a := range s.in[i] {
		if a != nil {
			s.in[i][p] = nil
			gone = append(gone, bgp.PathChange{Path: bgp.Path{Prefix: s.w.prefixes[p], Neighbor: st.Name}, Withdrawn: true})
		}
	}
	if len(gone) > 0 {
		e.host.put(ha.PathsChanged{Changes: gone})
	}
}

// close ends the session at one end, which tells the other one if it can.
func (s *session) close(i int, reason, told string) {
	if !s.up[i] {
		return
	}
	s.down(i, reason)
	s.tell(1-i, told)
	s.seek()
}

// tell lets the other end know that the session has ended.
func (s *session) tell(i int, reason string) {
	epoch := s.epoch
	s.w.after(s.luck.between(time.Millisecond, 50*time.Millisecond), func() {
		if s.epoch == epoch && s.up[i] && s.path() {
			s.down(i, reason)
			s.seek()
		}
	})
}

// died is what follows when the process at one end is gone: its kernel closes the
// connection, if there still is one.
func (s *session) died(i int) {
	s.up[i] = false
	clear(s.in[i])
	s.tell(1-i, "connection-closed")
}

// pathChanged lets hold timers run, or what was lost arrive.
func (s *session) pathChanged() {
	s.lost++
	lost, epoch := s.lost, s.epoch
	if !s.path() {
		for i := range s.ends {
			s.w.after(s.hold-s.luck.between(0, s.hold/3), func() {
				if s.lost == lost && s.epoch == epoch {
					s.down(i, "hold-timer-expired")
				}
			})
		}
		return
	}
	s.w.after(s.luck.between(200*time.Millisecond, 2*time.Second), func() {
		if s.lost != lost || s.epoch != epoch {
			return
		}
		s.again = true
		for _, deliver := range s.stuck {
			deliver()
		}
		s.again, s.stuck = false, nil
		if s.up[0] != s.up[1] { // a reset answers what comes for a session that is gone
			for i := range s.ends {
				s.down(i, "connection-reset")
			}
			s.seek()
		}
	})
	s.seek()
}
