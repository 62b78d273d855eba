package tgwsim_test

import (
	"net/netip"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// check fails unless a call ended with a code; "" is success.
func check(t *testing.T, what string, err error, want string) {
	t.Helper()
	if code(err) != want {
		t.Errorf("%s: %v, want code %q", what, err, want)
	}
}

func TestRoutesOfAVPCAreChanged(t *testing.T) {
	l := newLab(t, world.ExampleOptions{IPv6: true})
	create := func(in ec2.CreateRouteInput) error {
		in.RouteTableId = &l.RouteTable
		_, err := l.ec2.CreateRoute(ctx, &in)
		return err
	}
	eni, other := aws.String(l.Interfaces[0]), aws.String(l.Interfaces[1])
	four, six := aws.String("10.9.0.0/16"), aws.String("2001:db8:9::/48")
	check(t, "IPv4", create(ec2.CreateRouteInput{DestinationCidrBlock: four, NetworkInterfaceId: eni}), "")
	check(t, "IPv6", create(ec2.CreateRouteInput{DestinationIpv6CidrBlock: six, NetworkInterfaceId: eni}), "")
	check(t, "by instance", create(ec2.CreateRouteInput{DestinationCidrBlock: aws.String("10.8.0.0/16"), InstanceId: &l.Instances[1]}), "")
	check(t, "twice", create(ec2.CreateRouteInput{DestinationCidrBlock: four, NetworkInterfaceId: other}), "RouteAlreadyExists")
	check(t, "no destination", create(ec2.CreateRouteInput{NetworkInterfaceId: eni}), "InvalidParameterCombination")
	check(t, "two destinations", create(ec2.CreateRouteInput{DestinationCidrBlock: four, DestinationIpv6CidrBlock: six, NetworkInterfaceId: eni}), "InvalidParameterCombination")
	check(t, "no target", create(ec2.CreateRouteInput{DestinationCidrBlock: aws.String("10.7.0.0/16")}), "MissingParameter")
	check(t, "no prefix", create(ec2.CreateRouteInput{DestinationCidrBlock: aws.String("everywhere"), NetworkInterfaceId: eni}), "InvalidParameterValue")
	check(t, "the wrong family", create(ec2.CreateRouteInput{DestinationCidrBlock: six, NetworkInterfaceId: eni}), "InvalidParameterValue")
	_, err := l.ec2.ReplaceRoute(ctx, &ec2.ReplaceRouteInput{RouteTableId: &l.RouteTable, DestinationCidrBlock: four, NetworkInterfaceId: other})
	check(t, "replace", err, "")

	state := func(destination string) (target string, state types.RouteState) {
		out, err := l.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{l.RouteTable}})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.RouteTables[0].Routes {
			if aws.ToString(r.DestinationCidrBlock) == destination || aws.ToString(r.DestinationIpv6CidrBlock) == destination {
				return aws.ToString(r.NetworkInterfaceId) + " " + aws.ToString(r.InstanceId), r.State
			}
		}
		return "", ""
	}
	if target, s := state("10.9.0.0/16"); target != l.Interfaces[1]+" "+l.Instances[1] || s != types.RouteStateActive {
		t.Errorf("the replaced route leads to %s, %s", target, s)
	}
	if target, _ := state("2001:db8:9::/48"); target != l.Interfaces[0]+" "+l.Instances[0] {
		t.Errorf("the IPv6 route leads to %s", target)
	}
	l.World().Do(func(s *world.State) { s.Instances[l.Instances[1]].State = "stopped" })
	if _, s := state("10.9.0.0/16"); s != types.RouteStateBlackhole {
		t.Errorf("a route to an instance that has stopped is %s, want blackhole", s)
	}
	_, err = l.ec2.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: &l.RouteTable, DestinationCidrBlock: four})
	check(t, "delete", err, "")
	if target, _ := state("10.9.0.0/16"); target != "" {
		t.Errorf("a deleted route leads to %s", target)
	}
	l.wantViolations(t)
}

func TestStaticRoutesOfATransitGateway(t *testing.T) {
	l := newLab(t, world.ExampleOptions{})
	prefix := aws.String("10.9.0.0/16")
	made, err := l.ec2.CreateTransitGatewayRoute(ctx, &ec2.CreateTransitGatewayRouteInput{TransitGatewayRouteTableId: &l.Table, DestinationCidrBlock: prefix, TransitGatewayAttachmentId: &l.VPCAttachment})
	if err != nil || made.Route.State != types.TransitGatewayRouteStateActive || *made.Route.TransitGatewayAttachments[0].ResourceId != l.VPC {
		t.Errorf("create: %+v, %v", made, err)
	}
	moved, err := l.ec2.ReplaceTransitGatewayRoute(ctx, &ec2.ReplaceTransitGatewayRouteInput{TransitGatewayRouteTableId: &l.Table, DestinationCidrBlock: prefix, Blackhole: aws.Bool(true)})
	if err != nil || moved.Route.State != types.TransitGatewayRouteStateBlackhole || len(moved.Route.TransitGatewayAttachments) != 0 {
		t.Errorf("replace: %+v, %v", moved, err)
	}
	gone, err := l.ec2.DeleteTransitGatewayRoute(ctx, &ec2.DeleteTransitGatewayRouteInput{TransitGatewayRouteTableId: &l.Table, DestinationCidrBlock: prefix})
	if err != nil || gone.Route.State != types.TransitGatewayRouteStateDeleted {
		t.Errorf("delete: %+v, %v", gone, err)
	}
	_, err = l.ec2.DisassociateTransitGatewayRouteTable(ctx, &ec2.DisassociateTransitGatewayRouteTableInput{TransitGatewayRouteTableId: &l.Table, TransitGatewayAttachmentId: &l.Connect})
	check(t, "disassociate", err, "")
	_, err = l.ec2.AssociateTransitGatewayRouteTable(ctx, &ec2.AssociateTransitGatewayRouteTableInput{TransitGatewayRouteTableId: &l.Table, TransitGatewayAttachmentId: &l.Connect})
	check(t, "associate", err, "")
	_, err = l.ec2.DisableTransitGatewayRouteTablePropagation(ctx, &ec2.DisableTransitGatewayRouteTablePropagationInput{TransitGatewayRouteTableId: &l.Table, TransitGatewayAttachmentId: &l.Connect})
	check(t, "disable propagation", err, "")
	_, err = l.ec2.EnableTransitGatewayRouteTablePropagation(ctx, &ec2.EnableTransitGatewayRouteTablePropagationInput{TransitGatewayRouteTableId: &l.Table, TransitGatewayAttachmentId: &l.Connect})
	check(t, "enable propagation", err, "")
	l.wantViolations(t)
}

func TestAttributesTagsAndBlocksAreChanged(t *testing.T) {
	l := newLab(t, world.ExampleOptions{})
	modify := func(in ec2.ModifyNetworkInterfaceAttributeInput) error {
		in.NetworkInterfaceId = &l.Interfaces[0]
		_, err := l.ec2.ModifyNetworkInterfaceAttribute(ctx, &in)
		return err
	}
	on := &types.AttributeBooleanValue{Value: aws.Bool(true)}
	tracking := &types.ConnectionTrackingSpecificationRequest{UdpStreamTimeout: aws.Int32(180)}
	check(t, "the check", modify(ec2.ModifyNetworkInterfaceAttributeInput{SourceDestCheck: on}), "")
	check(t, "tracking", modify(ec2.ModifyNetworkInterfaceAttributeInput{ConnectionTrackingSpecification: tracking}), "")
	check(t, "both", modify(ec2.ModifyNetworkInterfaceAttributeInput{SourceDestCheck: on, ConnectionTrackingSpecification: tracking}), "InvalidParameterCombination")
	_, err := l.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &l.Instances[1], SourceDestCheck: on})
	check(t, "the check of an instance", err, "")
	out, err := l.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: l.Interfaces})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range out.NetworkInterfaces {
		if !*n.SourceDestCheck {
			t.Errorf("%s: the check is off", *n.NetworkInterfaceId)
		}
	}
	_, err = l.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{l.Peers[0]}, Tags: []types.Tag{{Key: aws.String("owner"), Value: aws.String("me")}}})
	check(t, "tag", err, "")
	tags, err := l.ec2.DescribeTags(ctx, &ec2.DescribeTagsInput{Filters: filter("key=owner; resource-type=transit-gateway-connect-peer")})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].ResourceId != l.Peers[0] {
		t.Errorf("tags %+v, %v", tags, err)
	}
	_, err = l.ec2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: []string{l.Peers[0]}, Tags: []types.Tag{{Key: aws.String("owner")}}})
	check(t, "remove the tag", err, "")
	if n := len(l.World().Snapshot().ConnectPeers[l.Peers[0]].Tags); n != 0 {
		t.Errorf("%d tags are left", n)
	}
	_, err = l.ec2.ModifyTransitGateway(ctx, &ec2.ModifyTransitGatewayInput{
		TransitGatewayId: &l.TransitGateway, Options: &types.ModifyTransitGatewayOptions{AddTransitGatewayCidrBlocks: []string{"198.18.0.0/24"}},
	})
	check(t, "add a block", err, "")
	gateways, err := l.ec2.DescribeTransitGateways(ctx, &ec2.DescribeTransitGatewaysInput{})
	if err != nil || len(gateways.TransitGateways[0].Options.TransitGatewayCidrBlocks) != 2 {
		t.Errorf("%+v, %v; want two blocks", gateways, err)
	}
	kind, err := l.ec2.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"c6in.xlarge"}})
	if err != nil || *kind.InstanceTypes[0].NetworkInfo.NetworkCards[0].BaselineBandwidthInGbps != 6.25 {
		t.Errorf("%+v, %v; want its baseline", kind, err)
	}
	l.wantViolations(t)
}

func TestRouteServer(t *testing.T) {
	l := newLab(t, world.ExampleOptions{})
	l.World().Do(func(s *world.State) {
		up := world.Lifecycle{State: "available"}
		s.RouteServers["rs-1"] = &world.RouteServer{ID: "rs-1", VPCID: l.VPC, ASN: 64999, Lifecycle: up, PersistRoutes: "disabled"}
		s.RouteServerEndpoints["rse-1"] = &world.RouteServerEndpoint{ID: "rse-1", ServerID: "rs-1", VPCID: l.VPC, SubnetID: l.Subnets[0], Lifecycle: up, Address: netip.MustParseAddr("10.0.0.200")}
		s.RouteServerPeers["rsp-1"] = &world.RouteServerPeer{ID: "rsp-1", EndpointID: "rse-1", ServerID: "rs-1", VPCID: l.VPC, SubnetID: l.Subnets[0], Lifecycle: up, PeerAddress: l.Addresses[0], ASN: 65001, Liveness: "bfd"}
	})
	l.memory().SetRouteServerPeer("rsp-1", true, false)
	l.memory().SetRouteServer("rs-1", []world.RouteServerRoute{{
		Prefix: netip.MustParsePrefix("10.9.0.0/16"), PeerID: "rsp-1", InFIB: true, NextHop: l.Addresses[0], ASPath: []uint32{65001, 65010}, MED: 10,
		Installed: []world.Installation{{RouteTableID: l.RouteTable, Reason: "a reason"}},
	}})
	servers, err := l.ec2.DescribeRouteServers(ctx, &ec2.DescribeRouteServersInput{})
	if err != nil || *servers.RouteServers[0].AmazonSideAsn != 64999 {
		t.Errorf("servers %+v, %v", servers, err)
	}
	endpoints, err := l.ec2.DescribeRouteServerEndpoints(ctx, &ec2.DescribeRouteServerEndpointsInput{RouteServerEndpointIds: []string{"rse-1"}})
	if err != nil || *endpoints.RouteServerEndpoints[0].EniAddress != "10.0.0.200" {
		t.Errorf("endpoints %+v, %v", endpoints, err)
	}
	peers, err := l.ec2.DescribeRouteServerPeers(ctx, &ec2.DescribeRouteServerPeersInput{})
	if err != nil || len(peers.RouteServerPeers) != 1 {
		t.Fatalf("peers %+v, %v", peers, err)
	}
	if p := peers.RouteServerPeers[0]; p.BgpStatus.Status != "up" || p.BfdStatus.Status != "down" || *p.EndpointEniAddress != "10.0.0.200" || *p.BgpOptions.PeerAsn != 65001 {
		t.Errorf("peer %+v", p)
	}
	db, err := l.ec2.GetRouteServerRoutingDatabase(ctx, &ec2.GetRouteServerRoutingDatabaseInput{RouteServerId: aws.String("rs-1")})
	if err != nil || len(db.Routes) != 1 {
		t.Fatalf("routes %+v, %v", db, err)
	}
	if r := db.Routes[0]; r.RouteStatus != "in-fib" || len(r.AsPaths) != 2 || *r.Med != 10 || r.RouteInstallationDetails[0].RouteInstallationStatus != "rejected" {
		t.Errorf("route %+v", r)
	}
	_, err = l.ec2.GetRouteServerRoutingDatabase(ctx, &ec2.GetRouteServerRoutingDatabaseInput{RouteServerId: aws.String("rs-no")})
	check(t, "no such server", err, "InvalidRouteServerId.NotFound")
	l.wantViolations(t)
}
