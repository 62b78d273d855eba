package bench

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"

	"golang.zx2c4.com/wireguard/conn"
	wireguard "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/wgbgp/wgbgp/wg"
)

// dial starts the far end of one site link and lets it dial the gateway: a
// wireguard-go device, since the key differs, whose inner side takes every packet
// and answers none. It does what WireGuard itself does, and so hundreds fit into
// one process.
func dial(t testing.TB, key wg.PrivateKey, gateway wg.Key, at netip.AddrPort) {
	t.Helper()
	dev := wireguard.NewDevice(&sink{events: make(chan tun.Event), done: make(chan struct{})}, &oneSocket{},
		&wireguard.Logger{Verbosef: wireguard.DiscardLogf, Errorf: wireguard.DiscardLogf})
	t.Cleanup(dev.Close)
	k := key.Reveal()
	err := dev.IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=%s\npersistent_keepalive_interval=25\nallowed_ip=0.0.0.0/0\n",
		hex.EncodeToString(k[:]), hex.EncodeToString(gateway[:]), at))
	if err == nil {
		err = dev.Up()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sink is a TUN device that nobody sends from.
type sink struct {
	events chan tun.Event
	done   chan struct{}
	once   sync.Once
}

func (s *sink) File() *os.File                          { return nil }
func (s *sink) Write(bufs [][]byte, _ int) (int, error) { return len(bufs), nil }
func (s *sink) MTU() (int, error)                       { return 1420, nil }
func (s *sink) Name() (string, error)                   { return "sink", nil }
func (s *sink) Events() <-chan tun.Event                { return s.events }
func (s *sink) BatchSize() int                          { return 1 }

func (s *sink) Read([][]byte, []int, int) (int, error) {
	<-s.done
	return 0, os.ErrClosed
}

func (s *sink) Close() error {
	s.once.Do(func() { close(s.done); close(s.events) })
	return nil
}

// oneSocket is the smallest conn.Bind: one UDP socket, one packet at a time. The
// library's own holds two sockets and 16 MB of buffers.
type oneSocket struct {
	mu sync.Mutex
	c  *net.UDPConn
}

func (b *oneSocket) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
	if err != nil {
		return nil, 0, err
	}
	b.mu.Lock()
	b.c = c
	b.mu.Unlock()
	receive := func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		n, from, err := c.ReadFromUDPAddrPort(packets[0])
		if err != nil {
			return 0, err
		}
		sizes[0], eps[0] = n, &conn.StdNetEndpoint{AddrPort: from}
		return 1, nil
	}
	return []conn.ReceiveFunc{receive}, uint16(c.LocalAddr().(*net.UDPAddr).Port), nil
}

func (b *oneSocket) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c == nil {
		return nil
	}
	err := b.c.Close()
	b.c = nil
	return err
}

func (b *oneSocket) Send(bufs [][]byte, ep conn.Endpoint) error {
	b.mu.Lock()
	c := b.c
	b.mu.Unlock()
	to, ok := ep.(*conn.StdNetEndpoint)
	if c == nil || !ok {
		return errors.New("no socket")
	}
	for _, p := range bufs {
		if _, err := c.WriteToUDPAddrPort(p, to.AddrPort); err != nil {
			return err
		}
	}
	return nil
}

func (b *oneSocket) SetMark(uint32) error { return nil }
func (b *oneSocket) BatchSize() int       { return 1 }

func (b *oneSocket) ParseEndpoint(s string) (conn.Endpoint, error) {
	a, err := netip.ParseAddrPort(s)
	return &conn.StdNetEndpoint{AddrPort: a}, err
}
