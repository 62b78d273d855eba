package ha

import (
	"fmt"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// confirmWorld is fleetWorld where the death of host a needs a second evidence.
func confirmWorld(t *testing.T, probe bool) *world {
	w := fleetWorld(t, false)
	cfg := *w.c.cfg
	x := Confirm{Neighbor: "a", Wait: 2 * time.Second}
	if probe {
		x.Probe = wg.Probe{ID: "confirm/a", Kind: wg.ProbeICMP}
	} else {
		link := site("link", 7)
		link.Device, link.Mode, link.Neighbor, link.Link = "to-a", wg.ModeOpen, "", true
		link.Checks = []Check{{Name: "ping", Kind: CheckProbe, Rise: 1, Fall: 1, Probe: wg.Probe{ID: "link/ping", Site: "link"}}}
		cfg.Sites = append([]Site{link}, cfg.Sites...)
		cfg.Devices = append([]wg.Device{{Name: "to-a", Mode: wg.ModeOpen}}, cfg.Devices...)
		for i := range cfg.Neighbors {
			if cfg.Neighbors[i].Name == "a" {
				cfg.Neighbors[i].Device, cfg.Neighbors[i].Site = "to-a", "link"
			}
		}
	}
	cfg.Confirms = []Confirm{x}
	w.c.Reconfigure(w.now, &cfg)
	if !probe {
		w.see("to-a")
	}
	w.answer(probe, true)
	w.wantMED("both live", 50)
	w.now = w.now.Add(time.Second)
	return w
}

func (w *world) answer(probe, ok bool) {
	if probe {
		w.ping("confirm/a", ok)
	} else {
		w.ping("link/ping", ok)
	}
}

func TestSecondEvidenceConfirmsADeath(t *testing.T) {
	for name, probe := range map[string]bool{"probe": true, "link": false} {
		t.Run(name, func(t *testing.T) {
			w := confirmWorld(t, probe)
			w.bfd("a", bfdFailed)
			w.wantMED("BFD alone", 50)
			w.now = w.now.Add(400 * time.Millisecond)
			w.answer(probe, false)
			if !w.c.Urgent() {
				t.Error("the confirmed death of a host is not urgent")
			}
			w.wantMED("confirmed", 10)
			w.now = w.now.Add(32 * time.Second)
			w.wantMED("since BFD failed, the hold time has passed", 50)
		})
	}
}

func TestHostThatAnswersIsNotBelievedDead(t *testing.T) {
	for name, probe := range map[string]bool{"probe": true, "link": false} {
		t.Run(name, func(t *testing.T) {
			w := confirmWorld(t, probe)
			w.bfd("a", bfdFailed)
			for range 10 {
				w.now = w.now.Add(500 * time.Millisecond)
				w.answer(probe, true)
				w.wantMED("it answers", 50)
			}
			w.answer(probe, false)
			w.wantMED("it does not any more", 10)
		})
	}
}

func TestSilentEvidenceIsWaitedForNoLongerThanItMay(t *testing.T) {
	w := confirmWorld(t, true)
	w.bfd("a", bfdFailed)
	w.wantMED("BFD alone", 50)
	if due := w.c.Due(); due.IsZero() || due.After(w.now.Add(2*time.Second)) {
		t.Errorf("due at %v, want when the wait is over", due)
	}
	w.now = w.now.Add(1900 * time.Millisecond)
	w.wantMED("before the wait is over", 50)
	w.now = w.now.Add(100 * time.Millisecond)
	w.wantMED("after it", 10)
}

// After a pause of the process, that the host lives may stand behind another fact
// about it: the wait is over when all that came is known.
func TestPauseOfTheProcessIsNoSilenceOfTheEvidence(t *testing.T) {
	for _, alive := range []bool{true, false} {
		w := confirmWorld(t, true)
		w.bfd("a", bfdFailed)
		w.wantMED("BFD alone", 50)
		w.now = w.now.Add(5 * time.Second)
		w.session("a", false)
		want := uint32(10)
		if alive {
			w.answer(true, true)
			want = 50
		}
		w.wantMED(fmt.Sprintf("after a pause, answered %t", alive), want)
	}
}

func TestHostThatIsBackNeedsAFreshSuspicion(t *testing.T) {
	w := confirmWorld(t, true)
	w.bfd("a", bfdFailed)
	w.settle()
	w.now = w.now.Add(time.Second)
	w.bfd("a", bfdUp)
	w.session("a", true)
	w.learn("a", 0, "10.1.0.0/16")
	w.now = w.now.Add(time.Second)
	w.answer(true, false)
	w.wantMED("it lives, whatever the probe says", 50)
}

func TestConfirmingProbeIsPlanned(t *testing.T) {
	w := confirmWorld(t, true)
	found := false
	for _, p := range w.settle().Probes {
		found = found || p.ID == "confirm/a"
	}
	if !found {
		t.Error("the probe of host a is in no plan")
	}
}
