package speaker

import (
	"encoding/binary"
	"net/netip"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/wgbgp/wgbgp/bgp"
)

// received is a path in our own words, before policy.
type received struct {
	prefix    netip.Prefix
	nextHop   netip.Addr
	attrs     bgp.Attrs
	withdrawn bool
}

// maxASPath bounds what one path may cost us; the longest AS_PATHs seen in the
// Internet have some hundreds of ASNs.
const maxASPath = 1024

// decode translates one received path. False means that it is not IPv4 or IPv6
// unicast, or holds no usable prefix.
func decode(p *apiutil.Path) (received, bool) {
	if p == nil {
		return received{}, false
	}
	nlri, ok := p.Nlri.(*packet.IPAddrPrefix)
	if !ok || nlri == nil || !nlri.Prefix.IsValid() {
		return received{}, false
	}
	r := received{prefix: nlri.Prefix.Masked(), withdrawn: p.Withdrawal}
	if r.withdrawn {
		return r, true
	}
	for _, a := range p.Attrs {
		switch a := a.(type) {
		case *packet.PathAttributeOrigin:
			r.attrs.Origin = bgp.Origin(min(a.Value, 2))
		case *packet.PathAttributeAsPath:
			r.attrs.ASPath = flatten(a)
		case *packet.PathAttributeNextHop:
			r.nextHop = a.Value
		case *packet.PathAttributeMpReachNLRI:
			r.nextHop = a.Nexthop
			if !r.nextHop.IsValid() || r.nextHop.IsUnspecified() {
				r.nextHop = a.LinkLocalNexthop
			}
		case *packet.PathAttributeMultiExitDisc:
			r.attrs.MED, r.attrs.HasMED = a.Value, true
		case *packet.PathAttributeLocalPref:
			r.attrs.LocalPref = a.Value
		case *packet.PathAttributeCommunities:
			for _, c := range a.Value {
				r.attrs.Communities = append(r.attrs.Communities, bgp.Community(c))
			}
		case *packet.PathAttributeLargeCommunities:
			for _, c := range a.Values {
				if c != nil {
					r.attrs.Large = append(r.attrs.Large, bgp.LargeCommunity{Global: c.ASN, Data1: c.LocalData1, Data2: c.LocalData2})
				}
			}
		}
	}
	return r, true
}

// flatten lists the ASNs of sequences and, behind them in place, of sets.
// Confederation segments never leave their confederation (RFC 5065 section 5).
func flatten(a *packet.PathAttributeAsPath) []bgp.ASN {
	var out []bgp.ASN
	for _, seg := range a.Value {
		if seg == nil {
			continue
		}
		switch seg.GetType() {
		case packet.BGP_ASPATH_ATTR_TYPE_SEQ, packet.BGP_ASPATH_ATTR_TYPE_SET:
			for _, as := range seg.GetAS() {
				if len(out) < maxASPath {
					out = append(out, bgp.ASN(as))
				}
			}
		}
	}
	return out
}

// pool shares attributes between paths: a table of 100,000 paths has some
// hundreds of different ones.
type pool map[string]*shared

type shared struct {
	attrs   bgp.Attrs
	nextHop netip.Addr
	key     string
	refs    int
}

// get returns the shared copy and counts one more user.
func (p pool) get(buf []byte, nextHop netip.Addr, a *bgp.Attrs) (*shared, []byte) {
	buf = attrsKey(buf[:0], nextHop, a)
	s := p[string(buf)] // no allocation
	if s == nil {
		s = &shared{attrs: *a, nextHop: nextHop, key: string(buf)}
		p[s.key] = s
	}
	s.refs++
	return s, buf
}

// put counts one user less.
func (p pool) put(s *shared) {
	if s.refs--; s.refs == 0 {
		delete(p, s.key)
	}
}

func attrsKey(b []byte, nextHop netip.Addr, a *bgp.Attrs) []byte {
	b = append(b, byte(nextHop.BitLen()))
	if nextHop.IsValid() {
		nh := nextHop.As16()
		b = append(b, nh[:]...)
	}
	b = append(b, byte(a.Origin))
	b = append(b, nextHop.Zone()...)
	b = append(b, 0)
	if a.HasMED {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = binary.BigEndian.AppendUint32(b, a.MED)
	b = binary.BigEndian.AppendUint32(b, a.LocalPref)
	b = binary.AppendUvarint(b, uint64(len(a.ASPath)))
	for _, v := range a.ASPath {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	b = binary.AppendUvarint(b, uint64(len(a.Communities)))
	for _, v := range a.Communities {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	for _, v := range a.Large {
		b = binary.BigEndian.AppendUint32(b, v.Global)
		b = binary.BigEndian.AppendUint32(b, v.Data1)
		b = binary.BigEndian.AppendUint32(b, v.Data2)
	}
	return b
}
