package probe

import (
	"container/heap"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/poll"
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

// Kinds of epoll registrations.
const (
	evICMP = iota
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

	waiter *poll.Waiter
	ctl    int

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
		ctl: -1,
	}
	l.onICMP, l.onUDP = l.sentICMP, l.sentUDP
	var id [2]byte
	_, _ = rand.Read(id[:])
	l.id = binary.BigEndian.Uint16(id[:])
	var err error
	if l.waiter, err = poll.NewWaiter(); err != nil {
		return nil, err
	}
	if l.ctl, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		l.close()
		return nil, os.NewSyscallError("socket", err)
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
	l.waiter.Close()
	if l.ctl >= 0 {
		_ = unix.Close(l.ctl)
	}
}

func (l *loop) now() time.Duration { return time.Since(l.start) }

// turn waits for something to do and does it.
func (l *loop) turn() error {
	var deadline time.Time
	if len(l.timers) > 0 {
		deadline = l.start.Add(l.timers[0].when)
	}
	var events []unix.EpollEvent
	var err error
	if !deadline.IsZero() && !time.Now().Before(deadline) {
		events, err = l.waiter.Ready()
	} else {
		events, err = l.waiter.Wait(deadline)
	}
	if err != nil {
		return err
	}
	l.handle(events)
	return l.expire()
}

// handle does what events ask for.
func (l *loop) handle(events []unix.EpollEvent) {
	for _, ev := range events {
		switch ev.Pad {
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
			events, err := l.waiter.Ready()
			if err != nil {
				return err
			}
			l.handle(events)
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
		return l.waiter.Add(p.icmp, unix.EPOLLIN, int32(p.icmp), evICMP)
	case kind == wg.ProbeHeartbeat && p.udp < 0:
		return p.openUDP()
	case kind != wg.ProbeICMP && kind != wg.ProbeHeartbeat && kind != wg.ProbeTCP:
		return fmt.Errorf("unknown kind %q", kind)
	}
	return nil
}
