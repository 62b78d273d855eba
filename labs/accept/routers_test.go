package accept

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// routersTOML has two ordinary routers on the gateway's underlay.
const routersTOML = `
[[neighbor]]
name = "bird"
address = "198.18.1.1"
port = 1790
device = "eth1"
asn = 65201
allow = ["10.150.0.0/16"]
add-paths = true
graceful-restart = true
connect-retry = "1s"

[[neighbor]]
name = "frr"
address = "198.18.1.3"
device = "eth1"
asn = 65202
allow = ["10.150.0.0/16"]
graceful-restart = true
connect-retry = "1s"
`

// birdRouter announces one prefix by these next hops, each a path of its own
// (RFC 7911). Behind a next hop more statements of BIRD's filters may stand.
func birdRouter(hops ...string) string {
	var b strings.Builder
	b.WriteString("router id 198.18.1.1;\nprotocol device { }\n")
	for i, h := range hops {
		fmt.Fprintf(&b, "protocol static s%d { ipv4 { import filter { bgp_next_hop = %s; preference = %d; accept; }; }; route 10.150.0.0/16 unreachable; }\n", i, h, 200-i)
	}
	b.WriteString(`
protocol bgp hub {
 local 198.18.1.1 port 1790 as 65201;
 neighbor 198.18.1.2 as 65010;
 hold time 9; connect delay time 1; connect retry time 1; error wait time 1, 2;
 graceful restart on;
 ipv4 { add paths tx; next hop keep; import none; export all; };
}
`)
	return b.String()
}

var shared = netip.MustParsePrefix("10.150.0.0/16")

func TestK02_K03_S09_PathsOfRouters(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	needDaemons(t)
	l := start(t, gwlab.Spec{TGWHold: 9, Gateways: []gwlab.Gateway{{Name: "gw1", NotStarted: true, TOML: routersTOML}}})
	g := l.Gateways[0]
	if err := l.Internet.RunAll("ip addr add 198.18.1.3/24 dev gw1", "ip addr add 198.18.1.4/24 dev gw1"); err != nil {
		t.Fatal(err)
	}
	bird, err := daemons.StartBIRD(l.Internet, birdRouter("198.18.1.1", "198.18.1.4"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.StartGateway(g); err != nil {
		t.Fatal(err)
	}
	var kept api.RIBPath
	t.Run("k03_BothPathsWithIdentifiers", func(t *testing.T) {
		nstest.Eventually(t, 20*time.Second, func() error { return byHops(g, shared, "198.18.1.1", "198.18.1.4") })
		paths := ask[api.RIB](t, l, g, "rib", shared.String()).Prefixes[0].Paths
		if len(paths) != 2 || paths[0].PathID == paths[1].PathID || !paths[0].Best || !paths[1].Best {
			t.Fatalf("rib %s: got %+v, want two best paths with identifiers of their own", shared, paths)
		}
		n := ask[api.NeighborList](t, l, g, "neighbor", "bird").Neighbors[0]
		if n.Accepted != 2 || n.Counted != 2 {
			t.Errorf("neighbor bird: got %d accepted, %d counted, want 2 and 2", n.Accepted, n.Counted)
		}
		in := ask[api.AdjIn](t, l, g, "neighbor", "bird", "adj-in")
		if len(in.Paths) != 2 || in.Paths[0].PathID == in.Paths[1].PathID {
			t.Errorf("received from bird: got %+v", in.Paths)
		}
		kept = paths[slices.IndexFunc(paths, func(p api.RIBPath) bool { return p.NextHop.String() == "198.18.1.1" })]
	})
	t.Run("k03_WithdrawalOfOneIdentifier", func(t *testing.T) {
		if err := bird.Configure(birdRouter("198.18.1.1")); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 10*time.Second, func() error { return byHops(g, shared, "198.18.1.1") })
		paths := ask[api.RIB](t, l, g, "rib", shared.String()).Prefixes[0].Paths
		if len(paths) != 1 || paths[0].PathID != kept.PathID || !paths[0].Since.Time.Equal(kept.Since.Time) {
			t.Errorf("rib %s: got %+v, want only %+v", shared, paths, kept)
		}
	})
	// MED decides between the hubs of TestS03; every step is in ha.TestEveryStep.
	t.Run("s09_TheDecidingStepIsNamed", func(t *testing.T) {
		for _, c := range []struct{ worse, step, words string }{
			{"bgp_path.prepend(65299)", "as-path-length", "AS_PATH length (RFC 4271 section 9.1.2.2 a)"},
			{"bgp_origin = ORIGIN_INCOMPLETE", "origin", "origin (RFC 4271 section 9.1.2.2 b)"},
		} {
			if err := bird.Configure(birdRouter("198.18.1.1", "198.18.1.4; "+c.worse)); err != nil {
				t.Fatal(err)
			}
			nstest.Eventually(t, 10*time.Second, func() error {
				e, err := tryAsk[api.RIB](l, g, "rib", shared.String())
				if err != nil {
					return err
				}
				if p := e.Prefixes[0].Paths; len(p) != 2 || p[1].DecidedBy != c.step || p[1].NextHop.String() != "198.18.1.4" || p[0].DecidedBy != "" {
					return fmt.Errorf("rib: got %+v, want the path by 198.18.1.4 to lose by %s", p, c.step)
				}
				return byHops(g, shared, "198.18.1.1")
			})
			out, _, code, err := l.CLI(g, "explain", "10.150.0.1")
			if err != nil || !strings.Contains(out, "decided by "+c.words) {
				t.Errorf("explain: exit %d, %v, want the words %q:\n%s", code, err, c.words, out)
			}
		}
		if err := bird.Configure(birdRouter("198.18.1.1")); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 10*time.Second, func() error { return byHops(g, shared, "198.18.1.1") })
	})
	t.Run("k02_StaleMemberLeavesTheGroup", func(t *testing.T) {
		frr, err := daemons.StartFRR(l.Internet, `
router bgp 65202
 bgp router-id 198.18.1.3
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart
 neighbor 198.18.1.2 remote-as 65010
 neighbor 198.18.1.2 update-source 198.18.1.3
 neighbor 198.18.1.2 timers 3 9
 neighbor 198.18.1.2 timers connect 1
 address-family ipv4 unicast
  network 10.150.0.0/16
 exit-address-family
`)
		if err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 20*time.Second, func() error { return byHops(g, shared, "198.18.1.1", "198.18.1.3") })
		at := time.Now()
		if err := bird.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 10*time.Second, func() error { return byHops(g, shared, "198.18.1.3") })
		t.Logf("figure: k02 stale member out of the group %.3f s after the neighbor died (limit 1)", time.Since(at).Seconds())
		paths := ask[api.RIB](t, l, g, "rib", shared.String()).Prefixes[0].Paths
		if len(paths) != 2 || paths[1].Neighbor != "bird" || !paths[1].Stale || paths[1].DecidedBy != "fresh-before-stale" {
			t.Errorf("rib %s: got %+v, want the path of bird stale behind that of frr", shared, paths)
		}
		// Alone it is kept.
		if _, err := frr.Vtysh("configure terminal", "router bgp 65202", "address-family ipv4 unicast", "no network 10.150.0.0/16"); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 10*time.Second, func() error { return byHops(g, shared, "198.18.1.1") })
	})
}

// byHops wants a route of our table with exactly these gateways, as the kernel
// has it.
func byHops(g *gwlab.GatewayHost, p netip.Prefix, want ...string) error {
	out, err := g.Host.Run("ip", map[bool]string{true: "-4", false: "-6"}[p.Addr().Is4()], "route", "show", "table", "1186")
	if err != nil {
		return err
	}
	var got []string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		i := slices.Index(f, "nhid")
		if f[0] != p.String() || i < 0 {
			continue
		}
		hop, err := g.Host.Run("ip", "nexthop", "show", "id", f[i+1])
		if err != nil {
			return err
		}
		ids := []string{f[i+1]}
		if _, members, ok := strings.Cut(hop, " group "); ok {
			members, _, _ = strings.Cut(members, " ")
			ids = strings.Split(members, "/")
		}
		for _, id := range ids {
			id, _, _ = strings.Cut(id, ",") // its weight
			hop, err := g.Host.Run("ip", "nexthop", "show", "id", id)
			if err != nil {
				return err
			}
			w := strings.Fields(hop)
			if v := slices.Index(w, "via"); v >= 0 {
				got = append(got, w[v+1])
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("next hops of %s: got %v, want %v", p, got, want)
	}
	return nil
}
