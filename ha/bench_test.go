package ha

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// bigConfig has n sites with four prefixes each.
func bigConfig(n int) *Config {
	var sites []Site
	for i := range n {
		s := site(fmt.Sprintf("site%05d", i), i+1)
		for j := range 4 {
			s.Prefixes = append(s.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{20 + byte(i>>8), byte(i), byte(j), 0}), 24))
		}
		sites = append(sites, s)
	}
	return config(sites...)
}

func bigWorld(b *testing.B, n int) *world {
	w := newWorld(b, bigConfig(n))
	for i := range n {
		w.session(fmt.Sprintf("site%05d", i), true)
	}
	w.now = w.now.Add(time.Minute)
	if p := w.settle(); len(p.Announcements) != 4*n {
		b.Fatalf("announced %d of %d", len(p.Announcements), 4*n)
	}
	return w
}

// BenchmarkPlanOneSiteChanges is one verdict among 10,000 sites: the target is
// 10 ms a plan.
func BenchmarkPlanOneSiteChanges(b *testing.B) {
	w := bigWorld(b, 10000)
	up := false
	for b.Loop() {
		w.session("site05000", up)
		up = !up
		if p := w.c.Plan(w.now); len(p.Announcements) == 0 {
			b.Fatal("empty plan")
		}
	}
}

// BenchmarkPlanRecomputedUnchanged has a fact that makes the core plan again
// with the same outcome.
func BenchmarkPlanRecomputedUnchanged(b *testing.B) {
	w := bigWorld(b, 10000)
	p := w.c.Plan(w.now)
	for b.Loop() {
		w.applyAnn(p)
		if w.c.Plan(w.now) != p {
			b.Fatal("plan changed")
		}
	}
}

// BenchmarkPlanUnchanged takes in one poll of 10,000 peers that says nothing
// new: the target is 2 ms a plan.
func BenchmarkPlanUnchanged(b *testing.B) {
	w := bigWorld(b, 10000)
	p := w.c.Plan(w.now)
	st := wg.DeviceState{Name: "wg0", Up: true}
	for _, s := range w.c.devices["wg0"].sites {
		st.Peers = append(st.Peers, wg.PeerState{Key: s.cfg.Peer.Key, Handshake: 1})
	}
	for b.Loop() {
		w.step(DeviceObserved{State: st})
		if w.c.Plan(w.now) != p {
			b.Fatal("plan changed")
		}
	}
}

// bigFleetWorld is bigWorld where another host of the fleet tells every prefix too:
// as its backup for one half, and better than this host for the other.
func bigFleetWorld(b *testing.B, n int) *world {
	cfg := bigConfig(n)
	cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{Name: "gw2", Kind: bgp.KindFleet, Group: "fleet", Device: "eth0", IPv4: true, Export: true})
	w := newWorld(b, cfg)
	w.session("gw2", true)
	var told []bgp.PathChange
	for i := range n {
		w.session(fmt.Sprintf("site%05d", i), i%2 == 0)
		for _, p := range cfg.Sites[i].Prefixes {
			told = append(told, bgp.PathChange{Path: bgp.Path{
				Prefix: p, Neighbor: "gw2", NextHop: netip.AddrFrom4([4]byte{192, 0, 2, 2}), Attrs: backupPath,
			}})
		}
	}
	w.step(PathsChanged{told})
	w.now = w.now.Add(time.Minute)
	if p := w.settle(); len(p.Announcements) != 4*n {
		b.Fatalf("announced %d of %d", len(p.Announcements), 4*n)
	}
	return w
}

var backupPath = &bgp.Attrs{LocalPref: 100, HasMED: true, MED: 80}

// BenchmarkPlanOneSiteChangesInAFleet is one verdict among 10,000 sites whose every
// prefix has two paths, and the plan that follows its confirmation.
func BenchmarkPlanOneSiteChangesInAFleet(b *testing.B) {
	w := bigFleetWorld(b, 10000)
	up := false
	for b.Loop() {
		w.session("site05000", up)
		up = !up
		p := w.c.Plan(w.now)
		w.applyRoutes(p)
		if p = w.c.Plan(w.now); len(p.Announcements) == 0 {
			b.Fatal("empty plan")
		}
	}
}
