package device

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// Message types of WireGuard, the first byte of a packet.
const (
	typeResponse = 2
	typeData     = 4
	minData      = 32 // bytes of the shortest data message, a keepalive
)

// sightEvery bounds how often one peer is reported.
const sightEvery = 250 * time.Millisecond

// answerHolds is for how long a peer that answered a handshake is not given
// another: it has a session then, or its answer was of no use and it is not there.
const answerHolds = 5 * time.Second

// watcher looks out for data from addresses that other hosts named as the last ones
// of peers. It is asked for every packet and must cost nothing while there is
// nobody to look out for.
type watcher struct {
	device string
	report func(device string, k wg.Key, from netip.AddrPort)
	start  time.Time
	peers  atomic.Pointer[map[netip.AddrPort]*watched] // nil: none
}

type watched struct {
	key      wg.Key
	sighted  atomic.Int64 // since start, nanoseconds; 0: never
	answered atomic.Int64
}

func newWatcher(device string, report func(string, wg.Key, netip.AddrPort)) *watcher {
	return &watcher{device: device, report: report, start: time.Now()}
}

// set replaces whom to look out for.
func (w *watcher) set(peers map[netip.AddrPort]wg.Key) {
	if len(peers) == 0 {
		w.peers.Store(nil)
		return
	}
	old := w.peers.Load()
	fresh := make(map[netip.AddrPort]*watched, len(peers))
	for at, k := range peers {
		var e *watched
		if old != nil {
			e = (*old)[at]
		}
		if e == nil || e.key != k {
			e = &watched{key: k}
		}
		fresh[at] = e
	}
	w.peers.Store(&fresh)
}

// packet takes the beginning of one that was received.
func (w *watcher) packet(b []byte, from func() netip.AddrPort) {
	peers := w.peers.Load()
	if peers == nil || len(b) < minData || b[0] != typeData && b[0] != typeResponse {
		return
	}
	at := from()
	e := (*peers)[netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())]
	if e == nil {
		return
	}
	now := int64(time.Since(w.start))
	if b[0] == typeResponse {
		e.answered.Store(now)
		return
	}
	last := e.sighted.Load()
	if last != 0 && now-last < int64(sightEvery) || !e.sighted.CompareAndSwap(last, now) {
		return
	}
	w.report(w.device, e.key, at)
}

// answered reports whether a peer has just answered from an address.
func (w *watcher) answered(at netip.AddrPort) bool {
	peers := w.peers.Load()
	if peers == nil {
		return false
	}
	e := (*peers)[at]
	if e == nil {
		return false
	}
	t := e.answered.Load()
	return t != 0 && time.Since(w.start)-time.Duration(t) < answerHolds
}

// Watch says from which addresses peers may come that had a session with another
// host, so that Options.OnSight is told when one does: of data that arrives from
// such an address, at most four times a second for each. A userspace device looks
// at what it receives; for a kernel device it is an eBPF filter that passes nothing
// else (tap.go), which needs CAP_NET_RAW and CAP_BPF.
func (m *Manager) Watch(name string, peers map[netip.AddrPort]wg.Key) {
	d := m.device(name) // it may not have been applied yet
	d.watcher.set(peers)
	d.lock()
	defer d.unlock()
	m.tapped(d)
}

// tapped gives a kernel device that has somebody to look out for its tap. The
// caller holds the device.
func (m *Manager) tapped(d *dev) {
	peers := d.watcher.peers.Load()
	if peers == nil || d.port == 0 || d.be == nil || d.be.kind() != wg.BackendKernel {
		d.tap.close()
		d.tap = nil
		return
	}
	if d.tap == nil || d.tap.port != d.port {
		d.tap.close()
		t, err := openTap(d.port, d.watcher)
		if err != nil && !d.tapFailed {
			m.log.Warn("peers that come from another host are not noticed before they ask for a session", "device", d.name, "err", err)
		}
		if d.tap, d.tapFailed = t, err != nil; err != nil {
			d.tap = nil
			return
		}
		m.tasks.start(t.run)
	}
	if err := d.tap.set(*peers); err != nil {
		m.log.Warn("some peers that come from another host are not noticed before they ask for a session", "device", d.name, "err", err)
	}
}

// Greet starts a session with peers that had one with another host: it gives them
// their endpoints and sends a handshake initiation. gen is that of the plan, so
// that an older one does not undo it. Peers that are not on the interface, and
// those that have just answered, are passed over.
func (m *Manager) Greet(ctx context.Context, gen uint64, name string, greetings []wg.Greeting) error {
	d := m.existing(name)
	if d == nil {
		return errUnmanaged(name)
	}
	if err := d.lockCtx(ctx); err != nil {
		return err
	}
	defer d.unlock()
	if d.be == nil || !d.be.alive() || d.table == nil {
		return errUnmanaged(name)
	}
	d.gen = max(d.gen, gen)
	var kicks []kick
	for i := range greetings {
		g := &greetings[i]
		if h := d.table.Peer(g.Key); h != nil && !d.watcher.answered(g.Endpoint) {
			kicks = append(kicks, kick{g.Key, g.Endpoint, h.Keepalive})
		}
	}
	slices.SortFunc(kicks, func(a, b kick) int { return a.key.Compare(b.key) })
	if err := d.be.kick(kicks); err != nil {
		d.dirty.Store(true)
		return err
	}
	for _, k := range kicks {
		d.table.Do(wg.Op{Kind: wg.OpSetEndpoint, Peer: k.key, Endpoint: k.endpoint})
		if d.want.MTU == 0 && d.mtuMovesFor(k.endpoint) {
			d.dirty.Store(true)
			m.signal()
		}
	}
	return nil
}

// kick is a peer to start a session with, and its keepalive.
type kick struct {
	key       wg.Key
	endpoint  netip.AddrPort
	keepalive time.Duration
}

// kick forgets what is left of an older session, and with it WireGuard's rule that
// two initiations are 5 s apart: the one before may have been lost because the
// address had not moved yet.
func (b *userBackend) kick(kicks []kick) error {
	if len(kicks) == 0 {
		return nil
	}
	ops := make([]wg.Op, len(kicks))
	keys := make([]wg.Key, len(kicks))
	for i, k := range kicks {
		ops[i], keys[i] = wg.Op{Kind: wg.OpSetEndpoint, Peer: k.key, Endpoint: k.endpoint}, k.key
	}
	if err := b.apply(ops); err != nil {
		return err
	}
	for _, k := range keys {
		if p := b.peer(k); p != nil {
			p.ExpireCurrentKeypairs()
		}
	}
	b.shake(keys)
	return nil
}

// kick switches the keepalive off and on again. When it goes on the kernel sends a
// keepalive at once (set_peer in drivers/net/wireguard/netlink.c), which without a
// session is an initiation, at most one in 5 s.
func (b *kernelBackend) kick(kicks []kick) error {
	steps := [][]wg.Op{nil, nil, nil}
	for _, k := range kicks {
		set := func(step int, d time.Duration) {
			steps[step] = append(steps[step], wg.Op{Kind: wg.OpSetKeepalive, Peer: k.key, Keepalive: d})
		}
		steps[0] = append(steps[0], wg.Op{Kind: wg.OpSetEndpoint, Peer: k.key, Endpoint: k.endpoint})
		set(0, 0)
		set(1, max(k.keepalive, time.Second))
		if k.keepalive == 0 {
			set(2, 0)
		}
	}
	for _, ops := range steps {
		if err := b.apply(ops); err != nil {
			return err
		}
	}
	return nil
}
