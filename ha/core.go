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
	base    *Config // the operator's
	cfg     *Config // the same with what was discovered
	started time.Time
	now     time.Time // of the latest fact or plan
	drain   DrainPhase

	sites           []*siteState // by name
	siteByName      map[string]*siteState
	siteByProbe     map[string]*siteState
	neighborByProbe map[string]*neighborState // see confirm.go
	neighbors       map[string]*neighborState
	left            map[string]bgp.NeighborState // standing sessions of neighbors that left the configuration
	devices         map[string]*deviceState
	tunnels         map[string]tgwconnect.TunnelState
	found           []tgwconnect.Candidate // see discover.go
	discovered      bool
	servers         []tgwconnect.ServerCandidate
	serversSeen     bool
	rib             rib

	routes appliedRoutes
	ann    appliedAnnouncements

	endpoints     []netip.Addr // of every tunnel, sorted
	endpointsOld  bool
	exports       exportTable
	heeder        heeder
	allProbes     []siteProbe // as configured, by ID
	probes        []wg.Probe  // as sent, see pace.go
	probesOld     bool
	aggregates    []*aggregateState // by prefix
	limits        []groupLimit      // by group
	offered       offered
	sharing       sharing
	bfd           map[string]*bfdState
	bfdWant       []bgp.BFDSession
	broken        []string // neighbors that BFD found dead since the last plan
	neighborsWant []bgp.Neighbor
	tunnelsWant   []tgwconnect.Tunnel
	complete      bool
	host          guard
	resume        *resume                  // an earlier process told neighbors what they keep; nil: no more
	outlived      time.Duration            // see takeover.go
	rosters       map[rosterKey]*wg.Roster // see greet.go
	greeted       []*siteState             // with a greeting, in no order
	returned      []*siteState             // that may have come back, in no order
	sourcesOld    bool                     // as peersOld, of the source checks

	epoch   uint64 // changes with what many settled entries depend on, see settled.go
	planned uint64 // the epoch of the last plan
	passes  uint64 // of the planner
	// thorough makes every plan think about every entry: the tests' measure of the
	// shortcuts for settled and ordinary ones.
	thorough bool
	plan     *Plan
	lost     []bgp.NextHop // see Lost
	lostOld  bool
	dirty    bool
	urgent   bool
	due      time.Time // when time alone may change the plan
	walk     walker    // scratch of the planner
	moves    []Transition

	listening []*neighborState // that are told nothing yet, see listen.go
	hearing   bool             // one of them is there
	letIn     time.Time        // when the last of them were told
}

// Transition is a change of a site's verdict or of a session's state, for logs
// and events.
type Transition struct {
	Site, Neighbor string // one of them
	BFD            bool   // the change is of their BFD session
	Underlay       bool   // this host as a whole stepped down, or up again: see guard.go
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
	many     []bgp.NextHop // the last set that began with it, likewise
	missing  bool          // the peer was not on the device when last looked
	dead     bool          // its endpoint may be resolved again
	parked   bool          // let go of: see park.go
	beats    bool          // has a heartbeat
	pace     pace          // of it: see pace.go

	greeting greeting
	sighted  sighting
	steer    Steer
	returned bool // it came back since somebody else spoke for it: see yields
	waits    int  // of its prefixes wait for another host of the fleet

	allowed []netip.Prefix // of the last plan, by prefix; see allowed.go
	applied *wg.Peer       // the peer as confirmed
	watched []*entry       // to be worked out again when the site changes, see settled.go

	// Scratch of the pass of that number. changes are those of its allowed IPs. plain
	// says that nothing is the matter with the site; then to is who is told its
	// prefixes.
	pass    uint64
	changes []allowedChange
	plain   bool
	to      []bgp.Export
	forgets bool
}

type neighborState struct {
	cfg   *bgp.Neighbor
	site  *siteState
	seen  bgp.NeighborState
	hop   []bgp.NextHop // through the neighbor's device
	via   []bgp.NextHop // the gateway it named last, shared by its routes
	many  []bgp.NextHop // the last set that began with it, likewise
	once  bool          // seen at least once
	split []string      // its own name, for split horizon
	flush uint32        // bgp.Neighbor.Flush
	// A host of the fleet is suspected to be dead since, and believed to be since;
	// zero: it is not.
	suspected, died time.Time
	confirm         *confirming // nil: nothing is asked
	far             int         // see distance
	remote          uint32      // the MED with which it tells rank remote
	link            *siteState  // the WireGuard link to it; nil: there is none

	gateways []netip.Addr // that it named, see note
	losing   time.Time    // begin of the session that ends just now
	left     time.Time    // when the last session ended; zero: none has

	introduced bool      // it has told its table, see listen.go
	began      time.Time // with the first path of it; zero: there was none yet
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
	// peersOld: its peers in the last plan may not be what they should be.
	peersOld bool
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
		rosters:   map[rosterKey]*wg.Roster{},
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

// ThinkAlways has every plan work out everything anew instead of leaving settled
// entries alone. The plans are the same: simulations compare them.
func (c *Core) ThinkAlways() { c.thorough = true }

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
		} else if n := c.neighborByProbe[f.ID]; n != nil {
			c.answered(now, n, f.OK)
		} else {
			c.stepAnchor(now, f.ProbeResult)
		}
	case UnderlayObserved:
		c.stepUnderlay(now, f)
	case NeighborObserved:
		c.stepNeighbor(now, f)
	case NeighborLosing:
		if n := c.neighbors[f.Name]; n != nil && n.seen.State == bgp.StateEstablished {
			n.losing, n.left, c.lostOld = n.seen.Since, now, true
		}
	case BFDObserved:
		c.stepBFD(now, f)
	case PathsChanged:
		c.rib.apply(now, f.Changes, c.neighbors, &c.heeder)
		c.dirty = true
	case TunnelObserved:
		was, ok := c.tunnels[f.Name]
		c.tunnels[f.Name] = f.TunnelState
		if !ok || was.Up != f.Up || was.Err != f.Err {
			c.epoch++
		}
		if !ok || was.Up != f.Up {
			c.dirty, c.urgent = true, c.urgent || !f.Up
			c.lostOld = true
		}
	case RosterHeard:
		c.rosters[rosterKey{f.Device, f.Host}] = f.Roster
	case PeerSighted:
		c.stepSighted(now, f)
	case WireGuardApplied:
		c.stepApplied(now, f)
	case RoutesApplied:
		c.stepRoutes(f)
	case AnnounceApplied:
		c.ann = appliedAnnouncements{f.Plan, f.AnnounceApplied}
		c.dirty = true
	case SiteSet:
		s := c.siteByName[f.Site]
		if s != nil && !f.Disabled && s.judged.Reason == ReasonDamped {
			s.health.forgive()
			c.judge(now, s)
		}
		if s != nil && s.disabled != f.Disabled {
			s.disabled = f.Disabled
			c.touchSite(s)
			if s.dev != nil {
				s.dev.peersOld = true
			}
			s.health.enabled = s.cfg.Disabled && !f.Disabled
			if s.cfg.Link {
				c.epoch++
			}
			c.judge(now, s)
			c.probesOld, c.dirty, c.urgent, c.lostOld = true, true, true, true
		}
	case SiteSteered:
		c.steer(f)
	case PeersDiscovered:
		c.stepDiscovered(now, f)
	case Resumed:
		c.stepResumed(f)
	case ServersDiscovered:
		c.stepServers(now, f)
	case Draining:
		c.drain = f.Phase
		c.wantNeighbors()
		c.epoch++
		c.dirty, c.urgent = true, true
	}
}

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
	for i := range c.cfg.Confirms {
		if n := c.neighbors[c.cfg.Confirms[i].Neighbor]; n != nil {
			c.believe(now, n)
		}
	}
	if !c.complete || c.resume != nil || c.walk.lingering || c.walk.outbidding || c.hearing || len(c.greeted) > 0 {
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
