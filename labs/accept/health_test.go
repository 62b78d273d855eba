package accept

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/router"
)

// icmp is a probe of the site's own inner address, once a second.
const icmp = "[[site.probe]]\nname = \"icmp\"\n"

// sites that fail on gw1, each in its own way, and sites on gw2 that stay well.
func failingSites() []gwlab.Site {
	gw1, gw2 := []string{"gw1"}, []string{"gw2"}
	idle := func(policy string) string { return "heartbeat = false\nidle-policy = \"" + policy + "\"\n" }
	return []gwlab.Site{
		{Name: "icmp", Gateways: gw1, Tables: icmp},
		{Name: "icmp6", Gateways: gw1, Tables: "[[site.probe]]\nname = \"icmp\"\ntarget = \"fd20:1::12\"\n"},
		{Name: "counters", Gateways: gw1},
		{Name: "stalled", Gateways: gw1, Tables: icmp},
		{Name: "stalled-hb", Gateways: gw1},
		{Name: "inner", Gateways: gw1, Tables: icmp},
		{Name: "idle-announced", Gateways: gw1, TOML: idle("announce")},
		{Name: "idle-withheld", Gateways: gw1, TOML: idle("withhold")},
		{Name: "lan", Gateways: gw1, Tables: `
[[site.probe]]
name = "lan4"
target = "10.109.0.10"
prefixes = ["10.109.0.0/16"]
[[site.probe]]
name = "lan6"
target = "2001:db8:109::10"
prefixes = ["2001:db8:109::/48"]
`},
		{Name: "device", Gateways: gw1, Open: true, Tables: "[[site.probe]]\nname = \"lan\"\ntarget = \"10.110.0.10\"\n"},
		{Name: "steady", Gateways: gw2, Tables: icmp},
		{Name: "steady-bgp", Gateways: gw2, BGP: gwlab.BGPRouter, Tables: icmp},
	}
}

// Every site of gw1 fails at the same moment, each in its own way; what became of
// it and when is read from the events of the TGW's end and of `wgbgp monitor`.
// The sites of gw2 stay well meanwhile. These are the scenarios h01 to h05.
func TestAC09_AC10_AC11_AC12_AC13_AC18_SitesFailSideBySide(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "nft", "tcpdump", "wg")
	l := start(t, gwlab.Spec{
		Gateways: []gwlab.Gateway{{Name: "gw1", TOML: "[log]\nformat = \"json\"\n", NotStarted: true}, {Name: "gw2"}},
		Sites:    failingSites(),
	})
	r := &sideBySide{t: t, l: l, gw: l.Gateway("gw1")}
	// Nothing is known of an idle site: not even its router solicitations arrive.
	err := errors.Join(l.Cut(r.gw, l.Site("idle-announced")), l.Cut(r.gw, l.Site("idle-withheld")), l.StartGateway(r.gw))
	if err != nil {
		t.Fatal(err)
	}
	if r.monitor, err = r.gw.Host.Start("monitor", cli, "-j", "monitor"); err != nil {
		t.Fatal(err)
	}
	for _, s := range l.Sites {
		via := []string{"gw1"}
		switch {
		case s.Name == "idle-withheld":
			continue
		case strings.HasPrefix(s.Name, "steady"):
			via = []string{"gw2"}
		}
		atTGW(t, l, 30*time.Second, s.Net4, via...)
		atTGW(t, l, 30*time.Second, s.Net6, via...)
	}
	reach(t, l, "icmp")
	// Both sessions of gw2 have said all that they have to say: what the second one
	// tells when it comes up is no news of steady sites.
	nstest.Eventually(t, 20*time.Second, func() error {
		for _, n := range ask[api.NeighborList](t, l, l.Gateway("gw2"), "neighbor").Neighbors {
			if n.Kind == "tgw" && (n.State != "Established" || n.Announced == 0) {
				return fmt.Errorf("neighbor %s: %s, %d announced", n.Name, n.State, n.Announced)
			}
		}
		return nil
	})
	stays(t, time.Second, func() error { return nil })
	wire := startCapture(t, l.TGW, "gre-gw2")
	quiet := time.Now()
	r.breakAll()

	t.Run("AC09_SilentDropSeenByICMP", r.icmp)
	t.Run("AC10_FreshHandshakeNoData", r.stalled)
	t.Run("AC10_InnerTrafficDropped", r.inner)
	t.Run("AC12_HostBehindThePeerIsDead", r.lan)
	t.Run("AC13_ProbeDoesNotLeak", r.device)
	t.Run("AC11_IdlePeers", r.idle)
	t.Run("RecoveredSiteReturnsAfterHoldDown", r.returns)
	t.Run("AC09_SilentDropSeenByCounters", r.counters)
	t.Run("AC10_FreshHandshakeNoDataByCounters", r.stalledCounters)
	t.Run("AC18_SteadyHealthSendsNoUpdate", func(t *testing.T) {
		left := time.Until(quiet.Add(time.Minute))
		time.Sleep(left) // the minute that nothing happens in
		n := map[byte]int{}
		for _, m := range wire.stop() {
			// The TGW tells gw2 what becomes of gw1; gw2 has no reason to speak.
			if m.src == netip.MustParseAddr("169.254.7.1") {
				n[m.typ]++
			}
		}
		t.Logf("figure: AC-18 UPDATEs on the wire in %.0f s of steady health %d (limit 0), keepalives %d",
			time.Since(quiet).Seconds(), n[bgpUpdate], n[bgpKeepalive])
		if n[bgpUpdate] != 0 || n[bgpKeepalive] == 0 {
			t.Errorf("BGP messages on the wire by type: got %v, want no UPDATE (2) and some KEEPALIVE (4)", n)
		}
	})
	t.Run("EveryWithdrawHasAReason", r.reasons)
}

type sideBySide struct {
	t       *testing.T
	l       *gwlab.Lab
	gw      *gwlab.GatewayHost
	monitor *netlab.Process
	broken  time.Time
}

// breakAll makes every site of gw1 fail.
func (r *sideBySide) breakAll() {
	t, l := r.t, r.l
	t.Helper()
	data := "table inet fault { " + // WireGuard's type 4 is transport data (5.4.6 of the paper)
		"chain received { type filter hook input priority 0; meta l4proto udp @th,64,8 4 drop; }; " +
		"chain sent { type filter hook output priority 0; meta l4proto udp @th,64,8 4 drop; }; }"
	inner := "table inet fault { " +
		"chain received { type filter hook input priority 0; iifname \"wg-gw1\" drop; }; " +
		"chain forwarded { type filter hook forward priority 0; iifname \"wg-gw1\" drop; }; }"
	lan := "table ip fault { chain received { type filter hook input priority 0; drop; }; }"
	// Another way to the probe's target, which answers: the trap of AC-13.
	target := l.Site("device").LAN4.String()
	if err := errors.Join(
		l.Internet.RunAll("ip addr add "+target+"/32 dev lo"),
		r.gw.Host.Route(target+"/32", "198.18.1.1"),
	); err != nil {
		t.Fatal(err)
	}
	r.broken = time.Now()
	err := errors.Join(l.Cut(r.gw, l.Site("icmp")), l.Cut(r.gw, l.Site("icmp6")), l.Cut(r.gw, l.Site("counters")))
	for _, f := range []struct {
		host *netlab.Host
		args []string
	}{
		{l.Site("stalled").Host, []string{"nft", data}},
		{l.Site("stalled-hb").Host, []string{"nft", data}},
		{l.Site("inner").Host, []string{"nft", inner}},
		{l.Site("lan").LAN, []string{"nft", lan}},
		// Nothing can make the interface again.
		{r.gw.Host, []string{"mount", "--bind", "/dev/null", "/dev/net/tun"}},
		{r.gw.Host, []string{"ip", "link", "del", "wg-device"}},
	} {
		_, e := f.host.Run(f.args...)
		err = errors.Join(err, e)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// gone waits until the TGW has no way to the prefixes any more and returns how
// long after the faults that was.
func (r *sideBySide) gone(t *testing.T, within time.Duration, prefixes ...netip.Prefix) time.Duration {
	t.Helper()
	var last time.Time
	nstest.Eventually(t, max(time.Until(r.broken.Add(within))+2*time.Second, time.Second), func() error {
		events, err := r.l.TGWEvents()
		if err != nil {
			return err
		}
		for _, p := range prefixes {
			e, ok := router.RouteChanged(events, r.broken, p)
			if !ok {
				return fmt.Errorf("the TGW still has a path to %s", p)
			}
			if e.At.After(last) {
				last = e.At
			}
		}
		return nil
	})
	return last.Sub(r.broken)
}

// limit logs a figure and fails if it is above the limit of the catalogue.
func limit(t *testing.T, what string, got, limit time.Duration) {
	t.Helper()
	t.Logf("figure: %s %.2f s (limit %v)", what, got.Seconds(), limit.Seconds())
	if got > limit {
		t.Errorf("%s: got %v, want at most %v", what, got, limit)
	}
}

// state asks for the words an operator sees.
func (r *sideBySide) state(site string) (api.Peer, error) {
	ps, err := tryAsk[api.PeerList](r.l, r.gw, "peer", site)
	if err == nil && len(ps.Peers) != 1 {
		err = fmt.Errorf("peer %s: got %d answers", site, len(ps.Peers))
	}
	if err != nil {
		return api.Peer{}, err
	}
	return ps.Peers[0], nil
}

// wantState waits for a site's state and reason.
func (r *sideBySide) wantState(t *testing.T, site, state, reason string) api.Peer {
	t.Helper()
	var p api.Peer
	nstest.Eventually(t, 5*time.Second, func() error {
		var err error
		if p, err = r.state(site); err == nil && (p.State != state || p.Reason != reason) {
			err = fmt.Errorf("peer %s: got state %q, reason %q (%s), want %q, %q", site, p.State, p.Reason, p.Detail, state, reason)
		}
		return err
	})
	return p
}

// withdrawn finds the event of a withdrawal since the faults.
func (r *sideBySide) withdrawn(t *testing.T, p netip.Prefix, reason string) {
	t.Helper()
	nstest.Eventually(t, 5*time.Second, func() error {
		events, err := readEvents(r.monitor.Log)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Kind != api.EventWithdraw || e.Prefix != p {
				continue
			}
			if e.Reason != reason {
				return fmt.Errorf("withdrawal of %s: got reason %q (%s), want %q", p, e.Reason, e.Detail, reason)
			}
			return nil
		}
		return fmt.Errorf("no withdrawal of %s among %d events", p, len(events))
	})
}

func (r *sideBySide) icmp(t *testing.T) {
	four, six := r.l.Site("icmp"), r.l.Site("icmp6")
	defer func() {
		if err := errors.Join(r.l.Heal(r.gw, four), r.l.Heal(r.gw, six)); err != nil {
			t.Error(err)
		}
	}()
	limit(t, "AC-9 silent drop, ICMP 1 s x 3", r.gone(t, 4500*time.Millisecond, four.Net4, four.Net6), 4500*time.Millisecond)
	limit(t, "AC-9 silent drop, ICMPv6 1 s x 3", r.gone(t, 4500*time.Millisecond, six.Net4, six.Net6), 4500*time.Millisecond)
	// The session is fresh and nothing comes back: that is all that is known.
	r.withdrawn(t, four.Net4, "rx-stall")
}

func (r *sideBySide) stalled(t *testing.T) {
	s := r.l.Site("stalled")
	limit(t, "AC-10 fresh handshake without data, ICMP 1 s x 3", r.gone(t, 4500*time.Millisecond, s.Net4, s.Net6), 4500*time.Millisecond)
	r.wantStalled(t, s)
}

// wantStalled: the handshake is green, and that misleads nobody.
func (r *sideBySide) wantStalled(t *testing.T, s *gwlab.SiteHost) {
	t.Helper()
	p := r.wantState(t, s.Name, api.PeerStalled, "rx-stall")
	out, err := r.gw.Host.Run("wg", "show", "wg0", "latest-handshakes")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == p.PublicKey {
			at, err := strconv.ParseInt(f[1], 10, 64)
			if age := time.Since(time.Unix(at, 0)); err != nil || age > 2*time.Minute {
				t.Errorf("age of the handshake: got %v, %v, want less than two minutes", age, err)
			}
			r.withdrawn(t, s.Net4, "rx-stall")
			r.withdrawn(t, s.Net6, "rx-stall")
			return
		}
	}
	t.Errorf("wg show has no peer %s:\n%s", p.PublicKey, out)
}

func (r *sideBySide) inner(t *testing.T) {
	s := r.l.Site("inner")
	limit(t, "AC-10 inner traffic dropped at the far side, ICMP 1 s x 3", r.gone(t, 4500*time.Millisecond, s.Net4, s.Net6), 4500*time.Millisecond)
	r.wantStalled(t, s)
}

func (r *sideBySide) counters(t *testing.T) {
	s := r.l.Site("counters")
	limit(t, "AC-9 silent drop, counters only", r.gone(t, 30*time.Second, s.Net4, s.Net6), 30*time.Second)
	r.withdrawn(t, s.Net4, "rx-stall")
}

// Each handshake that completes is heard, and after it the far end may take a
// heartbeat's 5 s and WireGuard's 10 s to say anything else. A peer that only
// restarted is back by then, so that three rounds of 15 s are waited for.
func (r *sideBySide) stalledCounters(t *testing.T) {
	s := r.l.Site("stalled-hb")
	limit(t, "AC-10 fresh handshake without data, counters only", r.gone(t, 50*time.Second, s.Net4, s.Net6), 50*time.Second)
	r.wantStalled(t, s)
}

func (r *sideBySide) lan(t *testing.T) {
	s := r.l.Site("lan")
	limit(t, "AC-12 host behind the peer dead, ICMP 1 s x 3", r.gone(t, 4500*time.Millisecond, s.Net4), 4500*time.Millisecond)
	r.withdrawn(t, s.Net4, "probe-failed")
	r.wantState(t, "lan", api.PeerUp, "")
	atTGW(t, r.l, time.Second, s.Net6, "gw1") // named by the other probe
}

func (r *sideBySide) device(t *testing.T) {
	s := r.l.Site("device")
	defer func() {
		if _, err := r.gw.Host.Run("umount", "/dev/net/tun"); err != nil {
			t.Error(err)
		}
	}()
	limit(t, "AC-13 interface removed", r.gone(t, 4500*time.Millisecond, s.Net4, s.Net6), 4500*time.Millisecond)
	if err := ping(gwlab.Workload{Host: r.gw.Host}, s.LAN4); err != nil {
		t.Fatalf("the way around the tunnel does not answer, so the test proves nothing: %v", err)
	}
	r.withdrawn(t, s.Net4, "no-device")
	r.wantState(t, "device", api.PeerDown, "no-device")
	nstest.Eventually(t, 5*time.Second, func() error {
		h, err := tryAsk[api.HealthList](r.l, r.gw, "health", "device")
		if err != nil {
			return err
		}
		for _, c := range h.Health[0].Checks {
			if c.Name == "lan" && (c.Up || c.OK || !strings.Contains(c.Reason, "no-device")) {
				return fmt.Errorf("probe: got %+v, want no-device", c)
			}
		}
		return nil
	})
}

func (r *sideBySide) idle(t *testing.T) {
	yes, no := r.l.Site("idle-announced"), r.l.Site("idle-withheld")
	r.wantState(t, yes.Name, api.PeerIdle, "idle")
	r.wantState(t, no.Name, api.PeerIdle, "idle")
	atTGW(t, r.l, time.Second, yes.Net4, "gw1")
	atTGW(t, r.l, time.Second, yes.Net6, "gw1")
	events, err := r.l.TGWEvents()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if (e.Prefix == no.Net4 || e.Prefix == no.Net6) && len(e.Via) > 0 {
			t.Errorf("an idle site of policy withhold was announced: %+v", e)
		}
	}
	out, stderr, code, err := r.l.CLI(r.gw, "config", "check", r.gw.Config)
	if err != nil || code != 0 || strings.Count(out+stderr, "W-IDLE") != 2 {
		t.Errorf("config check: got exit code %d, %v, want W-IDLE for two sites\n%s%s", code, err, out, stderr)
	}
}

// returns: what was repaired is announced again, but not before the hold-down
// (5 s) is over.
func (r *sideBySide) returns(t *testing.T) {
	for _, name := range []string{"icmp", "icmp6", "device"} {
		s := r.l.Site(name)
		atTGW(t, r.l, 30*time.Second, s.Net4, "gw1")
		atTGW(t, r.l, 5*time.Second, s.Net6, "gw1")
		events, err := r.l.TGWEvents()
		if err != nil {
			t.Fatal(err)
		}
		left, _ := router.RouteChanged(events, r.broken, s.Net4)
		back, _ := router.RouteChanged(events, r.broken, s.Net4, "gw1")
		t.Logf("figure: site %s returned %.2f s after it left", name, back.At.Sub(left.At).Seconds())
		if away := back.At.Sub(left.At); away < 5*time.Second {
			t.Errorf("site %s was away for %v, want at least the hold-down of 5 s", name, away)
		}
	}
	reach(t, r.l, "icmp")
}

// reasons: no withdrawal without a word from the closed set, neither in the
// event stream nor in the log.
func (r *sideBySide) reasons(t *testing.T) {
	known := []string{"rx-stall", "probe-failed", "no-device"}
	events, err := readEvents(r.monitor.Log)
	if err != nil {
		t.Fatal(err)
	}
	streamed, logged := 0, 0
	for _, e := range events {
		if e.Kind != api.EventWithdraw {
			continue
		}
		if streamed++; !slices.Contains(known, e.Reason) || e.Site == "" {
			t.Errorf("withdrawal in the event stream: got reason %q, site %q: %+v", e.Reason, e.Site, e)
		}
	}
	b, err := os.ReadFile(r.gw.Process.Log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var e struct{ Msg, Reason, Prefix, Site string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Errorf("log line is no JSON: %v in %s", err, line)
		}
		if e.Msg != api.EventWithdraw {
			continue
		}
		if logged++; !slices.Contains(known, e.Reason) || e.Prefix == "" || e.Site == "" {
			t.Errorf("withdrawal in the log: got %+v", e)
		}
	}
	t.Logf("figure: AC-40 withdrawals with a reason: %d in the event stream, %d in the log", streamed, logged)
	if streamed < 15 || logged != streamed {
		t.Errorf("withdrawals: got %d in the event stream and %d in the log, want the same and at least 15", streamed, logged)
	}
}

// readEvents reads what `wgbgp -j monitor` has printed so far.
func readEvents(file string) ([]api.Event, error) {
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var events []api.Event
	for line := range strings.Lines(string(b)) {
		if !strings.HasSuffix(line, "\n") {
			break // in the writing
		}
		var e api.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, fmt.Errorf("monitor: %w in %s", err, line)
		}
		events = append(events, e)
	}
	return events, nil
}
