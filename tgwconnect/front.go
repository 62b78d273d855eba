package tgwconnect

import "time"

// How clients come to this host is written outside it: in the target groups of load
// balancers and in DNS. Everything here is decided from what was read there and from
// what the core says of this host; it touches only this host's own target and its
// own records.

// Presence is what the core says of this host to whoever sends clients to it.
type Presence struct {
	Forwards bool
	Leave    Leave
}

// Leave is how far an orderly leave has come. The order is the one that a load
// balancer needs (facts/aws.md 3.6): a target that is deregistered while it is
// healthy keeps its flows.
type Leave uint8

// Leaves. While a host is leaving its health check fails and everything else goes on
// or is being withdrawn; when it has left nothing goes through it any more.
const (
	Staying Leave = iota
	Leaving
	Left
)

// Steady is whether a host forwards, as slowly as others should hear of it. The
// zero value knows nothing; neither does it before the host has forwarded once or
// has had its time to.
type Steady struct {
	known   bool
	up      bool
	against time.Time // since when it looks the other way; zero: it does not
	began   time.Time
}

// graceAtStart is how long a host that has just started may take until it forwards:
// what was written before it was restarted stands meanwhile. BGP sessions and the
// first handshakes take some 30 s.
const graceAtStart = time.Minute

// See takes one observation. Down and up are how long it must look so before it
// counts as down, or as up again. The first up counts at once.
func (s *Steady) See(now time.Time, forwards bool, down, up time.Duration) {
	if s.began.IsZero() {
		s.began = now
	}
	switch {
	case !s.known && forwards:
		s.known, s.up = true, true
	case !s.known:
		if now.Sub(s.began) >= graceAtStart {
			s.known = true
		}
	case forwards == s.up:
		s.against = time.Time{}
	case s.against.IsZero():
		s.against = now
		fallthrough
	default:
		limit := up
		if s.up {
			limit = down
		}
		if now.Sub(s.against) >= limit {
			s.up, s.against = forwards, time.Time{}
		}
	}
}

// Up says whether the host counts as forwarding; known: it can be said.
func (s *Steady) Up() (up, known bool) { return s.up, s.known }
