package fib

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

func basicRoutes() []bgp.Route {
	r := []bgp.Route{
		route("10.1.0.0/16", via0...), route("10.2.0.0/16", via01...), route("10.3.0.0/16", gw(2, false)),
		blackhole("10.0.0.0/8"),
		route("2001:db8:1::/48", via0...), route("2001:db8:2::/48", via01...), route("2001:db8:3::/48", gw(2, true)),
		blackhole("2001:db8::/32"),
		route("10.4.0.0/16", bgp.NextHop{Device: "wg0", Weight: 3}, bgp.NextHop{Device: "wg2"}),
		route("10.5.0.0/16", gw(1, true)), // IPv4 over an IPv6 next hop
	}
	src := route("10.6.0.0/16", via0...)
	src.Source = netip.MustParseAddr("10.255.1.1")
	src6 := route("2001:db8:6::/48", via0...)
	src6.Source = netip.MustParseAddr("fd00:ff:1::1")
	second := route("10.6.0.0/16", via1...)
	second.Metric = 30
	return append(r, src, src6, second)
}

func TestRoutesReachTheKernelAndUnchangedSetWritesNothing(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	f := newFIB(t, Options{})
	w := wanted(basicRoutes()...)
	mustApply(t, f, w)
	if n := writesDuring(f, func() { mustApply(t, f, w) }); n != 0 {
		t.Errorf("same set again: want 0 writes, got %d", n)
	}
	w.Routes = slices.Clone(w.Routes)
	for i := range w.Routes {
		w.Routes[i].NextHops = slices.Clone(w.Routes[i].NextHops)
	}
	if n := writesDuring(f, func() { mustApply(t, f, w) }); n != 0 {
		t.Errorf("equal set in other memory: want 0 writes, got %d", n)
	}
	if n := writesDuring(f, func() { f.Resync(context.Background()) }); n != 0 {
		t.Errorf("resync of a kernel in order: want 0 writes, got %d", n)
	}
	settle(f)
	if n := f.Counters().Resyncs.Load(); n > 3 {
		t.Errorf("own writes must not be seen as events: %d resyncs", n)
	}
	list, err := f.List(context.Background())
	if err != nil || len(list) != len(w.Routes) {
		t.Fatalf("List: %d routes, %v; want %d", len(list), err, len(w.Routes))
	}
	for i, k := range list {
		if !k.InSync || canonical(k.Route) != canonical(w.Routes[i]) {
			t.Errorf("List[%d]: got %s in sync %v, want %s", i, canonical(k.Route), k.InSync, canonical(w.Routes[i]))
		}
	}
}

func TestPacketsFollowTheRoutes(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	l.b.Run(t, "ip", "addr", "add", "10.2.0.1/32", "dev", "lo")
	l.b.Run(t, "ip", "addr", "add", "2001:db8:2::1/128", "dev", "lo", "nodad")
	f := newFIB(t, Options{})
	mustApply(t, f, wanted(route("10.2.0.0/16", gw(1, false)), route("2001:db8:2::/48", gw(1, true))))
	for _, dst := range []string{"10.2.0.1", "2001:db8:2::1"} {
		if out := l.a.Run(t, "ping", "-c1", "-W3", dst); !strings.Contains(out, "1 received") {
			t.Errorf("ping %s: %s", dst, out)
		}
	}
}

func TestLookupExplainsTheWay(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	f := newFIB(t, Options{})
	mustApply(t, f, wanted(route("10.2.0.0/16", gw(1, false)), blackhole("10.0.0.0/8"),
		route("2001:db8:2::/48", gw(1, true)), blackhole("2001:db8::/32")))
	for addr, want := range map[string]LookupResult{
		"10.2.0.9":        {Type: "unicast", Prefix: netip.MustParsePrefix("10.2.0.0/16"), Device: "wg1", Gateway: gw(1, false).Gateway, Ours: true},
		"2001:db8:2::9":   {Type: "unicast", Prefix: netip.MustParsePrefix("2001:db8:2::/48"), Device: "wg1", Gateway: gw(1, true).Gateway, Ours: true},
		"10.9.9.9":        {Type: "blackhole"},
		"2001:db8:9::9":   {Type: "blackhole"},
		"192.0.2.1":       {Type: "unreachable"},
		"10.255.2.2":      {Type: "unicast", Prefix: netip.MustParsePrefix("10.255.2.0/24"), Device: "wg2"},
		"10.255.2.1":      {Type: "local", Prefix: netip.MustParsePrefix("10.255.2.1/32"), Device: "lo"},
		"fd00:ff:2::2222": {Type: "unicast", Prefix: netip.MustParsePrefix("fd00:ff:2::/64"), Device: "wg2"},
	} {
		got, err := f.Lookup(netip.MustParseAddr(addr), 0)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		got = LookupResult{Type: got.Type, Prefix: got.Prefix, Device: got.Device, Gateway: got.Gateway, Ours: got.Ours}
		if got != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", addr, got, want)
		}
	}
}

func TestTunnelPacketNeverEntersATunnel(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	f := newFIB(t, Options{})
	// The site behind wg1 announces a prefix that covers its own endpoint.
	mustApply(t, f, wanted(route("10.255.0.0/16", via1...), route("198.51.100.0/24", via1...), route("2001:db8::/32", via1...)))
	for _, c := range []struct{ addr, plain, marked string }{
		{"198.51.100.7", "wg1", "unreachable"},
		{"2001:db8::7", "wg1", "unreachable"},
		{"10.255.2.2", "wg2", "wg2"},
	} {
		plain, err := f.Lookup(netip.MustParseAddr(c.addr), 0)
		if err != nil || plain.Device != c.plain {
			t.Errorf("%s unmarked: got %+v %v, want device %s", c.addr, plain, err, c.plain)
		}
		marked, err := f.Lookup(netip.MustParseAddr(c.addr), testMark)
		if err != nil || marked.Device != c.marked && marked.Type != c.marked {
			t.Errorf("%s marked: got %+v %v, want %s", c.addr, marked, err, c.marked)
		}
	}
}

func TestDrainRemovesAllOfOursAndNothingElse(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	nstest.Run(t, "ip", "route", "add", "192.0.2.0/24", "dev", "wg2", "table", "1179", "proto", "static")
	nstest.Run(t, "ip", "nexthop", "add", "id", "7", "dev", "wg2", "proto", "static")
	nstest.Run(t, "ip", "rule", "add", "pref", "20001", "lookup", "77")
	rulesBefore := nstest.Run(t, "ip", "rule")
	f := newFIB(t, Options{})
	mustApply(t, f, wanted(basicRoutes()...))
	if err := f.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := kernelRoutes(t, testTable); len(got) > 0 {
		t.Errorf("routes left: %v", got)
	}
	if got, want := nstest.Run(t, "ip", "rule"), rulesBefore; got != want {
		t.Errorf("rules: got\n%s want\n%s", got, want)
	}
	if got := nstest.Run(t, "ip", "nexthop"); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "id 7 dev wg2") {
		t.Errorf("next hops left: %s", got)
	}
	if got := nstest.Run(t, "ip", "route", "show", "table", "1179"); !strings.Contains(got, "192.0.2.0/24 dev wg2 proto static") {
		t.Errorf("foreign route gone: %q", got)
	}
}

func TestCheckNamesEveryDifference(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	f := newFIB(t, Options{})
	mustApply(t, f, wanted(basicRoutes()...))
	check := func() []string {
		t.Helper()
		out, err := f.Check(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := check(); len(got) > 0 {
		t.Errorf("in order, got %v", got)
	}
	nstest.Run(t, "sh", "-c", `ip route del 10.1.0.0/16 table 1179; ip route replace 10.2.0.0/16 dev wg2 metric 20 table 1179 proto bgp
		ip -6 route add 2001:db8:99::/48 dev wg2 table 1179 proto bgp; ip rule del pref 20001`)
	want := []string{
		"missing: 10.1.0.0/16 metric 20", "differs: 10.2.0.0/16 metric 20", "not wanted: 2001:db8:99::/48 metric 1024",
		"missing: rule 20001: from all fwmark 0x77 unreachable proto bgp",
	}
	if got := check(); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	f.Resync(context.Background())
	if got := check(); len(got) > 0 {
		t.Errorf("repaired, got %v", got)
	}
}
