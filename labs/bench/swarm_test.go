package bench

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"

	wireguard "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	remote "github.com/wgbgp/wgbgp/labs/swarm"
	"github.com/wgbgp/wgbgp/wg"
)

// dial starts the far end of one site link and lets it dial the gateway: a
// wireguard-go device, since the key differs, whose inner side takes every packet
// and answers none. It does what WireGuard itself does, and so hundreds fit into
// one process.
func dial(t testing.TB, key wg.PrivateKey, gateway wg.Key, at netip.AddrPort) {
	t.Helper()
	dev := wireguard.NewDevice(&sink{events: make(chan tun.Event), done: make(chan struct{})}, remote.Listen(remote.ListenUDP).Bind(),
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
