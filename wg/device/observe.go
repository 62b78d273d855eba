package device

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// Observe reads the counters of an interface that Apply has handled. It is
// cheap enough for a poll every second with thousands of peers. The result is
// one consistent dump or an error: ErrInterrupted (read again), ErrNoDevice.
func (m *Manager) Observe(ctx context.Context, name string) (wg.DeviceState, error) {
	return m.look(ctx, name, false)
}

// Snapshot reads everything, allowed IPs included. What it finds different
// from what we left (external damage) is repaired by the next Apply; call it
// every half minute or so as an audit.
func (m *Manager) Snapshot(ctx context.Context, name string) (wg.DeviceState, error) {
	return m.look(ctx, name, true)
}

func (m *Manager) look(ctx context.Context, name string, full bool) (wg.DeviceState, error) {
	d := m.existing(name)
	if d == nil {
		return wg.DeviceState{Name: name}, errUnmanaged(name)
	}
	if err := d.lockCtx(ctx); err != nil {
		return wg.DeviceState{Name: name}, err
	}
	defer d.unlock()
	s := wg.DeviceState{Name: name}
	if d.be == nil || !d.be.alive() {
		return s, errUnmanaged(name)
	}
	link, err := m.links.find(name)
	if err != nil {
		return s, err
	}
	if link == nil {
		d.dirty.Store(true)
		return s, errUnmanaged(name)
	}
	dump, err := d.be.read(full)
	if err != nil {
		if !errors.Is(err, ErrInterrupted) {
			d.dirty.Store(true)
		}
		return s, fmt.Errorf("read interface %s: %w", name, err)
	}
	s = wg.DeviceState{
		Name: name, Backend: d.be.kind(), Up: link.Attrs().Flags&net.FlagUp != 0, MTU: link.Attrs().MTU,
		PublicKey: dump.PublicKey, ListenPort: dump.ListenPort, At: time.Now(), Peers: dump.states(),
	}
	if d.port != dump.ListenPort {
		d.port = dump.ListenPort
		m.tapped(d)
	}
	if d.roamed(s.Peers) {
		d.dirty.Store(true)
		m.signal()
	}
	if full && d.table != nil {
		d.retable(dump)
	}
	if b, ok := d.be.(*userBackend); ok {
		b.drop(d.dead)
	}
	if !s.Up || link.Attrs().Index != d.index {
		d.dirty.Store(true)
	}
	return s, nil
}

// retable replaces the table by what was read, keeping what only we know: which
// entries this process has wanted, and which endpoint we wrote.
func (d *dev) retable(full dump) {
	old := d.table
	d.table = full.table(d.own)
	if old == nil {
		return
	}
	for _, h := range d.table.Peers() {
		was := old.Peer(h.Key)
		if was == nil {
			continue
		}
		if h.By == wg.OursBefore && was.By == wg.Ours {
			h.By = wg.Ours
		}
		if h.EndpointFor == (wg.Endpoint{}) {
			h.EndpointFor = was.EndpointFor
		}
		ips := was.AllowedIPs
		for i := range h.AllowedIPs {
			for len(ips) > 0 && wg.CompareAllowed(ips[0].Prefix, h.AllowedIPs[i].Prefix) < 0 {
				ips = ips[1:]
			}
			if len(ips) > 0 && ips[0].Prefix == h.AllowedIPs[i].Prefix && h.AllowedIPs[i].By == wg.OursBefore {
				h.AllowedIPs[i].By = ips[0].By
			}
		}
	}
}

// roamed takes over endpoints, so that a dead peer's current one is known, and
// reports whether the interface may want another MTU for one of them.
func (d *dev) roamed(peers []wg.PeerState) (mtu bool) {
	if d.table == nil {
		return false
	}
	held := d.table.Peers()
	for i := range peers {
		for len(held) > 0 && held[0].Key.Compare(peers[i].Key) < 0 {
			held = held[1:]
		}
		if len(held) > 0 && held[0].Key == peers[i].Key {
			was, is := held[0].Endpoint, peers[i].Endpoint
			held[0].Endpoint = is
			mtu = mtu || (d.want.MTU == 0 && was.Addr() != is.Addr() && d.mtuMoves(was, is))
		}
	}
	return mtu
}

// mtuMoves reports whether the interface's derived MTU may change when a peer's
// endpoint does: its new path is smaller than any before, or the old one, which
// may be the smallest, or none at all, gave way to a larger one.
func (d *dev) mtuMoves(was, is netip.AddrPort) bool {
	if !is.IsValid() || is == wg.Parked {
		return false
	}
	mark := d.want.FirewallMark
	now := pathMTU([]netip.AddrPort{is}, mark)
	return now < d.mtu || now > d.mtu && (!was.IsValid() || was == wg.Parked || pathMTU([]netip.AddrPort{was}, mark) <= d.mtu)
}
