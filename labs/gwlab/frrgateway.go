package gwlab

import (
	"fmt"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/labs/node"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// startFRRGateway sets a gateway up as one does without wgbgpd: wireguard-go and
// wg(8), a GRE tunnel, and FRR with bgpd and bfdd, whose settings are those that
// its manual proposes for eBGP with BFD. There is one WireGuard interface for all
// sites, with what they may announce as their allowed IPs. IPv4 only.
func (l *Lab) startFRRGateway(g *GatewayHost) error {
	if err := g.Host.Forwarding(); err != nil {
		return err
	}
	var peers []daemons.WireGuardPeer
	var device, address, key string
	port := 0
	for _, s := range l.Sites {
		if !s.uses(g.Name) {
			continue
		}
		t := planTunnel(g, s)
		device, address, port, key = t.gatewayDevice, t.gw4.String(), t.gatewayPort, text(g.keys[t.gatewayDevice])
		peers = append(peers, daemons.WireGuardPeer{
			PublicKey: s.keys[g.Name].Public().String(), PresharedKey: s.psks[g.Name],
			Endpoint:   fmt.Sprintf("%s:%d", s.plan.underlay, t.sitePort),
			AllowedIPs: append(hostPrefixes(t), s.Net4, s.Net6),
		})
	}
	if _, err := daemons.StartWireGuard(g.Host, device, daemons.WireGuardConfig(key, port, peers...), 0, address); err != nil {
		return err
	}
	tunnel := tgwconnect.Tunnel{
		Name: "tgw", Backend: tgwconnect.BackendAuto, Local: g.plan.awsLocal, Remote: g.plan.awsRemote,
		Addresses: tunnelAddresses(g),
	}
	file, err := g.Host.File("tunnel.json", toJSON(tunnel))
	if err != nil {
		return err
	}
	p, err := g.Host.Start("tunnel", l.node, node.Tunnel, file)
	if err != nil {
		return err
	}
	if err := Eventually(10*time.Second, func() error {
		if !p.Running() {
			return Fatal(fmt.Errorf("%s ended: %w\n%s", p.Name, p.Err(), p.Tail(20)))
		}
		out, err := g.Host.Run("ip", "-o", "addr", "show", "dev", tunnel.Name)
		if err == nil && !strings.Contains(out, tunnel.Addresses[0].String()) {
			err = fmt.Errorf("no address on %s yet", tunnel.Name)
		}
		return err
	}); err != nil {
		return err
	}
	if g.FRR, err = daemons.StartFRR(g.Host, l.frrGateway(g)); err != nil {
		return err
	}
	return g.FRR.StartBFDD("bfd\n profile lab\n  transmit-interval 100\n  receive-interval 100\n !\n!\n")
}

// frrGateway is bgpd's configuration. BFD watches the sites; a Transit Gateway does
// none.
func (l *Lab) frrGateway(g *GatewayHost) string {
	var b, af strings.Builder
	fmt.Fprintf(&b, "router bgp %d\n bgp router-id %s\n no bgp ebgp-requires-policy\n no bgp network import-check\n", l.gatewayASN(g), g.plan.awsLocal)
	for _, host := range []int{2, 3} {
		n := tgwconnect.Host(g.plan.inside4, host).Addr()
		fmt.Fprintf(&b, " neighbor %s remote-as %d\n neighbor %s ebgp-multihop 2\n neighbor %s timers 10 30\n neighbor %s timers connect 1\n", n, tgwASN, n, n, n)
		fmt.Fprintf(&af, "  neighbor %s activate\n", n)
	}
	for _, s := range l.Sites {
		if s.uses(g.Name) && s.spec.BGP != NoBGP {
			n := planTunnel(g, s).site4.Addr()
			fmt.Fprintf(&b, " neighbor %s remote-as %d\n neighbor %s timers 3 9\n neighbor %s timers connect 1\n neighbor %s bfd profile lab\n", n, s.plan.asn, n, n, n)
			fmt.Fprintf(&af, "  neighbor %s activate\n", n)
		}
	}
	fmt.Fprintf(&b, " address-family ipv4 unicast\n%s  maximum-paths 8\n exit-address-family\n", &af)
	return b.String()
}
