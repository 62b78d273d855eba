package speaker

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

func (s *Speaker) wakeTimers() {
	select {
	case s.kickTimer <- struct{}{}:
	default:
	}
}

// runTimers does what is due: neighbors to be tried again, stale paths to be
// dropped, counters to be read.
func (s *Speaker) runTimers(ctx context.Context) {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for {
		polled := false
		select {
		case <-ctx.Done():
			return
		case <-s.kickTimer:
		case <-t.C:
		case <-poll.C:
			polled = true
		}
		next, ask := s.due(time.Now(), polled)
		t.Reset(next)
		if polled {
			s.countRefusals()
			ask = append(ask, s.share()...)
		}
		s.poll(ask)
	}
}

// due carries out what is due at now and returns how long to sleep, and the
// neighbors of which GoBGP knows something that we do not.
func (s *Speaker) due(now time.Time, polled bool) (next time.Duration, ask []string) {
	s.op.Lock()
	defer s.op.Unlock()
	next = time.Hour
	if s.stopped {
		return next, nil
	}
	s.tend()
	var enable, resend, push, hung, over, again []*session
	spoke := false
	until := func(at time.Time) bool { // reports that at has come
		if at.IsZero() {
			return false
		}
		if d := at.Sub(now); d > 0 {
			next = min(next, d)
			return false
		}
		return true
	}
	s.mu.Lock()
	for _, n := range s.byName {
		if !n.up && until(n.state.IdleUntil) {
			n.state.IdleUntil = time.Time{}
			if n.spec.Dynamic != "" {
				s.departed(n)
				continue
			}
			s.out.state(n.spec.Name)
			enable = append(enable, n)
		}
		if until(n.sweepAt) {
			n.sweepAt = time.Time{}
			s.sweepStale(n, func(netip.Prefix) bool { return true })
		}
		if until(n.missed) {
			if !n.spec.Restarting && (n.restarting || !s.wrote.Before(n.upSince)) {
				resend = append(resend, n)
			}
			n.missed = time.Time{}
		}
		if n.restarting && n.up && until(n.upSince.Add(deferral+time.Second)) {
			n.restarting, spoke = false, true
		}
		if n.deferred && !n.up || polled && !n.inEngine {
			push = append(push, n)
		}
		if n.again && n.inEngine && n.state.State == bgp.StateIdle {
			again = append(again, n)
		}
		n.again = false
		if n.inEngine && n.opening() && until(n.state.Since.Add(s.cfg.OpenWait)) {
			hung = append(hung, n)
		}
		if n.inEngine && until(n.silence(s.cfg.OpenWait)) {
			hung = append(hung, n)
		}
		if n.up && n.over && n.inEngine && until(n.ceaseAt) {
			n.ceaseAt = now.Add(ceaseAgain)
			next = min(next, ceaseAgain)
			n.ceaseTries++
			over = append(over, n)
		}
		if n.up && n.state.HoldTime == 0 {
			ask = append(ask, n.spec.Name)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(ask, compareNames)
	byName := func(a, b *session) int { return compareNames(a.spec.Name, b.spec.Name) }
	slices.SortFunc(enable, byName)
	slices.SortFunc(resend, byName)
	slices.SortFunc(push, byName)
	slices.SortFunc(hung, byName)
	slices.SortFunc(over, byName)
	slices.SortFunc(again, byName)
	for _, n := range over {
		s.mu.Lock()
		again := n.ceaseTries > 1
		s.mu.Unlock()
		if err := s.cease(n, again); err != nil {
			s.log.Error("can not end a session over its limit", "neighbor", n.spec.Name, "err", err)
		}
	}
	for _, n := range hung {
		if err := s.startOver(n); err != nil {
			s.log.Error("can not give up a connection", "neighbor", n.spec.Name, "err", err)
		}
	}
	for _, n := range again {
		if err := s.renew(n); err != nil {
			s.log.Error("can not try a neighbor at once", "neighbor", n.spec.Name, "err", err)
		}
	}
	for _, n := range enable {
		if err := s.enable(n); err != nil {
			s.log.Error("can not try a neighbor again", "neighbor", n.spec.Name, "err", err)
		}
	}
	// GoBGP reads the table for a new session a moment before it marks the
	// session as up; an announcement handed over in between reaches nobody. If
	// that may have happened, the neighbor is told everything once more.
	for _, n := range resend {
		if err := s.softOut(n); err != nil {
			s.log.Error("can not repeat announcements", "neighbor", n.spec.Name, "err", err)
		}
	}
	for _, n := range push {
		change := s.updateNeighbor
		if !n.inEngine {
			change = s.pushNeighbor
		}
		if err := change(n); err != nil {
			s.log.Error("can not change a neighbor", "neighbor", n.spec.Name, "err", err)
		}
	}
	if spoke {
		if err := s.deferring(nil); err != nil {
			s.log.Error("can not end the restart", "err", err)
		}
	}
	s.notify()
	return next, ask
}

// reasonNoAnswer is the NeighborState.Reason of a neighbor that took a
// connection and then said nothing.
const reasonNoAnswer = "no-answer"

// opening says whether a connection waits for the neighbor's words; mu held.
func (n *session) opening() bool {
	return !n.up && (n.state.State == bgp.StateOpenSent || n.state.State == bgp.StateOpenConfirm)
}

// countOpens takes the count of OPENs that were sent; mu held.
func (n *session) countOpens(sent uint64, now time.Time) {
	switch {
	case n.up || sent < n.opens: // they brought the session, or GoBGP counts anew
		n.opened = time.Time{}
	case sent > n.opens:
		n.opened = now
	}
	n.opens = sent
}

// silence is when a connection that we dialled has waited too long for the
// neighbor's OPEN; zero: none does. GoBGP waits 240 s for it and calls the neighbor
// Active meanwhile, as if there were no connection. What shows is that it has sent an
// OPEN and, although it would have dialled again, no other one since; mu held.
func (n *session) silence(wait time.Duration) time.Time {
	if n.opened.IsZero() || n.up || n.state.State != bgp.StateActive || !n.sweepAt.IsZero() {
		return time.Time{}
	}
	return n.opened.Add(wait + max(n.spec.ConnectRetry, defaultConnectRetry*time.Second))
}

// startOver takes a neighbor whose connection hangs out of GoBGP and hands it in
// again: nothing else ends that connection and its tries. op held.
func (s *Speaker) startOver(n *session) error {
	s.mu.Lock()
	n.state.State, n.state.Since, n.state.Reason = bgp.StateIdle, time.Now(), reasonNoAnswer
	s.out.state(n.spec.Name)
	s.mu.Unlock()
	s.log.Warn("neighbor does not answer", "neighbor", n.spec.Name, "reason", reasonNoAnswer)
	if n.spec.Dynamic != "" { // it may try again by itself
		s.mu.Lock()
		s.departed(n)
		s.mu.Unlock()
		return s.deleteAddress(n.spec.Address.String())
	}
	return s.renew(n)
}

// renew takes a neighbor without a session out of GoBGP and hands it in again, where
// it starts without a wait and a memory. op held.
func (s *Speaker) renew(n *session) error {
	s.mu.Lock()
	n.opens, n.opened = 0, time.Time{}
	s.mu.Unlock()
	if err := s.deletePeer(&n.spec); err != nil {
		return err
	}
	n.inEngine = false
	return s.pushNeighbor(n)
}
