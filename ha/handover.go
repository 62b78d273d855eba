package ha

import (
	"slices"
	"time"
)

// A prefix that moves from one peer of an interface to another is with one of them
// at every instant: the kernel moves an allowed IP in one step. So if both can carry
// it nothing is lost, and nobody is told anything: to withdraw it for the moment
// until the interface is as wanted would cost the neighbors' packets for it.

// handOverWait is for how long that counts; if the interface is not as wanted by then,
// something is the matter with it. A site that has just withdrawn the prefix is
// trusted for so long too.
const handOverWait = time.Second

// givers are those who may have the prefix of that placing, until when it counts.
func (w *walker) givers(b *placing) ([]*siteState, time.Time) {
	switch d := b.site.dev; {
	case !b.site.synced() || d.plan == nil:
		return nil, time.Time{}
	case b.since <= d.plan.Gen:
		return []*siteState{b.site}, w.now.Add(handOverWait)
	case len(b.from) == 0:
		return nil, time.Time{} // it may be with anybody
	}
	return append(slices.Clone(b.from), b.site), b.until
}

// handOver forgets givers once the interface is as wanted, the time is over, or one of
// them can not carry the prefix.
func (w *walker) handOver(e *entry) {
	for i := range e.placed {
		p := &e.placed[i]
		if len(p.from) == 0 {
			continue
		}
		if p.since <= p.site.dev.plan.Gen || !w.now.Before(p.until) || slices.ContainsFunc(p.from, func(s *siteState) bool { return !w.carries(e, s) }) {
			p.from = nil
			continue
		}
		w.c.wake(p.until)
	}
}

// carries reports whether the site could carry the prefix if it had it.
func (w *walker) carries(e *entry, s *siteState) bool {
	reason, _ := s.usable(w.now, e.prefix)
	return reason == ReasonNone && s.applied != nil && !slices.ContainsFunc(w.cands, func(k candidate) bool { return k.site == s && k.blocked })
}
