package gwlab

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// The addresses of a lab, with gateway i and site j counted from 1:
//
//	workload behind the TGW   10.0.0.10, 2001:db8:a::10 (of /16 and /48)
//	TGW - gateway underlay    10.254.i.1 - 10.254.i.2
//	inside of the GRE         169.254.(5+i).0/29, fd00:i::/125
//	gateway - internet        198.18.i.2 - 198.18.i.1
//	site - internet           198.19.j.2 - 198.19.j.1
//	inside of WireGuard       172.20.i.0/24, fd20:i::/64; gateway 1, site 10+j
//	                          (open interfaces: 172.21.i.0/30 of block j)
//	workload behind a site    10.(100+j).0.10, 2001:db8:(100+j)::10 (of /16 and /48)
const (
	tgwASN      bgp.ASN = 64512
	gatewayASN  bgp.ASN = 65010
	firstSite   bgp.ASN = 65100 // site j has this plus j
	vpcNet4             = "10.0.0.0/16"
	vpcNet6             = "2001:db8:a::/48"
	vpcAddress4         = "10.0.0.10"
	vpcAddress6         = "2001:db8:a::10"
)

func addr(format string, args ...any) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf(format, args...))
}

func prefix(format string, args ...any) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf(format, args...))
}

// gatewayPlan is what follows from a gateway's place in the Spec.
type gatewayPlan struct {
	index        int
	awsLocal     netip.Addr // PeerAddress
	awsRemote    netip.Addr // TransitGatewayAddress
	inside4      netip.Prefix
	inside6      netip.Prefix
	underlay     netip.Addr
	underlayPeer netip.Addr
}

func planGateway(i int) gatewayPlan {
	return gatewayPlan{
		index:        i,
		awsLocal:     addr("10.254.%d.2", i),
		awsRemote:    addr("10.254.%d.1", i),
		inside4:      prefix("169.254.%d.0/29", 5+i),
		inside6:      prefix("fd00:%d::/125", i),
		underlay:     addr("198.18.%d.2", i),
		underlayPeer: addr("198.18.%d.1", i),
	}
}

// sitePlan is what follows from a site's place in the Spec.
type sitePlan struct {
	index        int
	asn          bgp.ASN
	net4, net6   netip.Prefix
	lan4, lan6   netip.Addr // the workload
	lanGW4       netip.Addr // the site, on its LAN
	lanGW6       netip.Addr
	underlay     netip.Addr
	underlayPeer netip.Addr
}

func planSite(j int) sitePlan {
	return sitePlan{
		index:        j,
		asn:          firstSite + bgp.ASN(j),
		net4:         prefix("10.%d.0.0/16", 100+j),
		net6:         prefix("2001:db8:%d::/48", 100+j),
		lan4:         addr("10.%d.0.10", 100+j),
		lan6:         addr("2001:db8:%d::10", 100+j),
		lanGW4:       addr("10.%d.0.1", 100+j),
		lanGW6:       addr("2001:db8:%d::1", 100+j),
		underlay:     addr("198.19.%d.2", j),
		underlayPeer: addr("198.19.%d.1", j),
	}
}

// tunnelPlan is one WireGuard tunnel.
type tunnelPlan struct {
	gatewayDevice  string // on the gateway
	siteDevice     string // on the site
	gatewayPort    int
	sitePort       int
	gw4, gw6       netip.Prefix // the gateway's inner addresses
	site4, site6   netip.Prefix // the site's
	gatewayKeyName string
}

func planTunnel(g *GatewayHost, s *SiteHost) tunnelPlan {
	i, j := g.plan.index, s.plan.index
	t := tunnelPlan{
		gatewayDevice: "wg0", siteDevice: "wg-" + g.Name, gatewayPort: 51820, sitePort: 51820 + i,
		gw4: prefix("172.20.%d.1/24", i), gw6: prefix("fd20:%d::1/64", i),
		site4: prefix("172.20.%d.%d/24", i, 10+j), site6: prefix("fd20:%d::%d/64", i, 10+j),
		gatewayKeyName: "wg0.key",
	}
	if s.spec.Open {
		t.gatewayDevice, t.gatewayPort = "wg-"+s.Name, 51820+j
		t.gw4, t.site4 = prefix("172.21.%d.%d/30", i, 4*j+1), prefix("172.21.%d.%d/30", i, 4*j+2)
		t.gw6, t.site6 = prefix("fd21:%d:%d::1/64", i, j), prefix("fd21:%d:%d::2/64", i, j)
		t.gatewayKeyName = t.gatewayDevice + ".key"
	}
	return t
}

// hostPrefixes are the site's inner addresses.
func hostPrefixes(t tunnelPlan) []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(t.site4.Addr(), 32), netip.PrefixFrom(t.site6.Addr(), 128)}
}

// tunnelAddresses are the gateway's inside addresses.
func tunnelAddresses(g *GatewayHost) []netip.Prefix {
	return []netip.Prefix{tgwconnect.Host(g.plan.inside4, 1), tgwconnect.Host(g.plan.inside6, 1)}
}

func (s *SiteHost) uses(gateway string) bool {
	return s.spec.Gateways == nil || slices.Contains(s.spec.Gateways, gateway)
}

func (s *SiteHost) returnsBy(gateway string) bool {
	return s.spec.ReturnBy == nil || slices.Contains(s.spec.ReturnBy, gateway)
}
