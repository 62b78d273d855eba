package speaker

import (
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/wgbgp/wgbgp/bgp"
)

// IPv4 over an IPv6 session without an IPv4 next hop needs a neighbor that said in
// its OPEN that it takes IPv6 next hops for it (RFC 8950 section 4): another one may
// end the session. GoBGP does not look at that. So such a neighbor is told of IPv4
// only once its session has come up with the capability, and no longer when it
// falls.

func needsExtended(n *bgp.Neighbor) bool { return n.IPv4 && n.Is6() && !n.NextHop4.IsValid() }

// takesIPv6NextHops looks for the capability with IPv4 unicast by IPv6.
func takesIPv6NextHops(caps []packet.ParameterCapabilityInterface) bool {
	for _, c := range caps {
		e, ok := c.(*packet.CapExtendedNexthop)
		if !ok {
			continue
		}
		for _, t := range e.Tuples {
			if t != nil && t.NLRIAFI == packet.AFI_IP && t.NLRISAFI == packet.SAFI_UNICAST && t.NexthopAFI == packet.AFI_IP6 {
				return true
			}
		}
	}
	return false
}

// setExtended notes what the session allows; mu held.
func (s *Speaker) setExtended(n *session, yes bool) {
	n.state.NoIPv4 = n.up && needsExtended(&n.spec) && !yes
	if n.extended == yes {
		return
	}
	n.extended = yes
	if needsExtended(&n.spec) {
		n.retell = yes
		s.visited = true
		s.wakeTimers()
	}
}
