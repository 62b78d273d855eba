package bfd

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/mmsg"
)

// fewSessions is up to where a packet is looked at the moment it arrives. With
// more, packets are looked at once a tick, so that they share wake-ups; they
// count from their arrival in either case.
const fewSessions = 16

// loop is the state of a running engine. One goroutine owns it. Times are
// durations since start, on the monotonic clock.
//
// There are two epoll sets. The inner one holds the sockets; the outer one
// holds it as a one-shot event, and the eventfd. Between the moment the inner
// one was looked at and the moment it is armed again, packets wake nobody.
type loop struct {
	e     *Engine
	start time.Time

	outer, inner, event, ctl int
	waiter                   *os.File // outer as a file of the runtime's own poller
	wait                     syscall.RawConn
	events                   [64]unix.EpollEvent
	muted                    bool
	rearm                    time.Duration // when muted ends

	byName  map[string]*session
	byDiscr map[uint32]*session
	byAddr  map[addrKey]*session
	devices map[string]*device
	ports   map[portKey]*port
	paths   map[pathKey]*path
	byFD    map[int32]*port
	wheel   wheel
	dirty   []*path // with packets to send
	mark    uint64
	in      *inbox
	drained time.Duration // everything that arrived before was read

	onSent func(*session, error)
}

type (
	portKey struct {
		device string
		v6     bool
	}
	pathKey struct {
		portKey
		source netip.Addr
	}
	addrKey struct {
		port *port
		addr netip.Addr
	}
)

func newLoop(e *Engine) (l *loop, err error) {
	l = &loop{
		e: e, start: time.Now(), in: new(inbox), outer: -1, inner: -1, event: -1, ctl: -1,
		byName: map[string]*session{}, byDiscr: map[uint32]*session{}, byAddr: map[addrKey]*session{},
		devices: map[string]*device{}, ports: map[portKey]*port{}, paths: map[pathKey]*path{}, byFD: map[int32]*port{},
	}
	l.onSent = l.sent
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.outer, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return l, os.NewSyscallError("epoll_create1", err)
	}
	// A thread that blocks in epoll_wait holds a processor of the Go scheduler,
	// which its monitor thread then polls for. Hence the runtime waits for the
	// epoll descriptor itself.
	if err = unix.SetNonblock(l.outer, true); err != nil {
		return l, os.NewSyscallError("fcntl", err)
	}
	l.waiter = os.NewFile(uintptr(l.outer), "epoll")
	if l.wait, err = l.waiter.SyscallConn(); err != nil {
		return l, fmt.Errorf("epoll: %w", err)
	}
	if l.inner, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return l, os.NewSyscallError("epoll_create1", err)
	}
	if l.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return l, os.NewSyscallError("eventfd", err)
	}
	if l.ctl, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return l, os.NewSyscallError("socket", err)
	}
	if err = control(l.outer, unix.EPOLL_CTL_ADD, l.event, unix.EPOLLIN); err != nil {
		return l, err
	}
	return l, control(l.outer, unix.EPOLL_CTL_ADD, l.inner, unix.EPOLLIN|unix.EPOLLONESHOT)
}

func control(epoll, op, fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}))
}

func (l *loop) close() {
	for _, d := range l.devices {
		for _, p := range d.ports {
			p.close()
		}
	}
	if l.waiter != nil {
		_ = l.waiter.Close() // and outer with it
	} else {
		closeFD(&l.outer)
	}
	closeFD(&l.inner)
	closeFD(&l.event)
	closeFD(&l.ctl)
}

func (l *loop) now() time.Duration { return time.Since(l.start) }

// turn waits for something to do and does it.
func (l *loop) turn() error {
	var deadline time.Time
	if t, ok := l.wheel.next(); ok {
		deadline = l.start.Add(time.Duration(t) * tick)
	}
	if l.muted {
		if at := l.start.Add(l.rearm); deadline.IsZero() || at.Before(deadline) {
			deadline = at
		}
	}
	if err := l.rest(deadline); err != nil {
		return err
	}
	now := l.now()
	if l.muted && now >= l.rearm {
		l.muted = false
		l.drain()
		if err := control(l.outer, unix.EPOLL_CTL_MOD, l.inner, unix.EPOLLIN|unix.EPOLLONESHOT); err != nil {
			return err
		}
	}
	l.wheel.advance(int64(now/tick), func(s *session) { l.fire(s, now) })
	l.flush()
	return nil
}

// rest waits until something is ready or the deadline has passed (zero: none)
// and handles what is ready.
func (l *loop) rest(deadline time.Time) error {
	if err := l.waiter.SetReadDeadline(deadline); err != nil {
		return err
	}
	var n int
	var failed error
	err := l.wait.Read(func(uintptr) bool {
		n, failed = ready(l.outer, l.events[:])
		return n > 0 || failed != nil
	})
	if failed != nil {
		return failed
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	for _, ev := range l.events[:n] {
		if int(ev.Fd) == l.event {
			var b [8]byte
			_, _ = unix.Read(l.event, b[:])
			continue
		}
		// Packets. The one-shot event is spent, so the next look is ours to time.
		l.muted, l.rearm = true, 0
		if len(l.byName) > fewSessions {
			l.rearm = (l.now()/tick + 1) * tick
		}
	}
	return nil
}

// ready asks an epoll set what is ready now.
func ready(epoll int, events []unix.EpollEvent) (int, error) {
	for {
		n, err := unix.EpollWait(epoll, events, 0)
		if err == nil {
			return n, nil
		}
		if err != unix.EINTR {
			return 0, os.NewSyscallError("epoll_wait", err)
		}
	}
}

// drain reads everything that has arrived.
func (l *loop) drain() {
	before := l.now()
	for range maxDrain {
		n, err := ready(l.inner, l.events[:])
		for _, ev := range l.events[:n] {
			if p := l.byFD[ev.Fd]; p != nil {
				l.read(p)
			}
		}
		if err != nil || n < len(l.events) {
			break
		}
	}
	l.drained = before
}

// read takes what one socket holds.
func (l *loop) read(p *port) {
	for range maxDrain {
		before := l.now()
		n, err := l.in.receive(p.fd)
		if err != nil {
			p.empty = before
			return
		}
		now, wall := l.now(), time.Now()
		for i := range n {
			b, a := l.in.packet(i, wall)
			l.packet(p, b, a, max(now-a.age, p.empty))
		}
		if n < mmsg.Batch {
			p.empty = before
			return
		}
	}
}

// flush sends what transmit collected.
func (l *loop) flush() {
	for _, q := range l.dirty {
		q.queued = false
		if q.fd < 0 { // its interface went away meanwhile; what was to be said is old when it is back
			q.out.discard()
			continue
		}
		q.out.flush(q.fd, l.onSent)
		if q.port.dev.suspect {
			l.lookup(q.port.dev)
		}
	}
	l.dirty = l.dirty[:0]
}

// lookup refreshes a device and forgets sockets that it closed.
func (l *loop) lookup(d *device) {
	before := d.index
	if d.name == "" {
		d.suspect = false
		return
	}
	for _, p := range d.ports {
		if p.fd >= 0 {
			delete(l.byFD, int32(p.fd))
		}
	}
	d.lookup(l.ctl)
	for _, p := range d.ports {
		if p.fd >= 0 {
			l.byFD[int32(p.fd)] = p
		}
	}
	if d.index != before {
		l.e.opt.Logger.Info("bfd device changed", "device", d.name, "was", before, "index", d.index)
	}
}
