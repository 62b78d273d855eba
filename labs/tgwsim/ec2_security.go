package tgwsim

import (
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func securityOperations() []Operation {
	return []Operation{
		Op("DescribeSecurityGroups", describeGroups),
		Op("DescribeSecurityGroupRules", describeGroupRules),
		Op("DescribeNetworkAcls", describeACLs),
	}
}

func describeGroups(c *Call, in *ec2.DescribeSecurityGroupsInput) (*ec2.DescribeSecurityGroupsOutput, error) {
	if len(in.GroupIds)+len(in.GroupNames)+len(in.Filters) == 0 && in.MaxResults == nil {
		if err := c.takeUnfiltered(); err != nil {
			return nil, err
		}
	}
	l := listing[*world.SecurityGroup]{
		notFound: "InvalidGroup.NotFound", // [ERR]
		id:       func(g *world.SecurityGroup) string { return g.ID },
		tags:     func(g *world.SecurityGroup) world.Tags { return g.Tags },
		filters: map[string]func(*world.SecurityGroup) []string{
			"group-id":   func(g *world.SecurityGroup) []string { return value(g.ID) },
			"group-name": func(g *world.SecurityGroup) []string { return value(g.Name) },
			"vpc-id":     func(g *world.SecurityGroup) []string { return value(g.VPCID) },
		},
	}
	filters := in.Filters
	if len(in.GroupNames) > 0 {
		filters = append(filters, types.Filter{Name: ptr("group-name"), Values: in.GroupNames})
	}
	found, token, err := find(c, l, c.State.SecurityGroups, query{in.GroupIds, filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeSecurityGroupsOutput{SecurityGroups: convert(found, c.securityGroup), NextToken: token}, err
}

func (c *Call) securityGroup(g *world.SecurityGroup) types.SecurityGroup {
	out := types.SecurityGroup{
		GroupId: ptr(g.ID), GroupName: ptr(g.Name), Description: ptr(g.Name), VpcId: ptr(g.VPCID), OwnerId: ptr(c.State.AccountID),
		SecurityGroupArn: c.arn("security-group", g.ID), Tags: sdkTags(g.Tags),
	}
	for _, r := range g.Rules {
		p := types.IpPermission{IpProtocol: ptr(r.Protocol)}
		if r.From != -1 || r.To != -1 {
			p.FromPort, p.ToPort = ptr(r.From), ptr(r.To)
		}
		switch {
		case r.PrefixListID != "":
			p.PrefixListIds = []types.PrefixListId{{PrefixListId: ptr(r.PrefixListID)}}
		case r.GroupID != "":
			p.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: ptr(r.GroupID), UserId: ptr(c.State.AccountID)}}
		case is4(r.Prefix):
			p.IpRanges = []types.IpRange{{CidrIp: ptr(r.Prefix.String())}}
		default:
			p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: ptr(r.Prefix.String())}}
		}
		if r.Egress {
			out.IpPermissionsEgress = append(out.IpPermissionsEgress, p)
		} else {
			out.IpPermissions = append(out.IpPermissions, p)
		}
	}
	return out
}

// groupRule is a rule with the group that it is of.
type groupRule struct {
	world.GroupRule
	group string
}

func describeGroupRules(c *Call, in *ec2.DescribeSecurityGroupRulesInput) (*ec2.DescribeSecurityGroupRulesOutput, error) {
	l := listing[groupRule]{
		notFound: "InvalidSecurityGroupRuleId.NotFound", // [ERR]
		id:       func(r groupRule) string { return r.ID },
		filters: map[string]func(groupRule) []string{ // [API]
			"group-id":               func(r groupRule) []string { return value(r.group) },
			"security-group-rule-id": func(r groupRule) []string { return value(r.ID) },
		},
	}
	rules := map[string]groupRule{}
	for id, g := range c.State.SecurityGroups {
		for _, r := range g.Rules {
			rules[r.ID] = groupRule{r, id}
		}
	}
	found, token, err := find(c, l, rules, query{in.SecurityGroupRuleIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeSecurityGroupRulesOutput{SecurityGroupRules: convert(found, c.rule), NextToken: token}, err
}

func (c *Call) rule(r groupRule) types.SecurityGroupRule {
	out := types.SecurityGroupRule{
		SecurityGroupRuleId: ptr(r.ID), GroupId: ptr(r.group), GroupOwnerId: ptr(c.State.AccountID), IsEgress: ptr(r.Egress),
		IpProtocol: ptr(r.Protocol), FromPort: ptr(r.From), ToPort: ptr(r.To), PrefixListId: some(r.PrefixListID),
		SecurityGroupRuleArn: c.arn("security-group-rule", r.ID),
	}
	switch {
	case r.GroupID != "":
		out.ReferencedGroupInfo = &types.ReferencedSecurityGroup{GroupId: ptr(r.GroupID), UserId: ptr(c.State.AccountID)}
	case r.Prefix.IsValid() && is4(r.Prefix):
		out.CidrIpv4 = ptr(r.Prefix.String())
	case r.Prefix.IsValid():
		out.CidrIpv6 = ptr(r.Prefix.String())
	}
	return out
}

func describeACLs(c *Call, in *ec2.DescribeNetworkAclsInput) (*ec2.DescribeNetworkAclsOutput, error) {
	l := listing[*world.NetworkACL]{
		notFound: "InvalidNetworkAclID.NotFound", // [ERR]
		id:       func(a *world.NetworkACL) string { return a.ID },
		tags:     func(a *world.NetworkACL) world.Tags { return a.Tags },
		filters: map[string]func(*world.NetworkACL) []string{
			"association.subnet-id": func(a *world.NetworkACL) []string { return a.SubnetIDs },
			"default":               func(a *world.NetworkACL) []string { return truth(a.Default) },
			"network-acl-id":        func(a *world.NetworkACL) []string { return value(a.ID) },
			"vpc-id":                func(a *world.NetworkACL) []string { return value(a.VPCID) },
		},
	}
	found, token, err := find(c, l, c.State.NetworkACLs, query{in.NetworkAclIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeNetworkAclsOutput{NetworkAcls: convert(found, c.networkACL), NextToken: token}, err
}

func (c *Call) networkACL(a *world.NetworkACL) types.NetworkAcl {
	return types.NetworkAcl{
		NetworkAclId: ptr(a.ID), VpcId: ptr(a.VPCID), IsDefault: ptr(a.Default), OwnerId: ptr(c.State.AccountID), Tags: sdkTags(a.Tags),
		Associations: convert(a.SubnetIDs, func(id string) types.NetworkAclAssociation {
			return types.NetworkAclAssociation{NetworkAclAssociationId: ptr("aclassoc-" + id), NetworkAclId: ptr(a.ID), SubnetId: ptr(id)}
		}),
		Entries: convert(a.Entries, func(e world.ACLEntry) types.NetworkAclEntry {
			out := types.NetworkAclEntry{RuleNumber: ptr(e.Number), Egress: ptr(e.Egress), Protocol: ptr(e.Protocol), RuleAction: types.RuleActionDeny}
			if e.Allow {
				out.RuleAction = types.RuleActionAllow
			}
			if is4(e.Prefix) {
				out.CidrBlock = ptr(e.Prefix.String())
			} else {
				out.Ipv6CidrBlock = ptr(e.Prefix.String())
			}
			if e.From != 0 || e.To != 0 {
				out.PortRange = &types.PortRange{From: ptr(e.From), To: ptr(e.To)}
			}
			return out
		}),
	}
}
