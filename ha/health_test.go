package ha

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

func probeCheck(name string, prefixes ...netip.Prefix) Check {
	return Check{
		Name: name, Kind: CheckProbe, Rise: 2, Fall: 3, Prefixes: prefixes,
		Probe: wg.Probe{ID: "s/" + name, Kind: wg.ProbeICMP, Target: netip.MustParseAddr("10.0.0.1"), Interval: sec, Timeout: sec},
	}
}

func probeSite(rule Rule, names ...string) *Site {
	s := &Site{Name: "s", HoldDown: 10 * sec, Rules: rule}
	for _, n := range names {
		s.Checks = append(s.Checks, probeCheck(n))
	}
	return s
}

func at(d time.Duration) time.Time { return epoch.Add(d) }

func (h *health) feed(d time.Duration, name string, ok bool) Judgement {
	r := wg.ProbeResult{ID: "s/" + name, At: at(d), OK: ok}
	if ok {
		r.RTT = time.Millisecond
	} else {
		r.Reason = "timeout"
	}
	h.probe(at(d), r)
	return h.judge(at(d))
}

func wantVerdict(t *testing.T, what string, j Judgement, v Verdict, r Reason) {
	t.Helper()
	if j.Verdict != v || j.Reason != r {
		t.Errorf("%s: got %s %q (%s), want %s %q", what, j.Verdict, j.Reason, j.Detail, v, r)
	}
}

func TestProbeRisesAndFalls(t *testing.T) {
	h := newHealth(probeSite(Rule{}, "a"))
	wantVerdict(t, "cold", h.judge(at(0)), Down, ReasonUnknown)
	wantVerdict(t, "first answer", h.feed(1*sec, "a", true), Up, ReasonNone)
	wantVerdict(t, "one lost", h.feed(2*sec, "a", false), Suspect, ReasonProbe)
	wantVerdict(t, "answered", h.feed(3*sec, "a", true), Up, ReasonNone)
	wantVerdict(t, "one lost again", h.feed(4*sec, "a", false), Suspect, ReasonProbe)
	wantVerdict(t, "two lost", h.feed(5*sec, "a", false), Suspect, ReasonProbe)
	j := h.feed(6*sec, "a", false)
	wantVerdict(t, "three lost", j, Down, ReasonProbe)
	if !j.Since.Equal(at(6 * sec)) {
		t.Errorf("down since %s, want %s", j.Since, at(6*sec))
	}
	wantVerdict(t, "one answer", h.feed(7*sec, "a", true), Down, ReasonProbe)
	wantVerdict(t, "lost between", h.feed(8*sec, "a", false), Down, ReasonProbe)
	wantVerdict(t, "one answer again", h.feed(9*sec, "a", true), Down, ReasonProbe)
	wantVerdict(t, "two answers", h.feed(10*sec, "a", true), Down, ReasonHoldDown)
	if n := h.next(at(10 * sec)); !n.Equal(at(15 * sec)) {
		// 3 intervals + timeout + margin
		t.Errorf("next is %s, want the staleness at %s", n, at(15*sec))
	}
	for i := 11; i < 20; i++ {
		wantVerdict(t, "while held", h.feed(time.Duration(i)*sec, "a", true), Down, ReasonHoldDown)
	}
	if n := h.next(at(19 * sec)); !n.Equal(at(20 * sec)) {
		t.Errorf("next is %s, want the end of the hold-down at %s", n, at(20*sec))
	}
	j = h.judge(at(20 * sec))
	wantVerdict(t, "hold-down over", j, Up, ReasonNone)
	if !j.Since.Equal(at(20 * sec)) {
		t.Errorf("up since %s, want %s", j.Since, at(20*sec))
	}
}

func TestColdSiteThatFailsNeedsOneAnswer(t *testing.T) {
	h := newHealth(probeSite(Rule{}, "a"))
	h.feed(1*sec, "a", false)
	wantVerdict(t, "two lost", h.feed(2*sec, "a", false), Down, ReasonUnknown)
	wantVerdict(t, "three lost", h.feed(3*sec, "a", false), Down, ReasonProbe)
	wantVerdict(t, "first answer", h.feed(4*sec, "a", true), Up, ReasonNone)
}

func TestLossDuringHoldDownStartsItAgain(t *testing.T) {
	h := newHealth(probeSite(Rule{}, "a"))
	s := 0
	feed := func(ok bool, n int) (j Judgement) {
		for range n {
			s++
			j = h.feed(time.Duration(s)*sec, "a", ok)
		}
		return j
	}
	feed(true, 1)
	feed(false, 3)
	wantVerdict(t, "recovered", feed(true, 5), Down, ReasonHoldDown)
	wantVerdict(t, "fell again", feed(false, 3), Down, ReasonProbe)
	wantVerdict(t, "9 s after the second recovery", feed(true, 2+9), Down, ReasonHoldDown)
	wantVerdict(t, "10 s after the second recovery", feed(true, 1), Up, ReasonNone)
}

func TestRules(t *testing.T) {
	const u, s, d, x = 1, 2, 3, 0 // up, suspect, down, never measured
	for _, c := range []struct {
		rule Rule
		a, b int
		want Verdict
		why  Reason
	}{
		{Rule{}, u, u, Up, ReasonNone},
		{Rule{}, u, s, Suspect, ReasonProbe},
		{Rule{}, u, d, Down, ReasonProbe},
		{Rule{}, u, x, Down, ReasonUnknown},
		{Rule{}, d, x, Down, ReasonProbe},
		{Rule{Any: true}, u, d, Up, ReasonNone},
		{Rule{Any: true}, u, x, Up, ReasonNone},
		{Rule{Any: true}, s, d, Suspect, ReasonProbe},
		{Rule{Any: true}, d, d, Down, ReasonProbe},
		{Rule{Any: true}, x, x, Down, ReasonUnknown},
		{Rule{Of: []string{"a"}}, u, d, Up, ReasonNone},
		{Rule{Of: []string{"b"}}, u, d, Down, ReasonProbe},
		{Rule{Of: []string{"a"}}, x, u, Down, ReasonUnknown},
	} {
		h := newHealth(probeSite(c.rule, "a", "b"))
		set := func(name string, state int) {
			if state == u || state == s {
				h.feed(sec, name, true)
			}
			for i := range map[int]int{s: 1, d: 3}[state] {
				h.feed(time.Duration(2+i)*sec, name, false)
			}
		}
		set("a", c.a)
		set("b", c.b)
		wantVerdict(t, fmt.Sprintf("%+v a=%d b=%d", c.rule, c.a, c.b), h.judge(at(4*sec)), c.want, c.why)
	}
}

func TestAnyRuleHoldsDownAfterAllFell(t *testing.T) {
	h := newHealth(probeSite(Rule{Any: true}, "a", "b"))
	feed := func(s int, a, b bool) Judgement {
		h.feed(time.Duration(s)*sec, "a", a)
		return h.feed(time.Duration(s)*sec, "b", b)
	}
	feed(1, true, true)
	for s := 2; s <= 4; s++ {
		feed(s, false, true)
	}
	wantVerdict(t, "one fell", h.judge(at(4*sec)), Up, ReasonNone)
	feed(5, true, true)
	wantVerdict(t, "it is back", feed(6, true, true), Up, ReasonNone)
	for s := 7; s <= 9; s++ {
		feed(s, false, false)
	}
	wantVerdict(t, "both fell", h.judge(at(9*sec)), Down, ReasonProbe)
	feed(10, false, true)
	wantVerdict(t, "one is back", feed(11, false, true), Down, ReasonHoldDown)
	for s := 12; s <= 20; s++ {
		wantVerdict(t, "while held", feed(s, false, true), Down, ReasonHoldDown)
	}
	wantVerdict(t, "trusted", feed(21, false, true), Up, ReasonNone)
	for s := 22; s <= 23; s++ {
		feed(s, true, true)
	}
	for s := 24; s <= 30; s++ { // the other one takes over: the site never was down
		wantVerdict(t, "handed over", feed(s, true, false), Up, ReasonNone)
	}
}

func TestSiteWithoutChecksIsIdle(t *testing.T) {
	h := newHealth(&Site{Name: "s", IdlePolicy: IdleAnnounce})
	j := h.judge(at(0))
	wantVerdict(t, "no checks", j, Idle, ReasonIdle)
	if !j.announceable(IdleAnnounce) || j.announceable(IdleWithhold) {
		t.Error("idle must be announced by policy only")
	}
}

func TestBGPCheckFollowsSession(t *testing.T) {
	site := &Site{Name: "s", HoldDown: 10 * sec, Checks: []Check{{Name: "bgp", Kind: CheckBGP, Rise: 3, Fall: 3}}}
	h := newHealth(site)
	wantVerdict(t, "cold", h.judge(at(0)), Down, ReasonUnknown)
	h.session(at(sec), bgp.NeighborState{State: bgp.StateActive})
	wantVerdict(t, "active", h.judge(at(sec)), Down, ReasonBGP)
	h.session(at(2*sec), bgp.NeighborState{State: bgp.StateEstablished})
	wantVerdict(t, "established", h.judge(at(2*sec)), Up, ReasonNone)
	wantVerdict(t, "an hour later", h.judge(at(time.Hour)), Up, ReasonNone)
	h.session(at(time.Hour), bgp.NeighborState{State: bgp.StateIdle, Reason: "hold-timer-expired"})
	wantVerdict(t, "lost", h.judge(at(time.Hour)), Down, ReasonBGP)
	if c := h.checks(at(time.Hour))[0]; c.Note != "hold-timer-expired" {
		t.Errorf("note %q, want the session's own reason", c.Note)
	}
	h.session(at(time.Hour+sec), bgp.NeighborState{State: bgp.StateEstablished})
	wantVerdict(t, "back", h.judge(at(time.Hour+sec)), Down, ReasonHoldDown)
	wantVerdict(t, "trusted", h.judge(at(time.Hour+11*sec)), Up, ReasonNone)
}

func TestProbeThatNamesPrefixesTakesOnlyThem(t *testing.T) {
	p1, p2, p3 := netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.2.0.0/16"), netip.MustParsePrefix("10.3.0.0/16")
	site := &Site{Name: "s", HoldDown: 10 * sec, Checks: []Check{probeCheck("site"), probeCheck("lan", p3, p1), probeCheck("lab", p1, p2)}}
	h := newHealth(site)
	all := func(d time.Duration, lan, lab bool) Judgement {
		h.feed(d, "site", true)
		h.feed(d, "lan", lan)
		return h.feed(d, "lab", lab)
	}
	wantPrefixes := func(what string, j Judgement, want ...netip.Prefix) {
		t.Helper()
		if j.Verdict != Up {
			t.Errorf("%s: got %s %s, want up", what, j.Verdict, j.Reason)
		}
		if !slices.Equal(j.FailedPrefixes, want) {
			t.Errorf("%s: failed prefixes %v, want %v", what, j.FailedPrefixes, want)
		}
	}
	wantPrefixes("cold", h.feed(sec, "site", true), p1, p2, p3)
	if r, _ := h.prefixReason(at(sec), p1); r != ReasonUnknown {
		t.Errorf("cold: got %s, want %s", r, ReasonUnknown)
	}
	wantPrefixes("all answer", all(2*sec, true, true))
	wantPrefixes("one lost", all(3*sec, false, true))
	all(4*sec, false, true)
	wantPrefixes("lan fell", all(5*sec, false, true), p1, p3)
	if r, _ := h.prefixReason(at(5*sec), p3); r != ReasonProbe {
		t.Errorf("fallen: got %s, want %s", r, ReasonProbe)
	}
	if r, _ := h.prefixReason(at(5*sec), p2); r != ReasonNone {
		t.Errorf("standing: got %s, want none", r)
	}
	all(6*sec, true, false)
	wantPrefixes("lan held", all(7*sec, true, false), p1, p3)
	if r, _ := h.prefixReason(at(7*sec), p3); r != ReasonHoldDown {
		t.Errorf("recovered: got %s, want %s", r, ReasonHoldDown)
	}
	wantPrefixes("lab fell as well", all(8*sec, true, false), p1, p2, p3)
	for s := 9; s < 17; s++ {
		all(time.Duration(s)*sec, true, false)
	}
	wantPrefixes("lan trusted", h.judge(at(17*sec)), p1, p2)
}

func TestSilentProbeEngineIsNotMeasurable(t *testing.T) {
	h := newHealth(probeSite(Rule{}, "a"))
	h.feed(sec, "a", true)
	// Three intervals, the timeout and a second: 5 s; then as long again.
	for _, c := range []struct {
		at   time.Duration
		want Verdict
		why  Reason
		next time.Duration
	}{
		{sec, Up, ReasonNone, 6 * sec},
		{6*sec - 1, Up, ReasonNone, 6 * sec},
		{6 * sec, Suspect, ReasonStale, 11 * sec},
		{11*sec - 1, Suspect, ReasonStale, 11 * sec},
		{11 * sec, Down, ReasonStale, -1},
	} {
		wantVerdict(t, c.at.String(), h.judge(at(c.at)), c.want, c.why)
		n := h.next(at(c.at))
		if c.next < 0 && !n.IsZero() || c.next >= 0 && !n.Equal(at(c.next)) {
			t.Errorf("next after %s is %s, want %s", c.at, n.Sub(epoch), c.next)
		}
	}
	wantVerdict(t, "measured again", h.feed(12*sec, "a", true), Down, ReasonStale)
	wantVerdict(t, "twice", h.feed(13*sec, "a", true), Down, ReasonHoldDown)
	h.feed(18*sec, "a", true)
	wantVerdict(t, "trusted", h.feed(23*sec, "a", true), Up, ReasonNone)
}

func TestUnreadableInterfaceAges(t *testing.T) {
	l := newLinkSim(t, heartbeatSite(), 0, 0)
	l.until(Up, 30*sec)
	l.nextPoll = l.now.Add(time.Hour)
	l.h.unreadable(l.now)
	if took := l.until(Suspect, time.Minute); took < 14*sec || took > 16*sec {
		t.Errorf("suspect after %s, want 15 s", took)
	}
	c := l.h.checks(l.now)[0]
	if c.Reason != ReasonStale || c.Detail != detailUnread {
		t.Errorf("check says %s %q, want %s %q", c.Reason, c.Detail, ReasonStale, detailUnread)
	}
	l.until(Down, time.Minute)
	if l.last.Reason != ReasonStale {
		t.Errorf("got %s, want %s", l.last.Reason, ReasonStale)
	}
}

func TestMissingDeviceIsDownAtOnce(t *testing.T) {
	h := newHealth(probeSite(Rule{}, "a"))
	h.noDevice(at(0))
	wantVerdict(t, "cold", h.judge(at(0)), Down, ReasonNoDevice)
	h.peer(at(sec), nil)
	wantVerdict(t, "peer not yet there", h.judge(at(sec)), Down, ReasonUnknown)
	h.peer(at(sec), &wg.PeerState{})
	wantVerdict(t, "first answer", h.feed(2*sec, "a", true), Up, ReasonNone)
	h.noDevice(at(3 * sec))
	wantVerdict(t, "gone", h.feed(3*sec, "a", true), Down, ReasonNoDevice)
	h.peer(at(4*sec), nil)
	wantVerdict(t, "peer missing", h.judge(at(4*sec)), Down, ReasonHandshake)
	h.peer(at(5*sec), &wg.PeerState{})
	wantVerdict(t, "back", h.feed(5*sec, "a", true), Down, ReasonHoldDown)
	h.feed(14*sec, "a", true)
	wantVerdict(t, "trusted", h.judge(at(15*sec)), Up, ReasonNone)
}

func TestMissingDeviceFellsHeartbeat(t *testing.T) {
	l := newLinkSim(t, heartbeatSite(), 0, 0)
	l.until(Up, 30*sec)
	l.h.noDevice(l.now)
	wantVerdict(t, "gone", l.h.judge(l.now), Down, ReasonNoDevice)
	p, q := &wgSim{}, l.q
	p.far, q.far = q, p
	l.p = p // a new interface, a new life
	l.run(sec)
	if back := l.until(Up, time.Minute); back < 9*sec {
		t.Errorf("up again after %s, want not before the hold-down", back)
	}
}

func TestUnansweredProbeNamesTheTunnelWhenItCarriesNothing(t *testing.T) {
	run := func(rxPerSecond func(s int) uint64) Judgement {
		h := newHealth(probeSite(Rule{}, "a"))
		var p wg.PeerState
		var j Judgement
		for s := range 60 {
			now := time.Duration(s) * sec
			if p.Rx += rxPerSecond(s); s > 0 {
				p.Handshake = 1
			}
			p.Tx += 128
			h.peer(at(now), &p)
			j = h.feed(now, "a", s < 30)
		}
		return j
	}
	// Green handshake, no data: the far side drops what is inside, and only
	// WireGuard's own keepalives come back.
	j := run(func(s int) uint64 {
		switch {
		case s < 30:
			return 128
		case s%10 == 0:
			return 32
		}
		return 0
	})
	wantVerdict(t, "only keepalives", j, Down, ReasonRxStall)
	if j.PeerState != "stalled" {
		t.Errorf("peer state %s, want stalled", j.PeerState)
	}
	j = run(func(int) uint64 { return 176 })
	wantVerdict(t, "other packets come", j, Down, ReasonProbe)
	if j.PeerState != "down" {
		t.Errorf("peer state %s, want down", j.PeerState)
	}
}

func TestReloadKeepsEvidence(t *testing.T) {
	site := probeSite(Rule{}, "a")
	h := newHealth(site)
	h.feed(sec, "a", true)

	same := probeSite(Rule{}, "a")
	same.Checks[0].Fall = 1
	h.reconfigure(same)
	wantVerdict(t, "other fall", h.judge(at(sec)), Up, ReasonNone)
	wantVerdict(t, "it holds at once", h.feed(2*sec, "a", false), Down, ReasonProbe)

	h = newHealth(site)
	h.feed(sec, "a", true)
	h.reconfigure(probeSite(Rule{}, "a", "b"))
	wantVerdict(t, "check added", h.judge(at(sec)), Up, ReasonNone)
	h.reconfigure(probeSite(Rule{}, "c"))
	wantVerdict(t, "check replaced", h.judge(at(2*sec)), Suspect, ReasonUnknown)
	wantVerdict(t, "never measured", h.judge(at(12*sec)), Down, ReasonStale)

	h = newHealth(site)
	h.feed(sec, "a", true)
	other := probeSite(Rule{}, "a")
	other.Peer.Key = wg.Key{1}
	h.reconfigure(other)
	wantVerdict(t, "other peer", h.judge(at(2*sec)), Down, ReasonUnknown)
}

func TestDisabledSite(t *testing.T) {
	site := probeSite(Rule{}, "a")
	site.Disabled = true
	h := newHealth(site)
	j := h.feed(sec, "a", true)
	wantVerdict(t, "disabled", j, Down, ReasonDisabled)
	if j.PeerState != "disabled" {
		t.Errorf("peer state %s, want disabled", j.PeerState)
	}
}
