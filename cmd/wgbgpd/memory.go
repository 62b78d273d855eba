package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// What a table needs while it arrives is not what it needs to be kept. While it
// is small, collecting garbage at the usual pace would cost a third of the time
// until its routes stand; when it is large, the garbage would be more than the
// table. So the collector is relaxed after the first changes of a burst and back
// at its usual pace after some more, and when nothing has changed for a while,
// everything that is free is given back to the system, which the runtime itself
// does only by and by.
const (
	relaxAfter   = 500
	tightenAfter = 30_000
	memoryRest   = time.Second

	usualGC   = 100 // percent, as the runtime's default
	relaxedGC = 400

	// garbageMost is how much garbage a relaxed collector may leave, in bytes: a
	// daemon that is large already, as with hundreds of neighbors, shall not become
	// five times as large because some of them are busy.
	garbageMost = 128 << 20
)

// memory belongs to the loop. Nil does nothing.
type memory struct {
	changes int // of paths in this burst
	timer   *time.Timer
	done    atomic.Bool // the burst is over
	pace    func(percent int)
	free    func()
	live    func() uint64 // bytes of the heap after the last collection
}

// newMemory leaves the pace alone where the operator has set one (GOGC).
func newMemory() *memory {
	m := &memory{pace: func(percent int) { debug.SetGCPercent(percent) }, free: debug.FreeOSMemory, live: liveHeap}
	if os.Getenv("GOGC") != "" {
		m.pace = func(int) {}
	}
	return m
}

// learned notes that so many paths have changed.
func (m *memory) learned(n int) {
	if m == nil {
		return
	}
	if m.done.CompareAndSwap(true, false) {
		m.changes, m.timer = 0, nil
	}
	before := m.changes
	m.changes += n
	if m.changes < relaxAfter {
		return
	}
	switch {
	case before < tightenAfter && m.changes >= tightenAfter:
		m.pace(usualGC)
	case before < relaxAfter:
		m.pace(relaxed(m.live()))
	}
	if m.timer != nil {
		m.timer.Reset(memoryRest)
		return
	}
	m.timer = time.AfterFunc(memoryRest, func() {
		m.pace(usualGC)
		m.free()
		m.done.Store(true)
	})
}

// relaxed is the pace for a heap of this size.
func relaxed(live uint64) int {
	if live == 0 {
		return relaxedGC
	}
	return int(min(max(garbageMost*100/live, usualGC), relaxedGC))
}

func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
