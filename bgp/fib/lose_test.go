package fib

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// backedUp lists next hops of which those from n on are backups.
func backedUp(n int, hops ...bgp.NextHop) []bgp.NextHop {
	for i := range hops {
		hops[i].Backup = i >= n
	}
	return hops
}

// sees checks that all routes lead by the given next hops, whatever is wanted.
func sees(t *testing.T, routes []bgp.Route, hops ...bgp.NextHop) {
	t.Helper()
	now := slices.Clone(routes)
	for i := range now {
		now[i].NextHops = hops
	}
	mustAgree(t, nil, benchWanted(now))
}

// notifications counts what the kernel tells listeners about routes and next hops
// while fn runs.
func notifications(t *testing.T, fn func()) (routes, nextHops int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	setReceiveBuffer(fd, 64<<20)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	for _, g := range []int{unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_NEXTHOP} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			t.Fatal(err)
		}
	}
	fn()
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EAGAIN {
			return routes, nextHops
		}
		if err != nil {
			t.Fatal(err)
		}
		for b := buf[:n]; len(b) > 0; {
			h, _, rest, err := nextMessage(b)
			if err != nil {
				t.Fatal(err)
			}
			b = rest
			switch h.typ {
			case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
				routes++
			case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
				nextHops++
			}
		}
	}
}

func TestLossMovesAllRoutesToTheirBackupByOneMessage(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	ctx := context.Background()
	for _, six := range []bool{false, true} {
		for _, n := range []int{10, 5000} {
			f := newFIB(t, Options{})
			hops := backedUp(1, gw(0, six), gw(1, six))
			w := benchWanted(many(n, six, hops))
			mustApply(t, f, w)
			lost := []bgp.NextHop{gw(0, six)}
			var writes uint64
			routes, nextHops := notifications(t, func() {
				writes = writesDuring(f, func() {
					if err := f.Lose(ctx, 1, lost); err != nil {
						t.Fatal(err)
					}
				})
			})
			if writes != 1 || routes != 0 || nextHops != 1 {
				t.Errorf("IPv6 %v, %d routes: got %d requests, notifications of %d routes and %d next hops; want 1, 0, 1", six, n, writes, routes, nextHops)
			}
			sees(t, w.Routes, gw(1, six))

			// The plan that follows finds everything done.
			after := benchWanted(many(n, six, []bgp.NextHop{gw(1, six)}))
			after.Lost = lost
			if k := writesDuring(f, func() { f.Apply(ctx, 2, after) }); k != 0 {
				t.Errorf("IPv6 %v, %d routes: the plan after it wrote %d times, want 0", six, n, k)
			}
			if k := writesDuring(f, func() { f.Apply(ctx, 3, w) }); k != 1 {
				t.Errorf("IPv6 %v, %d routes: the way back took %d requests, want 1", six, n, k)
			}
			sees(t, w.Routes, gw(0, six))
			mustApply(t, f, benchWanted(nil))
			if out := nstest.Run(t, "ip", "nexthop"); out != "" {
				t.Errorf("left behind: %s", out)
			}
		}
	}
}

func TestLossKeepsTheNextHopsThatAreLeft(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	ctx := context.Background()
	lose := func(f *FIB, lost ...bgp.NextHop) uint64 {
		return writesDuring(f, func() {
			if err := f.Lose(ctx, 1, lost); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, six := range []bool{false, true} {
		f := newFIB(t, Options{})
		w := benchWanted(many(100, six, backedUp(2, gw(0, six), gw(1, six), gw(2, six))))
		mustApply(t, f, w)
		if n := lose(f, gw(0, six)); n != 1 {
			t.Errorf("IPv6 %v: one of two: got %d requests, want 1", six, n)
		}
		sees(t, w.Routes, gw(1, six))
		if n := lose(f, gw(0, six), gw(1, six)); n != 1 {
			t.Errorf("IPv6 %v: the other: got %d requests, want 1", six, n)
		}
		sees(t, w.Routes, gw(2, six))
		if n := lose(f, gw(0, six), gw(1, six), gw(2, six)); n != 0 {
			t.Errorf("IPv6 %v: the last: got %d requests, want 0: nothing is better", six, n)
		}
		sees(t, w.Routes, gw(2, six))
		lose(f)
		sees(t, w.Routes, gw(0, six), gw(1, six))
		mustApply(t, f, benchWanted(nil))
	}
}

// between calls do before the n-th batch of a write.
type between struct {
	context.Context
	batches, n int
	do         func()
}

func (c *between) Err() error {
	if c.batches++; c.batches == c.n {
		c.do()
	}
	return nil
}

func TestLossDoesNotWaitForTheEndOfALongWrite(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	for _, six := range []bool{false, true} {
		f := newFIB(t, Options{})
		w := benchWanted(many(40*batchSize, six, backedUp(1, gw(0, six), gw(1, six))))
		done := make(chan error, 1)
		ctx := &between{Context: context.Background(), n: 20}
		at := 0 // batch of the write after which the loss was dealt with
		loss := &between{Context: context.Background(), n: 1, do: func() { at = ctx.batches }}
		ctx.do = func() {
			go func() { done <- f.Lose(loss, 1, []bgp.NextHop{gw(0, six)}) }()
			for f.losing.Load() == 0 {
				runtime.Gosched()
			}
		}
		f.Apply(ctx, 1, w)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if at != ctx.n {
			t.Errorf("IPv6 %v: the loss was dealt with after batch %d of %d, want %d", six, at, ctx.batches, ctx.n)
		}
		sees(t, w.Routes, gw(1, six))
		mustApply(t, f, benchWanted(nil))
	}
}

func TestLossHoldsUntilThePlanAfterIt(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	ctx := context.Background()
	f := newFIB(t, Options{})
	w := benchWanted(many(10, false, backedUp(1, gw(0, false), gw(1, false))))
	f.Apply(ctx, 4, w)
	if err := f.Lose(ctx, 5, []bgp.NextHop{gw(0, false)}); err != nil {
		t.Fatal(err)
	}
	f.Apply(ctx, 5, w) // was made before the loss was known
	f.Repair(ctx)
	f.Resync(ctx)
	sees(t, w.Routes, gw(1, false))
	list, err := f.List(ctx)
	if err != nil || slices.ContainsFunc(list, func(r KernelRoute) bool { return !r.InSync }) {
		t.Errorf("routes on their backup are in order: got %+v, %v", list, err)
	}
	f.Apply(ctx, 6, w)
	sees(t, w.Routes, gw(0, false))
}

func TestLossIsOneMessageForEachSetOfNextHopsAfterARestartToo(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	ctx := context.Background()
	for _, six := range []bool{false, true} {
		routes := many(300, six, nil)
		for i := range routes {
			routes[i].NextHops = backedUp(1, gw(0, six), gw(1+i%2, six))
		}
		w := benchWanted(routes)
		mustApply(t, newFIB(t, Options{}), w)
		f := newFIB(t, Options{})
		if n := writesDuring(f, func() { mustApply(t, f, w) }); n != 0 {
			t.Errorf("IPv6 %v: adopting wrote %d times, want 0", six, n)
		}
		if n := writesDuring(f, func() {
			if err := f.Lose(ctx, 1, []bgp.NextHop{gw(0, six)}); err != nil {
				t.Fatal(err)
			}
		}); n != 2 {
			t.Errorf("IPv6 %v: got %d requests, want 2", six, n)
		}
		now := slices.Clone(routes)
		for i := range now {
			now[i].NextHops = []bgp.NextHop{gw(1+i%2, six)}
		}
		mustAgree(t, f, benchWanted(now))
		mustApply(t, f, benchWanted(nil))
	}
}

// What an earlier version left shares objects between groups: a loss must not
// touch the routes of the other group.
func TestObjectsSharedByGroupsAreLetAlone(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	base := baseFor(testTable)
	var b strings.Builder
	fmt.Fprintf(&b, "nexthop add id %d via 10.255.0.2 dev wg0 onlink proto bgp\nnexthop add id %d via 10.255.1.2 dev wg1 onlink proto bgp\n", base+1, base+2)
	fmt.Fprintf(&b, "nexthop add id %d group %d type resilient buckets 256 proto bgp\n", base+idsPerKind+1, base+1)
	fmt.Fprintf(&b, "nexthop add id %d group %d/%d type resilient buckets 256 proto bgp\n", base+idsPerKind+2, base+1, base+2)
	fmt.Fprintf(&b, "route add 10.1.0.0/16 nhid %d table %d proto bgp metric 20\nroute add 10.2.0.0/16 nhid %d table %d proto bgp metric 20\n",
		base+idsPerKind+1, testTable, base+idsPerKind+2, testTable)
	for line := range strings.Lines(b.String()) {
		nstest.Run(t, append([]string{"ip"}, strings.Fields(line)...)...)
	}
	f := newFIB(t, Options{})
	w := wanted(route("10.1.0.0/16", backedUp(1, gw(0, false), gw(2, false))...), route("10.2.0.0/16", gw(0, false), gw(1, false)))
	before := nstest.Run(t, "ip", "nexthop")
	mustApply(t, f, w)
	if after := nstest.Run(t, "ip", "nexthop"); after != before {
		t.Errorf("adopting changed the objects:\n%swant\n%s", after, before)
	}
	if err := f.Lose(context.Background(), 1, []bgp.NextHop{gw(0, false)}); err != nil {
		t.Fatal(err)
	}
	mustAgree(t, f, wanted(route("10.1.0.0/16", gw(2, false)), route("10.2.0.0/16", gw(1, false))))
	mustApply(t, f, wanted())
	if out := nstest.Run(t, "ip", "nexthop"); out != "" {
		t.Errorf("left behind: %s", out)
	}
}

// TestPacketsFollowALoss sends by sockets that remember their way, too.
func TestPacketsFollowALoss(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	for _, six := range []bool{false, true} {
		t.Run(familyName(six), func(t *testing.T) {
			fl := newFlows(t, l, six)
			fl.renew(t)
			to := map[bool]string{false: "10.2.0.0/16", true: "2001:db8:2::/48"}[six]
			f := newFIB(t, Options{})
			mustApply(t, f, wanted(route(to, backedUp(1, gw(0, six), gw(1, six))...)))
			if n := shares(fl.ways(t)); n != [3]int{flowCount, 0, 0} {
				t.Fatalf("before: got %v", n)
			}
			if err := f.Lose(context.Background(), 1, []bgp.NextHop{gw(0, six)}); err != nil {
				t.Fatal(err)
			}
			if n := shares(fl.ways(t)); n != [3]int{0, flowCount, 0} {
				t.Errorf("after: got %v, want all at the second", n)
			}
			mustApply(t, f, wanted())
		})
	}
}
