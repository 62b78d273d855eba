package bgp

import (
	"net/netip"
	"slices"
)

// Reasons why import policy refuses a path. They are machine words, shown to
// operators and used as metric labels.
const (
	RejectNotAllowed = "not-allowed" // no rule of the allow-list matches, or there is no policy (RFC 8212)
	RejectOwnASN     = "own-asn"     // our ASN is in the AS_PATH: a loop (RFC 4271 section 9.1.2)
	RejectZeroASN    = "zero-asn"    // AS 0 is in the AS_PATH: malformed (RFC 7607 section 2)
	RejectFirstAS    = "first-as"    // the first AS is not the neighbor's (RFC 4271 section 6.3)
	RejectMartian    = "martian"     // loopback, link-local, multicast or reserved space (RFC 6890)
	RejectOwnAddress = "own-address" // next hop or host route is an address of this host
)

// ImportFrame is what import policy must know about the session besides the
// policy itself.
type ImportFrame struct {
	LocalASNs []ASN        // every ASN this host speaks as
	RemoteASN ASN          // the neighbor's
	Own       []netip.Addr // this host's session addresses
}

// Internal reports whether the session is iBGP.
func (f ImportFrame) Internal() bool { return slices.Contains(f.LocalASNs, f.RemoteASN) }

// martians are prefixes that no neighbor may ever teach us (RFC 6890). Private
// space is not among them: it is what this gateway exists to carry.
var martians = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("::ffff:0:0/96"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"),
}

// Martian reports whether p lies inside space that must never be routed. A
// default route is not a martian: the allow-list decides about it.
func Martian(p netip.Prefix) bool {
	for _, m := range martians {
		if p.Bits() >= m.Bits() && m.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// Evaluate judges one received path and returns "" if it is accepted, else one
// of the Reject words. A nil policy accepts nothing (RFC 8212).
//
// The order is fixed, so that a path with several faults always gets the same
// reason: what is wrong with the path itself comes before what is merely not
// allowed.
func (ip *ImportPolicy) Evaluate(f ImportFrame, prefix netip.Prefix, nextHop netip.Addr, path []ASN) string {
	if ip == nil {
		return RejectNotAllowed
	}
	if !prefix.IsValid() || Martian(prefix) {
		return RejectMartian
	}
	if nextHop == netip.IPv6Loopback() || slices.Contains(f.Own, nextHop.Unmap().WithZone("")) || prefix.IsSingleIP() && slices.Contains(f.Own, prefix.Addr()) {
		return RejectOwnAddress
	}
	if slices.Contains(path, 0) {
		return RejectZeroASN
	}
	if !ip.AllowOwnASN {
		for _, as := range path {
			if slices.Contains(f.LocalASNs, as) {
				return RejectOwnASN
			}
		}
	}
	if ip.EnforceFirstAS && !f.Internal() && (len(path) == 0 || path[0] != f.RemoteASN) {
		return RejectFirstAS
	}
	for _, r := range ip.Allow {
		if r.Matches(prefix) {
			return ""
		}
	}
	return RejectNotAllowed
}

// Equal compares two policies by value; nil equals only nil.
func (ip *ImportPolicy) Equal(o *ImportPolicy) bool {
	if ip == nil || o == nil {
		return ip == o
	}
	return ip.AllowOwnASN == o.AllowOwnASN && ip.EnforceFirstAS == o.EnforceFirstAS &&
		ip.LocalPref == o.LocalPref && slices.Equal(ip.Allow, o.Allow)
}
