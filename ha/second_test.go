package ha

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// waitingWorld is gateway eu1, to which paris has come back while us1 speaks for it.
// Paris tells its prefix with the communities; without any it is configured.
func waitingWorld(t *testing.T, tags ...bgp.Community) *world {
	w := regionWorld(t, func(cfg *Config) {
		cfg.Sites[0].Preempt = false
		if len(tags) > 0 {
			cfg.Sites[0].Prefixes = nil
		}
	})
	if len(tags) > 0 {
		w.tagged("paris", "10.1.0.0/16", tags...)
	}
	w.tells("us1", RankDirect, "10.1.0.0/16")
	w.session("paris", false)
	w.settle()
	w.session("paris", true)
	w.wantMED("the site returned", 150)
	return w
}

// A host that does not hear the one that carries a site hears the one that waits,
// and the way by it is the way that its packets take.
func TestWaitingHostStandsByForTheFleet(t *testing.T) {
	for _, x := range []struct {
		name string
		do   func(*world)
		want uint32 // MED toward fleet and iBGP routers; 0: they are told nothing
	}{
		{"it waits", func(*world) {}, 150},
		{"the site is lost here too", func(w *world) { w.session("paris", false) }, 0},
		{"this host leaves", func(w *world) { w.step(Draining{Phase: DrainPrefer}) }, 0},
		{"us1 has it from its Transit Gateway", func(w *world) {
			w.tells("us1", RankDirect, "10.1.0.0/16", w.c.cfg.Gateway.markTGW())
		}, 0},
		{"a host of this region waits as well", func(w *world) { w.tells("eu2", RankRemote, "10.1.0.0/16") }, 150},
		{"us1 lets go", func(w *world) { w.unlearn("us1", "10.1.0.0/16") }, 50},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := waitingWorld(t)
			x.do(w)
			for _, group := range []string{"fleet", "inside"} {
				if got, ok := w.toward(group, "10.1.0.0/16"); ok != (x.want != 0) || got.MED != x.want {
					t.Errorf("%s is told %+v (told: %t), want MED %d", group, got, ok, x.want)
				}
			}
			if x.want != 150 {
				return
			}
			p := w.settle()
			for _, a := range p.Announcements {
				if a.Prefix == pfx("10.1.0.0/16") && !slices.Equal(a.Except, []string{"us1"}) {
					t.Errorf("told to all but %v, want all but us1, to which it goes", a.Except)
				}
			}
			if got := routed(p, "10.1.0.0/16"); got != "[{invalid IP to-us1 0 false}]" {
				t.Errorf("routed by %s, want us1 still", got)
			}
			h := w.c.withheldFor(pfx("10.1.0.0/16"))
			if len(h) != 1 || h[0].Reason != ReasonNotBest || !strings.HasSuffix(h[0].Detail, "the fleet is told that it could") {
				t.Errorf("withheld %+v, want what the fleet is told", h)
			}
		})
	}
}

// What a site asks its host not to tell is not told in this way either.
func TestWaitingSiteThatIsToldToNobody(t *testing.T) {
	for _, x := range []struct {
		tag  bgp.Community
		want bool
	}{{0xfde80001, true}, {bgp.NoExport, true}, {bgp.NoAdvertise, false}, {bgp.GracefulShutdown, false}} {
		w := waitingWorld(t, x.tag)
		if got := slices.Contains(toldTo(w.settle(), "10.1.0.0/16"), "fleet"); got != x.want {
			t.Errorf("with %v the fleet is told: %t, want %t", x.tag, got, x.want)
		}
	}
}

func TestWaitingHostCanNotStandByWithoutTheAllowedIP(t *testing.T) {
	w := waitingWorld(t)
	p := w.settle()
	w.step(WireGuardApplied{p, wg.Applied{
		Device: w.c.sites[0].cfg.Device, Gen: p.Gen, Index: 7, Failed: map[netip.Prefix]string{pfx("10.1.0.0/16"): "no such peer"},
	}})
	if got, want := toldTo(w.c.Plan(w.now), "10.1.0.0/16"), []string{"outside", "sites", "tgw"}; !slices.Equal(got, want) {
		t.Errorf("told to %v, want %v", got, want)
	}
}

// Ranks without an order of MEDs tell nobody who waits: then nothing but what this
// host holds itself goes to the fleet.
func TestNobodyStandsByWithoutAnOrderOfRanks(t *testing.T) {
	cfg := regionWorld(t, func(cfg *Config) {
		x := cfg.Ranks[RankRemote]
		x.MED = cfg.Ranks[RankIndirect].MED
		cfg.Ranks[RankRemote] = x
	}).c.cfg
	for _, x := range newExportTable(cfg).second {
		if x.Group == "fleet" {
			t.Error("the fleet is told with the MED of rank indirect")
		}
	}
}

// The path of a host that waits is the last choice, be its region the nearest one.
func TestWhoWaitsIsTheLastChoice(t *testing.T) {
	w := regionWorld(t, nil)
	w.tells("ap1", RankDirect, "10.3.0.0/16")
	for _, host := range []string{"us1", "eu2"} {
		w.tells(host, RankRemote, "10.3.0.0/16")
		if got := routed(w.settle(), "10.3.0.0/16"); got != "[{invalid IP to-ap1 0 false}]" {
			t.Errorf("%s waits: routed by %s, want ap1, which carries it", host, got)
		}
	}
	if got := toldTo(w.settle(), "10.3.0.0/16"); slices.Contains(got, "fleet") {
		t.Errorf("a host without the site tells it to %v, want not to the fleet", got)
	}
	w.unlearn("ap1", "10.3.0.0/16")
	w.now = w.now.Add(time.Second)
	if got := routed(w.settle(), "10.3.0.0/16"); got != "[{invalid IP to-eu2 0 false}]" {
		t.Errorf("ap1 is not heard any more: routed by %s, want eu2, which could carry it", got)
	}
}
