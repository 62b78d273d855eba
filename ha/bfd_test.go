package ha

import (
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// bfdWorld has a site with BGP, a static one and a router, each with a BFD
// session; the router offers what paris has too.
func bfdWorld(t *testing.T, edit func(*Config)) *world {
	paris, rome := site("paris", 1, "10.1.0.0/16"), site("rome", 2, "10.2.0.0/16")
	paris.Checks = append(paris.Checks, Check{Name: "bfd", Kind: CheckBFD})
	rome.Checks = []Check{probeCheck("lan"), {Name: "bfd", Kind: CheckBFD}}
	rome.Checks[0].Probe.ID = "rome/lan"
	rome.Neighbor = ""
	cfg := config(paris, rome)
	cfg.Neighbors = append(cfg.Neighbors[:3:3], bgp.Neighbor{Name: "zurich", Kind: bgp.KindRouter, Group: "routers", Device: "eth0", IPv4: true, Export: true})
	for _, name := range []string{"paris", "rome", "zurich"} {
		cfg.BFD = append(cfg.BFD, bgp.BFDSession{Name: name, Address: netip.MustParseAddr("10.255.0.9"), Interval: 300 * time.Millisecond, Multiplier: 3})
	}
	if edit != nil {
		edit(cfg)
	}
	w := newWorld(t, cfg)
	for _, n := range []string{"tgw/1", "tgw/2", "paris", "zurich"} {
		w.session(n, true)
	}
	w.now = w.now.Add(sec)
	r := ProbeObserved{}
	r.ID, r.OK, r.At = "rome/lan", true, w.now
	w.step(r)
	w.learn("zurich", 0, "10.9.0.0/16")
	w.settle()
	return w
}

func (w *world) bfd(name string, s bgp.BFDState) {
	s.Name, s.Since, s.LocalDiscr = name, w.now, 1
	w.step(BFDObserved{s})
}

var (
	bfdUp     = bgp.BFDState{State: bgp.BFDUp, RemoteState: bgp.BFDUp}
	bfdFailed = bgp.BFDState{State: bgp.BFDDown, RemoteState: bgp.BFDDown, Diag: bgp.BFDDiagDetectExpired, Failed: true, Flaps: 1}
	bfdLeft   = bgp.BFDState{State: bgp.BFDDown, RemoteState: bgp.BFDAdminDown, Diag: bgp.BFDDiagNeighborDown}
)

func TestBFDFailureWithdrawsASiteAtOnce(t *testing.T) {
	for name, prefix := range map[string]string{"paris": "10.1.0.0/16", "rome": "10.2.0.0/16"} {
		w := bfdWorld(t, nil)
		if p := w.settle(); !announced(p, prefix) {
			t.Fatalf("%s: a session that never came up is no evidence, yet not announced\n%s", name, text(p))
		}
		w.bfd(name, bfdUp)
		w.settle()
		w.bfd(name, bfdFailed)
		if !w.c.Urgent() {
			t.Errorf("%s: a failure waits", name)
		}
		if p := w.settle(); announced(p, prefix) || withheld(p, prefix) != ReasonBFD {
			t.Errorf("%s: withheld for %q\n%s", name, withheld(p, prefix), text(p))
		}
		w.bfd(name, bgp.BFDState{State: bgp.BFDInit, Failed: true, Flaps: 1})
		if j := w.c.Sites(w.now, name)[0].Judged; j.Verdict != Down || j.Detail != detailBFD {
			t.Errorf("%s: on its way back: %+v", name, j)
		}
		up := bfdUp
		up.Flaps = 1
		w.bfd(name, up)
		if p := w.settle(); !announced(p, prefix) {
			t.Errorf("%s: up again, not announced\n%s", name, text(p))
		}
	}
}

func TestBFDThatEitherEndHoldsDownIsNoFailure(t *testing.T) {
	w := bfdWorld(t, nil)
	w.bfd("rome", bfdUp)
	w.bfd("rome", bfdLeft)
	if p := w.settle(); !announced(p, "10.2.0.0/16") {
		t.Errorf("AdminDown at the site withdraws it\n%s", text(p))
	}
	if c := w.c.Sites(w.now, "rome")[0].Checks[1]; c.State != Idle || c.Note != "administratively-down" {
		t.Errorf("check: %+v", c)
	}
}

func TestStrictBFDIsWaitedFor(t *testing.T) {
	w := bfdWorld(t, func(c *Config) {
		c.Sites[1].Checks[1].Strict = true
		c.BFD[1].Strict, c.BFD[2].Strict = true, true
	})
	w.bfd("rome", bgp.BFDState{State: bgp.BFDDown})
	w.bfd("zurich", bgp.BFDState{State: bgp.BFDDown})
	if p := w.settle(); announced(p, "10.2.0.0/16") || withheld(p, "10.2.0.0/16") != ReasonUnknown || announced(p, "10.9.0.0/16") {
		t.Errorf("before it came up\n%s", text(p))
	}
	w.bfd("rome", bfdUp)
	w.bfd("zurich", bfdUp)
	if p := w.settle(); !announced(p, "10.2.0.0/16") || !announced(p, "10.9.0.0/16") {
		t.Errorf("up\n%s", text(p))
	}
}

func TestBFDFailureVoidsWhatANeighborSent(t *testing.T) {
	w := bfdWorld(t, nil)
	w.bfd("zurich", bfdUp)
	if p := w.settle(); !announced(p, "10.9.0.0/16") || flushes(p, "zurich") != 0 {
		t.Fatalf("before\n%s", text(p))
	}
	w.now = w.now.Add(sec)
	w.bfd("zurich", bfdFailed)
	p := w.c.Plan(w.now)
	if announced(p, "10.9.0.0/16") || withheld(p, "10.9.0.0/16") != ReasonBFD || flushes(p, "zurich") != 1 {
		t.Errorf("withheld for %q, flushed %d times\n%s", withheld(p, "10.9.0.0/16"), flushes(p, "zurich"), text(p))
	}
	// The session goes and comes back while BFD is still down: it is newer evidence.
	w.session("zurich", false)
	w.unlearn("zurich", "10.9.0.0/16")
	w.settle()
	w.now = w.now.Add(sec)
	w.session("zurich", true)
	w.learn("zurich", 0, "10.9.0.0/16")
	if p := w.settle(); !announced(p, "10.9.0.0/16") || flushes(p, "zurich") != 1 {
		t.Errorf("a later session is not believed\n%s", text(p))
	}
	// A reload is no second failure.
	w.c.Reconfigure(w.now, w.c.Config())
	if p := w.settle(); !announced(p, "10.9.0.0/16") || flushes(p, "zurich") != 1 {
		t.Errorf("after a reload: flushed %d times\n%s", flushes(p, "zurich"), text(p))
	}
}

// The inbox keeps the latest fact only: a session may fail and be up again
// before the core looks.
func TestBFDFlapBetweenTwoLooksIsSeen(t *testing.T) {
	w := bfdWorld(t, nil)
	w.bfd("zurich", bfdUp)
	w.bfd("rome", bfdUp)
	w.settle()
	up := bfdUp
	up.Flaps = 1
	w.bfd("zurich", up)
	w.bfd("rome", up)
	if p := w.c.Plan(w.now); flushes(p, "zurich") != 1 {
		t.Errorf("flushed %d times", flushes(p, "zurich"))
	}
	if s := w.c.siteByName["rome"].health.list[1]; s.fell.IsZero() {
		t.Error("the site's check never fell")
	}
}

func flushes(p *Plan, name string) uint32 {
	for i := range p.Neighbors {
		if p.Neighbors[i].Name == name {
			return p.Neighbors[i].Flush
		}
	}
	return 0
}

func TestDisabledSitesHaveNoBFDSession(t *testing.T) {
	w := bfdWorld(t, func(c *Config) { c.Sites[1].Disabled = true })
	p := w.settle()
	if len(p.BFD) != 2 || p.BFD[0].Name != "paris" || p.BFD[1].Name != "zurich" {
		t.Errorf("sessions %+v", p.BFD)
	}
	if v := w.c.BFD(); len(v) != 2 || v[0].Site != "paris" || v[0].Neighbor != "paris" || v[1].Site != "" || v[1].Neighbor != "zurich" {
		t.Errorf("views %+v", v)
	}
}

// BFD's failure and the end of the session are reported by different ways. A
// session that has ended is not to be ended once more.
func TestASessionThatEndedIsNotFlushedWhicheverIsReportedFirst(t *testing.T) {
	for _, order := range [][]string{{"bfd", "session"}, {"session", "bfd"}} {
		cfg := config(site("a", 1, "10.0.0.0/16"))
		cfg.BFD = []bgp.BFDSession{{Name: "a", Interval: 300 * time.Millisecond, Multiplier: 3}}
		w := newWorld(t, cfg)
		w.session("a", true)
		w.step(BFDObserved{bgp.BFDState{Name: "a", State: bgp.BFDUp, LocalDiscr: 1}})
		w.settle()
		w.now = w.now.Add(time.Minute)
		for _, what := range order {
			if what == "session" {
				w.session("a", false)
			} else {
				w.step(BFDObserved{bgp.BFDState{Name: "a", State: bgp.BFDDown, Failed: true, Flaps: 1, LocalDiscr: 1}})
			}
		}
		for _, n := range w.c.Plan(w.now).Neighbors {
			if n.Name == "a" && n.Flush != 0 {
				t.Errorf("%v: got %d flushes of a session that has ended", order, n.Flush)
			}
		}
	}
}
