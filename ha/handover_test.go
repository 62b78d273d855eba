package ha

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

const moving = "10.1.0.0/16"

// newMove is a world in which two sites of a group offer the prefix, and a has it.
func newMove(t *testing.T) *world {
	a, b := site("a", 1), site("b", 2)
	a.Group, b.Group = "g", "g"
	w := newWorld(t, config(a, b))
	w.session("a", true)
	w.session("b", true)
	w.learn("b", 0, moving)
	w.better("a")
	if p := w.settle(); holder(p, moving) != "a" || !announced(p, moving) {
		t.Fatalf("at first:\n%s", text(p))
	}
	return w
}

func (w *world) better(neighbor string) {
	w.step(PathsChanged{[]bgp.PathChange{{Path: bgp.Path{Prefix: pfx(moving), Neighbor: neighbor, Attrs: &bgp.Attrs{LocalPref: 200}}}}})
}

// says checks who is to get the prefix, and whether it is announced meanwhile.
func (w *world) says(what, to string, told bool) *Plan {
	w.t.Helper()
	p := w.c.Plan(w.now)
	if holder(p, moving) != to || announced(p, moving) != told {
		w.t.Errorf("%s: got holder %q, announced %v; want %q, %v:\n%s", what, holder(p, moving), announced(p, moving), to, told, text(p))
	}
	waits := func(h Withheld) bool { return h.Prefix == pfx(moving) && h.Reason == ReasonAllowedIP }
	if !told && !slices.ContainsFunc(p.Withheld, waits) {
		w.t.Errorf("%s: got %v, want %q among the reasons", what, p.Withheld, ReasonAllowedIP)
	}
	return p
}

func TestMoveBetweenPeersIsToldNobody(t *testing.T) {
	w := newMove(t)
	w.unlearn("a", moving)
	w.says("a withdrew", "b", true)
	w.better("a")
	w.says("and offers it again", "a", true)
	w.unlearn("a", moving)
	w.applyWG(w.says("and not", "b", true))
	w.says("the interface is as wanted", "b", true)
	w.better("a")
	w.says("a better path than that of b", "a", true)
	if p := w.settle(); holder(p, moving) != "a" || !announced(p, moving) {
		t.Errorf("in the end:\n%s", text(p))
	}
}

func TestMoveThatTakesTooLongIsTold(t *testing.T) {
	w := newMove(t)
	w.unlearn("a", moving)
	w.says("a withdrew", "b", true)
	if due := w.c.Due(); due.IsZero() || due.After(w.now.Add(handOverWait)) {
		t.Errorf("due: got %v, want at most %v after %v", due, handOverWait, w.now)
	}
	w.now = w.now.Add(handOverWait)
	p := w.says("nothing was confirmed", "b", false)
	w.applyWG(p)
	w.says("it was at last", "b", true)
}

func TestMoveFromADeadPeerIsTold(t *testing.T) {
	w := newMove(t)
	w.session("a", false)
	w.says("a is down", "b", false)

	w = newMove(t)
	w.unlearn("a", moving)
	w.says("a withdrew", "b", true)
	w.now = w.now.Add(time.Millisecond)
	w.session("a", false)
	w.says("and is down before the prefix has left it", "b", false)
}

func TestMoveThatTheKernelRefusesIsTold(t *testing.T) {
	w := newMove(t)
	w.unlearn("a", moving)
	p := w.says("a withdrew", "b", true)
	w.step(WireGuardApplied{p, wg.Applied{Device: "wg0", Gen: p.Gen, Index: 7, Failed: map[netip.Prefix]string{pfx(moving): "refused"}}})
	w.says("the kernel did not move it", "b", false)
}
