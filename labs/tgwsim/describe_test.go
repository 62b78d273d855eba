package tgwsim_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// filter reads "name=value,value; name=value".
func filter(text string) (fs []types.Filter) {
	for part := range strings.SplitSeq(text, "; ") {
		name, values, ok := strings.Cut(part, "=")
		if ok {
			fs = append(fs, types.Filter{Name: &name, Values: strings.Split(values, ",")})
		}
	}
	return fs
}

func ids[T any](list []T, id func(T) *string) string {
	var found []string
	for _, v := range list {
		found = append(found, *id(v))
	}
	return strings.Join(found, " ")
}

func TestWhatDescribeFinds(t *testing.T) {
	l := newLab(t, world.ExampleOptions{})
	l.World().Do(func(s *world.State) {
		a := &world.Attachment{ID: "tgw-attach-peering", TransitGatewayID: l.TransitGateway, Type: world.TypePeering, Lifecycle: world.Lifecycle{State: "available"}, ResourceID: "tgw-far", PeerTransitGatewayID: "tgw-far", PeerRegion: "eu-west-1"}
		s.Attachments[a.ID] = a
	})
	rules := l.World().Snapshot().SecurityGroups[l.Group].Rules
	find := map[string]func(id, filters string) string{
		"gateway": func(id, f string) string {
			out, err := l.ec2.DescribeTransitGateways(ctx, &ec2.DescribeTransitGatewaysInput{TransitGatewayIds: one(id), Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.TransitGateways, func(v types.TransitGateway) *string { return v.TransitGatewayId })
			})
		},
		"attachment": func(id, f string) string {
			out, err := l.ec2.DescribeTransitGatewayAttachments(ctx, &ec2.DescribeTransitGatewayAttachmentsInput{TransitGatewayAttachmentIds: one(id), Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.TransitGatewayAttachments, func(v types.TransitGatewayAttachment) *string { return v.TransitGatewayAttachmentId })
			})
		},
		"vpc-attachment": func(id, f string) string {
			out, err := l.ec2.DescribeTransitGatewayVpcAttachments(ctx, &ec2.DescribeTransitGatewayVpcAttachmentsInput{TransitGatewayAttachmentIds: one(id), Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.TransitGatewayVpcAttachments, func(v types.TransitGatewayVpcAttachment) *string { return v.TransitGatewayAttachmentId })
			})
		},
		"peering": func(id, f string) string {
			out, err := l.ec2.DescribeTransitGatewayPeeringAttachments(ctx, &ec2.DescribeTransitGatewayPeeringAttachmentsInput{TransitGatewayAttachmentIds: one(id), Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.TransitGatewayPeeringAttachments, func(v types.TransitGatewayPeeringAttachment) *string { return v.AccepterTgwInfo.TransitGatewayId })
			})
		},
		"connect": func(id, f string) string {
			out, err := l.ec2.DescribeTransitGatewayConnects(ctx, &ec2.DescribeTransitGatewayConnectsInput{TransitGatewayAttachmentIds: one(id), Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.TransitGatewayConnects, func(v types.TransitGatewayConnect) *string { return v.TransitGatewayAttachmentId })
			})
		},
		"peer": func(id, f string) string {
			out, err := l.ec2.DescribeTransitGatewayConnectPeers(ctx, &ec2.DescribeTransitGatewayConnectPeersInput{TransitGatewayConnectPeerIds: one(id), Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.TransitGatewayConnectPeers, func(v types.TransitGatewayConnectPeer) *string { return v.TransitGatewayConnectPeerId })
			})
		},
		"table": func(id, f string) string {
			out, err := l.ec2.DescribeTransitGatewayRouteTables(ctx, &ec2.DescribeTransitGatewayRouteTablesInput{TransitGatewayRouteTableIds: one(id), Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.TransitGatewayRouteTables, func(v types.TransitGatewayRouteTable) *string { return v.TransitGatewayRouteTableId })
			})
		},
		"association": func(id, f string) string {
			out, err := l.ec2.GetTransitGatewayRouteTableAssociations(ctx, &ec2.GetTransitGatewayRouteTableAssociationsInput{TransitGatewayRouteTableId: &id, Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.Associations, func(v types.TransitGatewayRouteTableAssociation) *string { return v.TransitGatewayAttachmentId })
			})
		},
		"propagation": func(id, f string) string {
			out, err := l.ec2.GetTransitGatewayRouteTablePropagations(ctx, &ec2.GetTransitGatewayRouteTablePropagationsInput{TransitGatewayRouteTableId: &id, Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.TransitGatewayRouteTablePropagations, func(v types.TransitGatewayRouteTablePropagation) *string { return v.TransitGatewayAttachmentId })
			})
		},
		"propagates": func(id, f string) string {
			out, err := l.ec2.GetTransitGatewayAttachmentPropagations(ctx, &ec2.GetTransitGatewayAttachmentPropagationsInput{TransitGatewayAttachmentId: &id, Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.TransitGatewayAttachmentPropagations, func(v types.TransitGatewayAttachmentPropagation) *string { return v.TransitGatewayRouteTableId })
			})
		},
		"vpc": func(id, f string) string {
			out, err := l.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: one(id), Filters: filter(f)})
			return found(out, err, func() string { return ids(out.Vpcs, func(v types.Vpc) *string { return v.VpcId }) })
		},
		"subnet": func(id, f string) string {
			out, err := l.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: one(id), Filters: filter(f)})
			return found(out, err, func() string { return ids(out.Subnets, func(v types.Subnet) *string { return v.SubnetId }) })
		},
		"route-table": func(id, f string) string {
			out, err := l.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{RouteTableIds: one(id), Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.RouteTables, func(v types.RouteTable) *string { return v.RouteTableId })
			})
		},
		"interface": func(id, f string) string {
			out, err := l.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: one(id), Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.NetworkInterfaces, func(v types.NetworkInterface) *string { return v.NetworkInterfaceId })
			})
		},
		"instance": func(id, f string) string {
			out, err := l.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: one(id), Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.Reservations, func(v types.Reservation) *string { return v.Instances[0].InstanceId })
			})
		},
		"group": func(id, f string) string {
			out, err := l.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: one(id), Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.SecurityGroups, func(v types.SecurityGroup) *string { return v.GroupId })
			})
		},
		"rule": func(id, f string) string {
			out, err := l.ec2.DescribeSecurityGroupRules(ctx, &ec2.DescribeSecurityGroupRulesInput{SecurityGroupRuleIds: one(id), Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.SecurityGroupRules, func(v types.SecurityGroupRule) *string { return v.SecurityGroupRuleId })
			})
		},
		"acl": func(id, f string) string {
			out, err := l.ec2.DescribeNetworkAcls(ctx, &ec2.DescribeNetworkAclsInput{NetworkAclIds: one(id), Filters: filter(f)})
			return found(out, err, func() string {
				return ids(out.NetworkAcls, func(v types.NetworkAcl) *string { return v.NetworkAclId })
			})
		},
	}
	both := func(a, b string) string {
		return strings.Join(slices.Sorted(slices.Values([]string{a, b})), " ")
	}
	for _, c := range []struct{ what, id, filters, want string }{
		{"gateway", "", "", l.TransitGateway},
		{"gateway", "", "tag:Name=core; state=available", l.TransitGateway},
		{"gateway", "", "tag:Name=c*e", l.TransitGateway},
		{"gateway", "", "tag:Name=edge", ""},
		{"gateway", "", "tag-key=Name", l.TransitGateway},
		{"gateway", "tgw-no", "", "InvalidTransitGatewayID.NotFound"},
		{"attachment", "", "resource-type=vpc", l.VPCAttachment},
		{"attachment", "", "resource-type=vpc,connect", both(l.VPCAttachment, l.Connect)},
		{"attachment", "", "resource-id=" + l.VPC, l.VPCAttachment},
		{"attachment", "", "association.transit-gateway-route-table-id=" + l.Table, both(l.VPCAttachment, l.Connect)},
		{"attachment", "tgw-attach-no", "", "InvalidTransitGatewayAttachmentID.NotFound"},
		{"vpc-attachment", "", "vpc-id=" + l.VPC, l.VPCAttachment},
		{"vpc-attachment", l.Connect, "", "InvalidTransitGatewayAttachmentID.NotFound"},
		{"peering", "", "transit-gateway-id=" + l.TransitGateway, "tgw-far"},
		{"connect", "", "transport-transit-gateway-attachment-id=" + l.VPCAttachment + "; options.protocol=gre", l.Connect},
		{"peer", "", "transit-gateway-attachment-id=" + l.Connect, both(l.Peers[0], l.Peers[1])},
		{"peer", l.Peers[1], "", l.Peers[1]},
		{"table", "", "transit-gateway-id=" + l.TransitGateway + "; default-association-route-table=true", l.Table},
		{"association", l.Table, "", both(l.VPCAttachment, l.Connect)},
		{"association", l.Table, "resource-type=connect", l.Connect},
		{"association", "tgw-rtb-no", "", "InvalidRouteTableID.NotFound"},
		{"propagation", l.Table, "transit-gateway-attachment-id=" + l.Connect, l.Connect},
		{"propagates", l.Connect, "", l.Table},
		{"propagates", "tgw-attach-no", "", "InvalidTransitGatewayAttachmentID.NotFound"},
		{"vpc", "", "cidr-block-association.cidr-block=10.0.0.0/16", l.VPC},
		{"subnet", "", "vpc-id=" + l.VPC + "; availability-zone-id=use1-az2", l.Subnets[1]},
		{"route-table", "", "association.main=true; vpc-id=" + l.VPC, l.RouteTable},
		{"route-table", "", "association.subnet-id=" + l.Subnets[0], ""}, // implicitly only, by the main table
		{"route-table", "", "route.transit-gateway-id=" + l.TransitGateway, l.RouteTable},
		{"interface", "", "attachment.instance-id=" + l.Instances[1], l.Interfaces[1]},
		{"interface", "", "addresses.private-ip-address=10.0.0.10", l.Interfaces[0]},
		{"instance", l.Instances[0], "", l.Instances[0]},
		{"instance", "", "instance-state-name=running; tag:Name=gateway-2", l.Instances[1]},
		{"group", l.Group, "", l.Group},
		{"group", "sg-no", "", "InvalidGroup.NotFound"},
		{"rule", rules[3].ID, "group-id=" + l.Group, rules[3].ID},
		{"acl", "", "association.subnet-id=" + l.Subnets[1], l.ACL},
	} {
		if got := find[c.what](c.id, c.filters); got != c.want {
			t.Errorf("%s %q %q: %q, want %q", c.what, c.id, c.filters, got, c.want)
		}
	}
	l.wantViolations(t)
}

func one(id string) []string {
	if id == "" {
		return nil
	}
	return []string{id}
}

func found[O any](_ *O, err error, ids func() string) string {
	if err != nil {
		return code(err)
	}
	return ids()
}

func TestSearchTransitGatewayRoutes(t *testing.T) {
	l := newLab(t, world.ExampleOptions{})
	for _, peer := range l.Peers {
		l.memory().SetSessions(peer, true, true)
		l.memory().Learn(peer, []bgp.ASN{65001}, nil, netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("10.9.1.0/24"))
	}
	create := &ec2.CreateTransitGatewayRouteInput{TransitGatewayRouteTableId: &l.Table, DestinationCidrBlock: aws.String("10.8.3.7/14"), Blackhole: aws.Bool(true)}
	if _, err := l.ec2.CreateTransitGatewayRoute(ctx, create); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ filters, want string }{
		{"type=propagated,static", "10.0.0.0/16 10.8.0.0/14 10.9.0.0/16 10.9.1.0/24 2001:db8:0:100::/56"},
		{"type=static; state=blackhole", "10.8.0.0/14"}, // host bits are cleared
		{"state=active", "10.0.0.0/16 10.9.0.0/16 10.9.1.0/24 2001:db8:0:100::/56"},
		{"route-search.exact-match=10.9.0.0/16", "10.9.0.0/16"},
		{"route-search.longest-prefix-match=10.9.1.4", "10.9.1.0/24"},
		{"route-search.longest-prefix-match=10.9.2.0/24", "10.9.0.0/16"},
		{"route-search.longest-prefix-match=192.0.2.1", ""},
		{"route-search.subnet-of-match=10.9.0.0/16", "10.9.0.0/16 10.9.1.0/24"},
		{"route-search.supernet-of-match=10.9.1.0/24", "10.8.0.0/14 10.9.0.0/16 10.9.1.0/24"},
		{"route-search.subnet-of-match=10.0.0.0/8; attachment.resource-type=connect", "10.9.0.0/16 10.9.1.0/24"},
		{"attachment.transit-gateway-attachment-id=" + l.VPCAttachment, "10.0.0.0/16 2001:db8:0:100::/56"},
		{"attachment.resource-id=" + l.VPC, "10.0.0.0/16 2001:db8:0:100::/56"},
	} {
		for _, size := range []int{0, 1, 2} {
			l.setPages(size)
			p := ec2.NewSearchTransitGatewayRoutesPaginator(l.ec2, &ec2.SearchTransitGatewayRoutesInput{TransitGatewayRouteTableId: &l.Table, Filters: filter(c.filters)})
			var got []string
			for p.HasMorePages() {
				page, err := p.NextPage(ctx)
				if err != nil {
					t.Fatalf("%s: %v", c.filters, err)
				}
				if *page.AdditionalRoutesAvailable != (page.NextToken != nil) {
					t.Errorf("%s: more routes %v, token %v", c.filters, *page.AdditionalRoutesAvailable, page.NextToken)
				}
				for _, r := range page.Routes {
					got = append(got, *r.DestinationCidrBlock)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s in pages of %d: %q, want %q", c.filters, size, got, c.want)
			}
		}
	}
	out, err := l.ec2.SearchTransitGatewayRoutes(ctx, &ec2.SearchTransitGatewayRoutesInput{TransitGatewayRouteTableId: &l.Table, Filters: filter("route-search.exact-match=10.9.0.0/16")})
	if err != nil || len(out.Routes[0].TransitGatewayAttachments) != 1 || out.Routes[0].Type != types.TransitGatewayRouteTypePropagated {
		t.Errorf("%+v, %v; want the Connect attachment once", out, err)
	}
	l.wantViolations(t)
}
