package routing

import (
	"net/netip"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// Type is the kind of an attachment, in the API's words.
type Type string

// Attachment types, in the order in which their propagated routes win for the
// same prefix [HOW; Client VPN's place from PATHSEL].
const (
	VPC             Type = "vpc"
	DirectConnect   Type = "direct-connect-gateway"
	Connect         Type = "connect"
	VPNOverDX       Type = "vpn-over-private-dx" // no word of the API's: a VPN whose transport is Direct Connect
	VPN             Type = "vpn"
	VPNConcentrator Type = "vpn-concentrator"
	ClientVPN       Type = "client-vpn"
	Peering         Type = "peering"
)

var typeOrder = []Type{VPC, DirectConnect, Connect, VPNOverDX, VPN, VPNConcentrator, ClientVPN, Peering}

// Overflow says what becomes of the path after Limits.FromPeer.
type Overflow string

// AWS does not say which of them is true (open point 2 of facts/aws.md).
const (
	// Ignore keeps the session and what was there first, and takes nothing more.
	Ignore Overflow = "ignore"
	// Cease closes the session (RFC 4486, Maximum Number of Prefixes Reached).
	Cease Overflow = "cease"
)

// Limits are the quotas of a Transit Gateway, as numbers of prefixes.
type Limits struct {
	FromPeer int // from the appliance to one Connect peer
	ToPeer   int // from the TGW to the appliance
	All      int // static and dynamic, over all route tables of one TGW
}

// DefaultLimits are [QUOTA]'s.
var DefaultLimits = Limits{FromPeer: 1000, ToPeer: 5000, All: 10000}

// TGW is the configuration of one Transit Gateway.
type TGW struct {
	ID          string
	ASN         bgp.ASN
	Tables      []Table
	Attachments []Attachment
	Peers       []Peer
	Limits      Limits // zero: DefaultLimits
	Overflow    Overflow
}

// Table is a route table with its static routes.
type Table struct {
	ID     string
	Static []Static
}

// Static is a static route, or with PrefixList one entry of a prefix list that
// the table references.
type Static struct {
	Prefix     netip.Prefix
	Attachment string // ID
	Blackhole  bool
	PrefixList string // its ID; empty: a static route
}

// Attachment joins something to the TGW.
type Attachment struct {
	ID         string
	Type       Type
	ResourceID string
	Table      string // the associated route table, empty: none
	// PolicyTable is associated instead of a route table.
	PolicyTable bool
	Propagates  []string // IDs of route tables
	// Networks are what it brings besides BGP: the CIDR blocks of a VPC.
	Networks []netip.Prefix
}

// Peer is a Connect peer of a Connect attachment.
type Peer struct {
	ID         string
	Attachment string
	ASN        bgp.ASN // of the appliance
}

// Path is what one of a Connect peer's two sessions brought.
type Path struct {
	Peer    string // Peer.ID
	Session int    // 1 or 2
	Prefix  netip.Prefix
	NextHop netip.Addr
	Attrs   *bgp.Attrs // never nil
	Since   time.Time
}

// Decision is everything that follows.
type Decision struct {
	Tables []TableRoutes      // as TGW.Tables
	Told   map[string][]Route // by Peer.ID: what both its sessions are told
	Excess map[string]int     // by Peer.ID: prefixes beyond Limits.FromPeer
	Beyond int                // routes beyond Limits.All

	index       map[string]int // of Tables, by ID
	attachments map[string]Attachment
}

// TableRoutes are the routes of one table, sorted by prefix.
type TableRoutes struct {
	ID     string
	Routes []Route
}

// Route is the winner for a prefix; a table shows no other [HOW].
type Route struct {
	Prefix     netip.Prefix
	Static     bool // of type static, else propagated [API]
	Blackhole  bool // state blackhole, else active [API]
	PrefixList string
	Via        []Via      // sorted by attachment, then peer; several are ECMP
	Attrs      *bgp.Attrs // of the first Via; never nil
}

// Via is one way of a Route.
type Via struct {
	Attachment, ResourceID string
	Type                   Type
	Peer                   string // of a Connect attachment
	NextHop                netip.Addr
}

// Table are the routes of a table; nil if there is none of this ID.
func (d *Decision) Table(id string) []Route {
	if i, ok := d.index[id]; ok {
		return d.Tables[i].Routes
	}
	return nil
}

// PeerLimit is how many prefixes one Connect peer may announce.
func (t *TGW) PeerLimit() int { return t.limits().FromPeer }
