package bfd

import (
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/mmsg"
	"github.com/wgbgp/wgbgp/internal/poll"
)

// fewSessions is up to where a packet is looked at the moment it arrives. With
// more, packets are looked at once a tick, so that they share wake-ups; they
// count from their arrival in either case.
const fewSessions = 16

// loop is the state of a running engine. One goroutine owns it. Times are
// durations since start, on the monotonic clock.
//
// There are two epoll sets. The inner one holds the sockets; the one that is waited
// for holds it as a one-shot event. Between the moment the inner one was looked at
// and the moment it is armed again, packets wake nobody.
type loop struct {
	e     *Engine
	start time.Time

	waiter *poll.Waiter // holds only inner
	inner  *poll.Set
	ctl    int
	muted  bool
	rearm  time.Duration // when muted ends

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
		e: e, start: time.Now(), in: new(inbox), ctl: -1,
		byName: map[string]*session{}, byDiscr: map[uint32]*session{}, byAddr: map[addrKey]*session{},
		devices: map[string]*device{}, ports: map[portKey]*port{}, paths: map[pathKey]*path{}, byFD: map[int32]*port{},
	}
	l.onSent = l.sent
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.waiter, err = poll.NewWaiter(); err != nil {
		return l, err
	}
	if l.inner, err = poll.NewSet(); err != nil {
		return l, err
	}
	if l.ctl, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return l, os.NewSyscallError("socket", err)
	}
	return l, l.waiter.Add(l.inner.FD(), unix.EPOLLIN|unix.EPOLLONESHOT, 0, 0)
}

func (l *loop) close() {
	for _, d := range l.devices {
		for _, p := range d.ports {
			p.close()
		}
	}
	if l.waiter != nil {
		l.waiter.Close()
	}
	if l.inner != nil {
		l.inner.Close()
	}
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
		if err := l.waiter.Arm(l.inner.FD(), unix.EPOLLIN|unix.EPOLLONESHOT, 0, 0); err != nil {
			return err
		}
	}
	l.wheel.advance(int64(now/tick), func(s *session) { l.fire(s, now) })
	l.flush()
	return nil
}

// rest waits until packets are there or the deadline has passed (zero: none).
func (l *loop) rest(deadline time.Time) error {
	events, err := l.waiter.Wait(deadline)
	if err != nil || len(events) == 0 {
		return err
	}
	// The one-shot event is spent, so the next look is ours to time.
	l.muted, l.rearm = true, 0
	if len(l.byName) > fewSessions {
		l.rearm = (l.now()/tick + 1) * tick
	}
	return nil
}

// drain reads everything that has arrived.
func (l *loop) drain() {
	before := l.now()
	for range maxDrain {
		events, err := l.inner.Ready()
		for _, ev := range events {
			if p := l.byFD[ev.Fd]; p != nil {
				l.read(p)
			}
		}
		if err != nil || len(events) < poll.Most {
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
