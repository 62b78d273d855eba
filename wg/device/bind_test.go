package device

import (
	"net"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
)

func listen(t *testing.T, network, at string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenPacket(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.UDPConn)
}

// TestBothFamiliesArriveWhereTheyAreSent alternates between an IPv4 and an IPv6
// peer, as a gateway with both does.
func TestBothFamiliesArriveWhereTheyAreSent(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	b := &bind{}
	if _, _, err := b.Open(0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	nstest.Run(t, "ip", "addr", "add", "fd07::1:2:3/128", "dev", "lo", "nodad")
	// The kernel makes the local route of an address a little later.
	nstest.Eventually(t, 5*time.Second, func() error { return ping("fd07::1:2:3") })
	const each = 200
	peers := []*net.UDPConn{listen(t, "udp4", "127.0.0.1:0"), listen(t, "udp6", "[fd07::1:2:3]:0")}
	for i := range each {
		for _, p := range peers {
			e, err := b.ParseEndpoint(p.LocalAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Send([][]byte{{byte(i)}}, e); err != nil {
				t.Fatalf("send %d to %s: %v", i, p.LocalAddr(), err)
			}
		}
	}
	for _, p := range peers {
		_ = p.SetReadDeadline(time.Now().Add(5 * time.Second))
		for i := range each {
			if _, err := p.Read(make([]byte, 10)); err != nil {
				t.Errorf("%s: got %d packets, want %d", p.LocalAddr(), i, each)
				break
			}
		}
	}
}
