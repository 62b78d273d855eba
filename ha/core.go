package ha

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// Core holds what has been observed and decides from it. It is not safe for
// concurrent use: one loop owns it.
type Core struct {
	cfg     *Config
	started time.Time
	now     time.Time // of the latest fact or plan
	drain   DrainPhase

	sites       []*siteState // by name
	siteByName  map[string]*siteState
	siteByProbe map[string]*siteState
	neighbors   map[string]*neighborState
	left        map[string]bgp.NeighborState // standing sessions of neighbors that left the configuration
	devices     map[string]*deviceState
	tunnels     map[string]tgwconnect.TunnelState
	rib         rib

	routes appliedRoutes
	ann    appliedAnnouncements

	endpoints     []netip.Addr // of every tunnel, sorted
	endpointsOld  bool
	exports       exportTable
	probes        []wg.Probe
	neighborsWant []bgp.Neighbor
	tunnelsWant   []tgwconnect.Tunnel
	complete      bool

	plan   *Plan
	dirty  bool
	urgent bool
	due    time.Time // when time alone may change the plan
	walk   walker    // scratch of the planner
	moves  []Transition
}

// Transition is a change of a site's verdict or of a session's state, for logs
// and events.
type Transition struct {
	Site, Neighbor string // one of them
	From, To       string
	Reason         string
	Detail         string
}

// Transitions returns what changed since it was last asked.
func (c *Core) Transitions() []Transition {
	t := c.moves
	c.moves = nil
	return t
}

type siteState struct {
	cfg      *Site
	health   *health
	judged   Judgement
	next     time.Time // when judged may change without a new fact; zero: never
	disabled bool
	dev      *deviceState
	neighbor *neighborState
	except   []string      // the site's own neighbor: never told its own prefixes
	hop      []bgp.NextHop // out of the site's device, shared by its routes
	missing  bool          // the peer was not on the device when last looked
	dead     bool          // its endpoint may be resolved again
	parked   bool          // let go of: see park.go

	// Planning scratch. Allowed IPs of this plan are lastAllowed[:kept], or once
	// they differ from those of the last plan (moved), allowed. applied is the
	// peer as confirmed. plain says that nothing is the matter with the site; then
	// to is who is told its prefixes.
	lastAllowed []netip.Prefix
	kept        int
	moved       bool
	allowed     []netip.Prefix
	applied     *wg.Peer
	plain       bool
	to          []bgp.Export
}

type neighborState struct {
	cfg   *bgp.Neighbor
	site  *siteState
	seen  bgp.NeighborState
	hop   []bgp.NextHop // through the neighbor's device
	once  bool          // seen at least once
	split []string      // its own name, for split horizon
}

type deviceState struct {
	cfg     *wg.Device
	sites   []*siteState // by peer key
	seen    wg.DeviceState
	err     string
	once    bool
	plan    *Plan // last attempted
	want    *wg.Device
	applied wg.Applied
	joined  bool // sites point at their peers in want
}

type appliedRoutes struct {
	plan *Plan
	bgp.RoutesApplied
}

type appliedAnnouncements struct {
	plan *Plan
	bgp.AnnounceApplied
}

// New makes a core for a configuration. now is the start of the waits that
// begin with the process (End-of-RIB).
func New(now time.Time, cfg *Config) *Core {
	c := &Core{
		started:   now,
		devices:   map[string]*deviceState{},
		neighbors: map[string]*neighborState{},
		left:      map[string]bgp.NeighborState{},
		tunnels:   map[string]tgwconnect.TunnelState{},
	}
	c.rib.init()
	c.Reconfigure(now, cfg)
	return c
}

// Reconfigure replaces the configuration. Evidence about everything that is
// still there is kept.
func (c *Core) Reconfigure(now time.Time, cfg *Config) {
	old := *c
	c.now, c.cfg = now, cfg
	c.sites = make([]*siteState, 0, len(cfg.Sites))
	c.siteByName = make(map[string]*siteState, len(cfg.Sites))
	c.siteByProbe = map[string]*siteState{}
	c.devices = make(map[string]*deviceState, len(cfg.Devices))
	c.neighbors = make(map[string]*neighborState, len(cfg.Neighbors))
	for i := range cfg.Devices {
		d := &deviceState{cfg: &cfg.Devices[i]}
		if o := old.devices[d.cfg.Name]; o != nil {
			d.seen, d.err, d.once, d.plan, d.want, d.applied = o.seen, o.err, o.once, o.plan, o.want, o.applied
		}
		c.devices[d.cfg.Name] = d
	}
	for i := range cfg.Neighbors {
		n := &neighborState{cfg: &cfg.Neighbors[i], split: []string{cfg.Neighbors[i].Name}}
		n.hop = []bgp.NextHop{{Device: n.cfg.Device}}
		if o := old.neighbors[n.cfg.Name]; o != nil {
			n.seen, n.once = o.seen, o.once
		} else if st, ok := c.left[n.cfg.Name]; ok {
			n.seen, n.once = st, true // the speaker may not have seen that it left
			delete(c.left, n.cfg.Name)
		}
		c.neighbors[n.cfg.Name] = n
	}
	for name, o := range old.neighbors {
		if c.neighbors[name] == nil && o.seen.State == bgp.StateEstablished {
			c.left[name] = o.seen
		}
	}
	for i := range cfg.Sites {
		c.addSite(&cfg.Sites[i], old.siteByName[cfg.Sites[i].Name])
	}
	for _, d := range c.devices {
		slices.SortFunc(d.sites, func(a, b *siteState) int { return a.cfg.Peer.Key.Compare(b.cfg.Peer.Key) })
	}
	c.prepare()
	c.rib.reconfigure(c.sites, c.neighbors)
	c.exports = newExportTable(cfg)
	for _, s := range c.sites {
		if s.neighbor != nil && s.neighbor.seen.State == bgp.StateEstablished && s.health.unheard() {
			s.health.session(now, s.neighbor.seen) // nobody reports it again while it stands
		}
		c.judge(now, s)
	}
	c.endpointsOld, c.dirty, c.urgent = true, true, true
}

func (c *Core) addSite(cfg *Site, old *siteState) {
	s := &siteState{cfg: cfg, dev: c.devices[cfg.Device], disabled: cfg.Disabled}
	s.hop = []bgp.NextHop{{Device: cfg.Device}}
	if old != nil {
		s.health, s.missing, s.lastAllowed = old.health, old.missing, old.lastAllowed
		s.disabled = cfg.Disabled || (old.disabled && !old.cfg.Disabled)
		s.parked = old.parked && cfg.Roams
		s.judged, s.dead = old.judged, old.dead // a reload is no news
		s.health.reconfigure(cfg)
	} else {
		s.health = newHealth(cfg)
	}
	if n := c.neighbors[cfg.Neighbor]; n != nil {
		s.neighbor, n.site, s.except = n, s, n.split
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
	c.prepareProbes()
	c.neighborsWant = slices.Clone(c.cfg.Neighbors)
	c.tunnelsWant = nil
	for _, p := range c.cfg.Connect {
		t := p.Tunnel()
		t.Mark = c.cfg.FIB.Mark
		t.VRF = c.cfg.FIB.VRF
		c.tunnelsWant = append(c.tunnelsWant, t)
	}
	slices.SortFunc(c.tunnelsWant, func(a, b tgwconnect.Tunnel) int { return cmp.Compare(a.Name, b.Name) })
}

// prepareProbes lists the probes of all sites but those that the configuration
// disables. A site that only an order disabled goes on being measured, so that
// it is known what enabling it will bring.
func (c *Core) prepareProbes() {
	c.probes = c.probes[:0:0]
	for _, s := range c.sites {
		for _, k := range s.cfg.Checks {
			if k.Probe.ID != "" && !(s.cfg.Disabled && s.disabled) {
				c.probes = append(c.probes, k.Probe)
			}
		}
	}
	slices.SortFunc(c.probes, func(a, b wg.Probe) int { return cmp.Compare(a.ID, b.ID) })
}

// Step remembers one observation.
func (c *Core) Step(now time.Time, f Fact) {
	c.now = now
	switch f := f.(type) {
	case DeviceObserved:
		c.stepDevice(now, f)
	case ProbeObserved:
		if s := c.siteByProbe[f.ID]; s != nil {
			s.health.probe(now, f.ProbeResult)
			c.judge(now, s)
		}
	case NeighborObserved:
		c.stepNeighbor(now, f)
	case PathsChanged:
		c.rib.apply(f.Changes, c.neighbors)
		c.dirty = true
	case TunnelObserved:
		was, ok := c.tunnels[f.Name]
		c.tunnels[f.Name] = f.TunnelState
		if !ok || was.Up != f.Up {
			c.dirty, c.urgent = true, c.urgent || !f.Up
		}
	case WireGuardApplied:
		c.stepApplied(now, f)
	case RoutesApplied:
		if f.Err != "" {
			// The attempt as a whole failed: what was true before still is.
			c.routes.Err = f.Err
		} else {
			c.routes = appliedRoutes{f.Plan, f.RoutesApplied}
		}
		c.dirty = true
	case AnnounceApplied:
		c.ann = appliedAnnouncements{f.Plan, f.AnnounceApplied}
		c.dirty = true
	case SiteSet:
		if s := c.siteByName[f.Site]; s != nil && s.disabled != f.Disabled {
			s.disabled = f.Disabled
			s.health.enabled = s.cfg.Disabled && !f.Disabled
			c.prepareProbes()
			c.judge(now, s)
			c.dirty, c.urgent = true, true
		}
	case Draining:
		c.drain = f.Phase
		c.dirty, c.urgent = true, true
	}
}

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
	d.plan, d.applied, d.joined = f.Plan, f.Applied, false
	d.want = nil
	if f.Err == "" {
		d.want = findDevice(f.Plan, f.Device)
	}
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
	}
}

func (c *Core) stepNeighbor(now time.Time, f NeighborObserved) {
	n := c.neighbors[f.Name]
	if n == nil {
		delete(c.left, f.Name)
		if f.State == bgp.StateEstablished {
			c.left[f.Name] = f.NeighborState
		}
		return
	}
	was := n.seen
	n.seen, n.once = f.NeighborState, true
	if was.State != f.State {
		c.moves = append(c.moves, Transition{Neighbor: f.Name, From: string(was.State), To: string(f.State), Reason: f.Reason})
	}
	if was.State != f.State || was.EndOfRIB4 != f.EndOfRIB4 || was.EndOfRIB6 != f.EndOfRIB6 {
		c.dirty = true
		c.urgent = c.urgent || (was.State == bgp.StateEstablished && f.State != bgp.StateEstablished)
	}
	if n.site != nil {
		n.site.health.session(now, f.NeighborState)
		c.judge(now, n.site)
	}
}

// judge asks the site's health again and notes whether the plan may differ.
func (c *Core) judge(now time.Time, s *siteState) {
	was := s.judged
	s.judged = s.health.judge(now)
	if was.Verdict != s.judged.Verdict {
		c.moves = append(c.moves, Transition{
			Site: s.cfg.Name, From: string(was.Verdict), To: string(s.judged.Verdict),
			Reason: string(s.judged.Reason), Detail: s.judged.Detail,
		})
	}
	if was.Verdict != s.judged.Verdict || was.Reason != s.judged.Reason || !slices.Equal(was.FailedPrefixes, s.judged.FailedPrefixes) {
		c.dirty = true
		c.urgent = c.urgent || s.judged.Verdict == Down || len(s.judged.FailedPrefixes) > len(was.FailedPrefixes)
	}
	// A site can be down for what lies behind a living peer; then its endpoint
	// belongs to WireGuard's roaming.
	if dead := s.judged.Verdict == Down && s.health.silence() > peerSilence; dead != s.dead {
		s.dead, c.dirty = dead, true
	}
	if s.next = s.health.next(now); !s.next.IsZero() {
		c.wake(s.next)
	}
}

// peerSilence is longer than a living peer can be silent under the heartbeat:
// its passive keepalive comes within 10 s (WireGuard's KEEPALIVE_TIMEOUT).
const peerSilence = 11 * time.Second

// Due is the next instant at which time alone may change the plan; zero: never.
func (c *Core) Due() time.Time { return c.due }

// Urgent reports whether something failed since the last plan: then planning
// must not wait for company.
func (c *Core) Urgent() bool { return c.urgent }

// Changed reports whether a fact since the last plan may have changed it. Most
// facts do not: a probe was answered once more.
func (c *Core) Changed() bool { return c.dirty }

// tick lets time pass: verdicts that depend on it are judged again.
func (c *Core) tick(now time.Time) {
	c.now = now
	if c.due.IsZero() || now.Before(c.due) {
		return
	}
	c.due = time.Time{}
	for _, s := range c.sites {
		c.judge(now, s)
	}
	if !c.complete || c.walk.lingering {
		c.dirty = true
	}
}

func (c *Core) wake(at time.Time) {
	if c.due.IsZero() || at.Before(c.due) {
		c.due = at
	}
}

func sameEndpoints(a, b []wg.PeerState) bool {
	return slices.EqualFunc(a, b, func(x, y wg.PeerState) bool { return x.Key == y.Key && x.Endpoint.Addr() == y.Endpoint.Addr() })
}

func findDevice(p *Plan, name string) *wg.Device {
	if p == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(p.Devices, name, func(d wg.Device, n string) int { return cmp.Compare(d.Name, n) })
	if !ok {
		return nil
	}
	return &p.Devices[i]
}
