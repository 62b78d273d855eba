package device

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/wgbgp/wgbgp/wg"
)

// Apply makes the interfaces as wanted and reports, in the order of want, what
// is true afterwards. The same set again writes nothing. Interfaces are
// handled independently; one that fails delays no other. A call with an older
// generation than one already handled changes nothing.
//
// With sweep, what earlier processes of ours left and want does not name is
// removed: peers, allowed IPs, and interfaces that we made. Without it only
// what this process set is removed. Entries of others are reported and stay.
func (m *Manager) Apply(ctx context.Context, gen uint64, want []wg.Device, sweep bool) []wg.Applied {
	out := make([]wg.Applied, len(want))
	inParallel(len(want), func(i int) { out[i] = m.applyOne(ctx, gen, &want[i], sweep) })
	if sweep {
		m.sweep(gen, want)
	}
	return out
}

func (m *Manager) applyOne(ctx context.Context, gen uint64, want *wg.Device, sweep bool) wg.Applied {
	a := wg.Applied{Device: want.Name, Gen: gen}
	d := m.device(want.Name)
	if err := d.lockCtx(ctx); err != nil {
		a.Err = err.Error()
		return a
	}
	defer d.unlock()
	if gen < d.gen {
		return d.applied // a newer plan was here first
	}
	d.gen = gen
	if err := m.prepare(d, want); err != nil {
		a.Err = fmt.Sprintf("interface %s: %v", want.Name, err)
		d.dirty.Store(true)
		if d.be != nil { // it stands, and its peers with it
			a.Backend, a.Index, a.MTU = d.be.kind(), d.index, d.mtu
		}
		d.applied = a
		return a
	}
	a.Backend, a.Index, a.MTU = d.be.kind(), d.index, d.mtu
	m.peers(d, want, sweep, &a)
	a.Problems = append(append(a.Problems, d.warnings...), d.problems...)
	slices.Sort(a.Problems)
	d.applied = a
	return a
}

// prepare makes sure that the interface exists, is configured and up, and that
// the table of what is on it is known.
func (m *Manager) prepare(d *dev, want *wg.Device) error {
	if d.be != nil && !d.be.alive() {
		d.drop()
	}
	suspect := d.dirty.Swap(false)
	if d.be != nil && d.table != nil && !suspect && time.Since(d.checked) < recheckEvery && sameDevice(&d.want, want) {
		return nil
	}
	link, err := m.links.find(d.name)
	if err != nil {
		return err
	}
	if d.be != nil && (link == nil || link.Attrs().Index != d.index) {
		d.drop() // deleted or replaced behind our back
	}
	if d.be == nil {
		if link, err = m.open(d, want, link); err != nil {
			return err
		}
	}
	now, err := m.readRetry(d, true)
	if err != nil {
		return err
	}
	d.retable(now)
	if err := m.configure(d, want, now); err != nil {
		return err
	}
	m.restoreForeign(d, want)
	changed := m.adjust(d, want, link)
	if b, ok := d.be.(*userBackend); ok {
		if err := b.up(); err != nil {
			return err
		}
	}
	if changed {
		m.log.Info("interface set", "device", d.name, "backend", d.be.kind(), "mtu", d.mtu)
	}
	m.setWatch(d, d.index)
	d.checked = time.Now()
	d.want = *want
	d.want.Peers = nil
	return nil
}

// drop forgets a device that is no longer there.
func (d *dev) drop() {
	if d.be != nil {
		d.be.close()
	}
	d.be, d.table, d.warnings, d.problems = nil, nil, nil, nil
}

// sameDevice compares everything but the peers.
func sameDevice(a, b *wg.Device) bool {
	return a.Name == b.Name && a.Backend == b.Backend && a.PrivateKey == b.PrivateKey && a.ListenPort == b.ListenPort &&
		a.FirewallMark == b.FirewallMark && a.MTU == b.MTU && a.VRF == b.VRF && slices.Equal(a.Addresses, b.Addresses)
}

// open adopts a kernel device or makes a device, and returns its link.
func (m *Manager) open(d *dev, want *wg.Device, link netlink.Link) (netlink.Link, error) {
	useKernel := want.Backend != wg.BackendUserspace && m.kernel != nil
	if want.Backend == wg.BackendKernel && m.kernel == nil {
		return nil, errNoWireGuard
	}
	d.restored = saved{}
	switch {
	case useKernel && link != nil:
		if link.Type() != "wireguard" {
			return nil, fmt.Errorf("exists and is a %s interface, not WireGuard", link.Type())
		}
	case useKernel:
		if err := m.kernel.create(m.links, d.name); err != nil {
			return nil, err
		}
		if err := d.own.reset(); err != nil {
			d.warnings = append(d.warnings, err.Error())
		}
		m.log.Info("interface created", "device", d.name, "backend", wg.BackendKernel)
	default:
		if link != nil && link.Type() == "wireguard" {
			return nil, fmt.Errorf("exists as a kernel WireGuard interface; remove it to change the backend")
		}
		// Its peers died with the last process; who had put what there and
		// where the peers were is in the saved file.
		d.restored = loadSaved(m.dir, d.name)
		b, warning, err := newUserBackend(d.name, want.MTU, d.watcher, m.log)
		if err != nil {
			return nil, err
		}
		d.be = b
		if warning != "" {
			d.warnings = append(d.warnings, warning)
		}
		if err := d.own.reset(); err != nil {
			d.warnings = append(d.warnings, err.Error())
		}
		m.log.Info("interface created", "device", d.name, "backend", wg.BackendUserspace)
	}
	if useKernel {
		d.be = m.kernel.device(d.name, m.caps.RemovePrefix)
	}
	link, err := m.links.find(d.name)
	if err == nil && link == nil {
		err = ErrNoDevice
	}
	if err != nil {
		d.drop()
		return nil, err
	}
	d.index = link.Attrs().Index
	return link, nil
}

// readRetry reads again when a stranger's change overtook the dump.
func (m *Manager) readRetry(d *dev, full bool) (now dump, err error) {
	for range 5 {
		if now, err = d.be.read(full); err != ErrInterrupted { // ours, never wrapped
			return now, err
		}
	}
	return now, err
}

// configure writes key, port and mark where they differ.
func (m *Manager) configure(d *dev, want *wg.Device, now dump) error {
	var c deviceConfig
	if !want.PrivateKey.IsZero() && now.PublicKey != want.PrivateKey.Public() {
		c.PrivateKey = &want.PrivateKey
	}
	port := want.ListenPort
	if port == 0 && now.ListenPort == 0 {
		port = d.restored.Port // the one the system chose before our restart
	}
	if port != 0 && port != now.ListenPort {
		c.ListenPort = &port
	}
	if want.FirewallMark != now.Mark {
		c.Mark = &want.FirewallMark
	}
	if c.empty() {
		return nil
	}
	if err := d.be.configure(c); err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	return nil
}

// restoreForeign puts back what others had on a userspace device before it
// ended with our process. Where the plan now wants the prefix, the plan has it.
func (m *Manager) restoreForeign(d *dev, want *wg.Device) {
	if len(d.restored.Foreign) == 0 {
		return
	}
	var ops []wg.Op
	for _, f := range d.restored.Foreign {
		i, wanted := slices.BinarySearchFunc(want.Peers, f.Key, func(p wg.Peer, k wg.Key) int { return p.Key.Compare(k) })
		add := wg.Op{Kind: wg.OpAddPeer, Peer: f.Key, Endpoint: f.Endpoint, Keepalive: time.Duration(f.Keepalive) * time.Second}
		switch {
		case wanted:
			// Created whole, so that it never sends without its preshared key.
			w := &want.Peers[i]
			add.PresharedKey, add.Keepalive, add.Endpoint = w.PresharedKey, w.Keepalive, d.restored.Endpoints[w.Key]
			d.own.claim([]wg.Op{add})
		case !f.Whole:
			continue // its peer was ours and is no longer wanted
		}
		ops = append(ops, add)
		for _, p := range f.IPs {
			ops = append(ops, wg.Op{Kind: wg.OpMovePrefix, Peer: f.Key, Prefix: p})
		}
	}
	d.restored.Foreign = nil
	if err := d.be.apply(ops); err != nil {
		m.log.Warn("foreign entries could not be restored", "device", d.name, "err", err)
		return
	}
	now, err := m.readRetry(d, true)
	if err == nil {
		d.retable(now)
	}
}

// adjust brings link, MTU and addresses up to date.
func (m *Manager) adjust(d *dev, want *wg.Device, link netlink.Link) bool {
	was := link.Attrs().MTU
	noRoute := want.MTU == 0 && m.noRoute(d, want) // asked first: a route may come in between
	mtu := m.mtu(d, want, was)
	changed, problems := m.links.adjust(link, want, mtu, d.own)
	d.problems = problems
	if noRoute { // nothing tells when the routes come, as at boot: the edge tries again
		d.problems = append(d.problems, fmt.Sprintf("no route to any peer's endpoint: the MTU is %d until there is one", mtu))
		d.dirty.Store(true)
	}
	if err := d.own.flush(); err != nil {
		d.problems = append(d.problems, err.Error())
	}
	if was != mtu {
		d.be.mtuChanged()
	}
	d.mtu = was
	if l, err := m.links.find(d.name); err == nil && l != nil {
		d.mtu = l.Attrs().MTU
		if l.Attrs().Flags&net.FlagUp == 0 {
			d.dirty.Store(true)
		}
	}
	return changed
}

// mtu is what the interface's MTU should be. While every peer is parked nothing
// is known of the paths, and it stays as it is.
func (m *Manager) mtu(d *dev, want *wg.Device, now int) int {
	if want.MTU != 0 {
		return want.MTU
	}
	endpoints := m.endpoints(d, want)
	if known := slices.DeleteFunc(endpoints, func(e netip.AddrPort) bool { return e == wg.Parked }); len(known) > 0 || len(endpoints) == 0 {
		return pathMTU(known, want.FirewallMark)
	}
	return now
}

// noRoute reports whether peers' endpoints are known, and no route to any.
func (m *Manager) noRoute(d *dev, want *wg.Device) bool {
	known := slices.DeleteFunc(m.endpoints(d, want), func(e netip.AddrPort) bool { return e == wg.Parked })
	_, ok := pathMTUIfAny(known, want.FirewallMark)
	return len(known) > 0 && !ok
}

// endpoints lists the outer addresses of the peers: where they are, or where
// they are expected.
func (m *Manager) endpoints(d *dev, want *wg.Device) []netip.AddrPort {
	var out []netip.AddrPort
	for i := range want.Peers {
		p := &want.Peers[i]
		if h := d.table.Peer(p.Key); h != nil && h.Endpoint.IsValid() {
			out = append(out, h.Endpoint)
			continue
		}
		if p.Endpoint != (wg.Endpoint{}) {
			out = append(out, m.names.lookup(p.Endpoint)...)
		} else if e := d.restored.Endpoints[p.Key]; e.IsValid() {
			out = append(out, e)
		}
	}
	return out
}

// sweep removes interfaces that we made and that want does not name. An
// interface that we adopted stays; what is ours on it goes.
func (m *Manager) sweep(gen uint64, want []wg.Device) {
	named := map[string]bool{}
	for i := range want {
		named[want[i].Name] = true
	}
	list, err := m.links.h.LinkList()
	if err == nil {
		for _, l := range list { // of earlier processes
			if l.Attrs().Alias == linkMark && !named[l.Attrs().Name] && openOwnership(m.dir, l.Attrs().Name).created {
				m.device(l.Attrs().Name)
			}
		}
	}
	for _, d := range m.all() {
		if !named[d.name] {
			m.remove(d, gen)
		}
	}
}

func (m *Manager) remove(d *dev, gen uint64) {
	d.lock()
	defer d.unlock()
	if gen < d.gen {
		return
	}
	link, err := m.links.find(d.name)
	if err != nil {
		return // tried again at the next sweep
	}
	m.setWatch(d, 0)
	m.names.watch(d.name, nil)
	if link != nil && !d.own.created {
		if d.be != nil && d.table != nil {
			if ops := wg.Diff(nil, d.table, wg.DiffOptions{Sweep: true}).Ops; len(ops) > 0 {
				m.write(d, ops, &wg.Applied{Gen: gen})
			}
		}
		link = nil
	}
	d.drop()
	if link != nil && link.Type() == "wireguard" && link.Attrs().Alias == linkMark {
		if err := m.links.h.LinkDel(link); err != nil {
			m.log.Warn("interface could not be removed", "device", d.name, "err", translate(err))
			return
		}
	}
	d.own.forget()
	if m.dir != "" {
		removeFile(savedPath(m.dir, d.name))
	}
	m.mu.Lock()
	delete(m.devs, d.name)
	m.mu.Unlock()
	m.log.Info("interface removed", "device", d.name)
}

// Adopt makes everything on an interface ours: peers, allowed IPs and the
// interface itself. From then on what the plan does not name is removed.
func (m *Manager) Adopt(ctx context.Context, name string) error {
	d := m.existing(name)
	if d == nil {
		return errUnmanaged(name)
	}
	if err := d.lockCtx(ctx); err != nil {
		return err
	}
	defer d.unlock()
	if d.be == nil || d.table == nil {
		return errUnmanaged(name)
	}
	d.own.add("created")
	for _, h := range d.table.Peers() {
		if h.By == wg.Foreigner {
			d.own.addPeer(h.Key, h.EndpointFor)
			h.By = wg.Ours
		}
		for i := range h.AllowedIPs {
			if ip := &h.AllowedIPs[i]; ip.By == wg.Foreigner {
				d.own.add("+ip", h.Key.String(), ip.Prefix.String())
				ip.By = wg.Ours
			}
		}
	}
	return d.own.flush()
}
