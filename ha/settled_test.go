package ha

import (
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// routersBeside adds plain routers and a fleet to a configuration: some on one
// device, some told what the others have.
func routersBeside(cfg *Config) {
	for i := range 4 {
		kind := bgp.KindRouter
		if i == 3 {
			kind = bgp.KindFleet
		}
		cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{
			Name: fmt.Sprintf("router%d", i), Kind: kind, Group: fmt.Sprintf("g%d", i%2), Device: fmt.Sprintf("eth%d", i/2),
			Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}), IPv4: true, Export: i != 1,
		})
	}
}

// mayAsk offers actions and lets some neighbors ask for them.
func mayAsk(r *rand.Rand, cfg *Config) {
	cfg.Actions = asking(nil).Actions
	for i := range cfg.Neighbors {
		cfg.Neighbors[i].Actions, cfg.Neighbors[i].AcceptBlackhole = r.Intn(2) == 0, r.Intn(2) == 0
	}
}

// randomTablePath draws one step of a neighbor's table.
func randomTablePath(r *rand.Rand, now time.Time, neighbor string) bgp.PathChange {
	c := bgp.PathChange{Path: bgp.Path{
		Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.Intn(6)), 0, 0}), 16), Neighbor: neighbor,
	}}
	if r.Intn(12) == 0 {
		c.Path.Prefix = pfx([]string{"0.0.0.0/0", "192.0.2.0/24", "203.0.113.0/24"}[r.Intn(3)]) // blocked: reserved, or covers an endpoint
	}
	if r.Intn(4) == 0 {
		c.Withdrawn = true
		return c
	}
	c.Path.NextHop = netip.AddrFrom4([4]byte{192, 0, 2, byte(20 + r.Intn(3))})
	c.Path.Since, c.Path.Stale = now, r.Intn(6) == 0
	c.Path.Attrs = &bgp.Attrs{
		LocalPref: uint32(100 + r.Intn(2)*100), ASPath: []bgp.ASN{64999, 64998}[:1+r.Intn(2)], MED: uint32(r.Intn(2)),
	}
	if r.Intn(8) == 0 {
		all := []bgp.Community{bgp.NoExport, bgp.NoAdvertise, bgp.Blackhole, bgp.GracefulShutdown, askLow, askFar, askHide}
		for range 1 + r.Intn(2) {
			c.Path.Attrs.Communities = append(c.Path.Attrs.Communities, all[r.Intn(len(all))])
		}
	}
	return c
}

// A core that works out every entry every time must plan the same as one that
// leaves settled entries alone, whatever happens in whatever order.
func TestSettledEntriesArePlannedAsIfWorkedOut(t *testing.T) {
	settled := 0
	for seed := range int64(400) {
		r := rand.New(rand.NewSource(seed))
		cfg := randomConfig(r)
		routersBeside(cfg)
		if r.Intn(2) == 0 {
			cfg.Aggregates = []Aggregate{{Prefix: pfx("10.0.0.0/14"), Min: 1 + r.Intn(2), Suppress: r.Intn(2) == 0, To: []string{"g0", "tgw"}}}
		}
		if r.Intn(2) == 0 {
			for i := range cfg.Neighbors {
				cfg.Neighbors[i].AnnounceLimit = uint32(r.Intn(4))
			}
		}
		mayAsk(r, cfg)
		quick, full := newWorld(t, cfg), newWorld(t, cfg)
		full.c.thorough = true
		both := func(f Fact) {
			quick.step(f)
			full.step(f)
		}
		// The last plans of each: an edge may be at work on any of them.
		var plans [][2]*Plan
		done := 0 // the newest one that the routes edge has finished
		for range 150 {
			switch n := cfg.Neighbors[r.Intn(len(cfg.Neighbors))]; r.Intn(14) {
			case 0:
				both(TunnelObserved{tgwconnect.TunnelState{Name: "gre0", Up: r.Intn(3) > 0, Err: []string{"", "no"}[r.Intn(2)]}})
			case 1:
				both(Draining{Phase: []DrainPhase{DrainNone, DrainNone, DrainPrefer, DrainWithdraw}[r.Intn(4)]})
			case 2:
				both(NeighborObserved{bgp.NeighborState{
					Name: n.Name, State: bgp.StateEstablished, RouterID: netip.AddrFrom4([4]byte{192, 0, 2, byte(r.Intn(3))}),
				}})
			case 3:
				var st wg.DeviceState
				if st = quick.c.devices["wg0"].seen; len(st.Peers) > 0 {
					st.Peers = append([]wg.PeerState(nil), st.Peers...)
					st.Peers[0].Endpoint = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(r.Intn(2) * 9)}), 51820)
					both(DeviceObserved{State: st})
				}
			case 4:
				if r.Intn(4) == 0 {
					other := *cfg
					other.FIB.MaxECMP = 1 + r.Intn(3)
					other.Neighbors = append([]bgp.Neighbor(nil), cfg.Neighbors...)
					if r.Intn(2) == 0 {
						gone := r.Intn(len(other.Neighbors))
						for other.Neighbors[gone].Kind == bgp.KindSite {
							gone = r.Intn(len(other.Neighbors))
						}
						other.Neighbors = append(other.Neighbors[:gone], other.Neighbors[gone+1:]...)
					}
					quick.c.Reconfigure(quick.now, &other)
					full.c.Reconfigure(full.now, &other)
				}
			default:
				both(PathsChanged{[]bgp.PathChange{randomTablePath(r, quick.now, n.Name)}})
			}
			step := time.Duration(r.Intn(400)) * time.Millisecond
			quick.now, full.now = quick.now.Add(step), full.now.Add(step)
			if r.Intn(3) == 0 {
				continue
			}
			p, q := quick.c.Plan(quick.now), full.c.Plan(full.now)
			if p.Gen != q.Gen || !slices.EqualFunc(p.FIB.Routes, q.FIB.Routes, func(a, b bgp.Route) bool { return equalRoute(&a, &b) }) ||
				!slices.EqualFunc(p.Announcements, q.Announcements, func(a, b bgp.Announcement) bool { return equalAnnouncement(&a, &b) }) ||
				!slices.Equal(p.Withheld, q.Withheld) || !slices.Equal(p.Quotas, q.Quotas) {
				t.Fatalf("seed %d: plan %d with settled entries\n%s\nplan %d without\n%s", seed, p.Gen, text(p), q.Gen, text(q))
			}
			for _, e := range quick.c.rib.sorted() {
				if e.settled == quick.c.epoch {
					settled++
				}
			}
			plans = append(plans, [2]*Plan{p, q})
			if r.Intn(2) == 0 { // plans that were overtaken are never reported
				done = max(done, len(plans)-1-r.Intn(3))
				var a bgp.RoutesApplied
				if r.Intn(6) == 0 && len(p.FIB.Routes) > 0 {
					x := p.FIB.Routes[r.Intn(len(p.FIB.Routes))]
					a.Reports = []bgp.RouteReport{{Prefix: x.Prefix, Metric: x.Metric, Status: bgp.RouteShadowed, Detail: "x"}}
				}
				if r.Intn(10) == 0 {
					a = bgp.RoutesApplied{Err: "no netlink"}
				}
				quick.step(RoutesApplied{Plan: plans[done][0], RoutesApplied: a})
				full.step(RoutesApplied{Plan: plans[done][1], RoutesApplied: a})
			}
			if r.Intn(2) == 0 {
				quick.applyAnn(p)
				full.applyAnn(q)
				quick.applyWG(p)
				full.applyWG(q)
			}
		}
	}
	if settled < 1000 {
		t.Fatalf("only %d times an entry was settled", settled)
	}
	t.Logf("%d times an entry was settled", settled)
}
