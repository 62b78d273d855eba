package ha

import (
	"net/netip"

	"github.com/wgbgp/wgbgp/bgp"
)

// builder makes a slice of the plan by comparing it with that of the last plan
// while it grows: nothing is copied before something differs, and then what did
// not change is copied in long runs.
type builder[T any] struct {
	old   []T
	equal func(a, b *T) bool
	// order is that of both slices. It only serves to find the way back into
	// old: a wrong one costs time and changes no outcome.
	order func(a, b *T) int
	// prefix is what both slices are ordered by first.
	prefix func(*T) netip.Prefix
	v      T   // under comparison; kept here so that it need not be allocated
	from   int // old[from:n] is in the new slice and not yet in out
	n      int // elements of old dealt with
	out    []T // once something differs
	fresh  bool
	more   int // about how many there will be that were not in old
	diffs  int // elements of old that are gone, and new ones
}

// next is the element of the last plan that would come next, nil if none. Who
// sees that it is the wanted one calls keep instead of add.
func (b *builder[T]) next() *T {
	if b.n < len(b.old) {
		return &b.old[b.n]
	}
	return nil
}

func (b *builder[T]) keep() { b.n++ }

// skip passes over elements of the last plan that come before what is added
// next: they are gone.
func (b *builder[T]) skip() {
	b.flush()
	b.n++
	b.from = b.n
	b.diffs++
}

// add reports whether the last plan had the same.
func (b *builder[T]) add(v T) bool {
	b.v = v
	for b.n < len(b.old) {
		o := &b.old[b.n]
		if b.equal(o, &b.v) {
			b.n++
			return true
		}
		d := b.order(o, &b.v)
		if d > 0 {
			break // v comes before it
		}
		b.skip() // gone, or replaced by v
		if d == 0 {
			break
		}
	}
	b.flush()
	b.out = append(b.out, v)
	b.diffs++
	return false
}

// flush copies the run that is pending.
func (b *builder[T]) flush() {
	if !b.fresh {
		b.fresh = true
		b.out = make([]T, 0, len(b.old)+b.more+16)
	}
	b.out = append(b.out, b.old[b.from:b.n]...)
	b.from = b.n
}

// seek keeps all that comes before p.
func (b *builder[T]) seek(p netip.Prefix) { b.n += gallop(b.old[b.n:], p, b.prefix) }

// drop passes over what the last plan has about p and was not asked for.
func (b *builder[T]) drop(p netip.Prefix) {
	for v := b.next(); v != nil && b.prefix(v) == p; v = b.next() {
		b.skip()
	}
}

// rest keeps all that is left.
func (b *builder[T]) rest() { b.n = len(b.old) }

// gallop counts the elements that come before p. It costs little where they are
// few, and not much where they are many.
func gallop[T any](s []T, p netip.Prefix, prefix func(*T) netip.Prefix) int {
	before := func(i int) bool {
		q := prefix(&s[i])
		return q != p && bgp.ComparePrefix(q, p) < 0
	}
	low, step := 0, 1
	for low+step <= len(s) && before(low+step-1) {
		low += step
		step *= 2
	}
	high := min(low+step-1, len(s)) // that one does not come before p, if there is one
	for low < high {
		if mid := int(uint(low+high) / 2); before(mid) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

func prefixOfRoute(r *bgp.Route) netip.Prefix               { return r.Prefix }
func prefixOfAnnouncement(a *bgp.Announcement) netip.Prefix { return a.Prefix }
func prefixOfWithheld(h *Withheld) netip.Prefix             { return h.Prefix }

// done returns the old slice itself when nothing changed.
func (b *builder[T]) done() []T {
	if !b.fresh && b.n == len(b.old) {
		return b.old
	}
	b.flush()
	return b.out
}
