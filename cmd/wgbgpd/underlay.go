package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/wgbgp/wgbgp/ha"
)

// Addresses that only a default route leads to: TEST-NET-2 (RFC 5737) and the
// benchmarking prefix (RFC 5180).
var (
	somewhere4 = netip.MustParseAddr("198.51.100.1")
	somewhere6 = netip.MustParseAddr("2001:2::1")
)

const (
	// underlayEvery is how often the kernel is asked for the way there even if it
	// tells of no change, as with routes that are half a default route each.
	underlayEvery = time.Second
	// underlayAgain is when it is asked once more after it told of one: routes
	// go a moment after their device.
	underlayAgain = 50 * time.Millisecond
)

// watchUnderlay tells the core whether tunnel packets have a default route, when
// that is not what it was told last.
func (g *gateway) watchUnderlay(ctx context.Context, every time.Duration) error {
	var told *ha.UnderlayObserved
	look := func() {
		p := g.fibEdge.latest.Load()
		if p == nil {
			return
		}
		leads := func(a netip.Addr) bool {
			r, err := g.fib.Lookup(a, p.FIB.Mark)
			return err == nil && r.Type == "unicast"
		}
		if now := (ha.UnderlayObserved{Default4: leads(somewhere4), Default6: leads(somewhere6)}); told == nil || *told != now {
			g.inbox.put(now)
			told = &now
		}
	}
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		look()
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-g.fib.Underlay():
			look()
			wait(ctx, underlayAgain)
		}
		timer.Reset(every)
	}
}
