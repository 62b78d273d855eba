package ha

import (
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// Confirm is the second kind of evidence about the death of a host of the fleet,
// beside BFD or, without BFD, the loss of its BGP session. The loss of the session
// is none beside BFD, whose failure resets it. Routes lead around the host at
// once all the same; what waits is outbidding its announcements.
type Confirm struct {
	Neighbor string
	// Probe asks the host itself, by a way that is its own; without a target the
	// WireGuard link to it is the evidence.
	Probe wg.Probe
	// Wait is how long the evidence may be silent before the first kind is believed
	// alone. While it says that the host lives, that is not believed at all.
	Wait time.Duration
}

// confirming is a Confirm and what its probe said last.
type confirming struct {
	cfg *Confirm
	at  time.Time // of the last answer or its absence; zero: none
	ok  bool
}

// prepareConfirms joins each with its neighbor.
func (c *Core) prepareConfirms(old map[string]*neighborState) {
	c.neighborByProbe = map[string]*neighborState{}
	for i := range c.cfg.Confirms {
		x := &c.cfg.Confirms[i]
		n := c.neighbors[x.Neighbor]
		if n == nil {
			continue
		}
		n.confirm = &confirming{cfg: x}
		if o := old[x.Neighbor]; o != nil && o.confirm != nil && o.confirm.cfg.Probe == x.Probe {
			n.confirm.at, n.confirm.ok = o.confirm.at, o.confirm.ok
		}
		if x.Probe.ID != "" {
			c.neighborByProbe[x.Probe.ID] = n
		}
	}
}

// answered takes the outcome of a probe of the host.
func (c *Core) answered(now time.Time, n *neighborState, ok bool) {
	n.confirm.at, n.confirm.ok = now, ok
	c.believe(now, n)
}

// believe decides whether a host that is suspected is dead. It died when the
// suspicion began: by then Transit Gateways heard of it last.
func (c *Core) believe(now time.Time, n *neighborState) {
	if n.suspected.IsZero() || !n.died.IsZero() {
		return
	}
	known, alive := n.evidence()
	if x := n.confirm; x != nil && !known {
		if until := n.suspected.Add(x.cfg.Wait); c.asOf(now).Before(until) {
			c.wake(until)
			return
		}
	}
	if known && alive {
		return
	}
	n.died = n.suspected
	c.epoch++
	c.dirty, c.urgent = true, true
	c.inherit(now, n)
}

// evidence is what the second kind says since the suspicion began. A link that is
// up says that the host lives: what judges it has to be as fast as the wait.
func (n *neighborState) evidence() (known, alive bool) {
	switch x := n.confirm; {
	case x == nil:
		return false, false
	case x.cfg.Probe.ID != "":
		return x.at.After(n.suspected), x.ok
	case n.link == nil:
		return false, false
	}
	switch n.link.judged.Verdict {
	case Up:
		return true, true
	case Down:
		return true, false
	}
	return false, false
}
