package gwlab

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/labs/node"
)

var daemon, cli string

func TestMain(m *testing.M) {
	node.Main()
	os.Exit(Main(func() int {
		daemon, cli = os.Getenv(EnvDaemon), os.Getenv(EnvCLI)
		return m.Run()
	}))
}

func start(t *testing.T, spec Spec) *Lab {
	t.Helper()
	spec.Daemon, spec.CLI = daemon, cli
	l, err := Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, g := range l.Gateways {
				if g.Process != nil {
					t.Logf("%s, end of log:\n%s", g.Name, g.Process.Tail(40))
				}
			}
			t.Logf("tgw, end of log:\n%s", l.TGWProcess.Tail(20))
		}
		if err := l.Close(false); err != nil {
			t.Error(err)
		}
	})
	return l
}

// reach waits until packets flow between the workload of the TGW and that of
// the site, both ways, both families.
func reach(t *testing.T, l *Lab, site string) {
	t.Helper()
	s := l.Site(site)
	for _, p := range [][2]string{
		{s.LAN4.String(), vpcAddress4},
		{s.LAN6.String(), vpcAddress6},
	} {
		nstest.Eventually(t, 60*time.Second, func() error {
			_, err := l.VPC.Run("ping", "-c1", "-W1", p[0])
			return err
		})
		nstest.Eventually(t, 10*time.Second, func() error {
			_, err := s.LAN.Run("ping", "-c1", "-W1", p[1])
			return err
		})
	}
}

func TestPacketsCrossToEveryKindOfSite(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	if m := daemons.Missing(); len(m) > 0 {
		t.Skipf("needs %v", m)
	}
	l := start(t, Spec{
		Gateways: []Gateway{{Name: "gw1"}, {Name: "gw2"}},
		Sites: []Site{
			{Name: "static", Keepalive: 5, PSK: true},
			{Name: "debian", DebianWireGuard: true, DialsUs: true, Keepalive: 5},
			{Name: "routed", BGP: BGPRouter, Open: true},
			{Name: "frr", BGP: BGPFRR},
			{Name: "bird", BGP: BGPBIRD, Gateways: []string{"gw2"}},
		},
	})
	for _, s := range l.Sites {
		reach(t, l, s.Name)
	}
	nstest.Eventually(t, 20*time.Second, func() error {
		routes, err := l.TGWRoutes()
		if err != nil {
			return err
		}
		for _, s := range l.Sites {
			want := []string{"gw1", "gw2"}
			if s.spec.Gateways != nil {
				want = s.spec.Gateways
			}
			if !slices.Equal(routes[s.Net4], want) || !slices.Equal(routes[s.Net6], want) {
				return fmt.Errorf("TGW's routes to %s: got %v and %v, want %v", s.Name, routes[s.Net4], routes[s.Net6], want)
			}
		}
		return nil
	})
}

func TestFRRAsTransitGateway(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	if m := daemons.Missing(); len(m) > 0 {
		t.Skipf("needs %v", m)
	}
	l := start(t, Spec{
		TGW:      TGWFRR,
		Gateways: []Gateway{{Name: "gw1"}, {Name: "gw2"}},
		Sites:    []Site{{Name: "paris"}},
	})
	reach(t, l, "paris")
	nstest.Eventually(t, 20*time.Second, func() error {
		out, err := l.TGW.Run("ip", "route", "show", l.Site("paris").Net4.String())
		if err == nil && strings.Count(out, "nexthop") != 2 {
			err = fmt.Errorf("FRR's route: got %q, want two next hops", out)
		}
		return err
	})
}

func TestCutIsSilentAndHealed(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := start(t, Spec{
		Gateways: []Gateway{{Name: "gw1"}},
		Sites:    []Site{{Name: "paris"}},
	})
	g, s := l.Gateways[0], l.Sites[0]
	ping := func() error {
		_, err := g.Host.Run("ping", "-c1", "-W1", s.plan.underlay.String())
		return err
	}
	nstest.Eventually(t, 5*time.Second, ping)
	if err := l.Cut(g, s); err != nil {
		t.Fatal(err)
	}
	if err := ping(); err == nil {
		t.Error("after Cut: the site still answers")
	}
	if err := l.Heal(g, s); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 5*time.Second, ping)
}
