package ha

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// twoHosts is gateway eu1 with paris, which speaks BGP here and to eu2.
func twoHosts(t *testing.T) *world {
	w := regionWorld(t, func(cfg *Config) {
		cfg.Sites[0].Prefixes = nil
		cfg.Gateway.EndOfRIBWait, cfg.Gateway.Linger = 0, 3*time.Second
	})
	w.learn("paris", 0, "10.1.0.0/16")
	w.tells("eu2", RankDirect, "10.1.0.0/16")
	p := w.settle()
	if holder(p, "10.1.0.0/16") != "paris" {
		t.Fatal("paris has no allowed IP")
	}
	return w
}

// wantHeld wants 10.1.0.0/16 with the peer of paris, or not.
func (w *world) wantHeld(what string, want bool) {
	w.t.Helper()
	if got := holder(w.settle(), "10.1.0.0/16") == "paris"; got != want {
		w.t.Errorf("%s: an allowed IP of paris: %t, want %t", what, got, want)
	}
}

// The session with a site ends while another host has the site too. What it sends
// here, because it has not noticed yet, or because it hears this host again before
// it has told its table, comes from an allowed IP.
func TestAllowedIPsOutliveTheSession(t *testing.T) {
	w := twoHosts(t)
	w.session("paris", false)
	w.unlearn("paris", "10.1.0.0/16")
	w.wantHeld("the session ended", true)
	if got := routed(w.settle(), "10.1.0.0/16"); got != "[{invalid IP to-eu2 0 false}]" {
		t.Errorf("routed by %s, want eu2", got)
	}
	w.now = w.now.Add(40 * time.Second)
	w.step(NeighborObserved{bgp.NeighborState{Name: "paris", State: bgp.StateEstablished, Since: w.now}})
	w.wantHeld("it is back", true)
	w.now = w.now.Add(time.Second)
	w.learn("paris", 0, "10.1.0.0/16")
	w.step(NeighborObserved{bgp.NeighborState{Name: "paris", State: bgp.StateEstablished, Since: w.now.Add(-time.Second), EndOfRIB4: true}})
	w.wantHeld("it has told its table", true)
	w.unlearn("paris", "10.1.0.0/16")
	w.wantHeld("it withdraws", false)
}

func TestAllowedIPsThatTheSiteDoesNotComeBackFor(t *testing.T) {
	down := func(w *world) { w.session("paris", false) }
	up := func(eor bool) func(*world) {
		return func(w *world) {
			w.now = w.now.Add(time.Second)
			w.step(NeighborObserved{bgp.NeighborState{Name: "paris", State: bgp.StateEstablished, Since: w.now, EndOfRIB4: eor}})
		}
	}
	gone := func(w *world) { w.unlearn("paris", "10.1.0.0/16") }
	for _, x := range []struct {
		name string
		do   []func(*world)
		wait time.Duration // for which they stay
	}{
		{"the session stays down", []func(*world){down, gone}, returnWait},
		{"its table does not hold it", []func(*world){down, gone, up(true)}, 0},
		{"it does not say where its table ends", []func(*world){down, gone, up(false)}, quietAfter},
		{"the other host does not have it", []func(*world){func(w *world) { w.unlearn("eu2", "10.1.0.0/16") }, down, gone}, 3 * time.Second},
		{"the paths go before the session", []func(*world){func(w *world) { w.step(NeighborLosing{Name: "paris"}) }, gone}, returnWait},
		{"the next session stands at once", []func(*world){up(false), gone}, quietAfter},
		{"it withdraws", []func(*world){gone}, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := twoHosts(t)
			for _, do := range x.do {
				do(w)
			}
			if x.wait > 0 {
				w.wantHeld("at first", true)
				w.now = w.now.Add(x.wait - time.Millisecond)
				w.wantHeld("until then", true)
				was := w.c.Plan(w.now)
				w.now = w.now.Add(time.Millisecond)
				if due := w.c.Due(); due.IsZero() || due.After(w.now) || w.c.Plan(w.now) == was {
					t.Errorf("the plan of before is due at %v, want another one at %v", due, w.now)
				}
			}
			w.wantHeld("from then on", false)
		})
	}
}

// Another site that claims the prefix gets it at once. Nothing stays beside it, but
// for another link of the same site.
func TestReturningSiteGivesWay(t *testing.T) {
	for _, x := range []struct {
		name, device, group string
		want                string
	}{
		{"on the same interface", "wg0", "", "lyon"},
		{"on the same interface, of its group", "wg0", "g", "lyon"},
		{"on another interface", "wg1", "", "lyon"},
		{"on another interface, of its group", "wg1", "g", "lyon paris"},
	} {
		t.Run(x.name, func(t *testing.T) {
			lyon, paris := site("lyon", 1), site("paris", 2)
			lyon.Device, lyon.Group, paris.Group = x.device, x.group, x.group
			cfg := config(lyon, paris)
			cfg.Devices = append(cfg.Devices, wg.Device{Name: "wg1", Mode: wg.ModeSynced})
			w := newWorld(t, cfg)
			w.session("lyon", true)
			w.session("paris", true)
			w.learn("paris", 0, "10.1.0.0/16")
			w.settle()
			w.session("paris", false)
			w.unlearn("paris", "10.1.0.0/16")
			w.learn("lyon", 0, "10.1.0.0/16")
			var got []string
			for _, d := range w.settle().Devices {
				for _, p := range d.Peers {
					if slices.Contains(p.AllowedIPs, pfx("10.1.0.0/16")) {
						got = append(got, p.Name)
					}
				}
			}
			slices.Sort(got)
			if strings.Join(got, " ") != x.want {
				t.Errorf("the prefix is with %v, want %s", got, x.want)
			}
		})
	}
}
