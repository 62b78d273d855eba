package ha

import (
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
)

// listens reports whether the neighbor is to be heard before it is told anything. Two
// that have one link-local address, on two interfaces, can only be told alike, so
// nobody with such an address is waited for.
func (c *Core) listens(n *neighborState) bool {
	return n.site != nil && !isLinkLocal(n.cfg.Address) && !n.introduced && n.cfg.Import != nil && len(n.cfg.Import.Allow) > 0
}

// listen ends that for those whose prefixes arrive by the pass that was just made.
func (c *Core) listen(w *walker) {
	c.hearing = false
	ended := false
	c.listening = slices.DeleteFunc(c.listening, func(n *neighborState) bool {
		n.introduced = c.introduced(w, n)
		ended = ended || n.introduced
		return n.introduced
	})
	if ended {
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
