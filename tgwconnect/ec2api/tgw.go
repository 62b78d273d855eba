package ec2api

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// DescribeTransitGateways lists Transit Gateways.
func (c *Client) DescribeTransitGateways(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.TransitGateway, error) {
	return list(ctx, c, "DescribeTransitGateways", transitGateway, func(ctx context.Context, token *string) ([]types.TransitGateway, *string, error) {
		out, err := c.api().DescribeTransitGateways(ctx, &ec2.DescribeTransitGatewaysInput{TransitGatewayIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.TransitGateways, out.NextToken, nil
	})
}

func transitGateway(g *types.TransitGateway) tgwconnect.TransitGateway {
	t := tgwconnect.TransitGateway{ID: str(g.TransitGatewayId), OwnerID: str(g.OwnerId), State: string(g.State), Tags: tags(g.Tags)}
	o := g.Options
	if o == nil {
		return t
	}
	t.ASN, t.VPNECMP = asn(o.AmazonSideAsn), o.VpnEcmpSupport == types.VpnEcmpSupportValueEnable
	if o.DefaultRouteTableAssociation == types.DefaultRouteTableAssociationValueEnable {
		t.DefaultAssociation = str(o.AssociationDefaultRouteTableId)
	}
	if o.DefaultRouteTablePropagation == types.DefaultRouteTablePropagationValueEnable {
		t.DefaultPropagation = str(o.PropagationDefaultRouteTableId)
	}
	for i := range o.TransitGatewayCidrBlocks {
		t.CIDRBlocks = append(t.CIDRBlocks, prefix(&o.TransitGatewayCidrBlocks[i]))
	}
	if o.EncryptionSupport != nil {
		t.EncryptionState = string(o.EncryptionSupport.EncryptionState)
	}
	return t
}

// DescribeTransitGatewayAttachments lists attachments of all kinds.
func (c *Client) DescribeTransitGatewayAttachments(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.Attachment, error) {
	return list(ctx, c, "DescribeTransitGatewayAttachments", attachment, func(ctx context.Context, token *string) ([]types.TransitGatewayAttachment, *string, error) {
		out, err := c.api().DescribeTransitGatewayAttachments(ctx, &ec2.DescribeTransitGatewayAttachmentsInput{TransitGatewayAttachmentIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.TransitGatewayAttachments, out.NextToken, nil
	})
}

func attachment(a *types.TransitGatewayAttachment) tgwconnect.Attachment {
	t := tgwconnect.Attachment{
		ID: str(a.TransitGatewayAttachmentId), TransitGatewayID: str(a.TransitGatewayId), ResourceType: string(a.ResourceType),
		ResourceID: str(a.ResourceId), ResourceOwnerID: str(a.ResourceOwnerId), State: string(a.State), Created: when(a.CreationTime), Tags: tags(a.Tags),
	}
	if s := a.Association; s != nil {
		t.RouteTableID, t.PolicyTableID, t.AssociationState = str(s.TransitGatewayRouteTableId), str(s.TransitGatewayPolicyTableId), string(s.State)
	}
	return t
}

// DescribeTransitGatewayVpcAttachments lists VPC attachments with their subnets and options.
func (c *Client) DescribeTransitGatewayVpcAttachments(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.VPCAttachment, error) {
	return list(ctx, c, "DescribeTransitGatewayVpcAttachments", vpcAttachment, func(ctx context.Context, token *string) ([]types.TransitGatewayVpcAttachment, *string, error) {
		out, err := c.api().DescribeTransitGatewayVpcAttachments(ctx, &ec2.DescribeTransitGatewayVpcAttachmentsInput{TransitGatewayAttachmentIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.TransitGatewayVpcAttachments, out.NextToken, nil
	})
}

func vpcAttachment(a *types.TransitGatewayVpcAttachment) tgwconnect.VPCAttachment {
	t := tgwconnect.VPCAttachment{
		ID: str(a.TransitGatewayAttachmentId), TransitGatewayID: str(a.TransitGatewayId), VPCID: str(a.VpcId), State: string(a.State),
		SubnetIDs: a.SubnetIds, Tags: tags(a.Tags),
	}
	if o := a.Options; o != nil {
		t.ApplianceMode, t.IPv6 = o.ApplianceModeSupport == types.ApplianceModeSupportValueEnable, o.Ipv6Support == types.Ipv6SupportValueEnable
	}
	return t
}

// DescribeTransitGatewayRouteTables lists route tables of Transit Gateways.
func (c *Client) DescribeTransitGatewayRouteTables(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.TGWRouteTable, error) {
	return list(ctx, c, "DescribeTransitGatewayRouteTables", tgwRouteTable, func(ctx context.Context, token *string) ([]types.TransitGatewayRouteTable, *string, error) {
		out, err := c.api().DescribeTransitGatewayRouteTables(ctx, &ec2.DescribeTransitGatewayRouteTablesInput{TransitGatewayRouteTableIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.TransitGatewayRouteTables, out.NextToken, nil
	})
}

func tgwRouteTable(t *types.TransitGatewayRouteTable) tgwconnect.TGWRouteTable {
	return tgwconnect.TGWRouteTable{
		ID: str(t.TransitGatewayRouteTableId), TransitGatewayID: str(t.TransitGatewayId), State: string(t.State),
		DefaultAssociation: aws.ToBool(t.DefaultAssociationRouteTable), DefaultPropagation: aws.ToBool(t.DefaultPropagationRouteTable), Tags: tags(t.Tags),
	}
}

// GetTransitGatewayRouteTableAssociations lists which attachments use a TGW route
// table. IDs of the query are not used.
func (c *Client) GetTransitGatewayRouteTableAssociations(ctx context.Context, tableID string, q tgwconnect.Query) ([]tgwconnect.Association, error) {
	translate := func(a *types.TransitGatewayRouteTableAssociation) tgwconnect.Association {
		return tgwconnect.Association{
			RouteTableID: tableID, AttachmentID: str(a.TransitGatewayAttachmentId), State: string(a.State),
			ResourceType: string(a.ResourceType), ResourceID: str(a.ResourceId),
		}
	}
	return list(ctx, c, "GetTransitGatewayRouteTableAssociations", translate, func(ctx context.Context, token *string) ([]types.TransitGatewayRouteTableAssociation, *string, error) {
		out, err := c.api().GetTransitGatewayRouteTableAssociations(ctx, &ec2.GetTransitGatewayRouteTableAssociationsInput{TransitGatewayRouteTableId: &tableID, Filters: filters(q), MaxResults: &c.o.PageSize, NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.Associations, out.NextToken, nil
	})
}

// GetTransitGatewayRouteTablePropagations lists which attachments propagate into
// a TGW route table. IDs of the query are not used.
func (c *Client) GetTransitGatewayRouteTablePropagations(ctx context.Context, tableID string, q tgwconnect.Query) ([]tgwconnect.Propagation, error) {
	translate := func(p *types.TransitGatewayRouteTablePropagation) tgwconnect.Propagation {
		return tgwconnect.Propagation{
			RouteTableID: tableID, AttachmentID: str(p.TransitGatewayAttachmentId), State: string(p.State),
			ResourceType: string(p.ResourceType), ResourceID: str(p.ResourceId),
		}
	}
	return list(ctx, c, "GetTransitGatewayRouteTablePropagations", translate, func(ctx context.Context, token *string) ([]types.TransitGatewayRouteTablePropagation, *string, error) {
		out, err := c.api().GetTransitGatewayRouteTablePropagations(ctx, &ec2.GetTransitGatewayRouteTablePropagationsInput{TransitGatewayRouteTableId: &tableID, Filters: filters(q), MaxResults: &c.o.PageSize, NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.TransitGatewayRouteTablePropagations, out.NextToken, nil
	})
}

// GetTransitGatewayAttachmentPropagations lists the TGW route tables that an
// attachment propagates into.
func (c *Client) GetTransitGatewayAttachmentPropagations(ctx context.Context, attachmentID string) ([]tgwconnect.Propagation, error) {
	translate := func(p *types.TransitGatewayAttachmentPropagation) tgwconnect.Propagation {
		return tgwconnect.Propagation{RouteTableID: str(p.TransitGatewayRouteTableId), AttachmentID: attachmentID, State: string(p.State)}
	}
	return list(ctx, c, "GetTransitGatewayAttachmentPropagations", translate, func(ctx context.Context, token *string) ([]types.TransitGatewayAttachmentPropagation, *string, error) {
		out, err := c.api().GetTransitGatewayAttachmentPropagations(ctx, &ec2.GetTransitGatewayAttachmentPropagationsInput{TransitGatewayAttachmentId: &attachmentID, MaxResults: &c.o.PageSize, NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.TransitGatewayAttachmentPropagations, out.NextToken, nil
	})
}
