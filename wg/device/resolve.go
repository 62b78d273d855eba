package device

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// Resolver looks up endpoint names. *net.Resolver is one. A resolver that
// knows how long an answer is good may implement TTLResolver as well.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// TTLResolver is a Resolver that tells the time to live of its answers.
type TTLResolver interface {
	LookupTTL(ctx context.Context, host string) ([]netip.Addr, time.Duration, error)
}

// lookupEvery is the time between two lookups of one name where no longer TTL
// is known, and the limit of one lookup.
const lookupEvery = 10 * time.Second

// names resolves endpoint names in the background; nobody waits for it.
type names struct {
	r       Resolver
	changed func() // an answer differs from the last one

	mu      sync.Mutex
	answers map[string]answer
	// want holds, by device, the names that are to be looked up when their
	// answer is out of date: never resolved ones and those of dead peers.
	want map[string]map[string]bool
}

type answer struct {
	addrs   []netip.Addr
	due     time.Time // of the next lookup
	guessed bool      // due follows from no TTL
}

func newNames(r Resolver, changed func()) *names {
	if r == nil {
		r = net.DefaultResolver
	}
	return &names{r: r, changed: changed, answers: map[string]answer{}, want: map[string]map[string]bool{}}
}

// lookup returns what an endpoint stands for, as far as known now.
func (n *names) lookup(e wg.Endpoint) []netip.AddrPort {
	if a, err := netip.ParseAddr(e.Host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), e.Port)}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []netip.AddrPort
	for _, a := range n.answers[e.Host].addrs {
		out = append(out, netip.AddrPortFrom(a, e.Port))
	}
	return out
}

// watch replaces the names a device wants; nil: none. One that it did not want
// before is looked up at once unless its TTL forbids: its peer has just died,
// and an answer from the time before is no news.
func (n *names) watch(dev string, hosts map[string]bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for h := range hosts {
		if a, ok := n.answers[h]; ok && a.guessed && !n.want[dev][h] {
			a.due = time.Time{}
			n.answers[h] = a
		}
	}
	if len(hosts) == 0 {
		delete(n.want, dev)
		return
	}
	n.want[dev] = hosts
}

// due lists the names to look up now.
func (n *names) due(now time.Time) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	set := map[string]bool{}
	for _, hosts := range n.want {
		for h := range hosts {
			if a, ok := n.answers[h]; !ok || !now.Before(a.due) {
				set[h] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// refresh looks one name up. A failed lookup keeps the last answer.
func (n *names) refresh(ctx context.Context, host string) {
	ctx, cancel := context.WithTimeout(ctx, lookupEvery)
	defer cancel()
	var addrs []netip.Addr
	var err error
	ttl, guessed := lookupEvery, true
	if r, ok := n.r.(TTLResolver); ok {
		guessed = false
		addrs, ttl, err = r.LookupTTL(ctx, host)
		ttl = max(ttl, time.Second)
	} else {
		addrs, err = n.r.LookupNetIP(ctx, "ip", host)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	n.mu.Lock()
	old := n.answers[host]
	if err != nil || len(addrs) == 0 {
		addrs, ttl = old.addrs, lookupEvery
	}
	n.answers[host] = answer{addrs: addrs, due: time.Now().Add(ttl), guessed: guessed}
	n.mu.Unlock()
	if !slices.Equal(sortedAddrs(old.addrs), sortedAddrs(addrs)) {
		n.changed()
	}
}

func sortedAddrs(a []netip.Addr) []netip.Addr {
	a = slices.Clone(a)
	slices.SortFunc(a, netip.Addr.Compare)
	return a
}
