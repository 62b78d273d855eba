package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/bgp/fib"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

const (
	sites    = 10_000
	prefixes = 4
)

// manySites is a gateway with one shared interface; a site lives by its BGP
// session.
func manySites() *ha.Config {
	cfg := &ha.Config{
		Gateway: ha.Gateway{Name: "gw", ASN: 65000, RouterID: netip.MustParseAddr("10.255.255.254"), Linger: time.Second},
		Devices: []wg.Device{{Name: "wg0", Mode: wg.ModeSynced, Addresses: []netip.Prefix{netip.MustParsePrefix("10.255.255.254/16")}}},
		FIB:     ha.FIB{Table: 1186, Protocol: 186, Metric: 100, SinkMetric: 65535, RulePref: 1186, Mark: 4486, MaxECMP: 8},
		Ranks:   ha.DefaultRanks(),
		Neighbors: []bgp.Neighbor{
			{Name: "router", Kind: bgp.KindRouter, Group: "routers", Address: netip.MustParseAddr("192.0.2.1"), RemoteASN: 65020, IPv4: true, Export: true},
		},
	}
	for i := range sites {
		s := ha.Site{
			Name: fmt.Sprintf("site-%05d", i), Device: "wg0", Mode: wg.ModeSynced, Role: ha.RolePrimary, IdlePolicy: ha.IdleWithhold,
			Address4: netip.AddrFrom4([4]byte{10, 255, byte(i >> 8), byte(i)}),
			Checks:   []ha.Check{{Name: "bgp", Kind: ha.CheckBGP, Rise: 1, Fall: 1}},
		}
		s.Neighbor, s.Peer.Name = s.Name, s.Name
		binary.BigEndian.PutUint32(s.Peer.Key[:], uint32(i+1))
		for j := range prefixes {
			s.Prefixes = append(s.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{20 + byte(i>>8), byte(i), byte(j), 0}), 24))
		}
		cfg.Sites = append(cfg.Sites, s)
		cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{
			Name: s.Name, Kind: bgp.KindSite, Group: "sites", Site: s.Name, Device: "wg0", Address: s.Address4, RemoteASN: 65100, IPv4: true, Export: true,
		})
	}
	slices.SortFunc(cfg.Neighbors, func(a, b bgp.Neighbor) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return cfg
}

// gateway is the core and what its edges hold, with the kernel's table real.
type gateway struct {
	core  *ha.Core
	now   time.Time
	seen  wg.DeviceState
	table *wg.Table
	told  []bgp.Announcement
	fib   *fib.FIB

	plan *ha.Plan
	took [5][]time.Duration // core, wg, bgp, fib, all
}

func (g *gateway) session(site string, up bool) {
	n := bgp.NeighborState{Name: site, State: bgp.StateIdle}
	if up {
		n.State, n.EndOfRIB4 = bgp.StateEstablished, true
	}
	g.core.Step(g.now, ha.NeighborObserved{NeighborState: n})
}

// round is one turn of the daemon: facts, plan, and if it is a new one, what each
// edge does to find its difference.
func (g *gateway) round(b *testing.B, facts func()) *ha.Plan {
	begin := time.Now()
	at := begin
	lap := func(i int) {
		now := time.Now()
		g.took[i] = append(g.took[i], now.Sub(at))
		at = now
	}
	defer func() { g.took[4] = append(g.took[4], at.Sub(begin)) }()
	facts()
	p := g.core.Plan(g.now)
	lap(0)
	if p == g.plan {
		return p
	}
	g.plan = p
	d := wg.Diff(p.Devices[0].Peers, g.table, wg.DiffOptions{Sweep: true})
	lap(1)
	set, gone := bgp.DiffAnnouncements(g.told, p.Announcements)
	g.told = p.Announcements
	lap(2)
	r := g.fib.Apply(context.Background(), p.Gen, p.FIB)
	lap(3)
	if r.Err != "" || len(r.Reports) > 0 {
		b.Fatalf("routes: %q, %d reports", r.Err, len(r.Reports))
	}
	_, _, _ = d, set, gone
	for _, op := range d.Ops {
		g.table.Do(op)
	}
	return p
}

// settle plays the edges' answers until nothing is left to do.
func (g *gateway) settle(b *testing.B) {
	for range 10 {
		p := g.round(b, func() {})
		g.core.Step(g.now, ha.WireGuardApplied{Plan: p, Applied: wg.Applied{Device: "wg0", Gen: p.Gen, Index: 7}})
		g.core.Step(g.now, ha.RoutesApplied{Plan: p, RoutesApplied: bgp.RoutesApplied{Gen: p.Gen}})
		g.core.Step(g.now, ha.AnnounceApplied{Plan: p, AnnounceApplied: bgp.AnnounceApplied{Gen: p.Gen}})
		if g.core.Plan(g.now) == p {
			if len(p.Announcements) != sites*prefixes || len(p.FIB.Routes) < 2*sites*prefixes {
				b.Fatalf("%d announcements, %d routes", len(p.Announcements), len(p.FIB.Routes))
			}
			return
		}
	}
	b.Fatal("the plan does not come to rest")
}

func newGateway(b *testing.B) *gateway {
	nstest.Run(b, "ip", "link", "add", "wg0", "type", "veth", "peer", "name", "far")
	nstest.Run(b, "ip", "link", "set", "wg0", "up")
	nstest.Run(b, "ip", "link", "set", "far", "up")
	g := &gateway{now: time.Now(), table: wg.NewTable(nil)}
	var err error
	if g.fib, err = fib.New(fib.Options{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = g.fib.Close() })
	cfg := manySites()
	g.core = ha.New(g.now, cfg)
	g.seen = wg.DeviceState{Name: "wg0", Up: true}
	for i := range cfg.Sites {
		g.seen.Peers = append(g.seen.Peers, wg.PeerState{Key: cfg.Sites[i].Peer.Key, Handshake: 1})
	}
	g.core.Step(g.now, ha.DeviceObserved{State: g.seen})
	for i := range cfg.Neighbors {
		g.session(cfg.Neighbors[i].Name, true)
	}
	g.settle(b)
	return g
}

// BenchmarkPlanAndDiff is the daemon's way from a fact to what every edge has to
// do, with 10,000 sites of 4 prefixes. Routes are compared with what the kernel
// is known to hold; nothing is written.
func BenchmarkPlanAndDiff(b *testing.B) {
	if !nstest.Isolate(b) {
		return
	}
	g := newGateway(b)
	measure := func(b *testing.B, facts func(i int)) {
		g.took = [5][]time.Duration{}
		cpu := ownCPU(b)
		for i := 0; b.Loop(); i++ {
			g.round(b, func() { facts(i) })
		}
		for i, name := range []string{"ms-core", "ms-wg", "ms-bgp", "ms-fib", "ms/plan"} {
			if len(g.took[i]) > 0 { // the median, since others work on this machine too
				slices.Sort(g.took[i])
				b.ReportMetric(g.took[i][len(g.took[i])/2].Seconds()*1e3, name)
			}
		}
		b.ReportMetric((ownCPU(b)-cpu).Seconds()*1e3/float64(b.N), "ms-cpu/plan")
	}
	b.Run("one-site-changes", func(b *testing.B) {
		measure(b, func(i int) { g.session("site-05000", i%2 == 1) })
		g.session("site-05000", true)
		g.settle(b)
	})
	b.Run("unchanged", func(b *testing.B) {
		p := g.core.Plan(g.now)
		measure(b, func(int) { g.core.Step(g.now, ha.DeviceObserved{State: g.seen}) })
		if g.core.Plan(g.now) != p {
			b.Fatal("the plan changed")
		}
	})
}

// ownCPU is the processor time that this process has used, collector included.
func ownCPU(b *testing.B) time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
