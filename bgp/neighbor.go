package bgp

import (
	"net/netip"
	"time"
)

// ASN is an autonomous system number (RFC 6793: four octets).
type ASN uint32

// Kind says which side of the gateway a neighbor is on. It selects defaults
// and the shape of the next hop; it is not a policy.
type Kind string

// The kinds of neighbor.
const (
	KindTGW    Kind = "tgw"    // one of the two speakers of a TGW Connect peer
	KindSite   Kind = "site"   // a remote site, inside its WireGuard tunnel
	KindFleet  Kind = "fleet"  // another gateway host
	KindRouter Kind = "router" // an ordinary router
)

// Neighbor is one BGP session as it should be, or with a Range the template of
// those that come by themselves. The remote Address is its key: GoBGP can not
// hold two sessions to one address. All durations are whole
// seconds on the wire (RFC 4271 section 4.2).
type Neighbor struct {
	Name        string // unique, stable, shown to operators; e.g. "tgw-a/1" or a site's name
	Description string // cosmetic, never a reason to touch the session
	Kind        Kind
	Group       string // audience: announcements name groups, never single neighbors
	Site        string // site name when Kind is KindSite; that of the WireGuard link that a KindFleet one is reached over
	// Region is where a KindFleet neighbor is; empty: in the gateway's own.
	Region string

	Address netip.Addr // remote address, with zone for fe80::/10
	// Range accepts whoever dials from it, up to MaxSessions at a time, as neighbors
	// named NAME/ADDRESS. Then Address is invalid, and a RemoteASN of 0 is any but
	// the gateway's.
	Range       netip.Prefix
	MaxSessions uint32
	// Dynamic names the neighbor whose Range this one came from. Only the speaker
	// and the core set it.
	Dynamic string

	LocalAddress netip.Addr // explicit source; it may not exist yet
	Device       string     // interface the session runs over, also where learned routes point
	BindDevice   bool       // bind the dialling socket to Device (SO_BINDTODEVICE)

	LocalASN  ASN // 0: the gateway's
	RemoteASN ASN
	Passive   bool   // wait for the other side to dial
	Port      uint16 // remote TCP port, 0: 179

	MultihopTTL uint8 // eBGP multihop TTL; 0: directly connected (TTL 1). TGW Connect wants 2
	TTLSecurity bool  // GTSM (RFC 5082), excludes MultihopTTL

	HoldTime     time.Duration // proposed; the smaller one of both ends counts
	Keepalive    time.Duration
	ConnectRetry time.Duration

	Password Password // TCP MD5 (RFC 2385), empty: none

	IPv4, IPv6 bool // address families negotiated on this session

	// NextHop4 and NextHop6 are what this neighbor is told as next hop.
	// Invalid means the local address of the session, which exists only for
	// the session's own family: IPv6 over an IPv4 session needs NextHop6.
	NextHop4, NextHop6 netip.Addr

	// AddPaths lets the neighbor send several paths to one prefix (RFC 7911). Toward
	// it there is one path per prefix, the one that this host forwards by.
	AddPaths bool

	GracefulRestart bool          // RFC 4724; never toward TGW
	RestartTime     time.Duration // only with GracefulRestart
	// Restarting says that the neighbor keeps what an earlier process told it, and
	// that this host has gone on forwarding (RFC 4724 section 4.1, Restart State and
	// Forwarding State). It is told nothing before this ends, then all at once.
	Restarting bool

	// MaxPrefixes is how many prefixes (with AddPaths: paths) the neighbor may hold with us, per family,
	// accepted or not; one more costs the session (Cease 6/1, RFC 4486). Refused
	// paths that hold our ASN are not counted: routers such as FRR send back what
	// they were told. Of those it may hold as many as it could ever have been told,
	// and a reserve. 0: no limit of either kind.
	MaxPrefixes uint32

	// Flush counts the times that what the session brought became void, because
	// BFD found the neighbor dead: one more resets the session (RFC 5882 section
	// 4.1), also where graceful restart would keep its paths.
	Flush uint32

	// Import is what may be learned. Nil learns nothing (RFC 8212).
	Import *ImportPolicy
	// AnnounceLimit is how many distinct prefixes, both families together, the
	// neighbor takes; the plan holds back what exceeds it. 0: no limit.
	AnnounceLimit uint32
	// Actions permits the neighbor to ask for what the configuration offers by
	// community; AcceptBlackhole to have a single address dropped here (RFC 7999).
	Actions, AcceptBlackhole bool
	// Export false announces nothing whatever the plan says (RFC 8212).
	Export bool
	// TellLoops announces paths too that hold the neighbor's own ASN, which it will
	// drop: routers that leave the loop check to the receiver do so. A gateway does
	// not.
	TellLoops bool
}

// Is6 reports whether the session runs over IPv6.
func (n *Neighbor) Is6() bool {
	if n.Range.IsValid() {
		return n.Range.Addr().Is6()
	}
	return n.Address.Is6()
}

// Password is a TCP MD5 secret. Every formatter redacts it.
type Password string

// String redacts.
func (p Password) String() string {
	if p == "" {
		return ""
	}
	return "[redacted]"
}

// GoString redacts.
func (p Password) GoString() string { return p.String() }

// MarshalText redacts, so that no JSON or TOML writer can print the secret.
func (p Password) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// ImportPolicy bounds what is believed from one neighbor.
type ImportPolicy struct {
	// Allow lists acceptable prefixes; a path is kept if any rule matches.
	// An empty list matches nothing.
	Allow []PrefixRule
	// AllowOwnASN keeps paths that hold our own ASN (default: dropped as a loop).
	AllowOwnASN bool
	// EnforceFirstAS drops eBGP paths whose first AS is not the neighbor's.
	EnforceFirstAS bool
	// LocalPref is given to every accepted path (RFC 4271 section 9.1.1).
	LocalPref uint32
}

// PrefixRule matches prefixes inside Prefix whose length is within [GE, LE].
// Both zero means exactly Prefix. This is the ge/le of FRR's prefix lists.
type PrefixRule struct {
	Prefix netip.Prefix
	GE, LE uint8
}

// Matches reports whether p is accepted by the rule.
func (r PrefixRule) Matches(p netip.Prefix) bool {
	if p.Addr().Is4() != r.Prefix.Addr().Is4() || p.Bits() < r.Prefix.Bits() || !r.Prefix.Contains(p.Addr()) {
		return false
	}
	ge, le := int(r.GE), int(r.LE)
	if ge == 0 && le == 0 {
		return p.Bits() == r.Prefix.Bits()
	}
	if ge == 0 {
		ge = r.Prefix.Bits()
	}
	if le == 0 {
		le = p.Addr().BitLen()
	}
	return p.Bits() >= ge && p.Bits() <= le
}

// SessionState is the state of a session by its RFC 4271 name.
type SessionState string

// Session states, and Policy: Established but without a policy, so that
// nothing can be exchanged (RFC 8212).
const (
	StateIdle        SessionState = "Idle"
	StateConnect     SessionState = "Connect"
	StateActive      SessionState = "Active"
	StateOpenSent    SessionState = "OpenSent"
	StateOpenConfirm SessionState = "OpenConfirm"
	StateEstablished SessionState = "Established"
)

// NeighborState is one observation of a session.
type NeighborState struct {
	Name    string
	Address netip.Addr
	// Dynamic is the neighbor whose Range it came from, RemoteASN what it said of
	// itself, and Gone that it left and is forgotten; of others Dynamic is empty.
	Dynamic   string
	RemoteASN ASN
	Gone      bool
	Since     time.Time // of the present State
	State     SessionState
	Reason    string // why it left Established last: "hold-timer-expired", "notification-received cease/6/2", "max-prefix", ...
	// IdleUntil is when a session closed by max-prefix is tried again.
	IdleUntil time.Time
	RouterID  netip.Addr
	HoldTime  time.Duration // negotiated
	// EndOfRIB4/6 say that the neighbor's initial table is complete
	// (RFC 4724 section 2), on this session.
	EndOfRIB4, EndOfRIB6 bool
	Received             uint32 // paths received before policy
	Accepted             uint32 // after policy
	Counted              uint32 // toward MaxPrefixes, in the fuller family
	Rejected             uint32 // refused by policy since the session came up
	Announced            uint32 // announcements the neighbor was sent
	MessagesIn           uint64
	MessagesOut          uint64
	UpdatesOut           uint64 // UPDATE messages sent since the daemon started
	// NoIPv4 says that nothing of IPv4 is announced, because that needs IPv6 next
	// hops, which the neighbor did not say it takes (RFC 8950).
	NoIPv4 bool
	// Refused is what the kernel dropped while the session is down.
	Refused Refusals
}

// Refusals counts TCP segments that the kernel dropped for TCP MD5 (RFC 2385) or
// TTL security (RFC 5082). It counts them for the host, not for one neighbor.
type Refusals struct {
	MD5Wrong      uint64 // signed with another password
	MD5Missing    uint64 // not signed, though a password is set here
	MD5Unexpected uint64 // signed, though no password is set here
	LowTTL        uint64 // TTL below 255 where TTL security is on
}

// Sub is what was counted since o.
func (r Refusals) Sub(o Refusals) Refusals {
	return Refusals{
		MD5Wrong: r.MD5Wrong - o.MD5Wrong, MD5Missing: r.MD5Missing - o.MD5Missing,
		MD5Unexpected: r.MD5Unexpected - o.MD5Unexpected, LowTTL: r.LowTTL - o.LowTTL,
	}
}
