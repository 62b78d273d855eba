package accept

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// reach waits until packets flow between the workload behind the TGW and that of
// the site, both ways.
func reach(t *testing.T, l *gwlab.Lab, site string) {
	t.Helper()
	vpc, s := l.VPCWorkload(), l.Site(site)
	nstest.Eventually(t, 60*time.Second, func() error { return ping(vpc, s.LAN4) })
	nstest.Eventually(t, 10*time.Second, func() error { return ping(s.Workload(), vpc.A4) })
}

// ping sends one echo from a workload.
func ping(from gwlab.Workload, to netip.Addr) error {
	_, err := from.Host.Run("ping", "-c1", "-W1", to.String())
	return err
}

// ask runs wgbgp -j and decodes its answer, which must come with exit code 0.
func ask[T any](t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost, args ...string) T {
	t.Helper()
	v, err := tryAsk[T](l, g, args...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func tryAsk[T any](l *gwlab.Lab, g *gwlab.GatewayHost, args ...string) (T, error) {
	var v T
	out, stderr, code, err := l.CLI(g, append([]string{"-j"}, args...)...)
	switch {
	case err != nil:
		return v, err
	case code != 0:
		return v, fmt.Errorf("wgbgp %v: exit code %d: %s%s", args, code, out, stderr)
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		return v, fmt.Errorf("wgbgp %v: %w in %s", args, err, out)
	}
	return v, nil
}

// allowedIPs is `wg show DEVICE allowed-ips` on a gateway, byte for byte.
func allowedIPs(t *testing.T, g *gwlab.GatewayHost, device string) string {
	t.Helper()
	out, err := g.Host.Run("wg", "show", device, "allowed-ips")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// owners reads the output of `wg show DEVICE allowed-ips`: prefix to public key.
func owners(out string) map[netip.Prefix]string {
	m := map[netip.Prefix]string{}
	for l := range strings.Lines(out) {
		f := strings.Fields(l)
		for _, w := range f[min(1, len(f)):] {
			if p, err := netip.ParsePrefix(w); err == nil {
				m[p] = f[0]
			}
		}
	}
	return m
}

// ourRoutes are the unicast routes of a gateway's table (fib.table).
func ourRoutes(g *gwlab.GatewayHost) ([]netip.Prefix, error) {
	out, err := g.Host.Run("ip", "route", "show", "table", "1186")
	if err != nil {
		return nil, err
	}
	var ps []netip.Prefix
	for l := range strings.Lines(out) {
		word, _, _ := strings.Cut(l, " ")
		if word == "default" {
			word = "0.0.0.0/0"
		}
		if !strings.Contains(word, "/") {
			word += "/32"
		}
		if p, err := netip.ParsePrefix(word); err == nil { // "blackhole ..." is no prefix
			ps = append(ps, p)
		}
	}
	slices.SortFunc(ps, netip.Prefix.Compare)
	return ps, nil
}

// rewrite changes the text of a gateway's configuration file; the running daemon
// is not told.
func rewrite(t *testing.T, g *gwlab.GatewayHost, change func(string) string) {
	t.Helper()
	b, err := os.ReadFile(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	after := change(string(b))
	if after == string(b) {
		t.Fatalf("the change of %s changes nothing", g.Config)
	}
	if err := os.WriteFile(g.Config, []byte(after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload makes the daemon take over its configuration file; it must succeed.
func reload(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost) {
	t.Helper()
	if out, stderr, code, err := l.CLI(g, "config", "reload"); err != nil || code != 0 {
		t.Fatalf("config reload: exit code %d, %v\n%s%s", code, err, out, stderr)
	}
}

// restart ends a gateway's daemon with a signal and starts it again.
func restart(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost, sig syscall.Signal) {
	t.Helper()
	if err := g.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.Process.Done():
	case <-time.After(20 * time.Second):
		t.Fatalf("%s did not end after %v", g.Name, sig)
	}
	if err := l.StartGateway(g); err != nil {
		t.Fatal(err)
	}
}

// atTGW waits until the TGW forwards a prefix by exactly these gateways; none
// means that it has no path.
func atTGW(t *testing.T, l *gwlab.Lab, within time.Duration, p netip.Prefix, gateways ...string) {
	t.Helper()
	nstest.Eventually(t, within, func() error {
		routes, err := l.TGWRoutes()
		if err == nil && !slices.Equal(routes[p], gateways) {
			err = fmt.Errorf("TGW's path to %s: got %v, want %v", p, routes[p], gateways)
		}
		return err
	})
}

// allowMore adds to a site's allow list in the text of a configuration.
func allowMore(config, site string, rules ...string) string {
	before, after, _ := strings.Cut(config, "\nname = "+strconv.Quote(site)+"\n")
	for _, r := range rules {
		after = strings.Replace(after, "\nallow = [", "\nallow = ["+strconv.Quote(r)+", ", 1)
	}
	return before + "\nname = " + strconv.Quote(site) + "\n" + after
}

// siteKey is the public key of a site as the gateway's configuration has it.
func siteKey(t *testing.T, g *gwlab.GatewayHost, site string) string {
	t.Helper()
	b, err := os.ReadFile(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(b), "\nname = "+strconv.Quote(site)+"\n")
	_, after, ok2 := strings.Cut(after, "\npublic-key = \"")
	key, _, ok3 := strings.Cut(after, "\"")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("%s: no public key of site %s", g.Config, site)
	}
	return key
}

// favor gives everything in the lab, this test included, the priority that
// Nice=-10 of the daemon's unit file gives the daemon: a packet crosses several
// processes, and none of them shall wait for what else the machine does.
func favor(t *testing.T) {
	t.Helper()
	for range 2 { // the second time for threads that were being made
		// The kernel keeps it per thread; new threads inherit it.
		tasks, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range tasks {
			tid, err := strconv.Atoi(filepath.Base(dir))
			if err == nil {
				err = unix.Setpriority(unix.PRIO_PROCESS, tid, -10)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				t.Logf("measuring with ordinary priority: %v", err)
				return
			}
		}
	}
}

// drops counts what the hosts of a lab dropped because a queue was full.
func drops(l *gwlab.Lab) (n int, text string) {
	hosts := []*netlab.Host{l.VPC, l.TGW, l.Internet}
	for _, g := range l.Gateways {
		hosts = append(hosts, g.Host)
	}
	for _, s := range l.Sites {
		hosts = append(hosts, s.Host, s.LAN)
	}
	for _, h := range hosts {
		k, where := netlab.FullQueues(h.Name(), func(file string) (string, error) { return h.Run("cat", "/proc/net/"+file) })
		n, text = n+k, text+where
	}
	return n, text
}

// stays wants try to hold all the time.
func stays(t *testing.T, d time.Duration, try func() error) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // between looks
		if err := try(); err != nil {
			t.Fatal(err)
		}
	}
}
