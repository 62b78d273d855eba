package bench

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// tableKind is how alike the paths of a table are.
type tableKind string

const (
	// sharedAttrs: one set of attributes for all, hundreds of prefixes in each
	// UPDATE. Nothing but the prefixes themselves costs anything.
	sharedAttrs tableKind = "shared"
	// diverseAttrs: as in the Internet, where some five prefixes share their
	// attributes: AS_PATHs of three to six ASNs, communities, MED.
	diverseAttrs tableKind = "diverse"
)

// table is a set of paths as UPDATEs ready to be written to a socket.
type table struct {
	prefixes []netip.Prefix
	wire     []byte
}

// newTable encodes n paths whose AS_PATH begins with the sender's ASN and is
// longer by extra ASNs. The same arguments give the same bytes.
func newTable(kind tableKind, n int, nextHop netip.Addr, asn uint32, extra int) *table {
	t := &table{}
	for i := range n {
		t.prefixes = append(t.prefixes, tablePrefix(nextHop.Is6(), i))
	}
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	for at := 0; at < n; {
		path := []uint32{asn}
		var more []byte
		size := n - at
		if kind == diverseAttrs {
			size = min(size, 1+int(rnd.ExpFloat64()*4.5))
			for range 2 + rnd.IntN(4) {
				path = append(path, 100_000+rnd.Uint32N(60_000))
			}
			more = binary.BigEndian.AppendUint32(append(more, 0x80, 4, 4), rnd.Uint32N(20)*10) // MED
			comms := 1 + rnd.IntN(4)
			more = append(more, 0xc0, 8, byte(4*comms))
			for range comms {
				more = binary.BigEndian.AppendUint32(more, 65001<<16|rnd.Uint32N(300))
			}
		}
		for range extra {
			path = append(path, 64999)
		}
		size = min(size, maxNLRI(nextHop.Is6()))
		t.wire = appendUpdate(t.wire, nextHop, path, more, t.prefixes[at:at+size])
		at += size
	}
	return t
}

// maxNLRI is how many prefixes one UPDATE of 4096 octets takes here, with ample
// room for the attributes.
func maxNLRI(six bool) int {
	if six {
		return 500
	}
	return 900
}

// tablePrefix is the i-th prefix of every table: a /24, or a /48.
func tablePrefix(six bool, i int) netip.Prefix {
	if six {
		a := [16]byte{0x2a, 0x00, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
		return netip.PrefixFrom(netip.AddrFrom16(a), 48)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{20 + byte(i>>16), byte(i >> 8), byte(i), 0}), 24)
}

// appendUpdate adds one UPDATE (RFC 4271 section 4.3) that announces the
// prefixes, IPv6 ones by RFC 4760 section 3. more are further attributes.
func appendUpdate(b []byte, nextHop netip.Addr, path []uint32, more []byte, prefixes []netip.Prefix) []byte {
	attrs := []byte{0x40, 1, 1, 0, 0x40, 2, byte(2 + 4*len(path)), 2, byte(len(path))}
	for _, as := range path {
		attrs = binary.BigEndian.AppendUint32(attrs, as)
	}
	nlri := appendNLRI(nil, prefixes)
	if nextHop.Is4() {
		attrs = append(append(attrs, 0x40, 3, 4), nextHop.AsSlice()...)
	} else {
		reach := append(append([]byte{0, 2, 1, 16}, nextHop.AsSlice()...), 0)
		attrs = appendLong(attrs, 14, append(reach, nlri...))
		nlri = nil
	}
	return appendParts(b, nil, append(attrs, more...), nlri)
}

// appendWithdrawal adds one UPDATE that withdraws the prefixes; without any it
// is the End-of-RIB marker (RFC 4724 section 2).
func appendWithdrawal(b []byte, six bool, prefixes ...netip.Prefix) []byte {
	nlri := appendNLRI(nil, prefixes)
	if six {
		return appendParts(b, nil, appendLong(nil, 15, append([]byte{0, 2, 1}, nlri...)), nil)
	}
	return appendParts(b, nlri, nil, nil)
}

func appendNLRI(b []byte, prefixes []netip.Prefix) []byte {
	for _, p := range prefixes {
		b = append(b, byte(p.Bits()))
		b = append(b, p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
	}
	return b
}

// appendLong adds an optional attribute with a length of two octets.
func appendLong(b []byte, typ byte, value []byte) []byte {
	return append(binary.BigEndian.AppendUint16(append(b, 0x90, typ), uint16(len(value))), value...)
}

func appendParts(b, withdrawn, attrs, nlri []byte) []byte {
	for range 16 {
		b = append(b, 0xff)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(19+2+len(withdrawn)+2+len(attrs)+len(nlri)))
	b = append(b, msgUpdate)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(withdrawn))), withdrawn...)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(attrs))), attrs...)
	return append(b, nlri...)
}
