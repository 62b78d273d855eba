package main

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

func TestChainNamesTheLinkThatLimits(t *testing.T) {
	tgw := tunnelMTU{Tunnel: tgwconnect.Tunnel{Name: "gre-tgw", Remote: netip.MustParseAddr("192.0.2.100")}, mtu: 8476, path: 9001}
	four, six := netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8::10")
	site := func(mtu int, endpoint netip.Addr, path int) siteMTU {
		return siteMTU{site: "paris", device: "wg0", mtu: mtu, endpoint: endpoint, path: path}
	}
	narrow := tgw
	narrow.path, narrow.mtu = 1400, 1376
	wrong := narrow
	wrong.mtu = 8476
	for _, tt := range []struct {
		name    string
		site    siteMTU
		tunnels []tunnelMTU
		clamp   bool
		want    string
		notes   []string
	}{
		{"the usual", site(1420, four, 1500), []tunnelMTU{tgw}, true, "1420 wg0 1380 1360", nil},
		{"jumbo inside AWS", site(8920, four, 9001), []tunnelMTU{tgw}, true, "8476 tgw 8436 8416", nil},
		{
			"small path", site(1420, four, 1400),
			[]tunnelMTU{tgw},
			true, "1340 path to 203.0.113.10 1380 1360",
			[]string{"packets above 1340 bytes are sent to 203.0.113.10 in fragments: lower mtu of [wireguard.wg0] to 1340"},
		},
		{"IPv6 outside", site(1420, six, 1500), nil, true, "1420 wg0 1380 1360", nil},
		{
			"IPv6 outside, MTU for IPv4", site(1440, six, 1500), nil, true, "1420 path to 2001:db8::10 1400 1380",
			[]string{"packets above 1420 bytes are sent to 2001:db8::10 in fragments: lower mtu of [wireguard.wg0] to 1420"},
		},
		{"small tunnel", site(1420, four, 1500), []tunnelMTU{tgw, narrow}, true, "1376 path to 192.0.2.100 1336 1316", nil},
		{
			"tunnel too large", site(1420, four, 1500),
			[]tunnelMTU{wrong},
			true, "1376 path to 192.0.2.100 1380 1360",
			[]string{"packets above 1376 bytes do not fit into gre-tgw: lower mtu of the [[tgw-connect]]"},
		},
		{
			"no clamp", site(1420, four, 1500),
			[]tunnelMTU{tgw},
			false, "1420 wg0 0 0",
			[]string{"the MSS is not clamped (mss-clamp of [fib]): TCP depends on ICMP coming through"},
		},
		{
			"nobody there", site(0, netip.Addr{}, 0),
			[]tunnelMTU{{Tunnel: tgw.Tunnel}},
			true, "8476 tgw 0 0",
			[]string{"there is no interface gre-tgw", "there is no route to 192.0.2.100", "there is no interface wg0", "the site's endpoint is not known yet"},
		},
		{"endpoint without a route", site(1420, four, 0), nil, true, "1420 wg0 1380 1360", []string{"there is no route to the site's endpoint 203.0.113.10"}},
	} {
		c := chain(tt.site, tt.tunnels, tt.clamp)
		if got := fmt.Sprintf("%d %s %d %d", c.MTU, c.Limit, c.MSS4, c.MSS6); got != tt.want || !slices.Equal([]string(c.Notes), tt.notes) {
			t.Errorf("%s: got %s %q, want %s %q", tt.name, got, c.Notes, tt.want, tt.notes)
		}
	}
}
