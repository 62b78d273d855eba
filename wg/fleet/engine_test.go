package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

// member is an engine in a namespace of its own, with one peer that talks.
type member struct {
	t    *testing.T
	ns   *nstest.NS
	e    *Engine
	stop func()

	mu     sync.Mutex
	latest map[string]wg.Roster // by host
}

func (m *member) start(key wg.PrivateKey, partners ...Partner) {
	m.t.Helper()
	m.latest = map[string]wg.Roster{}
	m.e = New(Options{Logger: slog.New(slog.DiscardHandler), OnRoster: func(r wg.Roster) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.latest[r.Host] = r
	}})
	if err := m.e.Set(1, partners, []Interface{{Name: "wg0", Key: key}}); err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	ready := make(chan struct{})
	go func() {
		defer close(ended)
		m.ns.Do(m.t, func() { // its sockets are those of this thread's namespace
			close(ready)
			_ = m.e.Run(ctx)
		})
	}()
	<-ready
	m.stop = sync.OnceFunc(func() { cancel(); <-ended })
	m.t.Cleanup(m.stop)
}

// hears lets the member's interface say that a peer was heard at an address.
func (m *member) hears(k wg.Key, at string) {
	for rx := range uint64(2) {
		m.e.Observe(&wg.DeviceState{Name: "wg0", At: time.Now(), Peers: []wg.PeerState{
			{Key: k, Endpoint: netip.MustParseAddrPort(at), Handshake: 1, Rx: 1000 * (rx + uint64(time.Now().UnixMilli()))},
		}})
	}
}

func (m *member) told(host string, k wg.Key) wg.Whereabouts {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.latest[host]
	return r.Find(k)
}

func (m *member) silent(host string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latest[host].Silent
}

func TestHostsOfAFleetTellEachOtherByRealSockets(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "ip")
	for name, addr := range map[string][2]string{
		"IPv4":       {"172.30.0.1", "172.30.0.2"},
		"IPv6":       {"fd00:30::1", "fd00:30::2"},
		"link-local": {"fe80::1%f0", "fe80::2%f0"},
	} {
		t.Run(name, func(t *testing.T) {
			a := &member{t: t, ns: nstest.New(t, "a"+name)}
			b := &member{t: t, ns: nstest.New(t, "b"+name)}
			nstest.Veth(t, a.ns, "f0", []string{"172.30.0.1/24", "fd00:30::1/64", "fe80::1/64"}, b.ns, "f0", []string{"172.30.0.2/24", "fd00:30::2/64", "fe80::2/64"})
			key := wg.NewPrivateKey([wg.KeyLen]byte{5})
			// An interface may have more than one link-local address.
			toB := Partner{Name: "b", Address: netip.MustParseAddr(addr[1]), Local: netip.MustParseAddr(addr[0]).WithZone("")}
			toA := Partner{Name: "a", Address: netip.MustParseAddr(addr[0]), Local: netip.MustParseAddr(addr[1]).WithZone("")}
			a.start(key, toB)
			b.start(key, toA)
			wait := func(what string, k wg.Key, at string) {
				t.Helper()
				nstest.Eventually(t, 15*time.Second, func() error {
					if got := b.told("a", k).Endpoint; got != netip.MustParseAddrPort(at) {
						return fmt.Errorf("%s: got %v, want %s", what, got, at)
					}
					return nil
				})
			}
			a.hears(wg.Key{1}, "192.0.2.1:1000")
			wait("first", wg.Key{1}, "192.0.2.1:1000")
			a.hears(wg.Key{1}, "[2001:db8::1]:1000")
			wait("moved", wg.Key{1}, "[2001:db8::1]:1000")

			a.stop()
			nstest.Eventually(t, 15*time.Second, func() error {
				if !b.silent("a") {
					return fmt.Errorf("a ended and is not silent")
				}
				return nil
			})
			a.start(key, toB)
			a.hears(wg.Key{2}, "192.0.2.2:2000")
			wait("after a restart", wg.Key{2}, "192.0.2.2:2000")

			// Without the key nobody is believed, not even from a's address.
			a.stop()
			a.start(wg.NewPrivateKey([wg.KeyLen]byte{6, 6, 6}), toB)
			a.hears(wg.Key{2}, "203.0.113.66:666")
			nstest.Eventually(t, 15*time.Second, func() error {
				if !b.silent("a") {
					return fmt.Errorf("who has another key is heard")
				}
				return nil
			})
			wait("without the key", wg.Key{2}, "192.0.2.2:2000")
		})
	}
}
