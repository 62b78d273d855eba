package bgp

import (
	"net/netip"
	"testing"
)

func TestImportPolicyJudgesEachFault(t *testing.T) {
	ip := &ImportPolicy{
		Allow:          []PrefixRule{{Prefix: netip.MustParsePrefix("10.1.0.0/16"), LE: 24}, {Prefix: netip.MustParsePrefix("fd00:1::/48")}, {Prefix: netip.MustParsePrefix("127.0.0.0/8"), LE: 32}},
		EnforceFirstAS: true,
	}
	loops := *ip
	loops.AllowOwnASN, loops.EnforceFirstAS = true, false
	any := &ImportPolicy{Allow: []PrefixRule{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), LE: 32}, {Prefix: netip.MustParsePrefix("::/0"), LE: 128}}}
	f := ImportFrame{LocalASNs: []ASN{65000}, RemoteASN: 65101, Own: []netip.Addr{netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("fd00::1")}}
	internal := f
	internal.RemoteASN = 65000
	site := []ASN{65101}
	for _, c := range []struct {
		name    string
		ip      *ImportPolicy
		f       ImportFrame
		prefix  string
		nextHop string
		path    []ASN
		want    string
	}{
		{"inside the rule", ip, f, "10.1.2.0/24", "10.1.0.2", site, ""},
		{"IPv6 exact", ip, f, "fd00:1::/48", "fd00::2", site, ""},
		{"no policy", nil, f, "10.1.2.0/24", "10.1.0.2", site, RejectNotAllowed},
		{"longer than le", ip, f, "10.1.2.0/25", "10.1.0.2", site, RejectNotAllowed},
		{"covering", ip, f, "10.0.0.0/8", "10.1.0.2", site, RejectNotAllowed},
		{"default route", ip, f, "0.0.0.0/0", "10.1.0.2", site, RejectNotAllowed},
		{"default route when allowed", any, f, "0.0.0.0/0", "10.1.0.2", site, ""},
		{"IPv6 default route when allowed", any, f, "::/0", "fd00::2", site, ""},
		{"loopback though allowed", ip, f, "127.0.0.0/8", "10.1.0.2", site, RejectMartian},
		{"metadata address", any, f, "169.254.169.254/32", "10.1.0.2", site, RejectMartian},
		{"multicast", any, f, "ff02::/16", "fd00::2", site, RejectMartian},
		{"mapped IPv4", any, f, "::ffff:10.0.0.0/104", "fd00::2", site, RejectMartian},
		{"our address as next hop", ip, f, "10.1.2.0/24", "10.1.0.1", site, RejectOwnAddress},
		{"our address mapped as next hop", ip, f, "10.1.2.0/24", "::ffff:10.1.0.1", site, RejectOwnAddress},
		{"host route to us", any, f, "10.1.0.1/32", "10.1.0.2", site, RejectOwnAddress},
		{"AS 0", ip, f, "10.1.2.0/24", "10.1.0.2", []ASN{65101, 0}, RejectZeroASN},
		{"IPv6 loopback as next hop", ip, f, "10.1.2.0/24", "::1", []ASN{65101}, RejectOwnAddress},
		{"loop", ip, f, "10.1.2.0/24", "10.1.0.2", []ASN{65101, 65000}, RejectOwnASN},
		{"loop allowed", &loops, f, "10.1.2.0/24", "10.1.0.2", []ASN{65101, 65000}, ""},
		{"foreign first AS", ip, f, "10.1.2.0/24", "10.1.0.2", []ASN{65102}, RejectFirstAS},
		{"empty path from eBGP", ip, f, "10.1.2.0/24", "10.1.0.2", nil, RejectFirstAS},
		{"empty path from iBGP", ip, internal, "10.1.2.0/24", "10.1.0.2", nil, ""},
		{"loop comes before not allowed", ip, f, "10.9.0.0/16", "10.1.0.2", []ASN{65101, 65000}, RejectOwnASN},
	} {
		if got := c.ip.Evaluate(c.f, netip.MustParsePrefix(c.prefix), netip.MustParseAddr(c.nextHop), c.path); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
