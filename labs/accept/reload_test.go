package accept

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// edit is one change of a configuration and what it must come to in the kernel.
type edit struct {
	what   string
	change func(config string) string
	// see looks with the operator's tools, nil: check --kernel suffices.
	see func(g *gwlab.GatewayHost) error
}

// shows wants words in the output of a command on the gateway, or, with "!" in
// front, not in it.
func shows(command string, words ...string) func(*gwlab.GatewayHost) error {
	return func(g *gwlab.GatewayHost) error {
		out, err := g.Host.Run(strings.Fields(command)...)
		if err != nil {
			return err
		}
		for _, w := range words {
			if not := strings.TrimPrefix(w, "!"); strings.Contains(out, not) == (not != w) {
				return fmt.Errorf("%s: got %q, want %q", command, out, w)
			}
		}
		return nil
	}
}

// replaced must change the text.
func replaced(old, now string) func(string) string {
	return func(c string) string { return strings.Replace(c, old, now, 1) }
}

func ofSite(site string, change func(string) string) func(string) string {
	return func(c string) string { return inSite(c, site, change) }
}

// without takes a whole block out, from the line before its name to the next block.
func without(block, name string) func(string) string {
	return func(c string) string {
		from := strings.Index(c, fmt.Sprintf("\n[[%s]]\nname = %q", block, name))
		to := len(c)
		if i := strings.Index(c[from+1:], "\n[["); i >= 0 {
			to = from + 1 + i
		}
		return c[:from] + c[to:]
	}
}

// edits is the matrix of AC-36. Each starts from the original file.
func edits() []edit {
	const paris4, paris6 = `"10.101.0.0/16"`, `"2001:db8:101::/48"`
	return []edit{
		{"add a prefix", ofSite("paris", replaced(paris4, paris4+`, "10.111.0.0/16"`)), shows("ip route show table 1186", "10.111.0.0/16 ")},
		{"remove a prefix", ofSite("paris", replaced(paris4+", ", "")), shows("wg show wg0 allowed-ips", "!10.101.0.0/16")},
		{"remove all IPv6 of a site", ofSite("paris", replaced(", "+paris6, "")), shows("ip -6 route show table 1186", "!2001:db8:101::/48")},
		{"add an address", replaced(`"fd20:1::1/64"`, `"fd20:1::1/64", "192.168.77.1/24"`), shows("ip addr show wg0", "192.168.77.1/24")},
		{"change an address", replaced(`"fd20:1::1/64"`, `"fd20:1::9/64"`), shows("ip addr show wg0", "fd20:1::9/64", "!fd20:1::1/64")},
		{"MTU", replaced("listen-port = 51820", "listen-port = 51820\nmtu = 1300"), shows("ip link show wg0", "mtu 1300")},
		{"listen port", replaced("listen-port = 51820", "listen-port = 51999"), shows("wg show wg0 listen-port", "51999")},
		{"keepalive", ofSite("paris", replaced("\naddress", "\nkeepalive = \"11s\"\naddress")), shows("wg show wg0 persistent-keepalive", "\t11\n")},
		{"no preshared key", ofSite("paris", func(s string) string { return withoutLine(s, "preshared-key") }), nil},
		{"disable a site", ofSite("paris", replaced("\naddress", "\ndisabled = true\naddress")), nil},
		{"remove a site", without("site", "paris"), shows("wg show wg0 allowed-ips", "!10.101.0.0/16")},
		{"remove a site with BGP", without("site", "berlin"), shows("ip route show table 1186", "!10.102.0.0/16")},
		{"narrow what BGP may announce", ofSite("berlin", replaced(`"10.102.0.0/16 le 24", `, "")), shows("ip route show table 1186", "!10.102.0.0/16")},
		{"remove an open interface", func(c string) string {
			c = without("site", "oslo")(c)
			from := strings.Index(c, "\n[wireguard.wg-oslo]")
			to := from + 1 + strings.Index(c[from+1:], "\n[[")
			return c[:from] + c[to:]
		}, shows("ip link show", "!wg-oslo")},
		{"remove the Connect peer", without("tgw-connect", "tgw"), shows("ip link show", "!gre-tgw")},
		{"MTU of the GRE tunnel", replaced("tgw-asn = 64512", "tgw-asn = 64512\nmtu = 1400"), shows("ip link show gre-tgw", "mtu 1400")},
		{"preferred source", func(c string) string { return c + "\n[fib]\nsource = [\"172.20.1.1\"]\n" }, shows("ip route show table 1186", "src 172.20.1.1")},
		{
			"add an aggregate", func(c string) string { return c + "\n[[aggregate]]\nprefix = \"10.96.0.0/11\"\n" },
			shows("ip route show table 1186", "blackhole 10.96.0.0/11"),
		},
		{"no MSS clamp", func(c string) string { return c + "\n[fib]\nmss-clamp = false\n" }, nil},
	}
}

func TestAC36_AfterAnyReloadTheKernelIsAsWanted(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l, g := kernelLab(t)
	if err := l.StartGateway(g); err != nil {
		t.Fatal(err)
	}
	full := settled(t, l, g)
	original, err := os.ReadFile(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	restore := func(t *testing.T) {
		t.Helper()
		if err := os.WriteFile(g.Config, original, 0o600); err != nil {
			t.Fatal(err)
		}
		reload(t, l, g)
	}
	t.Run("AC35_ReloadWithoutChange", func(t *testing.T) { quietReload(t, l, g, string(original)) })
	t.Run("AC37_InvalidFile", func(t *testing.T) { invalidReload(t, l, g, string(original)) })
	restore(t)
	t.Run("AC37_ChangeThatNeedsARestart", func(t *testing.T) {
		rewrite(t, g, replaced("asn = 65010", "asn = 65011"))
		_, stderr, code, err := l.CLI(g, "config", "reload")
		if err != nil || code != 6 || !strings.Contains(stderr, "gateway asn") || !strings.Contains(stderr, "restart") {
			t.Errorf("config reload: exit %d, %v, want 6 and the key named: %s", code, err, stderr)
		}
		if n := ask[api.Status](t, l, g, "status").ASN; n != 65010 {
			t.Errorf("ASN: got %d, want the old one", n)
		}
	})
	restore(t)
	var worst time.Duration
	for _, e := range edits() {
		t.Run("AC36_"+strings.ReplaceAll(e.what, " ", "_"), func(t *testing.T) {
			rewrite(t, g, e.change)
			begun := time.Now()
			reload(t, l, g)
			if e.see != nil { // a withdrawal is out for a linger of 3 s before the route goes
				nstest.Eventually(t, 15*time.Second, func() error { return e.see(g) })
			}
			nstest.Eventually(t, 10*time.Second, func() error { return kernelAsWanted(l, g) })
			took := time.Since(begun)
			worst = max(worst, took)
			restore(t)
			nstest.Eventually(t, 10*time.Second, func() error { return kernelAsWanted(l, g) })
		})
	}
	t.Logf("figure: AC-36 %d edits, the slowest was in the kernel after %.1f s", len(edits()), worst.Seconds())
	nstest.Eventually(t, 40*time.Second, func() error { return sameTable(g, full) })
	for _, s := range []string{"paris", "berlin", "oslo"} {
		reach(t, l, s)
	}
}

// quietReload reloads the same file, and one with another comment, and wants
// that nothing was written to the kernel and nothing said to a neighbor (AC-35).
func quietReload(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost, original string) {
	wires := map[string]*capture{
		"tgw": startCapture(t, l.TGW, "gre-gw1"), "berlin": startCapture(t, l.Site("berlin").Host, "wg-gw1"),
	}
	for _, tt := range []struct{ what, text string }{
		{"the same file", original},
		{"a comment", "# nothing to see here\n" + strings.Replace(original, "\n[[site]]", "\n# a site\n[[site]]", 1)},
		{"spaces and order", strings.Replace(original, "asn = 65010\n", "asn   =   65010   # ours\n", 1)},
	} {
		if err := os.WriteFile(g.Config, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 10*time.Second, func() error { return quietFor(t, l, g, time.Second) })
		monitor, err := startMonitor(g.Host)
		if err != nil {
			t.Fatal(err)
		}
		before, was := counters(t, l, g), ask[api.Status](t, l, g, "status")
		begun := time.Now()
		if err := g.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 5*time.Second, func() error {
			if s := ask[api.Status](t, l, g, "status"); !s.Config.Loaded.Time.After(was.Config.Loaded.Time) {
				return fmt.Errorf("%s: not loaded again: %+v", tt.what, s.Config)
			}
			return nil
		})
		stays(t, 2*time.Second, func() error { return nil }) // what a reload causes comes within moments
		count, now := counters(t, l, g), ask[api.Status](t, l, g, "status")
		if count.Writes != before.Writes {
			t.Errorf("%s: %d writes to the kernel, want none", tt.what, count.Writes-before.Writes)
		}
		if now.Sites != was.Sites || now.Sessions != was.Sessions || now.Prefixes != was.Prefixes {
			t.Errorf("%s: got %+v, was %+v, want nothing changed", tt.what, now, was)
		}
		for line := range strings.Lines(g.Process.Tail(20)) {
			if _, what, ok := strings.Cut(line, "msg="); ok && strings.HasPrefix(what, "up ") && after(line, begun) {
				t.Errorf("%s: the log tells news that are none: %s", tt.what, line)
			}
		}
		if text := monitor.stop(); text != "" {
			t.Errorf("%s: ip monitor saw %q, want nothing", tt.what, text)
		}
		n := 0
		for name, w := range wires {
			for _, m := range w.messages() {
				if m.at.Before(begun) {
					continue
				}
				n++
				if m.typ != bgpKeepalive {
					t.Errorf("%s: message of type %d on the wire to %s, want keepalives only", tt.what, m.typ, name)
				}
			}
		}
		t.Logf("figure: AC-35 %s: 0 writes, %d BGP messages, all keepalives", tt.what, n)
	}
}

// after says whether a line of a log was written after a moment.
func after(line string, at time.Time) bool {
	word, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
	when, err := time.Parse(time.RFC3339, word)
	return err == nil && when.After(at)
}

// quietFor wants that the daemon writes nothing by itself for a while.
func quietFor(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost, d time.Duration) error {
	t.Helper()
	before := counters(t, l, g)
	time.Sleep(d) // the time that is measured
	if after := counters(t, l, g); after.Writes != before.Writes {
		return fmt.Errorf("still writing: %d then %d", before.Writes, after.Writes)
	}
	return nil
}

// ipMonitor is `ip monitor` for links, addresses, routes, rules and next hops.
type ipMonitor struct{ p *netlab.Process }

func startMonitor(h *netlab.Host) (*ipMonitor, error) {
	p, err := h.Start("ip-monitor-"+fmt.Sprint(time.Now().UnixNano()), "ip", "monitor", "link", "address", "route", "rule", "nexthop")
	return &ipMonitor{p}, err
}

// stop returns what was seen.
func (m *ipMonitor) stop() string {
	_ = m.p.Kill()
	return m.p.Tail(20)
}

// invalidReload sends SIGHUP over a broken file and wants that everything goes
// on as before (AC-37).
func invalidReload(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost, original string) {
	text := strings.Replace(original, "listen-port = 51820", "listen-prot = 51820", 1)
	line := fmt.Sprintf("%s:%d", g.Config, 1+strings.Count(text[:strings.Index(text, "listen-prot")], "\n"))
	if err := os.WriteFile(g.Config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	before := counters(t, l, g)
	flow, err := gwlab.Stream(l.VPCWorkload(), l.Site("paris").Workload(), 200, 4)
	if err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 5*time.Second, func() error {
		if !flow.Flowing(time.Second) {
			return fmt.Errorf("no packets arrive")
		}
		return nil
	})
	if err := g.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 5*time.Second, func() error {
		c := ask[api.Status](t, l, g, "status").Config
		if !strings.Contains(c.Error, line) || !strings.Contains(c.Error, "listen-prot") {
			return fmt.Errorf("status: last reload error %q, want %s and the key", c.Error, line)
		}
		return nil
	})
	if log := g.Process.Tail(50); !strings.Contains(log, line) || !strings.Contains(log, "listen-prot") {
		t.Errorf("log: want %s and the key:\n%s", line, log)
	}
	out, stderr, code, err := l.CLI(g, "config", "reload")
	if err != nil || code != 6 || !strings.Contains(stderr, line) || !strings.Contains(stderr, "listen-port") {
		t.Errorf("config reload: exit %d, %v, want 6, %s and the cure:\n%s%s", code, err, line, out, stderr)
	}
	if out, _, code, err := l.CLI(g, "check"); err != nil || code != 5 || !strings.Contains(out, "reload-failed") {
		t.Errorf("check: exit %d, %v, want 5 and the reload:\n%s", code, err, out)
	}
	stays(t, time.Second, func() error { return nil }) // the traffic goes on
	r := flow.Stop(time.Second)
	if r.Sent == 0 || r.Lost > r.SinkDrops {
		t.Errorf("traffic over the failed reload: got %+v, want no loss", r)
	}
	t.Logf("figure: AC-37 %d packets sent over a failed reload, %d lost", r.Sent, r.Lost)
	if after := counters(t, l, g); after.Writes != before.Writes {
		t.Errorf("%d writes to the kernel, want none", after.Writes-before.Writes)
	}
	if err := kernelAsWanted(l, g); err != nil {
		t.Error(err)
	}
}
