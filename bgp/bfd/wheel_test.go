package bfd

import (
	"math/rand/v2"
	"testing"
)

// The wheel is compared with the plainest thing that does the same: look at
// every timer at every tick.
func TestWheelFiresEveryTimerInItsTick(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var w wheel
	timers := make([]*session, 200)
	for i := range timers {
		timers[i] = new(session)
		timers[i].timer.owner = timers[i]
	}
	due := map[*session]int64{}
	for now := int64(0); now < 20000; {
		for range rnd.IntN(10) {
			s := timers[rnd.IntN(len(timers))]
			if rnd.IntN(5) == 0 {
				w.stop(&s.timer)
				delete(due, s)
				continue
			}
			at := now + rnd.Int64N(3*slotCount) - 10
			w.set(&s.timer, at)
			due[s] = max(at, now+1)
		}
		first := int64(0)
		for _, at := range due {
			if first == 0 || at < first {
				first = at
			}
		}
		if next, ok := w.next(); ok != (len(due) > 0) || ok && next > first {
			t.Fatalf("at %d: next says %d %t, first timer is due at %d", now, next, ok, first)
		}
		now += 1 + rnd.Int64N(40)
		if rnd.IntN(100) == 0 {
			now += 2 * slotCount // the process slept
		}
		w.advance(now, func(s *session) {
			at, ok := due[s]
			if !ok || at > now {
				t.Fatalf("fired at %d, is due at %d, armed %t", now, at, ok)
			}
			delete(due, s)
			other := timers[rnd.IntN(len(timers))] // what a packet read meanwhile may do
			if _, armed := due[other]; armed && other != s {
				w.set(&other.timer, now+5)
				due[other] = now + 5
			}
		})
		for _, at := range due {
			if at <= now {
				t.Fatalf("at %d: a timer of %d did not fire", now, at)
			}
		}
	}
}
