package accept

import (
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

// unnumbered takes every address but a link-local one from the tunnel of a site
// and gives it a session over that: IPv4 then has IPv6 next hops (RFC 8950).
func unnumbered(config string, s *gwlab.SiteHost, asn int) string {
	from := strings.Index(config, "[wireguard.wg-"+s.Name+"]")
	at := from + strings.Index(config[from:], "address = ")
	end := at + strings.IndexByte(config[at:], '\n')
	config = config[:at] + `address = ["fe80::1/64"]` + config[end:]
	return inSite(config, s.Name, func(c string) string {
		c = withoutLine(withoutLine(c, "address = "), "prefixes = ")
		return c + fmt.Sprintf("address = [\"fe80::2\"]\nallow = [%q, %q]\n\n[site.neighbor]\nasn = %d\nfamilies = [\"ipv4\", \"ipv6\"]\n",
			s.Net4.String()+" le 24", s.Net6.String()+" le 64", asn)
	})
}

// linkLocalSites has two sites whose routers, FRR and BIRD, have the same address
// on their own interfaces.
func linkLocalSites(t *testing.T) (*gwlab.Lab, *gwlab.GatewayHost, *gwlab.SiteHost, *gwlab.SiteHost) {
	t.Helper()
	needDaemons(t)
	l := start(t, gwlab.Spec{
		TGWHold:  9,
		Gateways: []gwlab.Gateway{{Name: "gw1", NotStarted: true}},
		Sites: []gwlab.Site{
			{Name: "frr", DebianWireGuard: true, Open: true, Keepalive: 5},
			{Name: "bird", DebianWireGuard: true, Open: true, Keepalive: 5},
		},
	})
	g, frr, bird := l.Gateways[0], l.Site("frr"), l.Site("bird")
	rewrite(t, g, func(c string) string { return unnumbered(unnumbered(c, frr, 65101), bird, 65102) })
	for _, s := range []*gwlab.SiteHost{frr, bird} {
		if err := s.Host.RunAll("ip route del "+vpc4.String(), "ip -6 route del "+vpc6.String(),
			"ip addr flush dev wg-gw1", "ip addr add fe80::2/64 dev wg-gw1 nodad"); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if frr.FRR, err = daemons.StartFRR(frr.Host, fmt.Sprintf(`
router bgp 65101
 bgp router-id 198.19.1.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor fe80::1 remote-as 65010
 neighbor fe80::1 interface wg-gw1
 neighbor fe80::1 timers 3 9
 neighbor fe80::1 timers connect 1
 neighbor fe80::1 capability extended-nexthop
 address-family ipv4 unicast
  neighbor fe80::1 activate
  network %s
 exit-address-family
 address-family ipv6 unicast
  neighbor fe80::1 activate
  network %s
 exit-address-family
`, frr.Net4, frr.Net6)); err != nil {
		t.Fatal(err)
	}
	if bird.BIRD, err = daemons.StartBIRD(bird.Host, fmt.Sprintf(`
router id 198.19.2.2;
protocol device { scan time 1; }
protocol kernel { ipv4 { import none; export filter { if source = RTS_BGP then accept; reject; }; }; }
protocol kernel { ipv6 { import none; export filter { if source = RTS_BGP then accept; reject; }; }; }
protocol static { ipv4; route %s unreachable; }
protocol static { ipv6; route %s unreachable; }
protocol bgp hub {
 local fe80::2 as 65102;
 neighbor fe80::1 as 65010; interface "wg-gw1";
 hold time 9; connect delay time 1; connect retry time 1; error wait time 1, 2;
 ipv4 { extended next hop on; export filter { if source = RTS_STATIC then accept; reject; }; import all; };
 ipv6 { export filter { if source = RTS_STATIC then accept; reject; }; import all; };
}
`, bird.Net4, bird.Net6)); err != nil {
		t.Fatal(err)
	}
	if err := l.StartGateway(g); err != nil {
		t.Fatal(err)
	}
	return l, g, frr, bird
}

func TestAC19_LinkLocalTwins(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	l, g, frr, bird := linkLocalSites(t)
	t.Run("s05_BothRoutesOnTheRightDevice", func(t *testing.T) {
		for _, s := range []*gwlab.SiteHost{frr, bird} {
			nstest.Eventually(t, 30*time.Second, func() error { return sessionState(l, g, s.Name, "Established") })
			n := ask[api.NeighborList](t, l, g, "neighbor", s.Name).Neighbors[0]
			if want := netip.MustParseAddr("fe80::2%wg-" + s.Name); n.Address != want {
				t.Errorf("neighbor %s: address %s, want %s", s.Name, n.Address, want)
			}
			for _, p := range []netip.Prefix{s.Net4, s.Net6} {
				nstest.Eventually(t, 20*time.Second, func() error { return onDevice(g, p, "wg-"+s.Name) })
			}
		}
	})
	if t.Failed() {
		out, err := bird.BIRD.Birdc("show", "protocols", "all")
		t.Fatalf("BIRD: %v\n%s", err, out)
	}
	t.Run("s06_IPv4WithIPv6NextHopsForwards", func(t *testing.T) {
		for _, s := range []*gwlab.SiteHost{frr, bird} {
			e := ask[api.RIB](t, l, g, "rib", s.Net4.String())
			if len(e.Prefixes) != 1 || !e.Prefixes[0].Paths[0].NextHop.Is6() {
				t.Errorf("rib %s: got %+v, want an IPv6 next hop", s.Net4, e.Prefixes)
			}
			nstest.Eventually(t, 20*time.Second, func() error {
				out, err := s.Host.Run("ip", "route", "show", vpc4.String())
				if err == nil && !strings.Contains(out, "via inet6 fe80::1 dev wg-gw1") {
					err = fmt.Errorf("%s: route to the workload: got %q, want it via inet6 fe80::1", s.Name, out)
				}
				return err
			})
			reach(t, l, s.Name)
			if err := ping(l.VPCWorkload(), s.LAN6); err != nil {
				t.Errorf("IPv6 to %s: %v", s.Name, err)
			}
		}
	})
	t.Run("s05_TwinsHearOfEachOther", func(t *testing.T) {
		for _, p := range []netip.Prefix{bird.Net4, bird.Net6} {
			nstest.Eventually(t, 10*time.Second, func() error { return frrHops(frr.FRR, p, netip.MustParseAddr("fe80::1")) })
		}
		for _, p := range []netip.Prefix{frr.Net4, frr.Net6} {
			nstest.Eventually(t, 10*time.Second, func() error {
				out, err := bird.BIRD.Birdc("show", "route", p.String())
				if err == nil && !strings.Contains(out, "AS65101") {
					err = fmt.Errorf("BIRD's path to %s: got %q", p, out)
				}
				return err
			})
		}
		nstest.Eventually(t, 10*time.Second, func() error { return ping(frr.Workload(), bird.LAN4) })
	})
	t.Run("s05_OneTwinGoes", func(t *testing.T) {
		if err := bird.BIRD.Process.Stop(5 * time.Second); err != nil {
			t.Logf("bird: %v", err)
		}
		nstest.Eventually(t, 20*time.Second, func() error {
			if err := onDevice(g, bird.Net4, "wg-bird"); err == nil {
				return fmt.Errorf("%s still has its route", bird.Net4)
			}
			return nil
		})
		for _, p := range []netip.Prefix{frr.Net4, frr.Net6} {
			if err := onDevice(g, p, "wg-frr"); err != nil {
				t.Error(err)
			}
		}
		if err := sessionState(l, g, "frr", "Established"); err != nil {
			t.Error(err)
		}
		if err := ping(l.VPCWorkload(), frr.LAN4); err != nil {
			t.Error(err)
		}
	})
}

// onDevice wants a unicast route of our table that leads into the device, as the
// kernel has it.
func onDevice(g *gwlab.GatewayHost, p netip.Prefix, device string) error {
	out, err := g.Host.Run("ip", map[bool]string{true: "-4", false: "-6"}[p.Addr().Is4()], "route", "show", "table", "1186")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		i := slices.Index(f, "nhid")
		if f[0] != p.String() || i < 0 {
			continue
		}
		hop, err := nextHop(g, f[i+1])
		if err == nil && !strings.Contains(hop, " dev "+device+" ") {
			err = fmt.Errorf("route to %s: got next hop %q, want device %s", p, hop, device)
		}
		return err
	}
	return fmt.Errorf("no route to %s:\n%s", p, out)
}

// nextHop is what the kernel says about a next-hop object, or the one member of
// a group.
func nextHop(g *gwlab.GatewayHost, id string) (string, error) {
	out, err := g.Host.Run("ip", "nexthop", "show", "id", id)
	if err != nil {
		return "", err
	}
	if _, member, ok := strings.Cut(out, " group "); ok {
		id, _, _ = strings.Cut(member, " ")
		return g.Host.Run("ip", "nexthop", "show", "id", id)
	}
	return out, nil
}
