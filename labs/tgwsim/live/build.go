package live

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim/routing"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// ID is that of an object of a File: it looks like one of AWS's and follows from
// the name.
func ID(kind, name string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(kind + " " + name))
	return fmt.Sprintf("%s-0%016x", kind, h.Sum64())
}

// builder fills a State; the first error of each object is kept.
type builder struct {
	f     *File
	s     *world.State
	place Place
	now   time.Time
	errs  []error
}

// Build puts what the file describes into a state.
func (f *File) Build(s *world.State, now time.Time) (Place, error) {
	b := &builder{f: f, s: s, now: now, place: Place{
		Subnets: map[string]string{}, Attachments: map[string]Port{}, Hold: time.Duration(f.Hold) * time.Second, Overflow: routing.Overflow(f.Limits.Overflow),
		Limits: routing.Limits{FromPeer: f.Limits.FromPeer, ToPeer: f.Limits.ToPeer, All: f.Limits.All},
	}}
	s.Region, s.AccountID = f.Region, f.Account
	b.vpcs()
	b.instances()
	b.transit()
	b.routes()
	b.peers()
	b.routeServers()
	b.loadBalancers()
	b.hostedZones()
	b.secrets()
	return b.place, errors.Join(b.errs...)
}

// ref is the ID of a named object, which must be there.
func ref[V any](b *builder, m map[string]V, kind, name string) string {
	id := ID(kind, name)
	if _, ok := m[id]; !ok {
		b.errs = append(b.errs, fmt.Errorf("there is no %s %q", kind, name))
	}
	return id
}

func (b *builder) available() world.Lifecycle {
	return world.Lifecycle{State: "available", Created: b.now}
}

func named(name string) world.Tags { return world.Tags{"Name": name} }

var all4, all6 = netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)

func (b *builder) vpcs() {
	for _, v := range b.f.VPCs {
		id := ID("vpc", v.Name)
		b.s.VPCs[id] = &world.VPC{ID: id, CIDRs: v.CIDR, Tags: named(v.Name)}
		table := &world.RouteTable{ID: ID("rtb", v.Name), VPCID: id, Main: true, Tags: named(v.Name)}
		table.Routes = local(v.CIDR)
		b.s.RouteTables[table.ID] = table
		b.group(Group{Name: v.Name, VPC: v.Name, Rules: []Rule{{Protocol: "-1", From: -1, To: -1, Prefix: all4}, {Protocol: "-1", From: -1, To: -1, Prefix: all6}}})
		acl := &world.NetworkACL{ID: ID("acl", v.Name), VPCID: id, Default: true, Tags: named(v.Name)}
		for _, egress := range []bool{true, false} {
			for i, p := range []netip.Prefix{all4, all6} {
				acl.Entries = append(acl.Entries,
					world.ACLEntry{Number: int32(100 + i), Egress: egress, Allow: true, Protocol: "-1", Prefix: p},
					world.ACLEntry{Number: int32(32767 + i), Egress: egress, Protocol: "-1", Prefix: p})
			}
		}
		b.s.NetworkACLs[acl.ID] = acl
	}
	for _, g := range b.f.Groups {
		b.group(g)
	}
	for _, n := range b.f.Subnets {
		id, zone := ID("subnet", n.Name), cmp.Or(n.Zone, "a")
		vpc := ref(b, b.s.VPCs, "vpc", n.VPC)
		b.s.Subnets[id] = &world.Subnet{
			ID: id, VPCID: vpc, AZ: b.f.Region + zone, AZID: "use1-az" + string('1'+zone[0]-'a'),
			CIDR4: n.CIDR, CIDR6: n.CIDR6, Tags: named(n.Name),
		}
		if acl := b.s.NetworkACLs[ID("acl", n.VPC)]; acl != nil {
			acl.SubnetIDs = append(acl.SubnetIDs, id)
		}
		b.place.Subnets[id] = n.Device
	}
}

func local(cidrs []netip.Prefix) (routes []world.VPCRoute) {
	for _, c := range cidrs {
		routes = append(routes, world.VPCRoute{Prefix: c, Target: world.Target{GatewayID: "local"}, Origin: "CreateRouteTable"})
	}
	return routes
}

func (b *builder) group(g Group) {
	out := &world.SecurityGroup{ID: ID("sg", g.Name), VPCID: ref(b, b.s.VPCs, "vpc", g.VPC), Name: g.Name, Tags: named(g.Name)}
	for i, p := range []netip.Prefix{all4, all6} {
		out.Rules = append(out.Rules, world.GroupRule{ID: ID("sgr", fmt.Sprint(g.Name, "out", i)), Egress: true, Protocol: "-1", From: -1, To: -1, Prefix: p})
	}
	for i, r := range g.Rules {
		out.Rules = append(out.Rules, world.GroupRule{ID: ID("sgr", fmt.Sprint(g.Name, i)), Protocol: r.Protocol, From: r.From, To: r.To, Prefix: r.Prefix})
	}
	b.s.SecurityGroups[out.ID] = out
}

func (b *builder) instances() {
	b.s.InstanceTypes["c6in.xlarge"] = &world.InstanceType{Name: "c6in.xlarge", BaselineGbps: 6.25, PeakGbps: 30, MaxInterfaces: 4, VCPUs: 4}
	for i, n := range b.f.Instances {
		subnet := b.s.Subnets[ref(b, b.s.Subnets, "subnet", n.Subnet)]
		if subnet == nil {
			continue
		}
		ni := &world.Interface{
			ID: ID("eni", n.Name), VPCID: subnet.VPCID, SubnetID: subnet.ID, InstanceID: ID("i", n.Name), MAC: fmt.Sprintf("02:00:00:00:00:%02x", i+1),
			Addresses: n.Address, PublicIP: n.Public, SourceDestCheck: n.SourceDestCheck == nil || *n.SourceDestCheck, Tags: named(n.Name),
		}
		for _, g := range n.Groups {
			ni.GroupIDs = append(ni.GroupIDs, ref(b, b.s.SecurityGroups, "sg", g))
		}
		if len(n.Groups) == 0 {
			ni.GroupIDs = []string{ID("sg", b.s.VPCs[subnet.VPCID].Tags["Name"])}
		}
		b.s.Interfaces[ni.ID] = ni
		b.s.Instances[ni.InstanceID] = &world.Instance{
			ID: ni.InstanceID, Type: cmp.Or(n.Type, "c6in.xlarge"), State: "running", VPCID: subnet.VPCID, SubnetID: subnet.ID,
			InterfaceIDs: []string{ni.ID}, MetadataTokens: "required", HopLimit: 1, Tags: named(n.Name),
		}
	}
}

func (b *builder) transit() {
	for _, g := range b.f.TransitGateways {
		table := ID("tgw-rtb", g.Name)
		out := &world.TransitGateway{
			ID: ID("tgw", g.Name), OwnerID: b.f.Account, Lifecycle: b.available(), ASN: cmp.Or(g.ASN, 64512), CIDRBlocks: g.CIDR,
			DefaultAssociation: table, DefaultPropagation: table, VPNECMP: true, Encryption: "disabled", Tags: named(g.Name),
		}
		b.s.TransitGateways[out.ID] = out
		b.s.Tables[table] = &world.Table{ID: table, TransitGatewayID: out.ID, Lifecycle: b.available(), Tags: named(g.Name)}
	}
	for _, t := range b.f.Tables {
		id := ID("tgw-rtb", t.Name)
		if b.s.Tables[id] == nil { // else entries of a default one
			b.s.Tables[id] = &world.Table{ID: id, TransitGatewayID: ref(b, b.s.TransitGateways, "tgw", t.TransitGateway), Lifecycle: b.available(), Tags: named(t.Name)}
		}
	}
	for _, a := range b.f.Attachments {
		b.attachment(a)
	}
	for _, t := range b.f.Tables {
		table := b.s.Tables[ID("tgw-rtb", t.Name)]
		for _, r := range t.Routes {
			s := world.Static{Prefix: r.Prefix, Blackhole: r.Attachment == ""}
			if !s.Blackhole {
				s.AttachmentID = ref(b, b.s.Attachments, "tgw-attach", r.Attachment)
			}
			table.Static = append(table.Static, s)
		}
	}
}

func (b *builder) attachment(a Attachment) {
	g := b.s.TransitGateways[ref(b, b.s.TransitGateways, "tgw", a.TransitGateway)]
	if g == nil {
		return
	}
	out := &world.Attachment{
		ID: ID("tgw-attach", a.Name), TransitGatewayID: g.ID, Type: a.Type, Lifecycle: b.available(), ResourceOwnerID: b.f.Account,
		TableID: g.DefaultAssociation, Association: world.Lifecycle{State: "associated"}, Propagations: map[string]*world.Lifecycle{}, Tags: named(a.Name),
	}
	switch {
	case a.VPC != "":
		out.Type, out.ResourceID = world.TypeVPC, ref(b, b.s.VPCs, "vpc", a.VPC)
		for _, n := range a.Subnets {
			out.SubnetIDs = append(out.SubnetIDs, ref(b, b.s.Subnets, "subnet", n))
		}
		out.IPv6 = slices.ContainsFunc(b.s.VPCs[out.ResourceID].CIDRs, func(p netip.Prefix) bool { return p.Addr().Is6() })
	case a.Transport != "":
		out.Type, out.TransportID = world.TypeConnect, ref(b, b.s.Attachments, "tgw-attach", a.Transport)
		out.ResourceID = out.TransportID
	default:
		b.place.Attachments[out.ID] = a.Port
	}
	switch a.Table {
	case "":
	case "none":
		out.TableID, out.Association = "", world.Lifecycle{}
	default:
		out.TableID = ref(b, b.s.Tables, "tgw-rtb", a.Table)
	}
	propagate := []string{g.DefaultPropagation}
	if a.Propagate != nil || out.Type == world.TypePeering { // peering is static only [HOW]
		propagate = nil
		for _, t := range a.Propagate {
			if t != "none" {
				propagate = append(propagate, ref(b, b.s.Tables, "tgw-rtb", t))
			}
		}
	}
	for _, t := range propagate {
		out.Propagations[t] = &world.Lifecycle{State: "enabled"}
	}
	b.s.Attachments[out.ID] = out
}

// routes come after what they lead to.
func (b *builder) routes() {
	for _, t := range b.f.RouteTables {
		table := b.s.RouteTables[ID("rtb", t.VPC)]
		if len(t.Subnets) > 0 {
			vpc := b.s.VPCs[ref(b, b.s.VPCs, "vpc", t.VPC)]
			if vpc == nil {
				continue
			}
			table = &world.RouteTable{ID: ID("rtb", t.Name), VPCID: vpc.ID, Routes: local(vpc.CIDRs), Tags: named(t.Name)}
			for _, n := range t.Subnets {
				table.SubnetIDs = append(table.SubnetIDs, ref(b, b.s.Subnets, "subnet", n))
			}
			b.s.RouteTables[table.ID] = table
		}
		if table == nil {
			b.errs = append(b.errs, fmt.Errorf("route table %q: there is no VPC %q", t.Name, t.VPC))
			continue
		}
		for _, r := range t.Routes {
			v := world.VPCRoute{Prefix: r.Prefix, Origin: "CreateRoute", Target: world.Target{GatewayID: r.Gateway}}
			if r.TransitGateway != "" {
				v.Target.TransitGatewayID = ref(b, b.s.TransitGateways, "tgw", r.TransitGateway)
			}
			if r.Instance != "" {
				v.Target.InterfaceID = ref(b, b.s.Interfaces, "eni", r.Instance)
			}
			table.Routes = append(table.Routes, v)
		}
	}
}

func (b *builder) peers() {
	for _, p := range b.f.Peers {
		a := b.s.Attachments[ref(b, b.s.Attachments, "tgw-attach", p.Attachment)]
		if a == nil {
			continue
		}
		g := b.s.TransitGateways[a.TransitGatewayID]
		out := &world.ConnectPeer{
			ID: ID("tgw-connect-peer", p.Name), AttachmentID: a.ID, Lifecycle: b.available(), PeerAddress: p.Address, TransitGatewayAddress: p.TGWAddress,
			ASN: cmp.Or(p.ASN, g.ASN), TransitGatewayASN: g.ASN, Tags: named(p.Name),
		}
		for _, c := range p.Inside {
			if c.Addr().Is4() {
				out.Inside4 = c
			} else {
				out.Inside6 = c
			}
		}
		if !out.TransitGatewayAddress.IsValid() {
			b.errs = append(b.errs, fmt.Errorf("connect-peer %s: transit-gateway-address is missing", p.Name))
		}
		b.s.ConnectPeers[out.ID] = out
	}
}

func (b *builder) routeServers() {
	for _, r := range b.f.RouteServers {
		rs := &world.RouteServer{ID: ID("rs", r.Name), VPCID: ref(b, b.s.VPCs, "vpc", r.VPC), ASN: r.ASN, Lifecycle: b.available(), PersistRoutes: "disabled", Tags: named(r.Name)}
		for _, t := range r.Tables {
			rs.PropagatesTo = append(rs.PropagatesTo, ref(b, b.s.RouteTables, "rtb", t))
		}
		b.s.RouteServers[rs.ID] = rs
		for _, e := range r.Endpoints {
			subnet := b.s.Subnets[ref(b, b.s.Subnets, "subnet", e.Subnet)]
			if subnet == nil {
				continue
			}
			ep := &world.RouteServerEndpoint{
				ID: ID("rse", e.Name), ServerID: rs.ID, VPCID: subnet.VPCID, SubnetID: subnet.ID, InterfaceID: ID("eni", e.Name),
				Lifecycle: b.available(), Address: e.Address, Tags: named(e.Name),
			}
			b.s.RouteServerEndpoints[ep.ID] = ep
			for _, p := range e.Peers {
				peer := &world.RouteServerPeer{
					ID: ID("rsp", p.Name), EndpointID: ep.ID, ServerID: rs.ID, VPCID: subnet.VPCID, SubnetID: subnet.ID, Lifecycle: b.available(),
					PeerAddress: p.Address, ASN: p.ASN, Liveness: "bgp-keepalive", EndpointInterface: ep.InterfaceID, Tags: named(p.Name),
				}
				if p.BFD {
					peer.Liveness = "bfd"
				}
				b.s.RouteServerPeers[peer.ID] = peer
			}
		}
	}
}
