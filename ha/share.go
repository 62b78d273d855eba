package ha

import (
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// What could be announced is shared out when all of it is known: aggregates come
// in, what a condition holds back goes out, and so do the contributors that an
// aggregate stands for, and a group with a limit gets no more than that. Without
// aggregates and conditions and below the limits, which is most of the time, the
// walk's own lists are the plan's.

// offer is one prefix on its way to being announced.
type offer struct {
	e   *entry
	ann *bgp.Announcement // nil: an aggregate
	to  []bgp.Export      // who is still to be told
}

// sharing is the scratch of one pass.
type sharing struct {
	w      *walker
	offers []offer
	held   []Withheld // beside those of the walk
	keys   []uint64   // see limit
	cands  []candidate
}

// offered is what the walk of the last plan found, before it was shared out.
type offered struct {
	ann      []bgp.Announcement
	withheld []Withheld
}

func (c *Core) shareOut(w *walker, from offered, last *Plan) (ann []bgp.Announcement, held []Withheld, quotas []Quota) {
	if len(c.aggregates)+len(c.cfg.Conditions) == 0 {
		if quotas, over := c.count(from.ann, last.Quotas); !over {
			return from.ann, from.withheld, quotas
		}
	}
	s := &c.sharing
	s.begin(w, from.ann)
	s.conditions(false)
	s.aggregates()
	s.conditions(true)
	quotas = s.limit(last.Quotas)
	return s.announcements(last.Announcements), s.withheld(from.withheld, last.Withheld), quotas
}

// begin joins announcements and aggregates with their entries; both are in the
// order of the RIB.
func (s *sharing) begin(w *walker, ann []bgp.Announcement) {
	s.w, s.offers, s.held = w, s.offers[:0], s.held[:0]
	for _, e := range w.c.rib.sorted() {
		switch {
		case e.agg != nil:
			s.offers = append(s.offers, offer{e: e})
		case len(ann) > 0 && ann[0].Prefix == e.prefix:
			s.offers = append(s.offers, offer{e: e, ann: &ann[0], to: ann[0].To})
			ann = ann[1:]
		}
	}
}

func (s *sharing) aggregates() {
	for i := range s.offers {
		e := s.offers[i].e
		if e.agg == nil {
			continue
		}
		j := i + 1
		for j < len(s.offers) && e.prefix.Contains(s.offers[j].e.prefix.Addr()) {
			j++
		}
		s.offers[i].to = s.gather(e.agg, s.offers[i+1:j])
	}
}

// cut takes a group from those who are told and notes why.
func (s *sharing) cut(o *offer, group string, why Reason, detail string) {
	if !told(o.to, group) {
		return
	}
	o.to = s.w.c.exports.without(o.to, group)
	h := Withheld{Prefix: o.e.prefix, Group: group, Reason: why, Detail: detail}
	if o.ann != nil {
		k := s.w.c.claim(&s.cands, o.e)
		h.From = k.from()
		if k.site != nil {
			h.Site = k.site.cfg.Name
		}
	}
	s.held = append(s.held, h)
}

func (s *sharing) announcements(last []bgp.Announcement) []bgp.Announcement {
	b := builder[bgp.Announcement]{old: last, equal: equalAnnouncement, order: orderAnnouncement}
	for i := range s.offers {
		o := &s.offers[i]
		if o.ann == nil {
			o.e.out.set(len(o.to) > 0, s.w.gen)
		}
		switch {
		case len(o.to) == 0:
		case o.ann == nil:
			b.add(bgp.Announcement{Prefix: o.e.prefix, Attrs: noAttrs, To: o.to})
		default:
			a := *o.ann
			a.To = o.to
			b.add(a)
		}
	}
	return b.done()
}

func (s *sharing) withheld(walked, last []Withheld) []Withheld {
	if !slices.IsSortedFunc(s.held, compareWithheld) {
		slices.SortStableFunc(s.held, compareWithheld)
	}
	b := builder[Withheld]{old: last, equal: equalWithheld, order: orderWithheld}
	more := s.held
	for i := range walked {
		for len(more) > 0 && compareWithheld(more[0], walked[i]) < 0 {
			b.add(more[0])
			more = more[1:]
		}
		b.add(walked[i])
	}
	for i := range more {
		b.add(more[i])
	}
	return b.done()
}

// claim is the best claim on an entry that is announced. The ordinary case costs
// no sorting.
func (c *Core) claim(scratch *[]candidate, e *entry) *candidate {
	if len(e.sites) == 1 && len(e.paths) == 0 && e.host == nil {
		*scratch = append((*scratch)[:0], candidate{site: e.sites[0]})
	} else {
		*scratch = c.candidates(*scratch, e, c.covers(e.prefix))
	}
	return &(*scratch)[0]
}
