package selftest

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

func results(r *Report) (out []string) {
	for _, p := range r.Points {
		out = append(out, p.Result)
	}
	return out
}

func wantClean(t *testing.T, w *world, r *Report) {
	t.Helper()
	if left := w.left(); len(left) > 0 || len(r.Left) > 0 {
		t.Errorf("left behind: %v, the report says %v", left, r.Left)
	}
	if len(w.touched) > 0 {
		t.Errorf("foreign objects touched: %v", w.touched)
	}
}

func TestRunAnswersWhatItCanAndSaysWhatItCanNot(t *testing.T) {
	w := newWorld()
	w.tagged = true
	r := Run(t.Context(), w, options())
	if r.Error != "" || !r.OK() {
		t.Fatalf("%s\n%s", r.Error, r.Text())
	}
	want := []string{NotMeasured, NotMeasured, NotMeasured, Measured, NotMeasured, NotMeasured, Measured, Measured}
	if got := results(r); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v\n%s", got, want, r.Text())
	}
	for _, p := range r.Points {
		if p.Result == NotMeasured && p.How == "" {
			t.Errorf("%d is not measured, and how to do it is not said", p.ID)
		}
	}
	for i, want := range map[int]string{3: "yes: both exist with 192.0.2.5", 6: "yes: what the policy permits", 7: "yes"} {
		if got := r.Points[i].Answer; !strings.HasPrefix(got, want) {
			t.Errorf("point %d: %q, want %q", i+1, got, want)
		}
	}
	wantClean(t, w, r)
}

func TestOtherAnswers(t *testing.T) {
	w := newWorld()
	w.shared, w.filters = false, "InvalidParameterValue"
	r := Run(t.Context(), w, options())
	for i, want := range map[int]string{3: "no: InvalidParameterValue", 6: "these credentials may do it either way", 7: "no: InvalidParameterValue"} {
		if got := r.Points[i].Answer; got != want {
			t.Errorf("point %d: %q, want %q", i+1, got, want)
		}
	}
	wantClean(t, w, r)

	w = newWorld()
	w.filters = "ignored"
	if r = Run(t.Context(), w, options()); !strings.Contains(r.Points[7].Answer, "ignored") {
		t.Errorf("ignored filter: %q", r.Points[7].Answer)
	}
	wantClean(t, w, r)
}

func TestDaemonSaysWhatPacketsShow(t *testing.T) {
	w := newWorld()
	g := &gateway{w: w, sessions: []Session{{Name: "tgw/1", Established: true, HoldTimeSeconds: 9, Announced: 1001}}}
	_ = g.SetSite(t.Context(), "", false)
	g.orders = nil
	o := options()
	o.Daemon, o.Site = g, "paris"
	r := Run(t.Context(), w, o)
	if p := r.Points[0]; p.Result != Measured || p.Answer != "9 s was accepted" || len(p.Evidence) != 2 || !strings.Contains(p.Evidence[1], "after the withdrawal") {
		t.Errorf("hold time: %+v", p)
	}
	if !slices.Equal(g.orders, []bool{true, false}) {
		t.Errorf("orders to the site: %v, want withdrawn and announced again", g.orders)
	}
	if p := r.Points[1]; p.Result != Measured || !strings.Contains(p.Answer, "1001") {
		t.Errorf("overflow: %+v", p)
	}
	wantClean(t, w, r)
}

// Whatever call an interrupt comes in, and whichever answer gets lost, nothing is
// left, nothing foreign is touched, and a withdrawn site is announced again.
func TestInterruptAtEveryCallLeavesNothing(t *testing.T) {
	whole := newWorld()
	Run(t.Context(), whole, options())
	for n := 1; n <= whole.calls; n++ {
		for _, tt := range []struct {
			what            string
			interrupt, lost bool
		}{{"interrupted before", true, false}, {"answer lost", false, true}, {"carried out and interrupted", true, true}} {
			w := newWorld()
			w.lose[n] = tt.lost
			ctx, cancel := context.WithCancel(t.Context())
			w.at = func(call int) {
				if call == n && tt.interrupt {
					cancel()
				}
			}
			r := Run(ctx, w, options())
			cancel()
			wantClean(t, w, r)
			if t.Failed() {
				t.Fatalf("call %d: %s\n%s", n, tt.what, r.Text())
			}
		}
	}
	t.Logf("%d calls, each in three ways", whole.calls)
}

func TestDryRunDoesNothing(t *testing.T) {
	w := newWorld()
	o := options()
	o.DryRun = true
	r := Run(t.Context(), w, o)
	if w.made > 0 || w.dryRuns > 0 || len(r.Steps) != 8 || !r.OK() || !strings.Contains(r.Text(), "would do") {
		t.Errorf("made %d, %d steps\n%s", w.made, len(r.Steps), r.Text())
	}
}

func TestBudgetEndsTheRun(t *testing.T) {
	w := newWorld()
	o := options()
	o.Budget = 5 * time.Millisecond
	w.at = func(int) { time.Sleep(time.Millisecond) }
	r := Run(t.Context(), w, o)
	if !strings.Contains(r.Error, "more than 5ms") || r.OK() {
		t.Errorf("error %q", r.Error)
	}
	wantClean(t, w, r)
}

func TestInsideBlockIsFree(t *testing.T) {
	w := newWorld()
	r := &run{api: w, opt: options()}
	p, err := r.inside(t.Context())
	if err != nil || p != netip.MustParsePrefix("169.254.255.8/29") {
		t.Errorf("got %s %v, want the block after the foreign peer's", p, err)
	}
}

// A run that was killed leaves what it made; another one with Leftovers takes that
// away, and asks nothing.
func TestLeftoversGo(t *testing.T) {
	w := newWorld()
	c, _ := w.CreateConnect(t.Context(), "tgw-attach-vpc", tgwconnect.Tags{TagKey: "run-1"})
	_, _ = w.CreatePeer(t.Context(), tgwconnect.NewPeer{AttachmentID: c.ID, Tags: tgwconnect.Tags{TagKey: "run-1"}})
	o := options()
	o.Run, o.Leftovers = "run-2", true
	r := Run(t.Context(), w, o)
	if !r.OK() || len(r.Points) > 0 || len(r.Steps) != 2 {
		t.Errorf("error %q, left %v\n%s", r.Error, r.Left, r.Text())
	}
	wantClean(t, w, r)
}
