package ha

import (
	"cmp"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// Gateways of all regions speak iBGP with each other, over WireGuard links
// between the regions. It is a full mesh, without route reflection: what one of
// them tells is told to no other iBGP neighbor, so that a path crosses at most one
// link and can not go round. Each tells what it holds itself; for what it could hold and
// leaves to another one see standsBy. What it has from its
// own Transit Gateway it tells with a mark, so that sites of other regions reach
// it by the link while their Transit Gateways do not: between Transit Gateways
// there is peering, and a more specific prefix would draw its traffic here.

// distance is how far a neighbor's region is, by the order of preference; 0: it is
// in this one, or no host of the fleet.
func (g *Gateway) distance(n *bgp.Neighbor) int {
	if n.Kind != bgp.KindFleet || n.Region == "" || n.Region == g.Region {
		return 0
	}
	if i := slices.Index(g.Prefer, n.Region); i >= 0 {
		return 1 + i
	}
	return 1 + len(g.Prefer)
}

// second reports whether a host of the fleet says that one of another region
// carries it, and that it could itself: the last choice, or two hosts that wait for
// a third would take each other for the nearer way.
func (l *learned) second() bool {
	return l.from.cfg.Kind == bgp.KindFleet && l.Attrs != nil && l.Attrs.HasMED && l.Attrs.MED == l.from.remote
}

// standsBy is the site of this host that waits for the host of another region which
// carries the present entry, and could carry it as well; nil: none. Then the fleet,
// but for that host, is told with rank remote, and what comes from there goes on to
// that host. By the rule of iBGP alone it would be told nothing, because the best
// path here is one of the fleet, and who does not hear that host would have no way,
// though two of the fleet hold the site. This is the case of
// draft-ietf-idr-best-external.
func (w *walker) standsBy(e *entry) *siteState {
	if k := &w.cands[0]; k.site != nil || k.path.from.cfg.Kind != bgp.KindFleet || k.fromTGW() {
		return nil
	}
	for i := range w.cands {
		k := &w.cands[i]
		if k.site == nil || k.host || !k.waits || k.blocked || !k.usable() || !k.ready(e) {
			continue
		}
		if x := k.wish(); x != nil && (x.nobody != "" || x.drain || len(x.deny) > 0) {
			continue
		}
		return k.site
	}
	return nil
}

// markTGW tags, between hosts of a fleet, what a Transit Gateway told one of them
// (RFC 8092: the ASN is the namespace, 1 this meaning).
func (g *Gateway) markTGW() bgp.LargeCommunity {
	return bgp.LargeCommunity{Global: uint32(g.ASN), Data1: 1}
}

// Telling is a host of the fleet that speaks for a prefix too.
type Telling struct {
	Host, Region string
	Rank         Rank      // by the MED that it tells; empty: by none of ours
	Since        time.Time // without interruption
	Dead         bool      // believed dead
}

// toldBy lists the hosts of the fleet that tell the prefix, the nearest first.
func (c *Core) toldBy(e *entry) []Telling {
	type one struct {
		Telling
		far int
	}
	var all []one
	for i := range e.paths {
		l := &e.paths[i]
		if n := l.from; n.cfg.Kind == bgp.KindFleet && l.Attrs != nil {
			dead, _ := c.neighborDead(n)
			all = append(all, one{Telling{n.cfg.Name, n.cfg.Region, c.rankTold(l), l.Since, dead != ReasonNone || !n.died.IsZero()}, n.far})
		}
	}
	slices.SortStableFunc(all, func(a, b one) int { return cmp.Or(cmp.Compare(a.far, b.far), cmp.Compare(a.Host, b.Host)) })
	out := make([]Telling, len(all))
	for i := range all {
		out[i] = all[i].Telling
	}
	return out
}

// rankTold is the rank with which a host of the fleet tells the path. It is known
// by its MED: the local preference is each host's own.
func (c *Core) rankTold(l *learned) Rank {
	if !l.Attrs.HasMED {
		return ""
	}
	for _, r := range ranks {
		if c.cfg.rankAttrs(l.from.cfg.Group, r).MED == l.Attrs.MED {
			return r
		}
	}
	return ""
}

// Partner is a host of the fleet as this one sees it.
type Partner struct {
	Host, Region string
	Far          bool // in another region
	State        bgp.SessionState
	Since        time.Time // of State
	Died         time.Time // believed dead since; zero: it is not
	Reason       Reason    // why nothing is sent its way; none: it could be
	Detail       string
	Told         int // prefixes that it tells
	Carries      int // of these, the ones that this host sends its way
}

// Partners lists the fleet, this region first, then by the order of preference.
func (c *Core) Partners() []Partner {
	at := map[*neighborState]*Partner{}
	var order []*neighborState
	for _, n := range c.neighbors {
		if n.cfg.Kind != bgp.KindFleet {
			continue
		}
		p := &Partner{Host: n.cfg.Name, Region: n.cfg.Region, Far: n.far > 0, State: n.seen.State, Since: n.seen.Since, Died: n.died}
		if p.Region == "" {
			p.Region = c.cfg.Gateway.Region
		}
		p.Reason, p.Detail = c.neighborDead(n)
		at[n], order = p, append(order, n)
	}
	if len(order) == 0 {
		return nil
	}
	var cands []candidate
	for _, e := range c.rib.sorted() {
		for i := range e.paths {
			if p := at[e.paths[i].from]; p != nil {
				p.Told++
			}
		}
		if len(e.paths) == 0 {
			continue
		}
		cands = c.candidates(cands, e, c.covers(e.prefix))
		if k := &cands[0]; k.path != nil && !k.blocked && k.usable() {
			if p := at[k.path.from]; p != nil {
				p.Carries++
			}
		}
	}
	slices.SortFunc(order, func(a, b *neighborState) int {
		return cmp.Or(cmp.Compare(a.far, b.far), cmp.Compare(a.cfg.Region, b.cfg.Region), cmp.Compare(a.cfg.Name, b.cfg.Name))
	})
	out := make([]Partner, len(order))
	for i, n := range order {
		out[i] = *at[n]
	}
	return out
}
