package fib

import (
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// errShort says that a message ended before its fields did.
var errShort = errors.New("truncated netlink message")

// header is struct nlmsghdr.
type header struct {
	typ, flags uint16
	seq, pid   uint32
}

// nextMessage splits the first message off b.
func nextMessage(b []byte) (h header, body, rest []byte, err error) {
	if len(b) < sizeofNlMsghdr {
		return h, nil, nil, errShort
	}
	n := int(native.Uint32(b))
	if n < sizeofNlMsghdr || n > len(b) {
		return h, nil, nil, errShort
	}
	h = header{native.Uint16(b[4:]), native.Uint16(b[6:]), native.Uint32(b[8:]), native.Uint32(b[12:])}
	return h, b[sizeofNlMsghdr:n], b[min((n+3)&^3, len(b)):], nil
}

// eachAttr calls fn for every attribute; the type comes without flag bits.
func eachAttr(b []byte, fn func(typ uint16, v []byte)) error {
	for len(b) >= 4 {
		n := int(native.Uint16(b))
		if n < 4 || n > len(b) {
			return errShort
		}
		fn(native.Uint16(b[2:])&0x3fff, b[4:n])
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

func asU32(v []byte) uint32 {
	if len(v) < 4 {
		return 0
	}
	return native.Uint32(v)
}

func asU16(v []byte) uint16 {
	if len(v) < 2 {
		return 0
	}
	return native.Uint16(v)
}

func asAddr(v []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(v)
	return a
}

// kroute is one route as the kernel shows it.
type kroute struct {
	prefix   netip.Prefix
	table    uint32
	metric   uint32
	nhid     uint32
	oif      int32
	gateway  netip.Addr
	source   netip.Addr
	protocol uint8
	typ      uint8 // RTN_*
	tos      uint8
	paths    []kpath // RTA_MULTIPATH
	taken    bool    // deleted or replaced by us since it was read
}

type kpath struct {
	oif     int32
	gateway netip.Addr
}

// parseRoute reads the body of an RTM_NEWROUTE or RTM_DELROUTE.
func parseRoute(b []byte) (kroute, error) {
	if len(b) < sizeofRtMsg {
		return kroute{}, errShort
	}
	r := kroute{table: uint32(b[4]), protocol: b[5], typ: b[7], tos: b[3]}
	fam, bits := b[0], int(b[1])
	if fam != unix.AF_INET && fam != unix.AF_INET6 {
		return r, errors.New("route of another address family")
	}
	dst := netip.IPv4Unspecified()
	if fam == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	err := eachAttr(b[sizeofRtMsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.RTA_DST:
			dst = asAddr(v)
		case unix.RTA_TABLE:
			r.table = asU32(v)
		case unix.RTA_PRIORITY:
			r.metric = asU32(v)
		case rtaNHID:
			r.nhid = asU32(v)
		case unix.RTA_OIF:
			r.oif = int32(asU32(v))
		case unix.RTA_GATEWAY:
			r.gateway = asAddr(v)
		case unix.RTA_VIA:
			if len(v) > 2 {
				r.gateway = asAddr(v[2:])
			}
		case unix.RTA_PREFSRC:
			r.source = asAddr(v)
		case unix.RTA_MULTIPATH:
			r.paths = parsePaths(v)
		}
	})
	if err != nil {
		return r, err
	}
	if !dst.IsValid() || dst.Is4() != (fam == unix.AF_INET) || bits > dst.BitLen() {
		return r, errors.New("route with an impossible destination")
	}
	r.prefix = netip.PrefixFrom(dst, bits)
	return r, nil
}

// parsePaths reads a list of struct rtnexthop.
func parsePaths(b []byte) []kpath {
	var out []kpath
	for len(b) >= 8 {
		n := int(native.Uint16(b))
		if n < 8 || n > len(b) {
			break
		}
		p := kpath{oif: int32(native.Uint32(b[4:]))}
		_ = eachAttr(b[8:n], func(typ uint16, v []byte) {
			switch {
			case typ == unix.RTA_GATEWAY:
				p.gateway = asAddr(v)
			case typ == unix.RTA_VIA && len(v) > 2:
				p.gateway = asAddr(v[2:])
			}
		})
		out = append(out, p)
		b = b[min((n+3)&^3, len(b)):]
	}
	return out
}

// member is one next-hop object in a group.
type member struct {
	id     uint32
	weight uint8 // 1..255
}

// knexthop is one next-hop object as the kernel shows it.
type knexthop struct {
	id       uint32
	family   uint8
	protocol uint8
	oif      int32
	gateway  netip.Addr
	group    []member
	buckets  uint16 // of a resilient group, 0: hash-threshold
	special  bool   // blackhole, encapsulation, FDB or a group of a kind we do not make
}

func parseNextHop(b []byte) (knexthop, error) {
	if len(b) < sizeofNhMsg {
		return knexthop{}, errShort
	}
	n := knexthop{family: b[0], protocol: b[2]}
	err := eachAttr(b[sizeofNhMsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.NHA_ID:
			n.id = asU32(v)
		case unix.NHA_OIF:
			n.oif = int32(asU32(v))
		case unix.NHA_GATEWAY:
			n.gateway = asAddr(v)
		case unix.NHA_GROUP:
			for ; len(v) >= 8; v = v[8:] {
				n.group = append(n.group, member{native.Uint32(v), v[4] + 1})
			}
		case unix.NHA_GROUP_TYPE:
			n.special = n.special || asU16(v) > groupResilient
		case nhaResGroup:
			n.buckets = bucketsOf(v)
		case unix.NHA_BLACKHOLE, unix.NHA_ENCAP, unix.NHA_ENCAP_TYPE, 11: // NHA_FDB
			n.special = true
		}
	})
	return n, err
}

// link is what matters of a device.
type link struct {
	index int32
	name  string
	up    bool   // administratively up and with carrier: the kernel accepts next hops only then
	vrf   uint32 // table of a VRF device, 0: not a VRF
}

func parseLink(b []byte) (link, error) {
	if len(b) < sizeofIfInfo {
		return link{}, errShort
	}
	const usable = unix.IFF_UP | unix.IFF_LOWER_UP
	l := link{index: int32(native.Uint32(b[4:])), up: native.Uint32(b[8:])&usable == usable}
	err := eachAttr(b[sizeofIfInfo:], func(typ uint16, v []byte) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.name = strings.TrimRight(string(v), "\x00")
		case unix.IFLA_LINKINFO:
			l.vrf = vrfTable(v)
		}
	})
	return l, err
}

// vrfTable reads the table of a VRF device out of its IFLA_LINKINFO (vrf_fillinfo
// in drivers/net/vrf.c), 0 for every other kind.
func vrfTable(info []byte) (table uint32) {
	isVRF := false
	_ = eachAttr(info, func(typ uint16, v []byte) {
		switch {
		case typ == unix.IFLA_INFO_KIND:
			isVRF = strings.TrimRight(string(v), "\x00") == "vrf"
		case typ == unix.IFLA_INFO_DATA && isVRF: // it follows the kind
			_ = eachAttr(v, func(typ uint16, v []byte) {
				if typ == unix.IFLA_VRF_TABLE {
					table = asU32(v)
				}
			})
		}
	})
	return table
}

// parseRule reads the body of an RTM_NEWRULE. other says that the rule has a
// selector or flag that none of ours has.
func parseRule(b []byte) (r rule, other bool, err error) {
	if len(b) < sizeofRuleHdr {
		return r, false, errShort
	}
	r = rule{family: b[0], table: uint32(b[4]), action: b[7], suppress: -1}
	other = b[1] != 0 || b[2] != 0 || b[3] != 0 || native.Uint32(b[8:])&unix.FIB_RULE_INVERT != 0
	mask := uint32(0xffffffff)
	err = eachAttr(b[sizeofRuleHdr:], func(typ uint16, v []byte) {
		switch typ {
		case unix.FRA_PRIORITY:
			r.pref = asU32(v)
		case unix.FRA_TABLE:
			r.table = asU32(v)
		case unix.FRA_FWMARK:
			r.mark = asU32(v)
		case unix.FRA_FWMASK:
			mask = asU32(v)
		case unix.FRA_SUPPRESS_PREFIXLEN:
			r.suppress = int32(asU32(v))
		case unix.FRA_PROTOCOL:
			if len(v) > 0 {
				r.protocol = v[0]
			}
		case unix.FRA_PAD, unix.FRA_UNSPEC, unix.FRA_SUPPRESS_IFGROUP:
		case unix.FRA_L3MDEV:
			other = other || len(v) > 0 && v[0] != 0
		default:
			other = true
		}
	})
	other = other || r.mark != 0 && mask != 0xffffffff
	return r, other, err
}

// parseError reads an NLMSG_ERROR: the errno (0: an acknowledgement) and the
// kernel's own words when it gave any (NETLINK_EXT_ACK).
func parseError(h header, b []byte) (unix.Errno, string, error) {
	if len(b) < 4+sizeofNlMsghdr {
		return 0, "", errShort
	}
	errno := unix.Errno(-int32(native.Uint32(b)))
	var text string
	if h.flags&unix.NLM_F_ACK_TLVS != 0 {
		rest := b[4+sizeofNlMsghdr:]
		if h.flags&unix.NLM_F_CAPPED == 0 {
			n := int(native.Uint32(b[4:])) - sizeofNlMsghdr
			if n < 0 || n > len(rest) {
				return errno, "", nil
			}
			rest = rest[min((n+3)&^3, len(rest)):]
		}
		_ = eachAttr(rest, func(typ uint16, v []byte) {
			if typ == unix.NLMSGERR_ATTR_MSG {
				text = strings.TrimRight(string(v), "\x00")
			}
		})
	}
	return errno, text, nil
}
