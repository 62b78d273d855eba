package speaker

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	api "github.com/osrg/gobgp/v4/api"

	"github.com/wgbgp/wgbgp/bgp"
)

// The limit on prefixes is kept here and not by GoBGP, which counts its whole
// Adj-RIB-In: FRR sends every route back to whom it came from, so that a hundred
// announcements of ours would end its session. What is refused and holds our ASN
// is counted apart, against what the neighbor was ever told.
//
// GoBGP's own limit stays behind as protection of memory for the time until its
// events are read here. Being fixed by the neighbor's configuration, it needs no
// push when announcements come and go.
const (
	// hardLeast is at least GoBGP's limit: far above any table that is sent back.
	hardLeast = 1 << 16
	// hardTimes is GoBGP's limit as a multiple of the neighbor's.
	hardTimes = 10
	// echoSlack is how many paths with our ASN are let pass beyond those that can
	// be our own: loops through a third router.
	echoSlack = 1000
	// ceaseAgain is when another way of ending a session is tried.
	ceaseAgain = time.Second
)

// denial is why a path was refused, and whether it was our own to begin with:
// the reason may name another fault of it.
type denial struct {
	why  string
	echo bool
}

// tally counts the paths of one family that a neighbor holds with us: prefixes,
// but where it may send several paths to one, each of them.
type tally struct{ own, echo int }

func familyOf(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 0
	}
	return 1
}

// hardLimit is the limit handed to GoBGP; 0 is none.
func hardLimit(limit uint32) uint32 {
	if limit == 0 {
		return 0
	}
	return uint32(min(max(uint64(limit)*hardTimes, hardLeast), math.MaxUint32))
}

// holdsOurs says whether a path went through this host.
func holdsOurs(f bgp.ImportFrame, path []bgp.ASN) bool {
	return slices.ContainsFunc(path, func(as bgp.ASN) bool { return slices.Contains(f.LocalASNs, as) })
}

// refuse records a refused path and reports whether the reason is new; mu held.
func (n *session) refuse(p nlri, r denial) bool {
	old := n.refused[p]
	n.unrefuse(p)
	n.refused[p] = r
	if c := &n.count[familyOf(p.prefix)]; r.echo {
		c.echo++
	} else {
		c.own++
	}
	return old.why != r.why
}

// unrefuse forgets a refused path; mu held.
func (n *session) unrefuse(p nlri) {
	r, ok := n.refused[p]
	if !ok {
		return
	}
	delete(n.refused, p)
	if c := &n.count[familyOf(p.prefix)]; r.echo {
		c.echo--
	} else {
		c.own--
	}
}

// unrefuseAll forgets every refused path; mu held.
func (n *session) unrefuseAll() {
	for p := range n.refused {
		n.unrefuse(p)
	}
}

// admit reports whether one more path has room within the neighbor's limit. If
// not, the session is to be ended; mu held.
func (s *Speaker) admit(n *session, p nlri, echo bool) bool {
	limit := int(n.spec.MaxPrefixes)
	if limit == 0 {
		return true
	}
	r, refused := n.refused[p]
	_, accepted := n.adjIn[p]
	c := n.count[familyOf(p.prefix)]
	switch {
	case echo && (refused && r.echo || c.echo < limit+s.mostTold+echoSlack):
		return true
	case !echo && (accepted || refused && !r.echo || c.own < limit):
		return true
	}
	s.exceeded(n, c)
	return false
}

// exceeded asks for the end of a session; mu held.
func (s *Speaker) exceeded(n *session, c tally) {
	if n.over {
		return
	}
	n.over, n.ceaseTries, n.ceaseAt = true, 0, time.Now()
	s.wakeTimers()
	s.log.Warn("neighbor exceeds its limit of prefixes", "neighbor", n.spec.Name, "reason", reasonMaxPrefix,
		"limit", n.spec.MaxPrefixes, "held", c.own, "sent-back", c.echo)
}

// checkLimit judges what is held by a limit that was changed; mu held.
func (s *Speaker) checkLimit(n *session) {
	for _, c := range n.count {
		if limit := int(n.spec.MaxPrefixes); n.up && limit > 0 && c.own > limit {
			s.exceeded(n, c)
		}
	}
}

// cease ends a session with Cease, Maximum Number of Prefixes Reached (6/1, RFC
// 4486 section 3); op held.
//
// GoBGP has no call for that, but judges a changed limit at once (updateNeighbor,
// updatePrefixLimitConfig in its server): it is told a limit of one, which more
// than a limit of ours always exceeds, and its real limit again. For a session
// with graceful restart that also ends the negotiated restart, as it should: the
// routes are not to be kept.
//
// If the neighbor took its prefixes back in the meantime, GoBGP lets the session
// stand. It must end all the same, for what was too much was not recorded, so
// the second try is an administrative shutdown (6/2) with words (RFC 9003).
func (s *Speaker) cease(n *session, again bool) error {
	if again || n.spec.Dynamic != "" { // GoBGP has no configuration of a visitor to change
		return s.call("DisablePeer", func() error {
			return s.server.DisablePeer(context.Background(), &api.DisablePeerRequest{
				Address: n.spec.Address.String(), Communication: fmt.Sprintf("more than %d prefixes", n.spec.MaxPrefixes),
			})
		})
	}
	one := enginePeer(&n.spec)
	for _, af := range one.AfiSafis {
		af.PrefixLimits = &api.PrefixLimit{Family: af.Config.Family, MaxPrefixes: 1}
	}
	for _, p := range []*api.Peer{one, enginePeer(&n.spec)} {
		if err := s.call("UpdatePeer", func() error {
			_, err := s.server.UpdatePeer(context.Background(), &api.UpdatePeerRequest{Peer: p})
			return err
		}); err != nil {
			return err
		}
	}
	n.deferred = false
	return nil
}
