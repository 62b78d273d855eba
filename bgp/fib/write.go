package fib

import (
	"context"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
)

type opKind uint8

const (
	opSingle    opKind = iota // idx: single
	opGroup                   // idx: group, arg: content
	opRoute                   // idx: cell, arg: obj
	opDelRoute                // idx: cell
	opDelStray                // idx: stray
	opDelGroup                // idx: group
	opDelSingle               // idx: single
	opTakeOver                // idx: foreignOwn
)

// write makes the kernel agree with the mirror's wants. The order is: new
// things, then what is lost (a dead next hop leaves all groups at once), then
// moves, then new routes, then what is no longer wanted. A route never names
// an object that is not there, and no object goes while a wanted route names it.
func (f *FIB) write(ctx context.Context) error {
	b := &batch{c: f.conn, done: f.done}
	defer func() {
		f.count.Writes.Add(b.sent)
		f.count.Batches.Add(b.calls)
	}()
	clear(f.errs)
	if err := f.writeSingles(ctx, b); err != nil {
		return err
	}
	if err := f.dropLost(ctx, b); err != nil {
		return err
	}
	w := f.decide()
	if err := f.writeRoutes(ctx, b, w); err != nil {
		return err
	}
	f.strays = slices.DeleteFunc(f.strays, func(s stray) bool { return s.gone })
	f.foreignOwn = slices.DeleteFunc(f.foreignOwn, func(r kroute) bool { return r.taken })
	return f.sweepObjects(ctx, b)
}

// need marks the sets, contents and singles that the wanted routes use, and
// those of strays that stay for now.
func (f *FIB) need() {
	t := f.t
	for i := range t.sets {
		t.sets[i].used = false
	}
	for i := range t.contents {
		t.contents[i].needed = false
	}
	for i := range t.singles {
		t.singles[i].needed = false
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
				t.singles[p.single].needed = true
			}
		}
	}
}

// removable says whether a stray may be deleted: strangers from an earlier
// process only when the wanted set is complete.
func (f *FIB) removable(s *stray) bool { return s.known || s.double || f.complete }

// writeSingles creates missing next hops. One that the kernel refuses changes
// what its sets come down to, so the sets are worked out again.
func (f *FIB) writeSingles(ctx context.Context, b *batch) error {
	t := f.t
	for {
		f.need()
		for i := range t.singles {
			s := &t.singles[i]
			if s.needed {
				s.mine = true
			}
			if !s.needed || s.live || s.bad != nil {
				continue
			}
			m, seq := b.next(op{kind: opSingle, idx: int32(i)})
			m.newSingle(seq, s.id, f.frame.protocol, s.key.family, s.key.oif, s.key.gateway)
			if err := b.full(ctx); err != nil {
				return err
			}
		}
		f.refused = false
		if err := b.flush(ctx); err != nil {
			return err
		}
		if !f.refused {
			return nil
		}
		for i := range t.sets {
			t.reduce(&t.sets[i])
		}
	}
}

// dropLost deletes next hops that no wanted route uses any more, where every
// group that holds one keeps another member. The kernel then shrinks all these
// groups by itself: one message, whatever the number of routes, which is the
// quickest answer to a failure, so it comes before everything slow.
func (f *FIB) dropLost(ctx context.Context, b *batch) error {
	t := f.t
	drop := make([]bool, len(t.singles))
	any := false
	for i := range t.singles {
		s := &t.singles[i]
		drop[i] = s.live && !s.needed && s.key.oif > 0 && (s.mine || f.complete)
		any = any || drop[i]
	}
	if !any {
		return nil
	}
	for i := range t.groups {
		g := &t.groups[i]
		if !g.live || g.content < 0 || t.without(g.content, drop) >= 0 {
			continue
		}
		for _, p := range t.contents[g.content].parts { // the group would vanish with its routes
			drop[p.single] = false
		}
	}
	for i := range drop {
		if !drop[i] {
			continue
		}
		m, seq := b.next(op{kind: opDelSingle, idx: int32(i)})
		m.delNextHop(seq, t.singles[i].id)
		if err := b.full(ctx); err != nil {
			return err
		}
	}
	if err := b.flush(ctx); err != nil {
		return err
	}
	for i := range t.groups {
		if g := &t.groups[i]; g.live && g.content >= 0 {
			g.content = t.without(g.content, drop)
		}
	}
	return nil
}

// work is what decide found.
type work struct {
	newGroups []int32 // group indices
	groupFor  []int32 // content of each new group
	rewrites  []job   // routes to point elsewhere, before groups change
	morphs    []job   // idx: group, arg: content
	adds      []job
	removes   []int32 // cells installed although nothing usable is wanted
}

type job struct{ idx, arg int32 }

// decide finds the difference between the mirror and the wants. Routes that
// all leave one group for the same next hops are moved by changing the group.
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
		case c.obj >= 0 && t.groups[c.obj].content == ct && !c.stale:
			kept[c.obj] = true
		default:
			w.rewrites = append(w.rewrites, job{int32(i), ct})
			if c.obj >= 0 && !c.stale {
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
		if c := t.groups[g].content; t.groups[g].live && best[g] < 0 && c >= 0 && holder[c] < 0 {
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
				w.groupFor = append(w.groupFor, ct)
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

func (f *FIB) writeRoutes(ctx context.Context, b *batch, w *work) error {
	t := f.t
	setGroup := func(g, ct int32) error {
		m, seq := b.next(op{opGroup, g, ct})
		m.setGroup(seq, t.groups[g].id, f.frame.protocol, t.members(ct))
		return b.full(ctx)
	}
	for i, g := range w.newGroups {
		if err := setGroup(g, w.groupFor[i]); err != nil {
			return err
		}
	}
	for i := range f.strays {
		if s := &f.strays[i]; s.double && !s.gone {
			if err := f.deleteStray(ctx, b, i); err != nil {
				return err
			}
		}
	}
	if err := f.putRoutes(ctx, b, w.rewrites, unix.NLM_F_REPLACE); err != nil {
		return err
	}
	for _, m := range w.morphs {
		if err := setGroup(m.idx, m.arg); err != nil {
			return err
		}
	}
	if err := f.putRoutes(ctx, b, w.adds, unix.NLM_F_EXCL); err != nil {
		return err
	}
	if err := f.takeOver(ctx, b); err != nil {
		return err
	}
	for _, i := range w.removes {
		m, seq := b.next(op{kind: opDelRoute, idx: i})
		m.delRoute(seq, f.want[i].Prefix, f.frame.table, f.frame.protocol, metricOf(&f.want[i]))
		if err := b.full(ctx); err != nil {
			return err
		}
	}
	for i := range f.strays {
		if s := &f.strays[i]; !s.gone && f.removable(s) {
			if err := f.deleteStray(ctx, b, i); err != nil {
				return err
			}
		}
	}
	return b.flush(ctx)
}

func (f *FIB) putRoutes(ctx context.Context, b *batch, jobs []job, flags uint16) error {
	msg := routeMsg{table: f.frame.table, protocol: f.frame.protocol}
	for _, j := range jobs {
		r := &f.want[j.idx]
		msg.prefix, msg.metric, msg.source, msg.typ = r.Prefix, metricOf(r), r.Source, routeType(r)
		msg.nhid = 0
		if j.arg >= 0 {
			msg.nhid = f.t.groups[j.arg].id
		}
		fl := flags
		if r.Takeover {
			fl = unix.NLM_F_REPLACE
		}
		m, seq := b.next(op{opRoute, j.idx, j.arg})
		m.newRoute(seq, fl, &msg)
		if err := b.full(ctx); err != nil {
			return err
		}
	}
	return nil
}

// takeOver deletes foreign routes in our table that would win over a wanted
// route for which the operator permits it. Those in its very place have been
// replaced already; those in other tables are only reported.
func (f *FIB) takeOver(ctx context.Context, b *batch) error {
	for k := range f.foreignOwn {
		r := &f.foreignOwn[k]
		for i := f.search(r); i < len(f.want) && f.want[i].Prefix == r.prefix; i++ {
			if !f.want[i].Takeover || r.metric >= metricOf(&f.want[i]) || f.cells[i].set >= 0 && f.t.sets[f.cells[i].set].content < 0 {
				continue
			}
			m, seq := b.next(op{kind: opTakeOver, idx: int32(k)})
			m.delRoute(seq, r.prefix, f.frame.table, r.protocol, r.metric)
			if err := b.full(ctx); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

func (f *FIB) deleteStray(ctx context.Context, b *batch, i int) error {
	s := &f.strays[i]
	m, seq := b.next(op{kind: opDelStray, idx: int32(i)})
	m.delRoute(seq, s.prefix, f.frame.table, f.frame.protocol, s.metric)
	s.gone = true // set back by done when the kernel refuses
	return b.full(ctx)
}

// sweepObjects deletes groups, then next hops, that no route names.
func (f *FIB) sweepObjects(ctx context.Context, b *batch) error {
	t := f.t
	used := make([]bool, len(t.groups))
	for i := range f.cells {
		if o := f.cells[i].obj; o >= 0 {
			used[o] = true
			t.groups[o].mine = true
		}
	}
	for i := range f.strays {
		if o := f.strays[i].obj; o >= 0 {
			used[o] = true
		}
	}
	members := make([]bool, len(t.singles))
	for i := range t.groups {
		g := &t.groups[i]
		if !g.live {
			continue
		}
		if used[i] || g.pinned || g.held || !g.mine && !f.complete {
			if g.content >= 0 {
				for _, p := range t.contents[g.content].parts {
					members[p.single] = true
				}
			}
			continue
		}
		m, seq := b.next(op{kind: opDelGroup, idx: int32(i)})
		m.delNextHop(seq, g.id)
		if err := b.full(ctx); err != nil {
			return err
		}
	}
	for i := range t.singles {
		s := &t.singles[i]
		if !s.live || s.needed || members[i] || !s.mine && !f.complete {
			continue
		}
		m, seq := b.next(op{kind: opDelSingle, idx: int32(i)})
		m.delNextHop(seq, s.id)
		if err := b.full(ctx); err != nil {
			return err
		}
	}
	return b.flush(ctx)
}

// done files the kernel's answer to one request in the mirror. An answer that
// means that the mirror was wrong makes the next pass read everything back.
func (f *FIB) done(o op, err error) {
	t := f.t
	if err != nil {
		f.count.Errors.Add(1)
	}
	gone := err == nil || isErrno(err, unix.ESRCH, unix.ENOENT)
	switch o.kind {
	case opSingle:
		s := &t.singles[o.idx]
		switch {
		case err == nil:
			s.live = true
		default:
			s.bad, f.refused = err, true
			f.suspect = f.suspect || isErrno(err, unix.EEXIST, unix.ENODEV)
		}
	case opGroup:
		g := &t.groups[o.idx]
		if err == nil {
			g.live, g.content, g.mine = true, o.arg, true
		} else {
			f.suspect = true
		}
	case opRoute:
		c := &f.cells[o.idx]
		if err == nil {
			c.obj, c.stale = o.arg, false
			if f.want[o.idx].Takeover {
				if k := f.blocked(int(o.idx)); k >= 0 {
					f.foreignOwn[k].taken = true
				}
			}
			return
		}
		f.errs[o.idx] = err
		// EEXIST: somebody else's route. Others on an object that is gone.
		f.suspect = f.suspect || isErrno(err, unix.EEXIST, unix.ENOENT) || o.arg >= 0 && !t.groups[o.arg].live
		if o.arg >= 0 && isErrno(err, unix.EINVAL) && !f.want[o.idx].Source.IsValid() {
			f.suspect = true
		}
	case opDelRoute:
		if gone {
			f.cells[o.idx].obj, f.cells[o.idx].stale = objAbsent, false
		} else {
			f.errs[o.idx] = err
		}
	case opTakeOver:
		f.foreignOwn[o.idx].taken = gone
	case opDelStray:
		f.strays[o.idx].gone = gone
	case opDelGroup:
		t.groups[o.idx].live = !gone
		if gone {
			delete(t.taken, t.groups[o.idx].id)
		}
	case opDelSingle:
		t.singles[o.idx].live = !gone
		f.suspect = f.suspect || !gone
	}
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
