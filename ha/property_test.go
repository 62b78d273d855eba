package ha

import (
	"fmt"
	"math/rand"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// facts draws a set of facts about different things, so that their order can
// not matter.
func randomFacts(r *rand.Rand, w *world, cfg *Config) []Fact {
	var out []Fact
	for _, n := range cfg.Neighbors {
		st := bgp.StateIdle
		if r.Intn(4) > 0 {
			st = bgp.StateEstablished
		}
		out = append(out, NeighborObserved{bgp.NeighborState{Name: n.Name, State: st, Since: w.now, EndOfRIB4: st == bgp.StateEstablished}})
		for i := range 8 {
			if r.Intn(3) > 0 {
				continue
			}
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i / 2), 0, 0}), 16+i%2*8).Masked()
			out = append(out, PathsChanged{[]bgp.PathChange{{Path: bgp.Path{
				Prefix: p, Neighbor: n.Name, Since: w.now.Add(time.Duration(r.Intn(5)) * time.Second),
				Attrs: &bgp.Attrs{LocalPref: uint32(100 + r.Intn(2)*100), ASPath: make([]bgp.ASN, r.Intn(3))},
			}}}})
		}
	}
	if r.Intn(4) == 0 {
		out = append(out, SiteSet{Site: cfg.Sites[r.Intn(len(cfg.Sites))].Name, Disabled: true})
	}
	return out
}

func randomConfig(r *rand.Rand) *Config {
	var sites []Site
	for i := range 5 {
		s := site(fmt.Sprintf("s%d", i), i+1)
		if r.Intn(2) == 0 {
			s.Group = "g"
			if r.Intn(2) == 0 {
				s.Prefixes = []netip.Prefix{pfx("10.0.0.0/16")}
			}
			if r.Intn(2) == 0 {
				s.Role = RoleBackup
			}
		}
		if r.Intn(2) == 0 {
			s.Device = "wg1"
		}
		sites = append(sites, s)
	}
	cfg := config(sites...)
	cfg.Devices = append(cfg.Devices, wg.Device{Name: "wg1", Mode: wg.ModeSynced, Addresses: cfg.Devices[0].Addresses})
	return cfg
}

// inAFleet adds hosts of this region and of another one, a link to one of them, and
// a condition. Sites preempt: a plan with one that waits depends on what was before.
func inAFleet(r *rand.Rand, cfg *Config) *Config {
	for i := range cfg.Sites {
		cfg.Sites[i].Preempt = true
	}
	cfg.Gateway.Region, cfg.Gateway.Prefer = "eu", []string{"us", "ap"}[:r.Intn(3)]
	for i, region := range []string{"", "eu", "us", "ap"}[:r.Intn(5)] {
		cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{
			Name: fmt.Sprintf("gw%d", i), Kind: bgp.KindFleet, Group: "fleet", Region: region, Device: fmt.Sprintf("eth%d", i), IPv4: true, Export: true,
		})
	}
	if r.Intn(2) == 0 {
		cfg.Conditions = []Condition{{
			Name: "c", Prefixes: []bgp.PrefixRule{{Prefix: pfx("10.1.0.0/16"), LE: 24}}, To: []string{"fleet", "sites", "tgw"},
			Unless: []Subject{{Prefix: pfx("10.0.0.0/16")}, {Neighbor: "gw0"}}[:1+r.Intn(2)],
		}}
	}
	return cfg
}

// The plan depends on the facts and not on their order, nor on how often the
// core was asked to plan in between.
func TestOrderOfFactsDoesNotMatter(t *testing.T) {
	for seed := range int64(300) {
		r := rand.New(rand.NewSource(seed))
		cfg := inAFleet(r, randomConfig(r))
		ref := newWorld(t, cfg)
		facts := randomFacts(r, ref, cfg)
		for _, f := range facts {
			ref.step(f)
		}
		ref.now = ref.now.Add(time.Minute)
		want := text(ref.settle())
		for range 3 {
			w := newWorld(t, cfg)
			r.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
			for _, f := range facts {
				w.step(f)
				if r.Intn(3) == 0 { // squashed or not
					p := w.c.Plan(w.now)
					if r.Intn(2) == 0 {
						w.applyWG(p)
					}
					if r.Intn(2) == 0 {
						w.applyRoutes(p)
					}
					if r.Intn(2) == 0 {
						w.applyAnn(p)
					}
				}
				if r.Intn(5) == 0 { // doubled
					w.step(f)
				}
			}
			w.now = w.now.Add(time.Minute)
			if got := text(w.settle()); got != want {
				t.Fatalf("seed %d: another order gives another plan\nwant\n%s\ngot\n%s", seed, want, got)
			}
		}
	}
}

// Whatever the order of applying, a prefix belongs to one peer of a device,
// what is announced is routed, and every known prefix that is not announced has
// a reason.
func TestInvariantsHoldInEveryPlan(t *testing.T) {
	for seed := range int64(300) {
		r := rand.New(rand.NewSource(seed))
		cfg := inAFleet(r, randomConfig(r))
		w := newWorld(t, cfg)
		for range 40 {
			facts := randomFacts(r, w, cfg)
			w.step(facts[r.Intn(len(facts))])
			if r.Intn(3) == 0 {
				n := cfg.Neighbors[r.Intn(len(cfg.Neighbors))].Name
				w.unlearn(n, fmt.Sprintf("10.%d.0.0/16", r.Intn(4)))
			}
			w.now = w.now.Add(time.Duration(r.Intn(1500)) * time.Millisecond)
			p := w.c.Plan(w.now)
			checkPlan(t, seed, w, p)
			switch r.Intn(4) {
			case 0:
				w.applyWG(p)
			case 1:
				w.applyRoutes(p)
			case 2:
				w.applyAnn(p)
			}
		}
	}
}

func checkPlan(t *testing.T, seed int64, w *world, p *Plan) {
	t.Helper()
	for _, d := range p.Devices {
		owner := map[netip.Prefix]string{}
		for _, q := range d.Peers {
			for i, a := range q.AllowedIPs {
				if o, taken := owner[a]; taken {
					t.Fatalf("seed %d: %s belongs to %s and %s", seed, a, o, q.Name)
				}
				owner[a] = q.Name
				if i > 0 && bgp.ComparePrefix(q.AllowedIPs[i-1], a) >= 0 {
					t.Fatalf("seed %d: allowed IPs of %s are not sorted: %v", seed, q.Name, q.AllowedIPs)
				}
			}
		}
		for _, r := range p.FIB.Routes {
			if r.Type == bgp.Unicast && throughDevice(&r, d.Name) && owner[r.Prefix] == "" {
				t.Fatalf("seed %d: %s is routed into %s and belongs to no peer there\n%s", seed, r.Prefix, d.Name, text(p))
			}
		}
	}
	for _, a := range p.Announcements {
		if routed(p, a.Prefix.String()) == "" {
			t.Fatalf("seed %d: %s is announced and not routed\n%s", seed, a.Prefix, text(p))
		}
	}
	for _, e := range w.c.rib.sorted() {
		if !e.empty() && e.host == nil && e.paths != nil && !announced(p, e.prefix.String()) && withheld(p, e.prefix.String()) == ReasonNone {
			t.Fatalf("seed %d: %s is known, not announced and has no reason\n%s", seed, e.prefix, text(p))
		}
	}
	for i := 1; i < len(p.FIB.Routes); i++ {
		a, b := &p.FIB.Routes[i-1], &p.FIB.Routes[i]
		if d := bgp.ComparePrefix(a.Prefix, b.Prefix); d > 0 || d == 0 && a.Metric >= b.Metric {
			t.Fatalf("seed %d: routes are not sorted at %s", seed, b.Prefix)
		}
	}
}

// Observations that move no check are not judged, which must never be seen.
func TestVerdictIsAlwaysThatOfTheEvidence(t *testing.T) {
	for seed := range int64(200) {
		r := rand.New(rand.NewSource(seed))
		s := site("a", 1, "10.0.0.0/16")
		s.HoldDown, s.Peer.Keepalive = 7*time.Second, time.Duration(r.Intn(2))*25*time.Second
		s.Rules.Any = r.Intn(2) == 0
		beat := wg.Probe{ID: "a/beat", Interval: 5 * time.Second}
		s.Checks = append(s.Checks,
			Check{Name: "beat", Kind: CheckHeartbeat, Probe: beat, Rise: 1 + r.Intn(2), Fall: 2, Prefixes: s.Prefixes[:r.Intn(2)]},
			Check{Name: "hands", Kind: CheckHandshake, Rise: 1, Fall: 1})
		w := newWorld(t, config(s))
		st := wg.PeerState{Key: s.Peer.Key}
		talks := true
		for range 300 {
			w.now = w.now.Add(time.Duration(r.Intn(2500)) * time.Millisecond)
			switch r.Intn(12) {
			case 0:
				talks = !talks
			case 1:
				st.Handshake++
			case 2:
				w.session("a", r.Intn(3) > 0)
			case 3:
				st = wg.PeerState{Key: s.Peer.Key}
			}
			if r.Intn(3) > 0 {
				w.step(ProbeObserved{wg.ProbeResult{ID: beat.ID, At: w.now, OK: true}})
			}
			if talks {
				st.Rx += 128
			}
			w.step(DeviceObserved{State: wg.DeviceState{Name: "wg0", Up: true, Peers: []wg.PeerState{st}}})
			site := w.c.siteByName["a"]
			h := *site.health
			if want := h.judge(w.now); !reflect.DeepEqual(site.judged, want) {
				t.Fatalf("seed %d: got %+v, want %+v", seed, site.judged, want)
			}
			if r.Intn(3) == 0 {
				w.c.Plan(w.now)
			}
		}
	}
}

// What ordinary plans must be what thinking gives.
func TestOrdinaryPrefixesArePlannedAsAllOthers(t *testing.T) {
	ordinary := 0
	for seed := range int64(200) {
		r := rand.New(rand.NewSource(seed))
		cfg := randomConfig(r)
		for i := range 3 { // some that nobody else claims
			s := &cfg.Sites[i]
			s.Prefixes = append(s.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i), 0, 0}), 16))
			s.Checks = append(s.Checks, Check{Name: "lan", Kind: CheckBGP, Rise: 1, Fall: 1, Prefixes: s.Prefixes[len(s.Prefixes)-1:]})
			s.Rules.Any = true
			if i > 0 {
				s.Checks = append(s.Checks, Check{Name: "hands", Kind: CheckHandshake, Rise: 1, Fall: 1})
			}
		}
		w := newWorld(t, cfg)
		for range 40 {
			facts := randomFacts(r, w, cfg)
			w.step(facts[r.Intn(len(facts))])
			w.now = w.now.Add(time.Duration(r.Intn(1500)) * time.Millisecond)
			p := w.c.Plan(w.now)
			bad := func(i int) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i), 0, 0}), 16) }
			if r.Intn(3) > 0 {
				failed := map[netip.Prefix]string{}
				if r.Intn(4) == 0 {
					failed[bad(r.Intn(3))] = "no"
				}
				for _, d := range p.Devices {
					w.step(WireGuardApplied{p, wg.Applied{Device: d.Name, Gen: p.Gen, Index: r.Intn(8), Failed: failed}})
				}
			}
			if r.Intn(3) > 0 {
				a := bgp.RoutesApplied{Gen: p.Gen}
				if r.Intn(4) == 0 {
					a.Reports = []bgp.RouteReport{{Prefix: bad(r.Intn(3)), Metric: cfg.FIB.Metric, Status: bgp.RouteFailed}}
				}
				w.step(RoutesApplied{Plan: p, RoutesApplied: a})
			}
			w.step(Draining{Phase: []DrainPhase{DrainNone, DrainNone, DrainNone, DrainPrefer, DrainWithdraw}[r.Intn(5)]})
			p = w.c.Plan(w.now)
			var try, think walker
			try.start(w.c, w.now)
			for _, e := range w.c.rib.sorted() {
				if old, report := try.oldRoute(e.prefix); try.ordinary(e, old, report) {
					ordinary++
				}
			}
			w.c.thorough = true
			think.start(w.c, w.now)
			for _, e := range w.c.rib.sorted() {
				think.visit(e)
			}
			think.finish()
			w.c.thorough = false
			if !same(think.routes.done(), p.FIB.Routes) || !same(think.ann.done(), p.Announcements) || !same(think.withheld.done(), p.Withheld) {
				t.Fatalf("seed %d: thinking gives\n%+v\n%+v\n%+v\nwant\n%s", seed, think.routes.done(), think.ann.done(), think.withheld.done(), text(p))
			}
			for _, s := range think.moved {
				t.Fatalf("seed %d: thinking gives site %s other allowed IPs than %v: %v", seed, s.cfg.Name, s.allowed, s.changes)
			}
		}
	}
	if ordinary == 0 {
		t.Fatal("no prefix was ordinary")
	}
	t.Logf("%d ordinary prefixes", ordinary)
}
