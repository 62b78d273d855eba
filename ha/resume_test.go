package ha

import (
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// restarted is a core whose predecessor had sessions with two sites that do
// graceful restart and with a Transit Gateway.
func restarted(t *testing.T) *world {
	cfg := config(site("berlin", 2, "10.2.0.0/16"), site("paris", 1, "10.1.0.0/16"))
	cfg.Gateway.EndOfRIBWait = time.Minute
	for i := range cfg.Neighbors {
		cfg.Neighbors[i].GracefulRestart = cfg.Neighbors[i].Kind == bgp.KindSite
	}
	w := &world{t: t, now: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), auto: true}
	w.c = New(w.now, cfg)
	w.step(Resumed{Neighbors: []string{"berlin", "gone", "paris", "tgw/1"}, Sites: []string{"berlin", "gone", "paris"}})
	w.see("wg0")
	w.step(TunnelObserved{tgwconnect.TunnelState{Name: "gre0", Up: true}})
	return w
}

func restarting(p *Plan) (out []string) {
	for i := range p.Neighbors {
		if p.Neighbors[i].Restarting {
			out = append(out, p.Neighbors[i].Name)
		}
	}
	return out
}

func (w *world) wantRestarting(when string, p *Plan, want ...string) {
	w.t.Helper()
	if got := restarting(p); !slices.Equal(got, want) {
		w.t.Errorf("%s: restarting toward %v, want %v", when, got, want)
	}
}

func TestEndOfRIBWaitsForWhatTheEarlierProcessHad(t *testing.T) {
	w := restarted(t)
	w.wantRestarting("at first", w.settle(), "berlin", "paris")
	w.session("paris", true)
	w.session("tgw/1", true)
	w.now = w.now.Add(3 * time.Second)
	w.wantRestarting("berlin is missing", w.settle(), "berlin", "paris")
	w.step(NeighborObserved{bgp.NeighborState{Name: "berlin", State: bgp.StateEstablished, Since: w.now}})
	w.wantRestarting("berlin has sent no End-of-RIB", w.settle(), "berlin", "paris")
	w.learn("berlin", 0, "10.20.0.0/16")
	w.session("berlin", true)
	p := w.c.Plan(w.now)
	w.wantRestarting("what it told us has no route yet", p, "berlin", "paris")
	if announced(p, "10.20.0.0/16") {
		t.Fatal("announced before the route was applied")
	}
	p = w.settle()
	w.wantRestarting("all is told", p)
	for _, s := range []string{"10.1.0.0/16", "10.2.0.0/16", "10.20.0.0/16"} {
		if !announced(p, s) {
			t.Errorf("%s is not announced in the plan that ends the restart", s)
		}
	}
}

// A Transit Gateway sends no End-of-RIB, but what it says counts too.
func TestEndOfRIBWaitsAMomentForNeighborsThatSendNone(t *testing.T) {
	w := restarted(t)
	for _, n := range []string{"berlin", "paris"} {
		w.session(n, true)
	}
	w.wantRestarting("the Transit Gateway is missing", w.settle(), "berlin", "paris")
	w.step(NeighborObserved{bgp.NeighborState{Name: "tgw/1", State: bgp.StateEstablished, Since: w.now}})
	w.wantRestarting("it just came", w.settle(), "berlin", "paris")
	if due := w.c.Due(); due.After(w.now.Add(quietAfter)) {
		t.Errorf("due in %s, want within %s", due.Sub(w.now), quietAfter)
	}
	w.now = w.now.Add(quietAfter)
	w.wantRestarting("a moment later", w.settle())
}

func TestEndOfRIBDoesNotWaitForEver(t *testing.T) {
	w := restarted(t)
	w.session("paris", true)
	w.now = w.now.Add(resumeWait - time.Second)
	w.wantRestarting("a second before the end", w.settle(), "berlin", "paris")
	if due := w.c.Due(); due.IsZero() || due.After(w.now.Add(time.Second)) {
		t.Errorf("due %s, want in a second", due)
	}
	w.now = w.now.Add(time.Second)
	w.wantRestarting("at the end", w.settle())
}

func TestColdStartRestartsNothing(t *testing.T) {
	cfg := config(site("paris", 1, "10.1.0.0/16"))
	for i := range cfg.Neighbors {
		cfg.Neighbors[i].GracefulRestart = true
	}
	w := newWorld(t, cfg)
	w.wantRestarting("cold", w.settle())
}

// While the first restart is under way a second one must know as much.
func TestResumableHoldsWhatIsStillWaitedFor(t *testing.T) {
	w := restarted(t)
	w.session("paris", true)
	w.settle()
	if got := w.c.Resumable(); !slices.Equal(got.Neighbors, []string{"berlin", "gone", "paris", "tgw/1"}) || !slices.Equal(got.Sites, []string{"berlin", "gone", "paris"}) {
		t.Errorf("got %+v", got)
	}
	w.now = w.now.Add(resumeWait)
	w.settle()
	if got := w.c.Resumable(); !slices.Equal(got.Neighbors, []string{"paris"}) || !slices.Equal(got.Sites, []string{"paris"}) {
		t.Errorf("once it is over: got %+v", got)
	}
}

func TestHandOverWithdrawsOnlyFromThoseWhoLoseItAnyway(t *testing.T) {
	w := restarted(t)
	for _, n := range []string{"berlin", "paris", "tgw/1", "tgw/2"} {
		w.session(n, true)
	}
	w.now = w.now.Add(quietAfter)
	w.settle()
	w.step(Draining{Phase: DrainHandOver})
	p := w.settle()
	if !announced(p, "10.1.0.0/16") {
		t.Error("withdrawn from everybody")
	}
	for i := range p.Neighbors {
		if n := &p.Neighbors[i]; n.Export != n.GracefulRestart {
			t.Errorf("neighbor %s: told something %v, does graceful restart %v", n.Name, n.Export, n.GracefulRestart)
		} else if why := w.c.Untold(n.Name); (why == "") != n.Export {
			t.Errorf("neighbor %s: told something %v, and the reason why not is %q", n.Name, n.Export, why)
		}
	}
}

func TestRestartCost(t *testing.T) {
	w := fleetWorld(t, false)
	w.settle()
	if c := w.c.RestartCost(); c.Partner != "a" || c.Alone != 0 || !slices.Equal(c.Lose, []string{"paris", "tgw/1", "tgw/2"}) {
		t.Errorf("with a partner that has the prefix: got %+v", c)
	}
	w.unlearn("a", "10.1.0.0/16")
	w.settle()
	if c := w.c.RestartCost(); c.Partner != "a" || c.Alone != 1 {
		t.Errorf("with a partner that has it from us alone: got %+v", c)
	}
	for i := range w.c.cfg.Neighbors {
		w.c.cfg.Neighbors[i].GracefulRestart = w.c.cfg.Neighbors[i].Name == "a"
	}
	if c := w.c.RestartCost(); c.Alone != 0 {
		t.Errorf("with a partner that keeps what we told it: got %+v", c)
	}
	w.session("a", false)
	w.settle()
	if c := w.c.RestartCost(); c.Partner != "" || c.Alone != 1 {
		t.Errorf("alone: got %+v", c)
	}
}

func TestOnlyTunnelsOfTheKernelPersist(t *testing.T) {
	w := fleetWorld(t, false)
	report := func(b wg.Backend, g tgwconnect.Backend) {
		w.step(WireGuardApplied{w.c.Plan(w.now), wg.Applied{Device: "wg0", Index: 7, Backend: b}})
		w.step(TunnelObserved{tgwconnect.TunnelState{Name: "gre0", Up: true, Index: 8, Backend: g}})
	}
	for _, c := range []struct {
		wg   wg.Backend
		gre  tgwconnect.Backend
		want bool
	}{
		{wg.BackendKernel, tgwconnect.BackendKernel, true},
		{wg.BackendUserspace, tgwconnect.BackendKernel, false},
		{wg.BackendKernel, tgwconnect.BackendUserspace, false},
	} {
		if report(c.wg, c.gre); w.c.Persists() != c.want {
			t.Errorf("wireguard %s, gre %s: persists %v, want %v", c.wg, c.gre, !c.want, c.want)
		}
	}
}
