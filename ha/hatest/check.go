package hatest

import (
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// Invariant is one thing that must hold after every step.
type Invariant int

// The invariants, in the order of README.md.
const (
	DeadWithdrawn Invariant = 1 + iota // nothing is announced whose tunnel has long been dead
	Reachable                          // a site with a working path is reachable again in time
	OneOwner                           // an allowed IP belongs to one peer of a device
	AppliedFirst                       // nothing is announced before peer and route are applied
	Idempotent                         // applying a plan twice changes nothing
	Commutes                           // the order of facts does not matter
	FewFlaps                           // flaps of a site in an hour stay under the damping bound
	RestartKeeps                       // a restart removes no working route
	Reasoned                           // what is known and not announced has a reason
	NoLoop                             // no forwarding loop stands
	BoundedInbox                       // the inbox is bounded by things
	OneSpeaker                         // two hosts do not both believe to be the only one
)

// Violation is an invariant that did not hold.
type Violation struct {
	Invariant Invariant
	At        time.Duration
	Text      string
}

func (v *Violation) String() string {
	return fmt.Sprintf("invariant %d at %v: %s", v.Invariant, v.At, v.Text)
}

// Bounds. The first is how long a dead tunnel may go unnoticed, by the way its
// site is watched: with the heartbeat alone and a site that goes on sending, only
// the end of the session tells (facts: 190 s).
var deathBound = map[siteKind]time.Duration{
	kindBeat: 200 * time.Second, kindRoam: 200 * time.Second, kindBFD: 2 * time.Second, kindBGP: 2 * time.Second, kindProbe: 6 * time.Second,
}

const (
	// margin is for what an edge, BGP and the next plan take.
	margin = 10 * time.Second
	// reachMargin is added for a site to be reachable again: a Transit Gateway holds
	// a dead host's routes for the hold time, then the hold-down passes.
	reachMargin = holdTGW + holdDown + 15*time.Second
	loopBound   = 10 * time.Second
	// speakBound is how long two hosts may both believe to be the only one that
	// holds a site, although they can talk.
	speakBound = 15 * time.Second
	// roamBound is how long two hosts may both hold the one session of a site.
	roamBound = 45 * time.Second
	// outbidBound is how long two hosts may both outbid a third, from its death on.
	outbidBound = holdTGW + 15*time.Second
)

// flapBound is the most failures in an hour that damping can let through: until
// the site is suppressed, and then what decays meanwhile.
var flapBound = int(math.Ceil((damping.Suppress/damping.Penalty + 1) * (1 + math.Ln2*float64(time.Hour)/float64(damping.HalfLife))))

// checker watches a world.
type checker struct {
	w       *world
	dirty   []int32
	isDirty []bool
	whole   bool
	state   []reachState // by region, then prefix
	owners  []uint32     // by prefix index: hosts that believe to be its only carrier
	ownFrom []time.Duration
	roams   []time.Duration // by site: two hosts hold its session since; -1: not
	outbid  []time.Duration // by region, then prefix: two hosts outbid since; -1: not
	every   uint64
	outages uint64
}

type reachState struct {
	is      reach
	since   time.Duration // of is != arrives
	looping time.Duration // of is == loops
	watched bool
}

func newChecker(w *world) *checker { return &checker{w: w} }

func (c *checker) prepare() {
	n := len(c.w.prefixes)
	c.isDirty, c.owners, c.ownFrom = make([]bool, n), make([]uint32, n), make([]time.Duration, n)
	c.state = make([]reachState, n*len(c.w.regions))
	c.outbid = make([]time.Duration, n*len(c.w.regions))
	for i := range c.outbid {
		c.outbid[i] = -1
	}
	c.roams = make([]time.Duration, len(c.w.sites))
	for i := range c.roams {
		c.roams[i] = -1
	}
	c.whole = true
}

func (c *checker) fail(i Invariant, format string, args ...any) {
	if only := c.w.s.Only; c.w.violation == nil && (only == 0 || only == i) {
		c.w.violation = &Violation{i, c.w.now, fmt.Sprintf(format, args...)}
	}
}

// touch notes that something about a prefix has changed; all that anything may
// have.
func (c *checker) touch(p int32) {
	if !c.isDirty[p] {
		c.isDirty[p] = true
		c.dirty = append(c.dirty, p)
	}
}

func (c *checker) all() { c.whole = true }

// step looks at everything that the last event may have changed.
func (c *checker) step() {
	if c.whole {
		c.whole = false
		for p := range c.w.prefixes {
			c.touch(int32(p))
		}
	}
	for _, p := range c.dirty {
		c.isDirty[p] = false
		c.look(p)
	}
	c.dirty = c.dirty[:0]
}

func (c *checker) look(p int32) {
	w := c.w
	for _, h := range w.hosts {
		if h.proc != nil && h.proc.said[p] != nil {
			c.forwards(h, p)
		}
	}
	if w.siteOf[p] < 0 {
		return
	}
	for _, r := range w.regions {
		at := r.id*len(w.prefixes) + int(p)
		s := &c.state[at]
		is := w.fromVPC(r, p)
		if is != arrives && s.is == arrives {
			s.since = w.now
			c.outages++
		}
		if is == loops && s.is != loops {
			s.looping = w.now
		}
		s.is = is
		if is != arrives && !s.watched {
			s.watched = true
			c.watch(r, p)
		}
		c.outbids(r, p, at)
	}
}

// forwards: what is announced has a route, and where that leads into WireGuard a
// peer that owns it.
func (c *checker) forwards(h *host, p int32) {
	e := &h.kernel.routes[p]
	if !e.in {
		c.fail(AppliedFirst, "%s announces %s and has no route to it", neighborName(h), c.w.prefixes[p])
		return
	}
	for _, hop := range e.hops {
		if hop.Device == "wg0" && h.owner(p) == nil {
			c.fail(AppliedFirst, "%s announces %s, which is an allowed IP of no peer", neighborName(h), c.w.prefixes[p])
		}
	}
}

// watch comes back to an unreachable prefix as long as it is that.
func (c *checker) watch(r *region, p int32) {
	w := c.w
	site := w.sites[w.siteOf[p]]
	bound := deathBound[site.kind] + reachMargin
	if twin := w.twinOf[p]; twin != nil {
		bound = max(bound, deathBound[twin.kind]+reachMargin)
	}
	s := &c.state[r.id*len(w.prefixes)+int(p)]
	d := min(s.since+bound-w.now, loopBound)
	w.after(max(d, time.Second), func() {
		if s.is == arrives {
			s.watched = false
			return
		}
		if s.is == loops && w.now-s.looping >= loopBound && w.now-c.lastTrouble() >= loopBound {
			c.fail(NoLoop, "packets from region %d to %s of %s loop since %v", r.id, w.prefixes[p], site.name, s.looping)
		}
		if since, ok := w.could(r, p); ok && w.now-s.since >= bound && w.now-since >= bound && w.now-c.troubleOf(r, site) >= bound {
			c.fail(Reachable, "%s of %s is not reached from region %d since %v, although it could be since %v", w.prefixes[p], site.name, r.id, s.since, since)
		}
		c.watch(r, p)
	})
}

// troubleOf is until when a host was not well that packets from the region to the
// site may pass.
func (c *checker) troubleOf(r *region, s *site) time.Duration {
	t := time.Duration(0)
	for _, h := range c.w.hosts {
		if h.region == r || h.linkOf[s.id] != nil {
			t = max(t, h.trouble)
		}
	}
	return t
}

func (c *checker) lastTrouble() time.Duration {
	t := time.Duration(0)
	for _, h := range c.w.hosts {
		t = max(t, h.trouble)
	}
	return t
}

// linkChanged: a tunnel that stays dead must be given up in time.
func (c *checker) linkChanged(l *link) {
	for _, p := range l.site.prefixes {
		c.touch(p)
	}
	if l.works {
		return
	}
	since := l.since
	var again func()
	again = func() {
		if l.works || l.since != since || l.host.proc == nil {
			return
		}
		if t := l.host.trouble + margin; c.w.now < t {
			c.w.q.put(t, again)
			return
		}
		for _, p := range l.site.prefixes {
			c.dead(l, p)
		}
	}
	c.w.after(deathBound[l.site.kind]+margin, again)
}

// dead reports a prefix that is announced into a tunnel that is long dead.
func (c *checker) dead(l *link, p int32) {
	h := l.host
	if l.works || h.proc == nil || h.proc.said[p] == nil || c.w.now-l.since < deathBound[l.site.kind]+margin || c.w.now-h.trouble < margin {
		return
	}
	for _, hop := range h.kernel.routes[p].hops {
		if hop.Device == "wg0" && h.owner(p) == l {
			c.fail(DeadWithdrawn, "%s announces %s, and its tunnel to %s is dead since %v", neighborName(h), c.w.prefixes[p], l.site.name, l.since)
		}
	}
}

// announced: the speaker of the host now says something else about the prefix.
func (c *checker) announced(h *host, p int32) {
	c.touch(p)
	if c.w.siteOf[p] < 0 || h.proc.said[p] == nil {
		return
	}
	if l := h.owner(p); l != nil {
		c.dead(l, p)
	}
}

func (c *checker) blocked(h *host, b wg.Blocked) {
	if b.Overlap {
		c.fail(OneOwner, "%s: the plan gives %s to %v and to %v", neighborName(h), b.Prefix, siteOfKey(b.Peer), siteOfKey(b.Holder))
	}
}

// again: what a plan needs once it has been applied must be nothing.
func (c *checker) again(h *host, ops int, p *ha.Plan) {
	if ops != 0 {
		c.fail(Idempotent, "%s: plan %d needs %d changes of the WireGuard interface when it is applied again", neighborName(h), p.Gen, ops)
	}
}

func (c *checker) routesAgain(h *host, p *ha.Plan) {
	if c.seldom() {
		return
	}
	if ops := h.kernel.compare(p.FIB.Routes, p.FIB.Complete); len(ops) != 0 {
		c.fail(Idempotent, "%s: plan %d needs %d changes of routes when it is applied again", neighborName(h), p.Gen, len(ops))
	}
}

// seldom says, in a large world, that a costly look is not due.
func (c *checker) seldom() bool {
	c.every++
	return c.w.s.Large && c.every%64 != 0
}

// moved counts what the core makes of a site.
func (c *checker) moved(l *link, t ha.Transition) {
	stood := func(v string) bool { return v == string(ha.Up) || v == string(ha.Suspect) }
	if s := l.site; s.kind == kindRoam && !c.w.s.Large {
		c.holds(s)
	}
	if !stood(t.From) || stood(t.To) || t.Reason == string(ha.ReasonDisabled) {
		return
	}
	now := c.w.now
	for len(l.flaps) > 0 && now-l.flaps[0] > time.Hour {
		l.flaps = l.flaps[1:]
	}
	if l.flaps = append(l.flaps, now); len(l.flaps) > flapBound {
		c.fail(FewFlaps, "%s gave up %s %d times within an hour, damping permits %d", neighborName(l.host), l.site.name, len(l.flaps), flapBound)
	}
}

// holds watches a roaming site that two hosts believe to hold.
func (c *checker) holds(s *site) {
	two := 0
	for _, l := range s.links {
		if l.host.proc != nil && l.verdict == string(ha.Up) {
			two++
		}
	}
	at := &c.roams[s.id]
	if two < 2 {
		*at = -1
		return
	}
	if *at >= 0 {
		return
	}
	*at = c.w.now
	c.w.after(roamBound, func() {
		if *at >= 0 && c.w.now-*at >= roamBound && c.w.now-c.lastTrouble() >= roamBound {
			c.holdsStill(s, *at)
		}
	})
}

func (c *checker) holdsStill(s *site, since time.Duration) {
	two := 0
	for _, l := range s.links {
		if l.host.proc != nil && l.host.proc.born <= since && l.verdict == string(ha.Up) {
			two++
		}
	}
	if two > 1 {
		c.fail(OneSpeaker, "%d hosts hold the one session of %s since %v", two, s.name, since)
	}
}

// planned looks at a new plan.
func (c *checker) planned(p *process, old, plan *ha.Plan) {
	if old == nil || !sameSlice(old.Claims, plan.Claims) {
		c.claims(p.h, plan)
	}
	if c.seldom() {
		return
	}
	c.oneOwner(p.h, plan)
	c.reasons(p, plan)
}

func (c *checker) oneOwner(h *host, plan *ha.Plan) {
	owner := map[netip.Prefix]string{}
	for i := range plan.Devices[0].Peers {
		q := &plan.Devices[0].Peers[i]
		for _, a := range q.AllowedIPs {
			if o, taken := owner[a]; taken {
				c.fail(OneOwner, "%s: the plan gives %s to %s and to %s", neighborName(h), a, o, q.Name)
			}
			owner[a] = q.Name
		}
	}
}

// reasons: every prefix that the host knows is announced or withheld.
func (c *checker) reasons(p *process, plan *ha.Plan) {
	ann, held := plan.Announcements, plan.Withheld
	for i, prefix := range c.w.prefixes {
		for len(ann) > 0 && bgp.ComparePrefix(ann[0].Prefix, prefix) < 0 {
			ann = ann[1:]
		}
		for len(held) > 0 && bgp.ComparePrefix(held[0].Prefix, prefix) < 0 {
			held = held[1:]
		}
		known := p.known[i] > 0
		if s := c.w.siteOf[i]; s >= 0 && p.h.linkOf[int(s)] != nil && c.w.sites[s].kind != kindBGP {
			known = true
		}
		if s := c.w.twinOf[i]; s != nil && p.h.linkOf[s.id] != nil {
			known = true
		}
		if known && !(len(ann) > 0 && ann[0].Prefix == prefix) && !(len(held) > 0 && held[0].Prefix == prefix && held[0].Reason != ha.ReasonNone) {
			c.fail(Reasoned, "%s knows %s, does not announce it, and says no reason", neighborName(p.h), prefix)
		}
	}
}

// claims watches prefixes of which two hosts believe to be the only carrier.
func (c *checker) claims(h *host, plan *ha.Plan) {
	w := c.w
	for i := range plan.Claims {
		k := &plan.Claims[i]
		at := w.index[k.Prefix]
		was := c.owners[at]
		if k.Hold == tgwconnect.HeldHere && !k.Rival {
			c.owners[at] |= 1 << h.id
		} else {
			c.owners[at] &^= 1 << h.id
		}
		if bits.OnesCount32(was) < 2 && bits.OnesCount32(c.owners[at]) > 1 {
			c.ownFrom[at] = w.now
			c.watchOwners(at)
		}
	}
}

func (c *checker) watchOwners(p int32) {
	w := c.w
	w.after(speakBound, func() {
		if bits.OnesCount32(c.owners[p]) < 2 {
			return
		}
		for _, x := range w.fleet {
			a, b := x.ends[0], x.ends[1]
			if a.region != b.region { // no entry of one region leads to a host of another
				continue
			}
			if c.owners[p]&(1<<a.id) == 0 || c.owners[p]&(1<<b.id) == 0 || a.proc == nil || b.proc == nil || !x.works || !x.bgp.up[0] || !x.bgp.up[1] {
				continue
			}
			if a.proc.core.Drain() == ha.DrainWithdraw && b.proc.core.Drain() == ha.DrainWithdraw {
				continue // both have gone silent, each carries what still comes
			}
			if since := max(x.since, x.bgp.since, c.ownFrom[p], a.trouble, b.trouble, a.proc.born, b.proc.born); w.now-since >= speakBound {
				c.fail(OneSpeaker, "%s and %s both believe to be the only one that carries %s since %v", neighborName(a), neighborName(b), w.prefixes[p], since)
			}
		}
		c.watchOwners(p)
	})
}
