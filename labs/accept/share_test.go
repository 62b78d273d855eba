package accept

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

const aggregates = `
[[aggregate]]
prefix = "10.96.0.0/11"
[[aggregate]]
prefix = "2001:db8:100::/40"
suppress = true
`

// One site with more prefixes than a Connect peer takes (s12), inside aggregates
// of the gateway (k08).
func TestSharedOutToTheTGW(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	l := start(t, gwlab.Spec{
		Gateways: []gwlab.Gateway{{Name: "gw1", NotStarted: true, TOML: "[metrics]\nlisten = \"127.0.0.1:9586\"\n"}},
		Sites: []gwlab.Site{{
			Name: "paris", BGP: gwlab.BGPRouter, Gateways: []string{"gw1"}, TOML: "max-prefixes = 2000\nhold-down = \"0s\"\n",
		}},
	})
	g := l.Gateway("gw1")
	rewrite(t, g, func(c string) string { return allowMore(c, "paris", "100.64.0.0/10 le 24") })
	if err := l.StartGateway(g); err != nil {
		t.Fatal(err)
	}
	reach(t, l, "paris")
	largestPacket(t, l, g)
	holes(t, l, g)
	overTheLimit(t, l, g)
}

// pingsAtInternet counts the pings that the internet received.
func pingsAtInternet(t *testing.T, l *gwlab.Lab) (n int) {
	t.Helper()
	out, err := l.Internet.Run("cat", "/proc/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || f[0] != "Icmp:":
		case names == nil:
			names = f
		default:
			if n, err = strconv.Atoi(f[slices.Index(names, "InEchos")]); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

// holes sends packets to parts of the aggregate that nobody has, with a default
// route of the gateway that leads to somebody who would answer.
func holes(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost) {
	s := l.Site("paris")
	hole := netip.MustParseAddr("10.99.1.1")
	agg4, agg6 := netip.MustParsePrefix("10.96.0.0/11"), netip.MustParsePrefix("2001:db8:100::/40")
	if err := l.Internet.RunAll("ip addr add "+hole.String()+"/32 dev lo", "ip route add 10.0.0.0/16 via "+g.Underlay().String()); err != nil {
		t.Fatal(err)
	}
	if err := g.Host.RunAll("ip route add default via 198.18.1.1"); err != nil {
		t.Fatal(err)
	}
	self := gwlab.Workload{Host: g.Host}
	if err := ping(self, hole); err != nil {
		t.Fatalf("without the aggregate the default route leads there: %v", err)
	}
	rewrite(t, g, func(c string) string { return c + aggregates })
	reload(t, l, g)
	atTGW(t, l, 5*time.Second, agg4, "gw1")
	atTGW(t, l, 5*time.Second, agg6, "gw1")
	atTGW(t, l, 5*time.Second, s.Net4, "gw1")
	atTGW(t, l, 5*time.Second, s.Net6) // suppressed
	for _, from := range []gwlab.Workload{l.VPCWorkload(), s.Workload()} {
		to := s.LAN6
		if from.Host == s.LAN {
			to = l.VPCWorkload().A6
		}
		if err := ping(from, to); err != nil {
			t.Errorf("by the IPv6 aggregate alone: %v", err)
		}
	}
	before := pingsAtInternet(t, l)
	for _, from := range []gwlab.Workload{self, l.VPCWorkload(), s.Workload()} {
		if ping(from, hole) == nil {
			t.Errorf("%s got an answer from a hole of the aggregate", from.Host.Name())
		}
	}
	if n := pingsAtInternet(t, l) - before; n != 0 {
		t.Errorf("%d packets for a hole followed the default route", n)
	}
	if out, err := g.Host.Run("ip", "-6", "route", "get", "2001:db8:1ff::1"); err == nil && !strings.Contains(out, "blackhole") {
		t.Errorf("a hole of the IPv6 aggregate: got route %q", out)
	}
	wantExplain := func(query string, code int, text string) {
		t.Helper()
		out, stderr, got, err := l.CLI(g, "explain", query)
		if err != nil || got != code || !strings.Contains(out, text) {
			t.Errorf("explain %s: got exit code %d, %v, want %d and %q\n%s%s", query, got, err, code, text, out, stderr)
		}
	}
	wantExplain(hole.String(), 5, "dropped by blackhole 10.96.0.0/11")
	wantExplain(agg4.String(), 0, "every link is in place")
	wantExplain(s.LAN6.String(), 0, "group tgw is told the aggregate: in 2001:db8:100::/40")

	if err := l.SetSiteNetworks(s, s.Net6); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	atTGW(t, l, 5*time.Second, agg4)
	t.Logf("figure: k08 the aggregate is gone %.0f ms after its only contributor", time.Since(begun).Seconds()*1e3)
	atTGW(t, l, time.Second, agg6, "gw1")
	if ping(self, hole) == nil || pingsAtInternet(t, l) != before {
		t.Error("an aggregate that is not announced must drop what is under way")
	}
	wantExplain(agg4.String(), 5, "aggregate-empty: 0 of 1 contributors")
}

// overTheLimit lets the site send more than 1,000 prefixes.
func overTheLimit(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost) {
	s := l.Site("paris")
	many := func(n int) []netip.Prefix {
		nets := []netip.Prefix{s.Net6}
		for i := range n {
			nets = append(nets, netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64 + byte(i>>8), byte(i), 0}), 24))
		}
		return nets
	}
	atTGWNow := func(want int) map[netip.Prefix][]string {
		t.Helper()
		var routes map[netip.Prefix][]string
		nstest.Eventually(t, 30*time.Second, func() (err error) {
			routes, err = l.TGWRoutes()
			maps.DeleteFunc(routes, func(_ netip.Prefix, via []string) bool { return !slices.Contains(via, "gw1") })
			if err == nil && len(routes) != want {
				err = fmt.Errorf("the TGW has %d prefixes of gw1, want %d", len(routes), want)
			}
			return err
		})
		return routes
	}
	since := func() string {
		t.Helper()
		n := ask[api.NeighborList](t, l, g, "neighbor", "tgw/1").Neighbors[0]
		return n.State + " since " + n.Since.Time.String()
	}
	was := since()
	if err := l.SetSiteNetworks(s, many(999)...); err != nil {
		t.Fatal(err)
	}
	full := atTGWNow(1000) // with the IPv6 aggregate, which stands for the site's own
	st := ask[api.Status](t, l, g, "status")
	if len(st.Quotas) != 1 || st.Quotas[0] != (api.Quota{Group: "tgw", Limit: 1000, Wanted: 1000, Announced: 1000}) {
		t.Errorf("quota: got %+v", st.Quotas)
	}
	if out, _, code, err := l.CLI(g, "check"); err != nil || code != 0 || !strings.Contains(out, "prefix-quota") {
		t.Errorf("at 100 %% check warns: got exit code %d, %v\n%s", code, err, out)
	}
	if err := l.SetSiteNetworks(s, many(1002)...); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 20*time.Second, func() error {
		st, err := tryAsk[api.Status](l, g, "status")
		if err == nil && (len(st.Alarms) != 1 || st.Alarms[0].Name != "prefix-quota" || st.Quotas[0].Wanted != 1003) {
			err = fmt.Errorf("alarms %+v, quotas %+v, want prefix-quota with 1003", st.Alarms, st.Quotas)
		}
		return err
	})
	if got := atTGWNow(1000); !maps.EqualFunc(got, full, slices.Equal[[]string]) {
		t.Error("prefixes beyond the limit moved others")
	}
	if out, _, code, err := l.CLI(g, "check"); err != nil || code != 5 || !strings.Contains(out, "1000 of 1000 prefixes are announced, 3 are held back") {
		t.Errorf("check: got exit code %d, %v\n%s", code, err, out)
	}
	if text := metricsOf(t, g); !strings.Contains(text, "\nwgbgp_quota_held_prefixes{group=\"tgw\"} 3\n") {
		t.Errorf("metrics: want 3 prefixes held back\n%s", text)
	}
	held := many(1002)[1002]
	if out, _, code, err := l.CLI(g, "explain", held.String()); err != nil || code != 5 || !strings.Contains(out, "not told to group tgw: quota") {
		t.Errorf("explain %s: got exit code %d, %v\n%s", held, code, err, out)
	}
	// One goes, one comes, nothing else moves.
	less := many(1002)
	gone := less[500]
	if err := l.SetSiteNetworks(s, slices.Delete(less, 500, 501)...); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 20*time.Second, func() error {
		routes, err := l.TGWRoutes()
		if err == nil && len(routes[gone]) > 0 {
			err = fmt.Errorf("the TGW still has %s", gone)
		}
		return err
	})
	moved := 0
	for p := range atTGWNow(1000) {
		if len(full[p]) == 0 {
			moved++
		}
	}
	if moved != 1 {
		t.Errorf("one place was free and %d prefixes came", moved)
	}
	rewrite(t, g, func(c string) string {
		return strings.Replace(c, "[[tgw-connect]]\n", "[[tgw-connect]]\nannounce-limit = 998\n", 1)
	})
	reload(t, l, g)
	atTGWNow(998) // a limit above 1,000 would help nobody: more is ignored there
	if err := l.SetSiteNetworks(s, many(990)...); err != nil {
		t.Fatal(err)
	}
	atTGWNow(991)
	if now := since(); now != was || !strings.HasPrefix(now, "Established") {
		t.Errorf("the session: got %s, was %s", now, was)
	}
	for _, reason := range []string{"quota", "quota-kept"} {
		if !strings.Contains(g.Process.Tail(4000), "msg=alarm reason="+reason+" ") {
			t.Errorf("log: want the alarm with reason %s", reason)
		}
	}
	t.Logf("figure: s12 1003 wanted, 1000 at the TGW, session %s", was)
}

// metricsOf reads a gateway's metrics as Prometheus does, from inside its network.
func metricsOf(t *testing.T, g *gwlab.GatewayHost) string {
	t.Helper()
	out, err := g.Host.Run("bash", "-c", `exec 3<>/dev/tcp/127.0.0.1/9586; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; cat <&3`)
	if err != nil {
		t.Error(err)
	}
	return out
}

// largestPacket compares what mtu says with what packets that must not be
// fragmented meet (AC-29).
func largestPacket(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost) {
	s := l.Site("paris")
	chains := ask[api.MTUList](t, l, g, "mtu", "paris").Chains
	if len(chains) != 1 {
		t.Fatalf("mtu paris: got %+v", chains)
	}
	c := chains[0]
	text := ""
	for _, x := range c.Links {
		text += fmt.Sprintf("%s %d-%d=%d %s; ", x.Name, x.MTU, x.Overhead, x.Packet, x.Source)
	}
	const want = "tgw 8500-24=8476 aws; path to 10.254.1.1 9001-24=8977 route; gre-tgw 8476-0=8476 derived; " +
		"wg0 1440-0=1440 derived; path to 198.19.1.2 1500-60=1440 route; "
	if text != want || c.MTU != 1440 || c.Limit != "wg0" || c.MSS4 != 1400 || c.MSS6 != 1380 || len(c.Notes) > 0 {
		t.Errorf("mtu paris: got %s%+v, want %s", text, c, want)
	}
	for _, to := range []struct {
		addr    netip.Addr
		headers int // IP and ICMP
	}{{s.LAN4, 28}, {s.LAN6, 48}} {
		whole := func(size int) (string, error) {
			out, _, code, err := l.VPCWorkload().Host.Output("ping", "-c1", "-W1", "-M", "do", "-s", strconv.Itoa(size-to.headers), to.addr.String())
			if err == nil && code != 0 {
				err = fmt.Errorf("ping: exit code %d", code)
			}
			return out, err
		}
		nstest.Eventually(t, 10*time.Second, func() error { // IPv6 may be later than reach
			if out, err := whole(c.MTU); err != nil {
				return fmt.Errorf("%s, %d bytes: %w\n%s", to.addr, c.MTU, err, out)
			}
			return nil
		})
		if out, err := whole(c.MTU + 1); err == nil || !strings.Contains(out, strconv.Itoa(c.MTU)) {
			t.Errorf("%s, %d bytes: got %v, want the gateway to say that %d fit\n%s", to.addr, c.MTU+1, err, c.MTU, out)
		}
	}
}
