package accept

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// Two hubs watch each other by BFD, with our daemon at both ends: other timers
// without a flap, a silent cut long before the hold time, and an orderly end that
// is no failure.
func TestHubsWatchEachOtherByBFD(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "nft")
	l := start(t, gwlab.Spec{
		Gateways: []gwlab.Gateway{
			{Name: "gw1", NotStarted: true, TOML: fleetTOML("172.30.0.2") + "bfd = true\n"},
			{Name: "gw2", NotStarted: true, TOML: fleetTOML("172.30.0.1") + "bfd = true\n"},
		},
		Sites: []gwlab.Site{{Name: "oslo", Gateways: []string{"gw1"}, Keepalive: 5}},
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
	oslo := l.Site("oslo")
	nstest.Eventually(t, 60*time.Second, func() error { return byHops(g2, oslo.Net4, "172.30.0.1") })
	bfdIs(t, l, g2, "hub", 20*time.Second, bfdUp)

	t.Run("OtherTimersAreLive", func(t *testing.T) {
		for _, c := range [][2]string{{"bfd = true\n", "bfd = true\nbfd-interval = \"400ms\"\n"}, {"\"400ms\"", "\"300ms\""}} {
			rewrite(t, g1, func(s string) string { return strings.Replace(s, c[0], c[1], 1) })
			reload(t, l, g1)
			want := 400.0
			if strings.Contains(c[1], "300") {
				want = 300
			}
			bfdIs(t, l, g2, "hub", 20*time.Second, func(b api.BFD) bool { return b.IntervalMS == want && b.DetectMS == 3*want })
		}
		if b := bfdIs(t, l, g1, "hub", time.Second, bfdUp); b.Flaps != 0 {
			t.Errorf("flaps %d, want 0", b.Flaps)
		}
		if n := ask[api.NeighborList](t, l, g1, "neighbor", "hub").Neighbors[0]; n.State != "Established" || n.LossReason != "" || n.BFD != "Up" {
			t.Errorf("BGP session: %+v, want the first one still", n)
		}
	})
	t.Run("SilentCut", func(t *testing.T) {
		at := time.Now()
		if _, err := g1.Host.Run("nft", "table inet cut { chain in { type filter hook input priority -300; iifname \"fleet0\" drop; }; "+
			"chain out { type filter hook output priority -300; oifname \"fleet0\" drop; }; }"); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 10*time.Second, func() error {
			e, err := tryAsk[api.RIB](l, g2, "rib")
			for _, p := range e.Prefixes {
				for _, x := range p.Paths {
					if x.Neighbor == "hub" && x.Usable {
						err = errors.Join(err, fmt.Errorf("gw2 still uses the hub's path to %s", p.Prefix))
					}
				}
			}
			return err
		})
		limit(t, "silent cut between hubs, BFD 300 ms x 3, until no path of the other is used", time.Since(at), 1500*time.Millisecond)
		bfdIs(t, l, g2, "hub", time.Second, func(b api.BFD) bool { return b.Failed && b.Diagnostic == "detection-time-expired" })
		if _, err := g1.Host.Run("nft", "delete table inet cut"); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 60*time.Second, func() error { return byHops(g2, oslo.Net4, "172.30.0.1") })
		bfdIs(t, l, g2, "hub", 20*time.Second, bfdUp)
	})
	t.Run("OrderlyEndIsNoFailure", func(t *testing.T) {
		if err := g1.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		bfdIs(t, l, g2, "hub", 30*time.Second, func(b api.BFD) bool {
			return b.State == "Down" && b.RemoteState == "AdminDown" && !b.Failed && b.Flaps == 1
		})
	})
}
