package main

import (
	"net/netip"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
)

// inbox holds facts until the loop takes them. It is keyed by what a fact is
// about: a newer one replaces an older one, so its size is bounded by the
// number of things and not by the number of events.
type inbox struct {
	kick chan struct{} // capacity 1: "look again"

	mu    sync.Mutex
	facts map[any]int // key -> index in order
	order []ha.Fact   // in order of first arrival
	paths map[pathKey]int
	batch []bgp.PathChange
	first time.Time // arrival of the oldest fact waiting
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
	return &inbox{kick: make(chan struct{}, 1), facts: map[any]int{}, paths: map[pathKey]int{}}
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
// being taken at once.
func (b *inbox) put(facts ...ha.Fact) {
	b.mu.Lock()
	if b.first.IsZero() {
		b.first = time.Now()
	}
	for _, f := range facts {
		switch v := f.(type) {
		case ha.PathsChanged:
			b.putPaths(v.Changes)
			continue
		case ha.ProbeObserved:
			if len(b.order) < maxQueued {
				b.order = append(b.order, f)
				continue
			}
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
	select {
	case b.kick <- struct{}{}:
	default:
	}
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
	b.order, b.first = nil, time.Time{}
	return out
}
