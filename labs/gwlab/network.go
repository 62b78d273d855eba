package gwlab

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/wgbgp/wgbgp/internal/netlab"
)

// network makes the hosts, the links and the underlay's routes. Nothing of what
// the gateways are to do is here: no host knows a way to a workload behind them.
func (l *Lab) network() error {
	b := builder{lab: l.Lab}
	l.Internet, l.TGW, l.VPC = b.host("internet", true), b.host("tgw", true), b.host("vpc", false)
	b.link(l.VPC, "eth0", 9001, []string{vpcAddress4 + "/24", vpcAddress6 + "/64"}, l.TGW, "vpc", []string{"10.0.0.1/24", "2001:db8:a::1/64"})
	b.route(l.VPC, "default", "10.0.0.1")
	b.route(l.VPC, "default", "2001:db8:a::1")
	for _, g := range l.Gateways {
		g.Host = b.host(g.Name, false) // forwarding is the daemon's affair
		p := g.plan
		b.link(g.Host, "eth0", 9001, []string{p.awsLocal.String() + "/24"}, l.TGW, g.Name, []string{p.awsRemote.String() + "/24"})
		b.link(g.Host, "eth1", 1500, []string{p.underlay.String() + "/24"}, l.Internet, g.Name, []string{p.underlayPeer.String() + "/24"})
		b.route(g.Host, "198.19.0.0/16", p.underlayPeer.String())
	}
	for _, s := range l.Sites {
		p := s.plan
		s.Host, s.LAN = b.host(s.Name, true), b.host(s.Name+"-lan", false)
		b.link(s.Host, "eth0", 1500, []string{p.underlay.String() + "/24"}, l.Internet, s.Name, []string{p.underlayPeer.String() + "/24"})
		b.route(s.Host, "198.18.0.0/16", p.underlayPeer.String())
		b.link(s.LAN, "eth0", 1500, cidrs(24, p.lan4, 64, p.lan6), s.Host, "lan", cidrs(24, p.lanGW4, 64, p.lanGW6))
		b.route(s.LAN, "default", p.lanGW4.String())
		b.route(s.LAN, "default", p.lanGW6.String())
	}
	return b.err
}

func cidrs(bits4 int, a4 netip.Addr, bits6 int, a6 netip.Addr) []string {
	return []string{fmt.Sprintf("%s/%d", a4, bits4), fmt.Sprintf("%s/%d", a6, bits6)}
}

// builder stops at the first error.
type builder struct {
	lab *netlab.Lab
	err error
}

// host makes a host; a router forwards and spreads flows by their ports.
func (b *builder) host(name string, router bool) *netlab.Host {
	if b.err != nil {
		return nil
	}
	h, err := b.lab.Host(name)
	if err == nil && router {
		err = errors.Join(h.Forwarding(), h.Sysctl("net.ipv4.fib_multipath_hash_policy=1", "net.ipv6.fib_multipath_hash_policy=1"))
	}
	b.err = err
	return h
}

func (b *builder) link(a *netlab.Host, aDev string, mtu int, aAddrs []string, z *netlab.Host, zDev string, zAddrs []string) {
	if b.err == nil {
		b.err = netlab.Link(
			netlab.End{Host: a, Device: aDev, Addresses: aAddrs, MTU: mtu},
			netlab.End{Host: z, Device: zDev, Addresses: zAddrs, MTU: mtu},
		)
	}
}

func (b *builder) route(h *netlab.Host, prefix, via string) {
	if b.err == nil {
		b.err = h.Route(prefix, via)
	}
}
