package ha

import (
	"fmt"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// A site of which this process knows nothing yet is told nothing either. It would
// send by what it hears at once, and its packets would be dropped, as they come from
// addresses that are no allowed IPs of its peer before its own table is here, which
// may be a second behind (see returning.go) while another host carries them well. It
// is so after a restart that the tunnels did not outlive.

const (
	// listenMore is how long after its first path a table is expected to be here:
	// most send it in one go, and then no End-of-RIB.
	listenMore = 200 * time.Millisecond
	// listenLimit bounds the wait for an allowed IP, which may not come.
	listenLimit = 2 * quietAfter
	// listenPace is between two times that sites are let in: each changes the export
	// policy, whose size grows with the sites (8 ms of a core for 1,000 of them, see
	// BenchmarkIntroduce of bgp/speaker), and thousands may come at once.
	listenPace = 100 * time.Millisecond
)

// Untold says why a neighbor that is to be told by configuration is told nothing at
// present; empty: it is told.
func (c *Core) Untold(neighbor string) string {
	n := c.neighbors[neighbor]
	switch {
	case n == nil:
	case c.drain == DrainHandOver && !n.cfg.GracefulRestart:
		return "nothing is announced: this host hands over"
	case c.listens(n):
		return fmt.Sprintf("nothing is announced before the prefixes of the site are allowed IPs of its peer, for at most %s after its session came up", listenLimit)
	}
	return ""
}

// listens reports whether the neighbor is to be heard before it is told anything. Two
// that have one link-local address, on two interfaces, can only be told alike, so
// nobody with such an address is waited for.
func (c *Core) listens(n *neighborState) bool {
	return n.site != nil && !isLinkLocal(n.cfg.Address) && !n.introduced && n.cfg.Import != nil && len(n.cfg.Import.Allow) > 0
}

// listen ends that for those whose prefixes arrive by the pass that was just made.
func (c *Core) listen(w *walker) {
	c.hearing = false
	if next := c.letIn.Add(listenPace); len(c.listening) > 0 && w.now.Before(next) {
		c.hearing = true
		c.wake(next)
		return
	}
	ended := false
	c.listening = slices.DeleteFunc(c.listening, func(n *neighborState) bool {
		n.introduced = c.introduced(w, n)
		ended = ended || n.introduced
		return n.introduced
	})
	if ended {
		c.letIn = w.now
		c.wantNeighbors()
	}
}

func (c *Core) introduced(w *walker, n *neighborState) bool {
	if n.seen.State != bgp.StateEstablished {
		return false
	}
	until := n.seen.Since.Add(quietAfter)
	switch {
	case n.heardAll():
		until = n.seen.Since
	case !n.began.IsZero() && n.began.Add(listenMore).Before(until):
		until = n.began.Add(listenMore)
	}
	limit := n.seen.Since.Add(listenLimit)
	waits := w.now.Before(until)
	if !waits && w.now.Before(limit) {
		until = limit
		waits = slices.ContainsFunc(w.withheld.done(), func(h Withheld) bool {
			return h.From == n.cfg.Name && (h.Reason == ReasonAllowedIP || h.Reason == ReasonNoPeer)
		})
	}
	if waits {
		c.hearing = true
		c.wake(until)
	}
	return !waits
}
