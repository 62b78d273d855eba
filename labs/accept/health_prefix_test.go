package accept

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// A host behind a site is probed over IPv6 while another site of its group holds
// the prefix: the probe's way must not depend on who won.
func TestProbeBehindASiteRecoversWhileAnotherHoldsItsPrefix(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "nft")
	group := "group = \"pair\"\nhold-down = \"0s\"\nrise = 1\nfall = 2\n"
	l := start(t, gwlab.Spec{
		Gateways: []gwlab.Gateway{{Name: "gw1", NotStarted: true}},
		Sites: []gwlab.Site{
			{Name: "east", Open: true, TOML: group, Tables: "[[site.probe]]\nname = \"lan\"\ntarget = \"2001:db8:101::10\"\n"},
			{Name: "west", Open: true, TOML: group},
		},
	})
	g, east, west := l.Gateways[0], l.Site("east"), l.Site("west")
	rewrite(t, g, func(c string) string {
		return strings.Replace(c, `"`+west.Net6.String()+`"`, `"`+west.Net6.String()+`", "`+east.Net6.String()+`"`, 1)
	})
	if err := l.StartGateway(g); err != nil {
		t.Fatal(err)
	}
	way := func(device string) {
		t.Helper()
		nstest.Eventually(t, 10*time.Second, func() error {
			out, err := g.Host.Run("ip", "-6", "route", "get", east.LAN6.String(), "from", "2001:db8:a::10", "iif", "eth0")
			if err == nil && !strings.Contains(out, device) {
				err = fmt.Errorf("way to %s: got %q, want %s", east.LAN6, out, device)
			}
			return err
		})
	}
	atTGW(t, l, 20*time.Second, east.Net4, "gw1")
	if _, err := east.LAN.Run("nft", "table ip6 fault { chain received { type filter hook input priority 0; icmpv6 type echo-request drop; }; }"); err != nil {
		t.Fatal(err)
	}
	atTGW(t, l, 10*time.Second, east.Net4)
	atTGW(t, l, 5*time.Second, east.Net6, "gw1")
	way("wg-west")
	if _, err := east.LAN.Run("nft", "delete table ip6 fault"); err != nil {
		t.Fatal(err)
	}
	atTGW(t, l, 10*time.Second, east.Net4, "gw1")
}
