package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// Schema is the first field of every answer. A client refuses any other.
const Schema = "wgbgp/1"

// List is a slice whose JSON form is never null.
type List[T any] []T

// MarshalJSON writes [] for nil.
func (l List[T]) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("[]"), nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode([]T(l)); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// Stamp is a moment with its age when the answer was made. The age comes from
// the monotonic clock and is right even if the wall clock stepped since.
type Stamp struct {
	Time       time.Time `json:"time"`
	AgeSeconds float64   `json:"age_seconds"`
}

// At is the stamp of t as seen at now; a zero t gives a zero Stamp, which is
// left out of JSON.
func At(t, now time.Time) Stamp {
	if t.IsZero() {
		return Stamp{}
	}
	age := math.Round(max(0, now.Sub(t).Seconds())*1000) / 1000
	return Stamp{Time: t.UTC().Round(time.Millisecond), AgeSeconds: age}
}

// IsZero reports whether there is no such moment.
func (s Stamp) IsZero() bool { return s.Time.IsZero() }

// Age is the age as a duration.
func (s Stamp) Age() time.Duration { return time.Duration(s.AgeSeconds * float64(time.Second)) }

// FormatAge is the form of ages in text: 00:12:15 below a day, 3d04h above.
func FormatAge(d time.Duration) string {
	s := max(0, int64(d/time.Second))
	if s < 24*3600 {
		return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%dd%02dh", s/(24*3600), s/3600%24)
}

// Status is the one-screen summary.
type Status struct {
	Schema   string        `json:"schema"`
	Host     string        `json:"host"`
	Version  string        `json:"version"`
	ASN      uint32        `json:"asn"`
	RouterID netip.Addr    `json:"router_id"`
	Region   string        `json:"region"`
	Started  Stamp         `json:"started,omitzero"`
	Gen      uint64        `json:"generation"` // of the latest plan
	Draining bool          `json:"draining"`
	Drain    *Drain        `json:"drain,omitempty"` // by an operator's order
	Sites    SiteCounts    `json:"sites"`
	Sessions SessionCounts `json:"sessions"`
	Prefixes PrefixCounts  `json:"prefixes"`
	Config   ConfigStatus  `json:"config"`
	Edges    List[Edge]    `json:"edges"`
	Tunnels  List[Tunnel]  `json:"tunnels"`
	Quotas   List[Quota]   `json:"quotas"`
	Alarms   List[Alarm]   `json:"alarms"`
	Sysctls  List[Sysctl]  `json:"sysctl_problems"`
	AWS      AWSRequests   `json:"aws"`
}

// Drain is an operator's order to leave the paths of others.
type Drain struct {
	Reason string `json:"reason"`
	By     string `json:"by"` // who gave it, as far as the socket tells
	Since  Stamp  `json:"since,omitzero"`
	Phase  string `json:"phase"` // the last one is "drained"
	Keep   bool   `json:"keep"`  // it outlives a restart of the daemon
}

// Drained is the last phase of a drain.
const Drained = "drained"

// SiteCounts counts sites by verdict; Disabled ones are counted only there.
type SiteCounts struct {
	Total      int `json:"total"`
	Up         int `json:"up"`
	Suspect    int `json:"suspect"`
	Down       int `json:"down"`
	Idle       int `json:"idle"`
	Suppressed int `json:"suppressed"`
	Disabled   int `json:"disabled"`
}

// SessionCounts counts BGP sessions.
type SessionCounts struct {
	Total       int `json:"total"`
	Established int `json:"established"` // without those in Policy
	Policy      int `json:"policy"`      // Established, exchanging nothing (RFC 8212)
}

// PrefixCounts counts prefixes.
type PrefixCounts struct {
	Learned   int `json:"learned"`   // paths accepted from all neighbors
	Announced int `json:"announced"` // prefixes in the plan's announcements
	Withheld  int `json:"withheld"`  // known, not announced or not installed
	Routes    int `json:"routes"`    // installed in the kernel by us
}

// ConfigStatus says which configuration runs.
type ConfigStatus struct {
	File      string `json:"file"`
	Loaded    Stamp  `json:"loaded,omitzero"`      // when the running one was taken over
	Attempted Stamp  `json:"last_reload,omitzero"` // latest attempt, successful or not
	Error     string `json:"last_reload_error"`    // empty: the latest attempt succeeded
}

// Edge is the state of one edge: which plan it has carried out, and its error.
type Edge struct {
	Name  string `json:"name"`
	Gen   uint64 `json:"generation"`
	OK    bool   `json:"ok"`
	Error string `json:"error"`
	// Counters are of the edge that writes routes; absent for the others.
	Counters *RouteCounters `json:"counters,omitempty"`
	// Greetings are of the edge that greets; absent for the others.
	Greetings *Greetings `json:"greetings,omitempty"`
}

// Greetings count the handshakes that were begun with peers of another host of the
// fleet, by why.
type Greetings struct {
	Takeover uint64 `json:"takeover"` // that host is believed dead
	Sighted  uint64 `json:"sighted"`  // their packets arrive here
}

// RouteCounters count what the daemon did to the kernel's routes, rules and
// next-hop objects since it started.
type RouteCounters struct {
	Writes    uint64 `json:"writes"`    // requests that change the kernel
	Errors    uint64 `json:"errors"`    // requests it refused
	Resyncs   uint64 `json:"resyncs"`   // complete readbacks
	Overflows uint64 `json:"overflows"` // times the kernel's events did not fit its buffer
	Events    uint64 `json:"events"`    // changes by others that concerned us
}

// Tunnel is a GRE tunnel toward a transit gateway.
type Tunnel struct {
	Name    string     `json:"name"`
	Backend string     `json:"backend"`
	Local   netip.Addr `json:"local"`
	Remote  netip.Addr `json:"remote"`
	Up      bool       `json:"up"`
	MTU     int        `json:"mtu"`
	Rx      uint64     `json:"rx_packets"`
	Tx      uint64     `json:"tx_packets"`
	Dropped uint64     `json:"dropped_packets"`
	Error   string     `json:"error"`
}

// Quota is how far the limit of announced prefixes of a neighbor group is used.
type Quota struct {
	Group     string `json:"group"`
	Limit     int    `json:"limit"`
	Wanted    int    `json:"wanted"`    // would be announced without the limit
	Announced int    `json:"announced"` // the others are held back
}

// Alarm is a condition somebody should look at.
type Alarm struct {
	Name     string `json:"name"`     // stable word, e.g. "prefix-quota"
	Severity string `json:"severity"` // as of a Problem; empty: error
	Object   string `json:"object"`   // such as "group tgw-a"
	Text     string `json:"text"`
	Cure     string `json:"cure"`
	Since    Stamp  `json:"since,omitzero"`
}

// Sysctl is a kernel setting that forwarding needs and that is wrong.
type Sysctl struct {
	Name string `json:"name"` // e.g. "net.ipv4.ip_forward"
	Have string `json:"have"`
	Want string `json:"want"`
	Text string `json:"text"` // why it matters
}

// Peer states, the fixed words of the CLI.
const (
	PeerUp         = "up"
	PeerIdle       = "idle"
	PeerStalled    = "stalled" // failing, not yet long enough to be down
	PeerDown       = "down"
	PeerDraining   = "draining"
	PeerDisabled   = "disabled"
	PeerSuppressed = "suppressed"
	PeerForeign    = "foreign" // not ours; left alone
)

// Peer is one WireGuard peer.
type Peer struct {
	Name             string          `json:"name"` // site name, empty for a foreign peer
	PublicKey        string          `json:"public_key"`
	Interface        string          `json:"interface"`
	Backend          string          `json:"backend"`             // "kernel", "userspace"
	Mode             string          `json:"mode"`                // "synced", "open"
	Endpoint         string          `json:"endpoint"`            // present one, empty: never heard of
	Configured       string          `json:"configured_endpoint"` // empty: the peer finds us
	KeepaliveSeconds int             `json:"keepalive_seconds"`
	Handshake        Stamp           `json:"handshake,omitzero"`
	RxBytes          uint64          `json:"rx_bytes"`
	TxBytes          uint64          `json:"tx_bytes"`
	RTTMillis        float64         `json:"rtt_ms"` // of the latest answered probe, 0: none
	State            string          `json:"state"`
	Since            Stamp           `json:"since,omitzero"`
	Reason           string          `json:"reason"`
	Detail           string          `json:"detail"`
	PrefixesIn       int             `json:"prefixes_in"`  // accepted from the site
	PrefixesOut      int             `json:"prefixes_out"` // announced to the site
	AllowedIPs       List[AllowedIP] `json:"allowed_ips"`
	Error            string          `json:"error"` // the peer could not be set
	// Elsewhere is where another host of the fleet heard it, the one that did last.
	Elsewhere *Elsewhere `json:"elsewhere,omitempty"`
}

// Elsewhere is where another host of the fleet heard a peer.
type Elsewhere struct {
	Host     string `json:"host"`
	Endpoint string `json:"endpoint"`
	Heard    Stamp  `json:"heard"`
	Greeting string `json:"greeting"` // why it is greeted by this host now: "takeover", "sighted"; empty: it is not
}

// Sources of an allowed IP or of a site's prefix.
const (
	SourceConfigured = "configured"
	SourceLearned    = "learned"
	SourceForeign    = "foreign"
	SourceAggregate  = "aggregate" // of a path in the RIB: made here from what lies inside
)

// AllowedIP is one line of the ledger of a peer.
type AllowedIP struct {
	Prefix  netip.Prefix `json:"prefix"`
	Source  string       `json:"source"`
	InPlace bool         `json:"in_place"`
	Reason  string       `json:"reason"` // why not in place, or why foreign
	Detail  string       `json:"detail"`
}

// Site is a remote place and what is done about its prefixes.
type Site struct {
	Name        string           `json:"name"`
	Description string           `json:"description"`
	Interface   string           `json:"interface"`
	PublicKey   string           `json:"public_key"`
	Neighbor    string           `json:"neighbor"` // BGP neighbor inside the tunnel, empty: none
	Role        string           `json:"role"`
	Group       string           `json:"group"`
	Disabled    bool             `json:"disabled"`
	Verdict     string           `json:"verdict"`
	Since       Stamp            `json:"since,omitzero"`
	Reason      string           `json:"reason"`
	Detail      string           `json:"detail"`
	Prefixes    List[SitePrefix] `json:"prefixes"`
}

// SitePrefix is one prefix of a site.
type SitePrefix struct {
	Prefix    netip.Prefix `json:"prefix"`
	Source    string       `json:"source"`
	Announced bool         `json:"announced"`
	Rank      string       `json:"rank"`   // when announced
	Reason    string       `json:"reason"` // when withheld from all, or from a group that Detail names
	Detail    string       `json:"detail"`
}

// StatePolicy is the state shown for a session that is Established and
// exchanges nothing because it has no policy (RFC 8212).
const StatePolicy = "Policy"

// Neighbor is one BGP session.
type Neighbor struct {
	Name             string       `json:"name"`
	Kind             string       `json:"kind"` // "tgw", "site", "fleet", "router"
	Group            string       `json:"group"`
	Site             string       `json:"site"`
	Address          netip.Addr   `json:"address"`
	Range            netip.Prefix `json:"range,omitzero"`         // of one that accepts whoever dials from there; else zero
	MaxSessions      uint32       `json:"max_sessions,omitempty"` // with Range
	Dynamic          string       `json:"dynamic,omitempty"`      // the neighbor whose range it came from
	LocalAddress     netip.Addr   `json:"local_address"`
	RouterID         netip.Addr   `json:"router_id"`
	ASN              uint32       `json:"asn"`
	LocalASN         uint32       `json:"local_asn"`
	Families         List[string] `json:"families"` // "ipv4", "ipv6"
	State            string       `json:"state"`    // RFC 4271 name, or StatePolicy
	Hint             string       `json:"hint"`     // what to do about the state
	Since            Stamp        `json:"since,omitzero"`
	LossReason       string       `json:"last_loss_reason"` // of the latest fall from Established
	HoldTimeSeconds  int          `json:"hold_time_seconds"`
	KeepaliveSeconds int          `json:"keepalive_seconds"`
	EndOfRIB4        bool         `json:"end_of_rib_ipv4"`
	EndOfRIB6        bool         `json:"end_of_rib_ipv6"`
	MaxPrefixes      uint32       `json:"max_prefixes"`   // per family, 0: no limit
	AnnounceLimit    uint32       `json:"announce_limit"` // 0: no limit
	Received         uint32       `json:"received"`
	Accepted         uint32       `json:"accepted"`
	Counted          uint32       `json:"counted"` // toward max_prefixes: not our own routes sent back
	Rejected         uint32       `json:"rejected"`
	Announced        uint32       `json:"announced"`
	MessagesIn       uint64       `json:"messages_in"`
	MessagesOut      uint64       `json:"messages_out"`
	UpdatesOut       uint64       `json:"updates_out"`
	Refused          Refusals     `json:"refused_segments"`
	BFD              string       `json:"bfd"`   // session state, empty: not in use
	Error            string       `json:"error"` // the neighbor could not be configured
	Origin           Origin       `json:"origin"`
}

// Refusals counts TCP segments that the kernel of the host dropped while the
// session is down (RFC 2385, RFC 5082). Sessions share the counters.
type Refusals struct {
	MD5Wrong      uint64 `json:"md5_wrong"`      // another password
	MD5Missing    uint64 `json:"md5_missing"`    // not signed, but expected to be
	MD5Unexpected uint64 `json:"md5_unexpected"` // signed, without a password here
	LowTTL        uint64 `json:"low_ttl"`        // TTL security
}
