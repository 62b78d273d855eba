package ha

import (
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// claims says who carries each watched prefix: this host, another one of its
// fleet, or nobody. Of several that do, the stronger rank has it, as at a Transit
// Gateway, and between equals the lower router ID: every host comes to the same
// answer.
func (w *walker) claims(last []tgwconnect.Claim) []tgwconnect.Claim {
	out := make([]tgwconnect.Claim, 0, len(w.c.cfg.Watched))
	for _, p := range w.c.cfg.Watched {
		c := tgwconnect.Claim{Prefix: p}
		if e := w.c.rib.byPrefix[p]; e != nil {
			c.Hold, c.Rival = w.carrier(e)
		}
		out = append(out, c)
	}
	if slices.Equal(last, out) {
		return last
	}
	return out
}

func (w *walker) carrier(e *entry) (hold tgwconnect.Hold, rival bool) {
	other, theirs := w.c.holder(e)
	if other != nil && other.far > 0 { // it can not be the target of an entry of this region
		other = nil
	}
	switch {
	case e.carried == "" && other == nil:
		return tgwconnect.HeldByNobody, false
	case e.carried == "":
		return tgwconnect.HeldElsewhere, false
	case other == nil && w.goesFirst(e): // the one that goes last carries it
		return tgwconnect.HeldElsewhere, false
	case other == nil: // also when this host leaves: what it carries still arrives
		return tgwconnect.HeldHere, false
	case w.c.drain != DrainNone || !w.c.host.since.IsZero():
		return tgwconnect.HeldElsewhere, false
	}
	mine := w.c.cfg.rankAttrs(other.cfg.Group, e.carried).MED
	if mine < theirs || mine == theirs && w.c.cfg.Gateway.RouterID.Less(other.seen.RouterID) {
		return tgwconnect.HeldHere, true
	}
	return tgwconnect.HeldElsewhere, false
}

// goesFirst reports whether this host leaves before another one that does too and
// is still heard: it has withdrawn already, or of two that announce at rank drain
// it has the higher router ID.
func (w *walker) goesFirst(e *entry) bool {
	if w.c.drain != DrainPrefer && w.c.drain != DrainWithdraw {
		return false
	}
	for i := range e.paths {
		l := &e.paths[i]
		n := l.from
		if n.cfg.Kind != bgp.KindFleet || !n.died.IsZero() || n.far > 0 || l.Attrs == nil || !l.Attrs.HasMED || l.Attrs.MED != w.c.cfg.rankAttrs(n.cfg.Group, RankDrain).MED {
			continue
		}
		if w.c.drain == DrainWithdraw || n.seen.RouterID.Less(w.c.cfg.Gateway.RouterID) {
			return true
		}
	}
	return false
}
