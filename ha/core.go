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
	whole   time.Time // of the latest plan: every fact until then has been looked at
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
	c.now, c.whole = now, now
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

// asOf is until when it is known what came. Evidence does not age before that has been
// looked at: after a pause of this process, the first fact must not find all others
// missing.
func (c *Core) asOf(now time.Time) time.Time { return knownAt(c.whole, now) }

// knownAt is the earlier one of now and the last plan, zero: there was none.
func knownAt(whole, now time.Time) time.Time {
	if !whole.IsZero() && whole.Before(now) {
		return whole
	}
	return now
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
