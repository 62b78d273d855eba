package fib

import (
	"slices"

	"golang.org/x/sys/unix"
)

type opKind uint8

const (
	opNewObject    opKind = iota // idx: group, arg: put
	opChangeObject               // idx: group, arg: put
	opDelObject                  // idx: group, arg: id
	opGroup                      // idx: group, arg: regroup
	opRoute                      // idx: cell, arg: obj
	opDelRoute                   // idx: cell
	opDelStray                   // idx: stray
	opDelGroup                   // idx: group
	opDelLoose                   // idx: loose
	opTakeOver                   // idx: foreignOwn
)

// done files the kernel's answer to one request in the mirror. An answer that
// means that the mirror was wrong makes the next pass read everything back.
func (f *FIB) done(o op, err error) {
	t := f.t
	if err != nil {
		f.count.Errors.Add(1)
	}
	gone := err == nil || isErrno(err, unix.ESRCH, unix.ENOENT)
	switch o.kind {
	case opNewObject, opChangeObject:
		f.objectPut(o, err)
	case opDelObject:
		g := &t.groups[o.idx]
		if i := slices.IndexFunc(g.objects, func(x object) bool { return x.id == uint32(o.arg) }); gone && i >= 0 {
			g.objects = slices.Delete(g.objects, i, i+1)
			delete(t.taken, uint32(o.arg))
		}
		f.suspect = f.suspect || !gone
	case opGroup:
		if err != nil {
			f.suspect = true
			return
		}
		g := &t.groups[o.idx]
		for _, x := range g.objects { // those that stay are members of it all the same
			t.loose = append(t.loose, loose{x.id, true})
		}
		g.live, g.mine, g.objects = true, true, f.regroups[o.arg].members
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
		g := &t.groups[o.idx]
		g.live = !gone
		if gone {
			delete(t.taken, g.id)
			for _, x := range g.objects {
				t.loose = append(t.loose, loose{x.id, g.mine})
			}
			g.objects = nil
		}
	case opDelLoose:
		if gone {
			delete(t.taken, t.loose[o.idx].id)
			t.loose[o.idx].id = 0
		}
		f.suspect = f.suspect || !gone
	}
}

// objectPut files the answer to an object that was made or led elsewhere. One that
// was made is loose until its group has it.
func (f *FIB) objectPut(o op, err error) {
	p, t := &f.puts[o.arg], f.t
	switch {
	case isErrno(err, unix.ENOENT) && o.kind == opChangeObject:
		f.suspect = true // somebody deleted it
	case err != nil:
		t.exits[p.exit].bad, f.refused = err, true
		f.suspect = f.suspect || isErrno(err, unix.EEXIST, unix.ENODEV)
	case o.kind == opNewObject:
		t.loose = append(t.loose, loose{p.id, true})
	default:
		g := &t.groups[o.idx]
		for i := range g.objects {
			if g.objects[i].id == p.id {
				g.objects[i].exit = p.exit // its weight is the group's
			}
		}
	}
}
