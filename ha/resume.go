package ha

import (
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// Resumed is what an earlier process of this host had when it ended, if the kernel
// went on forwarding since. It must be the first fact.
//
// Neighbors with graceful restart keep then what that process told them, until
// this one's End-of-RIB. To the neighbor all that was not told by then is gone, so
// it waits until this process knows as much as the other one did: what it learns
// from the sessions that stood, and what becomes of the sites that were announced.
type Resumed struct {
	Neighbors []string // whose session stood
	Sites     []string // that were announced
}

func (Resumed) fact() {}

// resumeWait bounds that. Stale paths are kept longer than this by all helpers
// that we know, and a neighbor whose routes have changed meanwhile goes by old
// ones.
const resumeWait = 45 * time.Second

// quietAfter is how long after the session has come up a neighbor without graceful
// restart has sent its table: most send no End-of-RIB.
const quietAfter = 2 * time.Second

type resume struct {
	Resumed
	until time.Time
}

func (c *Core) stepResumed(f Resumed) {
	c.resume = &resume{f, c.started.Add(min(resumeWait, c.cfg.Gateway.EndOfRIBWait))}
	for _, name := range f.Neighbors { // their allowed IPs are as they were
		if n := c.neighbors[name]; n != nil {
			n.introduced = true
		}
	}
	c.listening = slices.DeleteFunc(c.listening, func(n *neighborState) bool { return n.introduced })
	c.wantNeighbors()
	c.dirty = true
}

// restarting reports whether the neighbor is to keep what it was told.
func (c *Core) restarting(n *bgp.Neighbor) bool {
	return c.resume != nil && n.GracefulRestart && !n.Range.IsValid() && slices.Contains(c.resume.Neighbors, n.Name)
}

// release ends the restart when the pass that was just made announces what there
// is to announce.
func (c *Core) release(w *walker) {
	if c.resume == nil {
		return
	}
	if w.now.Before(c.resume.until) {
		c.wake(c.resume.until)
		if !c.caughtUp(w.now) || slices.ContainsFunc(w.withheld.done(), func(h Withheld) bool { return h.Reason.Passing() }) {
			return
		}
	}
	c.resume = nil
	c.wantNeighbors()
}

// caughtUp reports whether this process knows what the earlier one did.
func (c *Core) caughtUp(now time.Time) bool {
	for _, name := range c.resume.Neighbors {
		n := c.neighbors[name]
		switch {
		case n == nil:
		case n.seen.State != bgp.StateEstablished:
			return false
		case n.heardAll():
		case n.cfg.GracefulRestart:
			return false
		case now.Sub(n.seen.Since) < quietAfter:
			c.wake(n.seen.Since.Add(quietAfter))
			return false
		}
	}
	for _, name := range c.resume.Sites {
		if s := c.siteByName[name]; s != nil && !s.disabled && s.judged.Reason == ReasonUnknown {
			return false
		}
	}
	return true
}

// heardAll reports whether the neighbor has sent its whole table.
func (n *neighborState) heardAll() bool {
	s := &n.seen
	return s.State == bgp.StateEstablished && (!n.cfg.IPv4 || s.EndOfRIB4) && (!n.cfg.IPv6 || s.EndOfRIB6)
}

// Passing reports whether a prefix is only withheld until an edge has done its
// part.
func (r Reason) Passing() bool {
	return r == ReasonRoute || r == ReasonAllowedIP || r == ReasonNoPeer
}

// Resumable is what the next process must know. While this one has not caught up
// yet, what it should catch up with counts too.
func (c *Core) Resumable() Resumed {
	var r Resumed
	if c.resume != nil {
		r.Neighbors, r.Sites = slices.Clone(c.resume.Neighbors), slices.Clone(c.resume.Sites)
	}
	for name, n := range c.neighbors {
		if n.seen.State == bgp.StateEstablished && n.cfg.Dynamic == "" {
			r.Neighbors = append(r.Neighbors, name)
		}
	}
	for _, s := range c.sites {
		if s.judged.announceable(s.cfg.IdlePolicy) {
			r.Sites = append(r.Sites, s.cfg.Name)
		}
	}
	for _, l := range []*[]string{&r.Neighbors, &r.Sites} {
		slices.Sort(*l)
		*l = slices.Compact(*l)
	}
	return r
}

// Persists reports whether the kernel goes on forwarding without this process: it
// has all tunnels itself.
func (c *Core) Persists() bool {
	for _, d := range c.devices {
		if d.applied.Index != 0 && d.applied.Backend != wg.BackendKernel {
			return false
		}
	}
	for _, t := range c.tunnels {
		if t.Index != 0 && t.Backend != tgwconnect.BackendKernel {
			return false
		}
	}
	return true
}

// RestartCost is what it would cost others if the daemon were restarted now.
type RestartCost struct {
	// Lose are the neighbors that will take back what this host announces, because
	// they have no graceful restart, as no Transit Gateway does.
	Lose []string
	// Alone is how many of the prefixes they are told no other host of the fleet
	// can stand in for.
	Alone int
	// Partner is a host of the fleet that can take over; empty: there is none.
	Partner string
}

// RestartCost says so.
func (c *Core) RestartCost() RestartCost {
	var out RestartCost
	groups := map[string]bool{}
	partnerKeeps := false
	c.Sessions(func(n *bgp.Neighbor, st bgp.NeighborState) {
		switch {
		case st.State != bgp.StateEstablished:
		case n.Kind == bgp.KindFleet:
			out.Partner = n.Name
			partnerKeeps = partnerKeeps || n.GracefulRestart
		case n.Export && !n.GracefulRestart:
			out.Lose = append(out.Lose, n.Name)
			groups[n.Group] = true
		}
	})
	if c.plan == nil || len(groups) == 0 || partnerKeeps {
		return out
	}
	for i := range c.plan.Announcements {
		a := &c.plan.Announcements[i]
		if !slices.ContainsFunc(a.To, func(e bgp.Export) bool { return groups[e.Group] }) {
			continue
		}
		e := c.rib.byPrefix[a.Prefix]
		if e == nil || !slices.ContainsFunc(e.paths, func(l learned) bool { return l.from.cfg.Kind == bgp.KindFleet }) {
			out.Alone++
		}
	}
	return out
}
