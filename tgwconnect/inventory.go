package tgwconnect

import (
	"net/netip"
	"time"
)

// The types below are what the EC2 API says of the objects around a Transit
// Gateway, in the API's own names and with its own state words. A field that an
// answer lacks is zero.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Welcome.html

// Tags are the tags of a resource.
type Tags map[string]string

// TransitGateway is a Transit Gateway (DescribeTransitGateways).
type TransitGateway struct {
	ID, OwnerID, State string // State: pending, available, modifying, deleting, deleted
	ASN                uint32 // AmazonSideAsn
	CIDRBlocks         []netip.Prefix
	// DefaultAssociation and DefaultPropagation are the default route tables of
	// new attachments, empty when that option is disabled.
	DefaultAssociation, DefaultPropagation string
	VPNECMP                                bool
	EncryptionState                        string // disabled, enabling, enabled, disabling; empty: not said
	Tags                                   Tags
}

// Attachment is a Transit Gateway attachment of any kind
// (DescribeTransitGatewayAttachments).
type Attachment struct {
	ID, TransitGatewayID     string
	ResourceType, ResourceID string // vpc, connect, peering, vpn, direct-connect-gateway
	ResourceOwnerID, State   string
	RouteTableID             string // its association, empty: none
	AssociationState         string // associating, associated, disassociating, disassociated
	PolicyTableID            string // instead of a route table; stops advertisement to Connect peers
	Created                  time.Time
	Tags                     Tags
}

// Connect is a Connect attachment (DescribeTransitGatewayConnects).
type Connect struct {
	ID, TransportID, TransitGatewayID, State string
	Protocol                                 string // gre
	Created                                  time.Time
	Tags                                     Tags
}

// Peer is a Connect peer as the API describes it (DescribeTransitGatewayConnectPeers).
type Peer struct {
	ID, AttachmentID, State string       // State: pending, available, deleting, deleted
	PeerAddress             netip.Addr   // outer address of the appliance
	TransitGatewayAddress   netip.Addr   // outer address of the TGW
	Inside4, Inside6        netip.Prefix // InsideCidrBlocks: the /29 and, if any, the /125
	Sessions                []PeerSession
	Created                 time.Time
	Tags                    Tags
}

// PeerSession is one of the BGP sessions of a Connect peer, as AWS sees it.
type PeerSession struct {
	TransitGatewayASN, PeerASN         uint32
	TransitGatewayAddress, PeerAddress netip.Addr // inside
	Up                                 bool       // BgpStatus
}

// VPCAttachment holds what DescribeTransitGatewayVpcAttachments adds to an Attachment.
type VPCAttachment struct {
	ID, TransitGatewayID, VPCID, State string
	SubnetIDs                          []string
	ApplianceMode, IPv6                bool
	Tags                               Tags
}

// TGWRouteTable is a route table of a Transit Gateway.
type TGWRouteTable struct {
	ID, TransitGatewayID, State            string
	DefaultAssociation, DefaultPropagation bool
	Tags                                   Tags
}

// Propagation is one attachment's propagation into one TGW route table.
type Propagation struct {
	RouteTableID, AttachmentID, State string // State: enabling, enabled, disabling, disabled
	ResourceType, ResourceID          string // of a table's propagations, not of an attachment's
}

// Association is one attachment's association with a TGW route table.
type Association struct {
	RouteTableID, AttachmentID, State string // State: associating, associated, disassociating, disassociated
	ResourceType, ResourceID          string
}

// TGWRoute is a route of a TGW route table (SearchTransitGatewayRoutes): the
// winner only, without AS_PATH, MED or age.
type TGWRoute struct {
	Prefix       netip.Prefix
	Type         string // static, propagated
	State        string // pending, active, blackhole, deleting, deleted
	PrefixListID string
	Via          []RouteVia
}

// RouteVia is one attachment of a TGWRoute; several are ECMP.
type RouteVia struct{ AttachmentID, ResourceType, ResourceID string }

// VPCRouteTable is a route table of a VPC (DescribeRouteTables).
type VPCRouteTable struct {
	ID, VPCID string
	Main      bool
	SubnetIDs []string // explicitly associated
	Routes    []VPCRoute
	Tags      Tags
}

// VPCRoute is an entry of a VPC route table. Exactly one of the targets is set.
type VPCRoute struct {
	Prefix       netip.Prefix // invalid when PrefixListID is set
	PrefixListID string
	Target       RouteTarget
	State        string // active, blackhole, filtered
	Origin       string // CreateRouteTable, CreateRoute, EnableVgwRoutePropagation, Advertisement
}

// RouteTarget is where a VPC route leads. InstanceID accompanies InterfaceID
// for an attached interface.
type RouteTarget struct {
	TransitGatewayID, InterfaceID, InstanceID, GatewayID, CoreNetworkARN, Other string
}

// Subnet is a VPC subnet.
type Subnet struct {
	ID, VPCID, AZ, AZID string
	CIDR4               netip.Prefix
	CIDR6               []netip.Prefix
	Tags                Tags
}

// VPC is a virtual private cloud with all its CIDR blocks.
type VPC struct {
	ID, State string
	CIDRs     []netip.Prefix
	Tags      Tags
}

// Interface is an elastic network interface.
type Interface struct {
	ID, VPCID, SubnetID, InstanceID, AZ string
	MAC                                 string
	Addresses                           []netip.Addr // private IPv4 and IPv6, primary first
	PublicIP                            netip.Addr
	SourceDestCheck                     bool
	GroupIDs                            []string
	// UDPTimeout and UDPStreamTimeout are connection tracking's, 0: AWS's
	// defaults (30 s, 180 s).
	UDPTimeout, UDPStreamTimeout time.Duration
	TCPEstablishedTimeout        time.Duration // 0: 350 s on Nitro v6, 432,000 s elsewhere
	DeviceIndex                  int
	Status                       string // available, associated, attaching, in-use, detaching
	Tags                         Tags
}

// Instance is an EC2 instance.
type Instance struct {
	ID, Type, State, VPCID, SubnetID, AZ string
	InterfaceIDs                         []string
	MetadataTokens                       string // optional, required
	MetadataHopLimit                     int
	Tags                                 Tags
}

// InstanceType is what DescribeInstanceTypes says of a type's network.
type InstanceType struct {
	Name          string
	BaselineGbps  float64 // sum over network cards, 0: not said
	PeakGbps      float64
	MaxInterfaces int
}

// SecurityGroup is a security group; its rules are asked for apart.
type SecurityGroup struct {
	ID, VPCID, Name string
	Tags            Tags
}

// GroupRule is one rule of a security group (DescribeSecurityGroupRules).
type GroupRule struct {
	ID, GroupID      string
	Egress           bool
	Protocol         string // IANA number or "tcp", "udp", "icmp", "icmpv6"; "-1": all
	FromPort, ToPort int    // -1: all
	Prefix           netip.Prefix
	PrefixListID     string
	ReferencedGroup  string
}

// NetworkACL is a network ACL with its entries and the subnets it guards.
type NetworkACL struct {
	ID, VPCID string
	Default   bool
	SubnetIDs []string
	Entries   []ACLEntry
}

// ACLEntry is an entry of a network ACL; the lowest matching number decides.
type ACLEntry struct {
	Number           int
	Egress, Allow    bool
	Protocol         string // IANA number, "-1": all
	Prefix           netip.Prefix
	FromPort, ToPort int // 0, 0: all
}

// TargetHealth is one target of a load balancer's target group.
type TargetHealth struct {
	Group  string // ARN
	ID, AZ string
	Port   int
	State  string // initial, healthy, unhealthy, unused, draining, unavailable
	Reason string // such as Target.NotInUse
	Detail string
}

// RouteServer is a VPC Route Server (DescribeRouteServers).
type RouteServer struct {
	ID, State     string
	ASN           uint32
	PersistRoutes string // enabling, enabled, resetting, disabling, disabled, modifying
	Tags          Tags
}

// RouteServerEndpoint is where a Route Server is reached in one subnet.
type RouteServerEndpoint struct {
	ID, ServerID, VPCID, SubnetID, InterfaceID, State string
	Address                                           netip.Addr
	FailureReason                                     string
	Tags                                              Tags
}

// RouteServerPeer is a peer of a VPC Route Server (DescribeRouteServerPeers).
type RouteServerPeer struct {
	ID, EndpointID, ServerID, VPCID, SubnetID, State string
	EndpointAddress, PeerAddress                     netip.Addr
	EndpointInterfaceID                              string
	ServerASN, PeerASN                               uint32
	Liveness                                         string // bgp-keepalive, bfd
	BGPUp, BFDUp                                     bool
	FailureReason                                    string
	Tags                                             Tags
}

// RouteServerRoute is a line of GetRouteServerRoutingDatabase.
type RouteServerRoute struct {
	Prefix    netip.Prefix
	PeerID    string
	Status    string // in-rib, in-fib
	NextHop   netip.Addr
	ASPath    []string
	MED       uint32
	Installed []RouteInstallation
}

// RouteInstallation is the fate of a RouteServerRoute in one VPC route table.
type RouteInstallation struct{ RouteTableID, Status, Reason string } // Status: installed, rejected

// Self is what the instance metadata service says of this host.
type Self struct {
	InstanceID, InstanceType, Region, AZ, AZID, AccountID string
	Interfaces                                            []SelfInterface
}

// SelfInterface is one network interface in the instance metadata.
type SelfInterface struct {
	ID, MAC, SubnetID, VPCID string
	Addresses                []netip.Addr // local-ipv4s and ipv6s, primary first
}
