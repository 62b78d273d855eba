package ha

import (
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// speak gives the path of host a the MED of a rank.
func (w *world) speak(r Rank) {
	w.step(PathsChanged{[]bgp.PathChange{{Path: bgp.Path{
		Prefix: pfx("10.1.0.0/16"), Neighbor: "a", Attrs: &bgp.Attrs{LocalPref: 100, MED: DefaultRanks()[r].MED, HasMED: true},
	}}}})
}

func preemptWorld(t *testing.T, preempt bool) *world {
	w := fleetWorld(t, false)
	cfg := *w.c.cfg
	cfg.Sites = append([]Site{}, cfg.Sites...)
	cfg.Sites[0].Preempt = preempt
	w.c.Reconfigure(w.now, &cfg)
	for _, n := range []string{"paris", "tgw/1", "tgw/2", "a"} {
		w.session(n, true)
	}
	w.speak(RankBackup)
	w.settle()
	w.step(SiteSteered{Order: SteerFailback})
	w.wantMED("at first", 50)
	return w
}

// AC-15: with preempt = false no route moves when the primary returns, until the
// operator says failback or the standby fails.
func TestReturningPrimaryWaits(t *testing.T) {
	for name, end := range map[string]func(*world){
		"failback":           func(w *world) { w.step(SiteSteered{Site: "paris", Order: SteerFailback}) },
		"standby withdraws":  func(w *world) { w.unlearn("a", "10.1.0.0/16") },
		"standby drains":     func(w *world) { w.speak(RankDrain) },
		"standby yields too": func(w *world) { w.speak(RankIndirect) },
	} {
		t.Run(name, func(t *testing.T) {
			w := preemptWorld(t, false)
			w.session("paris", false)
			w.settle()
			w.now = w.now.Add(time.Minute)
			w.session("paris", true)
			w.wantMED("the primary returned", 120)
			if v := w.c.Speeches(w.now); v[0].Rank != RankIndirect || v[0].Holder != "a" || !v[0].Waits {
				t.Errorf("shown %+v, want rank indirect behind host a", v[0])
			}
			w.now = w.now.Add(time.Hour)
			w.wantMED("an hour later", 120)
			end(w)
			w.wantMED("afterwards", 50)
			w.speak(RankBackup)
			w.wantMED("and it stays so", 50)
		})
	}
}

func TestStandbyThatDiesIsTakenOverFrom(t *testing.T) {
	w := preemptWorld(t, false)
	w.session("paris", false)
	w.settle()
	w.session("paris", true)
	w.wantMED("the primary returned", 120)
	w.bfd("a", bfdFailed)
	w.wantMED("the standby died", 10)
}

func TestWithPreemptTheReturnIsAtOnce(t *testing.T) {
	w := preemptWorld(t, true)
	w.session("paris", false)
	w.settle()
	w.session("paris", true)
	w.wantMED("back", 50)
}

func TestOperatorSteers(t *testing.T) {
	w := preemptWorld(t, true)
	w.step(SiteSteered{Site: "paris", Order: SteerFailover})
	w.wantMED("failover", 120)
	w.unlearn("a", "10.1.0.0/16")
	w.wantMED("failover with nobody there", 50)
	w.speak(RankBackup)
	w.wantMED("somebody is there again", 120)
	w.step(SiteSteered{Site: "paris", Order: SteerTakeover})
	w.wantMED("takeover", 10)
	w.step(SiteSteered{Order: SteerFailback})
	w.wantMED("failback", 50)
}
