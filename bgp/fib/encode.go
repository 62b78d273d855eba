package fib

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// rtaNHID is RTA_NH_ID of include/uapi/linux/rtnetlink.h, which x/sys lacks.
const rtaNHID = 30

const (
	sizeofNlMsghdr = 16
	sizeofRtMsg    = 12
	sizeofNhMsg    = 8
	sizeofRuleHdr  = 12
	sizeofIfInfo   = 16
)

var native = binary.NativeEndian

// messages is a buffer of packed netlink requests.
type messages struct {
	b     []byte
	start int // of the message under construction
}

func (m *messages) reset() { m.b = m.b[:0] }

func (m *messages) begin(typ, flags uint16, seq uint32) {
	m.start = len(m.b)
	m.b = append(m.b, make([]byte, sizeofNlMsghdr)...)
	h := m.b[m.start:]
	native.PutUint16(h[4:], typ)
	native.PutUint16(h[6:], flags|unix.NLM_F_REQUEST)
	native.PutUint32(h[8:], seq)
}

func (m *messages) end() {
	native.PutUint32(m.b[m.start:], uint32(len(m.b)-m.start))
}

func (m *messages) u32(typ uint16, v uint32) {
	m.b = native.AppendUint16(m.b, 8)
	m.b = native.AppendUint16(m.b, typ)
	m.b = native.AppendUint32(m.b, v)
}

// addr appends an address attribute; 4 and 16 bytes need no padding.
func (m *messages) addr(typ uint16, a netip.Addr) {
	if a.Is4() {
		v := a.As4()
		m.b = native.AppendUint16(m.b, 8)
		m.b = native.AppendUint16(m.b, typ)
		m.b = append(m.b, v[:]...)
		return
	}
	v := a.As16()
	m.b = native.AppendUint16(m.b, 20)
	m.b = native.AppendUint16(m.b, typ)
	m.b = append(m.b, v[:]...)
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// routeMsg is one route as written to the kernel.
type routeMsg struct {
	table    uint32
	protocol uint8
	prefix   netip.Prefix
	metric   uint32
	typ      uint8 // RTN_*
	nhid     uint32
	source   netip.Addr
}

// newRoute appends RTM_NEWROUTE. flags says whether an existing route with the
// same prefix and metric is an error (NLM_F_EXCL) or replaced (NLM_F_REPLACE):
// the kernel looks at neither protocol nor next hops when it replaces.
func (m *messages) newRoute(seq uint32, flags uint16, r *routeMsg) {
	m.begin(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|flags, seq)
	m.rtmsg(r.prefix, r.table, r.protocol, unix.RT_SCOPE_UNIVERSE, r.typ)
	m.u32(unix.RTA_PRIORITY, r.metric)
	if r.nhid != 0 {
		m.u32(rtaNHID, r.nhid)
	}
	if r.source.IsValid() {
		m.addr(unix.RTA_PREFSRC, r.source)
	}
	m.end()
}

// delRoute appends RTM_DELROUTE. The kernel compares the protocol when it is
// given (fib_table_delete, ip6_route_del), so a foreign route is never hit.
func (m *messages) delRoute(seq uint32, prefix netip.Prefix, table uint32, protocol uint8, metric uint32) {
	m.begin(unix.RTM_DELROUTE, 0, seq)
	m.rtmsg(prefix, table, protocol, unix.RT_SCOPE_NOWHERE, unix.RTN_UNSPEC)
	if metric != 0 {
		m.u32(unix.RTA_PRIORITY, metric)
	}
	m.end()
}

func (m *messages) rtmsg(prefix netip.Prefix, table uint32, protocol, scope, typ uint8) {
	t8 := uint8(unix.RT_TABLE_UNSPEC)
	if table < 256 {
		t8 = uint8(table)
	}
	m.b = append(m.b, family(prefix.Addr()), uint8(prefix.Bits()), 0, 0, t8, protocol, scope, typ, 0, 0, 0, 0)
	m.addr(unix.RTA_DST, prefix.Addr())
	if table >= 256 {
		m.u32(unix.RTA_TABLE, table)
	}
}

// setObject appends RTM_NEWNEXTHOP for one way out: a new object, or one that is
// there and shall lead elsewhere. A given gateway is taken as on-link: which device
// leads to it is the plan's decision, and the address of the device may come later
// than the route.
func (m *messages) setObject(seq, id uint32, protocol uint8, w *way, replace bool) {
	mode := uint16(unix.NLM_F_CREATE | unix.NLM_F_EXCL)
	if replace {
		mode = unix.NLM_F_REPLACE // an object that is gone is no member: ENOENT
	}
	m.begin(unix.RTM_NEWNEXTHOP, mode, seq)
	var flags uint32
	if w.gateway.IsValid() {
		flags = unix.RTNH_F_ONLINK
	}
	m.nhmsg(w.family, protocol, flags)
	m.u32(unix.NHA_ID, id)
	m.u32(unix.NHA_OIF, uint32(w.oif))
	if w.gateway.IsValid() {
		m.addr(unix.NHA_GATEWAY, w.gateway.WithZone(""))
	}
	m.end()
}

// setGroup appends RTM_NEWNEXTHOP for a group: created, or its members replaced
// in one step when it exists. The kernel refuses to replace a group by one with
// another number of buckets (0: hash-threshold).
func (m *messages) setGroup(seq, id uint32, protocol uint8, buckets uint16, members []member) {
	m.begin(unix.RTM_NEWNEXTHOP, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, seq)
	m.nhmsg(unix.AF_UNSPEC, protocol, 0)
	m.u32(unix.NHA_ID, id)
	m.b = native.AppendUint16(m.b, uint16(4+8*len(members)))
	m.b = native.AppendUint16(m.b, unix.NHA_GROUP)
	for _, g := range members {
		m.b = native.AppendUint32(m.b, g.id)
		m.b = append(m.b, max(g.weight, 1)-1, 0, 0, 0) // struct nexthop_grp holds weight-1
	}
	if buckets > 0 {
		m.resilient(buckets)
	}
	m.end()
}

func (m *messages) delNextHop(seq, id uint32) {
	m.begin(unix.RTM_DELNEXTHOP, 0, seq)
	m.nhmsg(unix.AF_UNSPEC, 0, 0)
	m.u32(unix.NHA_ID, id)
	m.end()
}

func (m *messages) nhmsg(fam, protocol uint8, flags uint32) {
	m.b = append(m.b, fam, 0, protocol, 0)
	m.b = native.AppendUint32(m.b, flags)
}

// rule is one policy rule, in the form used to write and to compare it.
type rule struct {
	family   uint8
	pref     uint32
	action   uint8 // FR_ACT_*
	table    uint32
	mark     uint32 // with a full mask; 0: any
	suppress int32  // suppress_prefixlength; -1: none
	protocol uint8
}

func (m *messages) rule(typ, flags uint16, seq uint32, r *rule) {
	m.begin(typ, flags, seq)
	t8 := uint8(unix.RT_TABLE_UNSPEC)
	if r.table < 256 {
		t8 = uint8(r.table)
	}
	m.b = append(m.b, r.family, 0, 0, 0, t8, 0, 0, r.action, 0, 0, 0, 0)
	m.u32(unix.FRA_PRIORITY, r.pref)
	if r.table >= 256 {
		m.u32(unix.FRA_TABLE, r.table)
	}
	if r.mark != 0 {
		m.u32(unix.FRA_FWMARK, r.mark)
		m.u32(unix.FRA_FWMASK, 0xffffffff)
	}
	if r.suppress >= 0 {
		m.u32(unix.FRA_SUPPRESS_PREFIXLEN, uint32(r.suppress))
	}
	m.b = native.AppendUint16(m.b, 5)
	m.b = native.AppendUint16(m.b, unix.FRA_PROTOCOL)
	m.b = append(m.b, r.protocol, 0, 0, 0)
	m.end()
}

// dumpRoutes asks for one table of one family (0: IPv4). It needs
// NETLINK_GET_STRICT_CHK, without which the kernel ignores the table.
func (m *messages) dumpRoutes(seq uint32, fam uint8, table uint32) {
	m.begin(unix.RTM_GETROUTE, unix.NLM_F_DUMP, seq)
	m.b = append(m.b, fam, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	m.u32(unix.RTA_TABLE, table)
	m.end()
}

func (m *messages) dumpHeader(seq uint32, typ uint16, fam uint8, size int) {
	m.begin(typ, unix.NLM_F_DUMP, seq)
	m.b = append(m.b, make([]byte, size)...)
	m.b[m.start+sizeofNlMsghdr] = fam
	m.end()
}

// getRoute appends a lookup of one address as a packet with the given mark.
// flags are RTM_F_*.
// getRoute asks for the way to dst; oif is a VRF device to ask in, 0: none.
func (m *messages) getRoute(seq uint32, dst netip.Addr, mark, flags uint32, oif int32) {
	m.begin(unix.RTM_GETROUTE, 0, seq)
	m.b = append(m.b, family(dst), uint8(dst.BitLen()), 0, 0, 0, 0, 0, 0)
	m.b = native.AppendUint32(m.b, flags)
	m.addr(unix.RTA_DST, dst.WithZone(""))
	if mark != 0 {
		m.u32(unix.RTA_MARK, mark)
	}
	if oif != 0 {
		m.u32(unix.RTA_OIF, uint32(oif))
	}
	m.end()
}
