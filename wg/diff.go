package wg

import (
	"net/netip"
	"slices"
	"time"
)

// OpKind is one kind of change to a running device. There is none that
// replaces a set: replacing allowed IPs loses packets even when the set is the
// same, and replacing peers ends sessions.
type OpKind uint8

// Kinds of change, in the order in which Diff puts them.
const (
	OpAddPeer         OpKind = iota // with PresharedKey, Endpoint, Keepalive
	OpMovePrefix                    // give Prefix to Peer, whoever holds it now
	OpSetPresharedKey               // zero: none
	OpSetEndpoint
	OpSetKeepalive
	OpDelPrefix // only if Peer still holds it
	OpDelPeer
)

// Op is one change to a device.
type Op struct {
	Kind         OpKind
	Peer         Key
	Prefix       netip.Prefix
	PresharedKey PresharedKey
	Endpoint     netip.AddrPort // zero: none known
	EndpointFor  Endpoint       // what was configured when Endpoint was chosen
	Keepalive    time.Duration
}

// Blocked is a wanted allowed IP that can not be given to its peer.
type Blocked struct {
	Prefix netip.Prefix
	Peer   Key // that should have it
	Holder Key // that has it
	// Overlap: the plan wants it for the holder too; otherwise the holder's
	// entry is foreign.
	Overlap bool
}

// Delta is the outcome of Diff.
type Delta struct {
	Ops     []Op
	Blocked []Blocked // sorted by prefix
	Foreign []Foreign // sorted by key, then prefix
}

// DiffOptions are what Diff needs besides want and have.
type DiffOptions struct {
	// Sweep permits removing what an earlier process of ours left behind.
	Sweep bool
	// Resolve gives the addresses an endpoint stands for, best first; none
	// while it is not known. dead says that fresh ones are of interest.
	Resolve func(e Endpoint, dead bool) []netip.AddrPort
}

// Diff works out what makes a device as wanted. want is sorted by key. The ops
// come in an order in which no prefix that has an owner before and after is
// without one in between, and no packet of an unchanged peer is disturbed:
// new peers, moved prefixes, attributes, removed prefixes, removed peers.
//
// An endpoint is written only if the configured one changed since our last
// write, if the peer has none, or if the peer is dead and its current endpoint
// is not among the resolved addresses. Removing a peer of ours takes foreign
// allowed IPs on it along: revocation comes first.
//
// Diff remembers in t which of our entries are wanted in this process
// (OursBefore becomes Ours); it changes nothing else in t.
func Diff(want []Peer, t *Table, o DiffOptions) Delta {
	d := differ{want: want, t: t, o: o}
	have := t.peers
	for i := range want {
		w := &want[i]
		for len(have) > 0 && have[0].Key.Compare(w.Key) < 0 {
			d.unwanted(have[0])
			have = have[1:]
		}
		if len(have) > 0 && have[0].Key == w.Key {
			d.compare(w, have[0])
			have = have[1:]
		} else {
			d.add(w)
		}
	}
	for _, h := range have {
		d.unwanted(h)
	}
	return d.delta()
}

type differ struct {
	want                           []Peer
	t                              *Table
	o                              DiffOptions
	adds, moves, sets, dels, drops []Op
	moved                          map[netip.Prefix]Key
	blocked                        []Blocked
	foreign                        []Foreign
}

func (d *differ) delta() Delta {
	ops := d.adds
	ops = append(ops, d.moves...)
	ops = append(ops, d.sets...)
	for _, op := range d.dels {
		if _, ok := d.moved[op.Prefix]; !ok {
			ops = append(ops, op)
		}
	}
	ops = append(ops, d.drops...)
	slices.SortFunc(d.blocked, func(a, b Blocked) int {
		if c := CompareAllowed(a.Prefix, b.Prefix); c != 0 {
			return c
		}
		return a.Peer.Compare(b.Peer)
	})
	return Delta{Ops: ops, Blocked: d.blocked, Foreign: d.foreign}
}

// unwanted handles a peer of the device that the plan does not name.
func (d *differ) unwanted(h *Held) {
	if d.ours(h.By) {
		d.drops = append(d.drops, Op{Kind: OpDelPeer, Peer: h.Key})
		return
	}
	if h.By == Foreigner {
		d.foreign = append(d.foreign, Foreign{Key: h.Key})
	}
	for _, ip := range h.AllowedIPs {
		d.surplus(h, ip)
	}
}

// ours says whether an unwanted entry may be removed.
func (d *differ) ours(by Ownership) bool { return by == Ours || by == OursBefore && d.o.Sweep }

// surplus handles an allowed IP that its holder should not have.
func (d *differ) surplus(h *Held, ip HeldIP) {
	switch {
	case ip.By == Foreigner:
		d.foreign = append(d.foreign, Foreign{Key: h.Key, AllowedIP: ip.Prefix})
	case d.ours(ip.By):
		d.dels = append(d.dels, Op{Kind: OpDelPrefix, Peer: h.Key, Prefix: ip.Prefix})
	}
}

// add handles a wanted peer that the device does not have.
func (d *differ) add(w *Peer) {
	op := Op{Kind: OpAddPeer, Peer: w.Key, PresharedKey: w.PresharedKey, Keepalive: w.Keepalive}
	if a := d.resolve(w); len(a) > 0 {
		op.Endpoint, op.EndpointFor = a[0], w.Endpoint
	}
	d.adds = append(d.adds, op)
	for _, p := range w.AllowedIPs {
		d.place(w, p)
	}
}

// compare handles a wanted peer that the device has.
func (d *differ) compare(w *Peer, h *Held) {
	if h.By == OursBefore {
		h.By = Ours
	}
	ips := h.AllowedIPs
	for _, p := range w.AllowedIPs {
		for len(ips) > 0 && CompareAllowed(ips[0].Prefix, p) < 0 {
			d.surplus(h, ips[0])
			ips = ips[1:]
		}
		if len(ips) > 0 && ips[0].Prefix == p {
			if ips[0].By == OursBefore {
				ips[0].By = Ours
			}
			ips = ips[1:]
			continue
		}
		d.place(w, p)
	}
	for _, ip := range ips {
		d.surplus(h, ip)
	}
	d.attributes(w, h)
}

// place gives a prefix to a peer that does not hold it.
func (d *differ) place(w *Peer, p netip.Prefix) {
	if other, ok := d.moved[p]; ok {
		if other != w.Key {
			d.blocked = append(d.blocked, Blocked{Prefix: p, Peer: w.Key, Holder: other, Overlap: true})
		}
		return
	}
	if h := d.t.holder[p]; h != nil && h.Key != w.Key {
		i, _ := h.find(p)
		if d.wants(h.Key, p) {
			d.blocked = append(d.blocked, Blocked{Prefix: p, Peer: w.Key, Holder: h.Key, Overlap: true})
			return
		}
		// A peer that is about to be removed can not keep it.
		if h.AllowedIPs[i].By == Foreigner && !d.leaves(h) {
			d.blocked = append(d.blocked, Blocked{Prefix: p, Peer: w.Key, Holder: h.Key})
			return
		}
	}
	if d.moved == nil {
		d.moved = make(map[netip.Prefix]Key)
	}
	d.moved[p] = w.Key
	d.moves = append(d.moves, Op{Kind: OpMovePrefix, Peer: w.Key, Prefix: p})
}

func (d *differ) find(k Key) (int, bool) {
	return slices.BinarySearchFunc(d.want, k, func(w Peer, k Key) int { return w.Key.Compare(k) })
}

// leaves reports whether a peer of the device will be removed.
func (d *differ) leaves(h *Held) bool {
	_, wanted := d.find(h.Key)
	return !wanted && d.ours(h.By)
}

// wants reports whether the plan gives p to peer k.
func (d *differ) wants(k Key, p netip.Prefix) bool {
	i, ok := d.find(k)
	if !ok {
		return false
	}
	_, ok = slices.BinarySearchFunc(d.want[i].AllowedIPs, p, CompareAllowed)
	return ok
}

func (d *differ) resolve(w *Peer) []netip.AddrPort {
	if w.Endpoint == (Endpoint{}) || d.o.Resolve == nil {
		return nil
	}
	return d.o.Resolve(w.Endpoint, w.Dead)
}

func (d *differ) attributes(w *Peer, h *Held) {
	if w.PresharedKey != h.PresharedKey {
		d.sets = append(d.sets, Op{Kind: OpSetPresharedKey, Peer: w.Key, PresharedKey: w.PresharedKey})
	}
	d.endpoint(w, h)
	if w.Keepalive/time.Second != h.Keepalive/time.Second {
		d.sets = append(d.sets, Op{Kind: OpSetKeepalive, Peer: w.Key, Keepalive: w.Keepalive})
	}
}

func (d *differ) endpoint(w *Peer, h *Held) {
	if w.Endpoint == (Endpoint{}) {
		return
	}
	changed := h.EndpointFor != (Endpoint{}) && h.EndpointFor != w.Endpoint
	if h.Endpoint.IsValid() && !changed && !w.Dead {
		if h.EndpointFor == (Endpoint{}) {
			// Adopted with an endpoint: from here on a change of the
			// configuration can be told from roaming.
			h.EndpointFor = w.Endpoint
		}
		return
	}
	addrs := d.resolve(w)
	if len(addrs) == 0 {
		return
	}
	if slices.Contains(addrs, h.Endpoint) {
		h.EndpointFor = w.Endpoint
		return
	}
	d.sets = append(d.sets, Op{Kind: OpSetEndpoint, Peer: w.Key, Endpoint: addrs[0], EndpointFor: w.Endpoint})
}
