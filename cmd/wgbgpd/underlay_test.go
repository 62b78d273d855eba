package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/bgp/fib"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// The watch asks by itself once an hour here, so that only what the kernel tells
// can be the reason for a report.
func TestUnderlayIsReportedWhenTheKernelTells(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Veth(t, nil, "eth0", []string{"192.0.2.2/24", "2001:db8::2/64"}, nstest.New(t, "router"), "eth0", []string{"192.0.2.1/24", "2001:db8::1/64"})
	run := func(command string) { nstest.Run(t, strings.Fields(command)...) }
	run("ip route add default via 192.0.2.1")
	run("ip -6 route add default via 2001:db8::1")

	f, err := fib.New(fib.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	const mark = 0x77
	g := &gateway{inbox: newInbox(), fib: f, fibEdge: &edge{}}
	g.fibEdge.latest.Store(&ha.Plan{FIB: bgp.FIB{Mark: mark}})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.watchUnderlay(ctx, time.Hour)
	}()
	t.Cleanup(func() { stop(); <-ended })

	var slowest time.Duration
	got, known := ha.UnderlayObserved{}, false
	reported := func(after string, four, six bool) {
		t.Helper()
		begun := time.Now()
		nstest.Eventually(t, 10*time.Second, func() error {
			for _, fact := range g.inbox.take() {
				got, known = fact.(ha.UnderlayObserved), true
			}
			if want := (ha.UnderlayObserved{Default4: four, Default6: six}); !known || got != want {
				return fmt.Errorf("%s: got %+v (reported: %v), want %+v", after, got, known, want)
			}
			return nil
		})
		slowest = max(slowest, time.Since(begun))
	}
	reported("start", true, true)
	for _, step := range []struct {
		do        string
		four, six bool
	}{
		{"ip route del default", false, true},
		{"ip route add default via 192.0.2.1", true, true},
		{"ip -6 route del default", true, false},
		{"ip -6 route add default via 2001:db8::1", true, true},
		{"ip route replace unreachable default", false, true},
		{"ip route replace default via 192.0.2.1", true, true},
		{"ip link set eth0 down", false, false},
		{"ip link set eth0 up", false, false}, // the kernel has forgotten the routes
		{"ip route add default via 192.0.2.1", true, false},
		{"ip -6 addr replace 2001:db8::2/64 dev eth0", true, false},
		{"ip -6 route add default via 2001:db8::1", true, true},
		// Another table leads out, and later does not any more: as with one table for each network interface.
		{"ip route add default via 192.0.2.1 table 100", true, true},
		{"ip rule add fwmark 0x77 lookup 100 pref 100", true, true},
		{"ip route del default table main", true, true},
		{"ip route del default table 100", false, true},
		{"ip route add default via 192.0.2.1 table 100", true, true},
		{"ip rule del pref 100", false, true},
		// What only packets without the mark of the tunnels follow is no way for the tunnels.
		{"ip rule add not fwmark 0x77 lookup 100 pref 100", false, true},
		{"ip link del eth0", false, false},
	} {
		run(step.do)
		reported("after "+step.do, step.four, step.six)
	}
	t.Logf("figure: the underlay's state is known at most %d ms after it changed", slowest.Milliseconds())
}
