package fib

import "golang.org/x/sys/unix"

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
