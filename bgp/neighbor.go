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

// Neighbor is one BGP session as it should be. The remote Address is its key:
// GoBGP can not hold two sessions to one address. All durations are whole
// seconds on the wire (RFC 4271 section 4.2).
type Neighbor struct {
	Name        string // unique, stable, shown to operators; e.g. "tgw-a/1" or a site's name
	Description string // cosmetic, never a reason to touch the session
	Kind        Kind
	Group       string // audience: announcements name groups, never single neighbors
	Site        string // site name when Kind is KindSite

	Address      netip.Addr // remote address, with zone for fe80::/10
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

	GracefulRestart bool          // RFC 4724; never toward TGW
	RestartTime     time.Duration // only with GracefulRestart

	// MaxPrefixes is how many prefixes the neighbor may hold with us, per family,
	// accepted or not; one more costs the session (Cease 6/1, RFC 4486). Refused
	// paths that hold our ASN are not counted: routers such as FRR send back what
	// they were told. Of those it may hold as many as it could ever have been told,
	// and a reserve. 0: no limit of either kind.
	MaxPrefixes uint32

	// Import is what may be learned. Nil learns nothing (RFC 8212).
	Import *ImportPolicy
	// Export false announces nothing whatever the plan says (RFC 8212).
	Export bool
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
	Since   time.Time // of the present State
	State   SessionState
	Reason  string // why it left Established last: "hold-timer-expired", "notification-received cease/6/2", "max-prefix", ...
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
}
