// Package gather reads the facts that package doctor judges: AWS through a small
// interface, each call once (aws.go), and what the kernel tells a process without
// special rights (host.go, ena.go). What fails is a gap in the facts, never an error.
package gather

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/doctor"
)

// API is what is asked of AWS. Methods are named as the API's calls.
type API interface {
	Self(ctx context.Context) (tgwconnect.Self, error)
	DescribeTransitGateways(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.TransitGateway, error)
	DescribeTransitGatewayAttachments(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.Attachment, error)
	DescribeTransitGatewayVpcAttachments(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.VPCAttachment, error)
	DescribeTransitGatewayConnects(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.Connect, error)
	DescribeTransitGatewayConnectPeers(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.Peer, error)
	GetTransitGatewayAttachmentPropagations(ctx context.Context, attachmentID string) ([]tgwconnect.Propagation, error)
	// TransitGatewayRoutes is SearchTransitGatewayRoutes for all routes of a table.
	TransitGatewayRoutes(ctx context.Context, tableID string) ([]tgwconnect.TGWRoute, error)
	DescribeRouteTables(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.VPCRouteTable, error)
	DescribeSubnets(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.Subnet, error)
	DescribeNetworkInterfaces(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.Interface, error)
	DescribeInstances(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.Instance, error)
	DescribeInstanceTypes(ctx context.Context, names ...string) ([]tgwconnect.InstanceType, error)
	DescribeSecurityGroupRules(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.GroupRule, error)
	DescribeNetworkAcls(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.NetworkACL, error)
	DescribeRouteServerPeers(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.RouteServerPeer, error)
	GetRouteServerRoutingDatabase(ctx context.Context, serverID string, q tgwconnect.Query) ([]tgwconnect.RouteServerRoute, error)
	GetMetricData(ctx context.Context, q tgwconnect.MetricQuery) ([]tgwconnect.MetricValue, error)

	// With DryRun only.
	CreateTransitGatewayConnectPeer(ctx context.Context, n tgwconnect.NewPeer) (tgwconnect.Peer, error)
	ModifyNetworkInterfaceAttribute(ctx context.Context, interfaceID string, sourceDestCheck, dryRun bool) error
	ReplaceRoute(ctx context.Context, n tgwconnect.NewVPCRoute) error

	// Code is AWS's word for an error, empty for any other; Denied says that the
	// permission is missing.
	Code(err error) string
	Denied(err error) bool
	Throttled() uint64
	Region() string
}

// Options are what else is known before AWS is asked.
type Options struct {
	Now       time.Time
	Addresses []netip.Addr // of this host
	// Metadata: this may be an EC2 instance; else its metadata service is not asked.
	Metadata bool
	// TargetHealth asks for the targets of the target groups that were named; nil:
	// none was.
	TargetHealth func(context.Context) ([]tgwconnect.TargetHealth, error)
}

// window is how far back drops are looked for.
const window = 15 * time.Minute

type reader struct {
	API
	o   Options
	out doctor.AWS
}

// ask makes a Part of an answer.
func ask[T any](r *reader, action string, values []T, err error) doctor.Part[T] {
	if err == nil {
		return doctor.Part[T]{Values: values, Read: true, Action: action}
	}
	p := doctor.Part[T]{Action: action, Code: r.Code(err), Message: err.Error(), Denied: r.Denied(err)}
	if errors.Is(err, context.DeadlineExceeded) {
		p.Message = "no answer in time"
	}
	return p
}

// more adds another answer to a Part: it is read if all answers were.
func more[T any](to *doctor.Part[T], p doctor.Part[T]) {
	if to.Action == "" || to.Read && !p.Read {
		p.Values = append(to.Values, p.Values...)
		*to = p
		return
	}
	to.Values = append(to.Values, p.Values...)
}

// AWS reads the inventory. Where the first answer says that AWS can not be reached
// or knows nothing of the caller, nothing more is asked.
func AWS(ctx context.Context, api API, o Options) doctor.AWS {
	r := &reader{API: api, o: o}
	if o.Metadata {
		self, err := r.API.Self(ctx)
		r.out.Self = ask(r, "the instance metadata service", []tgwconnect.Self{self}, err)
	}
	var all tgwconnect.Query
	gateways, err := r.DescribeTransitGateways(ctx, all)
	r.out.Gateways = ask(r, "ec2:DescribeTransitGateways", gateways, err)
	if err != nil && r.Code(err) == "" {
		return r.out
	}
	r.connect(ctx)
	r.vpc(ctx)
	r.routeServers(ctx)
	r.drops(ctx)
	if o.TargetHealth != nil {
		v, err := o.TargetHealth(ctx)
		r.out.Targets = ask(r, "elasticloadbalancing:DescribeTargetHealth", v, err)
	}
	r.dryRuns(ctx)
	r.out.Throttled = r.API.Throttled()
	return r.out
}

func (r *reader) connect(ctx context.Context) {
	var all tgwconnect.Query
	attachments, err := r.DescribeTransitGatewayAttachments(ctx, all)
	r.out.Attachments = ask(r, "ec2:DescribeTransitGatewayAttachments", attachments, err)
	vpcs, err := r.DescribeTransitGatewayVpcAttachments(ctx, all)
	r.out.VPCAttachments = ask(r, "ec2:DescribeTransitGatewayVpcAttachments", vpcs, err)
	connects, err := r.DescribeTransitGatewayConnects(ctx, all)
	r.out.Connects = ask(r, "ec2:DescribeTransitGatewayConnects", connects, err)
	peers, err := r.DescribeTransitGatewayConnectPeers(ctx, all)
	r.out.Peers = ask(r, "ec2:DescribeTransitGatewayConnectPeers", peers, err)
	var tables []string
	r.out.Propagations = ask(r, "ec2:GetTransitGatewayAttachmentPropagations", []tgwconnect.Propagation(nil), nil)
	r.out.Routes = ask(r, "ec2:SearchTransitGatewayRoutes", []doctor.TableRoute(nil), nil)
	for _, c := range connects {
		if c.State == "deleted" || c.State == "deleting" {
			continue
		}
		list, err := r.GetTransitGatewayAttachmentPropagations(ctx, c.ID)
		for i := range list {
			list[i].AttachmentID = c.ID
			tables = append(tables, list[i].RouteTableID)
		}
		more(&r.out.Propagations, ask(r, "ec2:GetTransitGatewayAttachmentPropagations", list, err))
	}
	for _, a := range attachments {
		if a.ResourceType == "connect" && a.RouteTableID != "" {
			tables = append(tables, a.RouteTableID)
		}
	}
	for _, table := range unique(tables) {
		list, err := r.TransitGatewayRoutes(ctx, table)
		var routes []doctor.TableRoute
		for _, x := range list {
			routes = append(routes, doctor.TableRoute{TableID: table, TGWRoute: x})
		}
		more(&r.out.Routes, ask(r, "ec2:SearchTransitGatewayRoutes", routes, err))
	}
}

func unique(l []string) []string {
	l = slices.DeleteFunc(slices.Clone(l), func(s string) bool { return s == "" })
	slices.Sort(l)
	return slices.Compact(l)
}

// mostValues is how many values a filter takes [API].
const mostValues = 200

// vpc reads what is around the network interfaces of this host and of the Connect
// peers.
func (r *reader) vpc(ctx context.Context) {
	var four, six []string
	add := func(a netip.Addr) {
		if a.Is4() {
			four = append(four, a.String())
		} else if a.IsValid() && !a.IsLinkLocalUnicast() {
			six = append(six, a.WithZone("").String())
		}
	}
	for _, p := range r.out.Peers.Values {
		add(p.PeerAddress)
	}
	for _, a := range r.o.Addresses {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			add(a)
		}
	}
	for _, s := range r.out.Self.Values {
		for _, i := range s.Interfaces {
			for _, a := range i.Addresses {
				add(a)
			}
		}
	}
	var interfaces []tgwconnect.Interface
	for filter, values := range map[string][]string{"addresses.private-ip-address": unique(four), "ipv6-addresses.ipv6-address": unique(six)} {
		if len(values) == 0 {
			continue
		}
		list, err := r.DescribeNetworkInterfaces(ctx, tgwconnect.Where(filter, values[:min(len(values), mostValues)]...))
		more(&r.out.Interfaces, ask(r, "ec2:DescribeNetworkInterfaces", list, err))
		for _, i := range list {
			if !slices.ContainsFunc(interfaces, func(o tgwconnect.Interface) bool { return o.ID == i.ID }) {
				interfaces = append(interfaces, i)
			}
		}
	}
	r.out.Interfaces.Values = interfaces
	var vpcs, groups, instances []string
	for _, i := range interfaces {
		vpcs, groups, instances = append(vpcs, i.VPCID), append(groups, i.GroupIDs...), append(instances, i.InstanceID)
	}
	for _, a := range r.out.VPCAttachments.Values {
		vpcs = append(vpcs, a.VPCID)
	}
	vpcs, groups, instances = unique(vpcs), unique(groups), unique(instances)
	if len(vpcs) > 0 {
		q := tgwconnect.Where("vpc-id", vpcs[:min(len(vpcs), mostValues)]...)
		tables, err := r.DescribeRouteTables(ctx, q)
		r.out.VPCTables = ask(r, "ec2:DescribeRouteTables", tables, err)
		subnets, err := r.DescribeSubnets(ctx, q)
		r.out.Subnets = ask(r, "ec2:DescribeSubnets", subnets, err)
		acls, err := r.DescribeNetworkAcls(ctx, q)
		r.out.ACLs = ask(r, "ec2:DescribeNetworkAcls", acls, err)
	}
	if len(groups) > 0 {
		rules, err := r.DescribeSecurityGroupRules(ctx, tgwconnect.Where("group-id", groups[:min(len(groups), mostValues)]...))
		r.out.GroupRules = ask(r, "ec2:DescribeSecurityGroupRules", rules, err)
	}
	if len(instances) > 0 {
		list, err := r.DescribeInstances(ctx, tgwconnect.ByID(instances...))
		r.out.Instances = ask(r, "ec2:DescribeInstances", list, err)
		var types []string
		for _, i := range list {
			types = append(types, i.Type)
		}
		if types = unique(types); len(types) > 0 {
			list, err := r.DescribeInstanceTypes(ctx, types...)
			r.out.InstanceTypes = ask(r, "ec2:DescribeInstanceTypes", list, err)
		}
	}
}

func (r *reader) routeServers(ctx context.Context) {
	peers, err := r.DescribeRouteServerPeers(ctx, tgwconnect.Query{})
	r.out.Servers = ask(r, "ec2:DescribeRouteServerPeers", peers, err)
	var servers []string
	for _, p := range peers {
		servers = append(servers, p.ServerID)
	}
	for _, id := range unique(servers) {
		routes, err := r.GetRouteServerRoutingDatabase(ctx, id, tgwconnect.Query{})
		more(&r.out.ServerRoutes, ask(r, "ec2:GetRouteServerRoutingDatabase", routes, err))
	}
}

func (r *reader) drops(ctx context.Context) {
	r.out.Drops = doctor.Part[doctor.Drop]{Read: true}
	for _, g := range r.out.Gateways.Values {
		for _, metric := range []string{"PacketDropCountNoRoute", "PacketDropCountBlackhole"} {
			values, err := r.GetMetricData(ctx, tgwconnect.MetricQuery{
				Namespace: "AWS/TransitGateway", Name: metric, Dimensions: map[string]string{"TransitGateway": g.ID},
				Period: time.Minute, From: r.o.Now.Add(-window), To: r.o.Now,
			})
			d := doctor.Drop{TransitGatewayID: g.ID, Metric: metric, Span: window}
			for _, v := range values {
				d.Packets += v.Sum
			}
			more(&r.out.Drops, ask(r, "cloudwatch:GetMetricData", []doctor.Drop{d}, err))
			if err != nil {
				return
			}
		}
	}
}

// dryRuns asks what may be changed. Nothing is: every call has DryRun.
func (r *reader) dryRuns(ctx context.Context) {
	add := func(action, purpose string, err error) {
		d := doctor.DryRun{Action: action, Purpose: purpose, Allowed: err == nil}
		if err != nil && !r.Denied(err) {
			d.Code = r.Code(err)
			if d.Code == "" {
				d.Code = "no answer"
			}
		}
		r.out.DryRuns = append(r.out.DryRuns, d)
	}
	if l := r.out.Connects.Values; len(l) > 0 {
		_, err := r.CreateTransitGatewayConnectPeer(ctx, tgwconnect.NewPeer{
			AttachmentID: l[0].ID, PeerAddress: netip.MustParseAddr("192.0.2.1"), Inside4: netip.MustParsePrefix("169.254.100.0/29"), PeerASN: 64999, DryRun: true,
		})
		add("ec2:CreateTransitGatewayConnectPeer", "wgbgp tgw apply", err)
	}
	if l := r.out.Interfaces.Values; len(l) > 0 {
		add("ec2:ModifyNetworkInterfaceAttribute", "wgbgp tgw apply", r.ModifyNetworkInterfaceAttribute(ctx, l[0].ID, l[0].SourceDestCheck, true))
	}
	for _, t := range r.out.VPCTables.Values {
		i := slices.IndexFunc(t.Routes, func(x tgwconnect.VPCRoute) bool { return x.Target.TransitGatewayID != "" })
		if i >= 0 {
			add("ec2:ReplaceRoute", "failover without Connect", r.ReplaceRoute(ctx, tgwconnect.NewVPCRoute{RouteTableID: t.ID, Prefix: t.Routes[i].Prefix, Target: t.Routes[i].Target, DryRun: true}))
			break
		}
	}
}
