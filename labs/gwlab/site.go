package gwlab

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/labs/node"
	"github.com/wgbgp/wgbgp/labs/router"
	"github.com/wgbgp/wgbgp/labs/site"
)

// everything is what the site accepts from its gateways, and sends to them.
var everything = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}

func (l *Lab) startSite(s *SiteHost) error {
	if s.spec.DebianWireGuard || s.spec.BGP == BGPFRR || s.spec.BGP == BGPBIRD {
		return l.startDebianSite(s)
	}
	file, err := s.Host.File("site.json", toJSON(l.siteConfig(s)))
	if err != nil {
		return err
	}
	if s.Process, err = s.Host.Start("site", l.node, node.Site, file); err != nil {
		return err
	}
	return l.startSiteBFD(s)
}

func (l *Lab) siteConfig(s *SiteHost) site.Config {
	var cfg site.Config
	var speaker router.Speaker
	for _, g := range l.Gateways {
		if !s.uses(g.Name) {
			continue
		}
		t := planTunnel(g, s)
		cfg.Tunnels = append(cfg.Tunnels, site.Tunnel{
			Device: t.siteDevice, PrivateKey: text(s.keys[g.Name]), PublicKey: g.keys[t.gatewayDevice].Public().String(),
			PresharedKey: s.psks[g.Name], Endpoint: netip.AddrPortFrom(g.plan.underlay, uint16(t.gatewayPort)),
			ListenPort: uint16(t.sitePort), Keepalive: s.spec.Keepalive,
			Addresses: []netip.Prefix{t.site4, t.site6}, AllowedIPs: everything,
		})
		speaker.Neighbors = append(speaker.Neighbors, router.Neighbor{
			Name: g.Name, Via: g.Name, Device: t.siteDevice, Address: t.gw4.Addr(), Local: t.site4.Addr(),
			NextHop6: t.site6.Addr(), ASN: l.gatewayASN(g), Hold: 9,
		})
	}
	if s.spec.BGP == NoBGP {
		for n, via := range l.staticRoutes(s) {
			cfg.Routes = append(cfg.Routes, site.Route{Prefix: netip.MustParsePrefix(n), Via: via})
		}
		return cfg
	}
	cfg.BGP = router.Config{
		ASN: s.plan.asn, RouterID: s.plan.underlay, Networks: []netip.Prefix{s.Net4, s.Net6},
		Table: 1512, Events: l.siteEvents(s), Speakers: []router.Speaker{speaker},
	}
	return cfg
}

func (l *Lab) siteEvents(s *SiteHost) string { return filepath.Join(s.Host.Dir(), "events.json") }

// SiteEvents are the changes that a site with BGPRouter has seen so far.
func (l *Lab) SiteEvents(s *SiteHost) ([]router.Event, error) {
	return router.ReadEvents(l.siteEvents(s))
}

// SetSiteNetworks replaces what a site with BGPRouter announces.
func (l *Lab) SetSiteNetworks(s *SiteHost, nets ...netip.Prefix) error {
	cfg := l.siteConfig(s)
	cfg.BGP.Networks = nets
	if _, err := s.Host.File("site.json", toJSON(cfg)); err != nil {
		return err
	}
	return s.Process.Signal(syscall.SIGHUP)
}

func (l *Lab) startDebianSite(s *SiteHost) error {
	for _, g := range l.Gateways {
		if !s.uses(g.Name) {
			continue
		}
		t := planTunnel(g, s)
		config := daemons.WireGuardConfig(text(s.keys[g.Name]), t.sitePort, daemons.WireGuardPeer{
			PublicKey: g.keys[t.gatewayDevice].Public().String(), PresharedKey: s.psks[g.Name],
			Endpoint: fmt.Sprintf("%s:%d", g.plan.underlay, t.gatewayPort), AllowedIPs: everything, Keepalive: s.spec.Keepalive,
		})
		if _, err := daemons.StartWireGuard(s.Host, t.siteDevice, config, 0, t.site4.String(), t.site6.String()); err != nil {
			return err
		}
	}
	var err error
	switch s.spec.BGP {
	case BGPFRR:
		if s.FRR, err = daemons.StartFRR(s.Host, l.FRRText(s)); err == nil && s.spec.BFD > 0 {
			err = s.FRR.StartBFDD(fmt.Sprintf("bfd\n profile lab\n  transmit-interval %[1]d\n  receive-interval %[1]d\n !\n!\n", s.spec.BFD.Milliseconds()))
		}
	case BGPBIRD:
		s.BIRD, err = daemons.StartBIRD(s.Host, l.BIRDText(s))
	default:
		for net, via := range l.staticRoutes(s) {
			args := []string{"ip", "route", "add", net}
			for _, a := range via {
				args = append(args, "nexthop", "via", a.String())
			}
			if _, err := s.Host.Run(args...); err != nil {
				return err
			}
		}
	}
	if err == nil && s.spec.BGP == NoBGP {
		err = l.startSiteBFD(s)
	}
	return err
}

// startSiteBFD starts a BIRD that does BFD and nothing else, if the site has a
// BFD session and nobody for it.
func (l *Lab) startSiteBFD(s *SiteHost) error {
	if s.spec.BFD == 0 {
		return nil
	}
	text := fmt.Sprintf("router id %s;\nprotocol device { scan time 1; }\nprotocol bfd {\n%s", s.plan.underlay, birdBFD(s))
	for _, g := range l.Gateways {
		if s.uses(g.Name) {
			t := planTunnel(g, s)
			text += fmt.Sprintf(" neighbor %s dev %q local %s;\n", t.gw4.Addr(), t.siteDevice, t.site4.Addr())
		}
	}
	var err error
	s.BIRD, err = daemons.StartBIRD(s.Host, text+"}\n")
	return err
}

// birdBFD are the timers of BIRD's protocol bfd.
func birdBFD(s *SiteHost) string {
	ms := s.spec.BFD.Milliseconds()
	return fmt.Sprintf(" interface \"wg-*\" { min rx interval %d ms; min tx interval %d ms; idle tx interval 1 s; multiplier 3; };\n", ms, ms)
}

// staticRoutes are the ways back of a site without BGP: the TGW's workload by
// way of the inner addresses of its gateways. (IPv6 can not share a route
// between devices without addresses.)
func (l *Lab) staticRoutes(s *SiteHost) map[string][]netip.Addr {
	routes := map[string][]netip.Addr{}
	for _, g := range l.Gateways {
		if s.uses(g.Name) && s.returnsBy(g.Name) {
			t := planTunnel(g, s)
			routes[vpcNet4] = append(routes[vpcNet4], t.gw4.Addr())
			routes[vpcNet6] = append(routes[vpcNet6], t.gw6.Addr())
		}
	}
	return routes
}

// FRRText is the configuration of a site with FRR.
func (l *Lab) FRRText(s *SiteHost) string {
	var b, af4, af6 strings.Builder
	fmt.Fprintf(&b, "router bgp %d\n bgp router-id %s\n no bgp ebgp-requires-policy\n no bgp network import-check\n", s.plan.asn, s.plan.underlay)
	for _, g := range l.Gateways {
		if !s.uses(g.Name) {
			continue
		}
		t := planTunnel(g, s)
		peer := t.gw4.Addr()
		fmt.Fprintf(&b, " neighbor %s remote-as %d\n neighbor %s timers 3 9\n neighbor %s timers connect 1\n", peer, l.gatewayASN(g), peer, peer)
		if s.spec.BFD > 0 {
			fmt.Fprintf(&b, " neighbor %s bfd profile lab\n", peer)
		}
		fmt.Fprintf(&af4, "  neighbor %s activate\n", peer)
		fmt.Fprintf(&af6, "  neighbor %s activate\n  neighbor %s route-map nh-%s out\n", peer, peer, g.Name)
	}
	fmt.Fprintf(&b, " address-family ipv4 unicast\n%s  network %s\n  maximum-paths 8\n exit-address-family\n", &af4, s.Net4)
	fmt.Fprintf(&b, " address-family ipv6 unicast\n%s  network %s\n  maximum-paths 8\n exit-address-family\n", &af6, s.Net6)
	for _, g := range l.Gateways {
		if s.uses(g.Name) {
			fmt.Fprintf(&b, "route-map nh-%s permit 10\n set ipv6 next-hop global %s\n", g.Name, planTunnel(g, s).site6.Addr())
		}
	}
	return b.String()
}

// BIRDText is the configuration of a site with BIRD; more networks are announced
// besides its own.
func (l *Lab) BIRDText(s *SiteHost, more ...netip.Prefix) string {
	var b, static4, static6 strings.Builder
	for _, n := range append([]netip.Prefix{s.Net4, s.Net6}, more...) {
		to := &static4
		if n.Addr().Is6() {
			to = &static6
		}
		fmt.Fprintf(to, " route %s unreachable;", n)
	}
	fmt.Fprintf(&b, "router id %s;\nprotocol device { scan time 1; }\n", s.plan.underlay)
	for _, af := range []struct{ name, static string }{{"ipv4", static4.String()}, {"ipv6", static6.String()}} {
		fmt.Fprintf(&b, "protocol kernel { %s { import none; export filter { if source = RTS_BGP then accept; reject; }; }; merge paths on; }\n", af.name)
		fmt.Fprintf(&b, "protocol static { %s;%s }\n", af.name, af.static)
	}
	bfd := ""
	if s.spec.BFD > 0 {
		fmt.Fprintf(&b, "protocol bfd {\n%s}\n", birdBFD(s))
		bfd = " bfd on;\n"
	}
	for _, g := range l.Gateways {
		if !s.uses(g.Name) {
			continue
		}
		t := planTunnel(g, s)
		out := "export filter { if source = RTS_STATIC then accept; reject; }; import all;"
		fmt.Fprintf(&b, "protocol bgp %s {\n local %s as %d;\n neighbor %s as %d;\n hold time 9; connect delay time 1; connect retry time 1; error wait time 1, 2;\n",
			strings.ReplaceAll(g.Name, "-", "_"), t.site4.Addr(), s.plan.asn, t.gw4.Addr(), l.gatewayASN(g))
		b.WriteString(bfd)
		fmt.Fprintf(&b, " ipv4 { %s };\n ipv6 { %s next hop address %s; };\n}\n", out, out, t.site6.Addr())
	}
	return b.String()
}
