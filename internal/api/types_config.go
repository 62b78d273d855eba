package api

import (
	"net/netip"
	"time"
)

// Kinds of event.
const (
	EventAnnounce = "announce"
	EventWithdraw = "withdraw"
	EventUp       = "up"       // a site
	EventDown     = "down"     // a site
	EventVerdict  = "verdict"  // any other change of a site's verdict
	EventSession  = "session"  // a BGP session
	EventBFD      = "bfd"      // a BFD session
	EventReject   = "reject"   // a path that import policy refused
	EventRoute    = "route"    // a kernel route
	EventTunnel   = "tunnel"   // a GRE tunnel
	EventConfig   = "config"   // a reload, successful or not
	EventOperator = "operator" // an order given through this API
	EventAlarm    = "alarm"
	EventAWS      = "aws"    // a route table, target group or record was written, or AWS can not be asked
	EventEdge     = "edge"   // an edge failed or recovered
	EventLost     = "lost"   // events were lost between the previous one and this
	EventSystem   = "system" // start, stop
)

// EventKinds lists the kinds in the order of the documentation.
func EventKinds() []string {
	return []string{
		EventAnnounce, EventWithdraw, EventUp, EventDown, EventVerdict, EventSession, EventBFD, EventReject, EventRoute, EventTunnel,
		EventConfig, EventOperator, EventAlarm, EventAWS, EventEdge, EventLost, EventSystem,
	}
}

// Event is one thing that happened. Seq rises by one for each event of one
// daemon; Boot names the daemon's life, so that a client sees a restart.
type Event struct {
	Schema   string       `json:"schema"`
	Boot     string       `json:"boot"`
	Seq      uint64       `json:"seq"`
	Time     time.Time    `json:"time"`
	Kind     string       `json:"kind"`
	Prefix   netip.Prefix `json:"prefix,omitzero"`
	Site     string       `json:"site,omitempty"`
	Neighbor string       `json:"neighbor,omitempty"`
	Edge     string       `json:"edge,omitempty"`
	Reason   string       `json:"reason,omitempty"` // machine-readable word
	Detail   string       `json:"detail,omitempty"`
	Gen      uint64       `json:"generation,omitempty"`
}

// Config is the running configuration. Secrets are references in it, so the
// text has none.
type Config struct {
	Schema string       `json:"schema"`
	File   string       `json:"file"`
	Loaded Stamp        `json:"loaded,omitzero"`
	Files  List[string] `json:"files"` // with includes
	Text   string       `json:"text"`  // TOML
}

// ConfigReport is the outcome of a check, a diff or a reload.
type ConfigReport struct {
	Schema   string              `json:"schema"`
	File     string              `json:"file"`
	OK       bool                `json:"ok"`
	Applied  bool                `json:"applied"` // a reload took it over
	Errors   List[ConfigProblem] `json:"errors"`
	Warnings List[ConfigProblem] `json:"warnings"`
	Changes  List[ConfigChange]  `json:"changes"`
}

// ConfigProblem is one thing wrong with a configuration.
type ConfigProblem struct {
	Code    string `json:"code"` // of a warning, such as "W-IDLE"; empty: an error
	File    string `json:"file"`
	Line    int    `json:"line"` // 0: unknown
	Key     string `json:"key"`
	Problem string `json:"problem"`
	Cure    string `json:"cure"`
}

// Classes of change: what it costs, mildest first. They are the words of
// package configs.
const (
	ClassLive         = "live"          // no session and no peer notices
	ClassSoftReset    = "soft-reset"    // routes are judged or sent again, the session stays
	ClassSessionReset = "session-reset" // one BGP session or WireGuard peer starts over
	ClassRestart      = "restart"       // takes effect only when the daemon restarts
)

// ConfigChange is what happened to one object between two configurations.
type ConfigChange struct {
	Class  string       `json:"class"`
	Object string       `json:"object"` // "site paris", "gateway"
	Action string       `json:"action"` // "added", "removed", "changed"
	Keys   List[string] `json:"keys"`   // that differ; values are not told, they may be secret
}
