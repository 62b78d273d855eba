package probe

import (
	"encoding/binary"
	"net/netip"
)

// ICMP types (RFC 792, RFC 4443).
const (
	icmp4EchoReply    = 0
	icmp4Unreachable  = 3
	icmp4Echo         = 8
	icmp4TimeExceeded = 11
	icmp6Unreachable  = 1
	icmp6TimeExceeded = 3
	icmp6Echo         = 128
	icmp6EchoReply    = 129
)

// An echo request is the ICMP header, then which probe and which of its rounds
// it belongs to, then a cookie that only this process can make.
const (
	icmpHeader = 8
	echoLen    = icmpHeader + 4 + 4 + 8
)

// echo is what identifies one round.
type echo struct {
	slot, round uint32
	cookie      uint64
}

// putEcho writes an echo request into b, which holds echoLen bytes. The kernel
// fills in the ICMPv6 checksum (RFC 3542 section 3.1).
func putEcho(b []byte, v6 bool, id uint16, e echo) {
	b[0], b[1] = icmp4Echo, 0
	if v6 {
		b[0] = icmp6Echo
	}
	b[2], b[3] = 0, 0
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], uint16(e.round))
	binary.BigEndian.PutUint32(b[8:], e.slot)
	binary.BigEndian.PutUint32(b[12:], e.round)
	binary.BigEndian.PutUint64(b[16:], e.cookie)
	if !v6 {
		binary.BigEndian.PutUint16(b[2:], checksum(b[:echoLen]))
	}
}

// checksum is the Internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// answer is a received packet that may concern one of our rounds.
type answer struct {
	echo
	unreachable bool       // an ICMP error about our request, not its reply
	dst         netip.Addr // of our request; only with unreachable
}

// parse4 reads what a raw ICMP socket delivers: the IPv4 header and the ICMP
// message. It reports false for everything that can not be ours.
func parse4(b []byte, id uint16) (answer, bool) {
	_, icmp, ok := ip4Payload(b)
	if !ok || len(icmp) < icmpHeader {
		return answer{}, false
	}
	switch icmp[0] {
	case icmp4EchoReply:
		e, ok := parseEcho(icmp, icmp4EchoReply, id)
		return answer{echo: e}, ok
	case icmp4Unreachable, icmp4TimeExceeded:
		dst, inner, ok := ip4Payload(icmp[icmpHeader:])
		if !ok || icmp[icmpHeader+9] != 1 { // protocol ICMP
			return answer{}, false
		}
		e, ok := parseEcho(inner, icmp4Echo, id)
		return answer{echo: e, unreachable: true, dst: dst}, ok
	}
	return answer{}, false
}

// ip4Payload returns the destination and the payload of an IPv4 packet.
func ip4Payload(b []byte) (dst netip.Addr, payload []byte, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return netip.Addr{}, nil, false
	}
	n := int(b[0]&15) * 4
	if n < 20 || len(b) < n {
		return netip.Addr{}, nil, false
	}
	return netip.AddrFrom4([4]byte(b[16:20])), b[n:], true
}

// parse6 reads what a raw ICMPv6 socket delivers: the ICMPv6 message alone, with
// its checksum verified by the kernel.
func parse6(b []byte, id uint16) (answer, bool) {
	if len(b) < icmpHeader {
		return answer{}, false
	}
	switch b[0] {
	case icmp6EchoReply:
		e, ok := parseEcho(b, icmp6EchoReply, id)
		return answer{echo: e}, ok
	case icmp6Unreachable, icmp6TimeExceeded:
		// Our requests carry no extension headers, so ICMPv6 follows at once.
		o := b[icmpHeader:]
		if len(o) < 40 || o[0]>>4 != 6 || o[6] != 58 {
			return answer{}, false
		}
		e, ok := parseEcho(o[40:], icmp6Echo, id)
		return answer{echo: e, unreachable: true, dst: netip.AddrFrom16([16]byte(o[24:40]))}, ok
	}
	return answer{}, false
}

// parseEcho reads an echo message of the given type. A router may cut the
// message it quotes in an error; without our cookie it is not believed.
func parseEcho(b []byte, typ byte, id uint16) (echo, bool) {
	if len(b) < echoLen || b[0] != typ || b[1] != 0 || binary.BigEndian.Uint16(b[4:]) != id {
		return echo{}, false
	}
	return echo{
		slot:   binary.BigEndian.Uint32(b[8:]),
		round:  binary.BigEndian.Uint32(b[12:]),
		cookie: binary.BigEndian.Uint64(b[16:]),
	}, true
}
