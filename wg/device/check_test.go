package device

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

func TestCheckNamesEveryDifferenceAndRepairsNone(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	p := wg.Peer{Name: "paris", Key: private(2).Public(), AllowedIPs: prefixes("10.1.0.0/16", "fd01::/32")}
	l.must(true, p)
	want := l.gw
	want.Peers = []wg.Peer{p}
	check := func() []string {
		t.Helper()
		out, err := l.m.Check(context.Background(), []wg.Device{want}, true)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := check(); len(got) > 0 {
		t.Fatalf("right after Apply: got %q, want nothing", got)
	}
	key := p.Key.String()
	stranger := private(3).Public().String()
	nstest.Run(t, "wg", "set", "gw0", "peer", stranger, "allowed-ips", "10.9.0.0/16")
	if got := check(); len(got) > 0 {
		t.Errorf("with a stranger's peer: got %q, want nothing", got)
	}
	for _, tt := range []struct {
		damage string
		want   string
	}{
		{"ip link set gw0 mtu 1300", "differs: interface gw0: MTU is 1300, want 1420"},
		{"ip addr del 10.200.0.1/24 dev gw0", "missing: address 10.200.0.1/24 on interface gw0"},
		{"wg set gw0 listen-port 51999", "differs: interface gw0: listens on port 51999, want 51820"},
		{"wg set gw0 peer " + key + " persistent-keepalive 7", "differs: peer paris on interface gw0: keepalive, want 0s"},
		{"wg set gw0 peer " + key + " allowed-ips 10.1.0.0/16", "missing: allowed IP fd01::/32 of peer paris on interface gw0"},
		{"wg set gw0 peer " + stranger + " allowed-ips 10.1.0.0/16", "missing: allowed IP 10.1.0.0/16 of peer paris on interface gw0"},
		{"wg set gw0 peer " + key + " remove", "missing: peer paris on interface gw0"},
		{"ip link set gw0 down", "differs: interface gw0: is down"},
	} {
		nstest.Run(t, strings.Fields(tt.damage)...)
		if got := check(); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, tt.want) }) {
			t.Errorf("after %q: got %q, want %q among them", tt.damage, got, tt.want)
		}
	}
	nstest.Run(t, "ip", "link", "del", "gw0")
	if got := check(); !slices.Equal(got, []string{"missing: interface gw0"}) {
		t.Errorf("without the interface: got %q", got)
	}
}

func TestCheckNamesWhatIsLeftOver(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	p := wg.Peer{Name: "paris", Key: private(2).Public(), AllowedIPs: prefixes("10.1.0.0/16", "10.2.0.0/16")}
	l.must(true, p)
	less := l.gw
	less.Addresses = less.Addresses[:1]
	less.Peers = []wg.Peer{{Name: "paris", Key: p.Key, AllowedIPs: prefixes("10.1.0.0/16")}}
	for _, tt := range []struct {
		want []wg.Device
		line string
	}{
		{[]wg.Device{less}, "not wanted: allowed IP 10.2.0.0/16 of peer paris on interface gw0"},
		{[]wg.Device{less}, "not wanted: address fd00:200::1/64 on interface gw0"},
		{nil, "not wanted: interface gw0"},
	} {
		got, err := l.m.Check(context.Background(), tt.want, true)
		if err != nil || !slices.Contains(got, tt.line) {
			t.Errorf("got %q, %v, want %q among them", got, err, tt.line)
		}
	}
}
