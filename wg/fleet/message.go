package fleet

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// Kinds of messages.
const (
	kindBeat    = 1
	kindEntries = 2
)

const (
	// maxSlots is how many peers a host may number: what wireguard-go allows an
	// interface (MaxPeers).
	maxSlots = 1 << 16
	// maxBody keeps a packet inside 1280 bytes, which every link carries (RFC 8200
	// section 5).
	maxBody = 1120

	headerLen   = 1 + 8 + 8 + 8
	beatLen     = 8 + 4 + 4
	entryLen    = 4 + wg.KeyLen + 16 + 2 + 4
	perPacket   = (maxBody - 16) / entryLen
	bitsPerBeat = (maxBody - beatLen) * 8
)

var errMalformed = errors.New("malformed message")

// header begins every message.
type header struct {
	kind     byte
	me, you  uint64 // instances: of the sender, and of the receiver as the sender knows it
	sequence uint64 // of the sender's messages to this receiver
}

// beat says what the sender has, and whom it heard in its last poll.
type beat struct {
	have  uint64        // all of the receiver's changes up to here
	poll  time.Duration // how long ago the poll was, in milliseconds
	first uint32        // slot of the first bit; a multiple of 8
	heard []byte        // a bit per slot, lowest first
}

// entries are the changes after from, up to to.
type entries struct {
	from, to uint64
	list     []entry
}

// entry is a peer. Without an endpoint its slot is free.
type entry struct {
	slot     uint32
	key      wg.Key
	endpoint netip.AddrPort
	age      time.Duration // since it was heard, in seconds
}

func (h header) append(b []byte) []byte {
	b = append(b, h.kind)
	b = binary.BigEndian.AppendUint64(b, h.me)
	b = binary.BigEndian.AppendUint64(b, h.you)
	return binary.BigEndian.AppendUint64(b, h.sequence)
}

func parseHeader(b []byte) (h header, body []byte, err error) {
	if len(b) < headerLen {
		return h, nil, errMalformed
	}
	u := binary.BigEndian.Uint64
	return header{b[0], u(b[1:]), u(b[9:]), u(b[17:])}, b[headerLen:], nil
}

func (m *beat) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, m.have)
	b = binary.BigEndian.AppendUint32(b, units(m.poll, time.Millisecond))
	b = binary.BigEndian.AppendUint32(b, m.first)
	return append(b, m.heard...)
}

func parseBeat(b []byte) (m beat, err error) {
	if len(b) < beatLen {
		return m, errMalformed
	}
	m.have = binary.BigEndian.Uint64(b)
	m.poll = time.Duration(binary.BigEndian.Uint32(b[8:])) * time.Millisecond
	m.first, m.heard = binary.BigEndian.Uint32(b[12:]), b[beatLen:]
	if m.first%8 != 0 || m.first > maxSlots || int(m.first)+8*len(m.heard) > maxSlots {
		return beat{}, errMalformed
	}
	return m, nil
}

func (m *entries) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, m.from)
	b = binary.BigEndian.AppendUint64(b, m.to)
	for i := range m.list {
		e := &m.list[i]
		b = binary.BigEndian.AppendUint32(b, e.slot)
		b = append(b, e.key[:]...)
		a := e.endpoint.Addr()
		if !a.IsValid() {
			a = netip.IPv6Unspecified()
		}
		a16 := a.As16()
		b = append(b, a16[:]...)
		b = binary.BigEndian.AppendUint16(b, e.endpoint.Port())
		b = binary.BigEndian.AppendUint32(b, units(e.age, time.Second))
	}
	return b
}

func parseEntries(b []byte) (m entries, err error) {
	if len(b) < 16 || (len(b)-16)%entryLen != 0 {
		return m, errMalformed
	}
	m.from, m.to = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	if m.to < m.from {
		return entries{}, errMalformed
	}
	for b = b[16:]; len(b) > 0; b = b[entryLen:] {
		e := entry{slot: binary.BigEndian.Uint32(b), key: wg.Key(b[4:36])}
		addr, port := netip.AddrFrom16([16]byte(b[36:52])).Unmap(), binary.BigEndian.Uint16(b[52:])
		e.age = time.Duration(binary.BigEndian.Uint32(b[54:])) * time.Second
		switch {
		case e.slot >= maxSlots:
			return entries{}, errMalformed
		case port != 0 && speakable(addr):
			e.endpoint = netip.AddrPortFrom(addr, port)
		}
		m.list = append(m.list, e)
	}
	return m, nil
}

// speakable says whether a handshake may be sent to an address because another
// host said so. A link-local one means something only where it was seen.
func speakable(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && !a.IsLinkLocalUnicast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// units is how many of u are in d, as four bytes hold it.
func units(d, u time.Duration) uint32 { return uint32(min(max(d/u, 0), 1<<32-1)) }
