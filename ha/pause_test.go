package ha

import (
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// paused is a host whose loop stood still for a while, with a site that a probe
// watches, and what came meanwhile.
func paused(t *testing.T, d time.Duration) (w *world, results []ProbeObserved) {
	s := site("paris", 1, "10.1.0.0/16")
	s.Neighbor, s.Damping = "", Damping{Penalty: 1000, Suppress: 2000, Reuse: 750, HalfLife: 15 * time.Minute, Max: time.Hour}
	s.Checks = []Check{{Name: "echo", Kind: CheckProbe, Rise: 1, Fall: 3, Probe: wg.Probe{ID: "echo", Site: "paris", Kind: wg.ProbeICMP, Interval: time.Second, Timeout: time.Second}}}
	w = newWorld(t, config(s))
	result := func() ProbeObserved { return ProbeObserved{wg.ProbeResult{ID: "echo", At: w.now, OK: true}} }
	for range 40 { // until nothing of the start is waited for
		w.step(result())
		w.settle()
		w.now = w.now.Add(time.Second)
	}
	w.c.Transitions()
	for range int(d / time.Second) {
		w.now = w.now.Add(time.Second)
		results = append(results, result())
	}
	return w, results
}

// After a pause of the process the first fact that it looks at must not find that
// nothing else came: what came is behind it.
func TestPauseOfTheProcessIsNoFailureOfItsSites(t *testing.T) {
	for _, first := range []bool{false, true} {
		w, results := paused(t, time.Minute)
		before := w.c.plan
		if !first {
			w.see("wg0")
		}
		for _, r := range results {
			w.step(r)
		}
		if first {
			w.see("wg0")
		}
		if p := w.c.Plan(w.now); p != before {
			t.Errorf("probes before the interface %t: the plan is another one:\n%s", first, text(p))
		}
		if moves := w.c.Transitions(); len(moves) > 0 {
			t.Errorf("probes before the interface %t: got %+v, want no transition", first, moves)
		}
		if v := w.c.Sites(w.now, "paris")[0]; v.Damping.Flaps != 0 || v.Judged.Verdict != Up {
			t.Errorf("probes before the interface %t: verdict %s, %d flaps; want up, none", first, v.Judged.Verdict, v.Damping.Flaps)
		}
	}
}

// What really is missing still counts, by the plan that follows.
func TestMissingResultsAreNoticedByThePlan(t *testing.T) {
	w, _ := paused(t, time.Minute)
	w.see("wg0")
	if due := w.c.Due(); due.IsZero() || due.After(w.now) {
		t.Errorf("due at %v, want now", due)
	}
	p := w.c.Plan(w.now)
	if v := w.c.Sites(w.now, "paris")[0].Judged; v.Verdict != Down || v.Reason != ReasonStale || announced(p, "10.1.0.0/16") {
		t.Errorf("got %+v, want it down with reason %s and withdrawn", v, ReasonStale)
	}
}
