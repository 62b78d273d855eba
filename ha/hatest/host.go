package hatest

import (
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// host is one machine that runs the gateway.
type host struct {
	w      *world
	id     int
	region *region
	cfg    *ha.Config
	luck   dice

	up     bool
	upFrom time.Duration
	wall   time.Duration // its wall clock is off by so much
	boots  int
	died   time.Duration // when the last process ended

	links   []*link // by site, which is the order of keys
	linkOf  map[int]*link
	beating []*link // that have a probe of some kind
	wires   []*wire // by host; nil: itself
	tgw     [2]*session
	cutTGW  int
	tgwFrom time.Duration // of cutTGW
	drains  int
	offTill time.Duration // an operator's doing lasts until then

	kernel kernel
	proc   *process

	stalled    time.Duration // its loop does not turn before
	faults     [3]edgeFault  // by edge
	loses      time.Duration // reports are lost before
	unreadable time.Duration
	trouble    time.Duration // its edges or its loop were not well before
}

// edgeFault is what is the matter with one edge, until when.
type edgeFault struct{ fail, part, slow time.Duration }

func newHost(w *world, id int) *host {
	h := &host{w: w, id: id, region: w.regions[id%len(w.regions)], luck: w.s.dice("host", id), wires: make([]*wire, w.s.Hosts), linkOf: map[int]*link{}, up: true}
	for n := range h.tgw {
		s := newSession(w, w.s.dice("tgw", id<<1|n), holdTGW, func() bool { return h.up && h.cutTGW == 0 })
		s.ends[0], s.ends[1] = end{host: h}, end{region: h.region, n: n}
		h.tgw[n] = s
	}
	return h
}

// prepare ends the making of the host: its sites are known.
func (h *host) prepare() {
	for i := range h.links {
		l := h.links[i]
		h.linkOf[l.site.id] = l
		if k := l.site.kind; k == kindBeat || k == kindProbe || k == kindRoam {
			h.beating = append(h.beating, l)
		}
	}
	h.cfg = h.config()
	h.kernel.reset(h)
}

// process is one life of the daemon.
type process struct {
	h       *host
	born    time.Duration
	core    *ha.Core
	shadow  *ha.Core // gets the same facts in another order, and takes no shortcut; nil: none
	inbox   *ha.Inbox
	plan    *ha.Plan
	discr   uint32
	turning bool
	turnAt  time.Duration
	newsAt  time.Duration     // when to plan for news; zero: there is none
	last    time.Duration     // of the last plan
	known   []uint16          // by prefix index: how many neighbors the core has it from
	heard   map[string][]bool // by neighbor and prefix index: that it has it from there
	beats   map[string]time.Duration
	edges   [3]*edge
	said    []*bgp.Announcement // by prefix index: what the speaker says now
}

// start begins a life of the daemon, which finds what the kernel holds.
func (h *host) start() {
	w := h.w
	p := &process{
		h: h, born: w.now, core: ha.New(w.time(), h.cfg), inbox: ha.NewInbox(), discr: uint32(h.luck.next()) | 1,
		known: make([]uint16, len(w.prefixes)), heard: map[string][]bool{}, said: make([]*bgp.Announcement, len(w.prefixes)),
	}
	if !w.s.Large && h.id%2 == 0 {
		p.shadow = ha.New(w.time(), h.cfg)
		p.shadow.ThinkAlways()
	}
	for i := range p.edges {
		p.edges[i] = newEdge(p, i)
	}
	h.proc = p
	h.kernel.adopted()
	for i := range h.cfg.Neighbors {
		n := &h.cfg.Neighbors[i]
		h.put(ha.NeighborObserved{NeighborState: bgp.NeighborState{Name: n.Name, Address: n.Address, State: bgp.StateActive, Since: w.time()}})
	}
	h.put(ha.TunnelObserved{TunnelState: tgwconnect.TunnelState{Name: "gre0", Up: true, Index: 3}})
	for _, l := range h.links {
		l.bfdUp, l.bgpUp, l.bfdFlaps, l.discr, l.verdict, l.flaps = false, false, 0, p.discr+uint32(l.site.id)*2, "", nil
		l.fails, l.probeAt = 0, w.now+l.luck.between(0, beatEvery)
		if l.works {
			l.sessions()
		}
	}
	for _, x := range h.wires {
		if x != nil {
			x.update()
		}
	}
	for _, s := range h.tgw {
		s.seek()
	}
	p.poll()
	p.tick()
}

// kill ends the process; what the kernel holds stays.
func (h *host) kill() {
	if h.proc == nil {
		return
	}
	h.proc, h.died = nil, h.w.now
	for _, l := range h.links {
		l.bgpUp, l.bfdUp = false, false
	}
	for _, x := range h.wires {
		if x != nil {
			x.died(h)
		}
	}
	for _, s := range h.tgw {
		s.died(0)
	}
	h.w.check.all()
}

// put gives facts to the daemon, if there is one.
func (h *host) put(facts ...ha.Fact) {
	p := h.proc
	if p == nil {
		return
	}
	h.w.facts += uint64(len(facts))
	news := p.inbox.Put(facts...)
	h.w.check.inbox(p)
	if news {
		p.wake(h.w.now + time.Millisecond)
	}
}

// wake lets the loop turn, at the latest then.
func (p *process) wake(at time.Duration) {
	at = max(at, p.h.stalled)
	if p.turning && p.turnAt <= at {
		return
	}
	p.turning, p.turnAt = true, at
	p.h.w.q.put(at, func() {
		if p.h.proc == p && p.turning && p.turnAt == p.h.w.now {
			p.turn()
		}
	})
}

// turn is one turn of the daemon's loop: take facts, let the core decide, hand out
// the plan. News that follows other news waits a moment for company; a failure
// does not.
func (p *process) turn() {
	w := p.h.w
	if w.now < p.h.stalled {
		p.turning = false
		p.wake(p.h.stalled)
		return
	}
	p.turning = false
	facts := p.inbox.Take()
	p.step(facts)
	now := w.time()
	if p.core.Changed() && (p.newsAt == 0 || len(facts) > 0) {
		p.newsAt = max(w.now, p.last+p.h.cfg.Gateway.CoalesceDelay)
	}
	due := p.core.Due()
	if p.plan == nil || p.core.Urgent() || p.newsAt != 0 && p.newsAt <= w.now || !due.IsZero() && !now.Before(due) {
		p.decide()
		due = p.core.Due()
	}
	if p.newsAt != 0 {
		p.wake(max(p.newsAt, w.now+time.Millisecond))
	}
	if !due.IsZero() {
		p.wake(max(due.Sub(epoch), w.now+time.Millisecond))
	}
}

func (p *process) step(facts []ha.Fact) {
	w := p.h.w
	now := w.time()
	for _, f := range facts {
		p.core.Step(now, f)
		if c, ok := f.(ha.PathsChanged); ok {
			p.count(c.Changes)
		}
	}
	if p.shadow == nil {
		return
	}
	other := slices.Clone(facts)
	for i := range other {
		if c, ok := other[i].(ha.PathsChanged); ok {
			c.Changes = slices.Clone(c.Changes)
			for j := range c.Changes {
				k := j + p.h.luck.below(len(c.Changes)-j)
				c.Changes[j], c.Changes[k] = c.Changes[k], c.Changes[j]
			}
			other[i] = c
		}
	}
	for i := range other { // of probe results about one thing the order counts
		j := i + p.h.luck.below(len(other)-i)
		if _, ok := other[i].(ha.ProbeObserved); ok {
			continue
		}
		if _, ok := other[j].(ha.ProbeObserved); !ok {
			other[i], other[j] = other[j], other[i]
		}
	}
	for _, f := range other {
		p.shadow.Step(now, f)
	}
}

// count keeps what the core has been told of paths.
func (p *process) count(changes []bgp.PathChange) {
	for i := range changes {
		at := p.h.w.index[changes[i].Path.Prefix]
		from := p.heard[changes[i].Path.Neighbor]
		if from == nil {
			from = make([]bool, len(p.known))
			p.heard[changes[i].Path.Neighbor] = from
		}
		switch has := !changes[i].Withdrawn; {
		case has && !from[at]:
			p.known[at]++
		case !has && from[at]:
			p.known[at]--
		}
		from[at] = !changes[i].Withdrawn
	}
}

// decide asks for the plan and hands it to the edges.
func (p *process) decide() {
	w := p.h.w
	plan := p.core.Plan(w.time())
	p.newsAt, p.last = 0, w.now
	w.planned++
	if p.shadow != nil {
		w.check.sameDecision(p, plan, p.shadow.Plan(w.time()))
	}
	for _, t := range p.core.Transitions() {
		if l := p.linkNamed(t.Site); l != nil && !t.BFD {
			l.verdict = t.To
			if t.From == string(ha.Suppressed) {
				l.freed = w.now
			}
			w.check.moved(l, t)
		}
	}
	if plan == p.plan {
		return
	}
	old := p.plan
	p.plan = plan
	w.plans++
	w.note(tracePlan, uint64(p.h.id), plan.Gen, uint64(len(plan.Announcements)), uint64(len(plan.FIB.Routes)), uint64(len(plan.Withheld)))
	w.check.planned(p, old, plan)
	if old == nil || !slices.Equal(old.Probes, plan.Probes) {
		p.beats = make(map[string]time.Duration, len(plan.Probes))
		for i := range plan.Probes {
			p.beats[plan.Probes[i].ID] = plan.Probes[i].Interval
		}
	}
	for _, e := range p.edges {
		e.offer(plan)
	}
}

// linkNamed is the link to a site by its name, nil: none.
func (p *process) linkNamed(site string) *link {
	i, ok := slices.BinarySearchFunc(p.h.links, site, func(l *link, name string) int {
		if l.site.name < name {
			return -1
		}
		return int(b2u(l.site.name > name))
	})
	if !ok {
		return nil
	}
	return p.h.links[i]
}

// beats reports whether something of ours is sent to the site all the time.
func (h *host) beats(l *link) bool {
	if h.proc == nil {
		return false
	}
	switch l.site.kind {
	case kindBeat, kindRoam:
		d := h.proc.beats[l.probeID]
		return d > 0 && d <= beatEvery
	}
	return true
}

// poll reads the WireGuard interface.
func (p *process) poll() {
	h := p.h
	if h.proc != p {
		return
	}
	h.w.after(h.w.s.Poll, p.poll)
	if h.w.now < h.unreadable {
		h.put(ha.DeviceObserved{State: wg.DeviceState{Name: "wg0"}, Err: "busy"})
		return
	}
	if h.kernel.index == 0 {
		h.put(ha.DeviceObserved{State: wg.DeviceState{Name: "wg0"}, Err: "no such device", Gone: true})
		return
	}
	st := wg.DeviceState{Name: "wg0", Up: true, At: h.w.time(), Peers: make([]wg.PeerState, 0, len(h.links))}
	for _, l := range h.links {
		if l.present {
			st.Peers = append(st.Peers, l.state())
		}
	}
	h.put(ha.DeviceObserved{State: st})
}

// tick lets probes go out and their answers come in, and the loop turn once a
// second.
func (p *process) tick() {
	h, w := p.h, p.h.w
	if h.proc != p {
		return
	}
	w.after(time.Second, p.tick)
	for _, l := range h.beating {
		if every := p.beats[l.probeID]; every != l.every { // the engine begins anew
			l.every, l.probeAt = every, w.now+l.luck.between(0, time.Second)
		}
		if w.now < l.probeAt {
			continue
		}
		if l.site.kind == kindProbe {
			l.probeAt = w.now + probeEvery
			r := wg.ProbeResult{ID: l.probeID, At: w.time(), OK: l.works, RTT: 20 * time.Millisecond}
			if !l.works {
				r.RTT, r.Reason = 0, "timeout"
			}
			h.put(ha.ProbeObserved{ProbeResult: r})
			continue
		}
		if l.every == 0 {
			continue
		}
		l.probeAt = w.now + l.every
		h.put(ha.ProbeObserved{ProbeResult: wg.ProbeResult{ID: l.probeID, At: w.time(), OK: h.kernel.index != 0}})
		if l.every > beatEvery && !l.session && l.in && l.out && l.present && !l.parked {
			l.expect(l.luck.between(0, time.Second), l.shake)
		}
	}
	p.wake(w.now + time.Millisecond)
}
