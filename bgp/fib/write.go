package fib

import (
	"context"
	"slices"

	"golang.org/x/sys/unix"
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
