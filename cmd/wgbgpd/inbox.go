package main

import (
	"net/netip"
	"sync"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
)

// inbox holds facts until the loop takes them. It is keyed by what a fact is
// about: a newer one replaces an older one, so its size is bounded by the
// number of things and not by the number of events.
type inbox struct {
	kick chan struct{} // capacity 1: "look again"

	mu     sync.Mutex
	facts  map[any]int // key -> index in order
	order  []ha.Fact   // in order of first arrival
	paths  map[pathKey]int
	batch  []bgp.PathChange
	steady map[string]int // successes in a row, by probe ID
}

type pathKey struct {
	prefix   netip.Prefix
	neighbor string
}

// Keys of facts that are not named by a string of their own kind.
type (
	deviceKey   string
	probeKey    string
	neighborKey string
	tunnelKey   string
	appliedKey  string
	siteKey     string
)

func newInbox() *inbox {
	return &inbox{kick: make(chan struct{}, 1), facts: map[any]int{}, paths: map[pathKey]int{}, steady: map[string]int{}}
}

func keyOf(f ha.Fact) any {
	switch f := f.(type) {
	case ha.DeviceObserved:
		return deviceKey(f.State.Name)
	case ha.ProbeObserved:
		return probeKey(f.ID)
	case ha.NeighborObserved:
		return neighborKey(f.Name)
	case ha.TunnelObserved:
		return tunnelKey(f.Name)
	case ha.WireGuardApplied:
		return appliedKey("wg:" + f.Device)
	case ha.RoutesApplied:
		return appliedKey("fib")
	case ha.AnnounceApplied:
		return appliedKey("speaker")
	case ha.SiteSet:
		return siteKey(f.Site)
	}
	return f
}

// put adds a fact or replaces the one about the same thing. Probe results are
// the exception: each one counts for rise and fall, so they queue, bounded by
// being taken soon. One more success of a probe that has long succeeded wakes
// nobody: the loop finds it at its next turn, within a second.
func (b *inbox) put(facts ...ha.Fact) {
	b.mu.Lock()
	news := false
	for _, f := range facts {
		switch v := f.(type) {
		case ha.PathsChanged:
			b.putPaths(v.Changes)
			news = true
			continue
		case ha.ProbeObserved:
			news = b.steps(v) || news
			if len(b.order) < maxQueued {
				b.order = append(b.order, f)
				continue
			}
		default:
			news = true
		}
		k := keyOf(f)
		if i, ok := b.facts[k]; ok {
			b.order[i] = f
			continue
		}
		b.facts[k] = len(b.order)
		b.order = append(b.order, f)
	}
	b.mu.Unlock()
	if !news {
		return
	}
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// steadyAfter is more successes than any sensible rise asks for.
const steadyAfter = 10

// steps reports whether a probe result may be news. mu held.
func (b *inbox) steps(r ha.ProbeObserved) bool {
	if !r.OK {
		delete(b.steady, r.ID)
		return true
	}
	n := b.steady[r.ID]
	if n < steadyAfter {
		b.steady[r.ID] = n + 1
	}
	return n < steadyAfter
}

// reconfigured forgets probes that may no longer exist.
func (b *inbox) reconfigured() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.steady)
}

// maxQueued is where single probe results begin to replace each other.
const maxQueued = 1 << 16

func (b *inbox) putPaths(changes []bgp.PathChange) {
	for _, c := range changes {
		k := pathKey{c.Path.Prefix, c.Path.Neighbor}
		if i, ok := b.paths[k]; ok {
			b.batch[i] = c
			continue
		}
		b.paths[k] = len(b.batch)
		b.batch = append(b.batch, c)
	}
}

// take empties the inbox. Paths come last, so that a session's state is known
// before what it brought.
func (b *inbox) take() []ha.Fact {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.order
	if len(b.batch) > 0 {
		out = append(out, ha.PathsChanged{Changes: b.batch})
		b.batch, b.paths = nil, map[pathKey]int{}
	}
	if len(b.facts) > 0 {
		b.facts = map[any]int{}
	}
	b.order = nil
	return out
}
