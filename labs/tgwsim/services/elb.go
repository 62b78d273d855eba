package services

import (
	"maps"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// elbOperations are those of Elastic Load Balancing v2.
func elbOperations() []tgwsim.Operation {
	return []tgwsim.Operation{
		tgwsim.Op("DescribeLoadBalancers", describeLoadBalancers),
		tgwsim.Op("DescribeListeners", describeListeners),
		tgwsim.Op("DescribeTargetGroups", describeTargetGroups),
		tgwsim.Op("DescribeTargetGroupAttributes", describeTargetGroupAttributes),
		tgwsim.Op("DescribeTargetHealth", describeTargetHealth),
		tgwsim.Op("RegisterTargets", registerTargets),
		tgwsim.Op("DeregisterTargets", deregisterTargets),
	}
}

const mostELB = 400 // of a page [API]

func notFound(code, message string) error { return &wire.Error{Code: code, Message: message} }

// chosen are the objects with one of the ARNs or names; all if there are none.
func chosen[T any](all []T, arn, name func(T) string, arns, names []string, missing error) ([]T, error) {
	for _, want := range arns {
		if !slices.ContainsFunc(all, func(v T) bool { return arn(v) == want }) {
			return nil, missing
		}
	}
	for _, want := range names {
		if !slices.ContainsFunc(all, func(v T) bool { return name(v) == want }) {
			return nil, missing
		}
	}
	if len(arns)+len(names) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(all, func(v T) bool { return !slices.Contains(arns, arn(v)) && !slices.Contains(names, name(v)) }), nil
}

func describeLoadBalancers(c *tgwsim.Call, in *elb.DescribeLoadBalancersInput) (*elb.DescribeLoadBalancersOutput, error) {
	arn := func(b *world.LoadBalancer) string { return b.ARN }
	found, err := chosen(world.Values(c.State.LoadBalancers), arn, func(b *world.LoadBalancer) string { return b.Name }, in.LoadBalancerArns, in.Names,
		notFound("LoadBalancerNotFound", "One or more load balancers not found"))
	if err != nil {
		return nil, err
	}
	found, next, err := page(c, found, arn, in.Marker, in.PageSize, mostELB)
	return &elb.DescribeLoadBalancersOutput{NextMarker: next, LoadBalancers: convert(found, func(b *world.LoadBalancer) types.LoadBalancer {
		family := types.IpAddressTypeIpv4
		if b.DualStack {
			family = types.IpAddressTypeDualstack
		}
		out := types.LoadBalancer{
			LoadBalancerArn: &b.ARN, LoadBalancerName: &b.Name, DNSName: &b.DNSName, Scheme: types.LoadBalancerSchemeEnum(b.Scheme), VpcId: &b.VPCID,
			Type: types.LoadBalancerTypeEnumNetwork, IpAddressType: family, State: &types.LoadBalancerState{Code: types.LoadBalancerStateEnum(b.State)}, CreatedTime: &b.Created,
		}
		for _, id := range b.SubnetIDs {
			if n := c.State.Subnets[id]; n != nil {
				out.AvailabilityZones = append(out.AvailabilityZones, types.AvailabilityZone{SubnetId: &n.ID, ZoneName: &n.AZ})
			}
		}
		return out
	})}, err
}

func describeListeners(c *tgwsim.Call, in *elb.DescribeListenersInput) (*elb.DescribeListenersOutput, error) {
	type listener struct {
		world.Listener
		balancer string
	}
	var all []listener
	for _, b := range world.Values(c.State.LoadBalancers) {
		for _, l := range b.Listeners {
			all = append(all, listener{l, b.ARN})
		}
	}
	if in.LoadBalancerArn != nil {
		if c.State.LoadBalancers[*in.LoadBalancerArn] == nil {
			return nil, notFound("LoadBalancerNotFound", "One or more load balancers not found")
		}
		all = slices.DeleteFunc(all, func(l listener) bool { return l.balancer != *in.LoadBalancerArn })
	} else if len(in.ListenerArns) == 0 { // [API]; the words are assumed
		return nil, &wire.Error{Code: "ValidationError", Message: "You must specify either listener ARNs or a load balancer ARN"}
	}
	arn := func(l listener) string { return l.ARN }
	found, err := chosen(all, arn, arn, in.ListenerArns, nil, notFound("ListenerNotFound", "One or more listeners not found"))
	if err != nil {
		return nil, err
	}
	found, next, err := page(c, found, arn, in.Marker, in.PageSize, mostELB)
	return &elb.DescribeListenersOutput{NextMarker: next, Listeners: convert(found, func(l listener) types.Listener {
		return types.Listener{
			ListenerArn: &l.ARN, LoadBalancerArn: &l.balancer, Port: &l.Port, Protocol: types.ProtocolEnum(l.Protocol),
			DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: &l.TargetGroupARN}},
		}
	})}, err
}

func describeTargetGroups(c *tgwsim.Call, in *elb.DescribeTargetGroupsInput) (*elb.DescribeTargetGroupsOutput, error) {
	arn := func(g *world.TargetGroup) string { return g.ARN }
	all := world.Values(c.State.TargetGroups)
	if in.LoadBalancerArn != nil {
		if c.State.LoadBalancers[*in.LoadBalancerArn] == nil {
			return nil, notFound("LoadBalancerNotFound", "One or more load balancers not found")
		}
		all = slices.DeleteFunc(all, func(g *world.TargetGroup) bool {
			return !slices.Contains(c.State.LoadBalancersOf(g.ARN), *in.LoadBalancerArn)
		})
	}
	found, err := chosen(all, arn, func(g *world.TargetGroup) string { return g.Name }, in.TargetGroupArns, in.Names,
		notFound("TargetGroupNotFound", "One or more target groups not found"))
	if err != nil {
		return nil, err
	}
	found, next, err := page(c, found, arn, in.Marker, in.PageSize, mostELB)
	return &elb.DescribeTargetGroupsOutput{NextMarker: next, TargetGroups: convert(found, func(g *world.TargetGroup) types.TargetGroup {
		family := types.TargetGroupIpAddressTypeEnumIpv4
		if g.IPv6 {
			family = types.TargetGroupIpAddressTypeEnumIpv6
		}
		out := types.TargetGroup{
			TargetGroupArn: &g.ARN, TargetGroupName: &g.Name, VpcId: &g.VPCID, TargetType: types.TargetTypeEnum(g.Type), Protocol: types.ProtocolEnum(g.Protocol), Port: &g.Port,
			IpAddressType: family, LoadBalancerArns: c.State.LoadBalancersOf(g.ARN),
			HealthCheckEnabled: aws.Bool(!g.Check.Disabled), HealthCheckProtocol: types.ProtocolEnum(g.Check.Protocol), HealthCheckPort: &g.Check.Port,
			HealthCheckIntervalSeconds: &g.Check.Interval, HealthCheckTimeoutSeconds: &g.Check.Timeout,
			HealthyThresholdCount: &g.Check.Healthy, UnhealthyThresholdCount: &g.Check.Unhealthy,
		}
		if g.Check.Protocol != "TCP" {
			out.HealthCheckPath, out.Matcher = &g.Check.Path, &types.Matcher{HttpCode: &g.Check.Matcher}
		}
		return out
	})}, err
}

func group(c *tgwsim.Call, arn *string) (*world.TargetGroup, error) {
	if g := c.State.TargetGroups[*arn]; g != nil {
		return g, nil
	}
	return nil, notFound("TargetGroupNotFound", "One or more target groups not found")
}

func describeTargetGroupAttributes(c *tgwsim.Call, in *elb.DescribeTargetGroupAttributesInput) (*elb.DescribeTargetGroupAttributesOutput, error) {
	g, err := group(c, in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	all := g.AllAttributes()
	return &elb.DescribeTargetGroupAttributesOutput{Attributes: convert(slices.Sorted(maps.Keys(all)), func(k string) types.TargetGroupAttribute {
		return types.TargetGroupAttribute{Key: &k, Value: aws.String(all[k])}
	})}, nil
}

func describeTargetHealth(c *tgwsim.Call, in *elb.DescribeTargetHealthInput) (*elb.DescribeTargetHealthOutput, error) {
	g, err := group(c, in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	if len(in.Include) > 0 {
		c.Violation("DescribeTargetHealth: Include is not emulated")
	}
	out := &elb.DescribeTargetHealthOutput{}
	show := func(t *world.GroupTarget, h world.Health) {
		port := g.Check.Port
		if port == "traffic-port" {
			port = strconv.Itoa(int(t.Port))
		}
		d := types.TargetHealthDescription{
			Target: &types.TargetDescription{Id: &t.ID, Port: &t.Port}, HealthCheckPort: &port,
			TargetHealth: &types.TargetHealth{State: types.TargetHealthStateEnum(h.State), Reason: types.TargetHealthReasonEnum(h.Reason)},
		}
		if t.Zone != "" {
			d.Target.AvailabilityZone = &t.Zone
		}
		if h.Description != "" {
			d.TargetHealth.Description = &h.Description
		}
		out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, d)
	}
	if in.Targets == nil {
		for _, t := range g.Targets {
			show(t, c.State.TargetHealth(g, t))
		}
	}
	for _, want := range targets(in.Targets) {
		if want.Port == 0 {
			want.Port = g.Port
		}
		i := slices.IndexFunc(g.Targets, func(t *world.GroupTarget) bool { return t.ID == want.ID && t.Port == want.Port })
		if i < 0 {
			show(&want, world.Health{State: "unused", Reason: "Target.NotRegistered", Description: "Target is not registered to the target group"}) // [API]
			continue
		}
		show(g.Targets[i], c.State.TargetHealth(g, g.Targets[i]))
	}
	return out, nil
}

func targets(in []types.TargetDescription) []world.GroupTarget {
	return convert(in, func(t types.TargetDescription) world.GroupTarget {
		return world.GroupTarget{ID: aws.ToString(t.Id), Port: aws.ToInt32(t.Port), Zone: aws.ToString(t.AvailabilityZone)}
	})
}

func registerTargets(c *tgwsim.Call, in *elb.RegisterTargetsInput) (*elb.RegisterTargetsOutput, error) {
	if slices.ContainsFunc(in.Targets, func(t types.TargetDescription) bool { return t.QuicServerId != nil }) { // [API]
		return nil, &wire.Error{Code: "ValidationError", Message: "QuicServerId is for QUIC and TCP_QUIC only"}
	}
	return &elb.RegisterTargetsOutput{}, c.World.RegisterTargets(*in.TargetGroupArn, targets(in.Targets))
}

func deregisterTargets(c *tgwsim.Call, in *elb.DeregisterTargetsInput) (*elb.DeregisterTargetsOutput, error) {
	return &elb.DeregisterTargetsOutput{}, c.World.DeregisterTargets(*in.TargetGroupArn, targets(in.Targets))
}
