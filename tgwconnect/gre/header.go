package gre

import "encoding/binary"

// Header lengths in bytes (RFC 2784 2.1; RFC 791; RFC 8200).
const (
	greLen   = 4
	outerLen = 20 // IPv4 header as we send it: no options
	headLen  = outerLen + greLen
	ip6Len   = 40
	limitLen = 8 // destination options with a tunnel encapsulation limit (RFC 2473 4.1.1)
)

// EtherTypes a tunnel carries (RFC 2784 2.4, RFC 7676 2).
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
)

// refusal says why a received packet is not delivered.
type refusal uint8

const (
	accepted      refusal = iota
	refuseShort           // truncated outer, GRE or inner header
	refuseVersion         // version other than 0: RFC 2784 2.3.1, e.g. PPTP
	refuseBits            // bits 1-5 set, among them key and sequence: RFC 2784 2.3
	refuseSum             // checksum present and wrong: RFC 2784 2.2
	refusePayload         // neither IPv4 nor IPv6, or not what the protocol type says
	refuseECN             // congestion mark on an inner packet that can not carry it: RFC 6040 4.2
	refusals              // count
)

func (r refusal) String() string {
	return [...]string{"accepted", "truncated", "version", "reserved bits, key or sequence", "checksum", "payload", "ecn"}[r]
}

// GRE flag bits of the first 16 bits.
const (
	bitChecksum   = 0x8000 // bit 0
	bitsMustBe0   = 0x7c00 // bits 1-5: a receiver must discard (RFC 2784 2.3); 2 and 3 are key and sequence of RFC 2890
	bitsVersion   = 0x0007
	sumFieldBytes = 4 // checksum and Reserved1
)

// putGRE writes the bare header: no flags, version 0.
func putGRE(b []byte, etherType uint16) {
	binary.BigEndian.PutUint16(b, 0)
	binary.BigEndian.PutUint16(b[2:], etherType)
}

// parseGRE returns the inner packet of a GRE packet, which starts with the GRE
// header. Bits 6-12 are ignored as RFC 2784 2.3 demands. The kernel refuses
// every packet with a checksum on a tunnel without one; we accept a right one,
// as the RFC does.
func parseGRE(p []byte) (inner []byte, why refusal) {
	if len(p) < greLen {
		return nil, refuseShort
	}
	flags, etherType := binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:])
	inner = p[greLen:]
	if flags&(bitChecksum|bitsMustBe0|bitsVersion) != 0 {
		if flags&bitsVersion != 0 {
			return nil, refuseVersion
		}
		if flags&bitsMustBe0 != 0 {
			return nil, refuseBits
		}
		if len(inner) < sumFieldBytes {
			return nil, refuseShort
		}
		if internetSum(p) != 0xffff {
			return nil, refuseSum
		}
		inner = inner[sumFieldBytes:]
	}
	return inner, checkInner(inner, etherType)
}

// checkInner looks at an inner header as far as it must be sound to be handed
// to the TUN: the receive offload reads it. The IP stack checks the rest.
func checkInner(p []byte, etherType uint16) refusal {
	if etherType != etherIPv4 && etherType != etherIPv6 {
		return refusePayload
	}
	if len(p) < 20 {
		return refuseShort
	}
	switch etherType {
	case etherIPv4:
		ihl, total := int(p[0]&0xf)*4, int(binary.BigEndian.Uint16(p[2:]))
		switch {
		case p[0]>>4 != 4 || ihl < 20 || total < ihl:
			return refusePayload
		case total > len(p):
			return refuseShort
		}
	case etherIPv6:
		switch {
		case p[0]>>4 != 6:
			return refusePayload
		case len(p) < ip6Len || ip6Len+int(binary.BigEndian.Uint16(p[4:])) > len(p):
			return refuseShort
		}
	}
	return accepted
}

// etherTypeOf is the protocol type of an inner packet read from the TUN.
func etherTypeOf(p []byte) (uint16, bool) {
	if len(p) >= 20 {
		switch p[0] >> 4 {
		case 4:
			return etherIPv4, true
		case 6:
			return etherIPv6, true
		}
	}
	return 0, false
}

// trafficClass is the DSCP and ECN byte of a packet that etherTypeOf accepted.
func trafficClass(p []byte) byte {
	if p[0]>>4 == 6 {
		return p[0]<<4 | p[1]>>4
	}
	return p[1]
}

// putOuter4 writes the constant part of an outer IPv4 header: don't fragment
// (the TUN's MTU is right, and what is too big shall be told, RFC 7588 3.2),
// protocol 47. The kernel fills in identification and checksum (raw(7)).
func putOuter4(b []byte, src, dst [4]byte, ttl uint8) {
	clear(b[:outerLen])
	b[0], b[6], b[8], b[9] = 0x45, 0x40, ttl, 47
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
}

// setOuter4 writes the part that differs from packet to packet. DSCP and ECN
// are the inner packet's (RFC 2983 uniform model, RFC 6040 4.1 normal mode).
func setOuter4(b []byte, class byte) {
	b[1] = class
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
}

// putOuter6 writes the constant part of an outer IPv6 header. The flow label
// stays zero: a Connect peer is one flow.
func putOuter6(b []byte, src, dst [16]byte, hops uint8) {
	clear(b[:ip6Len])
	b[0], b[6], b[7] = 0x60, 47, hops
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
}

// setOuter6 is setOuter4 for IPv6.
func setOuter6(b []byte, class byte) {
	b[0], b[1] = 0x60|class>>4, class<<4
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ip6Len))
}

// outer4 returns the header length and the traffic class of a received packet
// in the form a raw IPv4 socket delivers it.
func outer4(p []byte) (ihl int, class byte, ok bool) {
	if len(p) < outerLen {
		return 0, 0, false
	}
	ihl = int(p[0]&0xf) * 4
	return ihl, p[1], p[0]>>4 == 4 && ihl >= outerLen && ihl <= len(p)
}

// ECN code points (RFC 3168 5).
const (
	ecnMask = 3
	ecnCE   = 3
)

// markECN carries a congestion mark of the outer header into the inner packet
// (RFC 6040 4.2). It reports false when the packet must be dropped.
func markECN(inner []byte, outerClass byte) bool {
	if outerClass&ecnMask != ecnCE {
		return true
	}
	c := trafficClass(inner)
	switch {
	case c&ecnMask == 0:
		return false
	case c&ecnMask == ecnCE:
		return true
	}
	if inner[0]>>4 == 6 {
		inner[1] |= ecnCE << 4
		return true
	}
	old := binary.BigEndian.Uint16(inner)
	inner[1] |= ecnCE
	// RFC 1624 equation 3: HC' = ~(~HC + ~m + m').
	sum := uint32(^binary.BigEndian.Uint16(inner[10:])) + uint32(^old) + uint32(binary.BigEndian.Uint16(inner))
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(inner[10:], ^uint16(sum))
	return true
}

// internetSum is the one's complement sum of RFC 1071 over p; it is 0xffff
// over data that holds its own right checksum.
func internetSum(p []byte) uint16 {
	var sum uint64
	for len(p) >= 4 {
		sum += uint64(binary.BigEndian.Uint32(p))
		p = p[4:]
	}
	if len(p) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(p)) << 16
		p = p[2:]
		if len(p) == 1 {
			sum += uint64(p[0]) << 8
		}
	} else if len(p) == 1 {
		sum += uint64(p[0]) << 24
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
