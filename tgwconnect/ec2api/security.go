package ec2api

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// DescribeSecurityGroups lists security groups.
func (c *Client) DescribeSecurityGroups(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.SecurityGroup, error) {
	translate := func(g *types.SecurityGroup) tgwconnect.SecurityGroup {
		return tgwconnect.SecurityGroup{ID: str(g.GroupId), VPCID: str(g.VpcId), Name: str(g.GroupName), Tags: tags(g.Tags)}
	}
	return list(ctx, c, "DescribeSecurityGroups", translate, func(ctx context.Context, token *string) ([]types.SecurityGroup, *string, error) {
		out, err := c.api().DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.SecurityGroups, out.NextToken, nil
	})
}

// DescribeSecurityGroupRules lists rules of security groups; the filter group-id
// chooses the groups, IDs of the query are those of rules.
func (c *Client) DescribeSecurityGroupRules(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.GroupRule, error) {
	return list(ctx, c, "DescribeSecurityGroupRules", groupRule, func(ctx context.Context, token *string) ([]types.SecurityGroupRule, *string, error) {
		out, err := c.api().DescribeSecurityGroupRules(ctx, &ec2.DescribeSecurityGroupRulesInput{SecurityGroupRuleIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.SecurityGroupRules, out.NextToken, nil
	})
}

func groupRule(r *types.SecurityGroupRule) tgwconnect.GroupRule {
	t := tgwconnect.GroupRule{
		ID: str(r.SecurityGroupRuleId), GroupID: str(r.GroupId), Egress: aws.ToBool(r.IsEgress), Protocol: str(r.IpProtocol),
		FromPort: -1, ToPort: -1, Prefix: either(r.CidrIpv4, r.CidrIpv6), PrefixListID: str(r.PrefixListId),
	}
	if r.FromPort != nil && r.ToPort != nil {
		t.FromPort, t.ToPort = int(*r.FromPort), int(*r.ToPort)
	}
	if r.ReferencedGroupInfo != nil {
		t.ReferencedGroup = str(r.ReferencedGroupInfo.GroupId)
	}
	return t
}

// DescribeNetworkAcls lists network ACLs.
func (c *Client) DescribeNetworkAcls(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.NetworkACL, error) {
	return list(ctx, c, "DescribeNetworkAcls", networkACL, func(ctx context.Context, token *string) ([]types.NetworkAcl, *string, error) {
		out, err := c.api().DescribeNetworkAcls(ctx, &ec2.DescribeNetworkAclsInput{NetworkAclIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.NetworkAcls, out.NextToken, nil
	})
}

func networkACL(a *types.NetworkAcl) tgwconnect.NetworkACL {
	t := tgwconnect.NetworkACL{ID: str(a.NetworkAclId), VPCID: str(a.VpcId), Default: aws.ToBool(a.IsDefault)}
	for _, s := range a.Associations {
		t.SubnetIDs = append(t.SubnetIDs, str(s.SubnetId))
	}
	for _, e := range a.Entries {
		entry := tgwconnect.ACLEntry{
			Number: int(aws.ToInt32(e.RuleNumber)), Egress: aws.ToBool(e.Egress), Allow: e.RuleAction == types.RuleActionAllow,
			Protocol: str(e.Protocol), Prefix: either(e.CidrBlock, e.Ipv6CidrBlock),
		}
		if e.PortRange != nil {
			entry.FromPort, entry.ToPort = int(aws.ToInt32(e.PortRange.From)), int(aws.ToInt32(e.PortRange.To))
		}
		t.Entries = append(t.Entries, entry)
	}
	return t
}
