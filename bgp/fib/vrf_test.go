package fib

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/internal/nstest"
)

// newVRFLab is newLab with its devices inside a VRF that owns the table. Moving
// a device takes its IPv6 addresses away (addrconf_ifdown), so they are set
// again.
func newVRFLab(t *testing.T, table string) *lab {
	t.Helper()
	nstest.NeedLink(t, "vrf", "table", "99")
	l := newLab(t)
	nstest.Run(t, "ip", "link", "add", "blue", "type", "vrf", "table", table)
	nstest.Run(t, "ip", "link", "set", "blue", "up")
	for _, dev := range []string{"0", "1", "2"} {
		nstest.Run(t, "ip", "link", "set", "wg"+dev, "master", "blue")
		nstest.Run(t, "ip", "addr", "replace", "fd00:ff:"+dev+"::1/64", "dev", "wg"+dev, "nodad")
	}
	return l
}

func TestRoutesOfAVRFAreFollowedInsideItOnly(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newVRFLab(t, "1179")
	for _, a := range []string{"10.2.0.1/32", "2001:db8:2::1/128"} {
		l.b.Run(t, "ip", "addr", "add", a, "dev", "lo")
	}
	f := newFIB(t, Options{})
	w := wanted(route("10.2.0.0/16", gw(1, false)), route("10.3.0.0/16", via01...), blackhole("10.0.0.0/8"),
		route("2001:db8:2::/48", gw(1, true)), route("2001:db8:3::/48", via01...), blackhole("2001:db8::/32"))
	w.VRF = "blue"
	mustApply(t, f, w)
	if n := writesDuring(f, func() { mustApply(t, f, w); f.Resync(context.Background()) }); n != 0 {
		t.Errorf("same set again: want 0 writes, got %d", n)
	}
	for _, fam := range []string{"-4", "-6"} {
		if out := nstest.Run(t, "ip", fam, "rule", "show"); strings.Contains(out, "proto bgp") {
			t.Errorf("want no policy rules beside those of the VRF, got\n%s", out)
		}
	}
	for _, dst := range []string{"10.2.0.1", "2001:db8:2::1"} {
		if out := l.a.Run(t, "ping", "-c1", "-W3", dst); !strings.Contains(out, "1 received") {
			t.Errorf("ping %s through the VRF: %s", dst, out)
		}
		got, err := f.Lookup(netip.MustParseAddr(dst), 0)
		if err != nil || got.Device != "wg1" || !got.Ours || got.Table != testTable {
			t.Errorf("lookup of %s: got %+v (%v), want our route by wg1", dst, got, err)
		}
	}
	if got, err := f.Lookup(netip.MustParseAddr("10.9.9.9"), 0); err != nil || got.Type != "blackhole" {
		t.Errorf("lookup of a blackholed address: got %+v (%v)", got, err)
	}
	differs, err := f.Check(context.Background())
	if err != nil || len(differs) > 0 {
		t.Errorf("check: got %q (%v), want no difference", differs, err)
	}
	if err := f.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := kernelRoutes(t, testTable); len(got) > 0 {
		t.Errorf("after drain: want no routes, got %q", got)
	}
	if out := nstest.Run(t, "ip", "route", "show", "table", "1179"); !strings.Contains(out, "10.255.0.0/24 dev wg0") {
		t.Errorf("the VRF's own routes are gone:\n%s", out)
	}
}

func TestVRFThatIsMissingOrHasAnotherTableIsAnError(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newVRFLab(t, "77")
	f := newFIB(t, Options{})
	for vrf, want := range map[string]string{
		"red":  "VRF red does not exist",
		"wg0":  "wg0 is not a VRF",
		"blue": "VRF blue has table 77, want 1179",
	} {
		w := wanted(route("10.2.0.0/16", gw(1, false)))
		w.VRF = vrf
		if a := f.Apply(context.Background(), 1, w); a.Err != want {
			t.Errorf("VRF %s: got %q, want %q", vrf, a.Err, want)
		}
		if got := kernelRoutes(t, testTable); len(got) > 0 {
			t.Errorf("VRF %s: want no routes, got %q", vrf, got)
		}
	}
}
