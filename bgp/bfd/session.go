package bfd

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/mmsg"
)

// session is a session while it runs.
type session struct {
	machine
	want    bgp.BFDSession
	path    *path
	to      mmsg.Sockaddr
	timer   timer
	mark    uint64
	leaving time.Duration // when it ends; zero: it is wanted
	note    string
}

// set replaces the sessions that run by those wanted.
func (l *loop) set(sessions []bgp.BFDSession) {
	l.mark++
	now := l.now()
	for _, w := range sessions {
		if s := l.byName[w.Name]; s != nil {
			s.mark = l.mark
		}
	}
	for _, s := range l.byName {
		if s.mark != l.mark && s.leaving == 0 {
			s.leaving = now + max(s.detectTime(), slow)
			l.act(s, now, s.configure(now, s.interval, s.mult, true))
		}
	}
	for _, w := range sessions {
		if err := l.want(w, now); err != nil {
			l.e.opt.Logger.Error("bfd session left out", "neighbor", w.Name, "err", err)
		}
	}
	l.e.stats.sessions.Store(uint64(len(l.byName)))
	l.flush()
}

// want makes one session what it should be.
func (l *loop) want(w bgp.BFDSession, now time.Duration) error {
	w, err := normal(w)
	s := l.byName[w.Name]
	if s != nil && (err != nil || s.want.Address != w.Address || s.want.LocalAddress != w.LocalAddress || s.want.Device != w.Device) {
		l.remove(s)
		s = nil
	}
	if err != nil {
		return err
	}
	var e effect
	if s == nil {
		if s, err = l.add(w, now); err != nil {
			return err
		}
		e = changed | sendNow
	}
	s.mark, s.leaving, s.want = l.mark, 0, w
	l.act(s, now, e|s.configure(now, w.Interval, w.Multiplier, w.AdminDown))
	return nil
}

// normal makes a wish runnable, or says why it can not be.
func normal(w bgp.BFDSession) (bgp.BFDSession, error) {
	w.Address, w.LocalAddress = w.Address.Unmap().WithZone(""), w.LocalAddress.Unmap().WithZone("")
	w.Interval, w.Multiplier = max(w.Interval, 2*tick).Truncate(time.Microsecond), max(w.Multiplier, 1)
	switch {
	case !w.Address.IsValid():
		return w, errors.New("no address")
	case w.LocalAddress.IsValid() && w.LocalAddress.Is4() != w.Address.Is4():
		return w, fmt.Errorf("%s and %s are of different families", w.LocalAddress, w.Address)
	case w.Address.IsLinkLocalUnicast() && w.Address.Is6() && w.Device == "":
		return w, fmt.Errorf("%s needs an interface", w.Address)
	}
	return w, nil
}

func (l *loop) add(w bgp.BFDSession, now time.Duration) (*session, error) {
	q := l.pathOf(w)
	q.uses++
	key := addrKey{q.port, w.Address}
	if other := l.byAddr[key]; other != nil {
		if other.leaving == 0 {
			l.release(q)
			return nil, fmt.Errorf("%s on %q is watched by %s already", w.Address, w.Device, other.want.Name)
		}
		l.remove(other)
	}
	s := &session{want: w, path: q, to: mmsg.NewSockaddr(w.Address, controlPort)}
	s.timer.owner = s
	s.interval, s.mult, s.grain = w.Interval, w.Multiplier, tick
	discr := l.e.opt.Random()
	for discr == 0 || l.byDiscr[discr] != nil {
		discr = l.e.opt.Random()
	}
	s.start(now, discr, l.e.opt.Random)
	l.byName[w.Name], l.byDiscr[discr], l.byAddr[key] = s, s, s
	return s, nil
}

func (l *loop) remove(s *session) {
	l.wheel.stop(&s.timer)
	delete(l.byName, s.want.Name)
	delete(l.byDiscr, s.local)
	q := s.path
	delete(l.byAddr, addrKey{q.port, s.want.Address})
	l.release(q)
}

// farewell is an orderly end of the process: the other ends are told that it is
// on purpose. One packet each has to do.
func (l *loop) farewell() {
	now := l.now()
	for _, s := range l.byName {
		l.act(s, now, s.configure(now, s.interval, s.mult, true))
	}
	l.flush()
}

// packet takes a received packet (RFC 5880 section 6.8.6).
func (l *loop) packet(p *port, b []byte, a arrival, at time.Duration) {
	c := &l.e.stats
	if a.ttl != gtsmTTL {
		c.ttl.Add(1)
		return
	}
	pkt, err := parse(b)
	if err != nil {
		c.invalid.Add(1)
		return
	}
	s := l.find(p, &pkt, a)
	if s == nil {
		c.foreign.Add(1)
		return
	}
	c.received.Add(1)
	l.act(s, at, s.receive(at, &pkt))
}

// find demultiplexes: by our discriminator, by address and interface until the
// other end knows it. The address must fit in either case: inside WireGuard it
// can not be forged, so no site can speak for another one.
func (l *loop) find(p *port, pkt *packet, a arrival) *session {
	if pkt.your != 0 {
		s := l.byDiscr[pkt.your]
		if s == nil || s.want.Address != a.from || s.path.port != p && s.want.Device != "" {
			return nil
		}
		return s
	}
	if s := l.byAddr[addrKey{p, a.from}]; s != nil {
		return s
	}
	return l.byAddr[addrKey{l.ports[portKey{"", p.v6}], a.from}]
}

// fire serves a session's timer.
func (l *loop) fire(s *session, now time.Duration) {
	if s.detectAt() <= now {
		// Nobody is declared dead before everything is read that arrived until
		// now.
		if l.drained < now {
			l.drain()
			if s.detectAt() > now {
				l.e.stats.late.Add(1)
			}
		}
		l.act(s, now, s.expire(now))
	}
	if s.leaving != 0 && now >= s.leaving {
		l.remove(s)
		l.e.stats.sessions.Store(uint64(len(l.byName)))
		return
	}
	if at := s.txAt(); ticks(at) <= int64(now/tick) {
		if now-at > s.txInterval() {
			l.e.stats.tardy.Add(1)
		}
		l.transmit(s, now)
	}
	l.arm(s)
}

// act does what follows from a change of the machine.
func (l *loop) act(s *session, now time.Duration, e effect) {
	if e&sendFinal != 0 {
		p := s.answer()
		l.queue(s, &p, now)
	}
	if e&sendNow != 0 && s.txAt() != never {
		l.transmit(s, now)
	}
	if e&changed != 0 {
		l.report(s)
	}
	l.arm(s)
}

// arm sets the timer to the next thing the session has to do. A detection that
// moved into the future is left where it was: it is looked at again then.
func (l *loop) arm(s *session) {
	due := min(ticks(s.txAt()), ticks(s.detectAt()))
	if s.leaving != 0 {
		due = min(due, ticks(s.leaving))
	}
	switch {
	case due == math.MaxInt64:
		l.wheel.stop(&s.timer)
	case !s.timer.armed || due < s.timer.due:
		l.wheel.set(&s.timer, due)
	}
}

// ticks is the first tick at which a moment has come.
func ticks(at time.Duration) int64 {
	if at == never {
		return math.MaxInt64
	}
	return int64((at + tick - 1) / tick)
}

func (l *loop) transmit(s *session, now time.Duration) {
	p := s.machine.transmit(now)
	l.queue(s, &p, now)
}

func (l *loop) queue(s *session, p *packet, now time.Duration) {
	q := s.path
	if err := l.open(q, now); err != nil {
		l.sent(s, err)
		return
	}
	if q.out == nil {
		q.out = new(outbox)
	}
	if !q.queued {
		q.queued = true
		l.dirty = append(l.dirty, q)
	}
	q.out.add(s, p)
	if q.out.full() {
		q.out.flush(q.fd, l.onSent)
	}
}

// sent learns whether a packet left.
func (l *loop) sent(s *session, err error) {
	if err == nil {
		l.e.stats.sent.Add(1)
	} else {
		l.e.stats.unsent.Add(1)
		s.path.port.dev.suspect = true
	}
	if note := noteOf(err); note != s.note {
		s.note = note
		l.report(s)
	}
}

func (l *loop) report(s *session) {
	if s.leaving != 0 {
		return // the owner has forgotten it
	}
	st := bgp.BFDState{
		Name: s.want.Name, State: s.state.word(), RemoteState: s.remoteState.word(), Diag: s.diag, RemoteDiag: s.remoteDiag,
		Failed: s.failed, Since: l.start.Add(s.since), LocalDiscr: s.local, RemoteDiscr: s.remote, Flaps: s.flaps, Note: s.note,
	}
	if s.heard != never {
		st.Interval, st.RemoteInterval, st.DetectTime, st.RemoteMultiplier = s.txInterval(), s.rxInterval(), s.detectTime(), s.remoteMult
	}
	l.e.opt.OnState(st)
}
