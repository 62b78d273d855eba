package main

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCollectorIsRelaxedInABurstAndMemoryGivenBackAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var did []int // paces; 0: memory given back
		note := func(p int) {
			mu.Lock()
			defer mu.Unlock()
			did = append(did, p)
		}
		m := &memory{pace: note, free: func() { note(0) }, live: func() uint64 { return 10 << 20 }}
		after := func(d time.Duration, when string, want ...int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(did, want) {
				t.Fatalf("%s: got %v, want %v", when, did, want)
			}
		}
		m.learned(relaxAfter - 1)
		after(time.Minute, "few changes")
		m.learned(relaxAfter)
		after(memoryRest/2, "a burst", relaxedGC)
		for range 10 {
			m.learned(100)
			after(memoryRest/2, "while changes keep coming", relaxedGC)
		}
		m.learned(tightenAfter)
		after(0, "a large table", relaxedGC, usualGC)
		after(2*memoryRest, "at rest", relaxedGC, usualGC, usualGC, 0)
		m.learned(1)
		after(time.Minute, "few changes afterwards", relaxedGC, usualGC, usualGC, 0)
		mu.Lock()
		did = nil
		mu.Unlock()
		m.learned(2 * tightenAfter)
		after(2*memoryRest, "a large table at once", usualGC, usualGC, 0)
	})
}

func TestCollectorOfALargeHeapIsNotRelaxedMuch(t *testing.T) {
	for live, want := range map[uint64]int{0: relaxedGC, 10 << 20: relaxedGC, 64 << 20: 200, 100 << 20: 128, 1 << 30: usualGC} {
		if got := relaxed(live); got != want {
			t.Errorf("%d MB: got %d %%, want %d %%", live>>20, got, want)
		}
	}
}
