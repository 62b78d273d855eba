package fib

import (
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// need marks the sets, contents and exits that the wanted routes use, and
// those of strays that stay for now.
func (f *FIB) need() {
	t := f.t
	for i := range t.sets {
		t.sets[i].used = false
	}
	for i := range t.contents {
		t.contents[i].needed = false
	}
	for i := range t.exits {
		t.exits[i].needed = false
	}
	for i := range t.groups {
		t.groups[i].held = false
	}
	for i := range f.cells {
		if s := f.cells[i].set; s >= 0 {
			t.sets[s].used = true
		}
	}
	for i := range t.sets {
		if s := &t.sets[i]; s.used && s.content >= 0 {
			t.contents[s.content].needed = true
		}
	}
	for i := range f.strays {
		if s := &f.strays[i]; s.obj >= 0 && !s.gone && !f.removable(s) {
			t.groups[s.obj].held = true
		}
	}
	for i := range t.groups {
		if g := &t.groups[i]; (g.pinned || g.held) && g.content >= 0 {
			t.contents[g.content].needed = true
		}
	}
	for i := range t.contents {
		if c := &t.contents[i]; c.needed {
			for _, p := range c.parts {
				t.exits[p.exit].needed = true
			}
			for _, p := range c.backup {
				t.exits[p.exit].needed = true
			}
		}
	}
}

// removable says whether a stray may be deleted: strangers from an earlier
// process only when the wanted set is complete.
func (f *FIB) removable(s *stray) bool { return s.known || s.double || f.complete }

// work is what decide found.
type work struct {
	reforms   []int32 // groups that stay what they are and do not hold what they should
	newGroups []int32
	rewrites  []job // routes to point elsewhere, before groups change
	morphs    []job // idx: group, arg: content
	adds      []job
	removes   []int32 // cells installed although nothing usable is wanted
}

type job struct{ idx, arg int32 }

// decide finds the difference between the mirror and the wants. Routes that
// all leave one group for the same next hops are moved by changing the group,
// unless the group is of another kind than those we make now: the kernel does not
// change that, so its routes move to a new group.
func (f *FIB) decide() *work {
	t, w := f.t, &work{}
	kept := make([]bool, len(t.groups))
	for i := range t.groups {
		kept[i] = t.groups[i].pinned || t.groups[i].held
	}
	moves := map[job]int{} // from group to content: how many routes
	var last job
	run := 0
	for i := range f.cells {
		c := &f.cells[i]
		ct := int32(-1)
		if c.set >= 0 {
			ct = t.sets[c.set].content
		}
		switch {
		case c.set >= 0 && ct < 0:
			if c.obj != objAbsent {
				w.removes = append(w.removes, int32(i))
			}
		case c.obj == objAbsent:
			if f.blocked(i) < 0 || f.want[i].Takeover {
				w.adds = append(w.adds, job{int32(i), ct})
			}
		case c.set == setBlackhole:
			if c.obj != objBlackhole || c.stale {
				w.rewrites = append(w.rewrites, job{int32(i), ct})
			}
		case c.obj >= 0 && t.groups[c.obj].content == ct && t.current(c.obj) && !c.stale:
			kept[c.obj] = true
		default:
			w.rewrites = append(w.rewrites, job{int32(i), ct})
			if c.obj >= 0 && t.current(c.obj) && !c.stale {
				if k := (job{c.obj, ct}); k != last {
					if run > 0 {
						moves[last] += run
					}
					last, run = k, 0
				}
				run++
			}
		}
	}
	if run > 0 {
		moves[last] += run
	}
	for i := range kept {
		if g := &t.groups[i]; kept[i] && g.live && g.content >= 0 && !t.agrees(int32(i)) {
			w.reforms = append(w.reforms, int32(i))
		}
	}
	holder := f.holders(kept, moves, w)
	f.target(w, holder)
	return w
}

// holders decides which groups change their content, and returns for each
// content the group that holds it and will go on doing so.
func (f *FIB) holders(kept []bool, moves map[job]int, w *work) []int32 {
	t := f.t
	best := make([]int32, len(t.groups)) // content each group changes to
	votes := make([]int, len(t.groups))
	for i := range best {
		best[i] = -1
	}
	for k, n := range moves { // ties by the lower content, so map order does not matter
		if g := k.idx; !kept[g] && (n > votes[g] || n == votes[g] && k.arg < best[g]) {
			best[g], votes[g] = k.arg, n
		}
	}
	holder := make([]int32, len(t.contents))
	for i := range holder {
		holder[i] = -1
	}
	for g := range t.groups {
		if c := t.groups[g].content; t.groups[g].live && t.current(int32(g)) && best[g] < 0 && c >= 0 && holder[c] < 0 {
			holder[c] = int32(g)
		}
	}
	for g := range best {
		if best[g] < 0 {
			continue
		}
		if votes[g] == 1 && holder[best[g]] >= 0 {
			best[g] = -1 // one route: as cheap to point it at the group that exists
			continue
		}
		w.morphs = append(w.morphs, job{int32(g), best[g]})
	}
	if len(w.morphs) > 0 {
		w.rewrites = slices.DeleteFunc(w.rewrites, func(j job) bool {
			c := &f.cells[j.idx]
			return c.obj >= 0 && !c.stale && best[c.obj] == j.arg && best[c.obj] >= 0
		})
	}
	return holder
}

// target turns contents into groups, making those that are missing. Routes
// that are only added may use a group that is about to change, since they are
// written after it; routes that move away first may not.
func (f *FIB) target(w *work, holder []int32) {
	pick := func(jobs []job) {
		for i := range jobs {
			ct := jobs[i].arg
			if ct < 0 {
				jobs[i].arg = objBlackhole
				continue
			}
			if holder[ct] < 0 {
				holder[ct] = f.t.newGroup(ct)
				w.newGroups = append(w.newGroups, holder[ct])
			}
			jobs[i].arg = holder[ct]
		}
	}
	pick(w.rewrites)
	for _, m := range w.morphs {
		if holder[m.arg] < 0 {
			holder[m.arg] = m.idx
		}
	}
	pick(w.adds)
}

// blocked returns the index in foreignOwn of a route of somebody else that
// occupies the very place of wanted route i, or -1.
func (f *FIB) blocked(i int) int {
	if len(f.foreignOwn) == 0 {
		return -1
	}
	r := &f.want[i]
	k, ok := slices.BinarySearchFunc(f.foreignOwn, r, func(k kroute, r *bgp.Route) int {
		return -compareKey(r, k.prefix, k.metric)
	})
	if !ok {
		return -1
	}
	return k
}
