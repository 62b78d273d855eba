package fib

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// many makes n routes over the given next hops, sorted.
func many(n int, six bool, nhs []bgp.NextHop) []bgp.Route {
	out := make([]bgp.Route, n)
	for i := range out {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(11 + i>>16), byte(i >> 8), byte(i), 0}), 24)
		if six {
			a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
			binary.BigEndian.PutUint32(a[4:], uint32(i))
			p = netip.PrefixFrom(netip.AddrFrom16(a), 64)
		}
		out[i] = bgp.Route{Prefix: p, Metric: 20, NextHops: nhs}
	}
	return out
}

func benchWanted(routes []bgp.Route) bgp.FIB {
	w := wanted()
	w.Routes = routes
	return w
}

func familyName(six bool) string {
	if six {
		return "IPv6"
	}
	return "IPv4"
}

// apply1 applies and fails unless everything is installed.
func apply1(b testing.TB, f *FIB, w bgp.FIB) time.Duration {
	b.Helper()
	start := time.Now()
	a := f.Apply(context.Background(), 1, w)
	d := time.Since(start)
	if a.Err != "" || len(a.Reports) > 0 {
		b.Fatalf("err %q, %d reports", a.Err, len(a.Reports))
	}
	return d
}

// ipBatch adds the same routes by ip -batch, the way an operator would script.
func ipBatch(b testing.TB, routes []bgp.Route, six bool) time.Duration {
	b.Helper()
	var in bytes.Buffer
	hop := gw(0, six)
	for _, r := range routes {
		fmt.Fprintf(&in, "route add %s via %s dev %s table 4242 proto 77 metric %d\n", r.Prefix, hop.Gateway, hop.Device, r.Metric)
	}
	fam := map[bool]string{false: "-4", true: "-6"}[six]
	cmd := exec.Command("ip", fam, "-batch", "-")
	cmd.Stdin = &in
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("ip -batch: %v %s", err, out)
	}
	d := time.Since(start)
	nstest.Run(b, "ip", fam, "route", "flush", "table", "4242")
	return d
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// BenchmarkRoutesIntoKernel compares the whole of Apply with ip -batch in the
// same run; x_ip_batch is the ratio of medians.
func BenchmarkRoutesIntoKernel(b *testing.B) {
	if !nstest.Isolate(b) {
		return
	}
	newLab(b)
	CheckSysctls(nil, SysctlSet)
	for _, six := range []bool{false, true} {
		for _, n := range []int{10_000, 100_000} {
			f := newFIB(b, Options{})
			routes := many(n, six, []bgp.NextHop{gw(0, six)})
			runs := 5
			if n >= 100_000 {
				runs = 3
			}
			var ours, theirs []time.Duration
			for range runs {
				apply1(b, f, benchWanted(nil))
				theirs = append(theirs, ipBatch(b, routes, six))
				ours = append(ours, apply1(b, f, benchWanted(routes)))
			}
			unchanged := time.Duration(1 << 62)
			for range 5 {
				unchanged = min(unchanged, apply1(b, f, benchWanted(slices.Clone(routes))))
			}
			apply1(b, f, benchWanted(nil))
			_ = f.Close()
			o, t := median(ours), median(theirs)
			fmt.Printf("BenchmarkRoutesIntoKernel/%s/%d 1 %d ns/op %.2f x_ip_batch %.1f ms_ip_batch %.2f ms_unchanged\n",
				familyName(six), n, o.Nanoseconds(), float64(t)/float64(o), t.Seconds()*1e3, unchanged.Seconds()*1e3)
		}
	}
}

// BenchmarkLoseECMPMember measures from the call of Apply until the kernel
// forwards every one of 100,000 routes over the surviving member.
func BenchmarkLoseECMPMember(b *testing.B) {
	if !nstest.Isolate(b) {
		return
	}
	newLab(b)
	CheckSysctls(nil, SysctlSet)
	const n = 100_000
	for _, six := range []bool{false, true} {
		for _, kept := range []bool{false, true} {
			f := newFIB(b, Options{})
			hops := []bgp.NextHop{gw(0, six), gw(1, six)}
			both, one := many(n, six, hops), many(n, six, hops[1:])
			if kept { // the lost next hop goes on serving one other route
				extra := route("192.0.2.0/24", gw(0, six))
				if six {
					extra = route("2001:db9::/48", gw(0, six))
				}
				both, one = append(both, extra), append(one, extra)
			}
			var lost, moved []time.Duration
			for range 5 {
				apply1(b, f, benchWanted(both))
				lost = append(lost, apply1(b, f, benchWanted(one)))
				apply1(b, f, benchWanted(both))
				away := slices.Clone(one)
				third := []bgp.NextHop{gw(2, six)}
				for i := range n {
					away[i].NextHops = third
				}
				moved = append(moved, apply1(b, f, benchWanted(away)))
			}
			apply1(b, f, benchWanted(nil))
			_ = f.Close()
			fmt.Printf("BenchmarkLoseECMPMember/%s/nexthop_still_used=%v 1 %d ns/op %.2f ms_lost_max %.2f ms_moved_elsewhere\n",
				familyName(six), kept, median(lost).Nanoseconds(), slices.Max(lost).Seconds()*1e3, median(moved).Seconds()*1e3)
		}
	}
}

// BenchmarkMemory reports what the mirror of 100,000 routes costs beside the
// caller's slice.
func BenchmarkMemory(b *testing.B) {
	if !nstest.Isolate(b) {
		return
	}
	newLab(b)
	f := newFIB(b, Options{})
	routes := many(100_000, false, via0)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	apply1(b, f, benchWanted(routes))
	apply1(b, f, benchWanted(slices.Clone(routes)))
	routes = nil
	runtime.GC()
	runtime.ReadMemStats(&after)
	_ = routes
	fmt.Printf("BenchmarkMemory/100000 1 %d B/100k_routes\n", int64(after.HeapAlloc)-int64(before.HeapAlloc))
}

// BenchmarkLose measures from the call of Lose until the kernel forwards every one
// of so many routes by their backup.
func BenchmarkLose(b *testing.B) {
	if !nstest.Isolate(b) {
		return
	}
	newLab(b)
	for _, six := range []bool{false, true} {
		for _, n := range []int{10, 10_000, 100_000} {
			f := newFIB(b, Options{})
			w := benchWanted(many(n, six, backedUp(1, gw(0, six), gw(1, six))))
			apply1(b, f, w)
			var lost []time.Duration
			for range 21 {
				begin := time.Now()
				if err := f.Lose(context.Background(), 1, []bgp.NextHop{gw(0, six)}); err != nil {
					b.Fatal(err)
				}
				lost = append(lost, time.Since(begin))
				if err := f.Lose(context.Background(), 1, nil); err != nil {
					b.Fatal(err)
				}
			}
			apply1(b, f, benchWanted(nil))
			_ = f.Close()
			fmt.Printf("BenchmarkLose/%s/%d 1 %d ns/op %.3f ms_min %.2f ms_max\n",
				familyName(six), n, median(lost).Nanoseconds(), slices.Min(lost).Seconds()*1e3, slices.Max(lost).Seconds()*1e3)
		}
	}
}
