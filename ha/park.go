package ha

import (
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// Hosts with one private key share a site that holds one session at a time and
// may leave for another host without a word (load balancer, moving address). The
// host that was left still knows where the site is: 15 s after its first packet
// without an answer WireGuard would ask for a new session there, get it, and take
// the site away from the host it moved to (facts: both active, 44-47 % loss).
//
// So a host lets go of such a site in time: its endpoint is pointed at wg.Parked.
// Keys and session stay, and the first packet that the site sends to us brings
// its true endpoint back, because WireGuard follows authenticated packets.

// parkSilence is longer than a living peer can be silent under the heartbeat (a
// passive keepalive every 10 s, seen at the next poll) and, with a poll before
// and after it, shorter than WireGuard's 15 s.
const parkSilence = 12 * time.Second

var parked = wg.Endpoint{Host: wg.Parked.Addr().String(), Port: wg.Parked.Port()}

// park decides, after an observation of a roaming site's peer, whether to let go
// of it. Silence is no answer unless heartbeats go out; a peer that is let go of
// gets none, and only what it sends ends that.
func (c *Core) park(now time.Time, s *siteState, p *wg.PeerState) {
	if now.Before(s.greeting.until) {
		return
	}
	let := p != nil && p.Endpoint.IsValid() && (s.parked || s.health.armed(now)) && s.health.silence() > parkSilence
	if let != s.parked {
		s.parked, s.dev.peersOld = let, true
		c.dirty, c.urgent = true, c.urgent || let
	}
}

// endpoint is where the site's peer should be, and whether that may be written
// over what WireGuard knows.
func (s *siteState) endpoint() (e wg.Endpoint, dead bool) {
	if s.parked {
		return parked, true
	}
	return s.cfg.Peer.Endpoint, s.dead && !s.disabled
}
