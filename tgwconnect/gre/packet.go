package gre

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// virtioLen is the length of struct virtio_net_hdr, which a packet socket and
// a TUN put before each packet (virtio 1.2, 5.1.6).
const virtioLen = 10

// linkLen is room for a link header, in bytes; Ethernet's has 14.
const linkLen = 64

// virtioHeader says what is unfinished in a packet: its division into
// segments, its inner checksum.
type virtioHeader struct {
	flags, gsoType       uint8
	headers, segment     uint16 // bytes: all headers; payload of one packet on the wire
	sumStart, sumToStore uint16 // the second counts from the first
}

func parseVirtio(b []byte) virtioHeader {
	n := binary.NativeEndian
	return virtioHeader{b[0], b[1], n.Uint16(b[2:]), n.Uint16(b[4:]), n.Uint16(b[6:]), n.Uint16(b[8:])}
}

func (h virtioHeader) put(b []byte) {
	n := binary.NativeEndian
	b[0], b[1] = h.flags, h.gsoType
	n.PutUint16(b[2:], h.headers)
	n.PutUint16(b[4:], h.segment)
	n.PutUint16(b[6:], h.sumStart)
	n.PutUint16(b[8:], h.sumToStore)
}

// plain says that nothing is unfinished.
func (h virtioHeader) plain() bool {
	return h.flags&unix.VIRTIO_NET_HDR_F_NEEDS_CSUM == 0 && h.gsoType == unix.VIRTIO_NET_HDR_GSO_NONE
}

// inside is the header for the inner packet, which starts at byte at of the
// outer one. It reports false for what no kernel sends.
func (h virtioHeader) inside(inner []byte, at int) (virtioHeader, bool) {
	start := int(h.sumStart) - at
	if h.flags&unix.VIRTIO_NET_HDR_F_NEEDS_CSUM == 0 || start < 20 || start+int(h.sumToStore)+2 > len(inner) {
		return h, false
	}
	h.sumStart, h.headers = uint16(start), 0
	switch h.gsoType &^ unix.VIRTIO_NET_HDR_GSO_ECN {
	case unix.VIRTIO_NET_HDR_GSO_NONE:
		return h, true
	case unix.VIRTIO_NET_HDR_GSO_TCPV4, unix.VIRTIO_NET_HDR_GSO_TCPV6:
		if start+20 > len(inner) {
			return h, false
		}
		h.headers = uint16(start + int(inner[start+12]>>4)*4)
	case unix.VIRTIO_NET_HDR_GSO_UDP_L4:
		h.headers = uint16(start + 8)
	default:
		return h, false
	}
	return h, h.segment > 0 && int(h.headers) < len(inner)
}

// packets is the number of packets of an inner one on the wire.
func (h virtioHeader) packets(inner []byte) uint64 {
	if h.gsoType == unix.VIRTIO_NET_HDR_GSO_NONE {
		return 1
	}
	return uint64((len(inner) - int(h.headers) + int(h.segment) - 1) / int(h.segment))
}

// unpacker takes inner packets out of those of the packet socket, in place,
// and hands them to the TUN in the order of arrival.
type unpacker struct {
	u     *userTunnel
	in    *receiver
	bufs  [batchSize][]byte
	plain [batchSize][]byte
}

func (u *userTunnel) newUnpacker(s *packetSocket) *unpacker {
	r := &unpacker{u: u, in: newReceiver(s.rc, func() {})}
	r.in.wantControl()
	for i := range r.bufs {
		r.bufs[i] = make([]byte, virtioLen+linkLen+bufLen)
		r.in.set(i, r.bufs[i])
	}
	return r
}

// deliver hands over the first n received packets. Finished ones go in runs,
// which lets the TUN library merge them. An error means that the TUN is closed.
func (r *unpacker) deliver(n int) error {
	run := r.plain[:0]
	for i := range n {
		b, at, h, why := r.one(i)
		switch {
		case why != accepted:
			r.u.refuse(why)
			continue
		case h.plain():
			run = append(run, b[at-headLen:])
			continue
		}
		if err := r.write(run); err != nil {
			return err
		}
		run = run[:0]
		h.put(b[at-virtioLen:])
		r.u.rx.Add(h.packets(b[at:]))
		_, err := r.u.dev.File().Write(b[at-virtioLen:])
		if err := r.u.written(err); err != nil {
			return err
		}
	}
	return r.write(run)
}

// write hands over finished packets.
func (r *unpacker) write(run [][]byte) error {
	if len(run) == 0 {
		return nil
	}
	r.u.rx.Add(uint64(len(run)))
	_, err := r.u.dev.Write(run, headLen)
	return r.u.written(err)
}

// one returns a received packet, where its inner one starts, and what is
// unfinished about that.
func (r *unpacker) one(i int) (b []byte, at int, h virtioHeader, why refusal) {
	size, whole := r.in.size(i)
	start, known := r.in.networkOffset(i)
	if start += virtioLen; !whole || !known || size < start+headLen {
		return nil, 0, h, refuseShort
	}
	b = r.bufs[i][:size]
	h = parseVirtio(b)
	outer, class, why := outerOf(b[start:])
	if why != accepted {
		return nil, 0, h, why
	}
	b = b[:start+len(outer.packet)]
	inner, why := parseGRE(outer.packet[outer.headers:])
	if why != accepted {
		return nil, 0, h, why
	}
	if !markECN(inner, class) {
		return nil, 0, h, refuseECN
	}
	at = len(b) - len(inner)
	if h.plain() {
		return b, at, h, accepted
	}
	h, ok := h.inside(inner, at-virtioLen)
	if !ok {
		return nil, 0, h, refusePayload
	}
	return b, at, h, accepted
}

// outerPacket is an outer packet without the padding of a short frame.
type outerPacket struct {
	packet  []byte
	headers int // length of those before GRE
}

// outerOf checks what the IP stack would check; the filter has seen the rest.
func outerOf(p []byte) (o outerPacket, class byte, why refusal) {
	if p[0]>>4 == 6 {
		total := ip6Len + int(binary.BigEndian.Uint16(p[4:]))
		o.headers = ip6Len
		if p[6] == unix.IPPROTO_DSTOPTS {
			o.headers += limitLen
		}
		if len(p) < total || total < o.headers+greLen {
			return o, 0, refuseShort
		}
		o.packet = p[:total]
		return o, trafficClass(p), accepted
	}
	total := int(binary.BigEndian.Uint16(p[2:]))
	if len(p) < total || total < headLen {
		return o, 0, refuseShort
	}
	if internetSum(p[:outerLen]) != 0xffff {
		return o, 0, refuseSum
	}
	o.packet, o.headers = p[:total], outerLen
	return o, p[1], accepted
}
