package accept

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/traffic"
)

// ring is a gateway with FRR at site alpha and BIRD at site beta on one
// interface, in one redundancy group. The host "dual" stands behind both sites
// and has the address 10.1.2.3.
type ring struct {
	l           *gwlab.Lab
	g           *gwlab.GatewayHost
	alpha, beta *gwlab.SiteHost
	dual        *netlab.Host
	plain       string // what wg0 owned before anything below was announced
	routes      []netip.Prefix
}

const (
	ringAS4 = "address-family ipv4 unicast"
	dualIP  = "10.1.2.3"
)

var (
	eight   = netip.MustParsePrefix("10.0.0.0/8")
	sixteen = netip.MustParsePrefix("10.1.0.0/16")
)

func TestAC03_AC04_AC08_AC32_PrefixesOfTwoRoutersOnOneInterface(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	needDaemons(t)
	r := newRing(t)
	favor(t)
	t.Run("AC04_WithdrawnRouteLeavesNothing", r.withdrawnLeavesNothing)
	t.Run("AC03_BestPathMovesUnderACoveringPrefix", r.bestPathMoves)
	t.Run("AC08_ForbiddenPrefixesStayOutside", r.forbidden)
	t.Run("AC32_TunnelIsNotRoutedIntoItself", r.coversItsEndpoint)
}

func newRing(t *testing.T) *ring {
	t.Helper()
	group := "group = \"ring\"\n"
	l := start(t, gwlab.Spec{
		Gateways: []gwlab.Gateway{{Name: "gw1", NotStarted: true, TOML: "[fib]\npermit = [\"10.0.0.0/8\"]\n"}},
		Sites: []gwlab.Site{
			{Name: "alpha", BGP: gwlab.BGPFRR, TOML: group},
			{Name: "beta", BGP: gwlab.BGPBIRD, TOML: group},
		},
	})
	r := &ring{l: l, g: l.Gateways[0], alpha: l.Site("alpha"), beta: l.Site("beta")}
	// The way to the sites is a default route, as on most hosts: nothing in the
	// main table is more specific than what alpha is going to announce.
	if err := errors.Join(r.g.Host.Route("default", "198.18.1.1"), r.g.Host.RunAll("ip route del 198.19.0.0/16")); err != nil {
		t.Fatal(err)
	}
	rewrite(t, r.g, func(c string) string {
		c = allowMore(c, "alpha", "10.0.0.0/8", "10.1.0.0/16", "198.19.1.0/24")
		return allowMore(c, "beta", "10.1.0.0/16")
	})
	var err error
	if r.dual, err = l.Host("dual"); err != nil {
		t.Fatal(err)
	}
	for i, s := range []*gwlab.SiteHost{r.alpha, r.beta} {
		at, near := fmt.Sprintf("192.168.%d.1", i+1), fmt.Sprintf("192.168.%d.2", i+1)
		err := errors.Join(
			netlab.Link(netlab.End{Host: s.Host, Device: "dual", Addresses: []string{at + "/24"}},
				netlab.End{Host: r.dual, Device: s.Name, Addresses: []string{near + "/24"}}),
			s.Host.Route(dualIP+"/32", near),
		)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(r.dual.RunAll("ip addr add "+dualIP+"/32 dev lo"), r.dual.Forwarding()); err != nil {
		t.Fatal(err)
	}
	if err := l.StartGateway(r.g); err != nil {
		t.Fatal(err)
	}
	reach(t, l, "alpha")
	reach(t, l, "beta")
	r.wait(t, func(own map[netip.Prefix]string) error {
		if own[r.alpha.Net6] == "" || own[r.beta.Net6] == "" {
			return fmt.Errorf("no IPv6 prefixes yet: %v", own)
		}
		return nil
	})
	r.plain = sortedPeers(allowedIPs(t, r.g, "wg0"))
	if r.routes, err = ourRoutes(r.g); err != nil {
		t.Fatal(err)
	}
	return r
}

// sortedPeers orders the lines of `wg show allowed-ips`: the userspace device
// lists its peers in another order each time. The words of a line stay.
func sortedPeers(out string) string {
	lines := slices.Sorted(strings.Lines(out))
	return strings.Join(lines, "")
}

// wait waits for an ownership of allowed IPs.
func (r *ring) wait(t *testing.T, ok func(map[netip.Prefix]string) error) {
	t.Helper()
	nstest.Eventually(t, 20*time.Second, func() error {
		out, err := r.g.Host.Run("wg", "show", "wg0", "allowed-ips")
		if err != nil {
			return err
		}
		return ok(owners(out))
	})
}

// owned waits until a site's peer owns the prefix.
func (r *ring) owned(t *testing.T, p netip.Prefix, s *gwlab.SiteHost) {
	t.Helper()
	r.wait(t, func(own map[netip.Prefix]string) error {
		if want := r.key(t, s); own[p] != want {
			return fmt.Errorf("owner of %s: got %q, want %s (%s)", p, own[p], want, s.Name)
		}
		return nil
	})
}

// key is the public key of a site as the gateway's configuration has it.
func (r *ring) key(t *testing.T, s *gwlab.SiteHost) string {
	t.Helper()
	return siteKey(t, r.g, s.Name)
}

// session is alpha's BGP session.
func (r *ring) session(t *testing.T) api.Neighbor {
	t.Helper()
	return ask[api.NeighborList](t, r.l, r.g, "neighbor", "alpha").Neighbors[0]
}

// entry is what the gateway knows about a prefix; empty: nothing.
func (r *ring) entry(p netip.Prefix) api.RIBEntry {
	a, err := tryAsk[api.RIB](r.l, r.g, "rib", p.String())
	if err != nil || len(a.Prefixes) != 1 {
		return api.RIBEntry{}
	}
	return a.Prefixes[0]
}

// frr changes what alpha announces.
func (r *ring) frr(t *testing.T, commands ...string) {
	t.Helper()
	if _, err := r.alpha.FRR.Vtysh(append([]string{"configure terminal", "router bgp 65101", ringAS4}, commands...)...); err != nil {
		t.Fatal(err)
	}
}

// bird changes what beta announces: 10.1.0.0/16 or not, and with how much
// prepended.
func (r *ring) bird(t *testing.T, announce bool, prepend int) {
	t.Helper()
	var more []netip.Prefix
	if announce {
		more = append(more, sixteen)
	}
	text := r.l.BIRDText(r.beta, more...)
	if prepend > 0 {
		text = strings.Replace(text, "if source = RTS_STATIC then accept;",
			"if net = 10.1.0.0/16 then { "+strings.Repeat("bgp_path.prepend(65102); ", prepend)+"}\n if source = RTS_STATIC then accept;", 1)
	}
	// The kernel protocols come first in the text and have filters of their own.
	if err := r.beta.BIRD.Configure(text); err != nil {
		t.Fatal(err)
	}
}

// asBefore waits until allowed IPs and routes are what they were before the
// announcements, byte for byte.
func (r *ring) asBefore(t *testing.T) {
	t.Helper()
	nstest.Eventually(t, 20*time.Second, func() error {
		if got := sortedPeers(allowedIPs(t, r.g, "wg0")); got != r.plain {
			return fmt.Errorf("wg show allowed-ips: got\n%s\nwant what was there before\n%s", got, r.plain)
		}
		routes, err := ourRoutes(r.g)
		if err == nil && !slices.Equal(routes, r.routes) {
			err = fmt.Errorf("routes: got %v, want what was there before: %v", routes, r.routes)
		}
		return err
	})
}

func (r *ring) withdrawnLeavesNothing(t *testing.T) {
	for round := range 2 {
		r.frr(t, "network 10.0.0.0/8", "network 10.1.0.0/16")
		r.owned(t, eight, r.alpha)
		r.owned(t, sixteen, r.alpha)
		r.frr(t, "no network 10.0.0.0/8", "no network 10.1.0.0/16")
		began := time.Now()
		r.asBefore(t)
		t.Logf("figure: AC-4 round %d (FRR): allowed IPs and routes byte-equal to before %.1f s after the withdrawal", round+1, time.Since(began).Seconds())
	}
	r.bird(t, true, 0)
	r.owned(t, sixteen, r.beta)
	r.bird(t, false, 0)
	began := time.Now()
	r.asBefore(t)
	t.Logf("figure: AC-4 BIRD: allowed IPs and routes byte-equal to before %.1f s after the withdrawal", time.Since(began).Seconds())
}

func (r *ring) bestPathMoves(t *testing.T) {
	r.frr(t, "network 10.0.0.0/8")
	r.bird(t, true, 0)
	r.owned(t, eight, r.alpha)
	r.owned(t, sixteen, r.beta)
	before := sortedPeers(allowedIPs(t, r.g, "wg0"))
	atTGW(t, r.l, 10*time.Second, sixteen, "gw1")

	// Alpha stands by: the same prefix with a longer AS_PATH.
	if _, err := r.alpha.FRR.Vtysh("configure terminal", "route-map longer permit 10", "set as-path prepend 65101 65101"); err != nil {
		t.Fatal(err)
	}
	full, _ := drops(r.l)
	flow, err := traffic.Start(traffic.Config{
		Name: "vpc to " + dualIP, From: r.l.VPC, To: r.dual, Src: r.l.VPCWorkload().A4, Dst: netip.MustParseAddr(dualIP), Rate: 10000, Flows: 4,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.carries(t, r.beta, time.Now())
	r.frr(t, "network 10.1.0.0/16 route-map longer")
	nstest.Eventually(t, 10*time.Second, func() error {
		if e := r.entry(sixteen); len(e.Paths) != 2 {
			return fmt.Errorf("rib of %s: got %+v, want two paths", sixteen, e)
		}
		return nil
	})
	const limit = time.Second
	const stay = 3000 // packets between two moves
	for round := range 2 {
		began := time.Now()
		r.bird(t, true, 4)
		away := r.carries(t, r.alpha, began)
		r.owned(t, sixteen, r.alpha)
		r.carriesFor(t, r.alpha, stay)
		began = time.Now()
		r.bird(t, true, 0)
		back := r.carries(t, r.beta, began)
		r.owned(t, sixteen, r.beta)
		r.carriesFor(t, r.beta, stay)
		t.Logf("figure: AC-3 round %d: %s goes to the other site %.2f s after its path became best, back %.2f s (limit 1)",
			round+1, dualIP, away.Seconds(), back.Seconds())
		if away > limit || back > limit {
			t.Errorf("moves took %s and %s, want at most %s", away, back, limit)
		}
	}
	r.frr(t, "no network 10.1.0.0/16")
	nstest.Eventually(t, 10*time.Second, func() error {
		if e := r.entry(sixteen); len(e.Paths) != 1 {
			return fmt.Errorf("rib of %s: got %+v, want one path", sixteen, e)
		}
		if got := sortedPeers(allowedIPs(t, r.g, "wg0")); got != before {
			return fmt.Errorf("an entry is left over: got\n%s\nwant\n%s", got, before)
		}
		return nil
	})
	r.carriesFor(t, r.beta, 2*stay)

	// Without 10.1.0.0/16 anywhere the covering prefix takes over.
	began := time.Now()
	r.bird(t, false, 0)
	covered := r.carries(t, r.alpha, began)
	t.Logf("figure: AC-3 (w01) %s goes by the covering prefix %.2f s after the withdrawal of the longer one (linger 3 s)", dualIP, covered.Seconds())
	rep := flow.Stop(500 * time.Millisecond)
	now, where := drops(r.l)
	t.Logf("figure: AC-3 (w02) under 10 kpps while the prefix moved five times: lost %d of %d, %d of them by full queues of a busy machine, refused: %v",
		rep.Lost, rep.Sent, now-full, rep.Errors)
	if rep.Lost > now-full || len(rep.Errors) > 0 || rep.Sent < 4*stay {
		t.Errorf("moves: %s, want no loss but by full queues:\n%s", rep, where)
	}
	r.frr(t, "no network 10.0.0.0/8")
	r.asBefore(t)
}

// carries waits until packets for 10.1.2.3 arrive by way of a site and returns
// the time since began.
func (r *ring) carries(t *testing.T, s *gwlab.SiteHost, began time.Time) time.Duration {
	t.Helper()
	r.carriesFor(t, s, 20) // more than IPv6's own packets
	return time.Since(began)
}

// carriesFor waits until some more packets have arrived by way of a site.
func (r *ring) carriesFor(t *testing.T, s *gwlab.SiteHost, packets uint64) {
	t.Helper()
	from := r.received(t, s)
	nstest.Eventually(t, 20*time.Second, func() error {
		if n := r.received(t, s); n < from+packets {
			return fmt.Errorf("by way of %s: %d packets", s.Name, n-from)
		}
		return nil
	})
}

func (r *ring) received(t *testing.T, s *gwlab.SiteHost) uint64 {
	t.Helper()
	var n uint64
	err := r.dual.Netlink(func(h *netlink.Handle) error {
		l, err := h.LinkByName(s.Name)
		if err == nil {
			n = l.Attrs().Statistics.RxPackets
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (r *ring) forbidden(t *testing.T) {
	tgw := netip.MustParsePrefix("10.0.0.0/16") // the TGW's own
	zero := netip.MustParsePrefix("0.0.0.0/0")
	before := r.session(t)
	m, err := r.g.Host.Start("monitor", cli, "-j", "monitor")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Kill() }()
	r.frr(t, "network 0.0.0.0/0", "network 10.0.0.0/16")
	nstest.Eventually(t, 10*time.Second, func() error {
		switch n := r.session(t); {
		case n.Rejected != before.Rejected+2:
			return fmt.Errorf("counter of rejected paths: got %d, want %d", n.Rejected, before.Rejected+2)
		case n.State != "Established" || !n.Since.Time.Equal(before.Since.Time):
			return fmt.Errorf("session: %s since %s, want it untouched since %s", n.State, n.Since.Time, before.Since.Time)
		}
		return r.rejectEvents(m.Log, "alpha", zero, tgw)
	})
	in := ask[api.AdjIn](t, r.l, r.g, "neighbor", "alpha", "adj-in")
	for _, p := range []netip.Prefix{zero, tgw} {
		if !slices.ContainsFunc(in.Rejected, func(x api.Rejected) bool { return x.Prefix == p && x.Reason != "" }) {
			t.Errorf("adj-in: %s is not listed as rejected with a reason: %+v", p, in.Rejected)
		}
	}
	r.asBefore(t) // nothing of it in the FIB nor among the allowed IPs
	e := r.entry(tgw)
	if len(e.Paths) == 0 || slices.ContainsFunc(e.Paths, func(p api.RIBPath) bool { return p.Site == "alpha" }) {
		t.Errorf("rib of %s: got %+v, want paths of the TGW only", tgw, e)
	}
	t.Log("figure: AC-8 both prefixes rejected, counter +2, two events with neighbor and prefix, session stays")
	r.frr(t, "no network 0.0.0.0/0", "no network 10.0.0.0/16")
}

// rejectEvents looks for one reject event per prefix in the output of monitor.
func (r *ring) rejectEvents(file, neighbor string, prefixes ...netip.Prefix) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, p := range prefixes {
		found := false
		for l := range strings.Lines(string(b)) {
			var e api.Event
			if json.Unmarshal([]byte(l), &e) == nil && e.Kind == api.EventReject && e.Neighbor == neighbor && e.Prefix == p && e.Reason != "" {
				found = true
			}
		}
		if !found {
			return fmt.Errorf("no event in %s: rejected %s of %s", filepath.Base(file), p, neighbor)
		}
	}
	return nil
}

func (r *ring) coversItsEndpoint(t *testing.T) {
	cover := netip.MustParsePrefix("198.19.1.0/24")
	since := r.session(t).Since.Time
	endpoints, err := r.g.Host.Run("sh", "-c", "wg show wg0 endpoints | sort")
	if err != nil {
		t.Fatal(err)
	}
	flow, err := gwlab.Stream(r.l.VPCWorkload(), r.alpha.Workload(), 1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	r.frr(t, "network "+cover.String())
	nstest.Eventually(t, 10*time.Second, func() error {
		if e := r.entry(cover); len(e.Paths) != 1 || e.Reason == "" {
			return fmt.Errorf("rib of %s: got %+v, want it withheld with a reason", cover, e)
		}
		return nil
	})
	r.asBefore(t)
	withheld := r.entry(cover)

	// The operator insists: then the route is there, and the tunnel's own
	// packets keep out of it.
	rewrite(t, r.g, func(c string) string {
		return strings.Replace(c, `permit = ["10.0.0.0/8"]`, `permit = ["10.0.0.0/8", "198.19.1.0/24"]`, 1)
	})
	reload(t, r.l, r.g)
	r.owned(t, cover, r.alpha)
	nstest.Eventually(t, 10*time.Second, func() error {
		out, err := r.g.Host.Run("ip", "route", "get", "198.19.1.7")
		if err == nil && !strings.Contains(out, "dev wg0") {
			err = fmt.Errorf("route of an address in %s: %s, want wg0", cover, out)
		}
		return err
	})
	if out, err := r.g.Host.Run("ip", "route", "get", "198.19.1.2", "mark", "4486"); err != nil || !strings.Contains(out, "dev eth1") {
		t.Errorf("route of the tunnel's own packets: %s, %v, want eth1", out, err)
	}
	// Longer than the hold time of 9 s: a session whose packets go in circles
	// would be gone.
	const watch = 10 * time.Second
	began := time.Now()
	nstest.Eventually(t, watch+5*time.Second, func() error {
		if n := r.session(t); n.State != "Established" || !n.Since.Time.Equal(since) {
			t.Fatalf("session: %s since %s, want it untouched since %s", n.State, n.Since.Time, since)
		}
		if left := watch - time.Since(began); left > 0 {
			return fmt.Errorf("watching for another %s", left)
		}
		return nil
	})
	rep := flow.Stop(500 * time.Millisecond)
	t.Logf("figure: AC-32 without permit: withheld (%s: %s); with permit: session untouched for %s, lost %d of %d",
		withheld.Reason, withheld.Detail, watch, rep.Lost, rep.Sent)
	if rep.Lost > 0 {
		t.Errorf("through the tunnel: %s, want no loss", rep)
	}
	if out, err := r.g.Host.Run("sh", "-c", "wg show wg0 endpoints | sort"); err != nil || out != endpoints {
		t.Errorf("endpoints: got\n%s%v\nwant\n%s", out, err, endpoints)
	}
}
