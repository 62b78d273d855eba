package bfd

import (
	"math/bits"
	"time"
)

const (
	// tick is the grid of all timers: packets due within one tick share a
	// wake-up and system calls.
	tick = 5 * time.Millisecond
	// slotCount ticks are what the wheel spans; later timers wait in its last
	// slot and are put off there.
	slotCount = 1024
)

// wheel holds one timer per session. All its operations take constant time,
// whatever the number of sessions.
type wheel struct {
	heads [slotCount]*timer
	full  [slotCount / 64]uint64 // slots that hold timers
	cur   int64                  // every tick up to this one has been served
}

// timer is an element of the wheel.
type timer struct {
	prev, next *timer
	armed      bool
	slot       int
	due        int64 // tick
	owner      *session
}

// set arms the timer for a tick; one that has passed already means the next.
func (w *wheel) set(t *timer, due int64) {
	if t.armed {
		if t.due == due {
			return
		}
		w.stop(t)
	}
	t.armed, t.due = true, due
	t.slot = int(min(max(due, w.cur+1), w.cur+slotCount-1) % slotCount)
	if t.next = w.heads[t.slot]; t.next != nil {
		t.next.prev = t
	}
	w.heads[t.slot] = t
	w.full[t.slot/64] |= 1 << (t.slot % 64)
}

// stop disarms the timer; one that is not armed is fine.
func (w *wheel) stop(t *timer) {
	if !t.armed {
		return
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else if w.heads[t.slot] = t.next; t.next == nil {
		w.full[t.slot/64] &^= 1 << (t.slot % 64)
	}
	t.prev, t.next, t.armed = nil, nil, false
}

// next returns the first tick at which advance may find something.
func (w *wheel) next() (int64, bool) {
	from := int((w.cur + 1) % slotCount)
	for i := 0; i <= len(w.full); i++ { // the first word is looked at twice: above from, then below
		word := (from/64 + i) % len(w.full)
		set := w.full[word]
		switch i {
		case 0:
			set &= ^uint64(0) << (from % 64)
		case len(w.full):
			set &= 1<<(from%64) - 1
		}
		if set != 0 {
			slot := word*64 + bits.TrailingZeros64(set)
			return w.cur + 1 + int64((slot-from+slotCount)%slotCount), true
		}
	}
	return 0, false
}

// advance serves every tick up to and with to: timers that are due are disarmed
// and handed to fire, which may arm any timer again.
func (w *wheel) advance(to int64, fire func(*session)) {
	for {
		t, ok := w.next()
		if !ok || t > to {
			break
		}
		// From here on nothing can be armed for this slot: the span ends before it.
		w.cur = t
		slot := int(t % slotCount)
		for e := w.heads[slot]; e != nil; e = w.heads[slot] {
			w.stop(e)
			if e.due > t {
				w.set(e, e.due)
			} else {
				fire(e.owner)
			}
		}
	}
	w.cur = max(w.cur, to)
}
