package device

import (
	"net/netip"
	"reflect"
	"sync"
	"syscall"

	"golang.zx2c4.com/wireguard/conn"
)

// bind is how a userspace device reaches the underlay: the library's sockets
// without two of its faults.
//
// The library takes addresses to send to from one pool for both families, and one
// that was last used for IPv4 is four bytes long (conn.StdNetBind.Send): of the
// next IPv6 address it gets only the first four, and the packet goes nowhere or to
// somebody else. So each family has a sender of its own, with a pool of its own,
// on the same sockets.
//
// And for its own kind of bind the library asks the kernel for the route to every
// peer whenever any IPv4 route changes, to forget a source address that does not
// fit any more: with BGP and thousands of peers that is all it would do. Without
// it a source is forgotten with the first handshake that is tried again, and none
// is learned where sockets have UDP_GRO (Linux 5.12): then the kernel chooses.
type bind struct {
	watcher *watcher

	mu        sync.RWMutex
	four, six *conn.StdNetBind // nil: closed; four also receives
}

// Open is of conn.Bind, as the other methods.
func (b *bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.four != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	four, ok := conn.NewStdNetBind().(*conn.StdNetBind)
	if !ok {
		return nil, 0, syscall.EAFNOSUPPORT
	}
	fns, port, err := four.Open(port)
	if err != nil {
		return nil, 0, err
	}
	b.four, b.six = four, new(conn.StdNetBind)
	// A copy shares the sockets. Nobody has used the pools yet, so that they are
	// empty and each fills its own; nothing is locked.
	reflect.ValueOf(b.six).Elem().Set(reflect.ValueOf(four).Elem())
	for i, receive := range fns {
		fns[i] = b.watching(receive)
	}
	return fns, port, nil
}

// watching shows the watcher what is received.
func (b *bind) watching(receive conn.ReceiveFunc) conn.ReceiveFunc {
	if b.watcher == nil {
		return receive
	}
	return func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		n, err := receive(packets, sizes, eps)
		if b.watcher.peers.Load() == nil {
			return n, err
		}
		for i := range n {
			if e, ok := eps[i].(*conn.StdNetEndpoint); ok && sizes[i] > 0 {
				b.watcher.packet(packets[i][:sizes[i]], func() netip.AddrPort { return e.AddrPort })
			}
		}
		return n, err
	}
}

func (b *bind) Send(bufs [][]byte, to conn.Endpoint) error {
	b.mu.RLock()
	sender := b.four
	if to.DstIP().Is6() {
		sender = b.six
	}
	b.mu.RUnlock()
	if sender == nil {
		return syscall.EAFNOSUPPORT // as the library says when it is closed
	}
	return sender.Send(bufs, to)
}

func (b *bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.four == nil {
		return nil
	}
	err := b.four.Close()
	b.four, b.six = nil, nil
	return err
}

func (b *bind) SetMark(mark uint32) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.four == nil {
		return nil // set again when opened
	}
	return b.four.SetMark(mark)
}

func (b *bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, err
	}
	return &conn.StdNetEndpoint{AddrPort: a}, nil
}

func (b *bind) BatchSize() int { return conn.IdealBatchSize }
