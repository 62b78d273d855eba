package live

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/BurntSushi/toml"
)

// File describes a lab's world: the objects there are when tgwsim starts, with
// names instead of IDs, and where they meet the lab. What AWS makes by itself is
// made here too: every VPC has a main route table, a security group and a network
// ACL that admit all, every Transit Gateway a default route table that attachments
// are associated with and propagate to.
type File struct {
	Region  string `toml:"region"`  // empty: us-east-1
	Account string `toml:"account"` // empty: 123456789012
	// API are where the Query APIs listen, Metadata where the instance metadata
	// service does: it knows an instance by the address it is asked from.
	API      string `toml:"api"`
	Metadata string `toml:"metadata"`
	Control  string `toml:"control"` // socket, empty: DefaultControl
	Events   string `toml:"events"`  // file, empty: none
	Hold     int    `toml:"hold"`    // seconds, 0: 30
	Limits   Limits `toml:"limits"`

	VPCs            []VPC            `toml:"vpc"`
	Subnets         []Subnet         `toml:"subnet"`
	RouteTables     []RouteTable     `toml:"route-table"`
	Groups          []Group          `toml:"security-group"`
	Instances       []Instance       `toml:"instance"`
	TransitGateways []TransitGateway `toml:"transit-gateway"`
	Tables          []Table          `toml:"transit-gateway-route-table"`
	Attachments     []Attachment     `toml:"attachment"`
	Peers           []Peer           `toml:"connect-peer"`
	RouteServers    []RouteServer    `toml:"route-server"`
	LoadBalancers   []LoadBalancer   `toml:"load-balancer"`
	TargetGroups    []TargetGroup    `toml:"target-group"`
	HostedZones     []HostedZone     `toml:"hosted-zone"`
	Secrets         []Secret         `toml:"secret"`
	Parameters      []Parameter      `toml:"parameter"`
	Callers         []Caller         `toml:"caller"` // none: every credential is good
}

// Limits are numbers of prefixes, 0: AWS's, and what becomes of the one after the
// last from an appliance: "ignore" (not given) or "cease", which closes the session.
// AWS does not say which it is.
type Limits struct {
	FromPeer int    `toml:"from-peer"`
	ToPeer   int    `toml:"to-peer"`
	All      int    `toml:"all"`
	Overflow string `toml:"overflow"`
}

// DefaultControl is the control socket.
const DefaultControl = "/run/tgwsim.sock"

// VPC is a VPC.
type VPC struct {
	Name string         `toml:"name"`
	CIDR []netip.Prefix `toml:"cidr"`
}

// Subnet is a subnet; the lab's link to it is a device of this host.
type Subnet struct {
	Name   string       `toml:"name"`
	VPC    string       `toml:"vpc"`
	Zone   string       `toml:"zone"` // letter, empty: a
	CIDR   netip.Prefix `toml:"cidr"`
	CIDR6  netip.Prefix `toml:"cidr6"`
	Device string       `toml:"device"`
}

// RouteTable is a route table of a VPC: with subnets, theirs; without, one more
// set of entries of the main one.
type RouteTable struct {
	Name    string     `toml:"name"`
	VPC     string     `toml:"vpc"`
	Subnets []string   `toml:"subnets"`
	Routes  []VPCEntry `toml:"route"`
}

// VPCEntry is an entry of a VPC route table with one target.
type VPCEntry struct {
	Prefix         netip.Prefix `toml:"prefix"`
	TransitGateway string       `toml:"transit-gateway"`
	Instance       string       `toml:"instance"` // its first interface
	Gateway        string       `toml:"gateway"`  // an ID, such as igw-1
}

// Group is a security group. It admits what its rules say and, as a new one in
// AWS, everything outward.
type Group struct {
	Name  string `toml:"name"`
	VPC   string `toml:"vpc"`
	Rules []Rule `toml:"rule"`
}

// Rule admits something inward.
type Rule struct {
	Protocol string       `toml:"protocol"`
	From     int32        `toml:"from"`
	To       int32        `toml:"to"`
	Prefix   netip.Prefix `toml:"prefix"`
}

// Instance is an EC2 instance with one interface.
type Instance struct {
	Name    string       `toml:"name"`
	Type    string       `toml:"type"` // empty: c6in.xlarge
	Subnet  string       `toml:"subnet"`
	Address []netip.Addr `toml:"address"`
	Public  netip.Addr   `toml:"public"`
	Groups  []string     `toml:"groups"` // empty: the VPC's own
	// SourceDestCheck is on unless the file says otherwise.
	SourceDestCheck *bool `toml:"source-dest-check"`
}

// TransitGateway is a Transit Gateway.
type TransitGateway struct {
	Name string         `toml:"name"`
	ASN  uint32         `toml:"asn"` // 0: 64512
	CIDR []netip.Prefix `toml:"cidr"`
}

// Table is a route table of a Transit Gateway besides the default one, which has
// the Transit Gateway's name.
type Table struct {
	Name           string     `toml:"name"`
	TransitGateway string     `toml:"transit-gateway"`
	Routes         []TGWEntry `toml:"route"`
}

// TGWEntry is a static route.
type TGWEntry struct {
	Prefix     netip.Prefix `toml:"prefix"`
	Attachment string       `toml:"attachment"` // empty: blackhole
}

// Attachment joins something to a Transit Gateway: a VPC with subnets, Connect
// with a transport attachment, or with a device what else AWS has.
type Attachment struct {
	Name           string   `toml:"name"`
	TransitGateway string   `toml:"transit-gateway"`
	VPC            string   `toml:"vpc"`
	Subnets        []string `toml:"subnets"`
	Transport      string   `toml:"transport"`
	Type           string   `toml:"type"` // of others, such as peering
	Port
	// Table and Propagate replace the default route table; "none" is none.
	Table     string   `toml:"table"`
	Propagate []string `toml:"propagate"`
}

// Peer is a Connect peer.
type Peer struct {
	Name       string         `toml:"name"`
	Attachment string         `toml:"attachment"`
	Address    netip.Addr     `toml:"address"`                 // PeerAddress
	TGWAddress netip.Addr     `toml:"transit-gateway-address"` // invalid: the next free one of the CIDR block
	Inside     []netip.Prefix `toml:"inside"`
	ASN        uint32         `toml:"asn"` // 0: the Transit Gateway's [CONNECT]
}

// RouteServer is a VPC Route Server with endpoints in subnets.
type RouteServer struct {
	Name      string           `toml:"name"`
	VPC       string           `toml:"vpc"`
	ASN       uint32           `toml:"asn"`
	Tables    []string         `toml:"tables"` // that it writes: names of route tables, or of the VPC for its main one
	Endpoints []ServerEndpoint `toml:"endpoint"`
}

// ServerEndpoint is one endpoint with the peers that dial it.
type ServerEndpoint struct {
	Name    string       `toml:"name"`
	Subnet  string       `toml:"subnet"`
	Address netip.Addr   `toml:"address"`
	Peers   []ServerPeer `toml:"peer"`
}

// ServerPeer is a peer of a Route Server.
type ServerPeer struct {
	Name    string     `toml:"name"`
	Address netip.Addr `toml:"address"`
	ASN     uint32     `toml:"asn"`
	BFD     bool       `toml:"bfd"`
}

// ReadFile reads a description.
func ReadFile(path string) (*File, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := &File{Region: "us-east-1", Account: "123456789012", Control: DefaultControl}
	known, err := toml.Decode(string(b), f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if strange := known.Undecoded(); len(strange) > 0 {
		return nil, fmt.Errorf("%s: unknown key %s", path, strange[0])
	}
	return f, nil
}
