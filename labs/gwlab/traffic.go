package gwlab

import (
	"net/netip"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/labs/traffic"
)

func (l *Lab) gatewayASN(g *GatewayHost) bgp.ASN {
	if g.spec.ASN != 0 {
		return g.spec.ASN
	}
	return gatewayASN
}

// Workload is a host that sends and receives.
type Workload struct {
	Name   string
	Host   *netlab.Host
	A4, A6 netip.Addr
}

// VPCWorkload is the one behind the TGW.
func (l *Lab) VPCWorkload() Workload {
	return Workload{"vpc", l.VPC, netip.MustParseAddr(vpcAddress4), netip.MustParseAddr(vpcAddress6)}
}

// Workload is the one behind the site.
func (s *SiteHost) Workload() Workload { return Workload{s.Name, s.LAN, s.LAN4, s.LAN6} }

// Stream sends IPv4 packets from one workload to another, as several flows.
func Stream(from, to Workload, rate, flows int) (*traffic.Stream, error) {
	return traffic.Start(traffic.Config{
		Name: from.Name + " to " + to.Name, From: from.Host, To: to.Host, Src: from.A4, Dst: to.A4, Rate: rate, Flows: flows,
	})
}

// Stream6 is Stream with IPv6.
func Stream6(from, to Workload, rate, flows int) (*traffic.Stream, error) {
	return traffic.Start(traffic.Config{
		Name: from.Name + " to " + to.Name + " (IPv6)", From: from.Host, To: to.Host, Src: from.A6, Dst: to.A6, Rate: rate, Flows: flows,
	})
}
