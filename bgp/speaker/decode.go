package speaker

import (
	"cmp"
	"encoding/binary"
	"net/netip"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/wgbgp/wgbgp/bgp"
)

// nlri names a path among those of one neighbor: its prefix and, where ADD-PATH
// was negotiated, its identifier (RFC 7911 section 3), else 0.
type nlri struct {
	prefix netip.Prefix
	id     uint32
}

// compare orders by prefix, then identifier.
func (n nlri) compare(o nlri) int {
	return cmp.Or(bgp.ComparePrefix(n.prefix, o.prefix), cmp.Compare(n.id, o.id))
}

// received is a path in our own words, before policy.
type received struct {
	nlri
	nextHop   netip.Addr
	attrs     bgp.Attrs
	withdrawn bool
}

// maxASPath bounds what one path may cost us; the longest AS_PATHs seen in the
// Internet have some hundreds of ASNs.
const maxASPath = 1024

// decode translates one received path. False means that it is not IPv4 or IPv6
// unicast, or holds no usable prefix.
//
// A malformed path is as good as withdrawn (RFC 7606). GoBGP judges that itself,
// but for an UPDATE of which it discarded an attribute: of that it looks at
// nothing else. A NEXT_HOP of 16 octets and empty lists of communities it never
// minds.
func decode(p *apiutil.Path) (received, bool) {
	if p == nil {
		return received{}, false
	}
	n, ok := p.Nlri.(*packet.IPAddrPrefix)
	if !ok || n == nil || !n.Prefix.IsValid() {
		return received{}, false
	}
	r := received{nlri: nlri{n.Prefix.Masked(), p.RemoteID}, withdrawn: p.Withdrawal}
	if r.withdrawn {
		return r, true
	}
	var origin, asPath, multi bool
	must := func(ok bool) { r.withdrawn = r.withdrawn || !ok }
	for _, a := range p.Attrs {
		switch a := a.(type) {
		case *packet.PathAttributeOrigin:
			origin = true
			must(a.Value <= 2)
			r.attrs.Origin = bgp.Origin(a.Value)
		case *packet.PathAttributeAsPath:
			asPath = true
			var confederation bool
			r.attrs.ASPath, confederation = flatten(a)
			must(!confederation)
		case *packet.PathAttributeNextHop:
			r.nextHop = a.Value
			must(a.Value.Is4())
		case *packet.PathAttributeMpReachNLRI:
			multi = true
			r.nextHop = a.Nexthop
			if !r.nextHop.IsValid() || r.nextHop.IsUnspecified() {
				r.nextHop = a.LinkLocalNexthop
			}
		case *packet.PathAttributeMultiExitDisc:
			r.attrs.MED, r.attrs.HasMED = a.Value, true
		case *packet.PathAttributeLocalPref:
			r.attrs.LocalPref = a.Value
		case *packet.PathAttributeCommunities:
			must(len(a.Value) > 0)
			for _, c := range a.Value {
				r.attrs.Communities = append(r.attrs.Communities, bgp.Community(c))
			}
		case *packet.PathAttributeExtendedCommunities:
			must(len(a.Value) > 0)
		case *packet.PathAttributeIP6ExtendedCommunities:
			must(len(a.Value) > 0)
		case *packet.PathAttributeLargeCommunities:
			must(len(a.Values) > 0)
			for _, c := range a.Values {
				if c != nil {
					r.attrs.Large = append(r.attrs.Large, bgp.LargeCommunity{Global: c.ASN, Data1: c.LocalData1, Data2: c.LocalData2})
				}
			}
		}
	}
	must(origin && asPath && (multi || r.nextHop.IsValid() && !r.nextHop.IsUnspecified() && !r.nextHop.IsMulticast()))
	return r, true
}

// flatten lists the ASNs of sequences and, behind them in place, of sets.
// Segments of a confederation never leave it (RFC 5065 section 5).
func flatten(a *packet.PathAttributeAsPath) (out []bgp.ASN, confederation bool) {
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
		default:
			confederation = true
		}
	}
	return out, confederation
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
