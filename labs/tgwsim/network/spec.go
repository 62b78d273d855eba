package network

import (
	"net/netip"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/labs/tgwsim/routing"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Spec is everything that should be there.
type Spec struct {
	TGWs    []routing.TGW
	Connect map[string]Connect // by routing.Peer.ID; a peer without is not played
	// Hold is the hold time that AWS proposes, 0: 30 s [CONNECT]. The smaller one
	// of both ends counts.
	Hold time.Duration

	Ways         []Way
	Subnets      []Subnet
	VPCTables    []VPCTable
	RouteServers []RouteServer
	// Checked are addresses of interfaces that take and send packets for themselves
	// only (source/destination check).
	Checked map[netip.Addr]bool

	// Plain leads packets from every device by the first table of the first TGW,
	// after the routes that the host has anyway, and has no VPCs.
	Plain bool
	// FirstHostOnly leaves host 3 of the inside blocks out, and Bare all BGP: somebody
	// else on this host speaks it.
	Bare, FirstHostOnly bool
}

// Connect is a Connect peer as the TGW sees it.
type Connect struct {
	Device        string             // interface of the tunnel
	Local, Remote netip.Addr         // TransitGatewayAddress, PeerAddress
	Inside4       netip.Prefix       // the /29
	Inside6       netip.Prefix       // the /125, invalid: none
	MTU           int                // 0: by the path
	Backend       tgwconnect.Backend // empty: auto
	Closed        [2]bool            // sessions that AWS keeps down, as in maintenance
	// Cut drops the tunnel's packets in both directions: something of the VPC does
	// not let them pass.
	Cut bool
}

// Way is how packets enter and leave an attachment that is not Connect.
type Way struct {
	Attachment string
	// VPCTable is the route table of the subnet that a VPC attachment's interface
	// is in. Other attachments have a device, and a gateway if it is no
	// point-to-point one.
	VPCTable string
	Device   string
	Gateway  netip.Addr
}

// Subnet is a subnet of a VPC; its router is this host.
type Subnet struct {
	ID     string
	CIDRs  []netip.Prefix
	Device string
	Table  string // VPCTable.ID
}

// VPCTable is a route table of a VPC.
type VPCTable struct {
	ID     string
	Routes []VPCRoute
}

// VPCRoute is an entry of a VPC route table; one with no target is a blackhole.
type VPCRoute struct {
	Prefix     netip.Prefix
	Attachment string     // a TGW, by the VPC's attachment to it
	Interface  netip.Addr // an interface, by its address
	Local      bool
}

// RouteServer is a VPC Route Server.
type RouteServer struct {
	ID        string
	ASN       bgp.ASN
	Endpoints []Endpoint
	Tables    []string // VPCTable.ID, those it writes
}

// Endpoint is an endpoint of a Route Server in a subnet.
type Endpoint struct {
	ID      string
	Address netip.Addr // becomes one of this host
	Device  string     // of the subnet
	Peers   []RouteServerPeer
}

// RouteServerPeer is one that may dial an Endpoint.
type RouteServerPeer struct {
	ID      string
	Address netip.Addr
	ASN     bgp.ASN
	BFD     bool // its liveness, else BGP keepalive
}
