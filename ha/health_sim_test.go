package ha

import (
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// wgSim is one end of a simulated WireGuard link with the timers of the kernel
// (drivers/net/wireguard/timers.c): enough to produce the counters that health
// judges. Packets arrive at once; filters decide which ones do.
type wgSim struct {
	far  *wgSim
	pka  time.Duration
	drop func(handshake bool) bool // packets this end sends

	rx, tx uint64
	token  int64

	born        time.Time // of the session
	initiator   bool
	unconfirmed bool // responder before the first packet

	keepaliveAt time.Time // passive keepalive
	another     bool
	newHSAt     time.Time // data was sent and nothing came back
	retryAt     time.Time
	triesUntil  time.Time
	pkaAt       time.Time
	staged      int // bytes waiting for a session
}

func (s *wgSim) alive(now time.Time) bool {
	return !s.born.IsZero() && now.Sub(s.born) < 180*time.Second
}

func (s *wgSim) lost(handshake bool) bool { return s.drop != nil && s.drop(handshake) }

// initiate sends a handshake initiation, at most every 5 s.
func (s *wgSim) initiate(now time.Time) {
	if !s.retryAt.IsZero() && now.Before(s.retryAt) {
		return
	}
	if s.triesUntil.IsZero() {
		s.triesUntil = now.Add(90 * time.Second)
	}
	s.retryAt = now.Add(5 * time.Second)
	s.tx += 148
	s.sentAny(now)
	if s.lost(true) {
		return
	}
	f := s.far
	f.rx += 148
	f.gotAny(now)
	f.tx += 92
	f.sentAny(now)
	if f.lost(true) {
		return
	}
	f.born, f.initiator, f.unconfirmed = now, false, true
	s.rx += 92
	s.gotAny(now)
	s.born, s.initiator, s.token = now, true, now.UnixNano()
	s.retryAt, s.triesUntil = time.Time{}, time.Time{}
	n := s.staged
	s.staged = 0
	s.transmit(now, n) // what waited, or the keepalive that confirms the session
}

// send sends an inner packet of n bytes; 0 is a keepalive.
func (s *wgSim) send(now time.Time, n int) {
	if !s.alive(now) || s.unconfirmed {
		s.staged = n
		s.initiate(now)
		return
	}
	s.transmit(now, n)
	if s.initiator && now.Sub(s.born) >= 120*time.Second {
		s.initiate(now)
	}
}

func (s *wgSim) transmit(now time.Time, n int) {
	size := uint64(32 + (n+15)/16*16)
	s.tx += size
	s.sentAny(now)
	s.keepaliveAt, s.another = time.Time{}, false
	if n > 0 && s.newHSAt.IsZero() {
		s.newHSAt = now.Add(15 * time.Second)
	}
	if s.lost(false) {
		return
	}
	s.far.receive(now, n, size)
}

func (s *wgSim) receive(now time.Time, n int, size uint64) {
	s.rx += size
	s.gotAny(now)
	s.newHSAt = time.Time{}
	if s.unconfirmed {
		s.unconfirmed, s.token = false, now.UnixNano()
	}
	if n > 0 {
		if s.keepaliveAt.IsZero() {
			s.keepaliveAt = now.Add(10 * time.Second)
		} else {
			s.another = true
		}
	}
	if s.initiator && now.Sub(s.born) >= 165*time.Second {
		s.initiate(now)
	}
}

func (s *wgSim) sentAny(now time.Time) { s.pkaAt = now.Add(s.pka) }
func (s *wgSim) gotAny(now time.Time)  { s.pkaAt = now.Add(s.pka) }

// run lets the timers that are due expire.
func (s *wgSim) run(now time.Time) {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	if due(s.keepaliveAt) {
		again := s.another
		s.send(now, 0)
		if again {
			s.keepaliveAt = now.Add(10 * time.Second)
		}
	}
	if due(s.newHSAt) {
		s.newHSAt = time.Time{}
		s.initiate(now)
	}
	if due(s.retryAt) && !s.triesUntil.IsZero() {
		if now.After(s.triesUntil) {
			s.retryAt, s.triesUntil, s.staged = time.Time{}, time.Time{}, 0
		} else {
			s.initiate(now)
		}
	}
	if s.pka > 0 && due(s.pkaAt) {
		s.send(now, 0)
	}
}

func (s *wgSim) state() wg.PeerState {
	return wg.PeerState{Handshake: s.token, Rx: s.rx, Tx: s.tx}
}

// linkSim is a site seen from the gateway: p is ours, q is the site.
type linkSim struct {
	t    *testing.T
	now  time.Time
	p, q *wgSim
	h    *health
	site *Site

	poll      time.Duration
	heartbeat bool // send heartbeats
	traffic   func(now time.Time, p, q *wgSim)

	nextPoll, nextBeat time.Time
	last               Judgement
	onChange           func(now time.Time, j Judgement)
}

var epoch = time.Unix(1_800_000_000, 0)

func newLinkSim(t *testing.T, site *Site, pkaP, pkaQ time.Duration) *linkSim {
	p, q := &wgSim{pka: pkaP}, &wgSim{pka: pkaQ}
	p.far, q.far = q, p
	site.Peer.Keepalive = pkaP
	l := &linkSim{t: t, now: epoch, p: p, q: q, site: site, h: newHealth(site), poll: time.Second, nextPoll: epoch, nextBeat: epoch.Add(1500 * time.Millisecond)}
	p.pkaAt, q.pkaAt = l.nextBeat, l.nextBeat
	for _, c := range site.Checks {
		l.heartbeat = l.heartbeat || c.Kind == CheckHeartbeat
	}
	return l
}

// run lets d pass in steps of 100 ms and reports every change of the judgement.
func (l *linkSim) run(d time.Duration) {
	for end := l.now.Add(d); l.now.Before(end); l.now = l.now.Add(100 * time.Millisecond) {
		l.p.run(l.now)
		l.q.run(l.now)
		if l.traffic != nil {
			l.traffic(l.now, l.p, l.q)
		}
		if l.heartbeat && !l.now.Before(l.nextBeat) {
			l.nextBeat = l.now.Add(5 * time.Second)
			l.p.send(l.now, 40)
			l.h.probe(l.now, wg.ProbeResult{ID: "s/hb", At: l.now, OK: true})
		}
		if !l.now.Before(l.nextPoll) {
			l.nextPoll = l.now.Add(l.poll)
			st := l.p.state()
			l.h.peer(l.now, &st)
		}
		j := l.h.judge(l.now)
		if j.Verdict != l.last.Verdict || j.Reason != l.last.Reason {
			if l.onChange != nil {
				l.onChange(l.now, j)
			}
			l.last = j
		}
	}
}

// until runs until the verdict is want and returns how long it took.
func (l *linkSim) until(want Verdict, limit time.Duration) time.Duration {
	l.t.Helper()
	start := l.now
	for l.now.Sub(start) < limit {
		l.run(100 * time.Millisecond)
		if l.last.Verdict == want {
			return l.now.Sub(start)
		}
	}
	l.t.Fatalf("after %s: got verdict %s (%s, %s), want %s", limit, l.last.Verdict, l.last.Reason, l.last.Detail, want)
	return 0
}

func heartbeatSite() *Site {
	return &Site{
		Name: "s", HoldDown: 10 * time.Second, IdlePolicy: IdleWithhold,
		Checks: []Check{{
			Name: "hb", Kind: CheckHeartbeat, Rise: 2, Fall: 3,
			Probe: wg.Probe{ID: "s/hb", Kind: wg.ProbeHeartbeat, Interval: 5 * time.Second},
		}},
	}
}

func handshakeSite(policy IdlePolicy) *Site {
	return &Site{Name: "s", IdlePolicy: policy, Checks: []Check{{Name: "hs", Kind: CheckHandshake}}}
}
