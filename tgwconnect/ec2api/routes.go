package ec2api

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// TGWRoutes are the routes of a TGW route table that were asked for.
type TGWRoutes struct {
	Routes []tgwconnect.TGWRoute
	// More: there are more routes than EC2 shows (AdditionalRoutesAvailable), and no
	// page leads to them; ask with narrower filters.
	More bool
}

// SearchTransitGatewayRoutes lists routes of a TGW route table. EC2 demands at
// least one filter; without any, all that are static or propagated are asked for.
func (c *Client) SearchTransitGatewayRoutes(ctx context.Context, tableID string, q tgwconnect.Query) (TGWRoutes, error) {
	if len(q.Filters) == 0 {
		q = tgwconnect.Where("type", "static", "propagated")
	}
	more := false
	routes, err := list(ctx, c, "SearchTransitGatewayRoutes", tgwRoute, func(ctx context.Context, token *string) ([]types.TransitGatewayRoute, *string, error) {
		out, err := c.api().SearchTransitGatewayRoutes(ctx, &ec2.SearchTransitGatewayRoutesInput{TransitGatewayRouteTableId: &tableID, Filters: filters(q), MaxResults: &c.o.PageSize, NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		more = aws.ToBool(out.AdditionalRoutesAvailable)
		return out.Routes, out.NextToken, nil
	})
	return TGWRoutes{routes, more}, err
}

func tgwRoute(r *types.TransitGatewayRoute) tgwconnect.TGWRoute {
	t := tgwconnect.TGWRoute{Prefix: prefix(r.DestinationCidrBlock), Type: string(r.Type), State: string(r.State), PrefixListID: str(r.PrefixListId)}
	for _, a := range r.TransitGatewayAttachments {
		t.Via = append(t.Via, tgwconnect.RouteVia{AttachmentID: str(a.TransitGatewayAttachmentId), ResourceType: string(a.ResourceType), ResourceID: str(a.ResourceId)})
	}
	return t
}

// DescribeRouteTables lists route tables of VPCs.
func (c *Client) DescribeRouteTables(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.VPCRouteTable, error) {
	return list(ctx, c, "DescribeRouteTables", vpcRouteTable, func(ctx context.Context, token *string) ([]types.RouteTable, *string, error) {
		in := &ec2.DescribeRouteTablesInput{RouteTableIds: q.IDs, Filters: filters(q), NextToken: token}
		if size := c.pageSize(q); size != nil {
			in.MaxResults = aws.Int32(min(*size, 100)) // [API]: 5 to 100
		}
		out, err := c.api().DescribeRouteTables(ctx, in)
		if err != nil {
			return nil, nil, err
		}
		return out.RouteTables, out.NextToken, nil
	})
}

func vpcRouteTable(r *types.RouteTable) tgwconnect.VPCRouteTable {
	t := tgwconnect.VPCRouteTable{ID: str(r.RouteTableId), VPCID: str(r.VpcId), Tags: tags(r.Tags)}
	for _, a := range r.Associations {
		if aws.ToBool(a.Main) {
			t.Main = true
		}
		if s := str(a.SubnetId); s != "" {
			t.SubnetIDs = append(t.SubnetIDs, s)
		}
	}
	for i := range r.Routes {
		t.Routes = append(t.Routes, vpcRoute(&r.Routes[i]))
	}
	return t
}

func vpcRoute(r *types.Route) tgwconnect.VPCRoute {
	t := tgwconnect.VPCRoute{
		Prefix: either(r.DestinationCidrBlock, r.DestinationIpv6CidrBlock), PrefixListID: str(r.DestinationPrefixListId),
		State: string(r.State), Origin: string(r.Origin),
		Target: tgwconnect.RouteTarget{
			TransitGatewayID: str(r.TransitGatewayId), InterfaceID: str(r.NetworkInterfaceId), InstanceID: str(r.InstanceId),
			GatewayID: str(r.GatewayId), CoreNetworkARN: str(r.CoreNetworkArn),
		},
	}
	for _, other := range []*string{r.CarrierGatewayId, r.EgressOnlyInternetGatewayId, r.LocalGatewayId, r.NatGatewayId, r.OdbNetworkArn, r.VpcPeeringConnectionId} {
		if s := str(other); s != "" {
			t.Target.Other = s
		}
	}
	return t
}
