package accept

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// manyNets is a table of some size behind the TGW.
func manyNets(n int) (out []netip.Prefix) {
	for i := range n {
		out = append(out, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(200 + i/250), byte(i % 250), 0}), 24))
		if i%4 == 0 {
			out = append(out, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xb, byte(i / 4), 15: 0}), 48))
		}
	}
	return out
}

// kernelLab has a gateway whose daemon is not started yet, a static site, one
// with BIRD, and one on an interface of its own.
func kernelLab(t *testing.T) (*gwlab.Lab, *gwlab.GatewayHost) {
	t.Helper()
	needDaemons(t)
	l := start(t, gwlab.Spec{
		TGWNets:  manyNets(400),
		Gateways: []gwlab.Gateway{{Name: "gw1", NotStarted: true}},
		Sites: []gwlab.Site{
			{Name: "paris", Keepalive: 5, PSK: true},
			{Name: "berlin", BGP: gwlab.BGPBIRD},
			{Name: "oslo", BGP: gwlab.BGPRouter, Open: true},
		},
	})
	g := l.Gateways[0]
	// Our router and BIRD send no End-of-RIB to who has no graceful restart.
	rewrite(t, g, func(c string) string {
		return strings.Replace(c, "[gateway]\n", "[gateway]\nend-of-rib-wait = \"5s\"\n", 1)
	})
	return l, g
}

var nexthopID = regexp.MustCompile(`nhid (\d+)`)

// nextHops is what `ip nexthop` says, by id; groups are resolved.
func nextHops(g *gwlab.GatewayHost) (map[string]string, error) {
	out, err := g.Host.Run("ip", "nexthop", "show")
	if err != nil {
		return nil, err
	}
	byID := map[string]string{}
	for l := range strings.Lines(out) {
		if f := strings.Fields(l); len(f) > 2 && f[2] != "group" {
			byID[f[1]] = strings.Join(f[2:], " ")
		}
	}
	for l := range strings.Lines(out) {
		if f := strings.Fields(l); len(f) > 3 && f[2] == "group" {
			var members []string
			for m := range strings.SplitSeq(f[3], "/") {
				id, _, _ := strings.Cut(m, ",")
				members = append(members, byID[id])
			}
			slices.Sort(members)
			byID[f[1]] = "[" + strings.Join(members, ", ") + "]"
		}
	}
	return byID, nil
}

// table is our table as ip(8) prints it, one line a route, sorted, with next
// hops in place of the ids of their objects.
func table(g *gwlab.GatewayHost) ([]string, error) {
	var all []string
	hops, err := nextHops(g)
	if err != nil {
		return nil, err
	}
	for _, family := range []string{"-4", "-6"} {
		out, err := g.Host.Run("ip", "-o", family, "route", "show", "table", "1186")
		if err != nil {
			return nil, err
		}
		out = nexthopID.ReplaceAllStringFunc(out, func(s string) string { return hops[strings.TrimPrefix(s, "nhid ")] })
		out = strings.ReplaceAll(out, " linkdown", "")
		for l := range strings.Lines(out) {
			all = append(all, family+" "+strings.TrimSpace(l))
		}
	}
	slices.Sort(all)
	return all, nil
}

// sameTable wants the table as it was, and says the first difference.
func sameTable(g *gwlab.GatewayHost, want []string) error {
	got, err := table(g)
	if err != nil || slices.Equal(got, want) {
		return err
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			return fmt.Errorf("%d of %d routes, missing %q", len(got), len(want), l)
		}
	}
	for _, l := range got {
		if !slices.Contains(want, l) {
			return fmt.Errorf("%d routes instead of %d, too many %q", len(got), len(want), l)
		}
	}
	return fmt.Errorf("routes are there twice: got %d, want %d", len(got), len(want))
}

// kernelAsWanted asks `wgbgp check --kernel`, which must come with exit code 0.
func kernelAsWanted(l *gwlab.Lab, g *gwlab.GatewayHost) error {
	out, stderr, code, err := l.CLI(g, "check", "--kernel")
	if err == nil && code != 0 {
		err = fmt.Errorf("check --kernel: exit code %d\n%s%s", code, out, stderr)
	}
	return err
}

// route asks what the gateway says about the route to a prefix with our metric.
func route(l *gwlab.Lab, g *gwlab.GatewayHost, p netip.Prefix) (api.Route, error) {
	r, err := tryAsk[api.RouteList](l, g, "route", p.String())
	if err != nil {
		return api.Route{}, err
	}
	for _, x := range r.Routes {
		if x.Type == api.RouteUnicast && !x.Foreign {
			return x, nil
		}
	}
	return api.Route{}, fmt.Errorf("route %s: got %+v, want a unicast route", p, r.Routes)
}

func routeStatus(l *gwlab.Lab, g *gwlab.GatewayHost, p netip.Prefix, want string) error {
	r, err := route(l, g, p)
	if err == nil && r.Status != want {
		err = fmt.Errorf("route %s: got %s (%s), want %s", p, r.Status, r.Detail, want)
	}
	return err
}

func counters(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost) api.RouteCounters {
	t.Helper()
	for _, e := range ask[api.Status](t, l, g, "status").Edges {
		if e.Counters != nil {
			return *e.Counters
		}
	}
	t.Fatal("status: no counters of the routes")
	return api.RouteCounters{}
}

// settled waits until everything the TGW and the sites send is in the kernel
// and returns the table.
func settled(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost) []string {
	t.Helper()
	for _, s := range []string{"paris", "berlin", "oslo"} {
		reach(t, l, s)
	}
	var now []string
	nstest.Eventually(t, 20*time.Second, func() error {
		var err error
		if now, err = table(g); err == nil && len(now) < 500 {
			err = fmt.Errorf("%d routes in our table, want over 500", len(now))
		}
		return err
	})
	nstest.Eventually(t, 10*time.Second, func() error { return kernelAsWanted(l, g) })
	now, err := table(g)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

func TestAC26_KernelIsRepairedAndForeignRoutesAreRespected(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l, g := kernelLab(t)
	paris, berlin := l.Site("paris"), l.Site("berlin")

	t.Run("AC28_ForeignRoutesAtStartShadow", func(t *testing.T) {
		// As wg-quick leaves them: in main, which is asked before our table.
		const foreign = "10.101.0.0/16 via 198.18.1.1 dev eth1"
		if err := g.Host.RunAll("ip route add " + foreign); err != nil {
			t.Fatal(err)
		}
		if err := l.StartGateway(g); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 20*time.Second, func() error { return routeStatus(l, g, paris.Net4, api.RouteShadowed) })
		nstest.Eventually(t, 20*time.Second, func() error { return routeStatus(l, g, paris.Net6, api.RouteInstalled) })
		atTGW(t, l, 20*time.Second, paris.Net6, "gw1")
		stays(t, time.Second, func() error {
			routes, err := l.TGWRoutes()
			if err == nil && len(routes[paris.Net4]) > 0 {
				err = fmt.Errorf("TGW's path to %s: got %v, want none", paris.Net4, routes[paris.Net4])
			}
			return err
		})
		out, _, code, err := l.CLI(g, "check")
		if err != nil || code != 5 || !strings.Contains(out, "shadowed") || !strings.Contains(out, "10.101.0.0/16") {
			t.Errorf("check: exit %d, %v, want 5 and the route shadowed:\n%s", code, err, out)
		}
		if got, err := g.Host.Run("ip", "route", "show", "10.101.0.0/16"); err != nil || !strings.HasPrefix(got, foreign) {
			t.Errorf("the foreign route: got %q, %v, want it untouched", got, err)
		}
		begun := time.Now()
		if err := g.Host.RunAll("ip route del 10.101.0.0/16"); err != nil {
			t.Fatal(err)
		}
		atTGW(t, l, 5*time.Second, paris.Net4, "gw1")
		t.Logf("figure: AC-28 announced %.2f s after the foreign route was gone", time.Since(begun).Seconds())
	})

	full := settled(t, l, g)

	t.Run("AC28_ForeignRouteInOurTable", func(t *testing.T) {
		const foreign = "10.102.0.0/16 via 198.18.1.1 dev eth1 proto static"
		if err := g.Host.RunAll("ip route replace 10.102.0.0/16 via 198.18.1.1 dev eth1 proto static table 1186 metric 100"); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 5*time.Second, func() error { return routeStatus(l, g, berlin.Net4, api.RouteShadowed) })
		stays(t, time.Second, func() error {
			got, err := g.Host.Run("ip", "route", "show", "table", "1186", "10.102.0.0/16", "metric", "100")
			if err == nil && !strings.HasPrefix(got, foreign) {
				err = fmt.Errorf("the foreign route: got %q, want %q untouched", got, foreign)
			}
			return err
		})
		rewrite(t, g, func(c string) string { return c + "\n[fib]\ntakeover = true\n" })
		begun := time.Now()
		reload(t, l, g)
		nstest.Eventually(t, 5*time.Second, func() error { return sameTable(g, full) })
		t.Logf("figure: AC-28 taken over %.2f s after takeover was allowed", time.Since(begun).Seconds())
		rewrite(t, g, func(c string) string { return strings.Replace(c, "\n[fib]\ntakeover = true\n", "", 1) })
		reload(t, l, g)
		nstest.Eventually(t, 5*time.Second, func() error { return sameTable(g, full) })
	})

	t.Run("AC26_LinkFlapAndFlush", func(t *testing.T) {
		for _, tt := range []struct {
			what     string
			commands []string
		}{
			{"wg0 down and up", []string{"ip link set wg0 down", "ip link set wg0 up"}},
			{"open interface down and up", []string{"ip link set wg-oslo down", "ip link set wg-oslo up"}},
			{"GRE down and up", []string{"ip link set gre-tgw down", "ip link set gre-tgw up"}},
			{"flush", []string{"ip route flush table 1186 proto 186", "ip -6 route flush table 1186 proto 186"}},
			{"next-hop objects deleted", []string{"ip nexthop flush proto 186"}},
			{"rules deleted", []string{"ip rule del pref 1189", "ip -6 rule del pref 1188"}},
		} {
			before, begun := counters(t, l, g), time.Now()
			if err := g.Host.RunAll(tt.commands...); err != nil {
				t.Fatal(err)
			}
			nstest.Eventually(t, 10*time.Second, func() error { return sameTable(g, full) })
			if tt.what == "rules deleted" {
				nstest.Eventually(t, 5*time.Second, func() error { return shows("ip rule", "1189:")(g) })
				nstest.Eventually(t, 5*time.Second, func() error { return shows("ip -6 rule", "1188:")(g) })
			}
			took := time.Since(begun)
			if after := counters(t, l, g); after.Writes == before.Writes {
				t.Errorf("%s: nothing was written, so nothing was damaged", tt.what)
			}
			t.Logf("figure: AC-26 %s: %d routes back after %.2f s (limit 2)", tt.what, len(full), took.Seconds())
			if took > 2*time.Second {
				t.Errorf("%s: full table back after %s, want at most 2s", tt.what, took)
			}
			nstest.Eventually(t, 5*time.Second, func() error { return kernelAsWanted(l, g) })
		}
		for _, s := range []string{"paris", "berlin", "oslo"} {
			reach(t, l, s)
		}
	})

	t.Run("AC27_OverflowOfEvents", func(t *testing.T) { overflow(t, l, g, full) })
	t.Run("AC36_CheckKernelSeesDamage", func(t *testing.T) { seesDamage(t, l, g) })
}

// overflow changes very many foreign routes, and some of ours among them, while
// the daemon does not listen.
func overflow(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost, full []string) {
	before := counters(t, l, g)
	var storm, undo strings.Builder
	for i := range 20000 {
		p := fmt.Sprintf("11.%d.%d.0/24", i/250, i%250)
		fmt.Fprintf(&storm, "route add %s via 198.18.1.1\n", p)
		fmt.Fprintf(&undo, "route del %s\n", p)
	}
	file, err := g.Host.File("storm", storm.String()+
		"route del 10.102.0.0/16 table 1186 metric 100\nroute add 10.7.7.0/24 dev eth1 proto 186 table 1186 metric 100\n"+
		undo.String()+"route add 11.11.11.0/24 via 198.18.1.1\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	_, err = g.Host.Run("ip", "-batch", file)
	stopped := time.Since(begun)
	if err := g.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	begun = time.Now()
	nstest.Eventually(t, 10*time.Second, func() error { return sameTable(g, full) })
	took := time.Since(begun)
	after := counters(t, l, g)
	t.Logf("figure: AC-27 40,003 changes while the daemon slept %.1f s: %d overflows, %d resyncs, table right after %.2f s",
		stopped.Seconds(), after.Overflows-before.Overflows, after.Resyncs-before.Resyncs, took.Seconds())
	if after.Overflows == before.Overflows || after.Resyncs == before.Resyncs {
		t.Errorf("counters: got %+v after %+v, want overflows and resyncs to rise", after, before)
	}
	nstest.Eventually(t, 10*time.Second, func() error { return kernelAsWanted(l, g) })
	if out, err := g.Host.Run("ip", "route", "show", "11.11.11.0/24"); err != nil || out == "" {
		t.Errorf("the foreign route of the storm: got %q, %v, want it untouched", out, err)
	}
	if err := g.Host.RunAll("ip route del 11.11.11.0/24"); err != nil {
		t.Fatal(err)
	}
}

// seesDamage stops the daemon from repairing by damage that it looks for only
// now and then, and wants `check --kernel` to name it.
func seesDamage(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost) {
	key := ask[api.PeerList](t, l, g, "peer", "paris").Peers[0].PublicKey
	if err := g.Host.RunAll("wg set wg0 peer " + key + " persistent-keepalive 77"); err != nil {
		t.Fatal(err)
	}
	out, _, code, err := l.CLI(g, "check", "--kernel")
	if err != nil || code != 5 || !strings.Contains(out, "peer paris on interface wg0: keepalive") {
		t.Errorf("check --kernel: exit %d, %v, want 5 and the keepalive:\n%s", code, err, out)
	}
	begun := time.Now()
	nstest.Eventually(t, 40*time.Second, func() error { return kernelAsWanted(l, g) })
	t.Logf("figure: AC-36 a keepalive changed by hand is repaired after %.0f s (audit every 30)", time.Since(begun).Seconds())
}
