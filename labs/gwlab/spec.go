package gwlab

import (
	"net/netip"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// TGWKind says who plays the Transit Gateway.
type TGWKind string

// The kinds of Transit Gateway. FRR has one session per Connect peer only (its
// bgpd can not have two to one address); the GRE under it is ours.
const (
	TGWDouble TGWKind = "double" // labs/tgwsim/plain
	TGWFRR    TGWKind = "frr"
)

// BGPKind says who speaks BGP at a site.
type BGPKind string

// The kinds of BGP at a site.
const (
	NoBGP     BGPKind = ""       // static prefixes
	BGPRouter BGPKind = "router" // labs/router
	BGPFRR    BGPKind = "frr"
	BGPBIRD   BGPKind = "bird"
)

// Spec says what to build.
type Spec struct {
	Daemon, CLI string // the programs wgbgpd and wgbgp
	// Node is the program that plays the parts of labs/node; empty: this one,
	// whose main must begin with node.Main.
	Node string

	TGW      TGWKind        // empty: TGWDouble
	TGWHold  int            // seconds, 0: 30
	TGWTakes int            // prefixes from one Connect peer, 0: 1,000
	TGWNets  []netip.Prefix // announced besides the workload's own
	Gateways []Gateway
	Sites    []Site
}

// Gateway is one gateway host.
type Gateway struct {
	Name string
	ASN  bgp.ASN // 0: 65010, the same for all, which ECMP of a TGW needs
	// TOML is appended to the configuration: more tables.
	TOML string
	// NotStarted leaves the daemon to the caller (Lab.StartGateway).
	NotStarted bool
	// FRR sets the gateway up without wgbgpd, see startFRRGateway.
	FRR bool
}

// Site is one remote site.
type Site struct {
	Name string
	BGP  BGPKind
	// DebianWireGuard runs Debian's wireguard-go and wg(8) instead of labs/site.
	// FRR and BIRD sites always do.
	DebianWireGuard bool
	Gateways        []string // it has tunnels to these; nil: all
	// ReturnBy names the gateways that a static site sends by; nil: all, by
	// ECMP. A static site does not notice that a tunnel is dead.
	ReturnBy  []string
	Keepalive int  // seconds, of the site
	Open      bool // an interface of its own on the gateway (mode "open")
	PSK       bool
	DialsUs   bool // the gateway has no endpoint for it
	// BFD is the interval of a BFD session, with multiplier 3; 0: none. FRR and BIRD
	// speak it themselves, all other sites have a BIRD that does nothing else.
	BFD time.Duration
	// TOML is put into the gateway's [[site]] block, Tables behind it, such as
	// [[site.probe]].
	TOML, Tables string
	// Neighbor is put into the [site.neighbor] block.
	Neighbor string
}
