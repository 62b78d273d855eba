package ec2api

import (
	"context"
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// CreateTransitGatewayConnect makes a Connect attachment (GRE) on a VPC attachment.
func (c *Client) CreateTransitGatewayConnect(ctx context.Context, n tgwconnect.NewConnect) (tgwconnect.Connect, error) {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	out, err := c.api().CreateTransitGatewayConnect(ctx, &ec2.CreateTransitGatewayConnectInput{
		TransportTransitGatewayAttachmentId: &n.TransportID, DryRun: dry(n.DryRun),
		Options:           &types.CreateTransitGatewayConnectRequestOptions{Protocol: types.ProtocolValueGre},
		TagSpecifications: tagSpecifications(types.ResourceTypeTransitGatewayAttachment, n.Tags),
	}, c.once)
	if err != nil || out.TransitGatewayConnect == nil {
		return tgwconnect.Connect{}, c.fail("CreateTransitGatewayConnect", err, true)
	}
	return connect(out.TransitGatewayConnect), nil
}

// DeleteTransitGatewayConnect removes a Connect attachment, whose peers are gone.
func (c *Client) DeleteTransitGatewayConnect(ctx context.Context, id string, dryRun bool) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	_, err := c.api().DeleteTransitGatewayConnect(ctx, &ec2.DeleteTransitGatewayConnectInput{TransitGatewayAttachmentId: &id, DryRun: dry(dryRun)}, c.once)
	return c.fail("DeleteTransitGatewayConnect", err, true)
}

// CreateTransitGatewayConnectPeer makes a Connect peer.
func (c *Client) CreateTransitGatewayConnectPeer(ctx context.Context, n tgwconnect.NewPeer) (tgwconnect.Peer, error) {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	in := &ec2.CreateTransitGatewayConnectPeerInput{
		TransitGatewayAttachmentId: &n.AttachmentID, PeerAddress: aws.String(n.PeerAddress.String()), DryRun: dry(n.DryRun),
		TagSpecifications: tagSpecifications(types.ResourceTypeTransitGatewayConnectPeer, n.Tags),
	}
	if n.TransitGatewayAddress.IsValid() {
		in.TransitGatewayAddress = aws.String(n.TransitGatewayAddress.String())
	}
	for _, block := range []netip.Prefix{n.Inside4, n.Inside6} {
		if block.IsValid() {
			in.InsideCidrBlocks = append(in.InsideCidrBlocks, block.String())
		}
	}
	if n.PeerASN != 0 {
		in.BgpOptions = &types.TransitGatewayConnectRequestBgpOptions{PeerAsn: aws.Int64(int64(n.PeerASN))}
	}
	out, err := c.api().CreateTransitGatewayConnectPeer(ctx, in, c.once)
	if err != nil || out.TransitGatewayConnectPeer == nil {
		return tgwconnect.Peer{}, c.fail("CreateTransitGatewayConnectPeer", err, true)
	}
	return peer(out.TransitGatewayConnectPeer), nil
}

// DeleteTransitGatewayConnectPeer removes a Connect peer.
func (c *Client) DeleteTransitGatewayConnectPeer(ctx context.Context, id string, dryRun bool) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	_, err := c.api().DeleteTransitGatewayConnectPeer(ctx, &ec2.DeleteTransitGatewayConnectPeerInput{TransitGatewayConnectPeerId: &id, DryRun: dry(dryRun)}, c.once)
	return c.fail("DeleteTransitGatewayConnectPeer", err, true)
}

// ModifyTransitGateway adds CIDR blocks to a Transit Gateway and removes others.
func (c *Client) ModifyTransitGateway(ctx context.Context, id string, add, remove []netip.Prefix, dryRun bool) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	o := &types.ModifyTransitGatewayOptions{}
	for _, p := range add {
		o.AddTransitGatewayCidrBlocks = append(o.AddTransitGatewayCidrBlocks, p.String())
	}
	for _, p := range remove {
		o.RemoveTransitGatewayCidrBlocks = append(o.RemoveTransitGatewayCidrBlocks, p.String())
	}
	_, err := c.api().ModifyTransitGateway(ctx, &ec2.ModifyTransitGatewayInput{TransitGatewayId: &id, Options: o, DryRun: dry(dryRun)}, c.once)
	return c.fail("ModifyTransitGateway", err, true)
}

func dry(run bool) *bool {
	if !run {
		return nil
	}
	return &run
}

func tagSpecifications(of types.ResourceType, t tgwconnect.Tags) []types.TagSpecification {
	if len(t) == 0 {
		return nil
	}
	return []types.TagSpecification{{ResourceType: of, Tags: sdkTags(t)}}
}
