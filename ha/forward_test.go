package ha

import (
	"slices"
	"testing"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// reasons lists why a core does not forward, in order.
func reasons(c *Core) (out []Reason) {
	for _, w := range c.Forwarding().Why {
		out = append(out, w.Reason)
	}
	return out
}

func TestForwardingNamesWhatIsMissing(t *testing.T) {
	dialled := func(s Site) Site { s.Peer.Endpoint = wg.Endpoint{Host: "192.0.2.7", Port: 51820}; return s }
	new := func(sites CountSites) *world {
		cfg := config(dialled(site("a", 1, "10.1.0.0/16")), site("b", 2, "10.2.0.0/16"))
		cfg.Health.Sites = sites
		w := newWorld(t, cfg)
		w.session("tgw/1", true)
		w.session("a", true)
		w.session("b", true)
		w.settle()
		return w
	}
	fresh := newWorld(t, config())
	if got, want := reasons(fresh.c), []Reason{ReasonNoPeer, ReasonRoute, ReasonBGP}; !slices.Equal(got, want) {
		t.Errorf("fresh: got %v, want %v", got, want)
	}
	for _, tt := range []struct {
		name  string
		sites CountSites
		do    func(w *world)
		want  []Reason
	}{
		{"all is well", CountDialled, func(*world) {}, nil},
		{"one of two sessions to the TGW", CountDialled, func(w *world) { w.session("tgw/1", false); w.session("tgw/2", true) }, nil},
		{"no session to the TGW", CountDialled, func(w *world) { w.session("tgw/1", false) }, []Reason{ReasonBGP}},
		{"the dialled site is down", CountDialled, func(w *world) { w.session("a", false) }, []Reason{ReasonSiteDown}},
		{"a site that dials in is down", CountDialled, func(w *world) { w.session("b", false) }, nil},
		{"one of all sites is down", CountAll, func(w *world) { w.session("a", false) }, nil},
		{"all sites are down", CountAll, func(w *world) { w.session("a", false); w.session("b", false) }, []Reason{ReasonSiteDown}},
		{"sites do not count", CountNone, func(w *world) { w.session("a", false); w.session("b", false) }, nil},
		{"the only dialled site is disabled", CountDialled, func(w *world) { w.step(SiteSet{Site: "a", Disabled: true}) }, nil},
		{"the interface is gone", CountNone, func(w *world) {
			w.step(DeviceObserved{State: wg.DeviceState{Name: "wg0"}, Err: "no such device", Gone: true})
		}, []Reason{ReasonNoDevice}},
		{"the interface can not be set", CountNone, func(w *world) {
			w.step(WireGuardApplied{Plan: w.c.plan, Applied: wg.Applied{Device: "wg0", Index: 8, Err: "permission denied"}})
		}, []Reason{ReasonNoPeer}},
		{"routes can not be installed", CountNone, func(w *world) {
			w.step(RoutesApplied{Plan: w.c.plan, RoutesApplied: bgp.RoutesApplied{Err: "no netlink"}})
		}, []Reason{ReasonRouteFailed}},
		{"leaving, while everything goes on", CountDialled, func(w *world) { w.step(Draining{Phase: DrainHealth}) }, []Reason{ReasonDraining}},
		{"leaving", CountDialled, func(w *world) { w.step(Draining{Phase: DrainWithdraw}) }, []Reason{ReasonDraining}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := new(tt.sites)
			tt.do(w)
			f := w.c.Forwarding()
			if got := reasons(w.c); !slices.Equal(got, tt.want) || f.OK != (tt.want == nil) {
				t.Errorf("got %v %v, want %v", f.OK, f.Why, tt.want)
			}
		})
	}
}

func TestFailingTheHealthCheckFirstMovesNothing(t *testing.T) {
	w := newWorld(t, config(site("a", 1, "10.1.0.0/16")))
	w.session("tgw/1", true)
	w.session("a", true)
	before := text(w.settle())
	w.step(Draining{Phase: DrainHealth})
	if after := text(w.settle()); after != before {
		t.Errorf("the plan changed from\n%s\nto\n%s", before, after)
	}
}

func TestOfOpenInterfacesOneIsEnough(t *testing.T) {
	cfg := config()
	cfg.Devices = []wg.Device{{Name: "wg1", Mode: wg.ModeOpen}, {Name: "wg2", Mode: wg.ModeOpen}}
	w := newWorld(t, cfg)
	w.session("tgw/1", true)
	w.settle()
	gone := func(name string) { w.step(DeviceObserved{State: wg.DeviceState{Name: name}, Err: "no such device"}) }
	gone("wg1")
	if f := w.c.Forwarding(); !f.OK {
		t.Errorf("one of two: got %v", f.Why)
	}
	gone("wg2")
	if got := reasons(w.c); !slices.Equal(got, []Reason{ReasonNoDevice}) {
		t.Errorf("none: got %v", got)
	}
}

// A host that has left withholds what one that withdraws does, so that a load
// balancer hears of it with nothing left to lose.
func TestAHostThatHasLeftStaysWithdrawn(t *testing.T) {
	w := newWorld(t, config(site("a", 1, "10.1.0.0/16")))
	w.session("tgw/1", true)
	w.session("a", true)
	if p := w.settle(); len(p.Announcements) != 1 || w.c.Leave() != tgwconnect.Staying {
		t.Fatalf("%d announcements, leave %d", len(p.Announcements), w.c.Leave())
	}
	for _, tt := range []struct {
		phase DrainPhase
		leave tgwconnect.Leave
		told  int
	}{{DrainHealth, tgwconnect.Leaving, 1}, {DrainPrefer, tgwconnect.Leaving, 1}, {DrainWithdraw, tgwconnect.Leaving, 0}, {DrainLeft, tgwconnect.Left, 0}, {DrainNone, tgwconnect.Staying, 1}} {
		w.step(Draining{Phase: tt.phase})
		if p := w.settle(); len(p.Announcements) != tt.told || w.c.Leave() != tt.leave {
			t.Errorf("%s: %d announcements, leave %d, want %d, %d", tt.phase, len(p.Announcements), w.c.Leave(), tt.told, tt.leave)
		}
	}
}
