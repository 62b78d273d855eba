package ha

import (
	"testing"
	"time"
)

func dampedSite() *Site {
	s := probeSite(Rule{}, "a")
	s.HoldDown = sec
	s.Damping = Damping{Penalty: 1000, Suppress: 3000, Reuse: 1500, HalfLife: 2 * time.Minute, Max: 2 * time.Minute}
	return s
}

// AC-14: a site that fails every 20 s for 10 min is announced and withdrawn a
// bounded number of times, and one half-life after its last failure it is back
// without help.
func TestFlappingSiteIsDamped(t *testing.T) {
	h := newHealth(dampedSite())
	announced, updates, suppressed := false, 0, 0
	step := func(second int, ok bool) Judgement {
		j := h.feed(time.Duration(second)*sec, "a", ok)
		if now := j.announceable(IdleWithhold); now != announced {
			announced = now
			updates++
		}
		if j.Verdict == Suppressed {
			suppressed++
			if j.Reason != ReasonDamped || j.PeerState != "suppressed" {
				t.Fatalf("suppressed: got %+v", j)
			}
		}
		return j
	}
	last := 0
	for s := range 600 {
		ok := s%20 < 14
		if !ok {
			last = s
		}
		step(s, ok)
	}
	// Four failures of 1,000 reach 3,000 while 120 s halve it; then it stays
	// withheld: up, and four times down and up again but for the last.
	if updates > 8 {
		t.Errorf("%d changes in 10 min of failing every 20 s, want at most 8", updates)
	}
	if suppressed < 300 {
		t.Errorf("suppressed %d s of 600, want more than half", suppressed)
	}
	d := h.damping(at(600 * sec))
	if !d.Suppressed || d.Penalty < 1500 || d.Penalty > 3000 || d.Reuse.Before(at(600*sec)) || d.Reuse.After(at(time.Duration(last)*sec+2*time.Minute)) {
		t.Errorf("got %+v, want a penalty in 1500..3000 and its end within one half-life of the last failure", d)
	}
	back := 0
	for s := 600; s < 800 && back == 0; s++ {
		if step(s, true).Verdict == Up {
			back = s
		}
	}
	if back == 0 || back > last+121 {
		t.Errorf("back at %d s, want within 120 s of the last failure at %d s", back, last)
	}
	if n := h.next(at(650 * sec)); back > 650 && n.IsZero() {
		t.Error("nobody wakes up when it may be announced again")
	}
}

func TestDampingBoundsWhatAProbeTakesAway(t *testing.T) {
	s := dampedSite()
	s.Checks = append(s.Checks, probeCheck("b", pfx("10.1.0.0/16")))
	h := newHealth(s)
	changes, was := 0, 0
	for i := range 600 {
		h.feed(time.Duration(i)*sec, "a", true)
		j := h.feed(time.Duration(i)*sec, "b", i%20 < 14)
		if j.Verdict != Up {
			t.Fatalf("second %d: the site is %s", i, j.Verdict)
		}
		if n := len(j.FailedPrefixes); n != was {
			changes, was = changes+1, n
		}
	}
	if changes > 9 || was != 1 {
		t.Errorf("%d changes and %d prefixes withheld, want at most 9 and 1", changes, was)
	}
	if r, _ := h.prefixReason(at(599*sec), pfx("10.1.0.0/16")); r != ReasonProbe && r != ReasonDamped {
		t.Errorf("reason %q, want probe-failed or damped", r)
	}
}

func TestOrdersAndReloadsAreNoFailures(t *testing.T) {
	s := dampedSite()
	h := newHealth(s)
	h.feed(0, "a", true)
	for i := 1; i < 20; i++ {
		off := *s
		off.Disabled = i%2 == 1
		h.reconfigure(&off)
		h.feed(time.Duration(i)*sec, "a", true)
	}
	if d := h.damping(at(20 * sec)); d.Penalty != 0 || d.Flaps != 0 {
		t.Errorf("got %+v, want no penalty", d)
	}
}

func TestAnOperatorForgives(t *testing.T) {
	h := newHealth(dampedSite())
	for i := range 120 {
		h.feed(time.Duration(i)*sec, "a", i%20 < 14)
	}
	for i := 120; i < 130; i++ {
		h.feed(time.Duration(i)*sec, "a", true)
	}
	wantVerdict(t, "before", h.judge(at(130*sec)), Suppressed, ReasonDamped)
	h.forgive()
	wantVerdict(t, "after", h.judge(at(130*sec)), Up, ReasonNone)
}

// A reload that gives a site's session other settings ends it.
func TestSessionsThatAReloadEndsAreNoFailures(t *testing.T) {
	s := site("paris", 1, "10.1.0.0/16")
	s.Damping = dampedSite().Damping
	w := newWorld(t, config(s))
	w.session("paris", true)
	for i := range 10 {
		cfg := config(s)
		for j := range cfg.Neighbors {
			cfg.Neighbors[j].Port = uint16(1000 + i)
		}
		w.c.Reconfigure(w.now, cfg)
		w.now = w.now.Add(time.Second)
		w.session("paris", false)
		w.now = w.now.Add(time.Second)
		w.session("paris", true)
	}
	if d := w.c.Sites(w.now, "paris")[0].Damping; d.Penalty != 0 || d.Flaps != 0 {
		t.Errorf("after ten reloads: got %+v, want no penalty", d)
	}
	w.now = w.now.Add(time.Second)
	w.session("paris", false)
	if d := w.c.Sites(w.now, "paris")[0].Damping; d.Flaps != 1 {
		t.Errorf("after a failure of its own: got %+v, want one", d)
	}
	w.now = w.now.Add(time.Second)
	w.session("paris", true)
	cfg := config(s)
	cfg.Neighbors[0].Port, cfg.Neighbors[1].Port, cfg.Neighbors[2].Port = 7, 7, 7
	w.c.Reconfigure(w.now, cfg)
	w.now = w.now.Add(2 * excusedFor)
	w.session("paris", false)
	if d := w.c.Sites(w.now, "paris")[0].Damping; d.Flaps != 2 {
		t.Errorf("after a failure long after a reload: got %+v, want two", d)
	}
}
