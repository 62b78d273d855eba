package ha

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// Many sites that fail at the same time are more likely one failure of this host
// than many of theirs (design section 5). Then the underlay is looked at: does it
// have a default route, and do the anchors answer, which are reached without any
// tunnel. If it is dead this host steps down as a whole, before the slower ones
// among its checks have noticed too, and says so to whoever asks for its health.
// If it lives, the sites are believed.

// Guard says when.
type Guard struct {
	Share    int // percent of the sites that stood; 0: never
	MinSites int // so many must have failed at least
	Within   time.Duration
	Anchors  []wg.Probe // by ID
	Needed   int        // so many of them must answer
}

// guardMemory is how long after many sites have failed a dead underlay still
// explains it: the anchors are asked more rarely than BFD asks.
const guardMemory = 10 * time.Second

// anchorRise is how many answers in a row an anchor must give before a host that
// stepped down believes in it again.
const anchorRise = 3

// UnderlayObserved says whether the routing of tunnel packets has a default route.
type UnderlayObserved struct{ Default4, Default6 bool }

func (UnderlayObserved) fact() {}

// guard is what the core remembers of it.
type guard struct {
	falls   []time.Time // of sites that stood, in order, no older than Within
	mass    time.Time   // when so many failed together last
	share   string      // how many that were
	anchors map[string]*anchor
	seen    UnderlayObserved
	had     UnderlayObserved // a default route was there at some time
	since   time.Time        // stepped down since; zero: not
	why     string
}

type anchor struct {
	at   time.Time
	ok   bool
	owes int // answers in a row before a host that stepped down believes in it
}

func (g *guard) reconfigure(cfg *Guard) {
	old := g.anchors
	g.anchors = map[string]*anchor{}
	for i := range cfg.Anchors {
		id := cfg.Anchors[i].ID
		if g.anchors[id] = old[id]; g.anchors[id] == nil {
			g.anchors[id] = &anchor{}
		}
	}
}

// fell notes that a site that was announceable is not any more, for a reason that
// was measured.
func (c *Core) fell(now time.Time, s *siteState, was Judgement) {
	p := s.cfg.IdlePolicy
	if c.cfg.Guard.Share == 0 || !was.announceable(p) || s.judged.announceable(p) || s.disabled || severity(s.judged.Reason) == 0 {
		return
	}
	g := &c.host
	g.falls = append(g.falls, now)
	g.falls = slices.DeleteFunc(g.falls, func(t time.Time) bool { return now.Sub(t) > c.cfg.Guard.Within })
	n := len(g.falls)
	if n < c.cfg.Guard.MinSites {
		return
	}
	stood := n
	for _, s := range c.sites {
		if !s.disabled && s.judged.announceable(s.cfg.IdlePolicy) {
			stood++
		}
	}
	if n*100 >= c.cfg.Guard.Share*stood {
		g.mass, g.share = now, fmt.Sprintf("%d of %d sites failed within %s", n, stood, c.cfg.Guard.Within)
		c.watch(now)
	}
}

// stepAnchor takes an answer of an anchor, or that there was none.
func (c *Core) stepAnchor(now time.Time, r wg.ProbeResult) {
	a := c.host.anchors[r.ID]
	if a == nil {
		return
	}
	a.at, a.ok = now, r.OK
	if a.owes = max(a.owes-1, 0); !r.OK {
		a.owes = anchorRise
	}
	c.watch(now)
}

func (c *Core) stepUnderlay(now time.Time, f UnderlayObserved) {
	g := &c.host
	g.seen = f
	g.had.Default4, g.had.Default6 = g.had.Default4 || f.Default4, g.had.Default6 || f.Default6
	c.watch(now)
}

// watch steps down or up again.
func (c *Core) watch(now time.Time) {
	g := &c.host
	dead := c.underlayDead(g.since.IsZero())
	switch {
	case g.since.IsZero() && dead != "" && !g.mass.IsZero() && now.Sub(g.mass) <= guardMemory:
		g.since, g.why = now, g.share+", and "+dead
	case !g.since.IsZero() && (dead == "" || c.cfg.Guard.Share == 0):
		g.since, g.why, g.mass = time.Time{}, "", time.Time{}
		g.falls = nil
	default:
		return
	}
	c.epoch++
	c.dirty, c.urgent = true, true
	move := Transition{Underlay: true, From: string(Down), To: string(Up)}
	if !g.since.IsZero() {
		move.From, move.To, move.Reason, move.Detail = move.To, move.From, string(ReasonUnderlay), g.why
	}
	c.moves = append(c.moves, move)
}

// underlayDead says what speaks against the underlay, nothing: it lives. One
// answer is enough to believe in an anchor as long as nothing is the matter, and
// one that is missing is enough to doubt it once many sites have failed.
func (c *Core) underlayDead(standing bool) string {
	g, cfg := &c.host, &c.cfg.Guard
	var gone []string
	if g.had.Default4 && !g.seen.Default4 {
		gone = append(gone, "IPv4")
	}
	if g.had.Default6 && !g.seen.Default6 {
		gone = append(gone, "IPv6")
	}
	if len(gone) > 0 && !(g.had.Default4 && g.seen.Default4) && !(g.had.Default6 && g.seen.Default6) {
		return "the default route is gone (" + strings.Join(gone, ", ") + ")"
	}
	answer, silent := 0, []string(nil)
	for i := range cfg.Anchors {
		a := g.anchors[cfg.Anchors[i].ID]
		switch {
		case a.at.IsZero(): // not asked yet
			answer++
		case a.ok && (standing || a.owes == 0):
			answer++
		default:
			silent = append(silent, cfg.Anchors[i].Target.String())
		}
	}
	if len(silent) > 0 && answer < cfg.Needed {
		return fmt.Sprintf("%d of %d anchors answer, not %s", answer, len(cfg.Anchors), strings.Join(silent, ", "))
	}
	return ""
}

// silenced says why nothing at all is announced; ReasonNone: it may be.
func (c *Core) silenced() (Reason, string) {
	switch {
	case c.drain >= DrainWithdraw:
		return ReasonDraining, ""
	case !c.host.since.IsZero():
		return ReasonUnderlay, c.host.why
	}
	return ReasonNone, ""
}

// UnderlayView is what is known of the underlay, for operators.
type UnderlayView struct {
	Since   time.Time // this host stepped down then; zero: it did not
	Why     string
	Anchors []AnchorView
}

// AnchorView is the last answer of an anchor.
type AnchorView struct {
	Target netip.Addr
	Asked  bool
	OK     bool
}

// Underlay says so.
func (c *Core) Underlay() UnderlayView {
	v := UnderlayView{Since: c.host.since, Why: c.host.why}
	for i := range c.cfg.Guard.Anchors {
		a := c.host.anchors[c.cfg.Guard.Anchors[i].ID]
		v.Anchors = append(v.Anchors, AnchorView{c.cfg.Guard.Anchors[i].Target, !a.at.IsZero(), a.ok})
	}
	return v
}
