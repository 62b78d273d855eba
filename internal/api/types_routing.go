package api

import "net/netip"

// Attrs are path attributes as an operator reads them.
type Attrs struct {
	Origin           string       `json:"origin"` // "igp", "egp", "incomplete"
	ASPath           List[uint32] `json:"as_path"`
	MED              *uint32      `json:"med,omitempty"`
	LocalPref        uint32       `json:"local_pref"`        // 0: not given
	Communities      List[string] `json:"communities"`       // "64512:100" or a well-known name
	LargeCommunities List[string] `json:"large_communities"` // "64512:1:2"
}

// Path is one way to a prefix.
type Path struct {
	Prefix   netip.Prefix `json:"prefix"`
	NextHop  netip.Addr   `json:"next_hop"`
	Neighbor string       `json:"neighbor"`          // received from, or sent to; empty: our own
	PathID   uint32       `json:"path_id,omitempty"` // path identifier (RFC 7911)
	Attrs    Attrs        `json:"attributes"`
	Since    Stamp        `json:"since,omitzero"`
	Stale    bool         `json:"stale"` // kept under graceful restart
}

// Rejected is a path that import policy refused.
type Rejected struct {
	Prefix netip.Prefix `json:"prefix"`
	PathID uint32       `json:"path_id,omitempty"` // path identifier (RFC 7911)
	Reason string       `json:"reason"`
}

// RefusedPath is a path that import policy refused, with who sent it.
type RefusedPath struct {
	Neighbor string `json:"neighbor"`
	Rejected
}

// AdjIn is what one neighbor sent.
type AdjIn struct {
	Schema   string         `json:"schema"`
	Neighbor string         `json:"neighbor"`
	Paths    List[Path]     `json:"paths"` // accepted
	Rejected List[Rejected] `json:"rejected"`
}

// AdjOut is what one neighbor is sent, as it sees it.
type AdjOut struct {
	Schema   string     `json:"schema"`
	Neighbor string     `json:"neighbor"`
	Paths    List[Path] `json:"paths"`
}

// RIBEntry is everything known about one prefix.
type RIBEntry struct {
	Prefix netip.Prefix  `json:"prefix"`
	Paths  List[RIBPath] `json:"paths"` // best first
	// AnnouncedTo lists neighbor names that are told, sorted.
	AnnouncedTo List[string] `json:"announced_to"`
	// HeldBack lists the groups that are not told although others are, or would be.
	HeldBack List[HeldBack] `json:"held_back"`
	Rank     string         `json:"rank"`   // how strongly, when announced
	Reason   string         `json:"reason"` // why it is not announced
	Detail   string         `json:"detail"`
}

// HeldBack says why one neighbor group is not told a prefix.
type HeldBack struct {
	Group  string `json:"group"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

// RIBPath is one candidate for a prefix.
type RIBPath struct {
	Source    string     `json:"source"` // SourceConfigured, SourceLearned, SourceAggregate
	Site      string     `json:"site"`
	Neighbor  string     `json:"neighbor"`
	NextHop   netip.Addr `json:"next_hop"`
	Best      bool       `json:"best"`
	Usable    bool       `json:"usable"`    // a path that is not may never be best
	Reason    string     `json:"reason"`    // why best, why not, or why not usable
	Asked     string     `json:"asked"`     // what its communities ask for and get
	Blackhole bool       `json:"blackhole"` // its packets are dropped here, as its neighbor asked (RFC 7999)
	Detail    string     `json:"detail"`
	// DecidedBy is the step of path selection by which the best path was preferred
	// (ha.Step, RFC 4271 section 9.1.2); empty for the best and its equals.
	DecidedBy string `json:"decided_by"`
	PathID    uint32 `json:"path_id,omitempty"` // path identifier (RFC 7911)
	Attrs     Attrs  `json:"attributes"`
	Since     Stamp  `json:"since,omitzero"`
	Stale     bool   `json:"stale"`
}

// Route statuses.
const (
	RouteInstalled = "installed"
	RouteShadowed  = "shadowed" // a foreign route wins
	RouteFailed    = "failed"
	RoutePending   = "pending" // wanted, not yet reported
)

// Route types.
const (
	RouteUnicast   = "unicast"
	RouteBlackhole = "blackhole"
)

// Route is what the kernel is told about a prefix, and whether it took it.
type Route struct {
	Prefix   netip.Prefix  `json:"prefix"`
	Table    uint32        `json:"table"`
	VRF      string        `json:"vrf"`
	Type     string        `json:"type"`
	Metric   uint32        `json:"metric"`
	Protocol uint8         `json:"protocol"`
	Source   netip.Addr    `json:"preferred_source"`
	NextHops List[NextHop] `json:"next_hops"`
	Site     string        `json:"site"`
	Status   string        `json:"status"`
	Detail   string        `json:"detail"`
	Foreign  bool          `json:"foreign"` // somebody else's, on a prefix we want
}

// NextHop is one way out.
type NextHop struct {
	Gateway   netip.Addr `json:"gateway"`
	Interface string     `json:"interface"`
	Weight    uint8      `json:"weight"`
	Site      string     `json:"site"` // the peer behind the interface, if one
	// Backup: used when all others that are not backups are lost.
	Backup bool `json:"backup"`
}

// Health is the judgement of one site with its evidence.
type Health struct {
	Site            string      `json:"site"`
	Verdict         string      `json:"verdict"`
	Since           Stamp       `json:"since,omitzero"`
	Reason          string      `json:"reason"`
	Detail          string      `json:"detail"`
	Rule            string      `json:"rule"`                   // "any", "all", or its name
	HoldDownSeconds float64     `json:"hold_down_left_seconds"` // 0: trusted
	Flaps           uint64      `json:"flaps"`                  // failures since the site is known, with damping
	Penalty         float64     `json:"penalty"`                // of damping, as decayed
	ReuseSeconds    float64     `json:"reuse_in_seconds"`       // until it is no longer damped, if it stays well; 0: it is not
	Checks          List[Check] `json:"checks"`
}

// Check is one piece of evidence.
type Check struct {
	Name            string             `json:"name"`
	Kind            string             `json:"kind"`   // "heartbeat", "handshake", "probe", "bgp", "bfd"
	Method          string             `json:"method"` // of a probe: "icmp", "tcp"
	Target          string             `json:"target"`
	IntervalSeconds float64            `json:"interval_seconds"`
	Up              bool               `json:"up"` // after rise and fall
	Measured        bool               `json:"measured"`
	OK              bool               `json:"last_ok"`
	Last            Stamp              `json:"last,omitzero"`
	RTTMillis       float64            `json:"rtt_ms"`
	Reason          string             `json:"reason"` // why the latest round failed
	Rise            int                `json:"rise"`
	Fall            int                `json:"fall"`
	Successes       int                `json:"successes"` // in a row
	Failures        int                `json:"failures"`  // in a row
	Counts          bool               `json:"counts"`    // the rule looks at it
	Prefixes        List[netip.Prefix] `json:"prefixes"`  // withdrawn alone when it fails
}

// Explain is the chain a packet or a prefix follows.
type Explain struct {
	Schema  string       `json:"schema"`
	Query   string       `json:"query"`
	Prefix  netip.Prefix `json:"prefix"` // the one that answers, zero: none
	Site    string       `json:"site"`
	Steps   List[Step]   `json:"steps"`
	OK      bool         `json:"ok"`
	Broken  string       `json:"first_broken"` // name of the first broken step
	Verdict string       `json:"verdict"`      // one sentence
}

// Step is one link of the chain.
type Step struct {
	Name     string       `json:"name"`
	OK       bool         `json:"ok"`
	Skipped  bool         `json:"skipped"`   // does not apply here; never broken
	CausedBy string       `json:"caused_by"` // step whose failure made this one fail
	Text     string       `json:"text"`
	Reason   string       `json:"reason"`
	Evidence List[string] `json:"evidence"`
}

// Problem is something `check` found.
type Problem struct {
	Severity string `json:"severity"` // "error", "warning"
	Object   string `json:"object"`   // "site paris", "neighbor tgw-a/1"
	Reason   string `json:"reason"`
	Text     string `json:"text"`
	Cure     string `json:"cure"`
}

// Severities.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
)
