package doctor

import (
	"net/netip"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Facts is everything that the rows look at. The zero value is "nothing was read".
type Facts struct {
	Now    time.Time
	Region string
	AWS    AWS
	Host   Host
	Daemon Daemon
}

// Part is one kind of AWS object, or why it could not be read. The zero value was
// not asked for.
type Part[T any] struct {
	Values  []T
	Read    bool
	Action  string // IAM's name of what was asked, "ec2:DescribeSubnets"
	Code    string // AWS's error code, empty: no answer
	Message string // AWS's words
	Denied  bool   // the permission is missing
}

// gap says why the part is missing; action is IAM's name if that is a permission.
func (p Part[T]) gap() (why, action string, missing bool) {
	switch {
	case p.Read:
		return "", "", false
	case p.Denied:
		return "missing permission " + p.Action, p.Action, true
	case p.Action == "":
		return "AWS was not asked", "", true
	case p.Code != "":
		return p.Action + " failed: " + p.Code, "", true
	}
	return p.Action + " had no answer: " + p.Message, "", true
}

// AWS is what the API says of one region.
type AWS struct {
	Gateways       Part[tgwconnect.TransitGateway] // all of the region
	Attachments    Part[tgwconnect.Attachment]     // all of the region
	Connects       Part[tgwconnect.Connect]
	Peers          Part[tgwconnect.Peer]
	VPCAttachments Part[tgwconnect.VPCAttachment]
	Propagations   Part[tgwconnect.Propagation] // of the Connect attachments
	Routes         Part[TableRoute]             // of the tables that Connect attachments use
	VPCTables      Part[tgwconnect.VPCRouteTable]
	Subnets        Part[tgwconnect.Subnet]
	Interfaces     Part[tgwconnect.Interface]
	Instances      Part[tgwconnect.Instance]
	InstanceTypes  Part[tgwconnect.InstanceType]
	GroupRules     Part[tgwconnect.GroupRule]
	ACLs           Part[tgwconnect.NetworkACL]
	Servers        Part[tgwconnect.RouteServerPeer]
	ServerRoutes   Part[tgwconnect.RouteServerRoute]
	Targets        Part[tgwconnect.TargetHealth] // of the target groups that were named
	Drops          Part[Drop]
	Self           Part[tgwconnect.Self] // one, from the instance metadata
	DryRuns        []DryRun
	Throttled      uint64 // answers RequestLimitExceeded to this run
}

// TableRoute is a route with the TGW route table it is in.
type TableRoute struct {
	TableID string
	tgwconnect.TGWRoute
}

// Drop is a CloudWatch metric of dropped packets, summed over Span.
type Drop struct {
	TransitGatewayID, Metric string
	Packets                  float64
	Span                     time.Duration
}

// DryRun is what AWS said to a call with DryRun.
type DryRun struct {
	Action, Purpose string // Purpose: who needs it, such as "wgbgp tgw apply"
	Allowed         bool
	Code            string // when neither allowed nor denied
}

// Host is what the kernel of this host says.
type Host struct {
	Gap        string // why nothing was read, empty: it was
	Interfaces []Interface
	// Tunnels are the kernel's GRE interfaces; TunnelsGap says why they are missing.
	Tunnels    []Tunnel
	TunnelsGap string
	Lookups    []Lookup
	Sysctls    map[string]string // by name, "net.ipv4.ip_forward"; what is not there is left out
	// Counters are read twice, Elapsed apart: "ip.FragCreates", "ip6.Ip6FragCreates",
	// "netstat.IPReversePathFilter", "eth0.pps_allowance_exceeded", "wg0.tx_bytes".
	Before, After map[string]uint64
	Elapsed       time.Duration
	Clock         *Clock // nil: not read
	Dials         []Dial
}

// Interface is a network interface.
type Interface struct {
	Name      string
	MTU       int
	Up        bool
	Addresses []netip.Prefix
	Driver    string // with its version, "ena 2.13.0g"; empty: not told
}

// Tunnel is a GRE interface.
type Tunnel struct {
	Name          string
	Local, Remote netip.Addr
	InFlags       uint16 // of the header: checksum 0x8000, key 0x2000, sequence 0x1000
	OutFlags      uint16
	MTU           int
	Addresses     []netip.Prefix
}

// Lookup is the way that the kernel takes to an address.
type Lookup struct {
	To     netip.Addr
	What   string // "metadata", "tgw", "endpoint of paris"
	Device string
	Source netip.Addr
	MTU    int    // of the path, with what was learned; 0: not known
	Err    string // no route
}

// What of a Lookup that has no name of its own.
const (
	LookupMetadata = "metadata"
	LookupTGW      = "tgw"
	LookupEndpoint = "endpoint"
)

// Clock is what the kernel knows of its clock (adjtimex).
type Clock struct {
	Synchronized bool
	MaxError     time.Duration
}

// Dial is a TCP connection that was tried to a BGP speaker, with the usual TTL.
type Dial struct {
	To     netip.Addr
	Opened bool
	Err    string
}

// Daemon is what wgbgpd answers.
type Daemon struct {
	Gap         string // why it was not asked or did not answer, empty: it did
	Status      api.Status
	Neighbors   []api.Neighbor
	Peers       []api.Peer
	PeersBefore []api.Peer // Host.Elapsed earlier, nil: read once
	Health      []api.Health
	MTU         []api.MTUChain
	Routes      []api.Route
	Kernel      []api.Problem // differences between plan and kernel
	AdjIn       map[string]api.AdjIn
	AdjOut      map[string]api.AdjOut
	Config      *Config // nil: the running configuration could not be read
	ConfigGap   string
}

// Config is what the rows look at in the running configuration.
type Config struct {
	Connect    []tgwconnect.ConnectPeer
	Neighbors  []NeighborConfig
	Sites      []SiteConfig
	Ports      map[string]uint16 // listening port by WireGuard interface
	SharedKeys []string          // WireGuard interfaces whose key other hosts have too
	// TargetGroups are the ARNs of the target groups that this host is to be in.
	TargetGroups []string
}

// NeighborConfig is a BGP neighbor as configured.
type NeighborConfig struct {
	Name     string
	Address  netip.Addr
	EBGP     bool
	TTL      uint8 // multihop; 0: 1
	HoldTime time.Duration
}

// SiteConfig is a site as configured.
type SiteConfig struct {
	Name, Device string
	Endpoint     string // empty: the site dials
	Keepalive    time.Duration
}
