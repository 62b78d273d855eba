package rawbgp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
)

// Message types (RFC 4271 section 4.1, RFC 2918).
const (
	Open         = 1
	Update       = 2
	Notification = 3
	Keepalive    = 4
	RouteRefresh = 5
)

// HeaderLen is the length of a message's header.
const HeaderLen = 19

// Message makes a message with a correct header.
func Message(typ byte, body ...byte) []byte {
	b := append(bytes.Repeat([]byte{0xff}, 16), 0, 0, typ)
	binary.BigEndian.PutUint16(b[16:], uint16(HeaderLen+len(body)))
	return append(b, body...)
}

// UpdateMessage makes an UPDATE (RFC 4271 section 4.3) of its three parts.
func UpdateMessage(withdrawn, attributes, nlri []byte) []byte {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(withdrawn)))
	body = append(body, withdrawn...)
	body = binary.BigEndian.AppendUint16(body, uint16(len(attributes)))
	body = append(body, attributes...)
	return Message(Update, append(body, nlri...)...)
}

// Prefix encodes a prefix as NLRI.
func Prefix(p netip.Prefix) []byte {
	return append([]byte{byte(p.Bits())}, p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
}

// Announce makes an UPDATE that announces IPv4 prefixes with ORIGIN IGP, an
// AS_PATH of four-octet ASNs, the next hop, a MED, and more attributes as given.
func Announce(path []uint32, nextHop netip.Addr, med uint32, more []byte, prefixes ...netip.Prefix) []byte {
	attrs := []byte{0x40, 1, 1, 0, 0x40, 2, byte(2 + 4*len(path)), 2, byte(len(path))}
	for _, as := range path {
		attrs = binary.BigEndian.AppendUint32(attrs, as)
	}
	attrs = append(append(attrs, 0x40, 3, 4), nextHop.AsSlice()...)
	attrs = binary.BigEndian.AppendUint32(append(attrs, 0x80, 4, 4), med)
	return UpdateMessage(nil, append(attrs, more...), nlri(prefixes))
}

// Withdraw makes an UPDATE that withdraws IPv4 prefixes.
func Withdraw(prefixes ...netip.Prefix) []byte { return UpdateMessage(nlri(prefixes), nil, nil) }

func nlri(prefixes []netip.Prefix) (b []byte) {
	for _, p := range prefixes {
		b = append(b, Prefix(p)...)
	}
	return b
}

var errShort = errors.New("short UPDATE")

// ReadUpdate returns the IPv4 prefixes that the body of an UPDATE withdraws and
// announces outside of its attributes.
func ReadUpdate(body []byte) (withdrawn, announced []netip.Prefix, err error) {
	part := func() (x []byte) {
		if len(body) < 2 || len(body) < 2+int(binary.BigEndian.Uint16(body)) {
			err = errShort
			return nil
		}
		n := 2 + int(binary.BigEndian.Uint16(body))
		x, body = body[2:n], body[n:]
		return x
	}
	gone := part()
	if part(); err != nil {
		return nil, nil, err
	}
	if withdrawn, err = ReadPrefixes(gone, 32); err != nil {
		return nil, nil, err
	}
	announced, err = ReadPrefixes(body, 32)
	return withdrawn, announced, err
}

// ReadPrefixes decodes NLRI of a family whose addresses have 32 or 128 bits.
func ReadPrefixes(b []byte, width int) (out []netip.Prefix, err error) {
	for len(b) > 0 {
		bits := int(b[0])
		n := (bits + 7) / 8
		if bits > width || len(b) < 1+n {
			return out, errShort
		}
		full := make([]byte, width/8)
		copy(full, b[1:1+n])
		a, _ := netip.AddrFromSlice(full)
		out = append(out, netip.PrefixFrom(a, bits).Masked())
		b = b[1+n:]
	}
	return out, nil
}
