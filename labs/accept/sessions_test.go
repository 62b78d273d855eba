package accept

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// Where gwlab's first gateway and its first sites are in the tunnels.
var (
	insideTGW4, insideTGW6 = netip.MustParseAddr("169.254.6.1"), netip.MustParseAddr("fd00:1::1")
	hub4, hub6             = netip.MustParseAddr("172.20.1.1"), netip.MustParseAddr("fd20:1::1")
	vpc4, vpc6             = netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("2001:db8:a::/48")
)

// ghost is a neighbor that never comes up.
const ghost = `
[[neighbor]]
name = "ghost"
address = "198.51.100.9"
multihop-ttl = 3
asn = 65099
allow = ["10.99.0.0/16 le 24"]
export = true
`

// sessionsLab has FRR as TGW, one gateway whose daemon is not started yet, and
// sites with FRR (paris), BIRD (berlin), our router (mute) and none (oslo).
func sessionsLab(t *testing.T) (*gwlab.Lab, *gwlab.GatewayHost) {
	t.Helper()
	needDaemons(t)
	l := start(t, gwlab.Spec{
		TGW:      gwlab.TGWFRR,
		TGWHold:  9,
		Gateways: []gwlab.Gateway{{Name: "gw1", NotStarted: true, TOML: ghost}},
		Sites: []gwlab.Site{
			{Name: "paris", BGP: gwlab.BGPFRR},
			{Name: "berlin", BGP: gwlab.BGPBIRD},
			{Name: "oslo", Keepalive: 5},
			{Name: "mute", BGP: gwlab.BGPRouter},
			rawSite("raw", 65105, 105),
		},
	})
	return l, l.Gateways[0]
}

// inSite changes the [[site]] block of one site in the text of a configuration.
func inSite(config, site string, change func(string) string) string {
	from := strings.Index(config, fmt.Sprintf("name = %q", site))
	to := len(config)
	if i := strings.Index(config[from:], "\n[["); i >= 0 {
		to = from + i
	}
	return config[:from] + change(config[from:to]) + config[to:]
}

// withoutLine takes out the first line that begins with the words.
func withoutLine(text, words string) string {
	i := strings.Index(text, "\n"+words)
	if i < 0 {
		return text
	}
	n := strings.IndexByte(text[i+1:], '\n')
	return text[:i] + text[i+1+n:]
}

func TestAC20_SessionsWithFRRAndBIRD(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	l, g := sessionsLab(t)
	paris, berlin, oslo, mute := l.Site("paris"), l.Site("berlin"), l.Site("oslo"), l.Site("mute")
	rewrite(t, g, func(c string) string {
		return inSite(c, "mute", func(s string) string { return withoutLine(s, "allow = ") })
	})
	atTGW := startCapture(t, l.TGW, "gre-gw1")
	atParis := startCapture(t, paris.Host, "wg-gw1")
	atBerlin := startCapture(t, berlin.Host, "wg-gw1")
	begun := time.Now()
	if err := l.StartGateway(g); err != nil {
		t.Fatal(err)
	}

	t.Run("s01_RoutesOfSitesArriveEverywhere", func(t *testing.T) {
		for _, s := range []*gwlab.SiteHost{paris, berlin, oslo} {
			for _, p := range []netip.Prefix{s.Net4, s.Net6} {
				nstest.Eventually(t, time.Minute, func() error { return tgwHops(l, p, only(p, insideTGW4, insideTGW6)) })
			}
		}
		t.Logf("figure: s01 all sites at the TGW %.2f s after a cold start", time.Since(begun).Seconds())
		for _, s := range []*gwlab.SiteHost{paris, berlin} {
			e := ask[api.RIB](t, l, g, "rib", s.Net4.String())
			if len(e.Prefixes) != 1 || !slices.Contains(e.Prefixes[0].AnnouncedTo, "tgw/1") {
				t.Errorf("rib %s: got %+v, want it announced to tgw/1", s.Net4, e.Prefixes)
			}
			if routes, err := ourRoutes(g); err != nil || !slices.Contains(routes, s.Net4) {
				t.Errorf("kernel routes: got %v, %v, want %s among them", routes, err, s.Net4)
			}
			if _, ok := owners(allowedIPs(t, g, "wg0"))[s.Net4]; !ok {
				t.Errorf("allowed IPs: want %s among them:\n%s", s.Net4, allowedIPs(t, g, "wg0"))
			}
		}
		reach(t, l, "paris")
		reach(t, l, "berlin")
		added := netip.MustParsePrefix("10.101.7.0/24")
		at := time.Now()
		if _, err := paris.FRR.Vtysh("configure terminal", "router bgp 65101", "address-family ipv4 unicast", "network "+added.String()); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 5*time.Second, func() error { return tgwHops(l, added, insideTGW4) })
		t.Logf("figure: s01 a new prefix of a site is at the TGW after %.2f s (limit 5)", time.Since(at).Seconds())
		if _, err := paris.FRR.Vtysh("configure terminal", "router bgp 65101", "address-family ipv4 unicast", "no network "+added.String()); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 5*time.Second, func() error { return tgwHops(l, added) })
	})

	t.Run("AC20_NextHopsAsSeenByTheNeighbors", func(t *testing.T) {
		for _, p := range []netip.Prefix{vpc4, vpc6, berlin.Net4, berlin.Net6, oslo.Net4, oslo.Net6} {
			nstest.Eventually(t, 10*time.Second, func() error { return frrHops(paris.FRR, p, only(p, hub4, hub6)) })
		}
		for _, p := range []netip.Prefix{vpc4, vpc6, paris.Net4, paris.Net6, oslo.Net4, oslo.Net6} {
			nstest.Eventually(t, 10*time.Second, func() error {
				out, err := berlin.BIRD.Birdc("show", "route", p.String(), "all")
				if err == nil && !strings.Contains(out, "BGP.next_hop: "+only(p, hub4, hub6).String()) {
					err = fmt.Errorf("BIRD's path to %s: got %q, want next hop %s", p, out, only(p, hub4, hub6))
				}
				return err
			})
		}
	})

	t.Run("AC20_NextHopsOnTheWire", func(t *testing.T) {
		for _, c := range []struct {
			c      *capture
			from   netip.Addr
			h4, h6 netip.Addr
		}{
			{atTGW, insideTGW4, insideTGW4, insideTGW6},
			{atParis, hub4, hub4, hub6},
			{atBerlin, hub4, hub4, hub6},
		} {
			n := checkNextHops(t, c.c.messages(), c.from, c.h4, c.h6)
			if n < 4 {
				t.Errorf("from %s: saw %d announced prefixes on the wire, want at least 4", c.from, n)
			}
			t.Logf("figure: AC-20 %d prefixes announced by %s, every next hop as it must be", n, c.from)
		}
	})

	t.Run("AC23_FirstUpdateSoonAfterEstablished", func(t *testing.T) {
		d := firstUpdate(t, atTGW.messages(), insideTGW4)
		t.Logf("figure: AC-23 first UPDATE %.3f s after Established (limit 3)", d.Seconds())
		if d > 3*time.Second {
			t.Errorf("first UPDATE after Established: got %s, want at most 3s", d)
		}
		n := ask[api.NeighborList](t, l, g, "neighbor", "ghost")
		if got := n.Neighbors[0].State; got == "Established" {
			t.Errorf("ghost: got state %s, want one that never comes up", got)
		}
	})

	t.Run("AC21_NoPolicyExchangesNothing", func(t *testing.T) {
		nstest.Eventually(t, 10*time.Second, func() error { return sessionState(l, g, "mute", api.StatePolicy) })
		out, _, code, err := l.CLI(g, "neighbor")
		if err != nil || code != 0 || !strings.Contains(out, "Policy") {
			t.Errorf("neighbor: exit %d, %v, want the word Policy:\n%s", code, err, out)
		}
		n := ask[api.NeighborList](t, l, g, "neighbor", "mute").Neighbors[0]
		if n.Accepted != 0 || n.Hint == "" {
			t.Errorf("neighbor mute: got %d accepted and hint %q, want 0 and a hint", n.Accepted, n.Hint)
		}
		if routes, err := ourRoutes(g); err != nil || slices.Contains(routes, mute.Net4) {
			t.Errorf("kernel routes: got %v, %v, want none to %s", routes, err, mute.Net4)
		}
		if err := tgwHops(l, mute.Net4); err != nil {
			t.Error(err)
		}
		out, _, code, err = l.CLI(g, "check")
		if err != nil || code != 5 || !strings.Contains(out, "policy") {
			t.Errorf("check: exit %d, %v, want 5 and the policy named:\n%s", code, err, out)
		}
		// With a policy the same session brings routes (s02).
		since := ask[api.NeighborList](t, l, g, "neighbor", "paris").Neighbors[0].Since.Time
		rewrite(t, g, func(c string) string {
			return inSite(c, "mute", func(s string) string {
				return strings.Replace(s, "\naddress", "\nallow = [\"10.104.0.0/16\"]\naddress", 1)
			})
		})
		reload(t, l, g)
		nstest.Eventually(t, 20*time.Second, func() error { return tgwHops(l, mute.Net4, insideTGW4) })
		if now := ask[api.NeighborList](t, l, g, "neighbor", "paris").Neighbors[0].Since.Time; !now.Equal(since) {
			t.Errorf("session of paris: since %v, was %v, want it untouched", now, since)
		}
	})

	t.Run("s13_MalformedUpdates", func(t *testing.T) { malformed(t, l, g, "raw", netip.MustParseAddr("172.20.1.15"), 65105) })

	t.Run("AC20_NextHopsOnTheWireToTheEnd", func(t *testing.T) {
		checkNextHops(t, atTGW.stop(), insideTGW4, insideTGW4, insideTGW6)
		checkNextHops(t, atParis.stop(), hub4, hub4, hub6)
		checkNextHops(t, atBerlin.stop(), hub4, hub4, hub6)
	})
}

func only(p netip.Prefix, v4, v6 netip.Addr) netip.Addr {
	if p.Addr().Is4() {
		return v4
	}
	return v6
}

// checkNextHops counts the prefixes that one speaker announces in a capture;
// each must come with its next hop.
func checkNextHops(t *testing.T, ms []message, from, h4, h6 netip.Addr) (n int) {
	t.Helper()
	for _, m := range ms {
		if m.typ != bgpUpdate || m.src != from {
			continue
		}
		u := parseUpdate(m.body)
		for _, p := range u.reach {
			n++
			if want := only(p, h4, h6); u.nextHop != want {
				t.Errorf("UPDATE %s to %s: %s has next hop %s, want %s", m.src, m.dst, p, u.nextHop, want)
			}
		}
		if u.linkLocal.IsValid() {
			t.Errorf("UPDATE %s to %s: a second next hop %s, want none", m.src, m.dst, u.linkLocal)
		}
	}
	return n
}

// firstUpdate is the time to the first UPDATE that announces something, counted
// from the speaker's first KEEPALIVE. That is a moment before Established, which
// waits for the other's KEEPALIVE; a tunnel that forwards in the kernel shows the
// capture only one direction.
func firstUpdate(t *testing.T, ms []message, from netip.Addr) time.Duration {
	t.Helper()
	var up time.Time
	for _, m := range ms {
		switch {
		case m.src == from && m.typ == bgpKeepalive && up.IsZero():
			up = m.at
		case m.src == from && m.typ == bgpUpdate && !up.IsZero() && len(parseUpdate(m.body).reach) > 0:
			return m.at.Sub(up)
		}
	}
	t.Fatalf("no KEEPALIVE of %s and then an UPDATE in %d messages", from, len(ms))
	return 0
}

// tgwHops compares the next hops of a prefix at the TGW with those wanted; none
// means that it must have no path.
func tgwHops(l *gwlab.Lab, p netip.Prefix, want ...netip.Addr) error {
	return frrHops(l.TGWFRR, p, want...)
}

func frrHops(f *daemons.FRR, p netip.Prefix, want ...netip.Addr) error {
	family := "ipv4"
	if p.Addr().Is6() {
		family = "ipv6"
	}
	out, err := f.Vtysh("show bgp " + family + " unicast " + p.String() + " json")
	if err != nil {
		return err
	}
	var v struct {
		Paths []struct {
			Valid    bool
			NextHops []struct{ IP string }
		}
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		return fmt.Errorf("FRR's answer about %s: %w in %s", p, err, out)
	}
	var got []netip.Addr
	for _, path := range v.Paths {
		for _, h := range path.NextHops {
			a, err := netip.ParseAddr(h.IP)
			if err != nil {
				return err
			}
			got = append(got, a)
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("FRR's next hops of %s: got %v, want %v", p, got, want)
	}
	return nil
}

// sessionState wants one state of a neighbor.
func sessionState(l *gwlab.Lab, g *gwlab.GatewayHost, neighbor, want string) error {
	n, err := tryAsk[api.NeighborList](l, g, "neighbor", neighbor)
	if err == nil && n.Neighbors[0].State != want {
		err = fmt.Errorf("neighbor %s: got state %s (%s), want %s", neighbor, n.Neighbors[0].State, n.Neighbors[0].LossReason, want)
	}
	return err
}
