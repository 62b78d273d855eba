package accept

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// fleetTOML is the session with the other hub over the link between them.
func fleetTOML(other string) string {
	return fmt.Sprintf("[[neighbor]]\nname = \"hub\"\nkind = \"fleet\"\naddress = %q\ndevice = \"fleet0\"\nasn = 65010\nconnect-retry = \"1s\"\n", other)
}

// Two hubs speak iBGP over a link of their own. The site is at hub 1 only.
func TestS03_HubsOfOneFleet(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	needDaemons(t)
	l := start(t, gwlab.Spec{
		TGWHold: 9,
		Gateways: []gwlab.Gateway{
			{Name: "gw1", NotStarted: true, TOML: fleetTOML("172.30.0.2")},
			{Name: "gw2", NotStarted: true, TOML: fleetTOML("172.30.0.1")},
		},
		Sites: []gwlab.Site{
			{Name: "paris", BGP: gwlab.BGPBIRD, Gateways: []string{"gw1"}},
			{Name: "oslo", Gateways: []string{"gw1"}, Keepalive: 5},
		},
	})
	g1, g2 := l.Gateways[0], l.Gateways[1]
	if err := netlab.Link(
		netlab.End{Host: g1.Host, Device: "fleet0", Addresses: []string{"172.30.0.1/24"}},
		netlab.End{Host: g2.Host, Device: "fleet0", Addresses: []string{"172.30.0.2/24"}},
	); err != nil {
		t.Fatal(err)
	}
	for _, g := range l.Gateways {
		if err := l.StartGateway(g); err != nil {
			t.Fatal(err)
		}
	}
	paris, oslo := l.Site("paris"), l.Site("oslo")

	t.Run("NextHopIsTheOtherHub", func(t *testing.T) {
		for _, p := range []netip.Prefix{paris.Net4, oslo.Net4} {
			nstest.Eventually(t, 30*time.Second, func() error { return byHops(g2, p, "172.30.0.1") })
			e := ask[api.RIB](t, l, g2, "rib", p.String()).Prefixes[0]
			if len(e.Paths) != 1 || e.Paths[0].Neighbor != "hub" || e.Paths[0].NextHop.String() != "172.30.0.1" {
				t.Errorf("rib %s on gw2: got %+v, want one path of hub by 172.30.0.1", p, e.Paths)
			}
		}
	})
	t.Run("NoLoop", func(t *testing.T) {
		// What hub 1 told hub 2 does not come back, and the TGW's prefixes leave by
		// the hub's own tunnel.
		for _, p := range []netip.Prefix{paris.Net4, oslo.Net4} {
			if e := ask[api.RIB](t, l, g1, "rib", p.String()).Prefixes[0]; len(e.Paths) != 1 || e.Paths[0].Neighbor == "hub" {
				t.Errorf("rib %s on gw1: got %+v, want the site's path alone", p, e.Paths)
			}
		}
		for _, g := range []*gwlab.GatewayHost{g1, g2} {
			nstest.Eventually(t, 20*time.Second, func() error {
				e, err := tryAsk[api.RIB](l, g, "rib", vpc4.String())
				if err != nil {
					return err
				}
				paths := e.Prefixes[0].Paths
				last := paths[len(paths)-1]
				if paths[0].Neighbor == "hub" || last.Neighbor != "hub" || last.DecidedBy != "med" {
					return fmt.Errorf("rib %s on %s: got %+v, want the hub's path last, by its MED", vpc4, g.Name, paths)
				}
				return nil
			})
		}
	})
	t.Run("ForwardsBetweenTheHubs", func(t *testing.T) {
		for _, s := range []*gwlab.SiteHost{paris, oslo} { // the way there is nailed to hub 2
			if err := l.TGW.RunAll("ip route replace table 7 default dev gre-gw2", "ip rule add pref 5 to "+s.Net4.String()+" lookup 7"); err != nil {
				t.Fatal(err)
			}
			nstest.Eventually(t, 20*time.Second, func() error { return ping(l.VPCWorkload(), s.LAN4) })
			before := sentPackets(t, g2, "fleet0")
			if _, err := l.VPC.Run("ping", "-c20", "-i0.01", "-W1", s.LAN4.String()); err != nil {
				t.Error(err)
			}
			if n := sentPackets(t, g2, "fleet0") - before; n < 20 {
				t.Errorf("%s: %d packets of 20 went over the fleet link", s.Name, n)
			}
		}
	})
	t.Run("WithdrawnWithTheSite", func(t *testing.T) {
		if err := paris.BIRD.Process.Stop(5 * time.Second); err != nil {
			t.Logf("bird: %v", err)
		}
		at := time.Now()
		nstest.Eventually(t, 10*time.Second, func() error { return byHops(g2, paris.Net4) })
		t.Logf("figure: s03 route gone from hub 2 %.2f s after the site's session ended", time.Since(at).Seconds())
		if err := byHops(g2, oslo.Net4, "172.30.0.1"); err != nil {
			t.Error(err)
		}
	})
}

// sentPackets counts what an interface of a gateway has sent.
func sentPackets(t *testing.T, g *gwlab.GatewayHost, device string) int {
	t.Helper()
	out, err := g.Host.Run("ip", "-j", "-s", "link", "show", "dev", device)
	if err != nil {
		t.Fatal(err)
	}
	var v []struct {
		Stats64 struct{ Tx struct{ Packets int } }
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || len(v) != 1 {
		t.Fatalf("statistics of %s: %v in %s", device, err, out)
	}
	return v[0].Stats64.Tx.Packets
}
