package wg

import (
	"net/netip"
	"slices"
	"time"
)

// Ownership says who put an entry on a device.
type Ownership uint8

const (
	// Foreigner entries were put there by somebody else (wg set by hand). They
	// are reported and left alone.
	Foreigner Ownership = iota
	// OursBefore entries were put there by an earlier process of ours and have
	// not been wanted in this one yet; only a sweep removes them.
	OursBefore
	// Ours entries were set, or found in place and wanted, in this process.
	Ours
)

// Held is a peer as it is on a device, with what we know about its origin.
type Held struct {
	Key          Key
	PresharedKey PresharedKey
	Endpoint     netip.AddrPort // as last seen; WireGuard's roaming may change it any time
	// EndpointFor is the configured endpoint that our last write came from;
	// zero: we never wrote one.
	EndpointFor Endpoint
	Keepalive   time.Duration
	By          Ownership
	AllowedIPs  []HeldIP // sorted by CompareAllowed
}

// HeldIP is one allowed IP on a device.
type HeldIP struct {
	Prefix netip.Prefix
	By     Ownership
}

// Table is what is on a device: WireGuard's map from prefix to peer and what
// belongs to the peers. It changes only by Do, as the device does by the same
// Op. It is not safe for concurrent use.
type Table struct {
	peers  []*Held // sorted by Key
	holder map[netip.Prefix]*Held
}

// NewTable takes over peers in any order. A prefix on two peers, which no
// consistent dump contains, belongs to the last.
func NewTable(peers []Held) *Table {
	n := 0
	for i := range peers {
		n += len(peers[i].AllowedIPs)
	}
	t := &Table{peers: make([]*Held, 0, len(peers)), holder: make(map[netip.Prefix]*Held, n)}
	for i := range peers {
		h := &peers[i]
		byPrefix := func(a, b HeldIP) int { return CompareAllowed(a.Prefix, b.Prefix) }
		if !slices.IsSortedFunc(h.AllowedIPs, byPrefix) {
			slices.SortFunc(h.AllowedIPs, byPrefix)
		}
		t.peers = append(t.peers, h)
		for _, ip := range h.AllowedIPs {
			if old := t.holder[ip.Prefix]; old != nil && old != h {
				old.drop(ip.Prefix)
			}
			t.holder[ip.Prefix] = h
		}
	}
	byKey := func(a, b *Held) int { return a.Key.Compare(b.Key) }
	if !slices.IsSortedFunc(t.peers, byKey) {
		slices.SortFunc(t.peers, byKey)
	}
	return t
}

// Peers lists the peers sorted by key. The caller must not change the slice or
// what decides order (keys, prefixes).
func (t *Table) Peers() []*Held { return t.peers }

// Peer finds a peer, nil if there is none.
func (t *Table) Peer(k Key) *Held {
	if i, ok := t.find(k); ok {
		return t.peers[i]
	}
	return nil
}

// Holder tells which peer has exactly this prefix.
func (t *Table) Holder(p netip.Prefix) (Key, bool) {
	h := t.holder[p]
	if h == nil {
		return Key{}, false
	}
	return h.Key, true
}

func (t *Table) find(k Key) (int, bool) {
	return slices.BinarySearchFunc(t.peers, k, func(h *Held, k Key) int { return h.Key.Compare(k) })
}

func (h *Held) find(p netip.Prefix) (int, bool) {
	return slices.BinarySearchFunc(h.AllowedIPs, p, func(ip HeldIP, p netip.Prefix) int { return CompareAllowed(ip.Prefix, p) })
}

func (h *Held) drop(p netip.Prefix) {
	if i, ok := h.find(p); ok {
		h.AllowedIPs = slices.Delete(h.AllowedIPs, i, i+1)
	}
}

// Do repeats on the table what an Op did to the device, with WireGuard's
// semantics: a prefix has one holder, setting it on a peer takes it from
// another, and a removal concerns only the named peer.
func (t *Table) Do(op Op) {
	i, ok := t.find(op.Peer)
	if !ok {
		if op.Kind != OpAddPeer {
			return
		}
		t.peers = slices.Insert(t.peers, i, &Held{
			Key: op.Peer, PresharedKey: op.PresharedKey,
			Endpoint: op.Endpoint, EndpointFor: op.EndpointFor, Keepalive: op.Keepalive, By: Ours,
		})
		return
	}
	h := t.peers[i]
	switch op.Kind {
	case OpAddPeer: // somebody was faster; attributes follow as separate differences
	case OpMovePrefix:
		old := t.holder[op.Prefix]
		if old == h {
			return
		}
		if old != nil {
			old.drop(op.Prefix)
		}
		j, _ := h.find(op.Prefix)
		h.AllowedIPs = slices.Insert(h.AllowedIPs, j, HeldIP{op.Prefix, Ours})
		t.holder[op.Prefix] = h
	case OpSetPresharedKey:
		h.PresharedKey = op.PresharedKey
	case OpSetEndpoint:
		h.Endpoint, h.EndpointFor = op.Endpoint, op.EndpointFor
	case OpSetKeepalive:
		h.Keepalive = op.Keepalive
	case OpDelPrefix:
		if t.holder[op.Prefix] == h {
			h.drop(op.Prefix)
			delete(t.holder, op.Prefix)
		}
	case OpDelPeer:
		for _, ip := range h.AllowedIPs {
			delete(t.holder, ip.Prefix)
		}
		t.peers = slices.Delete(t.peers, i, i+1)
	}
}

// CompareAllowed orders allowed IPs: by address (IPv4 first), then by length,
// so that a covering prefix comes before what it covers.
func CompareAllowed(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}
