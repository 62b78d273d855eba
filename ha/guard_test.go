package ha

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// guarded is a gateway with ten sites and two anchors, all well.
func guarded(t *testing.T, edit func(*Guard)) *world {
	var sites []Site
	for i := range 10 {
		sites = append(sites, site(fmt.Sprintf("s%d", i), i+1, fmt.Sprintf("10.%d.0.0/16", i)))
	}
	cfg := config(sites...)
	cfg.Guard = Guard{Share: 80, MinSites: 4, Within: 3 * time.Second, Needed: 1}
	for _, a := range []string{"192.0.2.1", "2001:db8::1"} {
		cfg.Guard.Anchors = append(cfg.Guard.Anchors, wg.Probe{ID: "anchor " + a, Kind: wg.ProbeICMP, Target: netip.MustParseAddr(a), Interval: time.Second})
	}
	if edit != nil {
		edit(&cfg.Guard)
	}
	w := newWorld(t, cfg)
	for _, n := range []string{"tgw/1", "tgw/2"} {
		w.session(n, true)
	}
	w.sites(10, true)
	w.anchors(true)
	w.step(UnderlayObserved{Default4: true})
	w.settle()
	return w
}

func (w *world) sites(n int, up bool) {
	for i := range n {
		w.session(fmt.Sprintf("s%d", i), up)
	}
}

func (w *world) anchors(ok ...bool) {
	for i, p := range w.c.cfg.Guard.Anchors {
		w.step(ProbeObserved{wg.ProbeResult{ID: p.ID, At: w.now, OK: ok[i%len(ok)]}})
	}
}

// stepsDown wants that nothing at all is announced, or all that still stands.
func (w *world) stepsDown(when string, want bool) {
	w.t.Helper()
	p := w.settle()
	switch last := announced(p, "10.9.0.0/16"); {
	case want && (last || len(p.Announcements) > 0):
		w.t.Errorf("%s: %d prefixes are announced, want none", when, len(p.Announcements))
	case want && withheld(p, "10.9.0.0/16") != ReasonUnderlay:
		w.t.Errorf("%s: withheld as %q", when, withheld(p, "10.9.0.0/16"))
	case !want && !last:
		w.t.Errorf("%s: the site that stands is withheld as %q", when, withheld(p, "10.9.0.0/16"))
	}
	if got := slices.Contains(reasons(w.c), ReasonUnderlay); got != want {
		w.t.Errorf("%s: unhealthy for the underlay %v, want %v", when, got, want)
	}
}

func TestManyFailuresOfADeadUnderlayStepDownAsAWhole(t *testing.T) {
	for name, c := range map[string]struct {
		dead, alive func(*world)
		why         string
	}{
		"anchors": {func(w *world) { w.anchors(false) }, func(w *world) {
			for range anchorRise {
				w.anchors(true)
			}
		}, "0 of 2 anchors answer"},
		"default route": {func(w *world) { w.step(UnderlayObserved{}) }, func(w *world) { w.step(UnderlayObserved{Default4: true}) }, "the default route is gone (IPv4)"},
	} {
		t.Run(name, func(t *testing.T) {
			w := guarded(t, nil)
			w.sites(9, false)
			w.stepsDown("nine sites failed, nothing else", false)
			w.c.Transitions()
			c.dead(w)
			if !w.c.Urgent() {
				t.Error("stepping down is not urgent")
			}
			w.stepsDown("and the underlay is dead", true)
			if v := w.c.Underlay(); v.Since.IsZero() || !strings.Contains(v.Why, "9 of 10 sites failed within 3s") || !strings.Contains(v.Why, c.why) {
				t.Errorf("shown: %+v", v)
			}
			if m := w.c.Transitions(); len(m) != 1 || !m[0].Underlay || m[0].To != string(Down) || m[0].Detail == "" {
				t.Errorf("transitions: got %+v", m)
			}
			w.now = w.now.Add(time.Hour)
			w.stepsDown("an hour later", true)
			c.alive(w)
			w.stepsDown("and it lives again", false)
			if m := w.c.Transitions(); len(m) != 1 || !m[0].Underlay || m[0].To != string(Up) {
				t.Errorf("transitions: got %+v", m)
			}
		})
	}
}

func TestGuardBelievesSites(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*Guard)
		do   func(*world)
	}{
		"underlay lives":        {nil, func(w *world) { w.sites(9, false); w.anchors(true) }},
		"one anchor is enough":  {nil, func(w *world) { w.sites(9, false); w.anchors(true, false) }},
		"too small a share":     {nil, func(w *world) { w.sites(7, false); w.anchors(false) }},
		"too few":               {func(g *Guard) { g.Share, g.MinSites = 10, 4 }, func(w *world) { w.sites(3, false); w.anchors(false) }},
		"switched off":          {func(g *Guard) { g.Share = 0 }, func(w *world) { w.sites(9, false); w.anchors(false) }},
		"underlay alone is ill": {nil, func(w *world) { w.anchors(false); w.step(UnderlayObserved{}) }},
		"one after the other": {nil, func(w *world) {
			for i := range 9 {
				w.session(fmt.Sprintf("s%d", i), false)
				w.now = w.now.Add(2 * time.Second)
			}
			w.anchors(false)
		}},
		"anchors fall silent much later": {nil, func(w *world) {
			w.sites(9, false)
			w.now = w.now.Add(guardMemory + time.Second)
			w.anchors(false)
		}},
		"an operator's order": {nil, func(w *world) {
			for i := range 9 {
				w.step(SiteSet{Site: fmt.Sprintf("s%d", i), Disabled: true})
			}
			w.anchors(false)
		}},
		"there never was a default route": {func(g *Guard) { g.Anchors = nil }, func(w *world) {
			w.c.host.had = UnderlayObserved{}
			w.step(UnderlayObserved{})
			w.sites(9, false)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := guarded(t, c.edit)
			c.do(w)
			w.stepsDown(name, false)
		})
	}
}

// The order in which the news arrives must not matter.
func TestGuardTakesFactsInAnyOrder(t *testing.T) {
	w := guarded(t, nil)
	w.anchors(false)
	w.sites(9, false)
	w.stepsDown("anchors first", true)
	if w.anchors(true); restingAnchors(w) != 2 {
		t.Fatal("anchors did not answer")
	}
	w.stepsDown("one answer is not enough to come back", true)
}

func restingAnchors(w *world) (n int) {
	for _, a := range w.c.Underlay().Anchors {
		if a.OK {
			n++
		}
	}
	return n
}

func TestAnchorsAreAsked(t *testing.T) {
	w := guarded(t, nil)
	var got []string
	for _, p := range w.settle().Probes {
		got = append(got, p.ID)
	}
	if want := []string{"anchor 192.0.2.1", "anchor 2001:db8::1"}; !slices.Equal(got, want) {
		t.Errorf("probes: got %v, want %v", got, want)
	}
}
