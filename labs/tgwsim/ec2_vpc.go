package tgwsim

import (
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func vpcOperations() []Operation {
	return []Operation{
		Op("DescribeVpcs", describeVPCs),
		Op("DescribeSubnets", describeSubnets),
		Op("DescribeRouteTables", describeRouteTables),
		Op("CreateRoute", createRoute),
		Op("ReplaceRoute", replaceRoute),
		Op("DeleteRoute", deleteRoute),
	}
}

func describeVPCs(c *Call, in *ec2.DescribeVpcsInput) (*ec2.DescribeVpcsOutput, error) {
	l := listing[*world.VPC]{
		notFound: "InvalidVpcID.NotFound", // [ERR]
		id:       func(v *world.VPC) string { return v.ID },
		tags:     func(v *world.VPC) world.Tags { return v.Tags },
		filters: map[string]func(*world.VPC) []string{
			"vpc-id": func(v *world.VPC) []string { return value(v.ID) },
			"cidr":   func(v *world.VPC) []string { return prefixes(v.CIDRs[:1], is4) },
			"cidr-block-association.cidr-block": func(v *world.VPC) []string {
				return prefixes(v.CIDRs, is4)
			},
		},
	}
	found, token, err := find(c, l, c.State.VPCs, query{in.VpcIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeVpcsOutput{Vpcs: convert(found, c.vpc), NextToken: token}, err
}

func (c *Call) vpc(v *world.VPC) types.Vpc {
	out := types.Vpc{
		VpcId: ptr(v.ID), OwnerId: ptr(c.State.AccountID), State: types.VpcStateAvailable, IsDefault: ptr(false),
		InstanceTenancy: types.TenancyDefault, Tags: sdkTags(v.Tags),
	}
	for _, p := range v.CIDRs {
		if is6(p) {
			out.Ipv6CidrBlockAssociationSet = append(out.Ipv6CidrBlockAssociationSet, types.VpcIpv6CidrBlockAssociation{
				Ipv6CidrBlock: ptr(p.String()), Ipv6CidrBlockState: &types.VpcCidrBlockState{State: types.VpcCidrBlockStateCodeAssociated},
			})
			continue
		}
		if out.CidrBlock == nil {
			out.CidrBlock = ptr(p.String())
		}
		out.CidrBlockAssociationSet = append(out.CidrBlockAssociationSet, types.VpcCidrBlockAssociation{
			CidrBlock: ptr(p.String()), CidrBlockState: &types.VpcCidrBlockState{State: types.VpcCidrBlockStateCodeAssociated},
		})
	}
	return out
}

func describeSubnets(c *Call, in *ec2.DescribeSubnetsInput) (*ec2.DescribeSubnetsOutput, error) {
	l := listing[*world.Subnet]{
		notFound: "InvalidSubnetID.NotFound", // [ERR]
		id:       func(s *world.Subnet) string { return s.ID },
		tags:     func(s *world.Subnet) world.Tags { return s.Tags },
		filters: map[string]func(*world.Subnet) []string{
			"availability-zone":    func(s *world.Subnet) []string { return value(s.AZ) },
			"availability-zone-id": func(s *world.Subnet) []string { return value(s.AZID) },
			"subnet-id":            func(s *world.Subnet) []string { return value(s.ID) },
			"vpc-id":               func(s *world.Subnet) []string { return value(s.VPCID) },
		},
	}
	found, token, err := find(c, l, c.State.Subnets, query{in.SubnetIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeSubnetsOutput{Subnets: convert(found, c.subnet), NextToken: token}, err
}

func (c *Call) subnet(s *world.Subnet) types.Subnet {
	out := types.Subnet{
		SubnetId: ptr(s.ID), VpcId: ptr(s.VPCID), AvailabilityZone: ptr(s.AZ), AvailabilityZoneId: ptr(s.AZID), OwnerId: ptr(c.State.AccountID),
		SubnetArn: c.arn("subnet", s.ID), State: types.SubnetStateAvailable, CidrBlock: ptr(s.CIDR4.String()), Tags: sdkTags(s.Tags),
	}
	if s.CIDR6.IsValid() {
		out.Ipv6CidrBlockAssociationSet = []types.SubnetIpv6CidrBlockAssociation{{
			Ipv6CidrBlock: ptr(s.CIDR6.String()), Ipv6CidrBlockState: &types.SubnetCidrBlockState{State: types.SubnetCidrBlockStateCodeAssociated},
		}}
	}
	return out
}

func describeRouteTables(c *Call, in *ec2.DescribeRouteTablesInput) (*ec2.DescribeRouteTablesOutput, error) {
	routes := func(f func(types.Route) *string) func(*world.RouteTable) []string {
		return func(t *world.RouteTable) (all []string) {
			for _, r := range c.routeTable(t).Routes {
				all = append(all, value(text(f(r)))...)
			}
			return all
		}
	}
	l := listing[*world.RouteTable]{
		notFound: "InvalidRouteTableID.NotFound", // [TF-PEER]
		id:       func(t *world.RouteTable) string { return t.ID },
		tags:     func(t *world.RouteTable) world.Tags { return t.Tags },
		most:     100, // [API]
		filters: map[string]func(*world.RouteTable) []string{ // [API]
			"association.main":             func(t *world.RouteTable) []string { return truth(t.Main) },
			"association.subnet-id":        func(t *world.RouteTable) []string { return t.SubnetIDs },
			"association.route-table-id":   func(t *world.RouteTable) []string { return value(t.ID) },
			"route-table-id":               func(t *world.RouteTable) []string { return value(t.ID) },
			"vpc-id":                       func(t *world.RouteTable) []string { return value(t.VPCID) },
			"route.transit-gateway-id":     routes(func(r types.Route) *string { return r.TransitGatewayId }),
			"route.instance-id":            routes(func(r types.Route) *string { return r.InstanceId }),
			"route.gateway-id":             routes(func(r types.Route) *string { return r.GatewayId }),
			"route.destination-cidr-block": routes(func(r types.Route) *string { return r.DestinationCidrBlock }),
		},
	}
	found, token, err := find(c, l, c.State.RouteTables, query{in.RouteTableIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeRouteTablesOutput{RouteTables: convert(found, c.routeTable), NextToken: token}, err
}

func (c *Call) routeTable(t *world.RouteTable) types.RouteTable {
	out := types.RouteTable{RouteTableId: ptr(t.ID), VpcId: ptr(t.VPCID), OwnerId: ptr(c.State.AccountID), Tags: sdkTags(t.Tags)}
	associated := &types.RouteTableAssociationState{State: types.RouteTableAssociationStateCodeAssociated}
	if t.Main {
		out.Associations = append(out.Associations, types.RouteTableAssociation{
			Main: ptr(true), RouteTableId: ptr(t.ID), RouteTableAssociationId: ptr("rtbassoc-" + t.ID), AssociationState: associated,
		})
	}
	for _, id := range t.SubnetIDs {
		out.Associations = append(out.Associations, types.RouteTableAssociation{
			Main: ptr(false), RouteTableId: ptr(t.ID), RouteTableAssociationId: ptr("rtbassoc-" + id), SubnetId: ptr(id), AssociationState: associated,
		})
	}
	out.Routes = convert(t.Routes, c.route)
	return out
}

func (c *Call) route(r world.VPCRoute) types.Route {
	to := r.Target
	out := types.Route{
		DestinationPrefixListId: some(r.PrefixListID), Origin: types.RouteOrigin(r.Origin), State: types.RouteStateActive,
		TransitGatewayId: some(to.TransitGatewayID), NetworkInterfaceId: some(to.InterfaceID), GatewayId: some(to.GatewayID), NatGatewayId: some(to.NATGatewayID),
		VpcPeeringConnectionId: some(to.PeeringID), CoreNetworkArn: some(to.CoreNetworkARN), EgressOnlyInternetGatewayId: some(to.EgressOnlyID),
		CarrierGatewayId: some(to.CarrierID), LocalGatewayId: some(to.LocalID),
	}
	switch {
	case r.Prefix.IsValid() && is4(r.Prefix):
		out.DestinationCidrBlock = ptr(r.Prefix.String())
	case r.Prefix.IsValid():
		out.DestinationIpv6CidrBlock = ptr(r.Prefix.String())
	}
	if r.Blackhole || c.dangling(to) {
		out.State = types.RouteStateBlackhole
	}
	if n := c.State.Interfaces[to.InterfaceID]; n != nil && n.InstanceID != "" {
		out.InstanceId, out.InstanceOwnerId = ptr(n.InstanceID), ptr(c.State.AccountID)
	}
	return out
}

// dangling says that a route's target is gone: a network interface that does not
// exist or is attached to nothing that runs [API, RouteState], or a Transit
// Gateway that does not exist.
func (c *Call) dangling(to world.Target) bool {
	if id := to.TransitGatewayID; id != "" {
		g := c.State.TransitGateways[id]
		return g == nil || !g.Live()
	}
	if id := to.InterfaceID; id != "" {
		n := c.State.Interfaces[id]
		if n == nil {
			return true
		}
		i := c.State.Instances[n.InstanceID]
		return i == nil || i.State != "running"
	}
	return false
}

// destination reads the one destination of a route.
func destination(four, six, list *string) (p netip.Prefix, prefixList string, err error) {
	given := 0
	for _, s := range []*string{four, six, list} {
		if s != nil {
			given++
		}
	}
	if given != 1 { // [API]
		return p, "", &wire.Error{Code: "InvalidParameterCombination", Message: "The request must contain exactly one destination"}
	}
	switch {
	case four != nil:
		p, err = parsePrefix("destinationCidrBlock", *four)
	case six != nil:
		p, err = parsePrefix("destinationIpv6CidrBlock", *six)
	}
	if err == nil && p.IsValid() && is4(p) != (four != nil) {
		err = &wire.Error{Code: "InvalidParameterValue", Message: "The destination is of another address family than its parameter"}
	}
	return p, text(list), err
}

func createRoute(c *Call, in *ec2.CreateRouteInput) (*ec2.CreateRouteOutput, error) {
	r, err := c.newRoute(&ec2.ReplaceRouteInput{
		DestinationCidrBlock: in.DestinationCidrBlock, DestinationIpv6CidrBlock: in.DestinationIpv6CidrBlock, DestinationPrefixListId: in.DestinationPrefixListId,
		TransitGatewayId: in.TransitGatewayId, NetworkInterfaceId: in.NetworkInterfaceId, InstanceId: in.InstanceId, GatewayId: in.GatewayId,
		NatGatewayId: in.NatGatewayId, VpcPeeringConnectionId: in.VpcPeeringConnectionId, CoreNetworkArn: in.CoreNetworkArn,
		EgressOnlyInternetGatewayId: in.EgressOnlyInternetGatewayId, CarrierGatewayId: in.CarrierGatewayId, LocalGatewayId: in.LocalGatewayId,
	})
	if err == nil {
		err = c.World.CreateRoute(text(in.RouteTableId), r)
	}
	if err != nil {
		return nil, err
	}
	return &ec2.CreateRouteOutput{Return: ptr(true)}, nil
}

func replaceRoute(c *Call, in *ec2.ReplaceRouteInput) (*ec2.ReplaceRouteOutput, error) {
	r, err := c.newRoute(in)
	if err == nil {
		err = c.World.ReplaceRoute(text(in.RouteTableId), r)
	}
	if err != nil {
		return nil, err
	}
	return &ec2.ReplaceRouteOutput{}, nil
}

// newRoute reads destination and target of a route.
func (c *Call) newRoute(in *ec2.ReplaceRouteInput) (r world.VPCRoute, err error) {
	r.Prefix, r.PrefixListID, err = destination(in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId)
	if err != nil {
		return r, err
	}
	r.Target = world.Target{
		TransitGatewayID: text(in.TransitGatewayId), InterfaceID: text(in.NetworkInterfaceId), GatewayID: text(in.GatewayId), NATGatewayID: text(in.NatGatewayId),
		PeeringID: text(in.VpcPeeringConnectionId), CoreNetworkARN: text(in.CoreNetworkArn), EgressOnlyID: text(in.EgressOnlyInternetGatewayId),
		CarrierID: text(in.CarrierGatewayId), LocalID: text(in.LocalGatewayId),
	}
	if id := text(in.InstanceId); id != "" && r.Target == (world.Target{}) {
		i := c.State.Instances[id]
		if i == nil {
			return r, &wire.Error{Code: "InvalidInstanceID.NotFound", Message: "The instance ID '" + id + "' does not exist"}
		}
		if len(i.InterfaceIDs) != 1 { // [API]: works for an instance with exactly one interface
			return r, &wire.Error{Code: "InvalidInstanceID", Message: "There are multiple interfaces attached to instance '" + id + "'. Please specify an interface ID for the operation instead."}
		}
		r.Target.InterfaceID = i.InterfaceIDs[0]
	}
	if r.Target == (world.Target{}) {
		return r, &wire.Error{Code: "MissingParameter", Message: "The request must contain a target"}
	}
	return r, nil
}

func deleteRoute(c *Call, in *ec2.DeleteRouteInput) (*ec2.DeleteRouteOutput, error) {
	p, list, err := destination(in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId)
	if err == nil {
		err = c.World.DeleteRoute(text(in.RouteTableId), p, list)
	}
	if err != nil {
		return nil, err
	}
	return &ec2.DeleteRouteOutput{}, nil
}
