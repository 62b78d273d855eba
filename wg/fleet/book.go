package fleet

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// book is what this host tells of one interface: its peers by slot. Peers keep
// their slots; those of peers that are gone are given to new ones.
type book struct {
	peers   map[wg.Key]uint32
	slots   []line
	free    []uint32
	version uint64 // of the latest change
	polled  time.Time
}

// line is one slot.
type line struct {
	key      wg.Key
	endpoint netip.AddrPort // last one it was heard from; invalid: not told
	version  uint64         // of the change to it
	rx       uint64
	heard    time.Time // zero: never, since we look
	now      bool      // heard in the last poll
	round    uint64    // of the observation that had it
}

// observe takes over what an interface says. A peer is told once it was heard: its
// counter grew in a session. (Without one a recorded handshake does that too.)
func (b *book) observe(s *wg.DeviceState, round uint64) {
	if b.peers == nil {
		b.peers = map[wg.Key]uint32{}
	}
	b.polled = s.At
	for i := range s.Peers {
		p := &s.Peers[i]
		slot, ok := b.peers[p.Key]
		if !ok {
			if slot, ok = b.take(); !ok {
				continue
			}
			b.peers[p.Key] = slot
			b.slots[slot] = line{key: p.Key, rx: p.Rx, version: b.slots[slot].version}
		}
		b.slots[slot].observe(p, s.At, round, &b.version)
	}
	for k, slot := range b.peers {
		l := &b.slots[slot]
		if l.round == round {
			continue
		}
		delete(b.peers, k)
		b.free = append(b.free, slot)
		told := l.endpoint.IsValid()
		*l = line{key: k, version: l.version}
		if told {
			b.version++
			l.version = b.version
		}
	}
}

func (l *line) observe(p *wg.PeerState, at time.Time, round uint64, version *uint64) {
	l.round = round
	l.now = p.Handshake != 0 && p.Rx > l.rx
	l.rx = p.Rx
	if !l.now {
		return
	}
	l.heard = at
	endpoint := netip.AddrPortFrom(p.Endpoint.Addr().Unmap(), p.Endpoint.Port())
	if endpoint != l.endpoint && p.Endpoint.IsValid() && p.Endpoint != wg.Parked {
		*version++
		l.endpoint, l.version = endpoint, *version
	}
}

// take gives out a slot; false: there is none.
func (b *book) take() (uint32, bool) {
	if n := len(b.free); n > 0 {
		slot := b.free[n-1]
		b.free = b.free[:n-1]
		return slot, true
	}
	if len(b.slots) == maxSlots {
		return 0, false
	}
	b.slots = append(b.slots, line{})
	return uint32(len(b.slots) - 1), true
}

// since is a packet's worth of the changes after a version, oldest first, for at
// most n packets.
func (b *book) since(now time.Time, from uint64, n int) []entries {
	if from >= b.version {
		return nil
	}
	var slots []uint32
	for i := range b.slots {
		if b.slots[i].version > from {
			slots = append(slots, uint32(i))
		}
	}
	slices.SortFunc(slots, func(x, y uint32) int { return cmp.Compare(b.slots[x].version, b.slots[y].version) })
	var out []entries
	for len(slots) > 0 && len(out) < n {
		part := slots[:min(len(slots), perPacket)]
		slots = slots[len(part):]
		m := entries{from: from, to: b.version}
		if len(slots) > 0 {
			m.to = b.slots[part[len(part)-1]].version
		}
		for _, slot := range part {
			l := &b.slots[slot]
			m.list = append(m.list, entry{slot: slot, key: l.key, endpoint: l.endpoint, age: now.Sub(l.heard)})
		}
		from = m.to
		out = append(out, m)
	}
	return out
}

// heard is the bits of slots from first on, at most n.
func (b *book) heard(first uint32, n int) []byte {
	n = min(n, len(b.slots)-int(first))
	out := make([]byte, (n+7)/8)
	for i := range n {
		if l := &b.slots[int(first)+i]; l.now && l.endpoint.IsValid() {
			out[i/8] |= 1 << (i % 8)
		}
	}
	return out
}
