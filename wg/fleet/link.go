package fleet

import (
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

const (
	// beatEvery is the time between two beats.
	beatEvery = 250 * time.Millisecond
	// silentAfter is how long a host may say nothing before it counts as silent:
	// three beats did not come.
	silentAfter = 3 * beatEvery
	// forgetAfter lets a host begin anew although its clock went back.
	forgetAfter = 10 * time.Second
	// resendAfter is how long an acknowledgement may take: the other's beat and
	// its way.
	resendAfter = 3 * beatEvery
	// burst bounds the packets of changes between two beats: 10,000 peers take 8.
	burst = 64
)

// link is the conversation with one other host about one interface. Its instance
// is the time it began: of two a host hears of, the greater one is the later.
type link struct {
	me, them uint64
	sequence uint64 // of our last message
	last     uint64 // the other's

	acked, sent uint64 // what it has of our book, and what is on the way
	sentAt      time.Time

	have   uint64 // what we have of its book
	slots  []wg.Key
	known  map[wg.Key]*place
	polled time.Time
	heard  time.Time // its last message that was no repetition of an old one
	fresh  bool      // known or polled changed since roster was last asked
}

// place is where the other host heard a peer, and the peer's slot there.
type place struct {
	wg.Whereabouts
	slot uint32
}

func newLink(now time.Time) *link {
	return &link{me: uint64(now.UnixNano()), known: map[wg.Key]*place{}}
}

// tick is what to send now, once in beatEvery.
func (l *link) tick(now time.Time, b *book) [][]byte {
	var out [][]byte
	for first := 0; first == 0 || first < len(b.slots); first += bitsPerBeat {
		m := beat{have: l.have, poll: now.Sub(b.polled), first: uint32(first), heard: b.heard(uint32(first), bitsPerBeat)}
		out = append(out, m.append(l.head(kindBeat)))
	}
	if l.them == 0 || l.silent(now) {
		return out // it would not believe us yet
	}
	if l.acked < l.sent && now.Sub(l.sentAt) >= resendAfter {
		l.sent = l.acked
	}
	for _, m := range b.since(now, l.sent, burst) {
		out = append(out, m.append(l.head(kindEntries)))
		l.sent, l.sentAt = m.to, now
	}
	return out
}

func (l *link) head(kind byte) []byte {
	l.sequence++
	return header{kind: kind, me: l.me, you: l.them, sequence: l.sequence}.append(make([]byte, 0, headerLen+maxBody))
}

// receive takes a message that the other host wrote at some time.
func (l *link) receive(now time.Time, plain []byte, version uint64) error {
	h, body, err := parseHeader(plain)
	if err != nil {
		return err
	}
	switch {
	case h.me == 0 || h.me == l.me:
		return errMalformed // our own
	case h.me < l.them && now.Sub(l.heard) < forgetAfter:
		return nil // of an earlier life of it
	case h.me == l.them && h.sequence <= l.last:
		return nil // again
	case h.me != l.them:
		// Everything is new: what it is told, and the numbers of its peers. Where
		// they were heard stays until it says otherwise.
		l.them, l.acked, l.sent, l.have, l.slots = h.me, 0, 0, 0, nil
	}
	l.last = h.sequence
	if h.you != l.me {
		return nil // it may be an old one: nothing is believed but who speaks
	}
	l.heard = now
	switch h.kind {
	case kindBeat:
		m, err := parseBeat(body)
		if err != nil {
			return err
		}
		l.beat(now, &m, version)
	case kindEntries:
		m, err := parseEntries(body)
		if err != nil {
			return err
		}
		l.learn(now, &m)
	}
	return nil
}

func (l *link) beat(now time.Time, m *beat, version uint64) {
	l.acked = max(l.acked, min(m.have, version))
	l.sent = max(l.sent, l.acked)
	polled := now.Add(-m.poll)
	for i, bits := range m.heard {
		for bit := 0; bits != 0; bit, bits = bit+1, bits>>1 {
			slot := int(m.first) + 8*i + bit
			if bits&1 == 0 || slot >= len(l.slots) {
				continue
			}
			if w := l.known[l.slots[slot]]; w != nil && polled.After(w.Heard) {
				w.Heard = polled
			}
		}
	}
	// The same poll is told several times, and each time it seems a little other.
	if polled.Sub(l.polled) > beatEvery/2 {
		l.polled, l.fresh = polled, true
	}
}

func (l *link) learn(now time.Time, m *entries) {
	if m.from > l.have {
		return // one before it was lost; it will be told again
	}
	l.have = max(l.have, m.to)
	l.fresh = true
	for i := range m.list {
		e := &m.list[i]
		for int(e.slot) >= len(l.slots) {
			l.slots = append(l.slots, wg.Key{})
		}
		was := l.slots[e.slot]
		l.slots[e.slot] = e.key
		if p := l.known[was]; p != nil && p.slot == e.slot && (was != e.key || !e.endpoint.IsValid()) {
			delete(l.known, was)
		}
		if !e.endpoint.IsValid() {
			continue
		}
		w := l.known[e.key]
		if w == nil {
			if len(l.known) >= maxSlots {
				continue
			}
			w = &place{Whereabouts: wg.Whereabouts{Key: e.key}}
			l.known[e.key] = w
		}
		w.Endpoint, w.slot = e.endpoint, e.slot
		if at := now.Add(-e.age); at.After(w.Heard) {
			w.Heard = at
		}
	}
}

// silent reports whether the other host has nothing to say any more.
func (l *link) silent(now time.Time) bool { return now.Sub(l.heard) > silentAfter }

// roster is what the other host has said.
func (l *link) roster(now time.Time, host, device string) wg.Roster {
	r := wg.Roster{Host: host, Device: device, Polled: l.polled, Silent: l.silent(now), Peers: make([]wg.Whereabouts, 0, len(l.known))}
	for _, w := range l.known {
		r.Peers = append(r.Peers, w.Whereabouts)
	}
	slices.SortFunc(r.Peers, func(a, b wg.Whereabouts) int { return a.Key.Compare(b.Key) })
	return r
}
