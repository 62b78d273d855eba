package accept

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/router"
)

// Two hosts have one private key and one sites file. The site holds one tunnel,
// to whichever it dials: the host with the live session speaks for it.
func TestAC31_RoamedSiteMovesAtTheTGW(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "wg")
	l := start(t, gwlab.Spec{
		Gateways: []gwlab.Gateway{{Name: "gw1", NotStarted: true}, {Name: "gw2", NotStarted: true}},
		Sites: []gwlab.Site{{
			Name: "paris", Gateways: []string{"gw1"}, DialsUs: true, Keepalive: 5, TOML: "hold-down = \"0s\"\nrise = 1\n",
			Tables: "[[site.probe]]\nname = \"icmp\"\ninterval = \"500ms\"\ntimeout = \"500ms\"\n",
		}},
	})
	gw1, gw2, s := l.Gateway("gw1"), l.Gateway("gw2"), l.Site("paris")
	_, rest, _ := strings.Cut(l.ConfigText(gw1), "\n[wireguard.")
	shared, _, _ := strings.Cut(rest, "\n[[tgw-connect]]")
	rewrite(t, gw2, func(c string) string {
		return strings.Replace(c, "\n[[tgw-connect]]", "\n[wireguard."+shared+"\n[[tgw-connect]]", 1)
	})
	for _, g := range l.Gateways {
		rewrite(t, g, func(c string) string { return strings.Replace(c, "listen-port", "shared-key = true\nlisten-port", 1) })
		if err := l.StartGateway(g); err != nil {
			t.Fatal(err)
		}
	}
	reach(t, l, "paris")
	atTGW(t, l, 10*time.Second, s.Net4, "gw1")
	key, err := s.Host.Run("wg", "show", "wg-gw1", "peers")
	if err != nil {
		t.Fatal(err)
	}
	key = strings.TrimSpace(key)
	events, err := l.TGWEvents()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if slices.Contains(e.Via, "gw2") && (e.Prefix == s.Net4 || e.Prefix == s.Net6) {
			t.Errorf("gw2 speaks for a site that is connected to gw1: %+v", e)
		}
	}

	// dial makes the site use another host, as an address that moves would. It
	// forgets its session, so that WireGuard itself loses no time.
	from := "gw1"
	dial := func(g *gwlab.GatewayHost) {
		t.Helper()
		moved := time.Now()
		err := s.Host.RunAll(
			"wg set wg-gw1 peer "+key+" remove",
			"wg set wg-gw1 peer "+key+" endpoint "+g.Underlay().String()+":51820 persistent-keepalive 5 allowed-ips 0.0.0.0/0,::/0",
		)
		if err != nil {
			t.Fatal(err)
		}
		atTGW(t, l, 10*time.Second, s.Net4, g.Name)
		atTGW(t, l, 5*time.Second, s.Net6, g.Name)
		events, err := l.TGWEvents()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []struct {
			prefix string
			event  func() (router.Event, bool)
		}{
			{"IPv4", func() (router.Event, bool) { return router.RouteChanged(events, moved, s.Net4, g.Name) }},
			{"IPv6", func() (router.Event, bool) { return router.RouteChanged(events, moved, s.Net6, g.Name) }},
		} {
			e, ok := p.event()
			if !ok {
				t.Fatalf("%s: the TGW did not move from %s to %s", p.prefix, from, g.Name)
			}
			limit(t, fmt.Sprintf("AC-31 site roams from %s to %s, %s", from, g.Name, p.prefix), e.At.Sub(moved), 3*time.Second)
		}
		reach(t, l, "paris")
		from = g.Name
	}
	dial(gw2)
	moved := time.Now()
	nstest.Eventually(t, 30*time.Second, func() error {
		// The host that was left must not win the session back: WireGuard asks for
		// one 15 s after the first packet without an answer.
		events, err := l.TGWEvents()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.At.After(moved) && (e.Prefix == s.Net4 || e.Prefix == s.Net6) {
				t.Fatalf("%v after the move to gw2 the TGW hears of it again: %+v", e.At.Sub(moved), e)
			}
		}
		if left := 20*time.Second - time.Since(moved); left > 0 {
			return fmt.Errorf("%v left to watch", left)
		}
		return nil
	})
	dial(gw1)
}
