package tgwsim_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func TestConnectPeerIsMadeFoundAndRemoved(t *testing.T) {
	l := newLab(t, world.ExampleOptions{NoPeers: true})
	connect, err := l.ec2.CreateTransitGatewayConnect(ctx, &ec2.CreateTransitGatewayConnectInput{
		TransportTransitGatewayAttachmentId: &l.VPCAttachment, Options: &types.CreateTransitGatewayConnectRequestOptions{Protocol: types.ProtocolValueGre},
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeTransitGatewayAttachment, Tags: []types.Tag{{Key: aws.String("owner"), Value: aws.String("wgbgp")}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := connect.TransitGatewayConnect.State; got != types.TransitGatewayAttachmentStatePending {
		t.Errorf("a new attachment is %s, want pending", got)
	}
	attachment := connect.TransitGatewayConnect.TransitGatewayAttachmentId
	create := &ec2.CreateTransitGatewayConnectPeerInput{
		TransitGatewayAttachmentId: attachment, PeerAddress: aws.String("10.0.0.10"), InsideCidrBlocks: []string{"169.254.100.0/29", "fd00:100::/125"},
		BgpOptions: &types.TransitGatewayConnectRequestBgpOptions{PeerAsn: aws.Int64(65001)},
	}
	if _, err := l.ec2.DescribeTransitGatewayConnects(ctx, &ec2.DescribeTransitGatewayConnectsInput{TransitGatewayAttachmentIds: []string{*attachment}}); err != nil {
		t.Fatal(err)
	}
	made, err := l.ec2.CreateTransitGatewayConnectPeer(ctx, create)
	if err != nil {
		t.Fatal(err)
	}
	peer := made.TransitGatewayConnectPeer
	if got := *peer.ConnectPeerConfiguration.TransitGatewayAddress; got != "192.0.2.1" {
		t.Errorf("TGW address %s, want the first of its CIDR block", got)
	}
	if _, err := l.ec2.CreateTransitGatewayConnectPeer(ctx, create); code(err) != "InvalidParameterValue" {
		t.Errorf("the same inside CIDR block again: %v, want InvalidParameterValue", err)
	}
	l.World().Network().(*world.Memory).SetSessions(*peer.TransitGatewayConnectPeerId, true, false)
	found, err := l.ec2.DescribeTransitGatewayConnectPeers(ctx, &ec2.DescribeTransitGatewayConnectPeersInput{
		Filters: []types.Filter{{Name: aws.String("transit-gateway-attachment-id"), Values: []string{*attachment}}},
	})
	if err != nil || len(found.TransitGatewayConnectPeers) != 1 {
		t.Fatalf("found %+v, %v; want one peer", found, err)
	}
	conf := found.TransitGatewayConnectPeers[0].ConnectPeerConfiguration.BgpConfigurations
	if len(conf) != 2 || *conf[0].TransitGatewayAddress != "169.254.100.2" || conf[0].BgpStatus != types.BgpStatusUp || conf[1].BgpStatus != types.BgpStatusDown {
		t.Errorf("sessions %+v, want .2 up and .3 down", conf)
	}
	if _, err := l.ec2.DeleteTransitGatewayConnect(ctx, &ec2.DeleteTransitGatewayConnectInput{TransitGatewayAttachmentId: attachment}); code(err) != "DependencyViolation" {
		t.Errorf("delete an attachment with a peer: %v, want DependencyViolation", err)
	}
	if _, err := l.ec2.DeleteTransitGatewayConnectPeer(ctx, &ec2.DeleteTransitGatewayConnectPeerInput{TransitGatewayConnectPeerId: peer.TransitGatewayConnectPeerId}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ec2.DeleteTransitGatewayConnect(ctx, &ec2.DeleteTransitGatewayConnectInput{TransitGatewayAttachmentId: attachment}); err != nil {
		t.Fatal(err)
	}
	if n := len(l.Calls("Create*")); n != 3 {
		t.Errorf("%d creating calls in the log, want 3", n)
	}
}
