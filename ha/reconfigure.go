package ha

import (
	"cmp"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Reconfigure replaces the configuration. Evidence about everything that is
// still there is kept.
func (c *Core) Reconfigure(now time.Time, cfg *Config) {
	old := *c
	c.base, cfg = cfg, withDiscovered(cfg, c.found, c.servers)
	c.now, c.cfg = now, cfg
	c.sites, c.greeted, c.returned, c.sourcesOld = make([]*siteState, 0, len(cfg.Sites)), nil, nil, true
	c.siteByName = make(map[string]*siteState, len(cfg.Sites))
	c.siteByProbe = map[string]*siteState{}
	c.devices = make(map[string]*deviceState, len(cfg.Devices))
	c.neighbors = make(map[string]*neighborState, len(cfg.Neighbors))
	for i := range cfg.Devices {
		d := &deviceState{cfg: &cfg.Devices[i], peersOld: true}
		if o := old.devices[d.cfg.Name]; o != nil {
			d.seen, d.err, d.once, d.plan, d.want, d.applied = o.seen, o.err, o.once, o.plan, o.want, o.applied
		}
		c.devices[d.cfg.Name] = d
	}
	for i := range cfg.Neighbors {
		n := &neighborState{cfg: &cfg.Neighbors[i], split: []string{cfg.Neighbors[i].Name}}
		n.hop, n.far = []bgp.NextHop{{Device: n.cfg.Device}}, cfg.Gateway.distance(n.cfg)
		n.remote = cfg.rankAttrs(n.cfg.Group, RankRemote).MED
		if o := old.neighbors[n.cfg.Name]; o != nil {
			n.seen, n.once, n.flush, n.suspected, n.died = o.seen, o.once, o.flush, o.suspected, o.died
			n.losing, n.left, n.gateways = o.losing, o.left, o.gateways
			n.introduced, n.began = o.introduced, o.began
		} else if st, ok := c.left[n.cfg.Name]; ok {
			n.seen, n.once = st, true // the speaker may not have seen that it left
			delete(c.left, n.cfg.Name)
		}
		c.neighbors[n.cfg.Name] = n
	}
	for _, o := range old.neighbors {
		if t := c.neighbors[o.cfg.Dynamic]; o.cfg.Dynamic != "" && t != nil {
			c.admit(t.cfg, o.seen)
		}
	}
	for name, o := range old.neighbors {
		if c.neighbors[name] == nil && o.seen.State == bgp.StateEstablished {
			c.left[name] = o.seen
		}
	}
	for i := range cfg.Sites {
		c.addSite(&cfg.Sites[i], old.siteByName[cfg.Sites[i].Name])
	}
	for _, n := range c.neighbors {
		if n.cfg.Kind == bgp.KindFleet {
			n.link = c.siteByName[n.cfg.Site]
		}
	}
	c.forgetRosters()
	for _, d := range c.devices {
		slices.SortFunc(d.sites, func(a, b *siteState) int { return a.cfg.Peer.Key.Compare(b.cfg.Peer.Key) })
	}
	c.prepareConfirms(old.neighbors)
	c.host.reconfigure(&cfg.Guard)
	c.prepare()
	c.prepareBFD(now, old.bfd)
	c.heeder = heeder{actions: cfg.Actions, mark: cfg.Gateway.markTGW()}
	c.rib.reconfigure(c.sites, c.neighbors, &c.heeder)
	c.exports = newExportTable(cfg)
	c.limits = groupLimits(cfg)
	c.outlived = outlived(cfg)
	c.prepareAggregates()
	for _, s := range c.sites {
		if s.neighbor != nil && s.neighbor.seen.State == bgp.StateEstablished && s.health.unheard() {
			s.health.session(now, s.neighbor.seen) // nobody reports it again while it stands
		}
		c.judge(now, s)
	}
	c.endpointsOld, c.lostOld, c.dirty, c.urgent = true, true, true, true
	c.epoch++
}

func (c *Core) addSite(cfg *Site, old *siteState) {
	s := &siteState{cfg: cfg, dev: c.devices[cfg.Device], disabled: cfg.Disabled}
	s.hop = []bgp.NextHop{{Device: cfg.Device}}
	if old != nil {
		s.health, s.missing = old.health, old.missing
		s.disabled = cfg.Disabled || (old.disabled && !old.cfg.Disabled)
		s.parked = old.parked && cfg.Roams
		s.judged, s.dead, s.pace = old.judged, old.dead, old.pace // a reload is no news
		if s.steer, s.returned = old.steer, old.returned; s.returned {
			c.returned = append(c.returned, s)
		}
		s.sighted = old.sighted
		if s.greeting = old.greeting; s.greeting.try > 0 {
			c.greeted = append(c.greeted, s)
		}
		s.health.reconfigure(cfg)
	} else {
		s.health, s.pace = newHealth(cfg), s.firstPace()
	}
	s.inheritAllowed(old)
	if n := c.neighbors[cfg.Neighbor]; n != nil {
		s.neighbor, n.site, s.except = n, s, n.split
	}
	if old != nil && s.neighbor != nil && old.neighbor != nil && old.neighbor.cfg.Compare(s.neighbor.cfg)&bgp.ChangeReset != 0 {
		s.health.excuse(c.now)
	}
	if s.dev != nil {
		s.dev.sites = append(s.dev.sites, s)
	}
	for _, k := range cfg.Checks {
		if k.Probe.ID != "" {
			c.siteByProbe[k.Probe.ID] = s
		}
	}
	c.sites = append(c.sites, s)
	c.siteByName[cfg.Name] = s
}

// prepare derives the parts of the plan that depend on configuration alone.
func (c *Core) prepare() {
	c.listProbes()
	c.listening = nil
	for i := range c.cfg.Neighbors {
		if n := c.neighbors[c.cfg.Neighbors[i].Name]; c.listens(n) {
			c.listening = append(c.listening, n)
		}
	}
	c.wantNeighbors()
	c.tunnelsWant = nil
	for _, p := range c.cfg.Connect {
		t := p.Tunnel()
		t.Mark = c.cfg.FIB.Mark
		t.VRF = c.cfg.FIB.VRF
		c.tunnelsWant = append(c.tunnelsWant, t)
	}
	slices.SortFunc(c.tunnelsWant, func(a, b tgwconnect.Tunnel) int { return cmp.Compare(a.Name, b.Name) })
}
