package device

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
)

// TestNothingIsKeptForADeadPeer sends packets to a peer that answers no
// handshake. WireGuard keeps them for one that may answer yet.
func TestNothingIsKeptForADeadPeer(t *testing.T) {
	if !userspaceOnly(t) {
		return
	}
	l := newLab(t)
	s := l.newSite(1)
	gateway := private(1).Public().String()
	for _, dead := range []bool{false, true} {
		s.set(t, "peer", gateway, "remove")
		l.must(true)
		peer := s.peer
		peer.Dead = dead
		l.must(true, peer)
		c, err := net.Dial("udp", s.inner.String()+":9")
		if err != nil {
			t.Fatal(err)
		}
		const packets, size = 50, 1000
		for range packets {
			if _, err := c.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.Close()
		// The device has taken the packets from the interface when it has done
		// what they ask for.
		nstest.Eventually(t, 10*time.Second, func() error {
			if l.peer(peer.Key).Tx == 0 {
				return fmt.Errorf("no handshake was tried")
			}
			return nil
		})
		settled := time.Now().Add(300 * time.Millisecond)
		nstest.Eventually(t, 10*time.Second, func() error {
			l.observe()
			if time.Now().Before(settled) {
				return fmt.Errorf("the interface may still hold packets")
			}
			return nil
		})
		s.set(t, "peer", gateway, "allowed-ips", "0.0.0.0/0,::/0", "endpoint", fmt.Sprintf("10.99.1.1:%d", gwPort), "persistent-keepalive", "1")
		l.up(s)
		kept := l.peer(peer.Key).Tx > packets*size
		if kept == dead {
			t.Errorf("dead %v: %d packets were kept: %v, want %v (sent %d bytes)", dead, packets, kept, !dead, l.peer(peer.Key).Tx)
		}
	}
}
