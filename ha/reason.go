package ha

import "net/netip"

// Reason is why something known is not done. The set is closed: logs, metrics
// and the CLI show these words.
type Reason string

// Reasons.
const (
	ReasonNone           Reason = ""
	ReasonSiteDown       Reason = "site-down"        // the health rule says down
	ReasonRxStall        Reason = "rx-stall"         // heartbeat sent, nothing received
	ReasonHandshake      Reason = "handshake"        // no session: handshake older than 180 s or never
	ReasonProbe          Reason = "probe-failed"     // a probe fell
	ReasonBGP            Reason = "bgp-down"         // the site's session is not Established
	ReasonBFD            Reason = "bfd-down"         // BFD found the site or the neighbor dead
	ReasonNoDevice       Reason = "no-device"        // the interface is missing
	ReasonUnknown        Reason = "not-measured-yet" // no evidence yet
	ReasonStale          Reason = "not-measurable"   // evidence stopped coming: we can not see
	ReasonIdle           Reason = "idle"             // nothing known, by policy
	ReasonHoldDown       Reason = "hold-down"        // recovered, not yet trusted
	ReasonDamped         Reason = "damped"           // failed too often (RFC 2439)
	ReasonDisabled       Reason = "disabled"         // by the operator
	ReasonDraining       Reason = "draining"
	ReasonUnderlay       Reason = "underlay-down"   // this host itself has no way out: see guard.go
	ReasonOverlap        Reason = "overlap"         // another site holds the prefix
	ReasonNotBest        Reason = "not-best"        // another path is preferred
	ReasonCoversEndpoint Reason = "covers-endpoint" // would route a tunnel into itself
	ReasonReserved       Reason = "reserved"        // default route, link-local, metadata, fd00::/8
	ReasonAllowedIP      Reason = "allowed-ip-pending"
	ReasonRoute          Reason = "route-pending"
	ReasonRouteFailed    Reason = "route-failed"
	ReasonShadowed       Reason = "shadowed" // a foreign route wins
	ReasonNoTunnel       Reason = "tunnel-down"
	ReasonLinkDown       Reason = "link-down"        // the WireGuard link to a gateway is dead
	ReasonNoPeer         Reason = "peer-not-applied" // the interface or the peer is not set up
	ReasonCommunity      Reason = "community"        // NO_EXPORT, NO_ADVERTISE or BLACKHOLE
	ReasonNoAudience     Reason = "no-audience"      // no neighbor to tell
	ReasonAggregateEmpty Reason = "aggregate-empty"  // too few contributors
	ReasonAggregated     Reason = "aggregated"       // an aggregate stands for it
	ReasonQuota          Reason = "quota"            // the group is told as many as it takes
	ReasonCondition      Reason = "condition"        // see Condition
)

// Withheld is a prefix that is known and not announced, or known and not
// installed.
type Withheld struct {
	Prefix netip.Prefix
	Site   string // or empty
	From   string // neighbor it was learned from, or empty for configured
	// Group says that only this neighbor group is not told; empty: nobody is, or it
	// is not installed.
	Group  string
	Reason Reason
	Detail string
}

// Verdict is the outcome of a site's health rule.
type Verdict string

// Verdicts (design section 5).
const (
	Up         Verdict = "up"
	Suspect    Verdict = "suspect" // failing, not yet long enough
	Down       Verdict = "down"
	Idle       Verdict = "idle"       // no traffic, nothing known
	Suppressed Verdict = "suppressed" // damped
)
