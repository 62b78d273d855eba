package ha

import (
	"fmt"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

const sec = time.Second

// healthyLinks are the rows of the measurements that showed how counters
// mislead: keepalives of both ends and one-way traffic.
var healthyLinks = []struct {
	name       string
	pkaP, pkaQ time.Duration
	traffic    func() func(time.Time, *wgSim, *wgSim)
}{
	{"keepalive 5/5 idle", 5 * sec, 5 * sec, nil},
	{"keepalive 1/1 idle", sec, sec, nil},
	{"keepalive 25/25 idle", 25 * sec, 25 * sec, nil},
	{"keepalive only here", 25 * sec, 0, nil},
	{"keepalive only there", 0, 25 * sec, nil},
	{"no keepalive at all", 0, 0, nil},
	{"one-way out", sec, sec, func() func(time.Time, *wgSim, *wgSim) {
		return func(now time.Time, p, _ *wgSim) { p.send(now, 100) }
	}},
	{"one-way in", 0, 0, func() func(time.Time, *wgSim, *wgSim) {
		return func(now time.Time, _, q *wgSim) { q.send(now, 100) }
	}},
	{"answer of 208 bytes each second", 0, 0, func() func(time.Time, *wgSim, *wgSim) {
		var next time.Time
		return func(now time.Time, _, q *wgSim) {
			if !now.Before(next) { // 240 bytes received: as much as two handshake messages
				next = now.Add(sec)
				q.send(now, 208)
			}
		}
	}},
}

func TestHealthyLinksStayUpUnderHeartbeat(t *testing.T) {
	for _, c := range healthyLinks {
		for _, poll := range []time.Duration{sec, 5 * sec} {
			t.Run(fmt.Sprintf("%s/poll %s", c.name, poll), func(t *testing.T) {
				l := newLinkSim(t, heartbeatSite(), c.pkaP, c.pkaQ)
				l.poll = poll
				if c.traffic != nil {
					l.traffic = c.traffic()
				}
				limit := 2*poll + 2*sec
				if c.traffic != nil {
					limit = 10*sec + poll // a session from before the first poll has to show life
				}
				if took := l.until(Up, 30*sec); took > limit {
					t.Errorf("first up after %s, want at most %s", took, limit)
				}
				l.onChange = func(now time.Time, j Judgement) {
					t.Errorf("at %s: got %s %s %q, want no change", now.Sub(epoch), j.Verdict, j.Reason, j.Detail)
				}
				l.run(time.Hour)
			})
		}
	}
}

func always(bool) bool             { return true }
func dataOnly(handshake bool) bool { return !handshake }

func TestHeartbeatFindsDeadLinks(t *testing.T) {
	none := func(bool) bool { return false }
	for _, c := range []struct {
		name         string
		pkaQ         time.Duration
		pDrop, qDrop func(bool) bool
		from, to     time.Duration
		reason       Reason
		state        string
	}{
		{"site to us dropped", 5 * sec, none, always, 22 * sec, 30 * sec, ReasonRxStall, "stalled"},
		// Passive keepalives for packets of before the cut still come for 20 s.
		{"us to site dropped, site silent", 0, always, none, 22 * sec, 48 * sec, ReasonRxStall, "stalled"},
		{"both dropped", 25 * sec, always, always, 12 * sec, 30 * sec, ReasonRxStall, "stalled"},
		{"us to site dropped, site talks by itself", 5 * sec, always, none, 60 * sec, 200 * sec, ReasonHandshake, "down"},
		{"handshakes pass, data of both dropped", 0, dataOnly, dataOnly, 35 * sec, 70 * sec, ReasonRxStall, "stalled"},
		{"handshakes pass, data to us dropped", 5 * sec, none, dataOnly, 35 * sec, 70 * sec, ReasonRxStall, "stalled"},
	} {
		for _, poll := range []time.Duration{sec, 5 * sec} {
			t.Run(fmt.Sprintf("%s/poll %s", c.name, poll), func(t *testing.T) {
				l := newLinkSim(t, heartbeatSite(), 0, c.pkaQ)
				l.poll = poll
				l.until(Up, 30*sec)
				l.run(time.Minute)
				l.p.drop, l.q.drop = c.pDrop, c.qDrop
				took := l.until(Down, 4*time.Minute)
				if took < c.from || took > c.to {
					t.Errorf("down after %s, want %s to %s", took, c.from, c.to)
				}
				if l.last.Reason != c.reason || l.last.PeerState != c.state {
					t.Errorf("got reason %s, peer %s (%s); want %s, %s", l.last.Reason, l.last.PeerState, l.last.Detail, c.reason, c.state)
				}
				l.onChange = func(now time.Time, j Judgement) {
					if j.Verdict != Down {
						t.Errorf("at %s: got %s while nothing passes", now.Sub(epoch), j.Verdict)
					}
				}
				l.run(10 * time.Minute)
				l.onChange = nil
				l.p.drop, l.q.drop = nil, nil
				back := l.until(Up, 2*time.Minute)
				if back < l.site.HoldDown {
					t.Errorf("up again after %s, want not before the hold-down of %s", back, l.site.HoldDown)
				}
			})
		}
	}
}

func TestStallBecomesLostSession(t *testing.T) {
	l := newLinkSim(t, heartbeatSite(), 0, 0)
	l.until(Up, 30*sec)
	l.p.drop, l.q.drop = always, always
	l.until(Down, time.Minute)
	if l.last.Reason != ReasonRxStall {
		t.Errorf("while the session stands: got %s, want %s", l.last.Reason, ReasonRxStall)
	}
	since := l.last.Since
	l.run(200 * sec)
	if l.last.Reason != ReasonHandshake || l.last.PeerState != "down" || !l.last.Since.Equal(since) {
		t.Errorf("after 180 s: got %s, peer %s, since %s; want %s, down, %s", l.last.Reason, l.last.PeerState, l.last.Since, ReasonHandshake, since)
	}
}

func TestSilenceWithoutHeartbeatProvesNothing(t *testing.T) {
	// Heartbeats that can not be sent must not kill the site by silence: it
	// becomes not-measurable, and says so.
	l := newLinkSim(t, heartbeatSite(), 0, 0)
	l.until(Up, 30*sec)
	l.heartbeat = false
	var reasons []Reason
	l.onChange = func(_ time.Time, j Judgement) { reasons = append(reasons, j.Reason) }
	if took := l.until(Suspect, time.Minute); took < 11*sec || took > 17*sec {
		t.Errorf("suspect after %s, want three intervals and a margin: 16 s", took)
	}
	if took := l.until(Down, time.Minute); took < 15*sec || took > 17*sec {
		t.Errorf("down %s after suspect, want as long again", took)
	}
	for _, r := range reasons {
		if r != ReasonStale {
			t.Errorf("got reasons %v, want only %s", reasons, ReasonStale)
		}
	}
}

func TestNoWallClockInHandshake(t *testing.T) {
	// The token is a wall-clock time; an hour to and fro changes nothing.
	for _, jump := range []time.Duration{time.Hour, -time.Hour, -100 * 24 * time.Hour} {
		l := newLinkSim(t, heartbeatSite(), 0, 0)
		l.until(Up, 30*sec)
		l.onChange = func(now time.Time, j Judgement) {
			t.Errorf("step of %s: at %s got %s %s", jump, now.Sub(epoch), j.Verdict, j.Reason)
		}
		var off int64
		for i := range 600 {
			if i == 100 {
				off = int64(jump)
			}
			l.run(900 * time.Millisecond)
			st := l.p.state()
			st.Handshake += off
			l.nextPoll = l.now.Add(time.Hour) // the poll is ours
			l.h.peer(l.now, &st)
		}
	}
}

// hand feeds counters by hand.
type hand struct {
	t   *testing.T
	h   *health
	now time.Time
	p   wg.PeerState
}

func (d *hand) pass(by time.Duration) { d.now = d.now.Add(by) }

func (d *hand) beat() {
	d.h.probe(d.now, wg.ProbeResult{ID: "s/hb", At: d.now, OK: true})
}

func (d *hand) see(rx, tx uint64, token int64) Judgement {
	d.p.Rx, d.p.Tx, d.p.Handshake = d.p.Rx+rx, d.p.Tx+tx, token
	d.h.peer(d.now, &d.p)
	return d.h.judge(d.now)
}

func (d *hand) want(j Judgement, v Verdict, r Reason) {
	d.t.Helper()
	if j.Verdict != v || j.Reason != r {
		d.t.Errorf("at %s: got %s %q (%s), want %s %q", d.now.Sub(epoch), j.Verdict, j.Reason, j.Detail, v, r)
	}
}

func TestAdoptedDeviceProvesItselfByProgress(t *testing.T) {
	d := &hand{t: t, h: newHealth(heartbeatSite()), now: epoch}
	d.want(d.h.judge(d.now), Down, ReasonUnknown)
	d.beat()
	d.want(d.see(5000, 5000, 77), Down, ReasonUnknown) // adopted: counters and token of before
	d.pass(sec)
	d.want(d.see(0, 64, 77), Down, ReasonUnknown)
	d.pass(sec)
	d.want(d.see(92, 64, 77), Down, ReasonUnknown) // a late response is no data
	d.pass(sec)
	d.want(d.see(32, 64, 77), Up, ReasonNone) // heard, with a session
}

func TestReplayedInitiationDoesNotProveLife(t *testing.T) {
	d := &hand{t: t, h: newHealth(heartbeatSite()), now: epoch}
	d.see(0, 0, 0)
	for range 30 {
		d.pass(sec)
		d.beat()
		j := d.see(148, 92, 0)
		if j.Verdict != Down {
			t.Fatalf("got %s, want %s: no handshake ever completed", j.Verdict, Down)
		}
	}
	d.want(d.h.judge(d.now), Down, ReasonHandshake)
}

func TestRecreatedPeerIsUnknownAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		p    wg.PeerState
	}{
		{"counters back to zero", wg.PeerState{}},
		{"received less", wg.PeerState{Rx: 10, Tx: 100000, Handshake: 2}},
		{"sent less", wg.PeerState{Rx: 100000, Tx: 10, Handshake: 2}},
		{"handshake gone", wg.PeerState{Rx: 100000, Tx: 100000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &hand{t: t, h: newHealth(heartbeatSite()), now: epoch}
			d.beat()
			d.see(1000, 1000, 1)
			d.pass(sec)
			d.want(d.see(64, 64, 2), Up, ReasonNone)
			for range 12 {
				d.pass(5 * sec)
				d.beat()
				d.want(d.see(32, 64, 2), Up, ReasonNone)
			}
			d.p = c.p
			d.want(d.see(0, 0, c.p.Handshake), Down, ReasonUnknown)
			d.pass(sec)
			d.want(d.see(92, 148, 3), Up, ReasonNone)
		})
	}
}

func TestPeerThatOnlyTalksDoesNotHealALostSession(t *testing.T) {
	// Its packets arrive here and ours do not arrive there: the session we know
	// grows old, and more received packets are no cure.
	d := &hand{t: t, h: newHealth(heartbeatSite()), now: epoch}
	d.see(0, 0, 0)
	d.pass(sec)
	d.beat()
	d.want(d.see(92, 148, 1), Up, ReasonNone)
	for s := 5; s <= 400; s += 5 {
		d.pass(5 * sec)
		d.beat()
		if j := d.see(32, 64, 1); s < 190 {
			d.want(j, Up, ReasonNone)
		} else {
			d.want(j, Down, ReasonHandshake)
		}
	}
	d.pass(sec)
	d.want(d.see(32+92, 64, 2), Down, ReasonHoldDown)
}

func TestSilenceWhileNothingIsSentIsNotDeath(t *testing.T) {
	d := &hand{t: t, h: newHealth(heartbeatSite()), now: epoch}
	d.see(0, 0, 0)
	d.pass(sec)
	d.beat()
	d.want(d.see(92, 148, 1), Up, ReasonNone)
	for s := 1; s < 40; s++ {
		d.pass(sec)
		j := d.see(0, 0, 1)
		switch {
		case s < 16:
			d.want(j, Up, ReasonNone)
		case s < 32:
			d.want(j, Suspect, ReasonStale)
		default:
			d.want(j, Down, ReasonStale)
		}
	}
}

func TestIdlePeerIsIdleByPolicy(t *testing.T) {
	for _, policy := range []IdlePolicy{IdleAnnounce, IdleWithhold} {
		l := newLinkSim(t, handshakeSite(policy), 0, 0)
		l.run(time.Hour)
		if l.last.Verdict != Idle || l.last.PeerState != "idle" {
			t.Errorf("%s: got %s %s, want idle", policy, l.last.Verdict, l.last.Reason)
		}
		if got, want := l.last.announceable(policy), policy == IdleAnnounce; got != want {
			t.Errorf("%s: announceable %v, want %v", policy, got, want)
		}
		// Traffic proves it, and some time after the traffic nothing is known again.
		l.p.send(l.now, 100)
		l.until(Up, 5*sec)
		if took := l.until(Idle, 5*time.Minute); took < 185*sec || took > 195*sec {
			t.Errorf("%s: idle %s after the last packet, want 190 s", policy, took)
		}
	}
}

func TestIdlePeerThatDoesNotAnswerIsDown(t *testing.T) {
	l := newLinkSim(t, handshakeSite(IdleAnnounce), 0, 0)
	l.run(sec)
	l.p.send(l.now, 100)
	l.until(Up, 5*sec)
	l.run(5 * time.Minute)
	l.q.drop = always
	l.p.send(l.now, 100)
	if took := l.until(Down, time.Minute); took < 15*sec || took > 25*sec || l.last.Reason != ReasonHandshake {
		t.Errorf("down after %s by %s, want 15-25 s by %s", took, l.last.Reason, ReasonHandshake)
	}
	// WireGuard gives up after 90 s; 190 s later nothing is known any more.
	l.until(Idle, 5*time.Minute)
}

func TestHandshakeCheckWithKeepalive(t *testing.T) {
	for _, c := range healthyLinks[:3] {
		l := newLinkSim(t, handshakeSite(IdleWithhold), c.pkaP, c.pkaQ)
		l.until(Up, 5*sec)
		l.onChange = func(now time.Time, j Judgement) {
			t.Errorf("%s: at %s got %s %s, want up", c.name, now.Sub(epoch), j.Verdict, j.Reason)
		}
		l.run(time.Hour)
		l.onChange = nil
		l.q.drop, l.p.drop = always, always
		if took := l.until(Down, 4*time.Minute); l.last.Reason != ReasonHandshake || took < 60*sec || took > 195*sec {
			t.Errorf("%s: down after %s by %s, want within 190 s by %s", c.name, took, l.last.Reason, ReasonHandshake)
		}
	}
}

func TestHandshakeOnly(t *testing.T) {
	for _, c := range []struct {
		n         uint64
		completed bool
		want      bool
	}{
		{92, false, true},
		{148, false, true},
		{184, false, true},
		{296, false, true},
		{240, true, true},
		{240, false, false},
		{32, true, false},
		{124, true, false},
		{64, false, false},
		{1452, false, false},
	} {
		if got := handshakeOnly(c.n, c.completed); got != c.want {
			t.Errorf("handshakeOnly(%d, %v) = %v, want %v", c.n, c.completed, got, c.want)
		}
	}
}
