package hostile

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/labs/rawbgp"
)

// Judgement is what RFC 7606 wants done about a message that arrives in an
// Established eBGP session with four-octet ASNs and both families of unicast. It
// is a second opinion, written from the RFCs alone.
type Judgement struct {
	Expect Expect
	Why    string
	// Announced are taken unless Expect is Withdraw; Withdrawn are gone in any
	// case. Each only with an Expect for which the session stays.
	Announced, Withdrawn []netip.Prefix
	Path                 []uint32 // of all of Announced
	NextHop4             netip.Addr
	NextHop6             netip.Addr
	// Doubt says that the RFCs leave open whether Announced are taken.
	Doubt bool
}

// severity orders what an UPDATE may cost: the worst fault decides (RFC 7606
// section 3, last paragraph of (f)).
var severity = map[Expect]int{Accept: 0, Stay: 0, Withdraw: 1, Any: 2, Reset: 3, Lost: 4}

func (j *Judgement) fault(e Expect, why string) {
	if severity[e] > severity[j.Expect] {
		j.Expect, j.Why = e, why
	}
}

// Judge judges one message.
func Judge(m []byte) Judgement {
	j := Judgement{Expect: Accept}
	if len(m) < rawbgp.HeaderLen {
		return Judgement{Expect: Lost, Why: "half a header"}
	}
	length := int(binary.BigEndian.Uint16(m[16:]))
	switch {
	case slices.ContainsFunc(m[:16], func(b byte) bool { return b != 0xff }):
		return Judgement{Expect: Reset, Why: "marker"}
	case length < rawbgp.HeaderLen || length > 4096:
		return Judgement{Expect: Reset, Why: "length of the header"}
	case length != len(m):
		return Judgement{Expect: Lost, Why: "length and octets differ"}
	}
	body := m[rawbgp.HeaderLen:]
	switch m[18] {
	case rawbgp.Update:
		j.update(body)
	case rawbgp.Keepalive:
		if len(body) > 0 {
			j.fault(Reset, "length of KEEPALIVE")
		}
	case rawbgp.RouteRefresh:
		if len(body) != 4 {
			j.fault(Any, "length of ROUTE-REFRESH")
		} else {
			j.Expect = Stay
		}
	default:
		j.fault(Reset, "message type")
	}
	return j
}

func (j *Judgement) update(b []byte) {
	var parts [2][]byte // withdrawn routes, attributes
	for i := range parts {
		if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
			j.fault(Reset, "length of withdrawn routes or attributes") // 3 (b)
			return
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		parts[i], b = b[2:n], b[n:]
	}
	j.Withdrawn = j.prefixes(parts[0], 32)
	nlri := j.prefixes(b, 32)
	seen := map[byte]bool{}
	for rest := parts[1]; len(rest) > 0; {
		var value []byte
		var ok bool
		flags, typ := rest[0], byte(0)
		if typ, value, rest, ok = attribute(rest); !ok {
			j.fault(Withdraw, "attribute beyond the end") // section 4
			if typ == mpReach || typ == mpUnreach {
				j.fault(Reset, "MP attribute beyond the end") // its prefixes are unknown, 5.3
			} else if _, known := wantFlags[typ]; !known && typ != 0 && flags&optional == 0 {
				j.fault(Reset, "unknown well-known attribute")
			}
			break
		}
		if seen[typ] {
			if typ == mpReach || typ == mpUnreach {
				j.fault(Reset, "MP attribute twice") // 3 (g)
			}
			// All but the first are discarded; whether before or after it was looked
			// at is open.
			j.Doubt = true
			continue
		}
		seen[typ] = true
		j.attribute(flags, typ, value)
	}
	j.Announced = append(j.Announced, nlri...)
	if len(j.Announced) == 0 {
		return
	}
	if !seen[origin] || !seen[asPath] || len(nlri) > 0 && !seen[nextHop] { // 3 (d)
		j.fault(Withdraw, "mandatory attribute is missing")
	}
}

// Types of attributes (IANA, BGP Path Attributes).
const (
	origin          = 1
	asPath          = 2
	nextHop         = 3
	med             = 4
	localPref       = 5
	atomicAggregate = 6
	aggregator      = 7
	communities     = 8
	originatorID    = 9
	clusterList     = 10
	mpReach         = 14
	mpUnreach       = 15
	extended        = 16
	as4Path         = 17
	as4Aggregator   = 18
	extended6       = 25
	large           = 32
	optional        = 0x80
	transitive      = 0x40
	partial         = 0x20
	extendedLength  = 0x10
)

// attribute cuts one attribute off. Of one that is cut itself the type is known
// if it is there.
func attribute(b []byte) (typ byte, value, rest []byte, ok bool) {
	if len(b) > 1 {
		typ = b[1]
	}
	if len(b) < 3 {
		return typ, nil, nil, false
	}
	n, head := int(b[2]), 3
	if b[0]&extendedLength != 0 {
		if len(b) < 4 {
			return typ, nil, nil, false
		}
		n, head = int(binary.BigEndian.Uint16(b[2:])), 4
	}
	if len(b) < head+n {
		return typ, nil, nil, false
	}
	return typ, b[head : head+n], b[head+n:], true
}

// wantFlags are the flags optional and transitive of what we know.
var wantFlags = map[byte]byte{
	origin: transitive, asPath: transitive, nextHop: transitive, med: optional, localPref: transitive, atomicAggregate: transitive,
	aggregator: optional | transitive, communities: optional | transitive, originatorID: optional, clusterList: optional,
	mpReach: optional, mpUnreach: optional, extended: optional | transitive, as4Path: optional | transitive,
	as4Aggregator: optional | transitive, extended6: optional | transitive, large: optional | transitive,
}

func (j *Judgement) attribute(flags, typ byte, v []byte) {
	want, known := wantFlags[typ]
	switch {
	case !known && flags&optional == 0:
		j.fault(Reset, "unknown well-known attribute") // RFC 4271 section 6.3
		return
	case !known:
		// Types that nobody here speaks may still be parsed and refused.
		if other := []byte{22, 23, 26, 27, 28, 29, 33, 34, 35, 36, 37, 38, 39, 40, 128}; slices.Contains(other, typ) {
			j.fault(Any, "an attribute that RFC 7606 does not cover")
		}
		return
	case flags&(optional|transitive) != want:
		if typ == mpReach || typ == mpUnreach {
			j.fault(Any, "flags of an MP attribute") // which of 3 (c) and 5.3 counts is open
		} else {
			j.fault(Withdraw, "flags") // 3 (c)
		}
		return
	}
	if flags&partial != 0 && flags&(optional|transitive) != optional|transitive {
		j.Doubt = true // RFC 4271 section 4.3 says MUST be 0, RFC 7606 does not care
	}
	multiple := func(of int) bool { return len(v) > 0 && len(v)%of == 0 }
	switch typ {
	case origin:
		j.must(len(v) == 1 && v[0] <= 2, "ORIGIN")
	case asPath:
		path, ok := readASPath(v)
		j.must(ok, "AS_PATH")
		j.Path = path
	case nextHop:
		j.must(len(v) == 4, "NEXT_HOP")
		if a, ok := netip.AddrFromSlice(v); ok && len(v) == 4 {
			j.NextHop4 = a
			j.Doubt = j.Doubt || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.As4()[0] == 0 || a.As4()[0] >= 240
		}
	case med:
		j.must(len(v) == 4, "MED")
	case communities:
		j.must(multiple(4), "communities")
	case extended:
		j.must(multiple(8), "extended communities")
	case extended6:
		j.must(multiple(20), "IPv6 extended communities")
	case large:
		j.must(multiple(12), "large communities") // RFC 8092 section 6
	case mpReach:
		j.mpReach(v)
	case mpUnreach:
		j.mpUnreach(v)
	}
}

func (j *Judgement) must(ok bool, what string) {
	if !ok {
		j.fault(Withdraw, what)
	}
}

// readASPath reads segments of four-octet ASNs (RFC 7606 section 7.2).
func readASPath(v []byte) (path []uint32, ok bool) {
	ok = true
	for len(v) > 0 {
		if len(v) < 2 || v[1] == 0 || len(v) < 2+4*int(v[1]) {
			return path, false
		}
		if v[0] != 1 && v[0] != 2 { // confederation segments may not come from outside (RFC 5065 section 5)
			ok = false
		}
		for i := range int(v[1]) {
			as := binary.BigEndian.Uint32(v[2+4*i:])
			if as == 0 {
				ok = false // RFC 7607 section 2
			}
			path = append(path, as)
		}
		v = v[2+4*int(v[1]):]
	}
	return path, ok
}

func (j *Judgement) mpReach(v []byte) {
	if len(v) < 5 || len(v) < 5+int(v[3]) {
		j.fault(Reset, "MP_REACH_NLRI")
		return
	}
	hop, rest := v[4:4+v[3]], v[5+v[3]:]
	width, ok := family(v)
	switch {
	case !ok:
		j.fault(Any, "family that was not negotiated")
		return
	case width == 128 && len(hop) != 16 && len(hop) != 32 || width == 32 && len(hop) != 4:
		j.fault(Reset, "next hop of MP_REACH_NLRI") // 7.11
		return
	}
	a, _ := netip.AddrFromSlice(hop[:min(len(hop), 16)])
	j.Doubt = j.Doubt || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.Is4In6() || a.IsLinkLocalUnicast()
	if width == 128 {
		j.NextHop6 = a
	} else {
		j.NextHop4 = a
		j.Doubt = true // both NEXT_HOP and this may be there
	}
	j.Announced = append(j.Announced, j.prefixes(rest, width)...)
}

func (j *Judgement) mpUnreach(v []byte) {
	if len(v) < 3 {
		j.fault(Reset, "MP_UNREACH_NLRI")
		return
	}
	width, ok := family(v)
	if !ok {
		j.fault(Any, "family that was not negotiated")
		return
	}
	j.Withdrawn = append(j.Withdrawn, j.prefixes(v[3:], width)...)
}

// family returns the length of addresses if it is unicast of IPv4 or IPv6.
func family(v []byte) (width int, ok bool) {
	switch [3]byte(v) {
	case [3]byte{0, 1, 1}:
		return 32, true
	case [3]byte{0, 2, 1}:
		return 128, true
	}
	return 0, false
}

func (j *Judgement) prefixes(b []byte, width int) []netip.Prefix {
	ps, err := rawbgp.ReadPrefixes(b, width)
	if err != nil {
		j.fault(Reset, "prefix") // 5.3 and 3 (j): without them nothing can be withdrawn
	}
	return ps
}
