package gre

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Values of include/uapi/linux/if_tunnel.h and ip6_tunnel.h the library lacks.
const (
	iflaGREFwMark      = 20
	ip6TnlIgnEncapLim  = 0x1 // IP6_TNL_F_IGN_ENCAP_LIMIT
	ip6TnlOrigTClass   = 0x2 // IP6_TNL_F_USE_ORIG_TCLASS
	tosInherit         = 1   // outer DSCP is the inner one's
	ip6TnlFlagsCompare = ip6TnlIgnEncapLim | ip6TnlOrigTClass
)

// greAttrs is a kernel GRE tunnel as netlink describes it (IFLA_INFO_DATA). It
// is comparable. The library's Gretun has neither mark nor IPv6 flags.
type greAttrs struct {
	local, remote netip.Addr
	ttl, tos      uint8
	pmtudisc      bool
	mark          uint32
	iflags        uint16 // checksum, key, sequence on receive, network order bits as in the header
	oflags        uint16
	flags6        uint32
}

// wantedAttrs is the tunnel as TGW speaks it: a bare header, don't fragment.
// Without IGN_ENCAP_LIMIT the kernel puts an option header in front of IPv6 GRE
// (net/ipv6/ip6_tunnel.c), which makes 52 bytes of overhead out of 44.
func wantedAttrs(t tgwconnect.Tunnel) greAttrs {
	a := greAttrs{local: t.Local, remote: t.Remote, ttl: ttlOf(t), mark: t.Mark}
	if t.Local.Is6() {
		a.flags6 = ip6TnlIgnEncapLim | ip6TnlOrigTClass
	} else {
		a.pmtudisc, a.tos = true, tosInherit
	}
	return a
}

func (a greAttrs) kind() string {
	if a.local.Is6() {
		return kindGRE6
	}
	return kindGRE
}

// sameEnds says whether a change needs no new tunnel.
func (a greAttrs) sameEnds(b greAttrs) bool { return a.local == b.local && a.remote == b.remote }

// add puts the attributes into a request.
func (a greAttrs) add(data *nl.RtAttr) {
	data.AddRtAttr(nl.IFLA_GRE_LOCAL, a.local.AsSlice())
	data.AddRtAttr(nl.IFLA_GRE_REMOTE, a.remote.AsSlice())
	data.AddRtAttr(nl.IFLA_GRE_IFLAGS, be16(a.iflags))
	data.AddRtAttr(nl.IFLA_GRE_OFLAGS, be16(a.oflags))
	data.AddRtAttr(nl.IFLA_GRE_TTL, nl.Uint8Attr(a.ttl))
	data.AddRtAttr(iflaGREFwMark, nl.Uint32Attr(a.mark))
	if a.local.Is6() {
		data.AddRtAttr(nl.IFLA_GRE_FLAGS, nl.Uint32Attr(a.flags6))
		return
	}
	data.AddRtAttr(nl.IFLA_GRE_TOS, nl.Uint8Attr(a.tos))
	disc := uint8(0)
	if a.pmtudisc {
		disc = 1
	}
	data.AddRtAttr(nl.IFLA_GRE_PMTUDISC, nl.Uint8Attr(disc))
}

// parseGREAttrs reads IFLA_INFO_DATA of a gre or ip6gre interface.
func parseGREAttrs(data []byte) (greAttrs, error) {
	var a greAttrs
	attrs, err := nl.ParseRouteAttr(data)
	if err != nil {
		return a, err
	}
	for _, d := range attrs {
		v := d.Value
		need := func(n int) bool {
			if len(v) < n {
				err = fmt.Errorf("attribute %d is %d bytes long, want %d", d.Attr.Type, len(v), n)
			}
			return len(v) >= n
		}
		switch d.Attr.Type {
		case nl.IFLA_GRE_LOCAL:
			a.local, _ = netip.AddrFromSlice(v)
		case nl.IFLA_GRE_REMOTE:
			a.remote, _ = netip.AddrFromSlice(v)
		case nl.IFLA_GRE_IFLAGS:
			if need(2) {
				a.iflags = binary.BigEndian.Uint16(v)
			}
		case nl.IFLA_GRE_OFLAGS:
			if need(2) {
				a.oflags = binary.BigEndian.Uint16(v)
			}
		case nl.IFLA_GRE_TTL:
			if need(1) {
				a.ttl = v[0]
			}
		case nl.IFLA_GRE_TOS:
			if need(1) {
				a.tos = v[0]
			}
		case nl.IFLA_GRE_PMTUDISC:
			a.pmtudisc = need(1) && v[0] != 0
		case iflaGREFwMark:
			if need(4) {
				a.mark = binary.NativeEndian.Uint32(v)
			}
		case nl.IFLA_GRE_FLAGS:
			if need(4) {
				a.flags6 = binary.NativeEndian.Uint32(v) & ip6TnlFlagsCompare
			}
		}
	}
	if a.local.Is6() {
		a.tos, a.pmtudisc = 0, false // not settable there
	}
	return a, err
}

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
