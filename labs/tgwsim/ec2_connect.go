package tgwsim

import (
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func connectOperations() []Operation {
	return []Operation{
		Op("CreateTransitGatewayConnect", createConnect),
		Op("DeleteTransitGatewayConnect", deleteConnect),
		Op("DescribeTransitGatewayConnects", describeConnects),
		Op("CreateTransitGatewayConnectPeer", createConnectPeer),
		Op("DeleteTransitGatewayConnectPeer", deleteConnectPeer),
		Op("DescribeTransitGatewayConnectPeers", describeConnectPeers),
	}
}

func createConnect(c *Call, in *ec2.CreateTransitGatewayConnectInput) (*ec2.CreateTransitGatewayConnectOutput, error) {
	if in.Options.Protocol != types.ProtocolValueGre { // [API]
		return nil, &wire.Error{Code: "InvalidParameterValue", Message: "the protocol must be gre"}
	}
	tags, err := newTags(in.TagSpecifications, types.ResourceTypeTransitGatewayAttachment)
	if err != nil {
		return nil, err
	}
	id, err := c.World.CreateConnect(text(in.TransportTransitGatewayAttachmentId), tags)
	if err != nil {
		return nil, err
	}
	c.fresh()
	out := c.connect(c.State.Attachments[id])
	out.State = types.TransitGatewayAttachmentStatePending // whatever it became since
	return &ec2.CreateTransitGatewayConnectOutput{TransitGatewayConnect: &out}, nil
}

func deleteConnect(c *Call, in *ec2.DeleteTransitGatewayConnectInput) (*ec2.DeleteTransitGatewayConnectOutput, error) {
	id := text(in.TransitGatewayAttachmentId)
	before := c.State.Attachments[id]
	if err := c.World.DeleteConnect(id); err != nil {
		return nil, err
	}
	out := c.connect(before)
	out.State = types.TransitGatewayAttachmentStateDeleting
	return &ec2.DeleteTransitGatewayConnectOutput{TransitGatewayConnect: &out}, nil
}

func describeConnects(c *Call, in *ec2.DescribeTransitGatewayConnectsInput) (*ec2.DescribeTransitGatewayConnectsOutput, error) {
	l := attachments
	l.filters = map[string]func(*world.Attachment) []string{ // [API]
		"options.protocol":              func(*world.Attachment) []string { return []string{"gre"} },
		"state":                         func(a *world.Attachment) []string { return value(a.State) },
		"transit-gateway-attachment-id": func(a *world.Attachment) []string { return value(a.ID) },
		"transit-gateway-id":            func(a *world.Attachment) []string { return value(a.TransitGatewayID) },

		"transport-transit-gateway-attachment-id": func(a *world.Attachment) []string { return value(a.TransportID) },
	}
	found, token, err := find(c, l, c.ofType(world.TypeConnect), query{in.TransitGatewayAttachmentIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeTransitGatewayConnectsOutput{TransitGatewayConnects: convert(found, c.connect), NextToken: token}, err
}

func (c *Call) connect(a *world.Attachment) types.TransitGatewayConnect {
	return types.TransitGatewayConnect{
		TransitGatewayAttachmentId: ptr(a.ID), TransportTransitGatewayAttachmentId: ptr(a.TransportID), TransitGatewayId: ptr(a.TransitGatewayID),
		State: types.TransitGatewayAttachmentState(a.State), CreationTime: moment(a.Created), Tags: sdkTags(a.Tags),
		Options: &types.TransitGatewayConnectOptions{Protocol: types.ProtocolValueGre},
	}
}

func createConnectPeer(c *Call, in *ec2.CreateTransitGatewayConnectPeerInput) (*ec2.CreateTransitGatewayConnectPeerOutput, error) {
	tags, err := newTags(in.TagSpecifications, "transit-gateway-connect-peer")
	if err != nil {
		return nil, err
	}
	n := world.NewConnectPeer{AttachmentID: text(in.TransitGatewayAttachmentId), Tags: tags}
	if n.PeerAddress, err = parseAddr("PeerAddress", text(in.PeerAddress)); err != nil {
		return nil, err
	}
	if in.TransitGatewayAddress != nil {
		if n.TransitGatewayAddress, err = parseAddr("TransitGatewayAddress", *in.TransitGatewayAddress); err != nil {
			return nil, err
		}
	}
	if n.Inside, err = parsePrefixes("InsideCidrBlocks", in.InsideCidrBlocks); err != nil {
		return nil, err
	}
	if in.BgpOptions != nil && in.BgpOptions.PeerAsn != nil {
		asn := *in.BgpOptions.PeerAsn
		if asn < 1 || asn > 4294967295 {
			return nil, &wire.Error{Code: "InvalidParameterValue", Message: "PeerAsn is out of range"}
		}
		n.ASN = uint32(asn)
	}
	id, err := c.World.CreateConnectPeer(n)
	if err != nil {
		return nil, err
	}
	c.fresh()
	out := c.connectPeer(c.State.ConnectPeers[id])
	out.State = types.TransitGatewayConnectPeerStatePending
	return &ec2.CreateTransitGatewayConnectPeerOutput{TransitGatewayConnectPeer: &out}, nil
}

func deleteConnectPeer(c *Call, in *ec2.DeleteTransitGatewayConnectPeerInput) (*ec2.DeleteTransitGatewayConnectPeerOutput, error) {
	id := text(in.TransitGatewayConnectPeerId)
	before := c.State.ConnectPeers[id]
	if err := c.World.DeleteConnectPeer(id); err != nil {
		return nil, err
	}
	out := c.connectPeer(before)
	out.State = types.TransitGatewayConnectPeerStateDeleting
	return &ec2.DeleteTransitGatewayConnectPeerOutput{TransitGatewayConnectPeer: &out}, nil
}

// connectPeers knows only the documented filters; whether those on tags work is
// open point 8 of facts/aws.md.
var connectPeers = listing[*world.ConnectPeer]{
	notFound: "InvalidTransitGatewayConnectPeerID.NotFound", // [TF-PEER]
	id:       func(p *world.ConnectPeer) string { return p.ID },
	filters: map[string]func(*world.ConnectPeer) []string{
		"state":                           func(p *world.ConnectPeer) []string { return value(p.State) },
		"transit-gateway-attachment-id":   func(p *world.ConnectPeer) []string { return value(p.AttachmentID) },
		"transit-gateway-connect-peer-id": func(p *world.ConnectPeer) []string { return value(p.ID) },
	},
}

func describeConnectPeers(c *Call, in *ec2.DescribeTransitGatewayConnectPeersInput) (*ec2.DescribeTransitGatewayConnectPeersOutput, error) {
	found, token, err := find(c, connectPeers, c.State.ConnectPeers, query{in.TransitGatewayConnectPeerIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeTransitGatewayConnectPeersOutput{TransitGatewayConnectPeers: convert(found, c.connectPeer), NextToken: token}, err
}

func (c *Call) connectPeer(p *world.ConnectPeer) types.TransitGatewayConnectPeer {
	conf := &types.TransitGatewayConnectPeerConfiguration{
		TransitGatewayAddress: address(p.TransitGatewayAddress), PeerAddress: address(p.PeerAddress),
		Protocol: types.ProtocolValueGre, InsideCidrBlocks: []string{p.Inside4.String()},
	}
	if p.Inside6.IsValid() {
		conf.InsideCidrBlocks = append(conf.InsideCidrBlocks, p.Inside6.String())
	}
	network := c.World.Network()
	for _, speaker := range p.Speakers() {
		status := types.BgpStatusDown
		if p.State == "available" && network.SessionUp(p.ID, speaker) {
			status = types.BgpStatusUp
		}
		conf.BgpConfigurations = append(conf.BgpConfigurations, types.TransitGatewayAttachmentBgpConfiguration{
			TransitGatewayAddress: address(speaker), PeerAddress: address(p.Appliance()), BgpStatus: status,
			TransitGatewayAsn: ptr(int64(p.TransitGatewayASN)), PeerAsn: ptr(int64(p.ASN)),
		})
	}
	return types.TransitGatewayConnectPeer{
		TransitGatewayConnectPeerId: ptr(p.ID), TransitGatewayAttachmentId: ptr(p.AttachmentID), ConnectPeerConfiguration: conf,
		State: types.TransitGatewayConnectPeerState(p.State), CreationTime: moment(p.Created), Tags: sdkTags(p.Tags),
	}
}
