package hostile

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/wgbgp/wgbgp/labs/rawbgp"
)

// Mutator makes broken messages out of others. The same seed gives the same
// messages.
type Mutator struct {
	rng   *rand.Rand
	seeds [][]byte
}

// NewMutator makes a generator. Messages that are whole and correct are drawn as
// often as all others together: most of what is made of them gets far.
func NewMutator(seed uint64, corpus []Case) *Mutator {
	m := &Mutator{rng: rand.New(rand.NewPCG(seed, 7606))}
	var good [][]byte
	for _, c := range corpus {
		if c.Expect == Lost {
			continue
		}
		m.seeds = append(m.seeds, c.Message)
		if c.Expect == Accept {
			good = append(good, c.Message)
		}
	}
	for len(good) > 0 && len(m.seeds) < 2*len(corpus) {
		m.seeds = append(m.seeds, good[len(m.seeds)%len(good)])
	}
	return m
}

// Next returns the next message.
func (m *Mutator) Next() []byte {
	b := append([]byte(nil), m.seeds[m.rng.IntN(len(m.seeds))]...)
	for range 1 + m.rng.IntN(3) {
		b = m.once(b)
	}
	return b
}

func (m *Mutator) once(b []byte) []byte {
	if len(b) <= rawbgp.HeaderLen {
		return rawbgp.Message(byte(m.rng.IntN(8)), byte(m.rng.IntN(256)))
	}
	at := rawbgp.HeaderLen + m.rng.IntN(len(b)-rawbgp.HeaderLen)
	switch m.rng.IntN(8) {
	case 0: // cut, with a header that says so: framing stays whole
		return framed(b[:at])
	case 1: // one octet more
		m.grow(b, at, 1)
		return framed(append(b[:at:at], append([]byte{byte(m.rng.IntN(256))}, b[at:]...)...))
	case 2: // one octet less
		m.grow(b, at, -1)
		return framed(append(b[:at:at], b[at+1:]...))
	case 3: // one bit
		b[at] ^= 1 << m.rng.IntN(8)
	case 4: // a value that is off by one or at an end
		b[at] = []byte{0, 0xff, b[at] + 1, b[at] - 1}[m.rng.IntN(4)]
	case 5: // a piece again
		n := min(1+m.rng.IntN(12), len(b)-at)
		m.grow(b, at, n)
		return framed(append(append(b[:at:at], b[at:at+n]...), b[at:]...))
	case 6: // the header itself, seldom
		if m.rng.IntN(8) == 0 {
			b[m.rng.IntN(rawbgp.HeaderLen)] ^= 1 << m.rng.IntN(8)
			return b
		}
		fallthrough
	default: // any value
		b[at] = byte(m.rng.IntN(256))
	}
	return b
}

// grow mostly corrects the length of an UPDATE's attributes before octets are put
// in or taken out among them, so that what is broken is one of them and not all.
func (m *Mutator) grow(b []byte, at, by int) {
	if b[18] != rawbgp.Update || len(b) < rawbgp.HeaderLen+4 || m.rng.IntN(4) == 0 {
		return
	}
	from := rawbgp.HeaderLen + 2 + int(binary.BigEndian.Uint16(b[rawbgp.HeaderLen:]))
	if from+2 > len(b) {
		return
	}
	n := int(binary.BigEndian.Uint16(b[from:]))
	if at >= from+2 && at < from+2+n {
		binary.BigEndian.PutUint16(b[from:], uint16(n+by))
	}
}

// framed corrects the length in the header.
func framed(b []byte) []byte {
	b = append([]byte(nil), b[:min(len(b), 4096)]...)
	binary.BigEndian.PutUint16(b[16:], uint16(len(b)))
	return b
}
