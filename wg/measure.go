package wg

import (
	"net/netip"
	"time"
)

// ProbeKind says how a probe asks.
type ProbeKind string

// Probe kinds. A heartbeat asks nothing: it sends one small inner packet so
// that WireGuard itself must answer within 10 s (passive keepalive); its
// success is read from the peer's counters, not from a reply.
const (
	ProbeICMP      ProbeKind = "icmp"
	ProbeTCP       ProbeKind = "tcp"
	ProbeHeartbeat ProbeKind = "heartbeat"
)

// Probe is one measurement through a tunnel, repeated for as long as it is in
// the plan. ID is the key; a changed probe with the same ID is replaced.
type Probe struct {
	ID       string // "site/name", unique
	Site     string
	Kind     ProbeKind
	Device   string // SO_BINDTODEVICE: no other way out counts; "": outside of tunnels, whatever way the kernel takes
	Mark     uint32 // SO_MARK without Device, which keeps policy rules from leading it into a tunnel
	Target   netip.Addr
	Source   netip.Addr // invalid: kernel's choice
	Port     uint16     // TCP only
	Interval time.Duration
	Timeout  time.Duration
}

// ProbeResult is one answer or its absence.
type ProbeResult struct {
	ID     string
	At     time.Time // when the verdict of this round was known, monotonic
	OK     bool
	RTT    time.Duration // only when OK
	Reason string        // when not OK: "timeout", "refused", "no-device", "unreachable", "send: ..."
}
