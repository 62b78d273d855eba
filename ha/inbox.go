package ha

import (
	"net/netip"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// Inbox holds facts until the core takes them. It is keyed by what a fact is
// about: a newer one replaces an older one, so its size is bounded by the number
// of things and not by the number of events. It is not safe for concurrent use.
type Inbox struct {
	facts  map[any]int     // key -> index in order
	order  []Fact          // in order of first arrival
	paths  map[pathKey]int // index in batch; nil: not needed yet
	batch  []bgp.PathChange
	queued int            // probe results in order that are not keyed
	steady map[string]int // successes in a row, by probe ID
}

type pathKey struct {
	prefix   netip.Prefix
	neighbor string
	id       uint32
}

// Keys of facts that are not named by a string of their own kind.
type (
	deviceKey   string
	probeKey    string
	neighborKey string
	bfdKey      string
	tunnelKey   string
	appliedKey  string
	siteKey     string
	steerKey    string

	sightKey struct {
		device string
		peer   wg.Key
	}
	discoveredKey        struct{}
	serversDiscoveredKey struct{}
	underlayKey          struct{}
	drainKey             struct{}
)

// NewInbox makes an empty one.
func NewInbox() *Inbox { return &Inbox{facts: map[any]int{}, steady: map[string]int{}} }

func keyOf(f Fact) any {
	switch f := f.(type) {
	case DeviceObserved:
		return deviceKey(f.State.Name)
	case ProbeObserved:
		return probeKey(f.ID)
	case NeighborObserved:
		return neighborKey(f.Name)
	case BFDObserved:
		return bfdKey(f.Name)
	case TunnelObserved:
		return tunnelKey(f.Name)
	case WireGuardApplied:
		return appliedKey("wg:" + f.Device)
	case RoutesApplied:
		return appliedKey("fib")
	case AnnounceApplied:
		return appliedKey("speaker")
	case SiteSet:
		return siteKey(f.Site)
	case SiteSteered:
		return steerKey(f.Site)
	case UnderlayObserved:
		return underlayKey{}
	case RosterHeard:
		return rosterKey{f.Device, f.Host}
	case PeerSighted:
		return sightKey{f.Device, f.Key}
	case PeersDiscovered: // the latest answer replaces the former; it holds a slice, so it can not be its own key
		return discoveredKey{}
	case Draining:
		return drainKey{}
	case ServersDiscovered:
		return serversDiscoveredKey{}
	}
	return f
}

// Put adds facts, or replaces those about the same thing, and reports whether
// there is news. Probe results are the exception: each one counts for rise and
// fall, so they queue, up to MaxQueued. One more success of a probe that has long
// succeeded is no news: it is found at the next turn.
func (b *Inbox) Put(facts ...Fact) (news bool) {
	for _, f := range facts {
		switch v := f.(type) {
		case PathsChanged:
			b.putPaths(v.Changes)
			news = true
			continue
		case ProbeObserved:
			news = b.steps(v) || news
			if len(b.order) < MaxQueued {
				b.order = append(b.order, f)
				b.queued++
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
	return news
}

// steadyAfter is more successes than any sensible rise asks for.
const steadyAfter = 10

// steps reports whether a probe result may be news.
func (b *Inbox) steps(r ProbeObserved) bool {
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

// Reconfigured forgets probes that may no longer exist.
func (b *Inbox) Reconfigured() { clear(b.steady) }

// MaxQueued is where single probe results begin to replace each other.
const MaxQueued = 1 << 16

// putPaths takes over a batch whose paths differ, and merges it with what waits.
func (b *Inbox) putPaths(changes []bgp.PathChange) {
	if len(b.batch) == 0 {
		b.batch = changes // taken before the next one comes, nearly always
		return
	}
	key := func(c *bgp.PathChange) pathKey { return pathKey{c.Path.Prefix, c.Path.Neighbor, c.Path.ID} }
	if b.paths == nil {
		b.paths = make(map[pathKey]int, len(b.batch)+len(changes))
		for i := range b.batch {
			b.paths[key(&b.batch[i])] = i
		}
	}
	for i := range changes {
		k := key(&changes[i])
		if at, ok := b.paths[k]; ok {
			b.batch[at] = changes[i]
			continue
		}
		b.paths[k] = len(b.batch)
		b.batch = append(b.batch, changes[i])
	}
}

// Waiting counts what is in the inbox: facts that are keyed by a thing, probe
// results that queue, and changes of paths, one for each path.
func (b *Inbox) Waiting() (things, probes, paths int) {
	return len(b.order) - b.queued, b.queued, len(b.batch)
}

// Take empties the inbox. Paths come last, so that a session's state is known
// before what it brought.
func (b *Inbox) Take() []Fact {
	out := b.order
	if len(b.batch) > 0 {
		out = append(out, PathsChanged{Changes: b.batch})
		b.batch, b.paths = nil, nil
	}
	if len(b.facts) > 0 {
		b.facts = map[any]int{}
	}
	b.order, b.queued = nil, 0
	return out
}
