package ha

import (
	"net/netip"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// Fact is one observation. A newer fact about the same thing replaces the
// older one; facts about different things commute.
type Fact interface{ fact() }

// DeviceObserved is a dump of a WireGuard interface, or the news that it could
// not be read (then State.Name is set and nothing else).
type DeviceObserved struct {
	State wg.DeviceState
	Err   string
	Gone  bool // with Err: the interface does not exist
}

// ProbeObserved is the outcome of one probe round. For a heartbeat OK means
// that the packet was sent.
type ProbeObserved struct{ wg.ProbeResult }

// NeighborObserved is the state of a BGP session.
type NeighborObserved struct{ bgp.NeighborState }

// NeighborLosing says that a session ends, before its paths are taken back one by
// one. NeighborObserved follows.
type NeighborLosing struct{ Name string }

// BFDObserved is the state of a BFD session.
type BFDObserved struct{ bgp.BFDState }

// PathsChanged is a batch of changes of the Adj-RIBs-In after policy.
type PathsChanged struct{ Changes []bgp.PathChange }

// TunnelObserved is the state of a GRE tunnel.
type TunnelObserved struct{ tgwconnect.TunnelState }

// RosterHeard is what another host of the fleet says about the peers of a device
// whose private key both have.
type RosterHeard struct{ *wg.Roster }

// PeerSighted is a packet of a session that is not known here: data from the
// address that another host of the fleet named as a peer's last one.
type PeerSighted struct {
	Device string
	Key    wg.Key
	From   netip.AddrPort
}

// WireGuardApplied reports what of Plan's device is now true. Plan is the plan
// that was attempted.
type WireGuardApplied struct {
	Plan *Plan
	wg.Applied
}

// RoutesApplied reports what of Plan's routes is now true.
type RoutesApplied struct {
	Plan *Plan
	bgp.RoutesApplied
}

// AnnounceApplied reports what of Plan's announcements is now true.
type AnnounceApplied struct {
	Plan *Plan
	bgp.AnnounceApplied
}

// SiteSet is an operator's order about one site.
type SiteSet struct {
	Site     string
	Disabled bool
}

// DrainPhase is how far an orderly leave has come.
type DrainPhase uint8

// Drain phases: not leaving; not healthy any more for those who ask (see
// Forwarding) while everything goes on; announced at rank drain so that traffic
// moves away; withdrawn from those who would lose it anyway when the daemon is
// restarted, as those with graceful restart will not; withdrawn everywhere; and
// what was under way has arrived, so that load balancers may forget this host.
const (
	DrainNone DrainPhase = iota
	DrainHealth
	DrainPrefer
	DrainHandOver
	DrainWithdraw
	DrainLeft
)

func (p DrainPhase) String() string {
	switch p {
	case DrainHealth:
		return "health check fails"
	case DrainPrefer:
		return "preference lowered"
	case DrainHandOver:
		return "handed over"
	case DrainWithdraw:
		return "withdrawn"
	case DrainLeft:
		return "left"
	}
	return "none"
}

// Draining is the order to leave.
type Draining struct{ Phase DrainPhase }

func (DeviceObserved) fact()   {}
func (ProbeObserved) fact()    {}
func (NeighborObserved) fact() {}
func (NeighborLosing) fact()   {}
func (BFDObserved) fact()      {}
func (PathsChanged) fact()     {}
func (TunnelObserved) fact()   {}
func (RosterHeard) fact()      {}
func (PeerSighted) fact()      {}
func (WireGuardApplied) fact() {}
func (RoutesApplied) fact()    {}
func (AnnounceApplied) fact()  {}
func (SiteSet) fact()          {}
func (Draining) fact()         {}
