package ec2api

import (
	"context"
	"net/netip"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Routes is the Client as package failover needs it.
type Routes struct{ *Client }

// DescribeRouteTables reads the named route tables of VPCs.
func (r Routes) DescribeRouteTables(ctx context.Context, ids []string) ([]tgwconnect.VPCRouteTable, error) {
	return r.Client.DescribeRouteTables(ctx, tgwconnect.ByID(ids...))
}

// SearchTransitGatewayRoutes lists the routes of a TGW route table that have
// exactly one of the prefixes.
func (r Routes) SearchTransitGatewayRoutes(ctx context.Context, table string, prefixes []netip.Prefix) ([]tgwconnect.TGWRoute, error) {
	values := make([]string, len(prefixes))
	for i, p := range prefixes {
		values[i] = p.String()
	}
	out, err := r.Client.SearchTransitGatewayRoutes(ctx, table, tgwconnect.Where("route-search.exact-match", values...))
	return out.Routes, err
}

// DeleteRoute removes an entry of a VPC route table.
func (r Routes) DeleteRoute(ctx context.Context, table string, p netip.Prefix) error {
	return r.Client.DeleteRoute(ctx, table, p, "", false)
}

// DeleteTransitGatewayRoute removes a static route of a TGW route table.
func (r Routes) DeleteTransitGatewayRoute(ctx context.Context, table string, p netip.Prefix) error {
	return r.Client.DeleteTransitGatewayRoute(ctx, table, p, false)
}
