package device

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	wgdev "golang.zx2c4.com/wireguard/device"
)

// All goroutines of the package start in this file.

// tasks are the long-running parts of a Manager; they end with its Close.
type tasks struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (t *tasks) start(run func(ctx context.Context)) {
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		run(t.ctx)
	}()
}

func (t *tasks) stop() {
	t.cancel()
	t.wg.Wait()
}

// every runs f at an interval until the end.
func every(ctx context.Context, d time.Duration, f func(ctx context.Context)) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f(ctx)
		}
	}
}

// resolveTask looks names up; a poke starts it at once.
func (m *Manager) resolveTask(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	limit := make(chan struct{}, 8) // lookups at a time
	var running sync.WaitGroup
	defer running.Wait()
	busy := sync.Map{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-m.lookNow:
		}
		for _, host := range m.names.due(time.Now()) {
			if _, dup := busy.LoadOrStore(host, true); dup {
				continue
			}
			select {
			case limit <- struct{}{}:
			default:
				busy.Delete(host)
				continue // the next tick finds it still due
			}
			running.Add(1)
			go func() {
				defer running.Done()
				m.names.refresh(ctx, host)
				busy.Delete(host)
				<-limit
			}()
		}
	}
}

// linkTask watches interfaces and says "look again" when one of ours was
// deleted, set down, recreated, or lost an address. The subscription ends at
// the first receive error, ENOBUFS included; then everything is suspect.
func (m *Manager) linkTask(ctx context.Context) {
	for ctx.Err() == nil {
		done := make(chan struct{})
		lc, ac, err := subscribe(done)
		if err == nil {
			m.follow(ctx, lc, ac)
		} else {
			m.log.Warn("link events are not available, interfaces are checked every half minute", "err", translate(err))
		}
		close(done)
		// The library's senders do not watch done: empty what they still send.
		if lc != nil {
			go drain(lc)
		}
		if ac != nil {
			go drain(ac)
		}
		m.suspectAll()
		m.signal()
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func drain[T any](c chan T) {
	for range c { // emptied until the sender closes it
	}
}

func (m *Manager) follow(ctx context.Context, lc chan netlink.LinkUpdate, ac chan netlink.AddrUpdate) {
	for {
		select {
		case <-ctx.Done():
			return
		case u, ok := <-lc:
			if !ok {
				return
			}
			a := u.Attrs()
			gone := u.Header.Type == unix.RTM_DELLINK
			m.linkSeen(a.Name, a.Index, !gone, a.Flags&net.FlagUp != 0)
		case u, ok := <-ac:
			if !ok {
				return
			}
			if !u.NewAddr {
				m.addressLost(u.LinkIndex)
			}
		}
	}
}

// subscribe asks for link and address events with room for bursts.
func subscribe(done chan struct{}) (chan netlink.LinkUpdate, chan netlink.AddrUpdate, error) {
	lc, ac := make(chan netlink.LinkUpdate, 64), make(chan netlink.AddrUpdate, 64)
	force := mayForceBuffers()
	err := netlink.LinkSubscribeWithOptions(lc, done, netlink.LinkSubscribeOptions{
		ErrorCallback: func(error) {}, ReceiveBufferSize: 1 << 20, ReceiveBufferForceSize: force,
	})
	if err != nil {
		return nil, nil, err
	}
	err = netlink.AddrSubscribeWithOptions(ac, done, netlink.AddrSubscribeOptions{
		ErrorCallback: func(error) {}, ReceiveBufferSize: 1 << 20, ReceiveBufferForceSize: force,
	})
	if err != nil {
		return lc, nil, err
	}
	return lc, ac, nil
}

// mayForceBuffers says whether a socket's buffer may exceed net.core.rmem_max.
// That needs CAP_NET_ADMIN on the whole machine (sk_setsockopt in
// net/core/sock.c), which a gateway in a user namespace does not have.
func mayForceBuffers() bool {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20) == nil
}

// saveTask keeps what userspace devices would lose with the process.
func (m *Manager) saveTask(ctx context.Context) {
	every(ctx, saveEvery, func(ctx context.Context) { m.saveAll(ctx) })
}

const saveEvery = 5 * time.Second

// serveUAPI answers wg(8) until the listener is closed.
func serveUAPI(l net.Listener, dev *wgdev.Device) {
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // out of descriptors: try again, not at full speed
				time.Sleep(100 * time.Millisecond)
				continue
			}
			go dev.IpcHandle(c)
		}
	}()
}

// inParallel calls f for 0..n-1, a few at a time, so that one slow interface
// does not hold up the others.
func inParallel(n int, f func(i int)) {
	if n == 1 {
		f(0)
		return
	}
	var g sync.WaitGroup
	limit := make(chan struct{}, 8)
	for i := range n {
		g.Add(1)
		limit <- struct{}{}
		go func() {
			defer g.Done()
			f(i)
			<-limit
		}()
	}
	g.Wait()
}
