package gwlab

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/labs/traffic"
)

// The gateway on the kernel's data plane (backend auto). On a machine whose
// kernel has no WireGuard or GRE these tests run in a VM: make test-vm.

func TestKernelForwardsWhileTheDaemonIsDead(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.NeedLink(t, "wireguard")
	nstest.NeedLink(t, "gre", "local", "192.0.2.1", "remote", "192.0.2.2")
	if m := daemons.Missing(); len(m) > 0 {
		t.Skipf("needs %v", m)
	}
	l := start(t, Spec{
		Gateways: []Gateway{{Name: "gw1"}, {Name: "gw2"}},
		Sites: []Site{
			{Name: "static", ReturnBy: []string{"gw1"}, Keepalive: 5, PSK: true},
			{Name: "debian", DebianWireGuard: true, DialsUs: true, Keepalive: 5},
			{Name: "routed", BGP: BGPRouter, Open: true},
			{Name: "frr", BGP: BGPFRR},
			{Name: "bird", BGP: BGPBIRD, Gateways: []string{"gw2"}},
		},
	})
	for _, s := range l.Sites {
		reach(t, l, s.Name)
	}
	g := l.Gateways[0]
	mustBeKernel(t, g, "wg0", "wireguard")
	mustBeKernel(t, g, "wg-routed", "wireguard")
	mustBeKernel(t, g, "gre-tgw", "gre remote 10.254.1.1 local 10.254.1.2", "fwmark 0x1186")
	if out := run(t, g, "wg", "show", "wg0", "fwmark"); strings.TrimSpace(out) != "0x1186" {
		t.Errorf("mark of wg0: got %q, want 0x1186", out)
	}

	// The double forgets gw1's paths when the session dies. So that packets keep
	// crossing gw1 both ways, the way to this site is nailed to gw1.
	s := l.Site("static")
	for _, line := range []string{
		"ip route add table 7 default dev gre-gw1", "ip -6 route add table 7 default dev gre-gw1",
		"ip rule add pref 5 to " + s.Net4.String() + " lookup 7", "ip -6 rule add pref 5 to " + s.Net6.String() + " lookup 7",
	} {
		if err := l.TGW.RunAll(line); err != nil {
			t.Fatal(err)
		}
	}
	streams := l.throughGateway(t, s.Workload(), 100)
	dropped := backlogDrops(t)
	before := standing(t, g)
	monitor, err := g.Host.Start("monitor", "ip", "-ts", "monitor", "link", "address", "route", "rule", "nexthop")
	if err != nil {
		t.Fatal(err)
	}
	steady := time.Now()
	time.Sleep(time.Second) // a second of traffic to measure before the fault
	killed := time.Now()
	if err := g.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-g.Process.Done()
	time.Sleep(4 * time.Second) // how long nobody is there
	if after := standing(t, g); after != before {
		t.Errorf("kill -9 changed the kernel:\nbefore\n%s\nafter\n%s", before, after)
	}
	restarted := time.Now()
	if err := l.StartGateway(g); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 60*time.Second, func() error {
		routes, err := l.TGWRoutes()
		if want := []string{"gw1", "gw2"}; err == nil && !slices.Equal(routes[s.Net4], want) {
			err = fmt.Errorf("TGW's path: got %v, want %v", routes[s.Net4], want)
		}
		return err
	})
	adopted := time.Now()
	time.Sleep(time.Second) // what the sweep after the last End-of-RIB would do
	end := time.Now()
	for _, st := range streams {
		st.Stop(2 * time.Second)
		for _, part := range []struct {
			name     string
			from, to time.Time
		}{{"before", steady, killed}, {"without a daemon", killed, restarted}, {"while it adopts", restarted, end}} {
			r := st.Report(part.from, part.to)
			t.Logf("figure: kernel data plane, %s, %s: %d of %d packets lost", r.Name, part.name, r.Lost, r.Sent)
			if r.Lost != 0 || r.Sent < 50 {
				t.Errorf("%s, %s: lost %d of %d packets, want 0", r.Name, part.name, r.Lost, r.Sent)
			}
		}
	}
	if n := backlogDrops(t) - dropped; n > 0 {
		t.Errorf("the machine itself dropped %d packets (/proc/net/softnet_stat): it is too slow for this measurement", n)
	}
	t.Logf("figure: kernel data plane, restart to announced again: %.2f s", adopted.Sub(restarted).Seconds())
	if after := standing(t, g); after != before {
		t.Errorf("the restarted daemon did not adopt what stood:\nbefore\n%s\nafter\n%s", before, after)
	}
	if err := monitor.Stop(time.Second); err != nil {
		t.Logf("monitor: %v", err)
	}
	seen, err := os.ReadFile(monitor.Log)
	if err != nil {
		t.Fatal(err)
	}
	if left := withoutProbe(string(seen)); left != "" {
		t.Errorf("kernel changes from kill -9 to the end of the adoption: want none, got\n%s", left)
	}
}

// backlogDrops is how many packets the machine had no room for, in all namespaces
// (softnet_seq_show in net/core/net-procfs.c): those are no doing of a gateway.
func backlogDrops(t *testing.T) (n uint64) {
	t.Helper()
	b, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		v, err := strconv.ParseUint(strings.Fields(line)[1], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		n += v
	}
	return n
}

// withoutProbe leaves out of what ip monitor printed the short-lived device by
// which wg/device finds out what this kernel's WireGuard can do.
func withoutProbe(seen string) string {
	var left strings.Builder
	mine := false
	for line := range strings.Lines(seen) {
		if strings.HasPrefix(line, "[") { // continuation lines are indented
			mine = strings.Contains(line, " wgprobe")
		}
		if !mine {
			left.WriteString(line)
		}
	}
	return left.String()
}

// Tunnels, routes and sessions inside a VRF, the underlay outside.
func TestKernelVRFHoldsTheWholeGateway(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.NeedLink(t, "wireguard")
	nstest.NeedLink(t, "vrf", "table", "99")
	l := start(t, Spec{
		Gateways: []Gateway{{Name: "gw1", NotStarted: true, TOML: "[fib]\nvrf = \"blue\"\n"}},
		Sites:    []Site{{Name: "static"}, {Name: "routed", BGP: BGPRouter, Open: true}},
	})
	g := l.Gateways[0]
	if err := g.Host.RunAll("ip link add blue type vrf table 1186", "ip link set blue up"); err != nil {
		t.Fatal(err)
	}
	if err := l.StartGateway(g); err != nil {
		t.Fatal(err)
	}
	for _, s := range l.Sites {
		reach(t, l, s.Name)
	}
	for _, device := range []string{"wg0", "wg-routed", "gre-tgw"} {
		mustBeKernel(t, g, device, "master blue")
	}
	if out := run(t, g, "ip", "rule", "show"); strings.Contains(out, "lookup 1186") {
		t.Errorf("want no policy rule into the VRF's table, got\n%s", out)
	}
}

// throughGateway streams both ways and both families between the workload of
// the TGW and another.
func (l *Lab) throughGateway(t *testing.T, w Workload, rate int) []*traffic.Stream {
	t.Helper()
	var streams []*traffic.Stream
	vpc := l.VPCWorkload()
	for _, start := range []func() (*traffic.Stream, error){
		func() (*traffic.Stream, error) { return Stream(vpc, w, rate, 4) },
		func() (*traffic.Stream, error) { return Stream(w, vpc, rate, 4) },
		func() (*traffic.Stream, error) { return Stream6(vpc, w, rate, 4) },
		func() (*traffic.Stream, error) { return Stream6(w, vpc, rate, 4) },
	} {
		s, err := start()
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, s)
	}
	return streams
}

func run(t *testing.T, g *GatewayHost, args ...string) string {
	t.Helper()
	out, err := g.Host.Run(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mustBeKernel(t *testing.T, g *GatewayHost, device string, words ...string) {
	t.Helper()
	out := run(t, g, "ip", "-d", "link", "show", device)
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("%s: want %q in\n%s", device, w, out)
		}
	}
}

// volatile are parts of what ip and wg print that change by themselves.
var volatile = regexp.MustCompile(`expires \d+sec|\b(linkdown|pref medium|unbalanced_time \S+)\b`)

// standing is what a gateway has in the kernel: interfaces with their indexes,
// addresses, routes, rules, next hops and cryptokey routing.
func standing(t *testing.T, g *GatewayHost) string {
	t.Helper()
	var b strings.Builder
	for _, line := range []string{
		"ip -d link show", "ip addr show", "ip route show table all", "ip -6 route show table 1186", "ip rule show", "ip -6 rule show",
		"ip nexthop show", "wg show all public-key", "wg show all listen-port", "wg show all fwmark", "wg show all endpoints",
		"wg show all persistent-keepalive", "wg show all allowed-ips",
	} {
		lines := strings.Split(volatile.ReplaceAllString(run(t, g, strings.Fields(line)...), ""), "\n")
		slices.Sort(lines)
		fmt.Fprintf(&b, "%s\n%s\n", line, strings.Join(lines, "\n"))
	}
	return b.String()
}
