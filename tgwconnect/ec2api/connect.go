package ec2api

import (
	"context"
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// DescribeTransitGatewayConnects lists Connect attachments.
func (c *Client) DescribeTransitGatewayConnects(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.Connect, error) {
	return list(ctx, c, "DescribeTransitGatewayConnects", connect, func(ctx context.Context, token *string) ([]types.TransitGatewayConnect, *string, error) {
		out, err := c.api().DescribeTransitGatewayConnects(ctx, &ec2.DescribeTransitGatewayConnectsInput{TransitGatewayAttachmentIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.TransitGatewayConnects, out.NextToken, nil
	})
}

func connect(t *types.TransitGatewayConnect) tgwconnect.Connect {
	out := tgwconnect.Connect{
		ID: str(t.TransitGatewayAttachmentId), TransportID: str(t.TransportTransitGatewayAttachmentId), TransitGatewayID: str(t.TransitGatewayId),
		State: string(t.State), Created: when(t.CreationTime), Tags: tags(t.Tags),
	}
	if t.Options != nil {
		out.Protocol = string(t.Options.Protocol)
	}
	return out
}

// DescribeTransitGatewayConnectPeers lists Connect peers. EC2 documents the
// filters state, transit-gateway-attachment-id and transit-gateway-connect-peer-id.
func (c *Client) DescribeTransitGatewayConnectPeers(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.Peer, error) {
	return list(ctx, c, "DescribeTransitGatewayConnectPeers", peer, func(ctx context.Context, token *string) ([]types.TransitGatewayConnectPeer, *string, error) {
		out, err := c.api().DescribeTransitGatewayConnectPeers(ctx, &ec2.DescribeTransitGatewayConnectPeersInput{TransitGatewayConnectPeerIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.TransitGatewayConnectPeers, out.NextToken, nil
	})
}

// peer translates a Connect peer. The outer and the inside addresses have the
// same two names at two levels.
func peer(p *types.TransitGatewayConnectPeer) tgwconnect.Peer {
	t := tgwconnect.Peer{
		ID: str(p.TransitGatewayConnectPeerId), AttachmentID: str(p.TransitGatewayAttachmentId), State: string(p.State),
		Created: when(p.CreationTime), Tags: tags(p.Tags),
	}
	conf := p.ConnectPeerConfiguration
	if conf == nil {
		return t
	}
	t.PeerAddress, t.TransitGatewayAddress = addr(conf.PeerAddress), addr(conf.TransitGatewayAddress)
	for i := range conf.InsideCidrBlocks {
		switch block := prefix(&conf.InsideCidrBlocks[i]); {
		case block == netip.Prefix{}:
		case block.Addr().Is4():
			t.Inside4 = block
		default:
			t.Inside6 = block
		}
	}
	for _, b := range conf.BgpConfigurations {
		t.Sessions = append(t.Sessions, tgwconnect.PeerSession{
			TransitGatewayASN: asn(b.TransitGatewayAsn), PeerASN: asn(b.PeerAsn),
			TransitGatewayAddress: addr(b.TransitGatewayAddress), PeerAddress: addr(b.PeerAddress), Up: b.BgpStatus == types.BgpStatusUp,
		})
	}
	return t
}
