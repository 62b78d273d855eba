package ha

import (
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

func (c *Core) stepApplied(now time.Time, f WireGuardApplied) {
	d := c.devices[f.Device]
	if d == nil {
		return
	}
	c.dirty = true
	for _, k := range f.Added {
		i, ok := slices.BinarySearchFunc(d.sites, k, func(s *siteState, k wg.Key) int { return s.cfg.Peer.Key.Compare(k) })
		if ok {
			d.sites[i].health.created(now, k)
			c.judge(now, d.sites[i])
		}
	}
	if f.Err != "" && f.Index != 0 && f.Index == d.applied.Index {
		// The same interface is there but the attempt failed: what was true
		// before still is.
		d.applied.Err = f.Err
		return
	}
	if generation(f.Plan) < generation(d.plan) {
		c.epoch++ // what was certain is not any more
	}
	for _, failed := range []map[netip.Prefix]string{d.applied.Failed, f.Failed} {
		for p := range failed {
			c.rib.touchPrefix(p)
		}
	}
	d.plan, d.applied, d.joined = f.Plan, f.Applied, false
	d.want = nil
	if f.Err == "" {
		d.want = findDevice(f.Plan, f.Device)
	}
}

func (c *Core) stepRoutes(f RoutesApplied) {
	c.dirty = true
	if f.Err != "" {
		// The attempt as a whole failed: what was true before still is.
		c.routes.Err = f.Err
		return
	}
	if generation(f.Plan) < generation(c.routes.plan) {
		c.epoch++ // as above
	}
	for _, reports := range [][]bgp.RouteReport{c.routes.Reports, f.Reports} {
		for i := range reports {
			c.rib.touchPrefix(reports[i].Prefix)
		}
	}
	c.routes = appliedRoutes{f.Plan, f.RoutesApplied}
}

func generation(p *Plan) uint64 {
	if p == nil {
		return 0
	}
	return p.Gen
}

func (c *Core) stepDevice(now time.Time, f DeviceObserved) {
	d := c.devices[f.State.Name]
	if d == nil {
		return
	}
	if f.Err != "" {
		d.err = f.Err
		for _, s := range d.sites {
			if f.Gone {
				s.health.noDevice(now)
			} else {
				s.health.unreadable(now)
			}
			c.judge(now, s)
		}
		return
	}
	d.err, d.once = "", true
	if !sameEndpoints(d.seen.Peers, f.State.Peers) {
		c.endpointsOld, c.dirty = true, true
	}
	d.seen = f.State
	// Both lists are sorted by key: one pass joins them.
	i := 0
	for _, s := range d.sites {
		for i < len(f.State.Peers) && f.State.Peers[i].Key.Compare(s.cfg.Peer.Key) < 0 {
			i++
		}
		was := s.missing
		s.missing = i >= len(f.State.Peers) || f.State.Peers[i].Key != s.cfg.Peer.Key
		d.joined = d.joined && s.missing == was
		p := (*wg.PeerState)(nil)
		if !s.missing {
			p = &f.State.Peers[i]
		}
		if s.health.peer(now, p) || s.judged.Verdict != Up || !s.next.IsZero() && !now.Before(s.next) {
			c.judge(now, s)
		}
		if s.cfg.Roams {
			c.park(now, s, p)
		}
		c.pacing(s, p)
	}
}

func (c *Core) stepNeighbor(now time.Time, f NeighborObserved) {
	n := c.neighbors[f.Name]
	if t := c.neighbors[f.Dynamic]; n == nil && !f.Gone && t != nil {
		n = c.admit(t.cfg, f.NeighborState)
		if n != nil {
			n.seen = bgp.NeighborState{} // what follows is news
			c.rib.reveal(n, &c.heeder)
		}
	}
	if n == nil {
		delete(c.left, f.Name)
		if f.State == bgp.StateEstablished {
			c.left[f.Name] = f.NeighborState
		}
		return
	}
	was := n.seen
	dead, why := c.neighborDead(n)
	n.seen, n.once = f.NeighborState, true
	n.parted(now, &was)
	if n.cfg.Dynamic != "" {
		n.cfg.RemoteASN = f.RemoteASN // known once it has introduced itself
	}
	if was.State != f.State {
		c.moves = append(c.moves, Transition{Neighbor: f.Name, From: string(was.State), To: string(f.State), Reason: f.Reason})
	}
	c.lostOld = c.lostOld || was.State != f.State
	c.mourn(now, n, was.State == bgp.StateEstablished && f.State != bgp.StateEstablished, f.Reason)
	if was.RouterID != f.RouterID { // orders paths of equal cost
		c.touchNeighbor(n)
	}
	if r, detail := c.neighborDead(n); r != dead || detail != why {
		c.touchNeighbor(n)
	}
	if was.State != f.State || was.EndOfRIB4 != f.EndOfRIB4 || was.EndOfRIB6 != f.EndOfRIB6 {
		c.dirty = true
		c.urgent = c.urgent || (was.State == bgp.StateEstablished && f.State != bgp.StateEstablished)
	}
	if n.site != nil {
		n.site.health.session(now, f.NeighborState)
		c.judge(now, n.site)
	}
	if f.Gone && n.cfg.Dynamic != "" { // its paths are withdrawn one by one
		delete(c.neighbors, f.Name)
	}
}

// admit makes the state of a neighbor that came from the range of another one,
// or returns nil if that has none.
func (c *Core) admit(template *bgp.Neighbor, st bgp.NeighborState) *neighborState {
	if !template.Range.IsValid() || !template.Range.Contains(st.Address) {
		return nil
	}
	cfg := *template
	cfg.Name, cfg.Address, cfg.Dynamic, cfg.RemoteASN = st.Name, st.Address, template.Name, st.RemoteASN
	cfg.Range, cfg.MaxSessions = netip.Prefix{}, 0
	n := &neighborState{cfg: &cfg, seen: st, once: true, split: []string{st.Name}, hop: []bgp.NextHop{{Device: cfg.Device}}}
	c.neighbors[st.Name] = n
	return n
}

// judge asks the site's health again and notes whether the plan may differ.
func (c *Core) judge(now time.Time, s *siteState) {
	was := s.judged
	s.health.whole = c.whole
	s.judged = s.health.judge(now)
	if was.Verdict != s.judged.Verdict || was.Reason != s.judged.Reason || was.Detail != s.judged.Detail || !was.Since.Equal(s.judged.Since) ||
		!slices.Equal(was.FailedPrefixes, s.judged.FailedPrefixes) {
		c.touchSite(s)
	}
	c.came(s, was, s.judged)
	c.fell(now, s, was)
	if was.Verdict != s.judged.Verdict {
		c.moves = append(c.moves, Transition{
			Site: s.cfg.Name, From: string(was.Verdict), To: string(s.judged.Verdict),
			Reason: string(s.judged.Reason), Detail: s.judged.Detail,
		})
	}
	c.lostOld = c.lostOld || was.Verdict != s.judged.Verdict
	if was.Verdict != s.judged.Verdict || was.Reason != s.judged.Reason || !slices.Equal(was.FailedPrefixes, s.judged.FailedPrefixes) {
		c.dirty = true
		if s.cfg.Link {
			c.epoch++ // see neighborDead
			for _, n := range c.neighbors {
				if n.link == s {
					c.believe(now, n)
				}
			}
		}
		c.urgent = c.urgent || s.judged.Verdict == Down || len(s.judged.FailedPrefixes) > len(was.FailedPrefixes)
	}
	// A site can be down for what lies behind a living peer; then its endpoint
	// belongs to WireGuard's roaming.
	if dead := s.judged.Verdict == Down && s.health.silence() > peerSilence; dead != s.dead {
		s.dead, c.dirty = dead, true
		if s.dev != nil {
			s.dev.peersOld = true
		}
	}
	if s.next = s.health.next(now); !s.next.IsZero() {
		c.wake(s.next)
	}
}

// peerSilence is longer than a living peer can be silent under the heartbeat:
// its passive keepalive comes within 10 s (WireGuard's KEEPALIVE_TIMEOUT).
const peerSilence = 11 * time.Second
