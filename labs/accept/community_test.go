package accept

import (
	"encoding/json"
	"errors"
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

const actions = `
[[community-action]]
community = "65010:3"
prepend = 3
[[community-action]]
community = "65010:50"
local-pref = 50
[[community-action]]
community = "65010:80"
no-announce = ["tgw"]
`

// A site with BIRD asks by community and FRR plays the TGW (s10). Nothing is heeded
// before the site may ask, except what costs only the site itself.
func TestS10_CommunitiesAskForActions(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	needDaemons(t)
	l := start(t, gwlab.Spec{
		TGW: gwlab.TGWFRR, TGWHold: 9,
		Gateways: []gwlab.Gateway{{Name: "gw1", NotStarted: true, TOML: actions}},
		Sites:    []gwlab.Site{{Name: "paris", BGP: gwlab.BGPBIRD, TOML: "hold-down = \"0s\"\n"}},
	})
	g, s := l.Gateway("gw1"), l.Site("paris")
	rewrite(t, g, func(c string) string { return allowMore(c, "paris", "10.101.0.0/24 ge 32 le 32") })
	if err := l.StartGateway(g); err != nil {
		t.Fatal(err)
	}
	reach(t, l, "paris")
	far, low, hidden, silent := netip.MustParsePrefix("10.101.3.0/24"), netip.MustParsePrefix("10.101.50.0/24"),
		netip.MustParsePrefix("10.101.80.0/24"), netip.MustParsePrefix("10.101.60.0/24")
	victim := netip.PrefixFrom(s.LAN4, 32)
	tags := map[netip.Prefix]string{far: "65010,3", low: "65010,50", hidden: "65010,80", silent: "65535,65281", victim: "65535,666"}
	var nets []netip.Prefix
	filter := ""
	for p, tag := range tags {
		nets = append(nets, p)
		filter += fmt.Sprintf("if net = %s then bgp_community.add((%s)); ", p, tag)
	}
	slices.SortFunc(nets, netip.Prefix.Compare)
	bird := strings.ReplaceAll(l.BIRDText(s, nets...), "export filter { if source = RTS_STATIC then accept;", "export filter { "+
		// Only the IPv4 channel knows these prefixes.
		"if net.type = NET_IP4 then { "+filter+"} if source = RTS_STATIC then accept;")
	if err := s.BIRD.Configure(bird); err != nil {
		t.Fatal(err)
	}
	pathAtTGW := func(p netip.Prefix, want string) {
		t.Helper()
		nstest.Eventually(t, 10*time.Second, func() error {
			got, err := frrPath(l, p)
			if err == nil && got != want {
				err = fmt.Errorf("AS_PATH of %s at the TGW: got %q, want %q", p, got, want)
			}
			return err
		})
	}
	const plain = "65010 65101"
	pathAtTGW(far, plain)
	pathAtTGW(low, plain)
	pathAtTGW(hidden, plain)
	pathAtTGW(silent, "")
	pathAtTGW(victim, "")
	if err := ping(l.VPCWorkload(), s.LAN4); err != nil {
		t.Errorf("the site may not ask for a blackhole and its address does not answer: %v", err)
	}

	rewrite(t, g, func(c string) string {
		return strings.Replace(c, "[site.neighbor]\n", "[site.neighbor]\nactions = true\naccept-blackhole = true\n", 1)
	})
	was := ask[api.NeighborList](t, l, g, "neighbor", "paris").Neighbors[0].Since
	reload(t, l, g)
	pathAtTGW(far, "65010 65010 65010 65010 65101")
	pathAtTGW(low, plain)
	pathAtTGW(hidden, "")
	pathAtTGW(silent, "")
	nstest.Eventually(t, 5*time.Second, func() error {
		out, err := g.Host.Run("ip", "route", "show", "table", "1186", victim.Addr().String())
		if err == nil && strings.TrimSpace(out) != "blackhole "+victim.Addr().String()+" proto bgp metric 65535" {
			err = fmt.Errorf("route of %s: %q, want a blackhole", victim, out)
		}
		return err
	})
	if ping(l.VPCWorkload(), s.LAN4) == nil {
		t.Error("an address that the site wants dropped answers")
	}
	e := ask[api.RIB](t, l, g, "rib", low.String()).Prefixes[0]
	if p := e.Paths[0]; p.Attrs.LocalPref != 50 || p.Asked != "65010:50: local preference 50" {
		t.Errorf("rib %s: got %+v", low, p)
	}
	e = ask[api.RIB](t, l, g, "rib", hidden.String()).Prefixes[0]
	if len(e.HeldBack) != 1 || e.HeldBack[0] != (api.HeldBack{Group: "tgw", Reason: "community", Detail: "65010:80: not to tgw"}) {
		t.Errorf("rib %s: got %+v", hidden, e)
	}
	if out, _, code, err := l.CLI(g, "explain", s.LAN4.String()); err != nil || code != 5 || !strings.Contains(out, "dropped here, as neighbor paris asks (RFC 7999)") {
		t.Errorf("explain: got exit code %d, %v\n%s", code, err, out)
	}
	if now := ask[api.NeighborList](t, l, g, "neighbor", "paris").Neighbors[0].Since; !now.Time.Equal(was.Time) {
		t.Errorf("a soft reset keeps the session: since %v, was %v", now, was)
	}
	if err := s.BIRD.Configure(l.BIRDText(s)); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 10*time.Second, func() error { return ping(l.VPCWorkload(), s.LAN4) })
}

// frrPath is the AS_PATH of a prefix at FRR as the TGW; empty: it has none.
func frrPath(l *gwlab.Lab, p netip.Prefix) (string, error) {
	out, err := l.TGWFRR.Vtysh("show bgp ipv4 unicast " + p.String() + " json")
	if err != nil {
		return "", err
	}
	var v struct {
		Paths []struct{ ASPath struct{ String string } }
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		return "", fmt.Errorf("FRR's answer about %s: %w in %s", p, err, out)
	}
	switch len(v.Paths) {
	case 0:
		return "", nil
	case 1:
		return v.Paths[0].ASPath.String, nil
	}
	return "", errors.New("several paths to " + p.String())
}
