package speaker

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// Apply makes the neighbors and announcements the wanted ones. Both are the
// whole set, neighbors sorted by Name and announcements by bgp.ComparePrefix,
// each without duplicates; they must not be changed afterwards. Only the
// difference to the last call is carried out, an equal set costs no call into
// the engine, and what failed is tried again by the next Apply. A failure of
// one item does not stop the others.
//
// The order is withdraw, remove neighbors, policies, announce, re-judge moved
// neighbors, add neighbors: nobody can be told a half of the first set.
func (s *Speaker) Apply(_ context.Context, gen uint64, neighbors []bgp.Neighbor, ann []bgp.Announcement) bgp.AnnounceApplied {
	s.op.Lock()
	defer s.op.Unlock()
	out := bgp.AnnounceApplied{Gen: gen}
	if !s.started || s.stopped {
		out.NeighborErrors = map[string]string{}
		for i := range neighbors {
			out.NeighborErrors[neighbors[i].Name] = "speaker is not running"
		}
		return out
	}
	diff := bgp.DiffNeighbors(s.wanted, neighbors)
	sameAnn := sameSlice(s.asked, ann)
	s.mu.Lock()
	visited := s.visited
	s.mu.Unlock()
	if len(diff) == 0 && len(s.retry) == 0 && sameAnn && !visited {
		return out
	}
	failed, errs := map[netip.Prefix]string{}, map[string]string{}

	valid := s.valid(ann, failed)
	s.mu.Lock()
	s.mostTold = max(s.mostTold, len(valid))
	s.mu.Unlock()
	set, gone := bgp.DiffAnnouncements(s.have, valid)
	s.withdraw(gone, failed)

	var todo []bgp.NeighborDiff
	if len(diff) > 0 || len(s.retry) > 0 {
		use := s.usable(neighbors, errs)
		todo = bgp.DiffNeighbors(s.present(), use)
		s.dropNeighbors(todo, errs)
		s.nameAudiences(use)
	} else if visited {
		s.nameAudiences(s.use)
	}
	set = s.markAnew(valid, set)
	old := map[netip.Prefix]*bgp.Announcement{}
	s.prepare(valid, set, old)
	if s.model.changed {
		if err := s.setPolicies(); err != nil {
			for _, k := range set {
				failed[valid[k].Prefix] = "install export policy: " + err.Error()
				s.model.release(valid[k].To)
			}
			set = nil
			for _, d := range todo { // told nothing, or by the old policy, until it works
				if d.Want != nil {
					errs[d.Want.Name] = "install export policy: " + err.Error()
					s.moved[d.Want.Name] = struct{}{}
				}
			}
		}
	}
	s.announce(valid, set, old, failed)
	s.settle(valid, set, gone, old, failed)
	s.changeNeighbors(todo, errs)
	if len(set)+len(gone) > 0 {
		s.tellSilent(errs)
	}
	s.forget()

	s.wanted, s.asked = neighbors, ann
	if len(failed) > 0 {
		out.Failed, s.asked = failed, nil
	}
	s.retry = errs
	if len(errs) > 0 {
		out.NeighborErrors = errs
	}
	return out
}

// sameSlice reports that two sets are the same memory, which plans are when
// nothing changed. Other equal sets are found by the merge.
func sameSlice(a, b []bgp.Announcement) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// valid leaves out what can not be announced. It returns ann itself when all is
// well.
func (s *Speaker) valid(ann []bgp.Announcement, failed map[netip.Prefix]string) []bgp.Announcement {
	why := func(i int) string {
		a := &ann[i]
		switch {
		case !a.Prefix.IsValid() || a.Prefix != a.Prefix.Masked() || a.Prefix.Addr().Is4In6():
			return "not a masked prefix"
		case a.Attrs == nil:
			return "no attributes"
		case i > 0 && bgp.ComparePrefix(ann[i-1].Prefix, a.Prefix) >= 0:
			return "out of order or twice in the set"
		}
		return ""
	}
	for i := range ann {
		if why(i) == "" {
			continue
		}
		out := slices.Clone(ann[:i])
		for k := i; k < len(ann); k++ {
			if w := why(k); w != "" {
				failed[ann[k].Prefix] = w
			} else {
				out = append(out, ann[k])
			}
		}
		return out
	}
	return ann
}

// markAnew adds to set the announcements whose marks depend on twins that came or
// went; set stays sorted.
func (s *Speaker) markAnew(want []bgp.Announcement, set []int) []int {
	names := s.model.retwined
	if s.model.retwined = nil; len(names) == 0 {
		return set
	}
	for i := range want {
		if slices.ContainsFunc(want[i].Except, func(n string) bool { return slices.Contains(names, n) }) {
			set = append(set, i)
		}
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// prepare holds the profiles of what is to be announced and finds what each
// replaces.
func (s *Speaker) prepare(want []bgp.Announcement, set []int, old map[netip.Prefix]*bgp.Announcement) {
	for _, k := range set {
		a := &want[k]
		s.model.hold(a.To)
		for _, name := range a.Except {
			s.model.mark(name)
		}
		if i, ok := slices.BinarySearchFunc(s.have, a.Prefix, func(h bgp.Announcement, p netip.Prefix) int {
			return bgp.ComparePrefix(h.Prefix, p)
		}); ok {
			old[a.Prefix] = &s.have[i]
		}
	}
}

// settle records what GoBGP holds now: the wanted set, except that failed items
// are as they were.
func (s *Speaker) settle(want []bgp.Announcement, set, gone []int, old map[netip.Prefix]*bgp.Announcement, failed map[netip.Prefix]string) {
	if len(failed) == 0 {
		s.have = want
		return
	}
	next := make([]bgp.Announcement, 0, len(want))
	for i := range want {
		p := want[i].Prefix
		if _, bad := failed[p]; !bad {
			next = append(next, want[i])
		} else if o := old[p]; o != nil {
			next = append(next, *o)
		}
	}
	for _, k := range gone {
		if _, bad := failed[s.have[k].Prefix]; bad {
			next = append(next, s.have[k])
		}
	}
	slices.SortFunc(next, func(a, b bgp.Announcement) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
	s.have = next
}

// present lists the configured neighbors that have a record, sorted by name.
func (s *Speaker) present() []bgp.Neighbor {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]bgp.Neighbor, 0, len(s.byName))
	for _, n := range s.byName {
		if n.spec.Dynamic == "" {
			out = append(out, n.spec)
		}
	}
	slices.SortFunc(out, func(a, b bgp.Neighbor) int { return compareNames(a.Name, b.Name) })
	return out
}

func (s *Speaker) session(name string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byName[name]
}

// dropNeighbors ends what is gone and what must be another session, so that
// addresses are free for whoever gets them next.
func (s *Speaker) dropNeighbors(todo []bgp.NeighborDiff, errs map[string]string) {
	for _, d := range todo {
		if d.Want == nil || d.Have != nil && d.Change&bgp.ChangeReset != 0 {
			if ses := s.session(d.Have.Name); ses != nil {
				if err := s.removeNeighbor(ses); err != nil {
					errs[d.Have.Name] = err.Error()
				}
			}
		}
	}
}

// changeNeighbors adds new sessions and carries the lesser changes out.
func (s *Speaker) changeNeighbors(todo []bgp.NeighborDiff, errs map[string]string) {
	note := func(name string, err error) {
		if err != nil && errs[name] == "" {
			errs[name] = err.Error()
		}
	}
	for _, d := range todo {
		if d.Have == nil || d.Want == nil || d.Change&bgp.ChangeReset != 0 {
			continue
		}
		ses := s.session(d.Want.Name)
		s.mu.Lock()
		ses.spec = *d.Want
		ses.frame = s.frame(ses)
		s.checkLimit(ses)
		s.mu.Unlock()
		if ses.spec.Range.IsValid() {
			note(d.Want.Name, s.changeVisitors(d.Want, d.Change&(bgp.ChangeImport|bgp.ChangeExport) != 0))
			if d.Change&(bgp.ChangeNextSession|bgp.ChangeMaxPrefixes) != 0 && ses.inEngine {
				note(d.Want.Name, s.updateRange(ses))
			}
			continue
		}
		if d.Change&(bgp.ChangeNextSession|bgp.ChangeMaxPrefixes) != 0 && ses.inEngine {
			note(d.Want.Name, s.updateNeighbor(ses))
		}
		if d.Change&bgp.ChangeFlush != 0 && d.Want.Flush > d.Have.Flush && ses.inEngine {
			note(d.Want.Name, s.bury(ses))
		}
		if d.Change&bgp.ChangeRelease != 0 && !d.Want.Restarting && ses.inEngine {
			note(d.Want.Name, s.release(ses))
		}
		if d.Change&(bgp.ChangeImport|bgp.ChangeExport) != 0 && ses.inEngine { // next hops are own addresses
			note(d.Want.Name, s.rejudge(ses))
		}
	}
	s.tellMoved(note)
	if err := s.deferring(todo); err != nil {
		s.log.Error("can not hold back the End-of-RIB", "err", err)
	}
	for _, d := range todo {
		if d.Want == nil {
			continue
		}
		if ses := s.session(d.Want.Name); ses == nil {
			note(d.Want.Name, s.addNeighbor(*d.Want))
		}
	}
	// Those GoBGP would not take the last time.
	s.mu.Lock()
	var again []*session
	for _, ses := range s.byName {
		if !ses.inEngine && errs[ses.spec.Name] == "" {
			again = append(again, ses)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(again, func(a, b *session) int { return compareNames(a.spec.Name, b.spec.Name) })
	for _, ses := range again {
		note(ses.spec.Name, s.pushNeighbor(ses))
	}
}

// tellMoved judges anew what those are told whose audience is another one, if the
// policies know it; op held.
func (s *Speaker) tellMoved(failed func(name string, err error)) {
	if s.model.changed {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(s.moved)) {
		if ses := s.session(name); ses != nil && ses.inEngine && !ses.spec.Range.IsValid() {
			if err := s.softOut(ses); err != nil {
				failed(name, err)
				continue
			}
		}
		delete(s.moved, name)
	}
}
