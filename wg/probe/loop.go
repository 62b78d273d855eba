package probe

import (
	"container/heap"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/wg"
)

const (
	// tick is the grid of all timers: rounds within one tick share a wake-up
	// and system calls.
	tick = 10 * time.Millisecond
	// fewProbes is up to where phases are spread coarsely.
	fewProbes = 64
	// firstWithin bounds the wait for the first round of a new probe.
	firstWithin = 500 * time.Millisecond
	// maxDrain bounds how many batches one socket is read for in a row.
	maxDrain = 16
	// discard is the port heartbeats go to (RFC 863).
	discard = 9
)

// Kinds of epoll registrations, kept in EpollEvent.Pad.
const (
	evWake = iota
	evICMP
	evTCP
)

// loop is the state of a running engine. One goroutine owns it. Times are
// durations since start, on the monotonic clock.
type loop struct {
	e     *Engine
	start time.Time
	id    uint16        // ICMP identifier
	grid  time.Duration // of the phases of new probes
	seed  maphash.Seed

	epoll, event, ctl int
	waiter            *os.File // epoll as a file of the runtime's own poller
	wait              syscall.RawConn
	events            [128]unix.EpollEvent

	byID    map[string]*target
	slots   []*target // index is the slot in echo requests; nil: free
	free    []uint32
	timers  timers
	mark    uint64
	devices map[string]*device
	paths   map[pathKey]*path
	byFD    map[int32]*path
	dirty   []*path // with packets to send
	in      *inbox

	onICMP, onUDP func(*target, error)
}

type pathKey struct {
	device string
	v6     bool
	source string
	mark   uint32
}

func newLoop(e *Engine) (*loop, error) {
	l := &loop{
		e: e, start: time.Now(), seed: maphash.MakeSeed(), in: new(inbox),
		byID: map[string]*target{}, devices: map[string]*device{}, paths: map[pathKey]*path{}, byFD: map[int32]*path{},
		epoll: -1, event: -1, ctl: -1,
	}
	l.onICMP, l.onUDP = l.sentICMP, l.sentUDP
	var id [2]byte
	_, _ = rand.Read(id[:])
	l.id = binary.BigEndian.Uint16(id[:])
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	// A thread that blocks in epoll_wait holds a processor of the Go scheduler,
	// which its monitor thread then polls for: half of an idle daemon's cost.
	// Hence the runtime waits for the epoll descriptor itself.
	if err = unix.SetNonblock(l.epoll, true); err == nil {
		l.waiter = os.NewFile(uintptr(l.epoll), "epoll")
		l.wait, err = l.waiter.SyscallConn()
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if l.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		l.close()
		return nil, os.NewSyscallError("eventfd", err)
	}
	if l.ctl, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		l.close()
		return nil, os.NewSyscallError("socket", err)
	}
	if err = l.register(l.event, unix.EPOLLIN, int32(l.event), evWake); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *loop) close() {
	for _, t := range l.slots {
		if t != nil {
			t.closeTCP()
		}
	}
	for _, p := range l.paths {
		p.close()
	}
	if l.waiter != nil {
		_ = l.waiter.Close() // and epoll with it
	} else if l.epoll >= 0 {
		_ = unix.Close(l.epoll)
	}
	for _, fd := range []int{l.event, l.ctl} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func (l *loop) register(fd int, events uint32, data, kind int32) error {
	ev := unix.EpollEvent{Events: events, Fd: data, Pad: kind}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &ev))
}

func (l *loop) now() time.Duration { return time.Since(l.start) }

// turn waits for something to do and does it.
func (l *loop) turn() error {
	var deadline time.Time
	if len(l.timers) > 0 {
		deadline = l.start.Add(l.timers[0].when)
	}
	if err := l.rest(deadline); err != nil {
		return err
	}
	return l.expire()
}

// rest waits until something is ready or the deadline has passed (zero: none)
// and handles what is ready.
func (l *loop) rest(deadline time.Time) error {
	if !deadline.IsZero() && !time.Now().Before(deadline) {
		return l.poll()
	}
	if err := l.waiter.SetReadDeadline(deadline); err != nil {
		return err
	}
	var n int
	var failed error
	err := l.wait.Read(func(uintptr) bool {
		n, failed = l.pending()
		return n > 0 || failed != nil
	})
	if failed != nil {
		return failed
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	l.handle(n)
	return nil
}

// pending asks what is ready now.
func (l *loop) pending() (n int, err error) {
	for {
		n, err = unix.EpollWait(l.epoll, l.events[:], 0)
		if err == nil {
			return n, nil
		}
		if err != unix.EINTR {
			return 0, os.NewSyscallError("epoll_wait", err)
		}
	}
}

// poll handles what is ready now.
func (l *loop) poll() error {
	n, err := l.pending()
	if err == nil {
		l.handle(n)
	}
	return err
}

func (l *loop) handle(n int) {
	for _, ev := range l.events[:n] {
		switch ev.Pad {
		case evWake:
			var b [8]byte
			_, _ = unix.Read(l.event, b[:])
		case evICMP:
			if p := l.byFD[ev.Fd]; p != nil {
				l.read(p)
			}
		case evTCP:
			if t := l.slots[ev.Fd]; t != nil && t.fd >= 0 {
				l.connected(t)
			}
		}
	}
}

// expire runs the timers that are due. What arrived before now is read before
// any round is given up.
func (l *loop) expire() error {
	now, drained := l.now(), false
	for len(l.timers) > 0 && l.timers[0].when <= now {
		t := l.timers[0]
		if !t.open {
			l.begin(t, now)
			continue
		}
		if !drained {
			drained = true
			if err := l.poll(); err != nil {
				return err
			}
			continue
		}
		l.e.stats.timeouts.Add(1)
		reason := reasonTimeout
		if t.path.dev.index == 0 {
			reason = reasonNoDevice
		}
		l.finish(t, wg.ProbeResult{Reason: reason}, l.now())
	}
	l.flush()
	return nil
}

// flush sends what begin collected.
func (l *loop) flush() {
	for _, p := range l.dirty {
		l.flushPath(p)
	}
	l.dirty = l.dirty[:0]
}

func (l *loop) flushPath(p *path) {
	now := l.now()
	for _, o := range p.out {
		if o != nil {
			for _, t := range o.who[:o.n] {
				t.sent = now
			}
		}
	}
	if o := p.out[outICMP]; o != nil && o.n > 0 {
		o.flush(p.icmp, l.onICMP)
	}
	if o := p.out[outUDP]; o != nil && o.n > 0 {
		o.flush(p.udp, l.onUDP)
	}
	if p.dev.suspect {
		p.dev.suspect = false
		l.lookup(p.dev)
	}
}

// finish ends a round and schedules the next one.
func (l *loop) finish(t *target, r wg.ProbeResult, at time.Duration) {
	t.open = false
	t.closeTCP()
	now := l.now()
	next := t.next(now)
	if missed := int64(next-t.began)/int64(t.probe.Interval) - 1; missed > 0 && t.probe.Timeout <= t.probe.Interval {
		l.e.stats.skipped.Add(uint64(missed))
	}
	l.schedule(t, next)
	r.ID, r.At = t.probe.ID, l.start.Add(at)
	if r.Reason != t.reason {
		t.reason = r.Reason
		l.e.opt.Logger.Debug("probe changed", "site", t.probe.Site, "probe", t.probe.ID, "reason", r.Reason)
	}
	l.e.opt.OnResult(r)
}

func (l *loop) fail(t *target, reason string) {
	l.e.stats.errors.Add(1)
	l.finish(t, wg.ProbeResult{Reason: reason}, l.now())
}

func (l *loop) schedule(t *target, when time.Duration) {
	t.when = (when + tick - 1) / tick * tick
	heap.Fix(&l.timers, t.index)
}

// lookup refreshes a device and forgets sockets that it closed.
func (l *loop) lookup(d *device) {
	before := d.index
	d.lookup(l.ctl, l.now())
	if d.index == before {
		return
	}
	for fd, p := range l.byFD {
		if p.dev == d {
			delete(l.byFD, fd)
		}
	}
	l.e.opt.Logger.Info("probe device changed", "device", d.name, "was", before, "index", d.index)
}

// ready makes sure that the path has the socket a kind of probe needs.
func (l *loop) ready(p *path, kind wg.ProbeKind, now time.Duration) error {
	if now-p.dev.checked >= recheck {
		l.lookup(p.dev)
	}
	switch {
	case p.dev.index == 0:
		return errNoDevice
	case kind == wg.ProbeICMP && p.icmp < 0:
		if err := p.openICMP(l.id); err != nil {
			return err
		}
		l.byFD[int32(p.icmp)] = p
		return l.register(p.icmp, unix.EPOLLIN, int32(p.icmp), evICMP)
	case kind == wg.ProbeHeartbeat && p.udp < 0:
		return p.openUDP()
	case kind != wg.ProbeICMP && kind != wg.ProbeHeartbeat && kind != wg.ProbeTCP:
		return fmt.Errorf("unknown kind %q", kind)
	}
	return nil
}
