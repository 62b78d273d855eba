package ec2api

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// DescribeSubnets lists subnets.
func (c *Client) DescribeSubnets(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.Subnet, error) {
	return list(ctx, c, "DescribeSubnets", subnet, func(ctx context.Context, token *string) ([]types.Subnet, *string, error) {
		out, err := c.api().DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.Subnets, out.NextToken, nil
	})
}

func subnet(s *types.Subnet) tgwconnect.Subnet {
	t := tgwconnect.Subnet{ID: str(s.SubnetId), VPCID: str(s.VpcId), AZ: str(s.AvailabilityZone), AZID: str(s.AvailabilityZoneId), CIDR4: prefix(s.CidrBlock), Tags: tags(s.Tags)}
	for _, a := range s.Ipv6CidrBlockAssociationSet {
		if a.Ipv6CidrBlockState == nil || a.Ipv6CidrBlockState.State == types.SubnetCidrBlockStateCodeAssociated {
			t.CIDR6 = append(t.CIDR6, prefix(a.Ipv6CidrBlock))
		}
	}
	return t
}

// DescribeVpcs lists VPCs.
func (c *Client) DescribeVpcs(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.VPC, error) {
	return list(ctx, c, "DescribeVpcs", vpc, func(ctx context.Context, token *string) ([]types.Vpc, *string, error) {
		out, err := c.api().DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.Vpcs, out.NextToken, nil
	})
}

// vpc takes all CIDR blocks that are associated; the first one is among them.
func vpc(v *types.Vpc) tgwconnect.VPC {
	t := tgwconnect.VPC{ID: str(v.VpcId), State: string(v.State), Tags: tags(v.Tags)}
	for _, a := range v.CidrBlockAssociationSet {
		if a.CidrBlockState == nil || a.CidrBlockState.State == types.VpcCidrBlockStateCodeAssociated {
			t.CIDRs = append(t.CIDRs, prefix(a.CidrBlock))
		}
	}
	if len(t.CIDRs) == 0 && str(v.CidrBlock) != "" {
		t.CIDRs = append(t.CIDRs, prefix(v.CidrBlock))
	}
	for _, a := range v.Ipv6CidrBlockAssociationSet {
		if a.Ipv6CidrBlockState == nil || a.Ipv6CidrBlockState.State == types.VpcCidrBlockStateCodeAssociated {
			t.CIDRs = append(t.CIDRs, prefix(a.Ipv6CidrBlock))
		}
	}
	return t
}

// DescribeTags lists tags by its documented filters: key, resource-id,
// resource-type, tag:KEY, tag-key, value.
func (c *Client) DescribeTags(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.ResourceTag, error) {
	translate := func(t *types.TagDescription) tgwconnect.ResourceTag {
		return tgwconnect.ResourceTag{ResourceID: str(t.ResourceId), ResourceType: string(t.ResourceType), Key: str(t.Key), Value: str(t.Value)}
	}
	return list(ctx, c, "DescribeTags", translate, func(ctx context.Context, token *string) ([]types.TagDescription, *string, error) {
		out, err := c.api().DescribeTags(ctx, &ec2.DescribeTagsInput{Filters: filters(q), MaxResults: &c.o.PageSize, NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.Tags, out.NextToken, nil
	})
}
