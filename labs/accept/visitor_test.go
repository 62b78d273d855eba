package accept

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

const rangeTOML = `
[[neighbor]]
name = "lab"
range = "198.18.1.0/24"
asn = 0
device = "eth1"
allow = ["10.150.0.0/16"]
export = true
max-sessions = 3
`

const visitorBIRD = `
router id 198.18.1.1;
protocol device { }
protocol static { ipv4; route 10.150.0.0/16 unreachable; route 10.151.0.0/16 unreachable; }
protocol bgp hub {
 local 198.18.1.1 as 65201;
 neighbor 198.18.1.2 as 65010;
 password "correct horse";
 hold time 9; connect delay time 1; connect retry time 1; error wait time 1, 2;
 ipv4 { import all; export filter { if source = RTS_STATIC then accept; reject; }; };
}
`

func TestS14_DynamicNeighbor(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	needDaemons(t)
	l := start(t, gwlab.Spec{
		TGWHold:  9,
		Gateways: []gwlab.Gateway{{Name: "gw1", TOML: rangeTOML, NotStarted: true}},
		Sites:    []gwlab.Site{{Name: "paris", Keepalive: 5}},
	})
	g := l.Gateways[0]
	other := netip.MustParsePrefix("10.151.0.0/16")
	key, err := g.Host.File("lab.md5", "correct horse\n")
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, g, func(c string) string {
		return strings.Replace(c, "max-sessions = 3\n", fmt.Sprintf("max-sessions = 3\npassword = \"file:%s\"\n", key), 1)
	})
	if err := l.StartGateway(g); err != nil {
		t.Fatal(err)
	}
	atTGW(t, l, 30*time.Second, l.Site("paris").Net4, "gw1")
	nstest.Eventually(t, 20*time.Second, func() error {
		e, err := tryAsk[api.RIB](l, g, "rib", vpc6.String())
		if err == nil && len(e.Prefixes[0].Paths) != 2 {
			err = fmt.Errorf("rib %s: got %+v, want a path of each session", vpc6, e.Prefixes)
		}
		return err
	})
	before := standing(t, l, g)

	bird, err := daemons.StartBIRD(l.Internet, visitorBIRD)
	if err != nil {
		t.Fatal(err)
	}
	const name = "lab/198.18.1.1"
	nstest.Eventually(t, 20*time.Second, func() error { return sessionState(l, g, name, "Established") })
	nstest.Eventually(t, 10*time.Second, func() error { return byHops(g, shared, "198.18.1.1") })
	n := ask[api.NeighborList](t, l, g, "neighbor", "198.18.1.1").Neighbors[0]
	if n.Name != name || n.ASN != 65201 || n.Dynamic != "lab" || n.Accepted != 1 || n.Rejected != 1 {
		t.Errorf("neighbor: got %+v, want %s of AS 65201 with 1 accepted and 1 rejected", n, name)
	}
	for _, p := range []netip.Prefix{vpc4, l.Site("paris").Net4} {
		nstest.Eventually(t, 10*time.Second, func() error {
			out, err := bird.Birdc("show", "route", p.String(), "all")
			if err == nil && (!strings.Contains(out, "BGP.next_hop: 198.18.1.2") || !strings.Contains(out, "BGP.as_path: 65010")) {
				err = fmt.Errorf("BIRD's path to %s: got %q", p, out)
			}
			return err
		})
	}
	e := ask[api.RIB](t, l, g, "rib", vpc4.String()).Prefixes[0]
	if !slices.Contains(e.AnnouncedTo, name) {
		t.Errorf("%s: announced to %v, want %s among them", vpc4, e.AnnouncedTo, name)
	}
	if e := ask[api.RIB](t, l, g, "rib", shared.String()).Prefixes[0]; slices.Contains(e.AnnouncedTo, name) {
		t.Errorf("%s: announced back to %s", shared, name)
	}

	// What the template may learn changes without a reset.
	rewrite(t, g, func(c string) string { return strings.Replace(c, `["10.150.0.0/16"]`, `["10.150.0.0/15 le 16"]`, 1) })
	reload(t, l, g)
	nstest.Eventually(t, 10*time.Second, func() error { return byHops(g, other, "198.18.1.1") })
	if now := ask[api.NeighborList](t, l, g, "neighbor", name).Neighbors[0]; !now.Since.Time.Equal(n.Since.Time) {
		t.Errorf("session: since %v, was %v, want it untouched", now.Since, n.Since)
	}

	if err := bird.Process.Stop(5 * time.Second); err != nil {
		t.Logf("bird: %v", err)
	}
	nstest.Eventually(t, 20*time.Second, func() error {
		if after := standing(t, l, g); after != before {
			return fmt.Errorf("the neighbor left something:\nbefore\n%s\nafter\n%s", before, after)
		}
		return nil
	})
	if out, _, code, err := l.CLI(g, "check"); err != nil || code != 0 {
		t.Errorf("check: exit %d, %v, want nothing to be wrong:\n%s", code, err, out)
	}
}

// standing is what the kernel, WireGuard and the daemon have of neighbors.
func standing(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost) string {
	t.Helper()
	var b strings.Builder
	for _, c := range [][]string{
		{"ip", "route", "show", "table", "1186"}, {"ip", "-6", "route", "show", "table", "1186"}, {"ip", "nexthop", "show"}, {"wg", "show", "wg0", "allowed-ips"},
	} {
		out, err := g.Host.Run(c...)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(out)
	}
	for _, n := range ask[api.NeighborList](t, l, g, "neighbor").Neighbors {
		fmt.Fprintf(&b, "neighbor %s %s: %d received, %d announced\n", n.Name, n.State, n.Received, n.Announced)
	}
	for _, e := range ask[api.RIB](t, l, g, "rib").Prefixes {
		fmt.Fprintf(&b, "rib %s: %d paths, announced to %v\n", e.Prefix, len(e.Paths), e.AnnouncedTo)
	}
	return b.String()
}
