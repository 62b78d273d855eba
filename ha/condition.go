package ha

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/wgbgp/wgbgp/bgp"
)

// Condition makes the announcement of prefixes depend on what else is there: the
// way of a backup that is told only while the primary is gone. It is a question of
// facts alone, never of what is announced, so that conditions can not depend on
// each other, and there is no timer: whatever changes the answer is an event.
type Condition struct {
	Name     string
	Prefixes []bgp.PrefixRule
	Unless   []Subject // held back while one of these is there
	OnlyIf   []Subject // held back while one of these is missing
	To       []string  // neighbor groups, sorted
}

// Subject is a prefix that this host can forward, or a BGP neighbor, by its own
// name, that of its range or that of its group, of which one session stands.
type Subject struct {
	Prefix   netip.Prefix // invalid: a neighbor
	Neighbor string
}

func (s Subject) String() string {
	if s.Prefix.IsValid() {
		return s.Prefix.String()
	}
	return "neighbor " + s.Neighbor
}

// conditions holds back what a condition says. Announcements are asked before
// aggregates are, so that what is held back contributes to none, and aggregates
// afterwards.
func (s *sharing) conditions(aggregates bool) {
	for i := range s.w.c.cfg.Conditions {
		x := &s.w.c.cfg.Conditions[i]
		detail := s.w.c.unmet(x)
		if detail == "" {
			continue
		}
		for j := range s.offers {
			o := &s.offers[j]
			if (o.ann == nil) != aggregates || len(o.to) == 0 || !slices.ContainsFunc(x.Prefixes, func(r bgp.PrefixRule) bool { return r.Matches(o.e.prefix) }) {
				continue
			}
			before := len(o.to)
			for _, g := range x.To {
				s.cut(o, g, ReasonCondition, detail)
			}
			if o.ann != nil && len(o.to) < before {
				ann := *o.ann
				ann.To = o.to
				o.ann = &ann
			}
		}
	}
}

// unmet says why the condition holds its prefixes back; empty: it does not. Before
// the neighbors' tables are complete nothing is known to be gone.
func (c *Core) unmet(x *Condition) string {
	for _, s := range x.Unless {
		if c.present(s) {
			return x.Name + ": " + s.String() + " is there"
		}
	}
	if len(x.Unless) > 0 && !c.complete {
		return x.Name + ": not all neighbors have sent their tables yet"
	}
	for _, s := range x.OnlyIf {
		if !c.present(s) {
			return x.Name + ": " + s.String() + " is not there"
		}
	}
	return ""
}

func (c *Core) present(s Subject) bool {
	if !s.Prefix.IsValid() {
		for _, n := range c.neighbors {
			names := [...]string{n.cfg.Name, n.cfg.Dynamic, n.cfg.Group, strings.TrimSuffix(n.cfg.Group, BackupGroup(""))}
			if slices.Contains(names[:], s.Neighbor) && n.seen.State == bgp.StateEstablished {
				if r, _ := c.neighborDead(n); r == ReasonNone {
					return true
				}
			}
		}
		return false
	}
	e := c.rib.byPrefix[s.Prefix]
	if e == nil || len(e.sites)+len(e.paths) == 0 {
		return false
	}
	k := &c.candidates(nil, e, c.covers(s.Prefix))[0]
	return !k.blocked && !k.host && k.usable()
}
