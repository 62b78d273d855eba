package world

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// State is everything that there is in one region of one account. Keys are IDs.
type State struct {
	Region, AccountID string

	TransitGateways map[string]*TransitGateway
	Attachments     map[string]*Attachment
	ConnectPeers    map[string]*ConnectPeer
	Tables          map[string]*Table // TGW route tables

	VPCs           map[string]*VPC
	Subnets        map[string]*Subnet
	RouteTables    map[string]*RouteTable // of VPCs
	Interfaces     map[string]*Interface
	Instances      map[string]*Instance
	InstanceTypes  map[string]*InstanceType // by name
	SecurityGroups map[string]*SecurityGroup
	NetworkACLs    map[string]*NetworkACL

	RouteServers         map[string]*RouteServer
	RouteServerEndpoints map[string]*RouteServerEndpoint
	RouteServerPeers     map[string]*RouteServerPeer

	LoadBalancers map[string]*LoadBalancer // by ARN
	TargetGroups  map[string]*TargetGroup  // by ARN
	HostedZones   map[string]*HostedZone
	DNSChanges    map[string]*DNSChange
	HealthChecks  map[string]bool // of Route 53: which there are

	Secrets    map[string]*Secret    // of Secrets Manager, by ARN
	Parameters map[string]*Parameter // of Parameter Store, by ARN
	// OtherRegions are regions that have secrets and parameters besides.
	OtherRegions map[string]bool
	// Callers are those whose credentials are valid, by access key; none: STS takes
	// any credentials for those of one gateway.
	Callers map[string]Caller

	// Denied are the actions that the caller's policy does not allow, as in
	// "ec2:DescribeSubnets"; "ec2:*" denies all of EC2.
	Denied map[string]bool
	// Delays are how long the API's asynchronous work takes.
	Delays Delays

	LastID uint64 // of NewID
}

// Delays are how long states last that pass by themselves. Zero: until the next
// look. AWS documents none; Terraform waits for up to ten minutes [TF-PEER].
type Delays struct {
	Create, Delete, Modify, Associate time.Duration
	// Target is how long a new target is initial, unless targets are really asked;
	// DNS how long a change is PENDING, Zone how long it keeps others from its zone.
	Target, DNS, Zone time.Duration
	// Linger is how long a deleted object is still described, as deleted.
	Linger time.Duration
}

// Tags of a resource.
type Tags map[string]string

// Lifecycle is the state of what AWS makes, changes and removes asynchronously.
type Lifecycle struct {
	State   string
	Created time.Time
	Next    string    // the state that follows by itself, empty: none
	Due     time.Time // of Next
}

// TransitGateway is a Transit Gateway with its options.
type TransitGateway struct {
	ID, OwnerID, Description string
	Lifecycle
	ASN        uint32
	CIDRBlocks []netip.Prefix
	// The default route tables of new attachments, empty: that option is off.
	DefaultAssociation, DefaultPropagation string
	VPNECMP                                bool
	Encryption                             string // disabled, enabling, enabled, disabling
	Tags                                   Tags
}

// Attachment types, in the API's words. Attachments of other types may be put
// into a State, but no operation makes them.
const (
	TypeVPC     = "vpc"
	TypeConnect = "connect"
	TypePeering = "peering"
)

// Attachment joins something to a Transit Gateway.
type Attachment struct {
	ID, TransitGatewayID, Type string
	Lifecycle
	ResourceID, ResourceOwnerID string
	Tags                        Tags

	TableID       string    // the associated route table, empty: none
	PolicyTableID string    // instead of a route table [PBR-LIM]
	Association   Lifecycle // associating, associated, disassociating
	// Propagations are by route table: enabling, enabled, disabling.
	Propagations map[string]*Lifecycle

	SubnetIDs           []string // of a VPC attachment, at most one per zone
	ApplianceMode, IPv6 bool     // of a VPC attachment
	TransportID         string   // of a Connect attachment

	PeerTransitGatewayID, PeerRegion string // of a peering attachment
}

// ConnectPeer is a GRE tunnel with two BGP sessions.
type ConnectPeer struct {
	ID, AttachmentID string
	Lifecycle
	TransitGatewayAddress, PeerAddress netip.Addr // outer
	Inside4, Inside6                   netip.Prefix
	ASN, TransitGatewayASN             uint32
	Tags                               Tags
}

// Appliance is the appliance's inside IPv4 address, host 1 [CONNECT].
func (p *ConnectPeer) Appliance() netip.Addr { return p.Inside4.Addr().Next() }

// Speakers are the Transit Gateway's two inside IPv4 addresses, hosts 2 and 3 [TF-PEER].
func (p *ConnectPeer) Speakers() [2]netip.Addr {
	two := p.Appliance().Next()
	return [2]netip.Addr{two, two.Next()}
}

// Table is a route table of a Transit Gateway.
type Table struct {
	ID, TransitGatewayID string
	Lifecycle
	Static []Static
	Tags   Tags
}

// Static is a static route of a TGW route table.
type Static struct {
	Prefix       netip.Prefix
	AttachmentID string
	Blackhole    bool
	PrefixListID string // a prefix-list reference, not a plain static route
}

// Route is one route of a TGW route table as SearchTransitGatewayRoutes shows it.
type Route struct {
	Prefix       netip.Prefix
	Static       bool
	Blackhole    bool
	PrefixListID string
	Via          []Via // several: ECMP
}

// Via is an attachment of a Route.
type Via struct{ AttachmentID, ResourceID, ResourceType string }

// VPC is a virtual private cloud.
type VPC struct {
	ID    string
	CIDRs []netip.Prefix // IPv4 and IPv6, the primary one first
	Tags  Tags
}

// Subnet is a subnet of a VPC.
type Subnet struct {
	ID, VPCID, AZ, AZID string
	CIDR4               netip.Prefix
	CIDR6               netip.Prefix // may be invalid
	Tags                Tags
}

// RouteTable is a route table of a VPC.
type RouteTable struct {
	ID, VPCID string
	Main      bool
	SubnetIDs []string // explicitly associated
	Routes    []VPCRoute
	Tags      Tags
}

// VPCRoute is one route of a VPC's route table.
type VPCRoute struct {
	Prefix       netip.Prefix
	PrefixListID string
	Target       Target
	Blackhole    bool   // the target is gone
	Origin       string // CreateRouteTable, CreateRoute, EnableVgwRoutePropagation, Advertisement
}

// Target is where a VPCRoute leads; exactly one field is set.
type Target struct {
	TransitGatewayID, InterfaceID, GatewayID, NATGatewayID, PeeringID, CoreNetworkARN, EgressOnlyID, CarrierID, LocalID string
}

// Interface is an elastic network interface.
type Interface struct {
	ID, VPCID, SubnetID, InstanceID string
	DeviceIndex                     int32
	MAC                             string
	Addresses                       []netip.Addr // primary first; IPv4, then IPv6
	PublicIP                        netip.Addr
	SourceDestCheck                 bool
	GroupIDs                        []string
	// Connection tracking in seconds, 0: AWS's default.
	TCPEstablishedTimeout, UDPTimeout, UDPStreamTimeout int32
	ENASRD, ENASRDUDP                                   bool
	Tags                                                Tags
}

// Instance is an EC2 instance.
type Instance struct {
	ID, Type, State string // State: pending, running, stopping, stopped, ...
	VPCID, SubnetID string
	InterfaceIDs    []string // by device index
	MetadataTokens  string   // optional, required
	HopLimit        int32
	Tags            Tags
}

// InstanceType is what DescribeInstanceTypes says of a type's network.
type InstanceType struct {
	Name                   string
	BaselineGbps, PeakGbps float64
	MaxInterfaces          int32
	VCPUs                  int32
}

// SecurityGroup is a security group with its rules.
type SecurityGroup struct {
	ID, VPCID, Name string
	Rules           []GroupRule
	Tags            Tags
}

// GroupRule is a rule of a security group. Exactly one of Prefix, PrefixListID
// and GroupID is set.
type GroupRule struct {
	ID           string
	Egress       bool
	Protocol     string // "tcp", "udp", "icmp", "icmpv6", a number, "-1": all
	From, To     int32  // -1: all
	Prefix       netip.Prefix
	PrefixListID string
	GroupID      string
}

// NetworkACL is a network ACL.
type NetworkACL struct {
	ID, VPCID string
	Default   bool
	SubnetIDs []string
	Entries   []ACLEntry // the last one of each family, number 32767, denies
	Tags      Tags
}

// ACLEntry is an entry of a network ACL.
type ACLEntry struct {
	Number        int32
	Egress, Allow bool
	Protocol      string // a number, "-1": all
	Prefix        netip.Prefix
	From, To      int32 // both 0: all ports
}

// RouteServer is a VPC Route Server.
type RouteServer struct {
	ID    string
	VPCID string
	ASN   uint32
	Lifecycle
	PersistRoutes  string   // enabled, disabled
	PropagatesTo   []string // VPC route tables
	PersistMinutes int64
	Tags           Tags
}

// RouteServerEndpoint is where peers of a Route Server connect to.
type RouteServerEndpoint struct {
	ID, ServerID, VPCID, SubnetID, InterfaceID string
	Lifecycle
	Address       netip.Addr
	FailureReason string
	Tags          Tags
}

// RouteServerPeer is a BGP neighbor of a Route Server.
type RouteServerPeer struct {
	ID, EndpointID, ServerID, VPCID, SubnetID string
	Lifecycle
	PeerAddress       netip.Addr
	ASN               uint32
	Liveness          string // bgp-keepalive, bfd
	FailureReason     string
	EndpointInterface string
	Tags              Tags
}

// RouteServerRoute is one route that a Route Server knows.
type RouteServerRoute struct {
	Prefix    netip.Prefix
	PeerID    string
	InFIB     bool // else in-rib only
	NextHop   netip.Addr
	ASPath    []uint32
	MED       uint32
	Installed []Installation
}

// Installation is the fate of a RouteServerRoute in one VPC route table.
type Installation struct {
	RouteTableID string
	Installed    bool
	Reason       string // why not
}

func newState(region string) *State {
	// What is deleted is described a while longer [TF-PEER waits for it]; how long is assumed.
	s := &State{Region: region, AccountID: "123456789012", Delays: Delays{Linger: time.Minute}}
	s.fill()
	return s
}

// fill makes the maps that are nil.
func (s *State) fill() {
	makeMap(&s.TransitGateways)
	makeMap(&s.Attachments)
	makeMap(&s.ConnectPeers)
	makeMap(&s.Tables)
	makeMap(&s.VPCs)
	makeMap(&s.Subnets)
	makeMap(&s.RouteTables)
	makeMap(&s.Interfaces)
	makeMap(&s.Instances)
	makeMap(&s.InstanceTypes)
	makeMap(&s.SecurityGroups)
	makeMap(&s.NetworkACLs)
	makeMap(&s.RouteServers)
	makeMap(&s.RouteServerEndpoints)
	makeMap(&s.RouteServerPeers)
	makeMap(&s.LoadBalancers)
	makeMap(&s.TargetGroups)
	makeMap(&s.HostedZones)
	makeMap(&s.DNSChanges)
	makeMap(&s.HealthChecks)
	makeMap(&s.Secrets)
	makeMap(&s.Parameters)
	makeMap(&s.OtherRegions)
	makeMap(&s.Callers)
	makeMap(&s.Denied)
}

func makeMap[V any](m *map[string]V) {
	if *m == nil {
		*m = map[string]V{}
	}
}

// NewID returns an ID that was never used, such as tgw-attach-00000000000000001.
func (s *State) NewID(kind string) string {
	s.LastID++
	return fmt.Sprintf("%s-%017x", kind, s.LastID)
}

// clone copies by JSON: every field is exported data.
func (s *State) clone() *State {
	text, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("copy the world: %v", err)) // a field that JSON cannot say was added to State
	}
	c := &State{}
	if err := json.Unmarshal(text, c); err != nil {
		panic(fmt.Sprintf("copy the world: %v", err))
	}
	c.fill()
	return c
}
