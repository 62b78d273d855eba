package fib

import (
	"context"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
)

// Lose says that these next hops lead nowhere any more, and these alone, before
// the plan that follows from it: the routes that use them go by their others, or
// by their backup, at the price of one message for each different set of next
// hops, whatever the number of routes (prefix-independent convergence). Routes
// that have neither stay as they are. It holds until a plan newer than gen, the
// last one made before, is applied, which says itself what is lost.
func (f *FIB) Lose(ctx context.Context, gen uint64, lost []bgp.NextHop) error {
	f.losing.Add(1)
	f.mu.Lock()
	f.losing.Add(-1)
	defer f.mu.Unlock()
	f.lost, f.lostGen = lost, gen
	if !f.known || !f.t.mark(lost) {
		return nil
	}
	f.unfinished = true
	var reforms []reform
	for i := range f.t.groups {
		if g := &f.t.groups[i]; g.live && g.content >= 0 && !f.t.agrees(int32(i)) {
			reforms = append(reforms, f.t.reformOf(int32(i)))
		}
	}
	b := f.batch()
	defer f.sent(b)
	if err := f.prepare(ctx, b, reforms); err != nil || f.refused {
		return err
	}
	if err := f.reform(ctx, b, reforms); err != nil {
		f.known = false
		return err
	}
	if err := b.flush(ctx); err != nil {
		f.known = false
		return err
	}
	return nil
}

// breathe lets a loss through between two batches of a long write, which would hold
// it up for the better part of a second. It may be called only where no group
// waits to be changed.
func (f *FIB) breathe(b *batch) {
	for len(b.ops) == 0 && f.losing.Load() > 0 {
		f.mu.Unlock()
		runtime.Gosched()
		f.mu.Lock() // sync.Mutex hands over to who has waited for a millisecond
	}
}

// mark notes which exits are lost and reports whether that is news.
func (t *tables) mark(lost []bgp.NextHop) (news bool) {
	t.lost = map[way]struct{}{}
	for _, n := range lost {
		for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
			if w, _, detail := t.wayOf(fam, n); detail == "" {
				t.lost[w] = struct{}{}
			}
		}
	}
	for i := range t.exits {
		if x := &t.exits[i]; x.lost != t.isLost(x.way) {
			x.lost, news = !x.lost, true
		}
	}
	return news
}

func (t *tables) isLost(w way) bool {
	_, ok := t.lost[w]
	return ok
}
