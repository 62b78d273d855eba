package live

import (
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/labs/tgwsim/network"
	"github.com/wgbgp/wgbgp/labs/tgwsim/routing"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// Place is what no API says: where the world meets the lab.
type Place struct {
	Subnets     map[string]string // by subnet ID: the device to it
	Attachments map[string]Port   // by attachment ID, of types other than vpc and connect
	Hold        time.Duration     // that AWS proposes, 0: 30 s
	Overflow    routing.Overflow
	Limits      routing.Limits
	// Closed are sessions kept down, by peer and number from 0.
	Closed map[string][2]bool
}

// Port is where an attachment leads out of this host.
type Port struct {
	Device  string     `toml:"device"`
	Gateway netip.Addr `toml:"gateway"` // invalid: point-to-point
}

// Spec is the network that a state asks for. Only what is available takes part;
// what is being made or deleted does not (assumed).
func Spec(s *world.State, place *Place) *network.Spec {
	spec := &network.Spec{Hold: place.Hold, Connect: map[string]network.Connect{}, Checked: map[netip.Addr]bool{}}
	for _, g := range world.Values(s.TransitGateways) {
		if g.Live() {
			t := s.Routing(g.ID)
			t.Overflow, t.Limits = place.Overflow, place.Limits
			spec.TGWs = append(spec.TGWs, *t)
		}
	}
	for _, p := range world.Values(s.ConnectPeers) {
		if p.State != "available" {
			continue
		}
		_, passes := passes(s, p)
		spec.Connect[p.ID] = network.Connect{
			Device: device(p), Local: p.TransitGatewayAddress, Remote: p.PeerAddress,
			Inside4: p.Inside4, Inside6: p.Inside6, Closed: place.Closed[p.ID], Cut: !passes,
		}
	}
	for _, a := range world.Values(s.Attachments) {
		switch port, ok := place.Attachments[a.ID]; {
		case a.Type == world.TypeVPC && len(a.SubnetIDs) > 0:
			// Assumed: the subnet of the lowest ID, whatever the zone of the source.
			spec.Ways = append(spec.Ways, network.Way{Attachment: a.ID, VPCTable: tableOf(s, a.SubnetIDs[0])})
		case ok:
			spec.Ways = append(spec.Ways, network.Way{Attachment: a.ID, Device: port.Device, Gateway: port.Gateway})
		}
	}
	for _, n := range world.Values(s.Subnets) {
		if device := place.Subnets[n.ID]; device != "" {
			spec.Subnets = append(spec.Subnets, network.Subnet{ID: n.ID, CIDRs: cidrs(n), Device: device, Table: tableOf(s, n.ID)})
		}
	}
	for _, n := range world.Values(s.Interfaces) {
		for _, a := range n.Addresses {
			spec.Checked[a] = n.SourceDestCheck
		}
	}
	for _, t := range world.Values(s.RouteTables) {
		spec.VPCTables = append(spec.VPCTables, vpcTable(s, t))
	}
	for _, rs := range world.Values(s.RouteServers) {
		if rs.Live() {
			spec.RouteServers = append(spec.RouteServers, routeServer(s, rs, place))
		}
	}
	return spec
}

func vpcTable(s *world.State, t *world.RouteTable) network.VPCTable {
	out := network.VPCTable{ID: t.ID}
	for _, r := range t.Routes {
		// What a Route Server has written the network knows itself.
		if !r.Prefix.IsValid() || r.Origin == "Advertisement" {
			continue
		}
		v := network.VPCRoute{Prefix: r.Prefix}
		switch {
		case r.Blackhole:
		case r.Target.TransitGatewayID != "":
			for _, a := range world.Values(s.Attachments) {
				if a.Type == world.TypeVPC && a.ResourceID == t.VPCID && a.TransitGatewayID == r.Target.TransitGatewayID {
					v.Attachment = a.ID
				}
			}
		case r.Target.InterfaceID != "":
			if n := s.Interfaces[r.Target.InterfaceID]; n != nil {
				v.Interface = addressOf(n, r.Prefix.Addr().Is4())
			}
		case r.Target.LocalID != "" || r.Target.GatewayID == "local":
			v.Local = true
		}
		out.Routes = append(out.Routes, v)
	}
	return out
}

func routeServer(s *world.State, rs *world.RouteServer, place *Place) network.RouteServer {
	out := network.RouteServer{ID: rs.ID, ASN: bgp.ASN(rs.ASN), Tables: rs.PropagatesTo}
	for _, e := range world.Values(s.RouteServerEndpoints) {
		if e.ServerID != rs.ID || e.State != "available" {
			continue
		}
		ep := network.Endpoint{ID: e.ID, Address: e.Address, Device: place.Subnets[e.SubnetID]}
		for _, p := range world.Values(s.RouteServerPeers) {
			if p.EndpointID == e.ID && p.State == "available" {
				ep.Peers = append(ep.Peers, network.RouteServerPeer{ID: p.ID, Address: p.PeerAddress, ASN: bgp.ASN(p.ASN), BFD: p.Liveness == "bfd"})
			}
		}
		out.Endpoints = append(out.Endpoints, ep)
	}
	return out
}

// tableOf is a subnet's route table: its own, else the VPC's main one.
func tableOf(s *world.State, subnet string) string {
	main := ""
	for _, t := range world.Values(s.RouteTables) {
		if slices.Contains(t.SubnetIDs, subnet) {
			return t.ID
		}
		if n := s.Subnets[subnet]; n != nil && t.Main && t.VPCID == n.VPCID {
			main = t.ID
		}
	}
	return main
}

func cidrs(n *world.Subnet) []netip.Prefix {
	return slices.DeleteFunc([]netip.Prefix{n.CIDR4, n.CIDR6}, func(p netip.Prefix) bool { return !p.IsValid() })
}

func addressOf(n *world.Interface, is4 bool) netip.Addr {
	i := slices.IndexFunc(n.Addresses, func(a netip.Addr) bool { return a.Is4() == is4 })
	if i < 0 {
		return netip.Addr{}
	}
	return n.Addresses[i]
}

// name of a device: letters and digits of the tag Name, or the end of the ID.
var unfit = regexp.MustCompile(`[^A-Za-z0-9-]`)

const longestDevice = 15 // IFNAMSIZ - 1

func device(p *world.ConnectPeer) string {
	// The ID keeps apart a peer and its successor of the same name, while both are there.
	short := p.ID[max(0, len(p.ID)-4):]
	name := unfit.ReplaceAllString(p.Tags["Name"], "")
	name = name[:min(len(name), longestDevice-len("gre--")-len(short))]
	return "gre-" + cmp.Or(name, "peer") + "-" + short
}
