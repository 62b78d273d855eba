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

// coreNets is how many prefixes the router has.
const coreNets = 300

// coreRoutes wants them all in our table.
func coreRoutes(g *gwlab.GatewayHost) error {
	now, err := table(g)
	n := 0
	for _, r := range now {
		if strings.HasPrefix(r, "-4 10.22") && strings.Contains(r, "via 198.18.1.1 dev eth1") {
			n++
		}
	}
	if err == nil && n != coreNets {
		err = fmt.Errorf("%d routes to the router, want %d", n, coreNets)
	}
	return err
}

// sweepWait is how long neighbors are waited for before anything is swept.
const sweepWait = 10 * time.Second

func TestR02_KillNineLeavesTheKernelAndTheNextProcessAdoptsIt(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l, g := kernelLab(t)
	// A plain router on a real interface: what leads there needs no process of ours.
	const core = `
[[neighbor]]
name = "core"
address = "198.18.1.1"
device = "eth1"
asn = 65020
allow = ["10.220.0.0/15 le 24"]
`
	var networks strings.Builder
	for i := range coreNets {
		fmt.Fprintf(&networks, " route 10.%d.%d.0/24 unreachable;", 220+i/250, i%250)
	}
	if _, err := daemons.StartBIRD(l.Internet, `router id 198.18.1.1;
protocol device { }
protocol static { ipv4;`+networks.String()+` }
protocol bgp gw1 { local 198.18.1.1 as 65020; neighbor 198.18.1.2 as 65010; connect delay time 1; connect retry time 1; error wait time 1, 2;
 ipv4 { import none; export filter { if source = RTS_STATIC then accept; reject; }; }; }
`); err != nil {
		t.Fatal(err)
	}
	rewrite(t, g, func(c string) string {
		return strings.Replace(c, `end-of-rib-wait = "5s"`, fmt.Sprintf("end-of-rib-wait = %q", sweepWait), 1) + ghost + core
	})
	if err := l.StartGateway(g); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 20*time.Second, func() error { return coreRoutes(g) })
	full := settled(t, l, g)
	ids, err := g.Host.Run("ip", "nexthop", "show")
	if err != nil {
		t.Fatal(err)
	}

	if err := g.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The TUNs of userspace tunnels lose their carrier; the kernel notices within
	// a second and drops what leads there (nh_netdev_event, net/ipv4/nexthop.c).
	nstest.Eventually(t, 5*time.Second, func() error {
		now, err := table(g)
		if err == nil && slices.ContainsFunc(now, func(r string) bool { return strings.Contains(r, "dev gre-tgw") }) {
			err = fmt.Errorf("routes to a tunnel without a process are still there")
		}
		return err
	})
	left, err := table(g)
	if err != nil {
		t.Fatal(err)
	}
	gone := 0
	for _, r := range full {
		if slices.Contains(left, r) {
			continue
		}
		if !strings.Contains(r, "dev wg") && !strings.Contains(r, "dev gre-") {
			t.Errorf("after kill -9: lost %q", r)
		}
		gone++
	}
	if err := coreRoutes(g); err != nil {
		t.Error(err)
	}
	if rules, err := g.Host.Run("ip", "rule"); err != nil || !strings.Contains(rules, "lookup 1186") {
		t.Errorf("after kill -9: rules %q, %v, want ours", rules, err)
	}
	t.Logf("figure: r02 kill -9: %d of %d routes stay (%d led to tunnels that ended with the process)", len(left), len(full), gone)

	// What an earlier process left and nobody wants any more.
	stale := netip.MustParsePrefix("10.99.99.0/24")
	if err := g.Host.RunAll("ip route add "+stale.String()+" dev eth1 proto 186 table 1186 metric 100", "ip route add 10.98.0.0/16 dev eth1 table 1186 metric 7"); err != nil {
		t.Fatal(err)
	}
	watch, err := g.Host.Start("route-monitor", "ip", "-o", "monitor", "route")
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := l.StartGateway(g); err != nil {
		t.Fatal(err)
	}
	has := func(p netip.Prefix) bool {
		t.Helper()
		now, err := ourRoutes(g)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Contains(now, p)
	}
	withStray := append(slices.Clone(full), "-4 10.99.99.0/24 dev eth1 proto bgp scope link metric 100", "-4 10.98.0.0/16 dev eth1 scope link metric 7")
	slices.Sort(withStray)
	complete := time.Duration(0)
	nstest.Eventually(t, 30*time.Second, func() error {
		err := sameTable(g, withStray)
		if err == nil {
			complete = time.Since(begun)
		}
		return err
	})
	t.Logf("figure: r02 the whole table is back %.1f s after the restart", complete.Seconds())
	for has(stale) && time.Since(begun) < sweepWait-time.Second {
		time.Sleep(100 * time.Millisecond) // between looks
	}
	if !has(stale) {
		t.Errorf("the stale route is gone after %s, before the facts are complete (%s)", time.Since(begun), sweepWait)
	}
	nstest.Eventually(t, sweepWait+10*time.Second, func() error {
		if has(stale) {
			return fmt.Errorf("the stale route is still there")
		}
		return nil
	})
	t.Logf("figure: r02 the stale route is swept %.1f s after the restart (neighbors are waited for %s)", time.Since(begun).Seconds(), sweepWait)
	_ = watch.Signal(syscall.SIGINT)
	<-watch.Done()
	for line := range strings.Lines(watch.Tail(100000)) {
		if strings.HasPrefix(line, "Deleted") && strings.Contains(line, "table 1186") && !strings.Contains(line, "10.99.99.0/24") {
			t.Errorf("taken away over the restart: %q", line)
		}
		if strings.Contains(line, "via 198.18.1.1") && strings.Contains(line, "10.22") {
			t.Errorf("touched over the restart: %q", line)
		}
	}
	nstest.Eventually(t, 10*time.Second, func() error { return kernelAsWanted(l, g) })
	if !has(netip.MustParsePrefix("10.98.0.0/16")) {
		t.Error("the foreign route in our table is gone")
	}
	now, err := g.Host.Run("ip", "nexthop", "show")
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for line := range strings.Lines(ids) {
		if strings.Contains(line, "dev eth1") && strings.Contains(now, strings.TrimSpace(line)) {
			same++
		}
	}
	if same == 0 {
		t.Errorf("next-hop objects: got %q, had %q, want those toward the router adopted", now, ids)
	}
	writes := counters(t, l, g).Writes
	t.Logf("figure: r02 the new process wrote %d times for %d routes, %d next-hop objects adopted", writes, len(full), same)
	if limit := uint64(gone + 60); writes > limit {
		t.Errorf("the new process wrote %d times, want at most %d: what was lost and some more", writes, limit)
	}
	for _, s := range []string{"paris", "berlin", "oslo"} {
		reach(t, l, s)
	}
	if p := ask[api.Status](t, l, g, "status"); p.Sites.Up != 3 {
		t.Errorf("sites: got %+v, want 3 up", p.Sites)
	}
}
