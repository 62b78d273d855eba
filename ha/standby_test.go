package ha

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// pair are two sites of one group on interfaces of their own with one IPv6
// prefix; east has a probe of something behind it.
func pair(target string) *Config {
	east, west := site("east", 1, "2001:db8:1::/48"), site("west", 2, "2001:db8:1::/48")
	for _, s := range []*Site{&east, &west} {
		s.Group, s.Device, s.Mode = "pair", "wg-"+s.Name, wg.ModeOpen
	}
	east.Checks = append(east.Checks, Check{
		Name: "lan", Kind: CheckProbe, Rise: 1, Fall: 1,
		Probe: wg.Probe{ID: "east/lan", Device: east.Device, Target: netip.MustParseAddr(target)},
	})
	cfg := config(east, west)
	cfg.Devices = []wg.Device{{Name: "wg-east", Mode: wg.ModeOpen}, {Name: "wg-west", Mode: wg.ModeOpen}}
	return cfg
}

// hops lists the devices of a prefix's routes, one list per metric.
func hops(p *Plan, prefix string) (out [][]string) {
	for _, r := range p.FIB.Routes {
		if r.Prefix != pfx(prefix) || r.Type != bgp.Unicast {
			continue
		}
		var devices []string
		for _, h := range r.NextHops {
			devices = append(devices, h.Device)
		}
		out = append(out, devices)
	}
	return out
}

func wantHops(t *testing.T, what string, p *Plan, prefix string, want ...[]string) {
	t.Helper()
	if got := hops(p, prefix); !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%s: routes to %s: got %v, want %v\n%s", what, prefix, got, want, text(p))
	}
}

func probed(w *world, ok bool) {
	w.step(ProbeObserved{wg.ProbeResult{ID: "east/lan", At: w.now, OK: ok, Reason: "timeout"}})
}

func TestProbeOfASiteThatLostItsPrefixKeepsAWay(t *testing.T) {
	w := newWorld(t, pair("2001:db8:1::10"))
	w.session("east", true)
	w.session("west", true)
	probed(w, true)
	wantHops(t, "both up", w.settle(), "2001:db8:1::/48", []string{"wg-east", "wg-west"})
	probed(w, false)
	p := w.settle()
	wantHops(t, "east down", p, "2001:db8:1::/48", []string{"wg-west"}, []string{"wg-east"})
	if !announced(p, "2001:db8:1::/48") {
		t.Errorf("the prefix of west is not announced\n%s", text(p))
	}
	w.step(SiteSet{Site: "west", Disabled: true})
	probed(w, true)
	wantHops(t, "east back, west disabled", w.settle(), "2001:db8:1::/48", []string{"wg-east"})
}

func TestProbeKeepsAWayBesideATransitGatewayPath(t *testing.T) {
	w := newWorld(t, pair("2001:db8:1::10"))
	w.learn("tgw/1", 0, "2001:db8:1::/48")
	p := w.settle()
	wantHops(t, "both down", p, "2001:db8:1::/48", []string{"gre0"}, []string{"wg-east"})
}

func TestOnlyAPrefixThatIsProbedHasAStandby(t *testing.T) {
	w := newWorld(t, pair("2001:db8:2::10"))
	w.session("west", true)
	wantHops(t, "the target is elsewhere", w.settle(), "2001:db8:1::/48", []string{"wg-west"})
}
