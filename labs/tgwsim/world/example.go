package world

import (
	"fmt"
	"net/netip"
	"time"
)

// ExampleOptions shape the world that Example makes. The zero value is a healthy
// one with two gateways and a Connect peer for each.
type ExampleOptions struct {
	Gateways int  // instances, one per zone in turn; 0: two
	NoPeers  bool // without Connect attachment and peers
	// NoConnectivity leaves out the TGW's CIDR block and the VPC's route to it.
	NoConnectivity bool
	// IPv6 adds inside /125 blocks and IPv6 in the VPC.
	IPv6 bool
	// Services adds a Network Load Balancer for UDP port 51820 with an empty target
	// group, and the hosted zone example.net (example_services.go).
	Services bool
}

// Names are the IDs of an Example.
type Names struct {
	TransitGateway, Table        string
	VPC, VPCAttachment, Connect  string
	Subnets                      [2]string
	RouteTable, Group, ACL       string
	Instances, Interfaces, Peers []string // one per gateway
	Addresses                    []netip.Addr

	LoadBalancer, TargetGroup, Zone string // with Services
}

// Example builds a region as it should be: a Transit Gateway (ASN 64512, CIDR
// block 192.0.2.0/24) with one route table, a VPC 10.0.0.0/16 of two zones that
// is attached in both, gateway instances with Connect peers (ASN 65001, inside
// 169.254.100.0/29, .8/29, ...), and the routes, security groups and network
// ACLs that GRE and WireGuard need.
func Example(region string, now func() time.Time, o ExampleOptions) (*World, *Names) {
	w := New(region, now)
	n := &Names{}
	w.Do(func(s *State) {
		n.network(s, now())
		n.transit(s, now(), o)
		gateways := o.Gateways
		if gateways == 0 {
			gateways = 2
		}
		for i := range gateways {
			n.gateway(s, i, now(), o)
		}
		if o.Services {
			n.services(s, now())
		}
	})
	return w, n
}

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

func available(now time.Time) Lifecycle { return Lifecycle{State: "available", Created: now} }

// network makes the VPC.
func (n *Names) network(s *State, now time.Time) {
	n.VPC = s.NewID("vpc")
	s.VPCs[n.VPC] = &VPC{ID: n.VPC, CIDRs: []netip.Prefix{prefix("10.0.0.0/16"), prefix("2001:db8:0:100::/56")}, Tags: Tags{"Name": "gateways"}}
	for i := range n.Subnets {
		id := s.NewID("subnet")
		n.Subnets[i] = id
		s.Subnets[id] = &Subnet{
			ID: id, VPCID: n.VPC, AZ: s.Region + string(rune('a'+i)), AZID: fmt.Sprintf("use1-az%d", i+1),
			CIDR4: prefix(fmt.Sprintf("10.0.%d.0/24", i)), CIDR6: prefix(fmt.Sprintf("2001:db8:0:10%d::/64", i)),
		}
	}
	n.RouteTable = s.NewID("rtb")
	s.RouteTables[n.RouteTable] = &RouteTable{ID: n.RouteTable, VPCID: n.VPC, Main: true, Routes: []VPCRoute{
		{Prefix: prefix("10.0.0.0/16"), Target: Target{GatewayID: "local"}, Origin: "CreateRouteTable"},
		{Prefix: prefix("2001:db8:0:100::/56"), Target: Target{GatewayID: "local"}, Origin: "CreateRouteTable"},
		{Prefix: prefix("0.0.0.0/0"), Target: Target{GatewayID: "igw-00000000000000001"}, Origin: "CreateRoute"},
	}}
	n.Group = s.NewID("sg")
	any4, any6 := prefix("0.0.0.0/0"), prefix("::/0")
	s.SecurityGroups[n.Group] = &SecurityGroup{ID: n.Group, VPCID: n.VPC, Name: "gateway", Rules: []GroupRule{
		{ID: s.NewID("sgr"), Egress: true, Protocol: "-1", From: -1, To: -1, Prefix: any4},
		{ID: s.NewID("sgr"), Egress: true, Protocol: "-1", From: -1, To: -1, Prefix: any6},
		{ID: s.NewID("sgr"), Protocol: "udp", From: 51820, To: 51820, Prefix: any4},
		{ID: s.NewID("sgr"), Protocol: "47", From: -1, To: -1, Prefix: prefix("192.0.2.0/24")},
	}}
	n.ACL = s.NewID("acl")
	acl := &NetworkACL{ID: n.ACL, VPCID: n.VPC, Default: true, SubnetIDs: n.Subnets[:]}
	for _, egress := range []bool{true, false} {
		for i, p := range []netip.Prefix{any4, any6} {
			acl.Entries = append(acl.Entries,
				ACLEntry{Number: int32(100 + i), Egress: egress, Allow: true, Protocol: "-1", Prefix: p},
				ACLEntry{Number: int32(32767 + i), Egress: egress, Protocol: "-1", Prefix: p}) // 32768 for IPv6: assumed
		}
	}
	s.NetworkACLs[n.ACL] = acl
	s.InstanceTypes["c6in.xlarge"] = &InstanceType{Name: "c6in.xlarge", BaselineGbps: 6.25, PeakGbps: 30, MaxInterfaces: 4, VCPUs: 4}
}

// transit makes the Transit Gateway and its attachments.
func (n *Names) transit(s *State, now time.Time, o ExampleOptions) {
	n.TransitGateway, n.Table = s.NewID("tgw"), s.NewID("tgw-rtb")
	g := &TransitGateway{
		ID: n.TransitGateway, OwnerID: s.AccountID, Lifecycle: available(now), ASN: 64512, VPNECMP: true, Encryption: "disabled",
		DefaultAssociation: n.Table, DefaultPropagation: n.Table, Tags: Tags{"Name": "core"},
	}
	s.TransitGateways[g.ID] = g
	s.Tables[n.Table] = &Table{ID: n.Table, TransitGatewayID: g.ID, Lifecycle: available(now)}
	if !o.NoConnectivity {
		g.CIDRBlocks = []netip.Prefix{prefix("192.0.2.0/24")}
		t := s.RouteTables[n.RouteTable]
		t.Routes = append(t.Routes, VPCRoute{Prefix: g.CIDRBlocks[0], Target: Target{TransitGatewayID: g.ID}, Origin: "CreateRoute"})
	}
	vpc := n.attachment(s, now, &Attachment{Type: TypeVPC, ResourceID: n.VPC, SubnetIDs: n.Subnets[:], IPv6: o.IPv6})
	n.VPCAttachment = vpc.ID
	if !o.NoPeers {
		n.Connect = n.attachment(s, now, &Attachment{Type: TypeConnect, ResourceID: vpc.ID, TransportID: vpc.ID}).ID
	}
}

func (n *Names) attachment(s *State, now time.Time, a *Attachment) *Attachment {
	a.ID, a.TransitGatewayID, a.ResourceOwnerID, a.Lifecycle = s.NewID("tgw-attach"), n.TransitGateway, s.AccountID, available(now)
	a.TableID, a.Association = n.Table, Lifecycle{State: "associated"}
	a.Propagations = map[string]*Lifecycle{n.Table: {State: "enabled"}}
	s.Attachments[a.ID] = a
	return a
}

// gateway makes instance number i with its network interface and Connect peer.
func (n *Names) gateway(s *State, i int, now time.Time, o ExampleOptions) {
	subnet := s.Subnets[n.Subnets[i%2]]
	ni := &Interface{
		ID: s.NewID("eni"), VPCID: n.VPC, SubnetID: subnet.ID, InstanceID: s.NewID("i"), MAC: fmt.Sprintf("02:00:00:00:00:%02x", i+1),
		Addresses: []netip.Addr{hostOf(subnet.CIDR4, 10+i)}, PublicIP: hostOf(prefix("198.51.100.0/24"), 10+i), GroupIDs: []string{n.Group},
	}
	if o.IPv6 {
		ni.Addresses = append(ni.Addresses, hostOf(subnet.CIDR6, 10+i))
	}
	s.Interfaces[ni.ID] = ni
	s.Instances[ni.InstanceID] = &Instance{
		ID: ni.InstanceID, Type: "c6in.xlarge", State: "running", VPCID: n.VPC, SubnetID: subnet.ID,
		InterfaceIDs: []string{ni.ID}, MetadataTokens: "required", HopLimit: 1, Tags: Tags{"Name": fmt.Sprintf("gateway-%d", i+1)},
	}
	n.Instances, n.Interfaces = append(n.Instances, ni.InstanceID), append(n.Interfaces, ni.ID)
	n.Addresses = append(n.Addresses, ni.Addresses[0])
	if o.NoPeers {
		return
	}
	p := &ConnectPeer{
		ID: s.NewID("tgw-connect-peer"), AttachmentID: n.Connect, Lifecycle: available(now),
		PeerAddress: ni.Addresses[0], TransitGatewayAddress: hostOf(prefix("192.0.2.0/24"), 1+i),
		Inside4: netip.PrefixFrom(hostOf(prefix("169.254.100.0/24"), 8*i), 29), ASN: 65001, TransitGatewayASN: 64512,
	}
	if o.IPv6 {
		p.Inside6 = netip.PrefixFrom(hostOf(prefix("fd00:100::/64"), 8*i), 125)
	}
	s.ConnectPeers[p.ID] = p
	n.Peers = append(n.Peers, p.ID)
}
