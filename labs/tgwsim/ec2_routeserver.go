package tgwsim

import (
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func routeServerOperations() []Operation {
	return []Operation{
		Op("DescribeRouteServers", describeRouteServers),
		Op("DescribeRouteServerEndpoints", describeRouteServerEndpoints),
		Op("DescribeRouteServerPeers", describeRouteServerPeers),
		Op("GetRouteServerRoutingDatabase", routingDatabase),
	}
}

func describeRouteServers(c *Call, in *ec2.DescribeRouteServersInput) (*ec2.DescribeRouteServersOutput, error) {
	l := listing[*world.RouteServer]{
		notFound: "InvalidRouteServerId.NotFound", // assumed
		id:       func(r *world.RouteServer) string { return r.ID },
		filters:  map[string]func(*world.RouteServer) []string{}, // [API] documents none
	}
	found, token, err := find(c, l, c.State.RouteServers, query{in.RouteServerIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeRouteServersOutput{NextToken: token, RouteServers: convert(found, func(r *world.RouteServer) types.RouteServer {
		out := types.RouteServer{
			RouteServerId: ptr(r.ID), AmazonSideAsn: ptr(int64(r.ASN)), State: types.RouteServerState(r.State),
			PersistRoutesState: types.RouteServerPersistRoutesState(r.PersistRoutes), Tags: sdkTags(r.Tags),
		}
		if r.PersistMinutes != 0 {
			out.PersistRoutesDuration = ptr(r.PersistMinutes)
		}
		return out
	})}, err
}

func describeRouteServerEndpoints(c *Call, in *ec2.DescribeRouteServerEndpointsInput) (*ec2.DescribeRouteServerEndpointsOutput, error) {
	l := listing[*world.RouteServerEndpoint]{
		notFound: "InvalidRouteServerEndpointId.NotFound", // assumed
		id:       func(r *world.RouteServerEndpoint) string { return r.ID },
		filters:  map[string]func(*world.RouteServerEndpoint) []string{},
	}
	found, token, err := find(c, l, c.State.RouteServerEndpoints, query{in.RouteServerEndpointIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeRouteServerEndpointsOutput{NextToken: token, RouteServerEndpoints: convert(found, func(r *world.RouteServerEndpoint) types.RouteServerEndpoint {
		return types.RouteServerEndpoint{
			RouteServerEndpointId: ptr(r.ID), RouteServerId: ptr(r.ServerID), VpcId: ptr(r.VPCID), SubnetId: ptr(r.SubnetID), EniId: some(r.InterfaceID),
			EniAddress: address(r.Address), State: types.RouteServerEndpointState(r.State), FailureReason: some(r.FailureReason), Tags: sdkTags(r.Tags),
		}
	})}, err
}

func describeRouteServerPeers(c *Call, in *ec2.DescribeRouteServerPeersInput) (*ec2.DescribeRouteServerPeersOutput, error) {
	l := listing[*world.RouteServerPeer]{
		notFound: "InvalidRouteServerPeerId.NotFound", // assumed
		id:       func(r *world.RouteServerPeer) string { return r.ID },
		filters:  map[string]func(*world.RouteServerPeer) []string{},
	}
	found, token, err := find(c, l, c.State.RouteServerPeers, query{in.RouteServerPeerIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeRouteServerPeersOutput{NextToken: token, RouteServerPeers: convert(found, c.routeServerPeer)}, err
}

func (c *Call) routeServerPeer(r *world.RouteServerPeer) types.RouteServerPeer {
	bgp, bfd := c.World.Network().RouteServerSessionUp(r.ID)
	out := types.RouteServerPeer{
		RouteServerPeerId: ptr(r.ID), RouteServerEndpointId: ptr(r.EndpointID), RouteServerId: ptr(r.ServerID), VpcId: ptr(r.VPCID), SubnetId: ptr(r.SubnetID),
		State: types.RouteServerPeerState(r.State), PeerAddress: address(r.PeerAddress), FailureReason: some(r.FailureReason), Tags: sdkTags(r.Tags),
		EndpointEniId: some(r.EndpointInterface),
		BgpOptions:    &types.RouteServerBgpOptions{PeerAsn: ptr(int64(r.ASN)), PeerLivenessDetection: types.RouteServerPeerLivenessMode(r.Liveness)},
		BgpStatus:     &types.RouteServerBgpStatus{Status: types.RouteServerBgpStateDown},
		BfdStatus:     &types.RouteServerBfdStatus{Status: types.RouteServerBfdStateDown},
	}
	if bgp {
		out.BgpStatus.Status = types.RouteServerBgpStateUp
	}
	if bfd {
		out.BfdStatus.Status = types.RouteServerBfdStateUp
	}
	if e := c.State.RouteServerEndpoints[r.EndpointID]; e != nil {
		out.EndpointEniAddress = address(e.Address)
	}
	return out
}

func routingDatabase(c *Call, in *ec2.GetRouteServerRoutingDatabaseInput) (*ec2.GetRouteServerRoutingDatabaseOutput, error) {
	id := text(in.RouteServerId)
	if c.State.RouteServers[id] == nil {
		return nil, &wire.Error{Code: "InvalidRouteServerId.NotFound", Message: "The route server ID '" + id + "' does not exist"}
	}
	l := listing[world.RouteServerRoute]{
		id:      func(r world.RouteServerRoute) string { return r.Prefix.String() + " " + r.PeerID },
		filters: map[string]func(world.RouteServerRoute) []string{},
	}
	all := map[string]world.RouteServerRoute{}
	for _, r := range c.World.Network().RouteServerDatabase(id) {
		all[l.id(r)] = r
	}
	found, token, err := find(c, l, all, query{nil, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.GetRouteServerRoutingDatabaseOutput{AreRoutesPersisted: ptr(false), NextToken: token, Routes: convert(found, c.serverRoute)}, err
}

func (c *Call) serverRoute(r world.RouteServerRoute) types.RouteServerRoute {
	out := types.RouteServerRoute{
		Prefix: ptr(r.Prefix.String()), RouteServerPeerId: ptr(r.PeerID), NextHopIp: address(r.NextHop), Med: ptr(int32(r.MED)),
		RouteStatus: types.RouteServerRouteStatusInRib,
		AsPaths:     convert(r.ASPath, func(asn uint32) string { return strconv.FormatUint(uint64(asn), 10) }),
		RouteInstallationDetails: convert(r.Installed, func(i world.Installation) types.RouteServerRouteInstallationDetail {
			d := types.RouteServerRouteInstallationDetail{
				RouteTableId: ptr(i.RouteTableID), RouteInstallationStatus: types.RouteServerRouteInstallationStatusRejected, RouteInstallationStatusReason: some(i.Reason),
			}
			if i.Installed {
				d.RouteInstallationStatus = types.RouteServerRouteInstallationStatusInstalled
			}
			return d
		}),
	}
	if r.InFIB {
		out.RouteStatus = types.RouteServerRouteStatusInFib
	}
	if p := c.State.RouteServerPeers[r.PeerID]; p != nil {
		out.RouteServerEndpointId = ptr(p.EndpointID)
	}
	return out
}
