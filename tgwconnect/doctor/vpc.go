package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// IANA protocol numbers, as the API writes them.
const (
	protoGRE = "47"
	protoUDP = "17"
	protoAll = "-1"
)

// place is a Connect peer with the interface and subnet that its packets leave by.
type place struct {
	peer tgwconnect.Peer
	eni  tgwconnect.Interface
}

// eachPlace calls judge for every Connect peer whose interface the API shows.
func (f *Facts) eachPlace(t *tally, judge func(place), parts ...gapper) {
	if !t.needs(f.AWS.Peers, f.AWS.Interfaces) || !t.needs(parts...) {
		return
	}
	f.eachPeer(t, func(p tgwconnect.Peer) {
		eni := f.interfaceOf(p.PeerAddress)
		if eni.ID == "" {
			t.unknown("%s: no network interface of this account and region has %s", p.ID, p.PeerAddress)
			return
		}
		judge(place{p, eni})
	})
}

// tableOf is the route table that decides for a subnet: its own, else the main one.
func (f *Facts) tableOf(subnet, vpc string) tgwconnect.VPCRouteTable {
	t := find(f.AWS.VPCTables.Values, func(t tgwconnect.VPCRouteTable) bool { return slices.Contains(t.SubnetIDs, subnet) })
	if t.ID == "" {
		t = find(f.AWS.VPCTables.Values, func(t tgwconnect.VPCRouteTable) bool { return t.Main && t.VPCID == vpc })
	}
	return t
}

// Row 9 [CONNECT]: AWS does not add this route.
func tgwCIDRRoute(f *Facts, t *tally) {
	f.eachPlace(t, func(x place) {
		table := f.tableOf(x.eni.SubnetID, x.eni.VPCID)
		if table.ID == "" {
			t.unknown("%s: no route table of subnet %s was shown", x.peer.ID, x.eni.SubnetID)
			return
		}
		var best tgwconnect.VPCRoute
		for _, r := range table.Routes {
			if covers(r.Prefix, x.peer.TransitGatewayAddress) && (!best.Prefix.IsValid() || r.Prefix.Bits() > best.Prefix.Bits()) {
				best = r
			}
		}
		connect, tgw := f.connectOf(x.peer), f.gatewayOf(x.peer)
		cidr := find(tgw.CIDRBlocks, func(p netip.Prefix) bool { return covers(p, x.peer.TransitGatewayAddress) })
		dest := cidr.String()
		if !cidr.IsValid() {
			dest = netip.PrefixFrom(x.peer.TransitGatewayAddress, x.peer.TransitGatewayAddress.BitLen()).String()
		}
		option := "--destination-cidr-block"
		if x.peer.TransitGatewayAddress.Is6() {
			option = "--destination-ipv6-cidr-block"
		}
		cure := fmt.Sprintf("aws ec2 create-route --route-table-id %s %s %s --transit-gateway-id %s", table.ID, option, dest, connect.TransitGatewayID)
		switch {
		case best.Target.TransitGatewayID == "" || best.Target.TransitGatewayID != connect.TransitGatewayID:
			t.bad(cure, "%s: route table %s of subnet %s has no route for %s to %s", x.peer.ID, table.ID, x.eni.SubnetID, dest, connect.TransitGatewayID)
		case best.State == "blackhole":
			t.bad(cure, "%s: route %s of %s is a blackhole", x.peer.ID, best.Prefix, table.ID)
		default:
			t.good("%s: %s has %s to %s", x.peer.ID, table.ID, best.Prefix, best.Target.TransitGatewayID)
		}
	}, f.AWS.VPCTables, f.AWS.Connects, f.AWS.Gateways)
}

// Row 10 [HOW]: traffic enters the TGW only in a zone with an attached subnet.
func zoneNotAttached(f *Facts, t *tally) {
	f.eachPlace(t, func(x place) {
		c := f.connectOf(x.peer)
		a := find(f.AWS.VPCAttachments.Values, func(a tgwconnect.VPCAttachment) bool { return a.ID == c.TransportID })
		if a.ID == "" {
			t.unknown("%s: VPC attachment %s was not shown", x.peer.ID, c.TransportID)
			return
		}
		own := find(f.AWS.Subnets.Values, func(s tgwconnect.Subnet) bool { return s.ID == x.eni.SubnetID })
		var zones []string
		for _, s := range f.AWS.Subnets.Values {
			if slices.Contains(a.SubnetIDs, s.ID) {
				zones = append(zones, s.AZ)
			}
		}
		switch {
		case own.ID == "" || len(zones) < len(a.SubnetIDs):
			t.unknown("%s: not all subnets were shown", x.peer.ID)
		case !slices.Contains(zones, own.AZ):
			t.bad(fmt.Sprintf("aws ec2 modify-transit-gateway-vpc-attachment --transit-gateway-attachment-id %s --add-subnet-ids SUBNET-IN-%s", a.ID, own.AZ),
				"%s: the gateway is in %s, attachment %s has subnets in %v", x.peer.ID, own.AZ, a.ID, zones)
		default:
			t.good("%s: %s has a subnet in %s", x.peer.ID, a.ID, own.AZ)
		}
	}, f.AWS.Connects, f.AWS.VPCAttachments, f.AWS.Subnets)
}

// admits says whether a rule of the interface's groups covers protocol, port and
// address. Prefix lists and groups as source can not be judged: maybe.
func (f *Facts) admits(eni tgwconnect.Interface, egress bool, proto, name string, port int, whole netip.Prefix) (yes, maybe bool) {
	for _, r := range f.AWS.GroupRules.Values {
		if !slices.Contains(eni.GroupIDs, r.GroupID) || r.Egress != egress {
			continue
		}
		if r.Protocol != protoAll && r.Protocol != proto && r.Protocol != name {
			continue
		}
		if port > 0 && r.Protocol != protoAll && (r.FromPort > port || r.ToPort < port) {
			continue
		}
		switch {
		case !r.Prefix.IsValid():
			maybe = true
		case r.Prefix.Bits() <= whole.Bits() && r.Prefix.Overlaps(whole):
			return true, false
		}
	}
	return false, maybe
}

// Row 11. Replies are admitted for 600 s [SGTRACK]; packets that the TGW sends
// first after silence need the inbound rule, and without the outbound one there is
// nothing.
func groupGRE(f *Facts, t *tally) {
	f.eachPlace(t, func(x place) {
		far := netip.PrefixFrom(x.peer.TransitGatewayAddress, x.peer.TransitGatewayAddress.BitLen())
		for _, egress := range []bool{true, false} {
			yes, maybe := f.admits(x.eni, egress, protoGRE, "gre", 0, far)
			word, call := "out to", "authorize-security-group-egress"
			if !egress {
				word, call = "in from", "authorize-security-group-ingress"
			}
			cidr := find(f.gatewayOf(x.peer).CIDRBlocks, func(p netip.Prefix) bool { return p.Contains(x.peer.TransitGatewayAddress) })
			if !cidr.IsValid() {
				cidr = far
			}
			cure := fmt.Sprintf("aws ec2 %s --group-id %s --ip-permissions IpProtocol=47,IpRanges=[{CidrIp=%s}]", call, first(x.eni.GroupIDs), cidr)
			switch {
			case yes:
				t.good("%s: GRE is admitted %s %s", x.eni.ID, word, x.peer.TransitGatewayAddress)
			case maybe:
				t.unknown("%s: GRE %s %s depends on a prefix list or another group", x.eni.ID, word, x.peer.TransitGatewayAddress)
			default:
				t.bad(cure, "%s: no rule of %v admits protocol 47 %s %s", x.eni.ID, x.eni.GroupIDs, word, x.peer.TransitGatewayAddress)
			}
		}
	}, f.AWS.GroupRules)
}

func first(l []string) string {
	if len(l) == 0 {
		return "GROUP"
	}
	return l[0]
}

// Row 12 [SGTRACK]: a network ACL is stateless, so both directions count.
func aclGRE(f *Facts, t *tally) {
	f.eachPlace(t, func(x place) {
		c := f.connectOf(x.peer)
		a := find(f.AWS.VPCAttachments.Values, func(a tgwconnect.VPCAttachment) bool { return a.ID == c.TransportID })
		subnets := append([]string{x.eni.SubnetID}, a.SubnetIDs...)
		slices.Sort(subnets)
		for _, subnet := range slices.Compact(subnets) {
			acl := find(f.AWS.ACLs.Values, func(l tgwconnect.NetworkACL) bool { return slices.Contains(l.SubnetIDs, subnet) })
			if acl.ID == "" {
				t.unknown("the network ACL of %s was not shown", subnet)
				continue
			}
			// The gateway's subnet sees the TGW's address as the far end; the attached
			// one sees both, as source and as destination.
			far := []netip.Addr{x.peer.TransitGatewayAddress}
			if subnet != x.eni.SubnetID {
				far = append(far, x.peer.PeerAddress)
			}
			for _, egress := range []bool{true, false} {
				for _, to := range far {
					if n, allowed := aclVerdict(acl, egress, protoGRE, to); !allowed {
						t.bad(fmt.Sprintf("aws ec2 create-network-acl-entry --network-acl-id %s --rule-number NUMBER-BELOW-%d --protocol 47 --rule-action allow --%s --cidr-block %s/%d",
							acl.ID, n, direction(egress), to, to.BitLen()), "%s: %s blocks protocol 47 (%s, %s) by entry %d", subnet, acl.ID, direction(egress), to, n)
					}
				}
			}
			t.good("%s of %s was looked at", acl.ID, subnet)
		}
	}, f.AWS.Connects, f.AWS.VPCAttachments, f.AWS.ACLs)
}

func direction(egress bool) string {
	if egress {
		return "egress"
	}
	return "ingress"
}

// aclVerdict is what the entry with the lowest matching number says.
func aclVerdict(acl tgwconnect.NetworkACL, egress bool, proto string, far netip.Addr) (number int, allowed bool) {
	number = 32767
	found := false
	for _, e := range acl.Entries {
		if e.Egress != egress || e.Protocol != protoAll && e.Protocol != proto || !covers(e.Prefix, far) {
			continue
		}
		if !found || e.Number < number {
			found, number, allowed = true, e.Number, e.Allow
		}
	}
	return number, allowed
}

// Row 13: behind an NLB that keeps client addresses it must admit the clients too.
func groupWireGuard(f *Facts, t *tally) {
	if t.lacks(f.configGap()) || !t.needs(f.AWS.Interfaces, f.AWS.GroupRules) {
		return
	}
	any4 := netip.MustParsePrefix("0.0.0.0/0")
	for device, port := range f.Daemon.Config.Ports {
		dialled := slices.ContainsFunc(f.Daemon.Config.Sites, func(s SiteConfig) bool { return s.Device == device && s.Endpoint == "" })
		if port == 0 || !dialled {
			continue // nobody dials in
		}
		for _, eni := range f.interfaces() {
			yes, _ := f.admits(eni, false, protoUDP, "udp", int(port), any4)
			some := slices.ContainsFunc(f.AWS.GroupRules.Values, func(r tgwconnect.GroupRule) bool {
				return slices.Contains(eni.GroupIDs, r.GroupID) && !r.Egress && (r.Protocol == protoAll || r.Protocol == "udp" || r.Protocol == protoUDP) &&
					(r.Protocol == protoAll || r.FromPort <= int(port) && int(port) <= r.ToPort)
			})
			switch {
			case yes:
				t.good("%s: UDP %d of %s is admitted", eni.ID, port, device)
			case some:
				t.good("%s: UDP %d of %s is admitted from some sources", eni.ID, port, device)
			default:
				t.bad(fmt.Sprintf("aws ec2 authorize-security-group-ingress --group-id %s --protocol udp --port %d --cidr 0.0.0.0/0", first(eni.GroupIDs), port),
					"%s: no rule of %v admits UDP %d, which %s listens on", eni.ID, eni.GroupIDs, port, device)
			}
		}
	}
	t.none("no site dials this host")
}

// Row 14 [API]: GRE alone is addressed to the interface and needs no change.
func sourceDestCheck(f *Facts, t *tally) {
	if !t.needs(f.AWS.Interfaces, f.AWS.VPCTables) {
		return
	}
	for _, eni := range f.interfaces() {
		var routed []string
		for _, table := range f.AWS.VPCTables.Values {
			for _, r := range table.Routes {
				if r.Target.InterfaceID == eni.ID {
					routed = append(routed, table.ID+" "+r.Prefix.String())
				}
			}
		}
		for _, p := range f.AWS.Servers.Values {
			if slices.Contains(eni.Addresses, p.PeerAddress) {
				routed = append(routed, "Route Server peer "+p.ID)
			}
		}
		cure := fmt.Sprintf("aws ec2 modify-network-interface-attribute --network-interface-id %s --no-source-dest-check", eni.ID)
		switch {
		case eni.SourceDestCheck && len(routed) > 0:
			t.bad(cure, "%s: SourceDestCheck is on, and packets are routed to it: %v", eni.ID, routed)
		case eni.SourceDestCheck:
			t.good("%s: SourceDestCheck is on; GRE works with it, and no VPC route leads here", eni.ID)
		default:
			t.good("%s: SourceDestCheck is off", eni.ID)
		}
	}
	t.none("no network interface of this host was shown")
}
