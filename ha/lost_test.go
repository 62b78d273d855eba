package ha

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// twoWays has paris, a site on an interface of its own, which has a prefix that a
// host of the fleet offers too, and two routers that offer another one, the second
// by a longer path.
func twoWays(t *testing.T) *world {
	cfg := config(site("paris", 1, "10.1.0.0/16"))
	cfg.Neighbors = append(cfg.Neighbors,
		bgp.Neighbor{Name: "a", Kind: bgp.KindFleet, Group: "fleet", Device: "eth1", IPv4: true, Export: true},
		bgp.Neighbor{Name: "east", Kind: bgp.KindRouter, Group: "routers", Device: "eth0", IPv4: true},
		bgp.Neighbor{Name: "west", Kind: bgp.KindRouter, Group: "routers", Device: "eth0", IPv4: true})
	cfg.BFD = []bgp.BFDSession{{Name: "a"}, {Name: "east"}, {Name: "west"}}
	w := newWorld(t, cfg)
	for _, n := range []string{"paris", "tgw/1", "tgw/2", "a", "east", "west"} {
		w.session(n, true)
	}
	w.learn("a", 0, "10.1.0.0/16")
	w.offer("east", "192.0.2.1", "10.9.0.0/16", 64999)
	w.offer("west", "192.0.2.2", "10.9.0.0/16", 64999, 64999)
	w.settle()
	return w
}

// offer is a path with a gateway and an AS_PATH.
func (w *world) offer(neighbor, gateway, prefix string, path ...bgp.ASN) {
	w.step(PathsChanged{Changes: []bgp.PathChange{{Path: bgp.Path{
		Prefix: pfx(prefix), Neighbor: neighbor, NextHop: netip.MustParseAddr(gateway), Attrs: &bgp.Attrs{ASPath: path, LocalPref: 100},
	}}}})
}

func hopsOf(p *Plan, prefix string) []bgp.NextHop {
	for _, r := range p.FIB.Routes {
		if r.Prefix == pfx(prefix) && r.Type == bgp.Unicast {
			return r.NextHops
		}
	}
	return nil
}

func by(gateway, device string, backup bool) bgp.NextHop {
	h := bgp.NextHop{Device: device, Backup: backup}
	if gateway != "" {
		h.Gateway = netip.MustParseAddr(gateway)
	}
	return h
}

func (w *world) wantLost(what string, news bool, want ...bgp.NextHop) {
	w.t.Helper()
	if got, new := w.c.Lost(); !slices.Equal(got, want) || new != news {
		w.t.Errorf("%s: lost %+v, news %v, want %+v, %v", what, got, new, want, news)
	}
}

func TestRoutesCarryTheirBackup(t *testing.T) {
	w := twoWays(t)
	p := w.settle()
	want := []bgp.NextHop{by("192.0.2.1", "eth0", false), by("192.0.2.2", "eth0", true)}
	if got := hopsOf(p, "10.9.0.0/16"); !slices.Equal(got, want) {
		t.Errorf("learned twice: got %+v, want %+v", got, want)
	}
	if got := hopsOf(p, "10.1.0.0/16"); len(got) != 2 || got[0] != by("", "wg0", false) || got[1].Device != "eth1" || !got[1].Backup {
		t.Errorf("of a site, and offered by the fleet: got %+v", got)
	}
	w.bfd("west", bfdUp)
	w.bfd("west", bfdFailed)
	if got := hopsOf(w.settle(), "10.9.0.0/16"); !slices.Equal(got, want[:1]) {
		t.Errorf("with a dead neighbor behind it: got %+v, want %+v", got, want[:1])
	}
}

func TestWhatEqualPathsDoNotFitIsTheirBackup(t *testing.T) {
	w := twoWays(t)
	w.c.cfg.FIB.MaxECMP = 1
	w.offer("west", "192.0.2.2", "10.9.0.0/16", 64999)
	if got := hopsOf(w.settle(), "10.9.0.0/16"); len(got) != 2 || got[0].Backup || !got[1].Backup {
		t.Errorf("got %+v, want one next hop and one backup", got)
	}
}

func TestLossIsKnownBeforeThePlan(t *testing.T) {
	east, paris := by("192.0.2.1", "eth0", false), by("", "wg0", false)
	for name, tt := range map[string]struct {
		lose func(w *world)
		want []bgp.NextHop
	}{
		"BFD session of a neighbor": {func(w *world) { w.bfd("east", bfdUp); w.bfd("east", bfdFailed) }, []bgp.NextHop{east}},
		"session about to end":      {func(w *world) { w.step(NeighborLosing{"east"}) }, []bgp.NextHop{east}},
		"site":                      {func(w *world) { w.step(SiteSet{Site: "paris", Disabled: true}) }, []bgp.NextHop{paris}},
		"tunnel":                    {func(w *world) { w.step(TunnelObserved{tgwconnect.TunnelState{Name: "gre0"}}) }, []bgp.NextHop{by("", "gre0", false)}},
	} {
		t.Run(name, func(t *testing.T) {
			w := twoWays(t)
			w.wantLost("all well", false)
			tt.lose(w)
			w.wantLost("at once", true, tt.want...)
			w.wantLost("asked again", false, tt.want...)
			if p := w.c.Plan(w.now); !slices.Equal(p.FIB.Lost, tt.want) {
				t.Errorf("the plan says %+v, want %+v", p.FIB.Lost, tt.want)
			}
		})
	}
}

func TestSessionThatEndedIsNotLostForEver(t *testing.T) {
	w := twoWays(t)
	w.step(NeighborLosing{"east"})
	w.wantLost("ending", true, by("192.0.2.1", "eth0", false))
	w.unlearn("east", "10.9.0.0/16")
	w.session("east", false)
	w.wantLost("ended: its paths are gone", false)
	w.now = w.now.Add(time.Second)
	w.session("east", true)
	w.offer("east", "192.0.2.1", "10.9.0.0/16", 64999)
	w.wantLost("back", false)
	if got := hopsOf(w.settle(), "10.9.0.0/16"); len(got) != 2 || got[0] != by("192.0.2.1", "eth0", false) {
		t.Errorf("back: got %+v", got)
	}
}

func TestGatewayThatAnotherNeighborNamesIsNotLost(t *testing.T) {
	w := twoWays(t)
	w.offer("west", "192.0.2.1", "10.8.0.0/16", 64999) // as route servers do
	w.step(NeighborLosing{"east"})
	w.wantLost("west lives", false)
	w.step(NeighborLosing{"west"})
	w.wantLost("both end", true, by("192.0.2.1", "eth0", false), by("192.0.2.2", "eth0", false))
}
