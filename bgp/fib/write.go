package fib

import (
	"context"
	"slices"

	"golang.org/x/sys/unix"
)

// write makes the kernel agree with the mirror's wants. The order is: what is
// lost, new things, then moves, then new routes, then what is no longer wanted. A
// route never names an object that is not there, and no object goes while a wanted
// route names it.
func (f *FIB) write(ctx context.Context) error {
	b := f.batch()
	defer f.sent(b)
	clear(f.errs)
	for again := true; again; {
		f.refused = false
		f.need()
		if err := f.dropLost(ctx, b); err != nil {
			return err
		}
		if err := f.writeRoutes(ctx, b, f.decide()); err != nil {
			return err
		}
		if again = f.refused; again {
			// A next hop that the kernel refuses changes what its sets come down to.
			for i := range f.t.sets {
				f.t.reduce(&f.t.sets[i])
			}
		}
	}
	f.strays = slices.DeleteFunc(f.strays, func(s stray) bool { return s.gone })
	f.foreignOwn = slices.DeleteFunc(f.foreignOwn, func(r kroute) bool { return r.taken })
	return f.sweepObjects(ctx, b)
}

func (f *FIB) batch() *batch {
	f.puts, f.regroups = f.puts[:0], f.regroups[:0]
	return &batch{c: f.conn, done: f.done}
}

func (f *FIB) sent(b *batch) {
	f.count.Writes.Add(b.sent)
	f.count.Batches.Add(b.calls)
}

// dropLost takes next hops that no wanted route uses any more out of every group
// that keeps another one, by deleting their objects: the kernel then shrinks the
// group by itself, whatever the number of its routes. It is the quickest answer to
// a withdrawal, so it comes before everything slow.
func (f *FIB) dropLost(ctx context.Context, b *batch) error {
	t := f.t
	for i := range t.groups {
		g := &t.groups[i]
		if !g.live || g.content < 0 || !g.mine && !f.complete {
			continue
		}
		drop := func(e int32) bool { return !t.exits[e].needed && t.exits[e].oif > 0 }
		gone := 0
		for _, o := range g.objects {
			if drop(o.exit) && !o.shared {
				gone++
			}
		}
		if gone == 0 || gone == len(g.objects) {
			continue
		}
		for _, o := range g.objects {
			if !drop(o.exit) || o.shared {
				continue
			}
			if err := f.deleteObject(ctx, b, int32(i), o.id); err != nil {
				return err
			}
		}
		c := t.contents[g.content]
		if stay := slices.DeleteFunc(slices.Clone(c.parts), func(p part) bool { return drop(p.exit) }); len(stay) > 0 {
			g.content = t.contentOf(stay, slices.Clone(c.backup))
		}
	}
	return b.flush(ctx)
}

func (f *FIB) writeRoutes(ctx context.Context, b *batch, w *work) error {
	early := make([]reform, 0, len(w.reforms)+len(w.newGroups))
	for _, g := range slices.Concat(w.reforms, w.newGroups) {
		early = append(early, f.t.reformOf(g))
	}
	var late []reform
	for _, m := range w.morphs {
		f.t.groups[m.idx].content = m.arg
		if s := f.t.reformOf(m.idx); !s.empty() {
			late = append(late, s)
		}
	}
	if err := f.prepare(ctx, b, early, late); err != nil || f.refused {
		return err
	}
	if err := f.reform(ctx, b, early); err != nil {
		return err
	}
	for i := range f.strays {
		if s := &f.strays[i]; s.double && !s.gone {
			if err := f.deleteStray(ctx, b, i); err != nil {
				return err
			}
		}
	}
	if err := f.putRoutes(ctx, b, w.rewrites, unix.NLM_F_REPLACE, len(late) == 0); err != nil {
		return err
	}
	if err := f.reform(ctx, b, late); err != nil {
		return err
	}
	if err := f.putRoutes(ctx, b, w.adds, unix.NLM_F_EXCL, true); err != nil {
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
		f.breathe(b)
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

// putRoutes writes routes. With pause, losses may come in between.
func (f *FIB) putRoutes(ctx context.Context, b *batch, jobs []job, flags uint16, pause bool) error {
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
		if pause {
			f.breathe(b)
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

// sweepObjects deletes groups that no route names, with their objects, and objects
// that no group holds.
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
	for i := range t.groups {
		g := &t.groups[i]
		if !g.live || used[i] || g.pinned || g.held || !g.mine && !f.complete {
			continue
		}
		m, seq := b.next(op{kind: opDelGroup, idx: int32(i)})
		m.delNextHop(seq, g.id)
		if err := b.full(ctx); err != nil {
			return err
		}
	}
	if err := b.flush(ctx); err != nil || len(t.loose) == 0 {
		return err
	}
	members := map[uint32]bool{}
	for i := range t.groups {
		if t.groups[i].live {
			for _, o := range t.groups[i].objects {
				members[o.id] = true
			}
		}
	}
	t.loose = slices.DeleteFunc(t.loose, func(l loose) bool { return members[l.id] })
	for i, l := range t.loose {
		if !l.mine && !f.complete {
			continue
		}
		m, seq := b.next(op{kind: opDelLoose, idx: int32(i)})
		m.delNextHop(seq, l.id)
		if err := b.full(ctx); err != nil {
			return err
		}
	}
	if err := b.flush(ctx); err != nil {
		return err
	}
	t.loose = slices.DeleteFunc(t.loose, func(l loose) bool { return l.id == 0 })
	return nil
}
