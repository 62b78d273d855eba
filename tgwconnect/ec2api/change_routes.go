package ec2api

import (
	"context"
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// AssociateTransitGatewayRouteTable makes an attachment use a TGW route table.
func (c *Client) AssociateTransitGatewayRouteTable(ctx context.Context, tableID, attachmentID string, dryRun bool) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	_, err := c.api().AssociateTransitGatewayRouteTable(ctx, &ec2.AssociateTransitGatewayRouteTableInput{
		TransitGatewayRouteTableId: &tableID, TransitGatewayAttachmentId: &attachmentID, DryRun: dry(dryRun),
	}, c.once)
	return c.fail("AssociateTransitGatewayRouteTable", err, true)
}

// DisassociateTransitGatewayRouteTable ends that.
func (c *Client) DisassociateTransitGatewayRouteTable(ctx context.Context, tableID, attachmentID string, dryRun bool) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	_, err := c.api().DisassociateTransitGatewayRouteTable(ctx, &ec2.DisassociateTransitGatewayRouteTableInput{
		TransitGatewayRouteTableId: &tableID, TransitGatewayAttachmentId: &attachmentID, DryRun: dry(dryRun),
	}, c.once)
	return c.fail("DisassociateTransitGatewayRouteTable", err, true)
}

// EnableTransitGatewayRouteTablePropagation makes an attachment's routes appear in
// a TGW route table.
func (c *Client) EnableTransitGatewayRouteTablePropagation(ctx context.Context, tableID, attachmentID string, dryRun bool) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	_, err := c.api().EnableTransitGatewayRouteTablePropagation(ctx, &ec2.EnableTransitGatewayRouteTablePropagationInput{
		TransitGatewayRouteTableId: &tableID, TransitGatewayAttachmentId: &attachmentID, DryRun: dry(dryRun),
	}, c.once)
	return c.fail("EnableTransitGatewayRouteTablePropagation", err, true)
}

// DisableTransitGatewayRouteTablePropagation ends that.
func (c *Client) DisableTransitGatewayRouteTablePropagation(ctx context.Context, tableID, attachmentID string, dryRun bool) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	_, err := c.api().DisableTransitGatewayRouteTablePropagation(ctx, &ec2.DisableTransitGatewayRouteTablePropagationInput{
		TransitGatewayRouteTableId: &tableID, TransitGatewayAttachmentId: &attachmentID, DryRun: dry(dryRun),
	}, c.once)
	return c.fail("DisableTransitGatewayRouteTablePropagation", err, true)
}

// CreateTransitGatewayRoute makes a static route of a TGW route table.
func (c *Client) CreateTransitGatewayRoute(ctx context.Context, n tgwconnect.NewTGWRoute) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	_, err := c.api().CreateTransitGatewayRoute(ctx, &ec2.CreateTransitGatewayRouteInput{
		TransitGatewayRouteTableId: &n.RouteTableID, DestinationCidrBlock: aws.String(n.Prefix.String()),
		TransitGatewayAttachmentId: optional(n.AttachmentID), Blackhole: dry(n.Blackhole), DryRun: dry(n.DryRun),
	}, c.once)
	return c.fail("CreateTransitGatewayRoute", err, true)
}

// ReplaceTransitGatewayRoute gives a static route of a TGW route table another target.
func (c *Client) ReplaceTransitGatewayRoute(ctx context.Context, n tgwconnect.NewTGWRoute) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	_, err := c.api().ReplaceTransitGatewayRoute(ctx, &ec2.ReplaceTransitGatewayRouteInput{
		TransitGatewayRouteTableId: &n.RouteTableID, DestinationCidrBlock: aws.String(n.Prefix.String()),
		TransitGatewayAttachmentId: optional(n.AttachmentID), Blackhole: dry(n.Blackhole), DryRun: dry(n.DryRun),
	}, c.once)
	return c.fail("ReplaceTransitGatewayRoute", err, true)
}

// DeleteTransitGatewayRoute removes a static route of a TGW route table.
func (c *Client) DeleteTransitGatewayRoute(ctx context.Context, tableID string, p netip.Prefix, dryRun bool) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	_, err := c.api().DeleteTransitGatewayRoute(ctx, &ec2.DeleteTransitGatewayRouteInput{
		TransitGatewayRouteTableId: &tableID, DestinationCidrBlock: aws.String(p.String()), DryRun: dry(dryRun),
	}, c.once)
	return c.fail("DeleteTransitGatewayRoute", err, true)
}

// destination puts a prefix where EC2 wants it.
func destination(p netip.Prefix, listID string) (four, six, list *string) {
	switch {
	case listID != "":
		return nil, nil, &listID
	case p.Addr().Is4():
		return aws.String(p.String()), nil, nil
	}
	return nil, aws.String(p.String()), nil
}

// CreateRoute makes an entry of a VPC route table.
func (c *Client) CreateRoute(ctx context.Context, n tgwconnect.NewVPCRoute) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	in := &ec2.CreateRouteInput{
		RouteTableId: &n.RouteTableID, DryRun: dry(n.DryRun),
		TransitGatewayId: optional(n.Target.TransitGatewayID), NetworkInterfaceId: optional(n.Target.InterfaceID),
		InstanceId: optional(n.Target.InstanceID), GatewayId: optional(n.Target.GatewayID), CoreNetworkArn: optional(n.Target.CoreNetworkARN),
	}
	in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId = destination(n.Prefix, n.PrefixListID)
	_, err := c.api().CreateRoute(ctx, in, c.once)
	return c.fail("CreateRoute", err, true)
}

// ReplaceRoute gives an entry of a VPC route table another target.
func (c *Client) ReplaceRoute(ctx context.Context, n tgwconnect.NewVPCRoute) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	in := &ec2.ReplaceRouteInput{
		RouteTableId: &n.RouteTableID, DryRun: dry(n.DryRun),
		TransitGatewayId: optional(n.Target.TransitGatewayID), NetworkInterfaceId: optional(n.Target.InterfaceID),
		InstanceId: optional(n.Target.InstanceID), GatewayId: optional(n.Target.GatewayID), CoreNetworkArn: optional(n.Target.CoreNetworkARN),
	}
	in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId = destination(n.Prefix, n.PrefixListID)
	_, err := c.api().ReplaceRoute(ctx, in, c.once)
	return c.fail("ReplaceRoute", err, true)
}

// DeleteRoute removes an entry of a VPC route table. Its destination is a prefix,
// or the ID of a prefix list.
func (c *Client) DeleteRoute(ctx context.Context, tableID string, p netip.Prefix, prefixListID string, dryRun bool) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	in := &ec2.DeleteRouteInput{RouteTableId: &tableID, DryRun: dry(dryRun)}
	in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId = destination(p, prefixListID)
	_, err := c.api().DeleteRoute(ctx, in, c.once)
	return c.fail("DeleteRoute", err, true)
}

// optional is nil for what is not given.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
