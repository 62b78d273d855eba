package probe

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"hash/fnv"
	"hash/maphash"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/mmsg"
	"github.com/wgbgp/wgbgp/wg"
)

// target is a probe while it runs.
type target struct {
	probe wg.Probe
	slot  uint32
	path  *path
	to    mmsg.Sockaddr
	peer  unix.Sockaddr // TCP
	hash  uint64
	phase time.Duration
	mark  uint64

	index int           // in timers
	when  time.Duration // next round, or the deadline of the open one
	open  bool
	round uint32
	began time.Duration // when the round was due
	sent  time.Duration
	fd    int // TCP while connecting, else -1

	reason string // of the last round
}

// after returns the first moment of the target's grid after now.
func (t *target) after(now time.Duration) time.Duration {
	i := t.probe.Interval
	return t.phase + (now-t.phase+i)/i*i
}

// next returns when the round after the one that began last starts. A round may
// end a little after the next one was due, always so when the timeout is as long
// as the interval; then that one starts late instead of being left out. What is
// missed by more than half an interval stays missed: nothing is caught up.
func (t *target) next(now time.Duration) time.Duration {
	due := t.after(t.began)
	switch {
	case due >= now:
		return due
	case now-due <= t.probe.Interval/2:
		return now
	}
	return t.after(now)
}

func (t *target) closeTCP() {
	if t.fd >= 0 {
		_ = unix.Close(t.fd)
		t.fd = -1
	}
}

// timers is a heap by time.
type timers []*target

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].when < h[j].when }
func (h timers) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i, j }

// Push is for container/heap.
func (h *timers) Push(x any) {
	t := x.(*target)
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop is for container/heap.
func (h *timers) Pop() any {
	o := *h
	t := o[len(o)-1]
	o[len(o)-1] = nil
	*h = o[:len(o)-1]
	return t
}

// set replaces the probes that run by those wanted.
func (l *loop) set(probes []wg.Probe) {
	l.grid = gridFor(len(probes))
	l.mark++
	now := l.now()
	for _, p := range probes {
		p = normal(p)
		t := l.byID[p.ID]
		if t != nil && t.probe != p && !l.repace(t, p, now) {
			l.remove(t)
			t = nil
		}
		if t == nil {
			t = l.add(p, now)
		}
		t.mark = l.mark
	}
	for _, t := range l.byID {
		if t.mark != l.mark {
			l.remove(t)
		}
	}
	l.e.stats.targets.Store(uint64(len(l.byID)))
}

// repace takes over a probe that differs in nothing but its rhythm. Thousands
// may change at once: one that becomes more frequent starts like a new one,
// within a tenth of the interval if that is longer, and one that becomes rarer
// waits for its turn. An open round goes on.
func (l *loop) repace(t *target, p wg.Probe, now time.Duration) bool {
	was := t.probe
	was.Interval, was.Timeout = p.Interval, p.Timeout
	if was != p {
		return false
	}
	sooner := p.Interval < t.probe.Interval
	t.probe, t.phase = p, l.phase(t.hash, p.Interval)
	switch {
	case t.open:
	case sooner:
		l.schedule(t, min(t.when, now+time.Duration(t.hash>>32%uint64(min(p.Interval, max(firstWithin, p.Interval/10))))))
	default:
		l.schedule(t, t.after(now))
	}
	return true
}

// phase places a probe on the grid of its interval.
func (l *loop) phase(hash uint64, interval time.Duration) time.Duration {
	return time.Duration(hash % uint64(interval)).Truncate(l.grid)
}

// gridFor is how finely the phases of n probes are spread. A thousand must not
// start together; for a handful every wake-up of the process costs more than
// the packet, so they share a few.
func gridFor(n int) time.Duration {
	if n <= fewProbes {
		return 20 * tick
	}
	return tick
}

// normal makes a probe runnable whatever it says.
func normal(p wg.Probe) wg.Probe {
	p.Interval = max(p.Interval, tick)
	if p.Timeout <= 0 {
		p.Timeout = p.Interval
	}
	p.Target, p.Source = p.Target.Unmap().WithZone(""), p.Source.Unmap().WithZone("")
	return p
}

func (l *loop) add(p wg.Probe, now time.Duration) *target {
	h := fnv.New64a()
	_, _ = h.Write([]byte(cmp.Or(p.Site, p.ID)))
	hash := h.Sum64()
	t := &target{probe: p, fd: -1, hash: hash, phase: l.phase(hash, p.Interval)}
	t.path = l.path(p)
	t.path.uses++
	port := p.Port
	switch p.Kind {
	case wg.ProbeICMP:
		port = 0 // a raw ICMPv6 socket refuses others
	case wg.ProbeHeartbeat:
		port = discard
	}
	if p.Target.IsValid() {
		t.to = mmsg.NewSockaddr(p.Target, port)
		if p.Target.Is4() {
			t.peer = &unix.SockaddrInet4{Port: int(port), Addr: p.Target.As4()}
		} else {
			t.peer = &unix.SockaddrInet6{Port: int(port), Addr: p.Target.As16()}
		}
	}
	if n := len(l.free); n > 0 {
		t.slot, l.free = l.free[n-1], l.free[:n-1]
		l.slots[t.slot] = t
	} else {
		t.slot = uint32(len(l.slots))
		l.slots = append(l.slots, t)
	}
	l.byID[p.ID] = t
	t.when = now + time.Duration(hash>>32%uint64(min(p.Interval, firstWithin)))
	heap.Push(&l.timers, t)
	return t
}

func (l *loop) remove(t *target) {
	t.closeTCP()
	heap.Remove(&l.timers, t.index)
	delete(l.byID, t.probe.ID)
	l.slots[t.slot] = nil
	l.free = append(l.free, t.slot)
	p := t.path
	if p.uses--; p.uses > 0 {
		return
	}
	delete(l.byFD, int32(p.icmp))
	p.close()
	delete(l.paths, p.key)
	d := p.dev
	for i, q := range d.paths {
		if q == p {
			d.paths = append(d.paths[:i], d.paths[i+1:]...)
			break
		}
	}
	if len(d.paths) == 0 {
		delete(l.devices, d.name)
	}
}

func (l *loop) path(p wg.Probe) *path {
	k := pathKey{p.Device, p.Target.Is6(), "", p.Mark}
	if p.Source.IsValid() && p.Source.Is6() == p.Target.Is6() {
		k.source = p.Source.String()
	}
	if q := l.paths[k]; q != nil {
		return q
	}
	d := l.devices[p.Device]
	if d == nil {
		d = &device{name: p.Device, checked: -recheck}
		d.ifr, _ = unix.NewIfreq(p.Device) // a name no interface can have stays missing
		l.devices[p.Device] = d
	}
	q := &path{key: k, dev: d, v6: k.v6, icmp: -1, udp: -1}
	if k.source != "" {
		q.source = p.Source
	}
	d.paths = append(d.paths, q)
	l.paths[k] = q
	return q
}

// begin starts a round.
func (l *loop) begin(t *target, now time.Duration) {
	p := t.path
	t.round++
	t.began, t.sent = t.when, now
	if err := l.ready(p, t.probe.Kind, now); err != nil {
		l.fail(t, reasonOf(err))
		return
	}
	if !t.probe.Target.IsValid() {
		l.fail(t, "send: no target")
		return
	}
	t.open = true
	l.schedule(t, now+t.probe.Timeout)
	switch t.probe.Kind {
	case wg.ProbeTCP:
		l.connect(t)
	case wg.ProbeHeartbeat:
		l.queue(p, outUDP, t, 1)[0] = 0
		l.filled(p, outUDP)
	default:
		b := l.queue(p, outICMP, t, echoLen)
		putEcho(b, p.v6, l.id, echo{t.slot, t.round, l.cookie(t.slot, t.round)})
		l.filled(p, outICMP)
	}
}

func (l *loop) queue(p *path, kind int, t *target, n int) []byte {
	o := p.out[kind]
	if o == nil {
		o = new(outbox)
		p.out[kind] = o
	}
	if (p.out[outICMP] == nil || p.out[outICMP].n == 0) && (p.out[outUDP] == nil || p.out[outUDP].n == 0) {
		l.dirty = append(l.dirty, p)
	}
	return o.add(t, n)
}

func (l *loop) filled(p *path, kind int) {
	if p.out[kind].full() {
		l.flushPath(p)
		for i, q := range l.dirty {
			if q == p {
				l.dirty = append(l.dirty[:i], l.dirty[i+1:]...)
				break
			}
		}
	}
}

// cookie is what a stranger can not guess about a round.
func (l *loop) cookie(slot, round uint32) uint64 {
	var b [8]byte
	binary.BigEndian.PutUint32(b[:], slot)
	binary.BigEndian.PutUint32(b[4:], round)
	return maphash.Bytes(l.seed, b[:])
}

// sentICMP learns whether a request left.
func (l *loop) sentICMP(t *target, err error) {
	if err == nil {
		l.e.stats.sent.Add(1)
		return
	}
	l.unsent(t, err)
}

// sentUDP learns whether a heartbeat left, which is all there is to learn.
func (l *loop) sentUDP(t *target, err error) {
	if err != nil {
		l.unsent(t, err)
		return
	}
	l.e.stats.sent.Add(1)
	l.finish(t, wg.ProbeResult{OK: true}, t.sent)
}

// unsent ends a round that never left. An interface that is gone shows itself by
// different errors, so it is looked up.
func (l *loop) unsent(t *target, err error) {
	d := t.path.dev
	d.suspect = true
	reason := reasonOf(err)
	if d.name != "" && (d.ifr == nil || unix.IoctlIfreq(l.ctl, unix.SIOCGIFINDEX, d.ifr) != nil) {
		reason = reasonNoDevice
	}
	l.fail(t, reason)
}

// read takes answers from a path's ICMP socket.
func (l *loop) read(p *path) {
	for range maxDrain {
		n, err := l.in.receive(p.icmp)
		if err != nil {
			return
		}
		now, wall := l.now(), time.Now()
		for i := range n {
			b, from, age := l.in.packet(i, wall)
			l.answered(p, b, from, now-age)
		}
		if n < mmsg.Batch {
			return
		}
	}
}

// answered matches a packet with the round it belongs to.
func (l *loop) answered(p *path, b []byte, from netip.Addr, at time.Duration) {
	parse := parse4
	if p.v6 {
		parse = parse6
	}
	a, ok := parse(b, l.id)
	if !ok {
		return
	}
	var t *target
	if int(a.slot) < len(l.slots) {
		t = l.slots[a.slot]
	}
	whose := from
	if a.unreachable {
		whose = a.dst
	}
	if t == nil || !t.open || t.path != p || t.round != a.round || t.probe.Kind != wg.ProbeICMP ||
		whose != t.probe.Target || a.cookie != l.cookie(a.slot, a.round) {
		l.e.stats.foreign.Add(1)
		return
	}
	rtt := max(at-t.sent, 0)
	switch {
	case a.unreachable:
		l.fail(t, reasonUnreachable)
	case rtt > t.probe.Timeout:
		// It arrived, but too late; only we are even later.
		l.e.stats.timeouts.Add(1)
		l.finish(t, wg.ProbeResult{Reason: reasonTimeout}, l.now())
	default:
		l.e.stats.answered.Add(1)
		l.finish(t, wg.ProbeResult{OK: true, RTT: rtt}, t.sent+rtt)
	}
}

// connect begins a TCP handshake.
func (l *loop) connect(t *target) {
	fd, err := t.path.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		l.unsent(t, err)
		return
	}
	t.fd = fd
	// Leave with a reset: no TIME_WAIT here, nothing half-open there.
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	switch err = unix.Connect(fd, t.peer); err {
	case nil:
		l.connected(t)
	case unix.EINPROGRESS:
		if err = l.waiter.Add(fd, unix.EPOLLOUT, int32(t.slot), evTCP); err != nil {
			l.unsent(t, err)
			return
		}
		l.e.stats.sent.Add(1)
	default:
		l.unsent(t, err)
	}
}

// connected reads the outcome of a handshake.
func (l *loop) connected(t *target) {
	now := l.now()
	e, err := unix.GetsockoptInt(t.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		l.fail(t, reasonOf(err))
	case e != 0:
		l.fail(t, reasonOf(unix.Errno(e)))
	default:
		l.e.stats.answered.Add(1)
		l.finish(t, wg.ProbeResult{OK: true, RTT: max(now-t.sent, 0)}, now)
	}
}
