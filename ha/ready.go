package ha

// join points every site at its peer in what the device edge confirmed.
func (c *Core) join(d *deviceState) {
	if d.joined {
		return
	}
	d.joined = true
	i := 0
	for _, s := range d.sites {
		was := s.applied
		s.applied = nil
		if d.want != nil && d.applied.Index != 0 {
			for i < len(d.want.Peers) && d.want.Peers[i].Key.Compare(s.cfg.Peer.Key) < 0 {
				i++
			}
			if i < len(d.want.Peers) && d.want.Peers[i].Key == s.cfg.Peer.Key && !s.missing {
				if _, bad := d.applied.PeerErrors[s.cfg.Peer.Key]; !bad {
					s.applied = &d.want.Peers[i]
				}
			}
		}
		if (was == nil) != (s.applied == nil) {
			c.touchSite(s)
		}
	}
}

// ready reports whether packets for p reach the site once they are routed into
// its device: the peer is there and, on a shared interface, owns p, or gets it just
// now from one that can carry it too.
func (s *siteState) ready(e *entry) bool {
	if s.applied == nil {
		return false
	}
	if !s.synced() {
		return true
	}
	if p := e.placing(s); p == nil || p.since > s.dev.plan.Gen && len(p.from) == 0 {
		return false
	}
	if len(s.dev.applied.Failed) == 0 {
		return true
	}
	_, failed := s.dev.applied.Failed[e.prefix]
	return !failed
}
