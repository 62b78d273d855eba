package device

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/wg"
)

// The WireGuard family of generic netlink, include/uapi/linux/wireguard.h. This
// file only converts; nlconn.go talks.

// WGALLOWEDIP_A_FLAGS and its only flag, since Linux 6.16; not in x/sys.
const (
	attrAllowedIPFlags = 4
	allowedIPRemoveMe  = 1
)

const nlmHdrLen, genlHdrLen = unix.SizeofNlMsghdr, unix.GENL_HDRLEN

// nlaTypeMask cuts NLA_F_NESTED and NLA_F_NET_BYTEORDER off.
const nlaTypeMask = 0x3fff

var errNetlink = errors.New("unreadable netlink message")

var native = binary.NativeEndian

// request encodes one generic-netlink request.
func request(family uint16, cmd, version uint8, flags uint16, seq uint32, attrs []byte) []byte {
	b := make([]byte, nlmHdrLen+genlHdrLen, nlmHdrLen+genlHdrLen+len(attrs))
	native.PutUint32(b[0:], uint32(cap(b)))
	native.PutUint16(b[4:], family)
	native.PutUint16(b[6:], flags|unix.NLM_F_REQUEST)
	native.PutUint32(b[8:], seq)
	b[nlmHdrLen], b[nlmHdrLen+1] = cmd, version
	return append(b, attrs...)
}

// attr appends one attribute, padded to four bytes.
func attr(b []byte, typ uint16, data []byte) []byte {
	b = native.AppendUint16(b, uint16(4+len(data)))
	b = native.AppendUint16(b, typ)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// nest appends an attribute that holds attributes. The caller keeps each below
// 64 KiB; its length field has 16 bits.
func nest(b []byte, typ uint16, fill func([]byte) []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = fill(b)
	native.PutUint16(b[start:], uint16(len(b)-start))
	native.PutUint16(b[start+2:], typ|unix.NLA_F_NESTED)
	return b
}

func ifname(b []byte, name string) []byte {
	return attr(b, unix.WGDEVICE_A_IFNAME, append([]byte(name), 0))
}

// removePrefixes encodes a set that takes single prefixes from peers by the
// remove flag: each goes only if the named peer still holds it. ops are
// OpDelPrefix, at most one call's worth.
func removePrefixes(dev string, ops []wg.Op) []byte {
	b := ifname(nil, dev)
	return nest(b, unix.WGDEVICE_A_PEERS, func(b []byte) []byte {
		for i := 0; i < len(ops); {
			j := i
			for j < len(ops) && ops[j].Peer == ops[i].Peer {
				j++
			}
			b = nest(b, uint16(i), func(b []byte) []byte {
				b = attr(b, unix.WGPEER_A_PUBLIC_KEY, ops[i].Peer[:])
				b = attr(b, unix.WGPEER_A_FLAGS, native.AppendUint32(nil, unix.WGPEER_F_UPDATE_ONLY))
				return nest(b, unix.WGPEER_A_ALLOWEDIPS, func(b []byte) []byte {
					for k, op := range ops[i:j] {
						b = nest(b, uint16(k), func(b []byte) []byte { return allowedIP(b, op.Prefix, allowedIPRemoveMe) })
					}
					return b
				})
			})
			i = j
		}
		return b
	})
}

func allowedIP(b []byte, p netip.Prefix, flags uint32) []byte {
	family := uint16(unix.AF_INET6)
	if p.Addr().Is4() {
		family = unix.AF_INET
	}
	b = attr(b, unix.WGALLOWEDIP_A_FAMILY, native.AppendUint16(nil, family))
	b = attr(b, unix.WGALLOWEDIP_A_IPADDR, p.Addr().AsSlice())
	b = attr(b, unix.WGALLOWEDIP_A_CIDR_MASK, []byte{uint8(p.Bits())})
	if flags != 0 {
		b = attr(b, attrAllowedIPFlags, native.AppendUint32(nil, flags))
	}
	return b
}

// eachMessage walks the messages of one datagram.
func eachMessage(b []byte, f func(typ, flags uint16, seq uint32, data []byte) error) error {
	for len(b) >= nlmHdrLen {
		n := int(native.Uint32(b))
		if n < nlmHdrLen || n > len(b) {
			return errNetlink
		}
		if err := f(native.Uint16(b[4:]), native.Uint16(b[6:]), native.Uint32(b[8:]), b[nlmHdrLen:n]); err != nil {
			return err
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return nil
}

// eachAttr walks attributes.
func eachAttr(b []byte, f func(typ uint16, data []byte) error) error {
	for len(b) >= 4 {
		n := int(native.Uint16(b))
		if n < 4 || n > len(b) {
			return errNetlink
		}
		if err := f(native.Uint16(b[2:])&nlaTypeMask, b[4:n]); err != nil {
			return err
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return nil
}

// deviceMessage adds one message of a device dump to d. A peer with many
// allowed IPs continues in the next message with only its key.
func deviceMessage(d *dump, b []byte, full bool) error {
	if len(b) < genlHdrLen {
		return errNetlink
	}
	return eachAttr(b[genlHdrLen:], func(typ uint16, data []byte) error {
		switch typ {
		case unix.WGDEVICE_A_PUBLIC_KEY:
			return fixed(data, wg.KeyLen, func() { copy(d.PublicKey[:], data) })
		case unix.WGDEVICE_A_LISTEN_PORT:
			return fixed(data, 2, func() { d.ListenPort = native.Uint16(data) })
		case unix.WGDEVICE_A_FWMARK:
			return fixed(data, 4, func() { d.Mark = native.Uint32(data) })
		case unix.WGDEVICE_A_PEERS:
			return eachAttr(data, func(_ uint16, data []byte) error { return peerMessage(d, data, full) })
		}
		return nil
	})
}

func fixed(b []byte, n int, f func()) error {
	if len(b) != n {
		return errNetlink
	}
	f()
	return nil
}

func peerMessage(d *dump, b []byte, full bool) error {
	var p dumpPeer
	err := eachAttr(b, func(typ uint16, data []byte) error {
		switch typ {
		case unix.WGPEER_A_PUBLIC_KEY:
			return fixed(data, wg.KeyLen, func() { copy(p.Key[:], data) })
		case unix.WGPEER_A_PRESHARED_KEY:
			return fixed(data, wg.KeyLen, func() {
				if full {
					p.PresharedKey = wg.NewPresharedKey([wg.KeyLen]byte(data))
				}
			})
		case unix.WGPEER_A_ENDPOINT:
			p.Endpoint = sockaddr(data)
		case unix.WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL:
			return fixed(data, 2, func() { p.Keepalive = time.Duration(native.Uint16(data)) * time.Second })
		case unix.WGPEER_A_LAST_HANDSHAKE_TIME:
			return fixed(data, 16, func() {
				p.Handshake = int64(native.Uint64(data))*int64(time.Second) + int64(native.Uint64(data[8:]))
			})
		case unix.WGPEER_A_RX_BYTES:
			return fixed(data, 8, func() { p.Rx = native.Uint64(data) })
		case unix.WGPEER_A_TX_BYTES:
			return fixed(data, 8, func() { p.Tx = native.Uint64(data) })
		case unix.WGPEER_A_ALLOWEDIPS:
			if !full {
				return nil
			}
			return eachAttr(data, func(_ uint16, data []byte) error {
				ip, err := allowedIPMessage(data)
				if err == nil {
					p.AllowedIPs = append(p.AllowedIPs, ip)
				}
				return err
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n := len(d.Peers); n > 0 && d.Peers[n-1].Key == p.Key {
		d.Peers[n-1].AllowedIPs = append(d.Peers[n-1].AllowedIPs, p.AllowedIPs...)
		return nil
	}
	d.Peers = append(d.Peers, p)
	return nil
}

func allowedIPMessage(b []byte) (netip.Prefix, error) {
	var addr netip.Addr
	bits := -1
	err := eachAttr(b, func(typ uint16, data []byte) error {
		switch typ {
		case unix.WGALLOWEDIP_A_IPADDR:
			var ok bool
			if addr, ok = netip.AddrFromSlice(data); !ok {
				return errNetlink
			}
		case unix.WGALLOWEDIP_A_CIDR_MASK:
			return fixed(data, 1, func() { bits = int(data[0]) })
		}
		return nil
	})
	if err != nil {
		return netip.Prefix{}, err
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return p, errNetlink
	}
	return p, nil
}

// sockaddr reads a struct sockaddr_in or sockaddr_in6; anything else is no
// endpoint.
func sockaddr(b []byte) netip.AddrPort {
	if len(b) < 8 {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch family := native.Uint16(b); {
	case family == unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
	case family == unix.AF_INET6 && len(b) >= 24:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), port)
	}
	return netip.AddrPort{}
}
