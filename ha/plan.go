package ha

import (
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// Plan decides everything that should be true now. While nothing that matters
// has changed it returns the very same plan.
func (c *Core) Plan(now time.Time) *Plan {
	c.tick(now)
	c.Lost()
	if !c.dirty && c.plan != nil {
		return c.plan
	}
	c.dirty, c.urgent = false, false
	c.refreshEndpoints()
	c.refreshProbes()
	c.flushBroken()
	c.settle(now)
	w := &c.walk
	w.start(c, now)
	for _, e := range c.unsettled() {
		w.visit(e)
	}
	w.finish()
	if w.anyDead {
		c.rib.forget()
	}
	c.stay()
	c.release(w)
	c.listen(w)
	c.plan = c.assemble(w)
	return c.plan
}

// settle decides whether the facts are complete enough to sweep: it is known what
// is on the interfaces, and every neighbor has sent its table, or has been waited
// for long enough (RFC 4724 section 4.1 has the same deferral).
func (c *Core) settle(now time.Time) {
	if c.complete {
		return
	}
	if c.unconfirmed() {
		return // its report is news
	}
	deadline := c.started.Add(c.cfg.Gateway.EndOfRIBWait)
	if !now.Before(deadline) {
		c.complete = true
		return
	}
	if c.undiscovered() {
		c.wake(deadline)
		return
	}
	for _, n := range c.neighbors {
		if n.cfg.Range.IsValid() || n.cfg.Dynamic != "" {
			continue // nobody knows who will come
		}
		if !n.heardAll() {
			c.wake(deadline)
			return
		}
	}
	c.complete = true
}

// unconfirmed reports whether an interface may be there of which it is not known
// what is on it, because nothing was reported yet or every attempt failed. Routes
// into it may work, and without that report they are in no plan.
func (c *Core) unconfirmed() bool {
	for _, d := range c.devices {
		if there := d.applied.Device == "" || d.applied.Index != 0; there && d.want == nil {
			return true
		}
	}
	return false
}

func (c *Core) refreshEndpoints() {
	if !c.endpointsOld {
		return
	}
	c.endpointsOld = false
	eps := make([]netip.Addr, 0, len(c.endpoints))
	for _, d := range c.devices {
		for i := range d.seen.Peers {
			if a := d.seen.Peers[i].Endpoint.Addr(); a.IsValid() && d.seen.Peers[i].Endpoint != wg.Parked {
				eps = append(eps, a.Unmap().WithZone(""))
			}
		}
	}
	for _, s := range c.sites {
		if a, err := netip.ParseAddr(s.cfg.Peer.Endpoint.Host); err == nil {
			eps = append(eps, a.Unmap().WithZone(""))
		}
	}
	for _, p := range c.cfg.Connect {
		eps = append(eps, p.Remote)
	}
	slices.SortFunc(eps, netip.Addr.Compare)
	was := c.endpoints
	if c.endpoints = slices.Compact(eps); c.planned == c.epoch { // else all are worked out again anyway
		c.touchCovering(was, c.endpoints)
	}
}

// touchCovering has the entries worked out again that cover an address which is in
// one of two sorted lists.
func (c *Core) touchCovering(a, b []netip.Addr) {
	for len(a)+len(b) > 0 {
		switch {
		case len(a) > 0 && len(b) > 0 && a[0] == b[0]:
			a, b = a[1:], b[1:]
		case len(b) == 0 || len(a) > 0 && a[0].Less(b[0]):
			c.rib.touchAbove(a[0])
			a = a[1:]
		default:
			c.rib.touchAbove(b[0])
			b = b[1:]
		}
	}
}
