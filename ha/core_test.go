package ha

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// world is a core with edges that do at once what the plan says, or on demand.
type world struct {
	t    testing.TB
	c    *Core
	now  time.Time
	auto bool
}

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func key(n int) (k wg.Key) { k[0], k[1], k[2] = byte(n>>16), byte(n>>8), byte(n); return k }

// site makes a site with a BGP neighbor and a BGP check, so that a test moves
// its health by its session alone.
func site(name string, n int, prefixes ...string) Site {
	s := Site{
		Name: name, Device: "wg0", Mode: wg.ModeSynced, Peer: wg.Peer{Name: name, Key: key(n)}, Role: RolePrimary,
		Neighbor: name, IdlePolicy: IdleWithhold,
		Address4: netip.AddrFrom4([4]byte{10, 255, byte(n >> 8), byte(n)}),
		Checks:   []Check{{Name: "bgp", Kind: CheckBGP, Rise: 1, Fall: 1}},
	}
	for _, p := range prefixes {
		s.Prefixes = append(s.Prefixes, pfx(p))
	}
	return s
}

func config(sites ...Site) *Config {
	cfg := &Config{
		Gateway: Gateway{Name: "gw", ASN: 65000, EndOfRIBWait: 30 * time.Second, Linger: time.Second},
		Devices: []wg.Device{{Name: "wg0", Mode: wg.ModeSynced, Addresses: []netip.Prefix{pfx("10.255.0.254/16")}}},
		Sites:   sites,
		Connect: []tgwconnect.ConnectPeer{{Name: "tgw", Device: "gre0", Inside4: pfx("169.254.100.0/29"), Remote: netip.MustParseAddr("192.0.2.1")}},
		FIB:     FIB{Table: 100, Protocol: 186, Metric: 20, SinkMetric: 4000, MaxECMP: 8},
		Ranks:   DefaultRanks(),
	}
	for _, n := range []string{"tgw/1", "tgw/2"} {
		cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{Name: n, Kind: bgp.KindTGW, Group: "tgw", Device: "gre0", IPv4: true, Export: true})
	}
	for _, s := range sites {
		cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{
			Name: s.Name, Kind: bgp.KindSite, Group: "sites", Site: s.Name, Device: s.Device, IPv4: true, Export: true,
		})
	}
	return cfg
}

func newWorld(t testing.TB, cfg *Config) *world {
	w := &world{t: t, now: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), auto: true}
	w.c = New(w.now, cfg)
	for _, d := range cfg.Devices {
		w.see(d.Name)
	}
	w.step(TunnelObserved{tgwconnect.TunnelState{Name: "gre0", Up: true}})
	return w
}

func (w *world) step(f Fact) { w.c.Step(w.now, f) }

func (w *world) see(dev string) {
	st := wg.DeviceState{Name: dev, Up: true, At: w.now}
	for _, s := range w.c.devices[dev].sites {
		st.Peers = append(st.Peers, wg.PeerState{Key: s.cfg.Peer.Key, Handshake: 1})
	}
	w.step(DeviceObserved{State: st})
}

func (w *world) session(name string, up bool) {
	st := bgp.StateIdle
	if up {
		st = bgp.StateEstablished
	}
	w.step(NeighborObserved{bgp.NeighborState{Name: name, State: st, Since: w.now, EndOfRIB4: up}})
}

func (w *world) learn(neighbor string, since time.Duration, prefixes ...string) {
	var ch []bgp.PathChange
	for _, p := range prefixes {
		ch = append(ch, bgp.PathChange{Path: bgp.Path{
			Prefix: pfx(p), Neighbor: neighbor, Since: w.now.Add(since),
			Attrs: &bgp.Attrs{ASPath: []bgp.ASN{64999}, LocalPref: 100},
		}})
	}
	w.step(PathsChanged{ch})
}

func (w *world) unlearn(neighbor string, prefixes ...string) {
	var ch []bgp.PathChange
	for _, p := range prefixes {
		ch = append(ch, bgp.PathChange{Path: bgp.Path{Prefix: pfx(p), Neighbor: neighbor}, Withdrawn: true})
	}
	w.step(PathsChanged{ch})
}

func (w *world) applyWG(p *Plan) {
	for _, d := range p.Devices {
		w.step(WireGuardApplied{p, wg.Applied{Device: d.Name, Gen: p.Gen, Index: 7}})
	}
}
func (w *world) applyRoutes(p *Plan) { w.step(RoutesApplied{Plan: p}) }
func (w *world) applyAnn(p *Plan)    { w.step(AnnounceApplied{Plan: p}) }

// settle plays perfect edges until the plan stands still.
func (w *world) settle() *Plan {
	w.t.Helper()
	for range 20 {
		p := w.c.Plan(w.now)
		w.applyWG(p)
		w.applyRoutes(p)
		w.applyAnn(p)
		if w.c.Plan(w.now) == p {
			return p
		}
	}
	w.t.Fatal("the plan does not come to rest")
	return nil
}

// text is a plan as a reader compares it.
func text(p *Plan) string {
	s := ""
	for _, d := range p.Devices {
		for _, q := range d.Peers {
			s += fmt.Sprintf("%s %s %v\n", d.Name, q.Name, q.AllowedIPs)
		}
	}
	for _, r := range p.FIB.Routes {
		s += fmt.Sprintf("route %s type %d metric %d %v\n", r.Prefix, r.Type, r.Metric, r.NextHops)
	}
	for _, a := range p.Announcements {
		s += fmt.Sprintf("announce %s %v except %v\n", a.Prefix, a.To, a.Except)
	}
	for _, h := range p.Withheld {
		s += fmt.Sprintf("withheld %s %s %s %s %s\n", h.Prefix, h.Site, h.From, h.Reason, h.Detail)
	}
	return s
}

func announced(p *Plan, s string) bool {
	for _, a := range p.Announcements {
		if a.Prefix == pfx(s) {
			return true
		}
	}
	return false
}

func withheld(p *Plan, s string) Reason {
	for _, h := range p.Withheld {
		if h.Prefix == pfx(s) {
			return h.Reason
		}
	}
	return ReasonNone
}

func holder(p *Plan, s string) string {
	for _, d := range p.Devices {
		for _, q := range d.Peers {
			for _, a := range q.AllowedIPs {
				if a == pfx(s) {
					return q.Name
				}
			}
		}
	}
	return ""
}

func routed(p *Plan, s string) string {
	for _, r := range p.FIB.Routes {
		if r.Prefix == pfx(s) && r.Type == bgp.Unicast {
			return fmt.Sprint(bgp.Primary(r.NextHops))
		}
	}
	return ""
}

func TestPrefixIsAnnouncedOnlyAfterAllowedIPAndRouteAreApplied(t *testing.T) {
	w := newWorld(t, config(site("a", 1, "10.1.0.0/16")))
	w.session("a", true)
	p := w.c.Plan(w.now)
	if got := withheld(p, "10.1.0.0/16"); got != ReasonNoPeer || announced(p, "10.1.0.0/16") || routed(p, "10.1.0.0/16") != "" {
		t.Fatalf("before anything is applied: withheld %q\n%s", got, text(p))
	}
	w.applyWG(p)
	p = w.c.Plan(w.now)
	if got := withheld(p, "10.1.0.0/16"); got != ReasonRoute || routed(p, "10.1.0.0/16") == "" {
		t.Fatalf("with the allowed IP applied: withheld %q\n%s", got, text(p))
	}
	w.applyRoutes(p)
	p = w.c.Plan(w.now)
	if !announced(p, "10.1.0.0/16") {
		t.Fatalf("with the route applied it should be announced:\n%s", text(p))
	}
	w.session("a", false)
	if !w.c.Urgent() {
		t.Error("a failure must not wait")
	}
	p = w.c.Plan(w.now)
	if announced(p, "10.1.0.0/16") || withheld(p, "10.1.0.0/16") != ReasonBGP {
		t.Errorf("with the site down:\n%s", text(p))
	}
}

func TestWithdrawnPathLeavesInOrder(t *testing.T) {
	w := newWorld(t, config(site("a", 1)))
	w.session("a", true)
	before := text(w.settle())
	w.learn("a", 0, "10.9.0.0/16")
	p := w.settle()
	if !announced(p, "10.9.0.0/16") || holder(p, "10.9.0.0/16") != "a" || routed(p, "10.9.0.0/16") == "" {
		t.Fatalf("learned prefix:\n%s", text(p))
	}
	w.unlearn("a", "10.9.0.0/16")
	p = w.c.Plan(w.now)
	if announced(p, "10.9.0.0/16") || routed(p, "10.9.0.0/16") == "" || holder(p, "10.9.0.0/16") != "a" {
		t.Fatalf("first step withdraws only:\n%s", text(p))
	}
	w.applyAnn(p)
	w.now = w.now.Add(2 * time.Second)
	p = w.c.Plan(w.now)
	if routed(p, "10.9.0.0/16") != "" || holder(p, "10.9.0.0/16") != "a" {
		t.Fatalf("second step, after the linger, removes the route only:\n%s", text(p))
	}
	w.applyRoutes(p)
	p = w.c.Plan(w.now)
	if holder(p, "10.9.0.0/16") != "" {
		t.Fatalf("third step removes the allowed IP:\n%s", text(p))
	}
	if after := text(w.settle()); after != before {
		t.Errorf("nothing may be left over.\nbefore:\n%s\nafter:\n%s", before, after)
	}
}

func TestIncumbentKeepsAPrefixWithoutACommonGroup(t *testing.T) {
	w := newWorld(t, config(site("a", 1), site("b", 2)))
	w.session("a", true)
	w.session("b", true)
	w.learn("b", 0, "10.9.0.0/16")
	w.learn("a", time.Second, "10.9.0.0/16")
	p := w.settle()
	if holder(p, "10.9.0.0/16") != "b" || withheld(p, "10.9.0.0/16") != ReasonOverlap {
		t.Errorf("b was first:\n%s", text(p))
	}
	w.unlearn("b", "10.9.0.0/16")
	if p = w.settle(); holder(p, "10.9.0.0/16") != "a" {
		t.Errorf("b gave it up:\n%s", text(p))
	}
}

// AC-3.
func TestCoveredPrefixMovesWithItsBestPath(t *testing.T) {
	a, b := site("a", 1, "10.0.0.0/8"), site("b", 2)
	a.Group, b.Group = "g", "g"
	w := newWorld(t, config(a, b))
	w.session("a", true)
	w.session("b", true)
	w.learn("b", 0, "10.1.0.0/16")
	p := w.settle()
	before := text(p)
	if holder(p, "10.1.0.0/16") != "b" || holder(p, "10.0.0.0/8") != "a" {
		t.Fatalf("at first:\n%s", before)
	}
	w.step(PathsChanged{[]bgp.PathChange{{Path: bgp.Path{Prefix: pfx("10.1.0.0/16"), Neighbor: "a", Attrs: &bgp.Attrs{LocalPref: 200}}}}})
	if p = w.settle(); holder(p, "10.1.0.0/16") != "a" {
		t.Errorf("the better path is a's:\n%s", text(p))
	}
	w.unlearn("a", "10.1.0.0/16")
	if after := text(w.settle()); after != before {
		t.Errorf("moved back, nothing left over; want\n%s\ngot\n%s", before, after)
	}
}

func TestPathsThatWouldBreakTheTunnelAreWithheld(t *testing.T) {
	cfg := config(site("a", 1))
	w := newWorld(t, cfg)
	w.step(DeviceObserved{State: wg.DeviceState{Name: "wg0", Peers: []wg.PeerState{
		{Key: key(1), Handshake: 1, Endpoint: netip.MustParseAddrPort("198.51.100.7:51820")},
	}}})
	w.session("a", true)
	w.session("tgw/1", true)
	w.learn("a", 0, "198.51.100.0/24", "198.51.101.0/24")
	w.learn("tgw/1", 0, "0.0.0.0/0", "169.254.0.0/16", "192.0.2.0/24", "fd00::/8")
	p := w.settle()
	for prefix, want := range map[string]Reason{
		"198.51.100.0/24": ReasonCoversEndpoint, "192.0.2.0/24": ReasonCoversEndpoint, "198.51.101.0/24": ReasonNone,
		"0.0.0.0/0": ReasonCoversEndpoint, "169.254.0.0/16": ReasonReserved, "fd00::/8": ReasonReserved,
	} {
		if got := withheld(p, prefix); got != want {
			t.Errorf("%s: withheld %q, want %q", prefix, got, want)
		}
		if want != ReasonNone && routed(p, prefix) != "" {
			t.Errorf("%s must not be installed", prefix)
		}
	}
	cfg.FIB.Permit = []netip.Prefix{pfx("0.0.0.0/0")}
	w.c.Reconfigure(w.now, cfg)
	if p = w.settle(); routed(p, "0.0.0.0/0") == "" {
		t.Errorf("a prefix the operator names is installed:\n%s", text(p))
	}
}

func TestSteadyHourChangesNothing(t *testing.T) {
	w := newWorld(t, config(site("a", 1, "10.1.0.0/16"), site("b", 2, "10.2.0.0/16")))
	w.session("a", true)
	w.session("b", true)
	w.now = w.now.Add(time.Minute)
	p := w.settle()
	for range 3600 {
		w.now = w.now.Add(time.Second)
		w.see("wg0")
		w.session("a", true)
		if got := w.c.Plan(w.now); got != p {
			t.Fatalf("plan %d differs from plan %d after nothing happened", got.Gen, p.Gen)
		}
	}
}
