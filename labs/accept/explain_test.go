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
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// explains asks about an address and wants the first broken link (or one of
// several, between bars) with a reason; an empty link wants every link in place. It returns the answer.
func explains(l *gwlab.Lab, g *gwlab.GatewayHost, address, link, reason string) (api.Explain, error) {
	out, stderr, code, err := l.CLI(g, "-j", "explain", address)
	if err != nil {
		return api.Explain{}, err
	}
	var e api.Explain
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		return e, fmt.Errorf("explain %s: exit %d: %w in %s%s", address, code, err, out, stderr)
	}
	want := 5
	if link == "" {
		want = 0
	}
	got := ""
	for _, s := range e.Steps {
		if s.Name == e.Broken {
			got = s.Reason
		}
	}
	if !slices.Contains(strings.Split(link, "|"), e.Broken) || code != want || reason != "" && got != reason {
		return e, fmt.Errorf("explain %s: got exit %d, broken %q because of %q (%s), want exit %d, %q, %q",
			address, code, e.Broken, got, e.Verdict, want, link, reason)
	}
	return e, nil
}

func TestAC40_ExplainNamesTheFirstBrokenLink(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	needDaemons(t)
	l := start(t, gwlab.Spec{
		TGWHold:  9,
		Gateways: []gwlab.Gateway{{Name: "gw1"}},
		Sites: []gwlab.Site{
			{
				Name: "paris", Keepalive: 5, TOML: "hold-down = \"3s\"\n",
				Tables: "[[site.probe]]\nname = \"router\"\ninterval = \"300ms\"\ntimeout = \"300ms\"\n" +
					"[[site.probe]]\nname = \"lan\"\ntarget = \"10.101.0.10\"\ninterval = \"300ms\"\ntimeout = \"300ms\"\nprefixes = [\"10.101.0.0/16\"]\n",
			},
			{Name: "berlin", BGP: gwlab.BGPBIRD},
		},
	})
	g, paris, berlin := l.Gateways[0], l.Site("paris"), l.Site("berlin")
	for _, s := range l.Sites {
		reach(t, l, s.Name)
	}
	const inParis, inBerlin = "10.101.2.3", "10.102.2.3"
	whole := func() {
		t.Helper()
		for _, a := range []string{inParis, "2001:db8:101::7", inBerlin, "10.0.0.10"} {
			nstest.Eventually(t, 30*time.Second, func() error { _, err := explains(l, g, a, "", ""); return err })
		}
	}
	whole()
	e := ask[api.Explain](t, l, g, "explain", inParis)
	var names []string
	for _, s := range e.Steps {
		names = append(names, s.Name)
	}
	if got, want := strings.Join(names, " "), "rib route tunnel allowed-ip peer neighbor probe announced"; got != want || e.Site != "paris" || e.Prefix != paris.Net4 {
		t.Errorf("the whole chain: got %q of %s and %s, want %q of paris and %s", got, e.Site, e.Prefix, want, paris.Net4)
	}

	cli := func(args ...string) {
		t.Helper()
		if _, stderr, code, err := l.CLI(g, args...); err != nil || code != 0 {
			t.Fatalf("%v: exit %d, %v: %s", args, code, err, stderr)
		}
	}
	run := func(lines ...string) {
		t.Helper()
		if err := g.Host.RunAll(lines...); err != nil {
			t.Fatal(err)
		}
	}
	stranger := "c3RyYW5nZXIgc3RyYW5nZXIgc3RyYW5nZXIgc3RyYWE="
	other := netip.MustParsePrefix("10.150.0.0/16")
	for _, tt := range []struct {
		what         string
		plant, mend  func()
		address      string
		link, reason string
		words        string // in the verdict or the evidence of the link
	}{
		{
			"site disabled", func() { cli("site", "paris", "disable") }, func() { cli("site", "paris", "enable") },
			inParis, "peer", "disabled", "operator",
		},
		{
			"host behind the site dead",
			func() { mustRun(t, paris, "ip link set eth0 down") },
			func() { mustRun(t, paris, "ip link set eth0 up", "ip route replace default via 10.101.0.1") },
			inParis, "probe", "probe-failed", "lan",
		},
		{
			"tunnel cut", func() { noError(t, l.Cut(g, paris)) }, func() { noError(t, l.Heal(g, paris)) },
			inParis, "probe|peer", "", "", // first no answer, then, once it is certain, nothing received at all
		},
		{
			"foreign route in main", func() { run("ip route add 10.101.0.0/16 via 198.18.1.1") }, func() { run("ip route del 10.101.0.0/16") },
			inParis, "route", "shadowed", "via 198.18.1.1",
		},
		{
			"allowed IP taken by a stranger",
			func() {
				run("wg set wg0 peer "+stranger+" allowed-ips 10.101.0.0/16", "ip link set wg0 down", "ip link set wg0 up")
			},
			func() { run("wg set wg0 peer " + stranger + " remove") },
			inParis, "allowed-ip", "", "10.101.0.0/16",
		},
		{
			"session of a site down", func() { bird(t, berlin, "disable", "gw1") }, func() { bird(t, berlin, "enable", "gw1") },
			inBerlin, "rib", "not-known", "berlin",
		},
		{
			"prefix that policy refuses",
			func() { noError(t, berlin.BIRD.Configure(l.BIRDText(berlin, other))) },
			func() { noError(t, berlin.BIRD.Configure(l.BIRDText(berlin))) },
			"10.150.2.3", "rib", "not-allowed", "berlin",
		},
		{"nobody has it", func() {}, func() {}, "192.0.2.1", "rib", "not-known", ""},
		{
			"TGW gone", func() { noError(t, l.TGWProcess.Kill()) }, nil,
			inParis, "announced", "no-audience", "tgw",
		},
	} {
		t.Run(strings.ReplaceAll(tt.what, " ", "_"), func(t *testing.T) {
			begun := time.Now()
			tt.plant()
			var e api.Explain
			nstest.Eventually(t, 40*time.Second, func() (err error) {
				e, err = explains(l, g, tt.address, tt.link, tt.reason)
				return err
			})
			text := e.Verdict
			for _, s := range e.Steps {
				if s.Name == e.Broken {
					text += "; " + strings.Join(s.Evidence, "; ")
				}
			}
			if !strings.Contains(text, tt.words) {
				t.Errorf("got %q, want %q in it", text, tt.words)
			}
			t.Logf("figure: AC-40 %s: broken at %s after %.1f s: %s", tt.what, e.Broken, time.Since(begun).Seconds(), e.Verdict)
			if tt.link == "probe" && tt.words == "lan" { // only the prefixes that the probe names
				if _, err := explains(l, g, "2001:db8:101::7", "", ""); err != nil {
					t.Error(err)
				}
			}
			if tt.mend != nil {
				tt.mend()
				whole()
			}
		})
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustRun(t *testing.T, s *gwlab.SiteHost, lines ...string) {
	t.Helper()
	noError(t, s.LAN.RunAll(lines...))
}

func bird(t *testing.T, s *gwlab.SiteHost, command ...string) {
	t.Helper()
	if _, err := s.BIRD.Birdc(command...); err != nil {
		t.Fatal(err)
	}
}
