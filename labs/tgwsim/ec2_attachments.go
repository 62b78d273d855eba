package tgwsim

import (
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func attachmentOperations() []Operation {
	return []Operation{
		Op("DescribeTransitGateways", describeGateways),
		Op("ModifyTransitGateway", modifyGateway),
		Op("DescribeTransitGatewayAttachments", describeAttachments),
		Op("DescribeTransitGatewayVpcAttachments", describeVPCAttachments),
		Op("DescribeTransitGatewayPeeringAttachments", describePeeringAttachments),
	}
}

var gateways = listing[*world.TransitGateway]{
	notFound: "InvalidTransitGatewayID.NotFound", // [TF-PEER]
	id:       func(g *world.TransitGateway) string { return g.ID },
	tags:     func(g *world.TransitGateway) world.Tags { return g.Tags },
	filters: map[string]func(*world.TransitGateway) []string{
		"owner-id":           func(g *world.TransitGateway) []string { return value(g.OwnerID) },
		"state":              func(g *world.TransitGateway) []string { return value(g.State) },
		"transit-gateway-id": func(g *world.TransitGateway) []string { return value(g.ID) },
	},
}

func describeGateways(c *Call, in *ec2.DescribeTransitGatewaysInput) (*ec2.DescribeTransitGatewaysOutput, error) {
	found, token, err := find(c, gateways, c.State.TransitGateways, query{in.TransitGatewayIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeTransitGatewaysOutput{TransitGateways: convert(found, c.gateway), NextToken: token}, err
}

func (c *Call) gateway(g *world.TransitGateway) types.TransitGateway {
	o := &types.TransitGatewayOptions{
		AmazonSideAsn: ptr(int64(g.ASN)), TransitGatewayCidrBlocks: append(prefixes(g.CIDRBlocks, is4), prefixes(g.CIDRBlocks, is6)...),
		AssociationDefaultRouteTableId: some(g.DefaultAssociation), PropagationDefaultRouteTableId: some(g.DefaultPropagation),
		DefaultRouteTableAssociation: "disable", DefaultRouteTablePropagation: "disable", VpnEcmpSupport: "disable",
		AutoAcceptSharedAttachments: "disable", DnsSupport: "enable", MulticastSupport: "disable",
	}
	if g.DefaultAssociation != "" {
		o.DefaultRouteTableAssociation = "enable"
	}
	if g.DefaultPropagation != "" {
		o.DefaultRouteTablePropagation = "enable"
	}
	if g.VPNECMP {
		o.VpnEcmpSupport = "enable"
	}
	if g.Encryption != "" {
		o.EncryptionSupport = &types.EncryptionSupport{EncryptionState: types.EncryptionStateValue(g.Encryption)}
	}
	return types.TransitGateway{
		TransitGatewayId: ptr(g.ID), TransitGatewayArn: c.arn("transit-gateway", g.ID), OwnerId: some(g.OwnerID), Description: some(g.Description),
		State: types.TransitGatewayState(g.State), CreationTime: moment(g.Created), Options: o, Tags: sdkTags(g.Tags),
	}
}

func modifyGateway(c *Call, in *ec2.ModifyTransitGatewayInput) (*ec2.ModifyTransitGatewayOutput, error) {
	id := text(in.TransitGatewayId)
	change := world.TransitGatewayChange{Description: in.Description}
	if o := in.Options; o != nil {
		var err error
		if change.AddBlocks, err = parsePrefixes("AddTransitGatewayCidrBlocks", o.AddTransitGatewayCidrBlocks); err != nil {
			return nil, err
		}
		if change.RemoveBlocks, err = parsePrefixes("RemoveTransitGatewayCidrBlocks", o.RemoveTransitGatewayCidrBlocks); err != nil {
			return nil, err
		}
		if o.AmazonSideAsn != nil {
			asn := *o.AmazonSideAsn
			if (asn < 64512 || asn > 65534) && (asn < 4200000000 || asn > 4294967294) { // [API]
				return nil, &wire.Error{Code: "InvalidParameterValue", Message: "AmazonSideAsn is out of range"}
			}
			change.ASN = ptr(uint32(asn))
		}
		change.DefaultAssociation, change.DefaultPropagation = o.AssociationDefaultRouteTableId, o.PropagationDefaultRouteTableId
		if o.DefaultRouteTableAssociation == types.DefaultRouteTableAssociationValueDisable {
			change.DefaultAssociation = ptr("")
		}
		if o.DefaultRouteTablePropagation == types.DefaultRouteTablePropagationValueDisable {
			change.DefaultPropagation = ptr("")
		}
		if o.VpnEcmpSupport != "" {
			change.VPNECMP = ptr(o.VpnEcmpSupport == types.VpnEcmpSupportValueEnable)
		}
		if o.EncryptionSupport != "" {
			change.Encryption = ptr(o.EncryptionSupport == types.EncryptionSupportOptionValueEnable)
		}
	}
	if err := c.World.ModifyTransitGateway(id, change); err != nil {
		return nil, err
	}
	c.fresh()
	out := c.gateway(c.State.TransitGateways[id])
	out.State = types.TransitGatewayStateModifying
	return &ec2.ModifyTransitGatewayOutput{TransitGateway: &out}, nil
}

// attachments are found without filters on tags: the API documents none, only
// for peering attachments.
var attachments = listing[*world.Attachment]{
	notFound: "InvalidTransitGatewayAttachmentID.NotFound", // [TF-PEER]
	id:       func(a *world.Attachment) string { return a.ID },
	filters: map[string]func(*world.Attachment) []string{ // [API]
		"association.state":                          func(a *world.Attachment) []string { return value(a.Association.State) },
		"association.transit-gateway-route-table-id": func(a *world.Attachment) []string { return value(a.TableID) },
		"resource-id":                                func(a *world.Attachment) []string { return value(a.ResourceID) },
		"resource-owner-id":                          func(a *world.Attachment) []string { return value(a.ResourceOwnerID) },
		"resource-type":                              func(a *world.Attachment) []string { return value(a.Type) },
		"state":                                      func(a *world.Attachment) []string { return value(a.State) },
		"transit-gateway-attachment-id":              func(a *world.Attachment) []string { return value(a.ID) },
		"transit-gateway-id":                         func(a *world.Attachment) []string { return value(a.TransitGatewayID) },
	},
}

// ofType are the attachments of one type.
func (c *Call) ofType(kind string) map[string]*world.Attachment {
	of := map[string]*world.Attachment{}
	for id, a := range c.State.Attachments {
		if a.Type == kind {
			of[id] = a
		}
	}
	return of
}

func describeAttachments(c *Call, in *ec2.DescribeTransitGatewayAttachmentsInput) (*ec2.DescribeTransitGatewayAttachmentsOutput, error) {
	found, token, err := find(c, attachments, c.State.Attachments, query{in.TransitGatewayAttachmentIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeTransitGatewayAttachmentsOutput{TransitGatewayAttachments: convert(found, c.attachment), NextToken: token}, err
}

func (c *Call) attachment(a *world.Attachment) types.TransitGatewayAttachment {
	out := types.TransitGatewayAttachment{
		TransitGatewayAttachmentId: ptr(a.ID), TransitGatewayId: ptr(a.TransitGatewayID), TransitGatewayOwnerId: ptr(c.State.AccountID),
		ResourceId: some(a.ResourceID), ResourceOwnerId: some(a.ResourceOwnerID), ResourceType: types.TransitGatewayAttachmentResourceType(a.Type),
		State: types.TransitGatewayAttachmentState(a.State), CreationTime: moment(a.Created), Tags: sdkTags(a.Tags),
	}
	if a.TableID != "" || a.PolicyTableID != "" {
		out.Association = &types.TransitGatewayAttachmentAssociation{
			TransitGatewayRouteTableId: some(a.TableID), TransitGatewayPolicyTableId: some(a.PolicyTableID),
			State: types.TransitGatewayAssociationState(a.Association.State),
		}
	}
	return out
}

func describeVPCAttachments(c *Call, in *ec2.DescribeTransitGatewayVpcAttachmentsInput) (*ec2.DescribeTransitGatewayVpcAttachmentsOutput, error) {
	l := attachments
	l.filters = map[string]func(*world.Attachment) []string{ // [API]
		"state":                         func(a *world.Attachment) []string { return value(a.State) },
		"transit-gateway-attachment-id": func(a *world.Attachment) []string { return value(a.ID) },
		"transit-gateway-id":            func(a *world.Attachment) []string { return value(a.TransitGatewayID) },
		"vpc-id":                        func(a *world.Attachment) []string { return value(a.ResourceID) },
	}
	found, token, err := find(c, l, c.ofType(world.TypeVPC), query{in.TransitGatewayAttachmentIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeTransitGatewayVpcAttachmentsOutput{TransitGatewayVpcAttachments: convert(found, c.vpcAttachment), NextToken: token}, err
}

func (c *Call) vpcAttachment(a *world.Attachment) types.TransitGatewayVpcAttachment {
	o := &types.TransitGatewayVpcAttachmentOptions{ApplianceModeSupport: "disable", DnsSupport: "enable", Ipv6Support: "disable", SecurityGroupReferencingSupport: "enable"}
	if a.ApplianceMode {
		o.ApplianceModeSupport = "enable"
	}
	if a.IPv6 {
		o.Ipv6Support = "enable"
	}
	return types.TransitGatewayVpcAttachment{
		TransitGatewayAttachmentId: ptr(a.ID), TransitGatewayId: ptr(a.TransitGatewayID), VpcId: ptr(a.ResourceID), VpcOwnerId: some(a.ResourceOwnerID),
		SubnetIds: a.SubnetIDs, State: types.TransitGatewayAttachmentState(a.State), CreationTime: moment(a.Created), Options: o, Tags: sdkTags(a.Tags),
	}
}

func describePeeringAttachments(c *Call, in *ec2.DescribeTransitGatewayPeeringAttachmentsInput) (*ec2.DescribeTransitGatewayPeeringAttachmentsOutput, error) {
	l := attachments
	l.tags = func(a *world.Attachment) world.Tags { return a.Tags }
	l.filters = map[string]func(*world.Attachment) []string{ // [API]
		"state":                         func(a *world.Attachment) []string { return value(a.State) },
		"transit-gateway-attachment-id": func(a *world.Attachment) []string { return value(a.ID) },
		"transit-gateway-id":            func(a *world.Attachment) []string { return value(a.TransitGatewayID) },
	}
	found, token, err := find(c, l, c.ofType(world.TypePeering), query{in.TransitGatewayAttachmentIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeTransitGatewayPeeringAttachmentsOutput{TransitGatewayPeeringAttachments: convert(found, c.peeringAttachment), NextToken: token}, err
}

func (c *Call) peeringAttachment(a *world.Attachment) types.TransitGatewayPeeringAttachment {
	owner := ptr(c.State.AccountID)
	return types.TransitGatewayPeeringAttachment{
		TransitGatewayAttachmentId: ptr(a.ID), State: types.TransitGatewayAttachmentState(a.State), CreationTime: moment(a.Created), Tags: sdkTags(a.Tags),
		RequesterTgwInfo: &types.PeeringTgwInfo{TransitGatewayId: ptr(a.TransitGatewayID), Region: ptr(c.State.Region), OwnerId: owner},
		AccepterTgwInfo:  &types.PeeringTgwInfo{TransitGatewayId: some(a.PeerTransitGatewayID), Region: some(a.PeerRegion), OwnerId: owner},
	}
}
