package device

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

// plainDNS is fakeDNS without TTLs, as the system's resolver is.
type plainDNS struct{ f *fakeDNS }

func (p plainDNS) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return p.f.LookupNetIP(ctx, network, host)
}

func TestNameOfAPeerThatJustDiedIsLookedUpAtOnce(t *testing.T) {
	const host = "site.example"
	f := &fakeDNS{addr: netip.MustParseAddr("192.0.2.1")}
	due := func(n *names, want ...string) {
		t.Helper()
		if got := n.due(time.Now()); !slices.Equal(got, want) {
			t.Errorf("due: got %q, want %q", got, want)
		}
	}
	for _, r := range []Resolver{plainDNS{f}, f} {
		n := newNames(r, func() {})
		n.watch("wg0", map[string]bool{host: true})
		due(n, host)
		n.refresh(t.Context(), host)
		due(n)
		n.watch("wg0", map[string]bool{host: true}) // the same peer, still dead
		due(n)
		n.watch("wg0", nil) // it lives
		n.watch("wg0", map[string]bool{host: true})
		if _, ttl := r.(TTLResolver); ttl {
			due(n) // a cache would give the same answer
		} else {
			due(n, host)
		}
	}
}

// WireGuard by itself would notice after 15 s.
func TestPeerThatStartedAnewElsewhereIsGreeted(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	if forced() == wg.BackendKernel {
		t.Skip("needs the userspace device: the kernel's takes no such order")
	}
	s := l.newSite(1)
	l.must(true, s.peer)
	l.up(s)
	nstest.Eventually(t, 10*time.Second, func() error {
		// WireGuard sends no two initiations within 5 s (RekeyTimeout).
		if age := time.Since(time.Unix(0, l.peer(s.peer.Key).Handshake)); age < 5*time.Second {
			return fmt.Errorf("handshake %s ago", age)
		}
		return nil
	})
	s.ns.Run(t, "ip", "addr", "add", "10.99.1.3/24", "dev", "eth0")
	s.ns.Run(t, "ip", "addr", "del", "10.99.1.2/24", "dev", "eth0")
	s.ns.Run(t, "ip", "addr", "replace", "10.99.1.3/24", "dev", "eth0")
	s.set(t, "peer", private(1).Public().String(), "remove")
	s.set(t, "peer", private(1).Public().String(), "allowed-ips", "0.0.0.0/0")
	s.peer.Endpoint.Host = "10.99.1.3"
	began := time.Now()
	l.must(true, s.peer)
	l.up(s)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the peer answered %s after it got its endpoint, want at most 3 s", took)
	}
}
