package fib

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

func TestForeignRoutesAreReportedAndNeverOverwritten(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	foreign := [][]string{
		{"route", "add", "10.1.0.0/16", "dev", "wg2", "table", "1179", "metric", "20", "proto", "static"},
		{"route", "add", "10.2.0.0/16", "dev", "wg2", "table", "1179", "metric", "5", "proto", "static"},
		{"route", "add", "10.3.0.0/16", "dev", "wg2", "table", "1179", "metric", "99", "proto", "static"},
		{"route", "add", "10.4.0.0/14", "dev", "wg2", "proto", "boot"}, // main, as wg-quick does
		{"route", "add", "10.8.0.0/16", "dev", "wg0", "proto", "boot"}, // main, same device as ours
		{"-6", "route", "add", "2001:db8:1::/48", "dev", "wg2", "table", "1179", "metric", "20", "proto", "static"},
		{"-6", "route", "add", "2001:db8:2::/48", "dev", "wg2", "proto", "boot"},
	}
	for _, a := range foreign {
		nstest.Run(t, append([]string{"ip"}, a...)...)
	}
	show := func() string {
		return nstest.Run(t, "ip", "route", "show", "table", "all", "proto", "static") + nstest.Run(t, "ip", "route", "show", "proto", "boot") +
			nstest.Run(t, "ip", "-6", "route", "show", "table", "all", "proto", "static") + nstest.Run(t, "ip", "-6", "route", "show", "proto", "boot")
	}
	before := show()
	f := newFIB(t, Options{})
	w := wanted(route("10.1.0.0/16", via0...), route("10.2.0.0/16", via0...), route("10.3.0.0/16", via0...),
		route("10.5.0.0/16", via0...), route("10.8.0.0/16", via0...), route("10.9.0.0/16", via0...),
		route("2001:db8:1::/48", via0...), route("2001:db8:2::/48", via0...))
	a := f.Apply(context.Background(), 1, w)
	type seen struct {
		prefix string
		status bgp.RouteStatus
	}
	var got []seen
	for _, r := range a.Reports {
		got = append(got, seen{r.Prefix.String(), r.Status})
		if !strings.Contains(r.Detail, "dev wg2") {
			t.Errorf("%s: detail does not show the foreign route: %q", r.Prefix, r.Detail)
		}
	}
	want := []seen{
		{"10.1.0.0/16", bgp.RouteShadowed},
		{"10.2.0.0/16", bgp.RouteShadowed},
		{"10.5.0.0/16", bgp.RouteShadowed},
		{"2001:db8:1::/48", bgp.RouteShadowed},
		{"2001:db8:2::/48", bgp.RouteShadowed},
	}
	if !slices.Equal(got, want) {
		t.Errorf("reports:\ngot  %+v\nwant %+v", got, want)
	}
	var foreigners []string
	for _, x := range a.Foreign {
		foreigners = append(foreigners, x.Prefix.String())
	}
	if want := []string{"10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/14", "10.8.0.0/16", "2001:db8:1::/48", "2001:db8:2::/48"}; !slices.Equal(foreigners, want) {
		t.Errorf("foreign: got %v, want %v", foreigners, want)
	}
	if after := show(); after != before {
		t.Errorf("foreign routes changed:\n%s\nwere\n%s", after, before)
	}
	// As soon as the strangers leave, ours take their place.
	follow(t, f)
	for _, d := range foreign {
		d = slices.Clone(d)
		d[slices.Index(d, "add")] = "del"
		nstest.Run(t, append([]string{"ip"}, d...)...)
	}
	eventually(t, 2*time.Second, f, w)
	if a := f.Resync(context.Background()); len(a.Reports)+len(a.Foreign) > 0 {
		t.Errorf("strangers gone, still reported: %+v", a)
	}
}

func TestTakeoverReplacesAForeignRoute(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	nstest.Run(t, "ip", "route", "add", "10.1.0.0/16", "dev", "wg2", "table", "1179", "metric", "20", "proto", "static")
	nstest.Run(t, "ip", "-6", "route", "add", "2001:db8:1::/48", "dev", "wg2", "table", "1179", "metric", "20", "proto", "static")
	nstest.Run(t, "ip", "-6", "route", "add", "2001:db8:2::/48", "via", "fd00:ff:2::2", "table", "1179", "metric", "20", "proto", "static")
	nstest.Run(t, "ip", "route", "add", "10.4.0.0/16", "dev", "wg2", "table", "1179", "metric", "5", "proto", "static")
	f := newFIB(t, Options{})
	r := []bgp.Route{route("10.4.0.0/16", via0...), route("10.1.0.0/16", via0...), route("2001:db8:1::/48", via0...), route("2001:db8:2::/48", via0...)}
	if a := f.Apply(context.Background(), 1, wanted(slices.Clone(r)...)); len(a.Reports) != 4 {
		t.Fatalf("without takeover: got %+v, want four shadowed", a.Reports)
	}
	for i := range r {
		r[i].Takeover = true
	}
	mustApply(t, f, wanted(r...))
	f.Resync(context.Background())
	mustApply(t, f, wanted(r...))
	out := nstest.Run(t, "ip", "route", "show", "table", "1179", "proto", "static") + nstest.Run(t, "ip", "-6", "route", "show", "table", "1179", "proto", "static")
	if out != "" {
		t.Errorf("foreign routes left beside ours: %s", out)
	}
}

func TestNextHopWithoutDeviceFollowsTheUnderlay(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	nstest.Run(t, "ip", "route", "add", "192.0.2.0/24", "via", "10.255.1.2")
	f := newFIB(t, Options{})
	onlink := bgp.NextHop{Gateway: netip.MustParseAddr("10.255.0.2")}
	far := bgp.NextHop{Gateway: netip.MustParseAddr("192.0.2.9")}
	six := bgp.NextHop{Gateway: netip.MustParseAddr("fd00:ff:2::2")}
	w := wanted(route("10.1.0.0/16", onlink), route("10.2.0.0/16", far), route("2001:db8::/32", six))
	if a := f.Apply(context.Background(), 1, w); a.Err != "" || len(a.Reports) > 0 {
		t.Fatalf("got %+v, want all installed", a)
	}
	mustAgree(t, f, wanted(route("10.1.0.0/16", gw(0, false)), route("10.2.0.0/16", gw(1, false)), route("2001:db8::/32", gw(2, true))))
	follow(t, f)
	nstest.Run(t, "ip", "route", "replace", "192.0.2.0/24", "via", "10.255.2.2")
	eventually(t, 2*time.Second, f, wanted(route("10.1.0.0/16", gw(0, false)), route("10.2.0.0/16", gw(2, false)), route("2001:db8::/32", gw(2, true))))
	nstest.Run(t, "ip", "route", "del", "192.0.2.0/24")
	eventually(t, 2*time.Second, f, wanted(route("10.1.0.0/16", gw(0, false)), route("2001:db8::/32", gw(2, true))))
	if a := f.Resync(context.Background()); len(a.Reports) != 1 || a.Reports[0].Status != bgp.RouteFailed {
		t.Errorf("unreachable next hop: got %+v", a.Reports)
	}
}

func TestOneBadRouteDoesNotStopTheRest(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	f := newFIB(t, Options{})
	bad := route("10.2.0.0/16", via0...)
	bad.Source = netip.MustParseAddr("203.0.113.1") // not an address of this host
	mixed := route("2001:db8::/32", gw(0, false))   // IPv4 next hop for an IPv6 prefix
	a := f.Apply(context.Background(), 1, wanted(route("10.1.0.0/16", via0...), bad, mixed, route("10.3.0.0/16", via1...)))
	if len(a.Reports) != 2 || a.Reports[0].Status != bgp.RouteFailed || a.Reports[1].Status != bgp.RouteFailed {
		t.Fatalf("got %+v, want two failures", a)
	}
	mustAgree(t, f, wanted(route("10.1.0.0/16", via0...), route("10.3.0.0/16", via1...)))
	follow(t, f)
	nstest.Run(t, "ip", "addr", "add", "203.0.113.1/32", "dev", "wg1")
	eventually(t, 2*time.Second, f, wanted(route("10.1.0.0/16", via0...), bad, route("10.3.0.0/16", via1...)))
	if a := f.Apply(context.Background(), 2, wanted(route("10.3.0.0/16", via1...), route("10.1.0.0/16", via0...), bgp.Route{})); a.Err == "" {
		t.Error("invalid prefix accepted")
	}
}

// TestRandomSetsEndAsWanted applies random sets one after the other and
// compares each with the kernel, with strangers' interference and restarts.
func TestRandomSetsEndAsWanted(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	const seed = 20261122
	rng := rand.New(rand.NewPCG(seed, 1))
	f := newFIB(t, Options{})
	for round := range 500 {
		w := randomSet(rng)
		switch rng.IntN(12) {
		case 0:
			_ = f.Close()
			f = newFIB(t, Options{})
		case 1:
			f.Resync(context.Background())
		case 2:
			nstest.Run(t, "sh", "-c", "ip nexthop flush >/dev/null 2>&1; true")
			f.Resync(context.Background())
		}
		a := f.Apply(context.Background(), uint64(round), w)
		if a.Err != "" || len(a.Reports) > 0 {
			t.Fatalf("seed %d round %d: %+v", seed, round, a)
		}
		mustAgree(t, f, w)
		if n := writesDuring(f, func() { f.Apply(context.Background(), uint64(round), w) }); n != 0 {
			t.Fatalf("seed %d round %d: %d writes for the same set", seed, round, n)
		}
		for i := range f.t.groups {
			if g := &f.t.groups[i]; g.live && !slices.ContainsFunc(f.cells, func(c cell) bool { return c.obj == int32(i) }) {
				t.Fatalf("seed %d round %d: group %d is used by nothing", seed, round, g.id)
			}
		}
	}
}

func randomSet(rng *rand.Rand) bgp.FIB {
	hops := [][]bgp.NextHop{
		via0, via1, via2, via01, {{Device: "wg0"}, {Device: "wg1"}, {Device: "wg2"}}, {{Device: "wg0", Weight: 5}, {Device: "wg2"}},
	}
	if rng.IntN(3) == 0 {
		hops = hops[:1+rng.IntN(3)] // few sets, many shared
	}
	var out []bgp.Route
	for i := range 40 {
		for _, six := range []bool{false, true} {
			if rng.IntN(3) == 0 {
				continue
			}
			h := hops[rng.IntN(len(hops))]
			if rng.IntN(6) == 0 {
				h = []bgp.NextHop{gw(rng.IntN(3), six)}
			}
			r := bgp.Route{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i / 4), byte(i % 4 * 64), 0}), 16+i%4), Metric: 20, NextHops: h}
			if six {
				r.Prefix = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 13, 0xb8, byte(i)}), 40+i%4*8)
			}
			r.Prefix = r.Prefix.Masked()
			switch rng.IntN(8) {
			case 0:
				r.Type, r.NextHops = bgp.BlackholeRoute, nil
			case 1:
				r.Source = netip.MustParseAddr("10.255.1.1")
				if six {
					r.Source = netip.MustParseAddr("fd00:ff:1::1")
				}
			}
			out = append(out, r)
			if rng.IntN(5) == 0 {
				out = append(out, bgp.Route{Prefix: r.Prefix, Metric: 4000, Type: bgp.BlackholeRoute})
			}
		}
	}
	w := wanted(out...)
	w.Routes = slices.CompactFunc(w.Routes, func(a, b bgp.Route) bool { return a.Prefix == b.Prefix && a.Metric == b.Metric })
	return w
}

func TestForeignRouteThatComesUnseenIsNotOverwritten(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	f := newFIB(t, Options{})
	mustApply(t, f, wanted(route("10.9.0.0/16", via0...)))
	settle(f)
	// The monitor is deaf to our table: nobody tells about what comes now.
	if err := f.mon.raw.Control(func(fd uintptr) { _ = attachFilter(int(fd), f.conn.pid, 1) }); err != nil {
		t.Fatal(err)
	}
	nstest.Run(t, "ip", "route", "add", "10.1.0.0/16", "dev", "wg2", "table", "1179", "metric", "20", "proto", "static")
	nstest.Run(t, "ip", "-6", "route", "add", "2001:db8:1::/48", "dev", "wg2", "table", "1179", "metric", "20", "proto", "static")
	a := f.Apply(context.Background(), 1, wanted(route("10.1.0.0/16", via0...), route("10.9.0.0/16", via0...), route("2001:db8:1::/48", via0...)))
	if a.Err != "" || len(a.Reports) != 2 || a.Reports[0].Status != bgp.RouteShadowed || a.Reports[1].Status != bgp.RouteShadowed {
		t.Errorf("got %+v, want two shadowed", a)
	}
	out := nstest.Run(t, "ip", "route", "show", "table", "1179", "proto", "static") + nstest.Run(t, "ip", "-6", "route", "show", "table", "1179", "proto", "static")
	if strings.Count(out, "dev wg2") != 2 {
		t.Errorf("foreign routes: %q", out)
	}
}
