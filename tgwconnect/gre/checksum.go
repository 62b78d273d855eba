package gre

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// finishSum finishes the TCP or UDP checksum of an inner packet where the
// sender left that to a network card: between virtual machines and containers
// there is none, and a raw socket does not tell. Such a packet carries the sum
// of its pseudo header (include/linux/skbuff.h, CHECKSUM_PARTIAL); a right
// packet that carries it by chance comes out as it was.
func finishSum(inner []byte) {
	at, field, sum := 0, 0, uint32(0)
	var protocol byte
	if inner[0]>>4 == 4 {
		at, protocol = int(inner[0]&0xf)*4, inner[9]
		inner = inner[:binary.BigEndian.Uint16(inner[2:])]
		if binary.BigEndian.Uint16(inner[6:])&0x3fff != 0 {
			return // of a fragment nobody leaves it open
		}
		sum = uint32(internetSum(inner[12:20]))
	} else {
		at, protocol = ip6Len, inner[6]
		inner = inner[:ip6Len+int(binary.BigEndian.Uint16(inner[4:]))]
		sum = uint32(internetSum(inner[8:ip6Len]))
	}
	switch protocol {
	case unix.IPPROTO_TCP:
		field = at + 16
	case unix.IPPROTO_UDP:
		field = at + 6
	default:
		return
	}
	if field+2 > len(inner) {
		return
	}
	sum += uint32(protocol) + uint32(len(inner)-at)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if have := binary.BigEndian.Uint16(inner[field:]); have == 0 || uint32(have) != sum {
		return
	}
	done := ^internetSum(inner[at:])
	if done == 0 {
		done = 0xffff // RFC 768: 0 is "no checksum"; RFC 1624 2: both are zero for TCP
	}
	binary.BigEndian.PutUint16(inner[field:], done)
}
