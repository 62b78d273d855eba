package device

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/wgbgp/wgbgp/wg"
)

// peers makes peers and allowed IPs as wanted.
func (m *Manager) peers(d *dev, want *wg.Device, sweep bool, a *wg.Applied) {
	peers := m.acceptable(want, d.be.kind(), a)
	waiting := map[string]bool{}
	opts := wg.DiffOptions{Sweep: sweep, Resolve: func(e wg.Endpoint, dead bool) []netip.AddrPort {
		addrs := m.names.lookup(e)
		if _, err := netip.ParseAddr(e.Host); err != nil && (dead || len(addrs) == 0) {
			waiting[e.Host] = true
		}
		return addrs
	}}
	delta := wg.Diff(peers, d.table, opts)
	m.names.watch(d.name, waiting)
	if len(waiting) > 0 {
		select {
		case m.lookNow <- struct{}{}:
		default:
		}
	}
	errs := map[wg.Op]string{}
	if len(delta.Ops) > 0 {
		greet := m.withRestored(d, delta.Ops)
		a.Added = added(delta.Ops)
		if errs = m.write(d, delta.Ops, a); len(errs) > 0 {
			delta = m.reread(d, peers, opts)
		}
		if want.MTU == 0 && slices.ContainsFunc(delta.Ops, func(op wg.Op) bool { return d.mtuMovesFor(op.Endpoint) }) {
			d.dirty.Store(true) // the MTU was derived before these endpoints were known
			m.signal()
		}
		if b, ok := d.be.(*userBackend); ok {
			b.greet(greet)
			b.shake(moved(delta.Ops))
		}
	}
	d.dead = d.dead[:0]
	if _, ok := d.be.(*userBackend); ok {
		for i := range peers {
			if peers[i].Dead {
				d.dead = append(d.dead, peers[i].Key)
			}
		}
	}
	a.Foreign = delta.Foreign
	m.report(want, delta, errs, a)
}

// mtuMovesFor reports whether an endpoint that we set may change the derived MTU,
// now or, where there is no route to it yet, later.
func (d *dev) mtuMovesFor(e netip.AddrPort) bool {
	if !e.IsValid() || e == wg.Parked {
		return false
	}
	_, route := pathMTUIfAny([]netip.AddrPort{e}, d.want.FirewallMark)
	return !route || d.mtuMoves(wg.Parked, e)
}

// added lists the peers that are new.
func added(ops []wg.Op) (keys []wg.Key) {
	for i := range ops {
		if ops[i].Kind == wg.OpAddPeer {
			keys = append(keys, ops[i].Peer)
		}
	}
	return keys
}

// moved lists the peers that got another endpoint.
func moved(ops []wg.Op) (keys []wg.Key) {
	for i := range ops {
		if ops[i].Kind == wg.OpSetEndpoint {
			keys = append(keys, ops[i].Peer)
		}
	}
	return keys
}

// withRestored completes new peers with the endpoint they had before our
// restart, if what is configured for them is the same or nothing. It returns
// those that would not start a handshake by themselves.
func (m *Manager) withRestored(d *dev, ops []wg.Op) (greet []wg.Key) {
	for i := range ops {
		op := &ops[i]
		if op.Kind != wg.OpAddPeer {
			break
		}
		if e, ok := d.restored.Endpoints[op.Peer]; ok {
			op.Endpoint = e
			delete(d.restored.Endpoints, op.Peer) // once: a peer added later starts afresh
			if op.Keepalive == 0 {
				greet = append(greet, op.Peer)
			}
		}
	}
	return greet
}

// acceptable leaves out peers that WireGuard would ignore without a word or
// refuse, and says why.
func (m *Manager) acceptable(want *wg.Device, kind wg.Backend, a *wg.Applied) []wg.Peer {
	self := wg.Key{}
	if !want.PrivateKey.IsZero() {
		self = want.PrivateKey.Public()
	}
	bad := func(i int) string {
		p := &want.Peers[i]
		switch {
		case p.Key.IsZero():
			return "has no public key"
		case p.Key == self:
			return "has the public key of this interface itself"
		case i > 0 && want.Peers[i-1].Key == p.Key:
			return "is given twice"
		case kind == wg.BackendKernel && strings.Contains(p.Endpoint.Host, "%"):
			return "has an endpoint with a zone, which the kernel backend can not set"
		}
		for _, ip := range p.AllowedIPs {
			if !prefixOK(ip) {
				return "has the allowed IP " + ip.String() + ", which is not a masked prefix"
			}
		}
		return ""
	}
	for i := range want.Peers {
		if bad(i) == "" {
			continue
		}
		var good []wg.Peer
		for j := range want.Peers {
			text := bad(j)
			if text == "" {
				good = append(good, want.Peers[j])
				continue
			}
			fail(a, want.Peers[j].Key, "peer "+want.Peers[j].Name+": "+text)
		}
		return good
	}
	return want.Peers
}

// write does the ops in calls of bounded size and repeats each success in the
// table. A call that fails is tried again op by op, so that one bad entry does
// not stop the rest. It returns the ops that failed.
func (m *Manager) write(d *dev, ops []wg.Op, a *wg.Applied) map[wg.Op]string {
	ops = groupByPeer(ops)
	from := map[netip.Prefix]wg.Key{}
	for i := range ops {
		if ops[i].Kind == wg.OpMovePrefix {
			if k, ok := d.table.Holder(ops[i].Prefix); ok {
				from[ops[i].Prefix] = k
			}
		}
	}
	d.own.claim(ops)
	if err := d.own.flush(); err != nil {
		a.Problems = append(a.Problems, err.Error())
	}
	failed := map[wg.Op]string{}
	done := ops[:0:0]
	one := func(part []wg.Op) error {
		err := d.be.apply(part)
		if err == nil {
			for _, op := range part {
				d.table.Do(op)
			}
			done = append(done, part...)
		}
		return err
	}
	for _, part := range batches(ops) {
		err := one(part)
		if err == nil {
			continue
		}
		for i := range part {
			if len(part) > 1 {
				err = one(part[i : i+1])
			}
			if err != nil {
				failed[part[i]] = err.Error()
			}
		}
	}
	d.own.disclaim(done, from)
	if err := d.own.flush(); err != nil {
		a.Problems = append(a.Problems, err.Error())
	}
	m.log.Debug("peers written", "device", d.name, "ops", len(ops), "failed", len(failed), "gen", a.Gen)
	return failed
}

// reread finds out, after an error, what is true.
func (m *Manager) reread(d *dev, peers []wg.Peer, opts wg.DiffOptions) wg.Delta {
	d.dirty.Store(true) // the next Apply tries again
	if now, err := m.readRetry(d, true); err == nil {
		d.retable(now)
	}
	return wg.Diff(peers, d.table, opts)
}

// report says what is wanted and not true.
func (m *Manager) report(want *wg.Device, delta wg.Delta, errs map[wg.Op]string, a *wg.Applied) {
	for _, b := range delta.Blocked {
		text := "foreign: held by peer " + b.Holder.String()
		if b.Overlap {
			text = "overlap: wanted for peer " + b.Holder.String() + " too"
		}
		refuse(a, b.Prefix, text)
	}
	// What could not be done is what still differs, plus silent refusals.
	if len(errs) > 0 {
		for _, op := range delta.Ops {
			text := errs[op]
			if text == "" {
				text = "not in place"
			}
			switch op.Kind {
			case wg.OpMovePrefix:
				refuse(a, op.Prefix, text)
			case wg.OpDelPrefix:
				a.Problems = append(a.Problems, fmt.Sprintf("peer %s: allowed IP %s could not be removed: %s", peerName(want, op.Peer), op.Prefix, text))
			case wg.OpDelPeer:
				a.Problems = append(a.Problems, fmt.Sprintf("peer %s could not be removed: %s", op.Peer, text))
			default:
				fail(a, op.Peer, fmt.Sprintf("peer %s: %s", peerName(want, op.Peer), text))
			}
		}
	}
	for i := range want.Peers {
		p := &want.Peers[i]
		if _, bad := a.PeerErrors[p.Key]; bad {
			for _, ip := range p.AllowedIPs {
				if a.Failed[ip] == "" && !m.inPlace(a.Device, p.Key, ip) {
					refuse(a, ip, a.PeerErrors[p.Key])
				}
			}
		}
	}
}

// inPlace is for prefixes of peers that had an error.
func (m *Manager) inPlace(name string, k wg.Key, p netip.Prefix) bool {
	d := m.existing(name)
	h, ok := d.table.Holder(p)
	return ok && h == k
}

func peerName(want *wg.Device, k wg.Key) string {
	for i := range want.Peers {
		if want.Peers[i].Key == k {
			return want.Peers[i].Name
		}
	}
	return k.String()
}

func fail(a *wg.Applied, k wg.Key, text string) {
	if a.PeerErrors == nil {
		a.PeerErrors = map[wg.Key]string{}
	}
	if a.PeerErrors[k] == "" {
		a.PeerErrors[k] = text
	}
}

func refuse(a *wg.Applied, p netip.Prefix, text string) {
	if a.Failed == nil {
		a.Failed = map[netip.Prefix]string{}
	}
	if a.Failed[p] == "" {
		a.Failed[p] = text
	}
}
