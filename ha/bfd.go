package ha

import (
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// bfdState is one BFD session. It watches a neighbor, a site, or both: a site
// with BGP has one session for both.
type bfdState struct {
	cfg  *bgp.BFDSession
	seen bgp.BFDState
	once bool
	// failed is when it failed last. A BGP session that came up later has shown
	// that the neighbor lives, whatever has become of BFD at the other end.
	failed time.Time
	why    string // then
}

// prepareBFD takes over the sessions of a configuration. Those of sites that it
// disables are not run; one that only an order disabled goes on being measured.
func (c *Core) prepareBFD(now time.Time, old map[string]*bfdState) {
	c.bfd = make(map[string]*bfdState, len(c.cfg.BFD))
	c.bfdWant = make([]bgp.BFDSession, 0, len(c.cfg.BFD))
	for i := range c.cfg.BFD {
		b := &bfdState{cfg: &c.cfg.BFD[i]}
		s := c.siteByName[b.cfg.Name]
		if s != nil && s.cfg.Disabled {
			continue
		}
		if o := old[b.cfg.Name]; o != nil && sameBFD(o.cfg, b.cfg) {
			b.seen, b.once, b.failed, b.why = o.seen, o.once, o.failed, o.why
			if s != nil && b.once {
				s.health.bfd(now, b.seen) // nobody reports it again while it stands
			}
		}
		c.bfd[b.cfg.Name] = b
		c.bfdWant = append(c.bfdWant, *b.cfg)
	}
}

// sameBFD reports whether the engine goes on with the session.
func sameBFD(a, b *bgp.BFDSession) bool {
	return a.Address == b.Address && a.LocalAddress == b.LocalAddress && a.Device == b.Device
}

// stepBFD takes the state of a session. A failure is urgent; that facts in
// between may have been replaced by newer ones shows in the count of flaps.
func (c *Core) stepBFD(now time.Time, f BFDObserved) {
	b := c.bfd[f.Name]
	if b == nil {
		return
	}
	was := b.seen
	dead, why := ReasonNone, ""
	if n := c.neighbors[f.Name]; n != nil {
		dead, why = c.neighborDead(n)
	}
	flapped := f.Flaps > was.Flaps && f.LocalDiscr == was.LocalDiscr || f.Flaps > 0 && f.LocalDiscr != was.LocalDiscr
	b.seen, b.once = f.BFDState, true
	if flapped {
		b.failed, b.why = now, bfdDetail(&f.BFDState)
	}
	site, n := c.siteByName[f.Name], c.neighbors[f.Name]
	if was.State != f.State {
		t := Transition{BFD: true, From: string(was.State), To: string(f.State)}
		if f.State != bgp.BFDUp {
			t.Reason = f.Diag.String()
		}
		if n != nil {
			t.Neighbor = f.Name
		} else {
			t.Site = f.Name
		}
		c.moves = append(c.moves, t)
	}
	if site != nil {
		if flapped && !f.Failed { // it fell and rose between two looks
			fell := f.BFDState
			fell.State, fell.Failed = bgp.BFDDown, true
			site.health.bfd(now, fell)
		}
		site.health.bfd(now, f.BFDState)
		c.judge(now, site)
	}
	if n == nil {
		return
	}
	c.mourn(now, n, false, "")
	if r, detail := c.neighborDead(n); r != dead || detail != why {
		c.touchNeighbor(n)
	}
	if was.Failed != f.Failed || b.cfg.Strict && was.State != f.State {
		c.lostOld = true
		c.dirty, c.urgent = true, c.urgent || f.Failed
	}
	if flapped {
		c.broken = append(c.broken, f.Name)
		c.dirty, c.urgent = true, true
	}
}

// flushBroken starts the sessions over that BFD found broken, unless they have
// ended or begun anew by themselves since. It waits for the plan because which of
// the two was reported first must not matter.
func (c *Core) flushBroken() {
	if len(c.broken) == 0 {
		return
	}
	slices.Sort(c.broken)
	any := false
	for _, name := range slices.Compact(c.broken) {
		n, b := c.neighbors[name], c.bfd[name]
		if n != nil && b != nil && n.seen.State == bgp.StateEstablished && !n.seen.Since.After(b.failed) {
			n.flush++
			any = true
		}
	}
	if c.broken = c.broken[:0]; any {
		c.wantNeighbors()
	}
}

// wantNeighbors lists the neighbors for the plan: as configured, with what was
// decided since.
func (c *Core) wantNeighbors() {
	c.neighborsWant = slices.Clone(c.cfg.Neighbors)
	for i := range c.neighborsWant {
		n := &c.neighborsWant[i]
		n.Flush = c.neighbors[n.Name].flush
		n.Restarting = c.restarting(n)
		n.Export = n.Export && c.Untold(n.Name) == ""
	}
}

// neighborDead says why the paths of a neighbor that is no site can not be used,
// long before its hold time has passed (RFC 5882 section 4.1). With graceful
// restart, which would keep them for a restart, BFD wins: it sees the way, and
// the way is broken.
func (c *Core) neighborDead(n *neighborState) (Reason, string) {
	b := c.bfd[n.cfg.Name]
	switch {
	case b == nil || b.seen.State == bgp.BFDUp:
	case b.seen.Failed && !(n.seen.State == bgp.StateEstablished && n.seen.Since.After(b.failed)):
		return ReasonBFD, b.why
	case b.cfg.Strict && !b.seen.Failed && b.seen.State != bgp.BFDAdminDown && b.seen.RemoteState != bgp.BFDAdminDown:
		return ReasonBFD, detailBFDNever
	}
	if s := n.link; s != nil && (s.disabled || s.judged.Verdict == Down) {
		return ReasonLinkDown, s.cfg.Name
	}
	return ReasonNone, ""
}

func bfdDetail(s *bgp.BFDState) string {
	if s.Diag == bgp.BFDDiagNeighborDown {
		return detailBFDTold
	}
	return detailBFD
}

// BFDView is a BFD session as operators see it.
type BFDView struct {
	Config *bgp.BFDSession
	Seen   bgp.BFDState // zero: not reported yet
	Site   string       // that it watches, or empty
	// Neighbor is the BGP neighbor that it watches, or empty.
	Neighbor string
}

// BFD lists the sessions by name.
func (c *Core) BFD() []BFDView {
	out := make([]BFDView, 0, len(c.bfdWant))
	for i := range c.bfdWant {
		b := c.bfd[c.bfdWant[i].Name]
		v := BFDView{Config: b.cfg, Seen: b.seen}
		if c.siteByName[b.cfg.Name] != nil {
			v.Site = b.cfg.Name
		}
		if c.neighbors[b.cfg.Name] != nil {
			v.Neighbor = b.cfg.Name
		}
		out = append(out, v)
	}
	return out
}
