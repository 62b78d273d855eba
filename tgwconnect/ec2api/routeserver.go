package ec2api

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// DescribeRouteServers lists VPC Route Servers.
func (c *Client) DescribeRouteServers(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.RouteServer, error) {
	translate := func(r *types.RouteServer) tgwconnect.RouteServer {
		return tgwconnect.RouteServer{ID: str(r.RouteServerId), State: string(r.State), ASN: asn(r.AmazonSideAsn), PersistRoutes: string(r.PersistRoutesState), Tags: tags(r.Tags)}
	}
	return list(ctx, c, "DescribeRouteServers", translate, func(ctx context.Context, token *string) ([]types.RouteServer, *string, error) {
		out, err := c.api().DescribeRouteServers(ctx, &ec2.DescribeRouteServersInput{RouteServerIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.RouteServers, out.NextToken, nil
	})
}

// DescribeRouteServerEndpoints lists endpoints of Route Servers.
func (c *Client) DescribeRouteServerEndpoints(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.RouteServerEndpoint, error) {
	translate := func(e *types.RouteServerEndpoint) tgwconnect.RouteServerEndpoint {
		return tgwconnect.RouteServerEndpoint{
			ID: str(e.RouteServerEndpointId), ServerID: str(e.RouteServerId), VPCID: str(e.VpcId), SubnetID: str(e.SubnetId),
			InterfaceID: str(e.EniId), State: string(e.State), Address: addr(e.EniAddress), FailureReason: str(e.FailureReason), Tags: tags(e.Tags),
		}
	}
	return list(ctx, c, "DescribeRouteServerEndpoints", translate, func(ctx context.Context, token *string) ([]types.RouteServerEndpoint, *string, error) {
		out, err := c.api().DescribeRouteServerEndpoints(ctx, &ec2.DescribeRouteServerEndpointsInput{RouteServerEndpointIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.RouteServerEndpoints, out.NextToken, nil
	})
}

// DescribeRouteServerPeers lists peers of Route Servers. ServerASN stays 0: it is
// the server's, see DescribeRouteServers.
func (c *Client) DescribeRouteServerPeers(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.RouteServerPeer, error) {
	return list(ctx, c, "DescribeRouteServerPeers", routeServerPeer, func(ctx context.Context, token *string) ([]types.RouteServerPeer, *string, error) {
		out, err := c.api().DescribeRouteServerPeers(ctx, &ec2.DescribeRouteServerPeersInput{RouteServerPeerIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.RouteServerPeers, out.NextToken, nil
	})
}

func routeServerPeer(p *types.RouteServerPeer) tgwconnect.RouteServerPeer {
	t := tgwconnect.RouteServerPeer{
		ID: str(p.RouteServerPeerId), EndpointID: str(p.RouteServerEndpointId), ServerID: str(p.RouteServerId), VPCID: str(p.VpcId),
		SubnetID: str(p.SubnetId), State: string(p.State), EndpointAddress: addr(p.EndpointEniAddress), PeerAddress: addr(p.PeerAddress),
		EndpointInterfaceID: str(p.EndpointEniId), FailureReason: str(p.FailureReason), Tags: tags(p.Tags),
	}
	if o := p.BgpOptions; o != nil {
		t.PeerASN, t.Liveness = asn(o.PeerAsn), string(o.PeerLivenessDetection)
	}
	t.BGPUp = p.BgpStatus != nil && p.BgpStatus.Status == types.RouteServerBgpStateUp
	t.BFDUp = p.BfdStatus != nil && p.BfdStatus.Status == types.RouteServerBfdStateUp
	return t
}

// GetRouteServerRoutingDatabase lists what a Route Server has learned and where
// it has installed it.
func (c *Client) GetRouteServerRoutingDatabase(ctx context.Context, serverID string, q tgwconnect.Query) ([]tgwconnect.RouteServerRoute, error) {
	return list(ctx, c, "GetRouteServerRoutingDatabase", routeServerRoute, func(ctx context.Context, token *string) ([]types.RouteServerRoute, *string, error) {
		out, err := c.api().GetRouteServerRoutingDatabase(ctx, &ec2.GetRouteServerRoutingDatabaseInput{RouteServerId: &serverID, Filters: filters(q), MaxResults: &c.o.PageSize, NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.Routes, out.NextToken, nil
	})
}

func routeServerRoute(r *types.RouteServerRoute) tgwconnect.RouteServerRoute {
	t := tgwconnect.RouteServerRoute{
		Prefix: prefix(r.Prefix), PeerID: str(r.RouteServerPeerId), Status: string(r.RouteStatus), NextHop: addr(r.NextHopIp), ASPath: r.AsPaths,
		MED: uint32(aws.ToInt32(r.Med)), // the API shows 32 bits as a signed number
	}
	for _, d := range r.RouteInstallationDetails {
		t.Installed = append(t.Installed, tgwconnect.RouteInstallation{
			RouteTableID: str(d.RouteTableId), Status: string(d.RouteInstallationStatus), Reason: str(d.RouteInstallationStatusReason),
		})
	}
	return t
}
