package fib

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

const (
	testTable = 1179
	testMark  = 0x77
)

// lab is a gateway (the isolated namespace itself) with three devices, each to
// a host of its own.
type lab struct {
	a, b, c *nstest.NS
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{nstest.New(t, "a"), nstest.New(t, "b"), nstest.New(t, "c")}
	for i, n := range []*nstest.NS{l.a, l.b, l.c} {
		dev := fmt.Sprintf("wg%d", i)
		nstest.Veth(t, nil, dev, []string{fmt.Sprintf("10.255.%d.1/24", i), fmt.Sprintf("fd00:ff:%d::1/64", i)},
			n, "eth0", []string{fmt.Sprintf("10.255.%d.2/24", i), fmt.Sprintf("fd00:ff:%d::2/64", i)})
		n.Run(t, "ip", "route", "add", "default", "via", fmt.Sprintf("10.255.%d.1", i))
		n.Run(t, "ip", "-6", "route", "add", "default", "via", fmt.Sprintf("fd00:ff:%d::1", i))
	}
	for _, dev := range []string{"wg0", "wg1", "wg2"} {
		awaitDevice(t, dev)
	}
	// With nexthop_compat_mode 1 ip route flush fails on routes that name a group.
	CheckSysctls(nil, SysctlSet)
	return l
}

// awaitDevice waits until the kernel has nothing more to tell of a new device:
// the last is its link-local address.
func awaitDevice(t testing.TB, dev string) {
	t.Helper()
	nstest.Eventually(t, 10*time.Second, func() error {
		var links []struct {
			Addresses []struct {
				Scope     string `json:"scope"`
				Tentative bool   `json:"tentative"`
			} `json:"addr_info"`
		}
		ipJSON(t, &links, "-6", "addr", "show", "dev", dev)
		for _, l := range links {
			for _, a := range l.Addresses {
				if a.Scope == "link" && !a.Tentative {
					return nil
				}
			}
		}
		return fmt.Errorf("%s has no link-local address: %+v", dev, links)
	})
}

func newFIB(t testing.TB, o Options) *FIB {
	t.Helper()
	if testing.Verbose() && o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

var (
	via0  = []bgp.NextHop{{Device: "wg0"}}
	via1  = []bgp.NextHop{{Device: "wg1"}}
	via2  = []bgp.NextHop{{Device: "wg2"}}
	via01 = []bgp.NextHop{{Device: "wg0"}, {Device: "wg1"}}
)

// gw names the far end of wg0..wg2 as a gateway.
func gw(dev int, six bool) bgp.NextHop {
	a := fmt.Sprintf("10.255.%d.2", dev)
	if six {
		a = fmt.Sprintf("fd00:ff:%d::2", dev)
	}
	return bgp.NextHop{Gateway: netip.MustParseAddr(a), Device: fmt.Sprintf("wg%d", dev)}
}

func route(p string, nhs ...bgp.NextHop) bgp.Route {
	return bgp.Route{Prefix: netip.MustParsePrefix(p), Metric: 20, NextHops: nhs}
}

func blackhole(p string) bgp.Route {
	return bgp.Route{Prefix: netip.MustParsePrefix(p), Metric: 4000, Type: bgp.BlackholeRoute}
}

func wanted(routes ...bgp.Route) bgp.FIB {
	slices.SortFunc(routes, func(a, b bgp.Route) int {
		if c := bgp.ComparePrefix(a.Prefix, b.Prefix); c != 0 {
			return c
		}
		return int(a.Metric) - int(b.Metric)
	})
	return bgp.FIB{Table: testTable, Protocol: 186, RulePref: 20000, Mark: testMark, Routes: routes, Complete: true}
}

// mustApply applies and expects every route to be simply installed.
func mustApply(t testing.TB, f *FIB, w bgp.FIB) {
	t.Helper()
	a := f.Apply(context.Background(), 1, w)
	if a.Err != "" || len(a.Reports) > 0 {
		t.Fatalf("want all installed, got err %q, reports %+v", a.Err, a.Reports)
	}
	mustAgree(t, f, w)
}

// mustAgree compares the wanted routes with what ip(8) says.
func mustAgree(t testing.TB, f *FIB, w bgp.FIB) {
	t.Helper()
	var want []string
	for _, r := range w.Routes {
		want = append(want, canonical(r))
	}
	if got := kernelRoutes(t, w.Table); !slices.Equal(got, want) {
		t.Fatalf("kernel routes\ngot  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func canonical(r bgp.Route) string {
	if r.Type == bgp.BlackholeRoute {
		return fmt.Sprintf("blackhole %s metric %d", r.Prefix, r.Metric)
	}
	var hops []string
	for _, n := range bgp.Primary(r.NextHops) {
		g := ""
		if n.Gateway.IsValid() {
			g = n.Gateway.String()
		}
		hops = append(hops, fmt.Sprintf("%s@%s*%d", g, n.Device, max(n.Weight, 1)))
	}
	slices.Sort(hops)
	src := ""
	if r.Source.IsValid() {
		src = " src " + r.Source.String()
	}
	return fmt.Sprintf("%s metric %d %s%s", r.Prefix, r.Metric, strings.Join(hops, " "), src)
}

// kernelRoutes reads a table's BGP routes with ip(8), resolving next-hop ids by
// ip nexthop: an independent reader.
func kernelRoutes(t testing.TB, table uint32) []string {
	t.Helper()
	type nh struct {
		ID      uint32 `json:"id"`
		Gateway string `json:"gateway"`
		Dev     string `json:"dev"`
		Group   []struct {
			ID     uint32 `json:"id"`
			Weight uint8  `json:"weight"`
		} `json:"group"`
	}
	var nhs []nh
	ipJSON(t, &nhs, "nexthop", "show")
	byID := map[uint32]nh{}
	for _, n := range nhs {
		byID[n.ID] = n
	}
	var out []bgp.Route
	for _, fam := range []string{"-4", "-6"} {
		var rows []struct {
			Type    string `json:"type"`
			Dst     string `json:"dst"`
			Metric  uint32 `json:"metric"`
			NHID    uint32 `json:"nhid"`
			PrefSrc string `json:"prefsrc"`
		}
		ipJSON(t, &rows, fam, "-details", "route", "show", "table", fmt.Sprint(table), "proto", "bgp")
		for _, r := range rows {
			if r.Dst == "default" {
				r.Dst = map[string]string{"-4": "0.0.0.0/0", "-6": "::/0"}[fam]
			}
			p, err := netip.ParsePrefix(r.Dst)
			if err != nil {
				a := netip.MustParseAddr(r.Dst)
				p = netip.PrefixFrom(a, a.BitLen())
			}
			k := bgp.Route{Prefix: p, Metric: r.Metric}
			if r.PrefSrc != "" {
				k.Source = netip.MustParseAddr(r.PrefSrc)
			}
			if r.Type == "blackhole" {
				k.Type = bgp.BlackholeRoute
			}
			for _, m := range byID[r.NHID].Group {
				n := bgp.NextHop{Device: byID[m.ID].Dev, Weight: m.Weight}
				if g := byID[m.ID].Gateway; g != "" {
					n.Gateway = netip.MustParseAddr(g)
				}
				k.NextHops = append(k.NextHops, n)
			}
			out = append(out, k)
		}
	}
	w := wanted(out...)
	var s []string
	for _, r := range w.Routes {
		s = append(s, canonical(r))
	}
	return s
}

func ipJSON(t testing.TB, into any, args ...string) {
	t.Helper()
	cmd := exec.Command("ip", append([]string{"-j"}, args...)...)
	b, err := cmd.CombinedOutput()
	out := string(b)
	if strings.Contains(out, "FIB table does not exist") {
		return
	}
	if err != nil {
		t.Fatalf("ip -j %v: %v %s", args, err, out)
	}
	if strings.TrimSpace(out) == "" {
		return
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("ip -j %v: %v in %q", args, err, out)
	}
}

// writesDuring counts the kernel writes of fn.
func writesDuring(f *FIB, fn func()) uint64 {
	before := f.Counters().Writes.Load()
	fn()
	return f.Counters().Writes.Load() - before
}

// follow repairs on every event, as the daemon does, until the test ends.
func follow(t testing.TB, f *FIB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-f.Events():
				f.Repair(ctx)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func eventually(t testing.TB, within time.Duration, f *FIB, w bgp.FIB) {
	t.Helper()
	var want []string
	for _, r := range w.Routes {
		want = append(want, canonical(r))
	}
	nstest.Eventually(t, within, func() error {
		if got := kernelRoutes(t, w.Table); !slices.Equal(got, want) {
			return fmt.Errorf("kernel routes\ngot  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
		return nil
	})
}

// drained waits until no event is pending.
func settle(f *FIB) {
	for {
		select {
		case <-f.Events():
			f.Repair(context.Background())
		case <-time.After(100 * time.Millisecond):
			return
		}
	}
}
