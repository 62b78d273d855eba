package swarm

import (
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

// echo is a TUN that returns every IPv4 packet of UDP to its sender. Addresses
// and ports change places, which leaves both checksums right.
type echo struct {
	packets chan []byte
	closed  chan struct{}
	events  chan tun.Event
	once    sync.Once
}

func newEcho() *echo {
	return &echo{packets: make(chan []byte, 256), closed: make(chan struct{}), events: make(chan tun.Event)}
}

func (e *echo) File() *os.File           { return nil }
func (e *echo) MTU() (int, error)        { return device.DefaultMTU, nil }
func (e *echo) Name() (string, error)    { return "echo", nil }
func (e *echo) Events() <-chan tun.Event { return e.events }
func (e *echo) BatchSize() int           { return 1 }

func (e *echo) Close() error {
	e.once.Do(func() { close(e.closed); close(e.events) })
	return nil
}

func (e *echo) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case p := <-e.packets:
		sizes[0] = copy(bufs[0][offset:], p)
		return 1, nil
	case <-e.closed:
		return 0, os.ErrClosed
	}
}

func (e *echo) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		p := b[offset:]
		// The heartbeat goes to the discard port (RFC 863): it is not answered.
		if len(p) < 28 || p[0] != 0x45 || p[9] != 17 || (p[22] == 0 && p[23] == 9) {
			continue
		}
		q := append([]byte(nil), p...)
		copy(q[12:16], p[16:20])
		copy(q[16:20], p[12:16])
		copy(q[20:22], p[22:24])
		copy(q[22:24], p[20:22])
		q[8], q[10], q[11] = 64, 0, 0
		sum := ^checksum(q[:20])
		q[10], q[11] = byte(sum>>8), byte(sum)
		select {
		case e.packets <- q:
		default: // the count of lost packets shows it
		}
	}
	return len(bufs), nil
}

// checksum is the one's complement sum of RFC 1071, not inverted.
func checksum(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// Bind is a device's socket, without the batches whose buffers would take 16 MB a
// device.
func (l Listen) Bind() conn.Bind { return &oneByOne{listen: l} }

type oneByOne struct {
	listen Listen
	mu     sync.Mutex
	c      *net.UDPConn
}

func (b *oneByOne) BatchSize() int            { return 1 }
func (b *oneByOne) SetMark(mark uint32) error { return nil }

func (b *oneByOne) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	c, err := b.listen(port)
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
	return []conn.ReceiveFunc{receive}, c.LocalAddr().(*net.UDPAddr).AddrPort().Port(), nil
}

func (b *oneByOne) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c == nil {
		return nil
	}
	c := b.c
	b.c = nil
	return c.Close()
}

func (b *oneByOne) Send(bufs [][]byte, ep conn.Endpoint) error {
	b.mu.Lock()
	c := b.c
	b.mu.Unlock()
	if c == nil {
		return net.ErrClosed
	}
	for _, p := range bufs {
		if _, err := c.WriteToUDPAddrPort(p, ep.(*conn.StdNetEndpoint).AddrPort); err != nil {
			return err
		}
	}
	return nil
}

func (b *oneByOne) ParseEndpoint(s string) (conn.Endpoint, error) {
	a, err := netip.ParseAddrPort(s)
	return &conn.StdNetEndpoint{AddrPort: a}, err
}
