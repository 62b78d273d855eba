package tgwconnect

import (
	"net/netip"
	"time"
)

// Query says what a list is to contain; the zero value is everything. EC2 takes
// several filters as "and", and several values of one as "or".
type Query struct {
	IDs     []string // an unknown one is an error ("...NotFound")
	Filters []Filter
}

// Filter is a filter of the EC2 API, by its documented name, such as
// "transit-gateway-attachment-id".
type Filter struct {
	Name   string
	Values []string
}

// Where is a Query with one filter.
func Where(name string, values ...string) Query {
	return Query{Filters: []Filter{{Name: name, Values: values}}}
}

// And adds a filter.
func (q Query) And(name string, values ...string) Query {
	q.Filters = append(q.Filters[:len(q.Filters):len(q.Filters)], Filter{Name: name, Values: values})
	return q
}

// ByID is a Query for named objects.
func ByID(ids ...string) Query { return Query{IDs: ids} }

// CallerIdentity says whose credentials are used (STS GetCallerIdentity).
type CallerIdentity struct{ AccountID, ARN, UserID string }

// MetricQuery asks CloudWatch for sums of a metric.
type MetricQuery struct {
	Namespace, Name string // such as AWS/TransitGateway, PacketDropCountNoRoute
	Dimensions      map[string]string
	Period          time.Duration // a multiple of a minute
	From, To        time.Time
}

// MetricValue is the sum over one period, or the total of a metric.
type MetricValue struct {
	At  time.Time
	Sum float64
}

// NewConnect is a Connect attachment to be made. With DryRun nothing is made, and
// no error means that it would have been.
type NewConnect struct {
	TransportID string // the VPC attachment
	Tags        Tags
	DryRun      bool
}

// NewPeer is a Connect peer to be made.
type NewPeer struct {
	AttachmentID          string
	PeerAddress           netip.Addr
	TransitGatewayAddress netip.Addr // invalid: AWS chooses one of its CIDR blocks
	Inside4, Inside6      netip.Prefix
	PeerASN               uint32 // 0: the Transit Gateway's own, which makes it iBGP
	Tags                  Tags
	DryRun                bool
}

// NewTGWRoute is a static route of a TGW route table, to an attachment or nowhere.
type NewTGWRoute struct {
	RouteTableID string
	Prefix       netip.Prefix
	AttachmentID string
	Blackhole    bool
	DryRun       bool
}

// NewVPCRoute is an entry of a VPC route table. Exactly one of the target's
// fields is set: TransitGatewayID, InterfaceID, InstanceID, GatewayID or CoreNetworkARN.
type NewVPCRoute struct {
	RouteTableID string
	Prefix       netip.Prefix
	PrefixListID string // instead of Prefix
	Target       RouteTarget
	DryRun       bool
}

// ResourceTag is a line of DescribeTags.
type ResourceTag struct{ ResourceID, ResourceType, Key, Value string }
