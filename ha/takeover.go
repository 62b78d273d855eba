package ha

import (
	"slices"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// A Transit Gateway has no BFD and keeps the routes of a host without power for
// the hold time. The hosts of its fleet know sooner, and whoever of them holds
// the live path to a prefix that the dead host announced outbids it (rank
// takeover) until its route must be gone: the hold time has passed, or the host
// is back. A wrong belief moves traffic to a host that can carry it, no more.

// ghost is a path that a host of the fleet took back. If that was because it
// died, others may still go by it.
type ghost struct {
	from *neighborState
	at   time.Time
}

// ghostGrace is how long before its death is noted a dead host's paths may have
// vanished: session, BFD and paths are reported by different ways.
const ghostGrace = 2 * time.Second

// holdMargin is added to the hold time: TGW removes the routes some time after
// its timer has expired.
const holdMargin = 2 * time.Second

// outlived is how long Transit Gateways may go on using routes of a host that
// died: the longest hold time of our own sessions to them.
func outlived(cfg *Config) time.Duration {
	hold := time.Duration(0)
	for i := range cfg.Neighbors {
		if n := &cfg.Neighbors[i]; n.Kind == bgp.KindTGW {
			hold = max(hold, n.HoldTime)
		}
	}
	if hold == 0 {
		return 0
	}
	return hold + holdMargin
}

// mourn notes whether a host of the fleet is suspected to be dead; see believe. One that said
// goodbye (a NOTIFICATION, RFC 4271 section 6) has told Transit Gateways too.
func (c *Core) mourn(now time.Time, n *neighborState, left bool, reason string) {
	if n == nil || n.cfg.Kind != bgp.KindFleet {
		return
	}
	b := c.bfd[n.cfg.Name]
	failed := b != nil && b.seen.Failed
	switch {
	case failed && n.seen.State == bgp.StateEstablished && n.seen.Since.After(b.failed):
		c.revive(n) // BGP has shown since that it lives
	case failed || left && !strings.HasPrefix(reason, "notification-received"):
		if n.suspected.IsZero() {
			n.suspected = now
		}
		c.believe(now, n)
	case n.seen.State == bgp.StateEstablished:
		c.revive(n)
	}
}

func (c *Core) revive(n *neighborState) {
	if !n.died.IsZero() {
		c.epoch++
		c.dirty = true
	}
	n.suspected, n.died = time.Time{}, time.Time{}
}

// bury forgets ghosts that nobody can go by any more.
func (e *entry) bury(now time.Time, after time.Duration) {
	if len(e.ghosts) > 0 {
		e.ghosts = slices.DeleteFunc(e.ghosts, func(g ghost) bool { return !now.Before(g.at.Add(after)) })
	}
}

// haunt remembers the path that a neighbor took back.
func (e *entry) haunt(now time.Time, l *learned) {
	if l.from == nil || l.from.cfg.Kind != bgp.KindFleet || l.from.far > 0 {
		return
	}
	e.ghosts = slices.DeleteFunc(e.ghosts, func(g ghost) bool { return g.from == l.from })
	e.ghosts = append(e.ghosts, ghost{l.from, now})
}

// outbid is until when the site of the best claim must outbid a route that
// others may still use: that of a dead host, or that of the host which a roaming
// site has just left. Zero: there is none.
func (w *walker) outbid(e *entry, s *siteState) time.Time {
	after := w.c.outlived
	if after == 0 {
		return time.Time{}
	}
	var until time.Time
	for i := range e.paths {
		n := e.paths[i].from
		if n.cfg.Kind != bgp.KindFleet || n.far > 0 { // other regions have other Transit Gateways
			continue
		}
		if !n.died.IsZero() {
			until = later(until, n.died.Add(after))
		} else if s.cfg.Roams {
			until = later(until, s.judged.Since.Add(after))
		}
	}
	for i := range e.ghosts {
		if g := &e.ghosts[i]; !g.from.died.IsZero() && !g.at.Before(g.from.died.Add(-ghostGrace)) {
			until = later(until, g.from.died.Add(after))
		}
	}
	if !w.now.Before(until) {
		return time.Time{}
	}
	w.outbidding = true
	w.c.wake(until)
	return until
}

// rankAt is the rank of the claim for this very prefix.
func (w *walker) rankAt(e *entry, k *candidate) Rank {
	r := w.c.rank(k)
	if k.site == nil || r != RankDirect && r != RankBackup || len(e.paths)+len(e.ghosts) == 0 {
		return r
	}
	if !w.outbid(e, k.site).IsZero() {
		return RankTakeover
	}
	n := w.c.yieldsTo(e, k.site)
	switch {
	case n == nil:
		return r
	case n.far > 0:
		return RankRemote
	}
	return RankIndirect
}
