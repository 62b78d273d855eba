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
// from TOML. Slices are sorted by Name where
// nothing else is said.
type Config struct {
	Gateway    Gateway
	Devices    []wg.Device // without peers: sites bring them
	Sites      []Site
	Connect    []tgwconnect.ConnectPeer
	Discover   []Discovery       // by name; AWS says what becomes of them
	Servers    []ServerDiscovery // the same for sessions with VPC Route Servers
	Neighbors  []bgp.Neighbor    // complete: two per Connect peer, one per BGP site, plain ones
	FIB        FIB
	Ranks      Ranks
	GroupRanks []GroupRank       // what differs from Ranks; by group, then rank
	BFD        []bgp.BFDSession  // one per neighbor or site that wants one, under its name
	Confirms   []Confirm         // by neighbor
	Aggregates []Aggregate       // by prefix
	Conditions []Condition       // by name
	Actions    []CommunityAction // by community
	Watched    []netip.Prefix    // whose carrier the plan says, for tables without BGP; sorted
	Health     Health
	Guard      Guard
}

// Health says what counts when others ask whether this host forwards.
type Health struct {
	Sites CountSites // empty: CountDialled
}

// CommunityAction is what a neighbor with Actions may ask for by a community.
type CommunityAction struct {
	Community  bgp.Community
	LocalPref  uint32   // given to the path; 0: as it is
	Prepend    uint8    // more of our ASNs toward every Transit Gateway
	NoAnnounce []string // neighbor groups that are not told, sorted
}

// Aggregate is a prefix that is announced while this host announces enough that
// lies inside it.
type Aggregate struct {
	Prefix netip.Prefix // masked
	Min    int          // so many contributors at least; 0: 1
	// Suppress takes the contributors back from the groups that have the aggregate.
	Suppress bool
	To       []string // neighbor groups, sorted
}

// Gateway is this host.
type Gateway struct {
	Name     string
	ASN      bgp.ASN
	RouterID netip.Addr // IPv4
	Region   string
	// Prefer lists other regions, the nearest first; those that it does not name
	// come after them.
	Prefer []string
	// CoalesceDelay is how long good news that follows other news waits for
	// company; a failure never waits.
	CoalesceDelay time.Duration
	// EndOfRIBWait bounds how long sweeping waits for neighbors (RFC 4724).
	EndOfRIBWait time.Duration
	// Linger is how long a route outlives its withdrawal.
	Linger time.Duration
	// DrainLimit bounds how long a leaving host with a partner waits for traffic to move.
	DrainLimit time.Duration
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
	Damping     Damping
	// Preempt: when it comes back it takes over from the host that holds it.
	Preempt bool
	// Link: the peer is a gateway of the fleet, behind which anything may be. It is
	// no place of its own: it counts nowhere where sites are counted.
	Link bool
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
	CheckBFD       CheckKind = "bfd"       // the BFD session of the site's name
)

// Check is one piece of evidence about a site. Name is unique in the site.
type Check struct {
	Name string
	Kind CheckKind
	// Probe is what wg/probe runs for it (heartbeat and probe kinds).
	Probe wg.Probe
	Rise  int // consecutive successes before up
	Fall  int // consecutive failures before down
	// Strict: a BFD session that never came up counts as not measured yet, instead
	// of as no evidence.
	Strict bool
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

// GroupRank is what a rank means toward one neighbor group.
type GroupRank struct {
	Group string
	Rank  Rank
	RankAttrs
}

// rankAttrs is what the rank means toward the group.
func (c *Config) rankAttrs(group string, rank Rank) RankAttrs {
	for i := range c.GroupRanks {
		if g := &c.GroupRanks[i]; g.Group == group && g.Rank == rank {
			return g.RankAttrs
		}
	}
	return c.Ranks[rank]
}

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
