package device

import (
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// Limits of one configuration call. Up to here wgctrl sends one message a
// call, beyond it one a peer, which is 8 times slower for removals and no
// longer atomic.
const (
	maxPeersPerCall    = 32
	maxPrefixesPerCall = 256
)

// backend is one running WireGuard device, the kernel's or our own. The
// caller serialises all calls on one device.
type backend interface {
	kind() wg.Backend
	// alive says whether the device can still be used; a userspace device
	// ends when its TUN is deleted.
	alive() bool
	// read takes one consistent dump, or fails with ErrInterrupted. Without
	// full, preshared keys, keepalives and allowed IPs are left out.
	read(full bool) (dump, error)
	// configure sets the fields of the device that are not nil.
	configure(c deviceConfig) error
	// apply does the ops in order. An error leaves an unknown part done.
	apply(ops []wg.Op) error
	// kick gives peers their endpoints and starts a handshake with them.
	kick(kicks []kick) error
	// mtuChanged tells that the interface's MTU is now another.
	mtuChanged()
	// close lets go of the device: a userspace device ends, a kernel device stays.
	close()
}

// deviceConfig is what differs on the device itself.
type deviceConfig struct {
	PrivateKey *wg.PrivateKey
	ListenPort *uint16
	Mark       *uint32
}

func (c deviceConfig) empty() bool { return c == deviceConfig{} }

// dump is what a device says about itself.
type dump struct {
	PublicKey  wg.Key
	ListenPort uint16
	Mark       uint32
	Peers      []dumpPeer // sorted by Key
}

type dumpPeer struct {
	wg.PeerState
	PresharedKey wg.PresharedKey
	Keepalive    time.Duration
}

// finish puts a dump in order.
func (d *dump) finish() {
	byKey := func(a, b dumpPeer) int { return a.Key.Compare(b.Key) }
	if !slices.IsSortedFunc(d.Peers, byKey) {
		slices.SortFunc(d.Peers, byKey)
	}
	for i := range d.Peers {
		slices.SortFunc(d.Peers[i].AllowedIPs, wg.CompareAllowed)
	}
}

func (d *dump) states() []wg.PeerState {
	out := make([]wg.PeerState, len(d.Peers))
	for i := range d.Peers {
		out[i] = d.Peers[i].PeerState
	}
	return out
}

// table joins a full dump with what we know to be ours.
func (d *dump) table(own *ownership) *wg.Table {
	held := make([]wg.Held, len(d.Peers))
	for i := range d.Peers {
		p := &d.Peers[i]
		h := &held[i]
		*h = wg.Held{Key: p.Key, PresharedKey: p.PresharedKey, Endpoint: p.Endpoint, Keepalive: p.Keepalive}
		h.By, h.EndpointFor = own.peer(p.Key)
		h.AllowedIPs = make([]wg.HeldIP, len(p.AllowedIPs))
		for j, ip := range p.AllowedIPs {
			h.AllowedIPs[j] = wg.HeldIP{Prefix: ip, By: own.allowedIP(p.Key, ip)}
		}
	}
	return wg.NewTable(held)
}

// batches cuts ops into runs that fit one call: at most 32 peers and 256
// prefixes, and never an addition together with a removal, so that removals
// keep their place after everything that grants.
func batches(ops []wg.Op) [][]wg.Op {
	var out [][]wg.Op
	for len(ops) > 0 {
		n, peers, prefixes := 0, 0, 0
		phase := opPhase(ops[0].Kind)
		var last wg.Key
		for n < len(ops) && opPhase(ops[n].Kind) == phase {
			op := ops[n]
			if n == 0 || op.Peer != last {
				peers++
			}
			if op.Prefix.IsValid() {
				prefixes++
			}
			if peers > maxPeersPerCall || prefixes > maxPrefixesPerCall {
				break
			}
			last = op.Peer
			n++
		}
		out = append(out, ops[:n:n])
		ops = ops[n:]
	}
	return out
}

func opPhase(k wg.OpKind) int {
	switch k {
	case wg.OpDelPrefix:
		return 1
	case wg.OpDelPeer:
		return 2
	}
	return 0
}

// groupByPeer moves the prefixes of a new peer next to its creation, which
// makes bulk additions one entry a peer. It keeps every rule of wg.Diff:
// creation comes before the peer's own prefixes, and removals stay last.
func groupByPeer(ops []wg.Op) []wg.Op {
	n := 0
	for n < len(ops) && ops[n].Kind <= wg.OpMovePrefix {
		n++
	}
	slices.SortStableFunc(ops[:n], func(a, b wg.Op) int { return a.Peer.Compare(b.Peer) })
	return ops
}

// prefixOK refuses what WireGuard would mask or misread.
func prefixOK(p netip.Prefix) bool {
	return p.IsValid() && p == p.Masked() && !p.Addr().Is4In6() && p.Addr().Zone() == ""
}
