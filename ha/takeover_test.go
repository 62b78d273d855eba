package ha

import (
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// fleetWorld is host b of a fleet of two; both have a tunnel to paris.
func fleetWorld(t *testing.T, roams bool) *world {
	s := site("paris", 1, "10.1.0.0/16")
	s.Roams = roams
	cfg := config(s)
	for i := range cfg.Neighbors {
		if cfg.Neighbors[i].Kind == bgp.KindTGW {
			cfg.Neighbors[i].HoldTime = 30 * time.Second
		}
	}
	cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{Name: "a", Kind: bgp.KindFleet, Group: "fleet", IPv4: true, Export: true})
	cfg.BFD = []bgp.BFDSession{{Name: "a"}}
	w := newWorld(t, cfg)
	for _, n := range []string{"paris", "tgw/1", "tgw/2", "a"} {
		w.session(n, true)
	}
	w.bfd("a", bfdUp)
	w.learn("a", 0, "10.1.0.0/16")
	return w
}

func (w *world) wantMED(what string, want uint32) {
	w.t.Helper()
	for _, a := range w.settle().Announcements {
		if a.Prefix != pfx("10.1.0.0/16") {
			continue
		}
		for _, to := range a.To {
			if to.Group == "tgw" {
				if to.MED != want {
					w.t.Errorf("%s: MED %d toward the Transit Gateway, want %d", what, to.MED, want)
				}
				return
			}
		}
	}
	w.t.Errorf("%s: nothing is announced to the Transit Gateway", what)
}

func TestSurvivorOutbidsADeadHostUntilItsRouteIsGone(t *testing.T) {
	for name, order := range map[string][]func(*world){
		"BFD, session, paths": {
			func(w *world) { w.bfd("a", bfdFailed) }, func(w *world) { w.session("a", false) }, func(w *world) { w.unlearn("a", "10.1.0.0/16") },
		},
		"paths, session, BFD": {
			func(w *world) { w.unlearn("a", "10.1.0.0/16") }, func(w *world) { w.session("a", false) }, func(w *world) { w.bfd("a", bfdFailed) },
		},
		"session and paths, without BFD": {
			func(w *world) { w.session("a", false) }, func(w *world) { w.unlearn("a", "10.1.0.0/16") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := fleetWorld(t, false)
			w.wantMED("both hosts live", 50)
			for i, f := range order {
				f(w)
				if i == 0 && name[0] == 'B' {
					if !w.c.Urgent() {
						t.Error("the death of a host is not urgent")
					}
					w.wantMED("as soon as BFD knows", 10)
				}
			}
			w.wantMED("after its death", 10)
			if e := w.c.Entries(func(p netip.Prefix) bool { return p == pfx("10.1.0.0/16") }); len(e) != 1 || e[0].Rank != RankTakeover {
				t.Errorf("shown: %+v, want rank takeover", e)
			}
			w.now = w.now.Add(31 * time.Second)
			w.wantMED("before the hold time and its margin have passed", 10)
			if due := w.c.Due(); due.IsZero() || due.After(w.now.Add(2*time.Second)) {
				t.Errorf("due at %v, want when the hold time has passed", due)
			}
			w.now = w.now.Add(time.Second)
			w.wantMED("when its route is gone", 50)
		})
	}
}

func TestHostThatIsBackIsNotOutbid(t *testing.T) {
	w := fleetWorld(t, false)
	w.bfd("a", bfdFailed)
	w.session("a", false)
	w.unlearn("a", "10.1.0.0/16")
	w.wantMED("dead", 10)
	w.now = w.now.Add(10 * time.Second)
	w.bfd("a", bfdUp)
	w.session("a", true)
	w.learn("a", 0, "10.1.0.0/16")
	w.wantMED("back", 50)
}

func TestHostThatSaidGoodbyeIsNotDead(t *testing.T) {
	w := fleetWorld(t, false)
	w.step(NeighborObserved{bgp.NeighborState{Name: "a", State: bgp.StateIdle, Since: w.now, Reason: "notification-received cease/6/2"}})
	w.unlearn("a", "10.1.0.0/16")
	w.wantMED("after its goodbye", 50)
}

func TestWithdrawalOfALivingHostIsNoDeath(t *testing.T) {
	w := fleetWorld(t, false)
	w.unlearn("a", "10.1.0.0/16")
	w.wantMED("withdrawn", 50)
	w.now = w.now.Add(5 * time.Second) // and then it dies, with other prefixes
	w.bfd("a", bfdFailed)
	w.wantMED("dead later", 50)
}

func TestRoamingSiteTakesPrecedenceWithIt(t *testing.T) {
	w := fleetWorld(t, true)
	w.wantMED("both hosts speak for it", 10)
	w.unlearn("a", "10.1.0.0/16")
	w.wantMED("the other let go", 50)
}
