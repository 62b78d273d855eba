package ha

import (
	"fmt"
	"math/rand"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// twins are two cores that are given the same facts. One takes every shortcut, the
// other thinks about every entry for every plan.
type twins struct {
	t     *testing.T
	r     *rand.Rand
	seed  int64
	cfg   *Config
	now   time.Time
	cores [2]*Core
	plans [][2]*Plan // all so far: an edge may answer any of them, late

	rested, owned int // entries that were settled, and those of sites among them
}

func (w *twins) step(f func(plan func(n int) *Plan, core int) Fact) {
	for i, c := range w.cores {
		c.Step(w.now, f(func(n int) *Plan { return w.plans[n][i] }, i))
	}
}

func (w *twins) fact(f Fact) { w.step(func(func(int) *Plan, int) Fact { return f }) }

// fleetOfSites is a configuration with all that decides who speaks for a prefix.
func fleetOfSites(r *rand.Rand) *Config {
	one := func(n int) bool { return r.Intn(n) == 0 }
	var sites []Site
	for i := range 7 {
		s := site(fmt.Sprintf("s%d", i), i+1)
		s.Device, s.Preempt, s.Roams = []string{"wg0", "wg1"}[r.Intn(2)], one(2), one(4)
		if one(2) {
			s.Group = "g"
		}
		if one(3) {
			s.Role = RoleBackup
		}
		for n := range r.Intn(3) {
			s.Prefixes = append(s.Prefixes, randomSitePrefix(r, i+n))
		}
		slices.SortFunc(s.Prefixes, bgp.ComparePrefix)
		s.Prefixes = slices.Compact(s.Prefixes)
		if one(3) {
			s.HoldDown = 2 * time.Second
		}
		if one(3) {
			s.Damping = Damping{Penalty: 1000, Suppress: 2000, Reuse: 750, HalfLife: 20 * time.Second, Max: time.Minute}
		}
		if one(3) {
			s.Address6 = netip.MustParseAddr(fmt.Sprintf("fe80::%d", i+1))
		} else if one(2) {
			s.Address6 = netip.MustParseAddr(fmt.Sprintf("2001:db8:ff::%d", i+1))
		}
		switch r.Intn(4) {
		case 0:
			s.Neighbor, s.Checks = "", []Check{{Name: "bfd", Kind: CheckBFD, Rise: 1, Fall: 1, Strict: one(2)}}
		case 1:
			s.Checks = append(s.Checks, Check{Name: "bfd", Kind: CheckBFD, Rise: 1, Fall: 1})
		case 2:
			s.Checks = append(s.Checks, Check{
				Name: "lan", Kind: CheckProbe, Rise: 1, Fall: 2, Prefixes: s.Prefixes[:min(len(s.Prefixes), 1)],
				Probe: wg.Probe{ID: s.Name + "/lan", Kind: wg.ProbeICMP, Interval: time.Second, Timeout: time.Second, Target: netip.MustParseAddr("2001:db8:1::1")},
			})
		case 3:
			s.Checks = append(s.Checks, Check{Name: "beat", Kind: CheckHeartbeat, Rise: 1, Fall: 1, Probe: wg.Probe{ID: s.Name + "/beat", Kind: wg.ProbeHeartbeat, Interval: 5 * time.Second}})
		}
		sites = append(sites, s)
	}
	sites[6].Device, sites[6].Mode, sites[6].Roams = "wg2", wg.ModeOpen, false
	cfg := inAFleet(r, config(sites...))
	for i := range cfg.Sites {
		cfg.Sites[i].Preempt = sites[i].Preempt
	}
	cfg.Devices = append(cfg.Devices, wg.Device{Name: "wg1", Mode: wg.ModeSynced, SharedKey: true}, wg.Device{Name: "wg2", Mode: wg.ModeOpen})
	if gw := slices.IndexFunc(cfg.Neighbors, func(n bgp.Neighbor) bool { return n.Kind == bgp.KindFleet }); gw >= 0 && one(2) {
		link := site("link", 99)
		link.Link, link.Neighbor, link.Device, link.Mode = true, "", "wg3", wg.ModeOpen
		link.Checks = []Check{{Name: "bfd", Kind: CheckBFD, Rise: 1, Fall: 1}}
		cfg.Sites = append([]Site{link}, cfg.Sites...)
		cfg.Devices = append(cfg.Devices, wg.Device{Name: "wg3", Mode: wg.ModeOpen})
		cfg.Neighbors[gw].Site = "link"
		if one(2) {
			cfg.Confirms = []Confirm{{Neighbor: cfg.Neighbors[gw].Name, Wait: 2 * time.Second}}
		}
	}
	routersBeside(cfg)
	for i := range cfg.Neighbors {
		n := &cfg.Neighbors[i]
		n.IPv6, n.HoldTime = true, 30*time.Second
		if n.Kind == bgp.KindFleet && one(2) || n.Kind == bgp.KindRouter && one(3) {
			cfg.BFD = append(cfg.BFD, bgp.BFDSession{Name: n.Name, Strict: one(3)})
		}
		if one(12) {
			n.AnnounceLimit = uint32(1 + r.Intn(5))
		}
	}
	for i := range cfg.Sites {
		s := &cfg.Sites[i]
		if slices.ContainsFunc(s.Checks, func(k Check) bool { return k.Kind == CheckBFD }) {
			cfg.BFD = append(cfg.BFD, bgp.BFDSession{Name: s.Name})
		}
		cfg.Watched = append(cfg.Watched, s.Prefixes...)
	}
	slices.SortFunc(cfg.Watched, bgp.ComparePrefix)
	cfg.Watched = slices.Compact(cfg.Watched)
	if one(3) {
		cfg.Aggregates = []Aggregate{{Prefix: pfx("10.0.0.0/14"), Min: 1 + r.Intn(2), Suppress: one(2), To: []string{"fleet", "tgw"}}}
	}
	if one(2) {
		cfg.Guard = Guard{Share: 50, MinSites: 3, Within: 5 * time.Second}
	}
	if one(2) {
		cfg.FIB.Source4 = netip.MustParseAddr("10.255.0.254")
	}
	mayAsk(r, cfg)
	return cfg
}

func randomSitePrefix(r *rand.Rand, i int) netip.Prefix {
	if r.Intn(4) == 0 {
		return pfx(fmt.Sprintf("2001:db8:%d::/48", i%4))
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i % 5), 0, 0}), 16+r.Intn(2)*8)
}

// told draws a path; a host of the fleet tells the rank by which it speaks.
func (w *twins) told(n *bgp.Neighbor) bgp.PathChange {
	c := randomTablePath(w.r, w.now, n.Name)
	if w.r.Intn(3) > 0 {
		c.Path.Prefix = randomSitePrefix(w.r, w.r.Intn(5))
	}
	if w.r.Intn(6) == 0 { // may cover the outer address of a site
		c.Path.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(w.r.Intn(6)), 0}), 24)
	}
	if n.Kind == bgp.KindFleet && !c.Withdrawn {
		c.Path.Attrs.HasMED, c.Path.Attrs.MED = true, w.cfg.Ranks[ranks[w.r.Intn(len(ranks))]].MED
	}
	return c
}

// other is the configuration with something else in it.
func (w *twins) other() *Config {
	r, cfg := w.r, *w.cfg
	cfg.Sites, cfg.Neighbors = slices.Clone(cfg.Sites), slices.Clone(cfg.Neighbors)
	s := &cfg.Sites[r.Intn(len(cfg.Sites))]
	switch r.Intn(9) {
	case 0:
		cfg.FIB.MaxECMP = 1 + r.Intn(3)
	case 1:
		s.Preempt = !s.Preempt
	case 2:
		s.Role = []Role{RolePrimary, RoleBackup}[r.Intn(2)]
	case 3:
		if s.Mode == wg.ModeSynced {
			s.Device = []string{"wg0", "wg1"}[r.Intn(2)]
		}
	case 4:
		s.Address6 = []netip.Addr{{}, netip.MustParseAddr("fe80::77"), netip.MustParseAddr("2001:db8:ff::77")}[r.Intn(3)]
	case 5:
		s.Prefixes = []netip.Prefix{randomSitePrefix(r, r.Intn(5))}
	case 6:
		s.Disabled = !s.Disabled
	case 7:
		if at := r.Intn(len(cfg.Sites)); !cfg.Sites[at].Link {
			cfg.Sites = slices.Delete(cfg.Sites, at, at+1)
		}
	case 8:
		if at := r.Intn(len(cfg.Neighbors)); cfg.Neighbors[at].Kind != bgp.KindSite {
			cfg.Neighbors = slices.Delete(cfg.Neighbors, at, at+1)
		}
	}
	return &cfg
}

func (w *twins) observe(d *wg.Device) {
	r := w.r
	st := wg.DeviceState{Name: d.Name, Up: true, At: w.now}
	if r.Intn(20) == 0 {
		w.fact(DeviceObserved{State: st, Err: "busy", Gone: r.Intn(2) == 0})
		return
	}
	for _, s := range w.cores[0].devices[d.Name].sites {
		if r.Intn(25) == 0 {
			continue
		}
		p := wg.PeerState{Key: s.cfg.Peer.Key, Handshake: 1 + w.now.Unix()/120, Rx: uint64(w.now.UnixMilli()), Tx: 1}
		if (w.now.Unix()/50+int64(p.Key[2]))%3 == 0 { // silent for a while
			p.Handshake, p.Rx = 1, 1
		}
		if r.Intn(3) > 0 {
			p.Endpoint = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(r.Intn(6)), 9}), 51820)
		}
		st.Peers = append(st.Peers, p)
	}
	w.fact(DeviceObserved{State: st})
}

// event draws a fact.
func (w *twins) event() {
	r, cfg := w.r, w.cfg
	one := func(n int) bool { return r.Intn(n) == 0 }
	n, s := &cfg.Neighbors[r.Intn(len(cfg.Neighbors))], &cfg.Sites[r.Intn(len(cfg.Sites))]
	switch r.Intn(24) {
	case 0:
		w.fact(TunnelObserved{tgwconnect.TunnelState{Name: "gre0", Up: r.Intn(4) > 0, Err: []string{"", "no"}[r.Intn(2)]}})
	case 1:
		w.fact(Draining{Phase: []DrainPhase{DrainNone, DrainNone, DrainNone, DrainPrefer, DrainHandOver, DrainWithdraw}[r.Intn(6)]})
	case 2, 3, 4:
		st := bgp.NeighborState{Name: n.Name, State: bgp.StateEstablished, Since: w.now, RouterID: netip.AddrFrom4([4]byte{192, 0, 2, n.Name[len(n.Name)-1] % 3})}
		if one(6) {
			st.RouterID = netip.AddrFrom4([4]byte{192, 0, 2, byte(r.Intn(3))})
		}
		st.EndOfRIB4, st.EndOfRIB6 = one(2), one(2)
		if one(3) {
			st.State, st.Reason = bgp.StateActive, []string{"hold-timer-expired", "notification-received cease/6/2"}[r.Intn(2)]
		}
		w.fact(NeighborObserved{st})
	case 5, 6:
		if len(cfg.BFD) > 0 {
			st := bgp.BFDState{Name: cfg.BFD[r.Intn(len(cfg.BFD))].Name, State: bgp.BFDUp, Since: w.now, LocalDiscr: 1, Flaps: uint32(w.now.Unix() / 7)}
			if one(3) {
				st.State, st.Failed, st.Diag = bgp.BFDDown, one(2), []bgp.BFDDiag{bgp.BFDDiagDetectExpired, bgp.BFDDiagNeighborDown}[r.Intn(2)]
			} else if one(6) {
				st.State = []bgp.BFDSessionState{bgp.BFDInit, bgp.BFDAdminDown}[r.Intn(2)]
			}
			w.fact(BFDObserved{st})
		}
	case 7, 14:
		w.observe(&cfg.Devices[r.Intn(len(cfg.Devices))])
	case 8:
		for i := range s.Checks {
			if id := s.Checks[i].Probe.ID; id != "" {
				w.fact(ProbeObserved{wg.ProbeResult{ID: id, At: w.now, OK: r.Intn(3) > 0, Reason: "timeout"}})
			}
		}
	case 15:
		w.fact(NeighborLosing{Name: n.Name})
	case 9:
		if one(2) {
			w.fact(SiteSet{Site: s.Name, Disabled: one(3)})
		}
	case 10:
		w.fact(SiteSteered{Site: []string{s.Name, ""}[b2i(one(5))], Order: []Steer{SteerFailover, SteerTakeover, SteerFailback, SteerFailback}[r.Intn(4)]})
	case 11:
		if one(4) {
			next := w.cfg
			if one(2) {
				next = w.other()
			}
			for _, c := range w.cores {
				c.Reconfigure(w.now, next)
			}
		}
	case 12:
		w.fact(UnderlayObserved{Default4: r.Intn(3) > 0})
	case 13:
		if one(2) { // a storm: many sites at once
			for i := range cfg.Sites {
				w.fact(NeighborObserved{bgp.NeighborState{Name: cfg.Sites[i].Neighbor, State: bgp.StateActive, Since: w.now, Reason: "hold-timer-expired"}})
			}
		}
	default:
		w.fact(PathsChanged{[]bgp.PathChange{w.told(n)}})
	}
}

// edges has some edges report, on the latest plan or, now and then, on one before.
func (w *twins) edges() {
	r := w.r
	pick := func() int {
		at := len(w.plans) - 1
		if r.Intn(6) == 0 {
			at = max(0, at-r.Intn(12))
		}
		return at
	}
	if r.Intn(3) > 0 {
		at := pick()
		for _, d := range w.plans[at][0].Devices {
			a := wg.Applied{Device: d.Name, Gen: w.plans[at][0].Gen, Index: 7}
			switch r.Intn(12) {
			case 0:
				a.Err = "operation not permitted"
				a.Index = r.Intn(2) * 7
			case 1:
				a.Index = 0
			case 2:
				if len(d.Peers) > 0 {
					a.PeerErrors = map[wg.Key]string{d.Peers[r.Intn(len(d.Peers))].Key: "no"}
				}
			case 3:
				a.Failed = map[netip.Prefix]string{randomSitePrefix(r, r.Intn(5)): "no"}
			}
			w.step(func(plan func(int) *Plan, _ int) Fact { return WireGuardApplied{plan(at), a} })
		}
	}
	if r.Intn(3) > 0 {
		at := pick()
		a := bgp.RoutesApplied{Gen: w.plans[at][0].Gen}
		if routes := w.plans[at][0].FIB.Routes; r.Intn(6) == 0 && len(routes) > 0 {
			x := routes[r.Intn(len(routes))]
			a.Reports = []bgp.RouteReport{{Prefix: x.Prefix, Metric: x.Metric, Status: bgp.RouteShadowed, Detail: "x"}}
		} else if r.Intn(10) == 0 {
			a.Err = "no netlink"
		}
		w.step(func(plan func(int) *Plan, _ int) Fact { return RoutesApplied{plan(at), a} })
	}
	if r.Intn(3) > 0 {
		at := pick()
		a := bgp.AnnounceApplied{Gen: w.plans[at][0].Gen}
		if r.Intn(8) == 0 {
			a.Failed = map[netip.Prefix]string{randomSitePrefix(r, r.Intn(5)): "no"}
		}
		w.step(func(plan func(int) *Plan, _ int) Fact { return AnnounceApplied{plan(at), a} })
	}
}

// plan asks both and compares all they say.
func (w *twins) plan() {
	w.t.Helper()
	p, q := w.cores[0].Plan(w.now), w.cores[1].Plan(w.now)
	if !reflect.DeepEqual(p, q) {
		w.t.Fatalf("seed %d: plan %d with shortcuts\n%+v\n%s\nplan %d without\n%+v\n%s", w.seed, p.Gen, p, text(p), q.Gen, q, text(q))
	}
	w.plans = append(w.plans, [2]*Plan{p, q})
	for _, c := range w.cores {
		checkAllowed(w.t, w.seed, c)
	}
	for _, e := range w.cores[0].rib.sorted() {
		if e.settled == w.cores[0].epoch {
			w.rested++
			w.owned += b2i(len(e.sites) > 0 && len(e.paths) > 0)
		}
	}
}

// checkAllowed: the allowed IPs of every site are what the entries have placed with
// it, and its link-local address; every entry that is not settled is queued.
func checkAllowed(t *testing.T, seed int64, c *Core) {
	t.Helper()
	want := map[*siteState][]netip.Prefix{}
	for _, s := range c.sites {
		if p := s.linkLocal(); p.IsValid() {
			want[s] = append(want[s], p)
		}
	}
	for _, e := range c.rib.sorted() {
		for i := range e.placed {
			want[e.placed[i].site] = append(want[e.placed[i].site], e.prefix)
		}
		if (e.settled == 0) != e.queued {
			t.Fatalf("seed %d: %s is settled in epoch %d, and queued: %v", seed, e.prefix, e.settled, e.queued)
		}
	}
	for _, s := range c.sites {
		slices.SortFunc(want[s], bgp.ComparePrefix)
		if !slices.Equal(s.allowed, want[s]) {
			t.Fatalf("seed %d: site %s has the allowed IPs %v, its entries say %v", seed, s.cfg.Name, s.allowed, want[s])
		}
		for _, e := range s.watched {
			if e.dead || !slices.Contains(e.watchers, s) || c.rib.byPrefix[e.prefix] != e {
				t.Fatalf("seed %d: site %s watches %s, which is no more", seed, s.cfg.Name, e.prefix)
			}
		}
	}
}

// A core that takes shortcuts plans the same as one that thinks about everything,
// step by step, whatever happens in whatever order to sites, hosts of the fleet,
// edges and the configuration.
func TestShortcutsPlanAsThinkingDoes(t *testing.T) {
	rested, owned := 0, 0
	for seed := range int64(80) {
		r := rand.New(rand.NewSource(seed))
		cfg := fleetOfSites(r)
		w := &twins{t: t, r: r, seed: seed, cfg: cfg, now: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
		w.cores = [2]*Core{New(w.now, cfg), New(w.now, cfg)}
		w.cores[1].ThinkAlways()
		w.fact(TunnelObserved{tgwconnect.TunnelState{Name: "gre0", Up: true}})
		for i := range cfg.Devices {
			w.observe(&cfg.Devices[i])
		}
		for range 200 {
			for range 1 + r.Intn(3) {
				w.event()
			}
			w.now = w.now.Add(time.Duration(r.Intn(400)) * time.Millisecond)
			if r.Intn(25) == 0 {
				w.now = w.now.Add(time.Duration(r.Intn(40)) * time.Second)
			}
			if r.Intn(3) == 0 {
				continue
			}
			w.plan()
			for range r.Intn(3) {
				w.edges()
				w.plan()
			}
		}
		rested, owned = rested+w.rested, owned+w.owned
	}
	if owned < 10000 {
		t.Errorf("an entry of a site and of a neighbor was settled only %d times", owned)
	}
	t.Logf("%d times an entry was settled, %d times one of a site and of a neighbor", rested, owned)
}
