package ha

import (
	"net/netip"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// Config is what the operator wants, validated and with every default filled
// in. It is immutable; a reload hands over a new one. Package configs makes it
// from TOML. All slices are sorted by Name.
type Config struct {
	Gateway   Gateway
	Devices   []wg.Device // without peers: sites bring them
	Sites     []Site
	Connect   []tgwconnect.ConnectPeer
	Neighbors []bgp.Neighbor // complete: two per Connect peer, one per BGP site, plain ones
	FIB       FIB
	Ranks     Ranks
}

// Gateway is this host.
type Gateway struct {
	Name     string
	ASN      bgp.ASN
	RouterID netip.Addr // IPv4
	Region   string
	// CoalesceDelay bounds how long good news waits for company; a failure
	// never waits.
	CoalesceDelay time.Duration
	// EndOfRIBWait bounds how long sweeping waits for neighbors (RFC 4724).
	EndOfRIBWait time.Duration
	// Linger is how long a route outlives its withdrawal.
	Linger time.Duration
}

// FIB is where and how routes are installed.
type FIB struct {
	Table    uint32
	VRF      string
	Protocol uint8
	Metric   uint32
	// SinkMetric is the metric of the blackhole under every prefix of our own.
	SinkMetric uint32
	RulePref   uint32
	Mark       uint32
	Source4    netip.Addr // preferred source, invalid: none
	Source6    netip.Addr
	MaxECMP    int
	Takeover   bool
	// Permit names prefixes that may be installed although they cover a tunnel
	// endpoint or a reserved range (design section 7).
	Permit   []netip.Prefix
	Sysctl   SysctlMode
	MSSClamp bool
}

// SysctlMode says what may be done about kernel settings forwarding needs.
type SysctlMode string

// Sysctl modes: set what is wrong, only report it, or leave it alone.
const (
	SysctlSet   SysctlMode = "set"
	SysctlCheck SysctlMode = "check"
	SysctlOff   SysctlMode = "off"
)

// Role is a site's view of this host.
type Role string

// Roles.
const (
	RolePrimary Role = "primary"
	RoleBackup  Role = "backup"
)

// Site is a remote place reached over WireGuard.
type Site struct {
	Name        string
	Description string
	Device      string     // wg.Device.Name
	Mode        wg.Mode    // of that device
	Peer        wg.Peer    // key, preshared key, endpoint, keepalive; AllowedIPs empty
	Address4    netip.Addr // inner address of the site, invalid: none
	Address6    netip.Addr
	Prefixes    []netip.Prefix // static, announced while healthy; sorted
	Neighbor    string         // bgp.Neighbor.Name, empty: no BGP
	Group       string         // redundancy group: sites of one group may claim the same prefix
	Role        Role
	Disabled    bool
	Checks      []Check
	Rules       Rule
	IdlePolicy  IdlePolicy
	HoldDown    time.Duration // wait after recovery before trusting the site again
	// Roams: other hosts have the device's private key, and the site's one
	// session is wherever it dials.
	Roams bool
}

// IdlePolicy says what to do with a site nothing is known about, because it
// has no probe, no heartbeat and no traffic.
type IdlePolicy string

// Idle policies.
const (
	IdleAnnounce IdlePolicy = "announce"
	IdleWithhold IdlePolicy = "withhold"
)

// CheckKind is a kind of evidence.
type CheckKind string

// Check kinds.
const (
	CheckHeartbeat CheckKind = "heartbeat" // counters under the protocol heartbeat
	CheckHandshake CheckKind = "handshake" // handshake age only: slow, and idle is not death
	CheckProbe     CheckKind = "probe"     // ICMP or TCP
	CheckBGP       CheckKind = "bgp"       // the site's BGP session
)

// Check is one piece of evidence about a site. Name is unique in the site.
type Check struct {
	Name string
	Kind CheckKind
	// Probe is what wg/probe runs for it (heartbeat and probe kinds).
	Probe wg.Probe
	Rise  int // consecutive successes before up
	Fall  int // consecutive failures before down
	// Prefixes, when not empty, are withdrawn when this check fails; the site
	// itself is not judged by it.
	Prefixes []netip.Prefix
}

// Rule combines the checks of a site. Any: one passing check is enough. All:
// one failing check is too many. Of names the checks that count; empty: all
// that name no prefixes.
type Rule struct {
	Name string
	Any  bool
	Of   []string
}

// Rank says how strongly this host speaks for a prefix (design section 4).
type Rank string

// Ranks, strongest first.
const (
	RankTakeover Rank = "takeover"
	RankDirect   Rank = "direct"
	RankBackup   Rank = "backup"
	RankIndirect Rank = "indirect"
	RankRemote   Rank = "remote"
	RankDrain    Rank = "drain"
)

// RankAttrs is what a rank means on the wire.
type RankAttrs struct {
	MED         uint32
	Prepend     uint8
	LocalPref   uint32
	Communities []bgp.Community
}

// Ranks maps ranks to attributes.
type Ranks map[Rank]RankAttrs

// DefaultRanks is the table of design section 4.
func DefaultRanks() Ranks {
	return Ranks{
		RankTakeover: {MED: 10, LocalPref: 400},
		RankDirect:   {MED: 50, LocalPref: 300},
		RankBackup:   {MED: 80, LocalPref: 250},
		RankIndirect: {MED: 120, Prepend: 1, LocalPref: 200},
		RankRemote:   {MED: 150, Prepend: 2, LocalPref: 150},
		RankDrain:    {MED: 200, Prepend: 3, LocalPref: 50, Communities: []bgp.Community{bgp.GracefulShutdown}},
	}
}
