package ha

import (
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// A new process finds working routes in the kernel. Those into an interface that
// could not be read or set yet are in no plan, and must not be swept for that.
func TestNothingIsSweptBeforeTheInterfacesAreKnown(t *testing.T) {
	w := newWorld(t, config(site("a", 1, "10.0.0.0/16")))
	w.now = w.now.Add(time.Hour)
	if p := w.c.Plan(w.now); p.FIB.Complete {
		t.Fatal("nothing was reported of wg0, and the plan permits sweeping")
	}
	p := w.c.Plan(w.now)
	w.step(WireGuardApplied{p, wg.Applied{Device: "wg0", Gen: p.Gen, Index: 7, Err: "operation not permitted"}})
	if p = w.c.Plan(w.now); p.FIB.Complete {
		t.Fatal("wg0 is there and could not be set, and the plan permits sweeping")
	}
	w.applyWG(p)
	if p = w.c.Plan(w.now); !p.FIB.Complete || routed(p, "10.0.0.0/16") == "" {
		t.Fatalf("wg0 is known: got complete %v and route %q, want both", p.FIB.Complete, routed(p, "10.0.0.0/16"))
	}
}

func TestAnInterfaceThatCanNotBeMadeKeepsNothingFromBeingSwept(t *testing.T) {
	w := newWorld(t, config(site("a", 1, "10.0.0.0/16")))
	p := w.c.Plan(w.now)
	w.step(WireGuardApplied{p, wg.Applied{Device: "wg0", Gen: p.Gen, Err: "operation not supported"}})
	w.now = w.now.Add(time.Hour)
	if p = w.c.Plan(w.now); !p.FIB.Complete {
		t.Error("there is no wg0, so no route into it works; the plan must permit sweeping")
	}
}

// A plan that led a route into a dead tunnel may have been carried out although
// its report is not here yet.
func TestARouteThatLedIntoADeadTunnelMeanwhileIsNotConfirmed(t *testing.T) {
	const p = "10.0.0.0/16"
	w := newWorld(t, config(site("a", 1, p), site("b", 2)))
	w.session("a", false)
	w.session("tgw/1", true)
	w.learn("tgw/1", 0, p)
	if plan := w.settle(); !announced(plan, p) {
		t.Fatalf("the way through the Transit Gateway is not announced\n%s", text(plan))
	}
	w.unlearn("tgw/1", p)
	away := routed(w.c.Plan(w.now), p)
	w.learn("tgw/1", 0, p)
	plan := w.c.Plan(w.now)
	if back := routed(plan, p); back == away {
		t.Fatalf("the route stays at %s", away)
	}
	if announced(plan, p) {
		t.Errorf("announced, although the routes edge may be at the plan with the route to %s", away)
	}
	if plan = w.settle(); !announced(plan, p) {
		t.Errorf("not announced although the route is confirmed\n%s", text(plan))
	}
}
