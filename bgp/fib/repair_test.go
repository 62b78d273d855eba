package fib

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

func TestECMPShrinksInOneMessageForAnyNumberOfRoutes(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	for _, six := range []bool{false, true} {
		f := newFIB(t, Options{})
		hops := []bgp.NextHop{gw(0, six), gw(1, six), gw(2, six)}
		three := benchWanted(many(5000, six, hops))
		mustApply(t, f, three)
		two := benchWanted(many(5000, six, hops[:2]))
		if n := writesDuring(f, func() { mustApply(t, f, two) }); n != 1 {
			t.Errorf("IPv6 %v, lost a member: got %d writes, want 1", six, n)
		}
		if n := writesDuring(f, func() { mustApply(t, f, three) }); n != 2 {
			t.Errorf("IPv6 %v, member back: got %d writes, want 2 (next hop and group)", six, n)
		}
		elsewhere := benchWanted(many(5000, six, []bgp.NextHop{{Device: "wg2"}}))
		if n := writesDuring(f, func() { mustApply(t, f, elsewhere) }); n > 6 {
			t.Errorf("IPv6 %v, all routes elsewhere: got %d writes, want no route message", six, n)
		}
		// The others stay where they are when some leave.
		split := benchWanted(slices.Clone(elsewhere.Routes))
		for i := range 100 {
			split.Routes[i].NextHops = hops[:1]
		}
		if n := writesDuring(f, func() { mustApply(t, f, split) }); n != 102 {
			t.Errorf("IPv6 %v, a hundred routes elsewhere: got %d writes, want 102", six, n)
		}
		mustApply(t, f, benchWanted(nil))
		if out := nstest.Run(t, "ip", "nexthop"); out != "" {
			t.Errorf("IPv6 %v: next hops left behind: %s", six, out)
		}
		_ = f.Close()
	}
}

func TestTableIsBackAfterALinkFlap(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	f := newFIB(t, Options{})
	// Gateways of IPv6 are on-link by flag: the kernel drops the address of a
	// device that goes down, and nobody adds it again here.
	w := wanted(append(many(2000, false, via0), append(many(2000, true, via01), route("10.3.0.0/16", gw(0, false)), blackhole("10.0.0.0/8"))...)...)
	mustApply(t, f, w)
	follow(t, f)
	for range 3 {
		nstest.Run(t, "ip", "link", "set", "wg0", "down")
		nstest.Eventually(t, 2*time.Second, func() error {
			for _, l := range kernelRoutes(t, testTable) {
				if strings.Contains(l, "@wg0") {
					return fmt.Errorf("still over wg0: %s", l)
				}
			}
			return nil
		})
		nstest.Run(t, "ip", "link", "set", "wg0", "up")
		eventually(t, 2*time.Second, f, w)
	}
}

func TestMissingDeviceIsReportedAndUsedWhenItComes(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	f := newFIB(t, Options{})
	w := wanted(route("10.1.0.0/16", via0...), route("10.2.0.0/16", bgp.NextHop{Device: "wg9"}),
		route("10.3.0.0/16", bgp.NextHop{Device: "wg0"}, bgp.NextHop{Device: "wg9"}))
	a := f.Apply(context.Background(), 7, w)
	want := []bgp.RouteReport{{Prefix: netip.MustParsePrefix("10.2.0.0/16"), Metric: 20, Status: bgp.RouteNoDevice, Detail: "wg9: no such device"}}
	if a.Gen != 7 || !slices.Equal(a.Reports, want) {
		t.Fatalf("got gen %d reports %+v, want gen 7 %+v", a.Gen, a.Reports, want)
	}
	mustAgree(t, f, wanted(route("10.1.0.0/16", via0...), route("10.3.0.0/16", via0...)))
	if n := writesDuring(f, func() { f.Apply(context.Background(), 8, w) }); n != 0 {
		t.Errorf("device still missing: want 0 writes, got %d", n)
	}
	follow(t, f)
	nstest.Run(t, "ip", "link", "add", "wg9", "type", "veth", "peer", "name", "far9")
	nstest.Run(t, "ip", "link", "set", "far9", "up")
	nstest.Run(t, "ip", "link", "set", "wg9", "up")
	eventually(t, 2*time.Second, f, w)
	nstest.Run(t, "ip", "link", "del", "wg9")
	eventually(t, 2*time.Second, f, wanted(route("10.1.0.0/16", via0...), route("10.3.0.0/16", via0...)))
	a = f.Resync(context.Background())
	if !slices.Equal(a.Reports, want) {
		t.Errorf("device gone again: got %+v, want %+v", a.Reports, want)
	}
}

func TestEverythingDeletedByOthersComesBack(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	f := newFIB(t, Options{})
	w := wanted(append(many(500, false, via01), basicRoutes()...)...)
	mustApply(t, f, w)
	follow(t, f)
	rules := nstest.Run(t, "ip", "rule") + nstest.Run(t, "ip", "-6", "rule")
	for _, attack := range []string{
		"ip route flush table 1179 proto bgp",
		"ip -6 route flush table 1179 proto bgp",
		"ip nexthop flush",
		"ip route del 10.1.0.0/16 table 1179",
		"ip route replace 10.1.0.0/16 dev wg2 metric 20 table 1179 proto bgp",
		"ip route append 10.1.0.0/16 dev wg2 metric 20 table 1179 proto bgp",
		"ip -6 route append 2001:db8:1::/48 via fd00:ff:2::2 metric 20 table 1179 proto bgp",
		"ip rule del pref 20003",
		"ip -6 rule del pref 20000",
		"ip rule flush; ip rule add pref 32766 lookup main; ip rule add pref 32767 lookup default",
		"ip route add 10.77.0.0/16 dev wg2 table 1179 proto bgp",
		"ip rule add pref 20002 lookup 1179 protocol bgp",
	} {
		nstest.Run(t, "sh", "-c", attack)
		nstest.Eventually(t, 2*time.Second, func() error {
			got := kernelRoutes(t, testTable)
			var want []string
			for _, r := range w.Routes {
				want = append(want, canonical(r))
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("after %q: %d routes, want %d\n%s", attack, len(got), len(want), strings.Join(got[max(0, len(got)-12):], "\n"))
			}
			if now := nstest.Run(t, "ip", "rule") + nstest.Run(t, "ip", "-6", "rule"); now != rules {
				return fmt.Errorf("after %q: rules\n%s\nwant\n%s", attack, now, rules)
			}
			return nil
		})
	}
}

func TestOverflowOfEventsLeadsToAFullResync(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	f := newFIB(t, Options{MonitorBuffer: 1})
	w := wanted(append(many(200, false, via0), route("198.18.0.0/15", via1...))...)
	mustApply(t, f, w)
	settle(f)
	// Nobody reads events during the storm: the lock makes the monitor wait.
	f.mon.mu.Lock()
	storm := exec.Command("ip", "-batch", "-")
	var in strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&in, "route add 198.18.%d.%d/32 dev wg2\n", i/256, i%256)
	}
	in.WriteString("route flush table 1179 proto bgp\n")
	storm.Stdin = strings.NewReader(in.String())
	out, err := storm.CombinedOutput()
	f.mon.mu.Unlock()
	if err != nil {
		t.Fatalf("storm: %v %s", err, out)
	}
	follow(t, f)
	eventually(t, 3*time.Second, f, w)
	if n := f.Counters().Overflows.Load(); n == 0 {
		t.Error("no overflow counted: the test did not force one")
	}
	if out := nstest.Run(t, "ip", "route", "show", "dev", "wg2", "table", "main"); strings.Count(out, "\n") < 3000 {
		t.Errorf("foreign routes gone: %d left", strings.Count(out, "\n"))
	}
}

func TestRestartAdoptsWithoutAWriteAndSweepsOnlyWhenComplete(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	first := newFIB(t, Options{})
	w := wanted(append(many(3000, true, via01), basicRoutes()...)...)
	mustApply(t, first, w)
	// A history that leaves groups under other ids than a fresh process would choose.
	moved := wanted(slices.Clone(w.Routes)...)
	for i := range moved.Routes {
		if slices.Equal(moved.Routes[i].NextHops, via01) {
			moved.Routes[i].NextHops = via2
		}
	}
	mustApply(t, first, moved)
	_ = first.Close()

	second := newFIB(t, Options{})
	if n := writesDuring(second, func() { mustApply(t, second, moved) }); n != 0 {
		t.Errorf("fresh process, same set: got %d writes, want 0", n)
	}
	_ = second.Close()

	third := newFIB(t, Options{})
	half := wanted(slices.Clone(moved.Routes[:len(moved.Routes)/2])...)
	half.Complete = false
	if n := writesDuring(third, func() { third.Apply(context.Background(), 1, half) }); n != 0 {
		t.Errorf("fresh process, not complete: got %d writes, want 0", n)
	}
	mustAgree(t, third, moved)
	fewer := half
	fewer.Routes = half.Routes[:len(half.Routes)-1]
	if n := writesDuring(third, func() { third.Apply(context.Background(), 2, fewer) }); n != 1 {
		t.Errorf("one wanted no more, not complete: got %d writes, want 1", n)
	}
	fewer.Complete = true
	mustApply(t, third, fewer)
	mustApply(t, third, wanted())
	if out := nstest.Run(t, "ip", "nexthop"); out != "" {
		t.Errorf("next hops left: %s", out)
	}
}

func TestInterruptedDumpsAreRetried(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	f := newFIB(t, Options{})
	routes := many(2000, true, nil)
	for i := range routes { // as many next-hop objects: their dump takes many messages
		routes[i].NextHops = []bgp.NextHop{{Gateway: netip.AddrFrom16([16]byte{0xfd, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, byte(i >> 8), byte(i)}), Device: "wg0"}}
	}
	w := wanted(routes...)
	mustApply(t, f, w)
	other, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	dev, err := f.linkByIndex(f.t.links["wg2"].index)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() { // somebody else churns next hops all the time
		defer close(done)
		b := &batch{c: other, done: func(op, error) {}}
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			m, seq := b.next(op{})
			m.setObject(seq, 5, 4, &way{unix.AF_INET, netip.Addr{}, dev.index}, false)
			m, seq = b.next(op{})
			m.delNextHop(seq, 5)
			_ = b.flush(context.Background())
		}
	}()
	for range 30 {
		if n := writesDuring(f, func() {
			if a := f.Resync(context.Background()); a.Err != "" || len(a.Reports) > 0 {
				t.Errorf("resync under churn: %+v", a)
			}
		}); n != 0 {
			t.Errorf("resync under churn saw a wrong kernel: %d writes", n)
		}
	}
	close(stop)
	<-done
	if f.conn.retried.Load() == 0 {
		t.Error("no dump was interrupted: the test did not churn enough")
	}
}

func TestChangedTableMovesEverything(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	f := newFIB(t, Options{})
	w := wanted(basicRoutes()...)
	mustApply(t, f, w)
	w.Table, w.RulePref = 300, 21000
	mustApply(t, f, w)
	if got := kernelRoutes(t, testTable); len(got) > 0 {
		t.Errorf("left in the old table: %v", got)
	}
	for _, fam := range []string{"-4", "-6"} {
		if out := nstest.Run(t, "ip", fam, "rule"); strings.Count(out, "\n2") != 4 || strings.Contains(out, "2000") {
			t.Errorf("rules: %s", out)
		}
	}
}
