package live

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

const protocolGRE = "47"

// passes says whether GRE packets of a Connect peer get from the appliance's
// interface to the Transit Gateway and back, and if not what stops them. Facts:
// section 1.5 of facts/aws.md. An appliance that is no interface of the world is
// behind a Direct Connect and is let pass.
func passes(s *world.State, p *world.ConnectPeer) (why string, ok bool) {
	var n *world.Interface
	for _, i := range world.Values(s.Interfaces) {
		if slices.Contains(i.Addresses, p.PeerAddress) {
			n = i
		}
	}
	if n == nil {
		return "", true
	}
	connect := s.Attachments[p.AttachmentID]
	if connect == nil {
		return "the Connect attachment is gone", false
	}
	transport := s.Attachments[connect.TransportID]
	subnet := s.Subnets[n.SubnetID]
	if transport == nil || transport.State != "available" {
		return "the transport attachment is not available", false
	}
	if subnet == nil || transport.Type != world.TypeVPC || transport.ResourceID != n.VPCID {
		return "the interface is not in the VPC of the transport attachment", false
	}
	if !slices.ContainsFunc(transport.SubnetIDs, func(id string) bool { return s.Subnets[id] != nil && s.Subnets[id].AZ == subnet.AZ }) {
		return fmt.Sprintf("the transport attachment has no subnet in %s", subnet.AZ), false
	}
	if r, ok := lookup(s.RouteTables[tableOf(s, subnet.ID)], p.TransitGatewayAddress); !ok || r.Blackhole || r.Target.TransitGatewayID != transport.TransitGatewayID {
		return fmt.Sprintf("route table %s does not lead %s to the Transit Gateway", tableOf(s, subnet.ID), p.TransitGatewayAddress), false
	}
	// A security group follows connections: who may send may hear the answers.
	if !admits(s, n, p.TransitGatewayAddress, true) && !admits(s, n, p.TransitGatewayAddress, false) {
		return "no security group of the interface admits GRE (protocol 47)", false
	}
	// The ACL of the transport attachment's subnet counts as well; it is the same
	// one where both are in one subnet.
	for _, egress := range []bool{true, false} {
		if !aclAdmits(s, subnet.ID, p.TransitGatewayAddress, egress) {
			return "the subnet's network ACL denies GRE (protocol 47)", false
		}
	}
	return "", true
}

// lookup is the longest match in a VPC route table.
func lookup(t *world.RouteTable, a netip.Addr) (best world.VPCRoute, ok bool) {
	if t == nil {
		return best, false
	}
	for _, r := range t.Routes {
		if r.Prefix.IsValid() && r.Prefix.Contains(a) && (!ok || r.Prefix.Bits() > best.Prefix.Bits()) {
			best, ok = r, true
		}
	}
	return best, ok
}

func admits(s *world.State, n *world.Interface, remote netip.Addr, egress bool) bool {
	for _, id := range n.GroupIDs {
		g := s.SecurityGroups[id]
		if g == nil {
			continue
		}
		for _, r := range g.Rules {
			if r.Egress == egress && (r.Protocol == "-1" || r.Protocol == protocolGRE) && r.Prefix.IsValid() && r.Prefix.Contains(remote) {
				return true
			}
		}
	}
	return false
}

func aclAdmits(s *world.State, subnet string, remote netip.Addr, egress bool) bool {
	for _, acl := range world.Values(s.NetworkACLs) {
		if !slices.Contains(acl.SubnetIDs, subnet) {
			continue
		}
		entries := slices.Clone(acl.Entries)
		slices.SortStableFunc(entries, func(a, b world.ACLEntry) int { return cmp.Compare(a.Number, b.Number) })
		for _, e := range entries {
			if e.Egress == egress && (e.Protocol == "-1" || e.Protocol == protocolGRE) && e.Prefix.Contains(remote) {
				return e.Allow
			}
		}
		return false
	}
	return true // no ACL described
}
