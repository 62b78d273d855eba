package fib

import (
	"context"
	"slices"
)

// reform is what it takes to make a group hold what it should. Objects that are
// replaced or deleted cost the kernel nothing for each route; only a group that
// gets another member is replaced itself.
type reform struct {
	group   int32
	change  []object // in place: the object leads elsewhere
	remove  []uint32 // objects to delete
	create  []object
	members []object // nil: the group itself stays as it is
}

func (s *reform) empty() bool { return len(s.change)+len(s.remove)+len(s.members) == 0 }

// inUse is what routes with this content use now: the next hops that are not
// lost, or else those of the backup. Nil: all are lost, and nothing is better than
// what is there.
func (t *tables) inUse(c int32) []part {
	for _, list := range [][]part{t.contents[c].parts, t.contents[c].backup} {
		lost := 0
		for _, p := range list {
			if t.exits[p.exit].lost {
				lost++
			}
		}
		switch {
		case lost == 0 && len(list) > 0:
			return list
		case lost < len(list):
			return slices.DeleteFunc(slices.Clone(list), func(p part) bool { return t.exits[p.exit].lost })
		}
	}
	return nil
}

// agrees says whether a group holds what it should.
func (t *tables) agrees(g int32) bool {
	return holds(t.groups[g].objects, t.inUse(t.groups[g].content))
}

func holds(objects []object, parts []part) bool {
	if len(objects) != len(parts) {
		return len(objects) > 0 && parts == nil
	}
	for _, p := range parts {
		if !slices.ContainsFunc(objects, func(o object) bool { return o.exit == p.exit && o.weight == p.weight }) {
			return false
		}
	}
	return true
}

func (t *tables) reformOf(i int32) reform {
	g := &t.groups[i]
	s := reform{group: i}
	come := slices.Clone(t.inUse(g.content))
	if come == nil {
		come = slices.Clone(t.contents[g.content].parts)
	}
	var stay, gone []object
	regroup := !g.live
	for _, o := range g.objects {
		at := slices.IndexFunc(come, func(p part) bool { return p.exit == o.exit })
		if at < 0 {
			gone = append(gone, o)
			continue
		}
		regroup = regroup || o.weight != come[at].weight
		o.weight = come[at].weight
		stay = append(stay, o)
		come = slices.Delete(come, at, at+1)
	}
	for _, o := range gone {
		switch {
		case o.shared:
			regroup = true
		case len(come) > 0:
			regroup = regroup || o.weight != come[0].weight
			o.exit, o.weight = come[0].exit, come[0].weight
			s.change, stay, come = append(s.change, o), append(stay, o), come[1:]
		default:
			s.remove = append(s.remove, o.id)
		}
	}
	for _, p := range come {
		s.create = append(s.create, t.newObject(i, p))
	}
	if regroup || len(s.create) > 0 {
		s.members = append(stay, s.create...)
	}
	return s
}

// put is an object on its way into the kernel, regroup a group.
type put struct {
	group int32
	object
}

type regroup struct {
	group   int32
	members []object
}

// prepare creates the objects that groups will get. When the kernel refuses one,
// f.refused is set and nothing else has changed.
func (f *FIB) prepare(ctx context.Context, b *batch, lists ...[]reform) error {
	for _, list := range lists {
		for i := range list {
			for _, o := range list[i].create {
				if err := f.putObject(ctx, b, opNewObject, list[i].group, o); err != nil {
					return err
				}
			}
		}
	}
	return b.flush(ctx)
}

// reform makes groups hold what they should, the quick changes of all before
// the slow ones.
func (f *FIB) reform(ctx context.Context, b *batch, list []reform) error {
	for i := range list {
		s := &list[i]
		for _, o := range s.change {
			if err := f.putObject(ctx, b, opChangeObject, s.group, o); err != nil {
				return err
			}
		}
		for _, id := range s.remove {
			if len(s.members) > 0 {
				break // they go when the group has got its new members
			}
			if err := f.deleteObject(ctx, b, s.group, id); err != nil {
				return err
			}
		}
	}
	for i := range list {
		s := &list[i]
		if len(s.members) == 0 {
			continue
		}
		g := &f.t.groups[s.group]
		f.regroups = append(f.regroups, regroup{s.group, s.members})
		m, seq := b.next(op{opGroup, s.group, int32(len(f.regroups) - 1)})
		m.setGroup(seq, g.id, f.frame.protocol, g.buckets, membersOf(s.members))
		if err := b.full(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (f *FIB) putObject(ctx context.Context, b *batch, kind opKind, group int32, o object) error {
	f.puts = append(f.puts, put{group, o})
	m, seq := b.next(op{kind, group, int32(len(f.puts) - 1)})
	m.setObject(seq, o.id, f.frame.protocol, &f.t.exits[o.exit].way, kind == opChangeObject)
	return b.full(ctx)
}

func (f *FIB) deleteObject(ctx context.Context, b *batch, group int32, id uint32) error {
	m, seq := b.next(op{opDelObject, group, int32(id)})
	m.delNextHop(seq, id)
	return b.full(ctx)
}

func membersOf(objects []object) []member {
	out := make([]member, len(objects))
	for i, o := range objects {
		out[i] = member{o.id, o.weight}
	}
	return out
}
