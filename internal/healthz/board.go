package healthz

import (
	"slices"
	"sync/atomic"
	"time"
)

// StallAfter is how old a verdict may get before it counts as none: whoever
// renews it every second has then missed several turns and can not measure.
const StallAfter = 5 * time.Second

// Reasons of the board itself; all others come from the core.
const (
	reasonStarting = "starting" // no verdict yet
	reasonStalled  = "stalled"  // the verdict is not renewed any more
)

// Board holds the latest verdict. One writes, any number read without a lock.
type Board struct {
	said    atomic.Pointer[Verdict]
	at      atomic.Int64 // of the last renewal, monotonic, since began
	began   time.Time
	changed chan struct{}
}

// Verdict is whether this host forwards. Reasons are words of a closed set: who
// asks may be a stranger, so no name of a site or neighbor is among them.
type Verdict struct {
	Forwarding bool     `json:"forwarding"`
	Reasons    []string `json:"reasons,omitempty"`
}

// NewBoard makes a board that says "starting".
func NewBoard() *Board {
	return &Board{began: time.Now(), changed: make(chan struct{}, 1)}
}

// Set renews the verdict. It reports whether the verdict differs from the last one.
func (b *Board) Set(v Verdict) bool {
	b.at.Store(int64(time.Since(b.began)))
	was := b.said.Load()
	if was != nil && was.Forwarding == v.Forwarding && slices.Equal(was.Reasons, v.Reasons) {
		return false
	}
	b.said.Store(&v)
	select {
	case b.changed <- struct{}{}:
	default:
	}
	return true
}

// Get returns the verdict that holds now.
func (b *Board) Get() Verdict {
	v := b.said.Load()
	switch {
	case v == nil:
		return Verdict{Reasons: []string{reasonStarting}}
	case time.Since(b.began)-time.Duration(b.at.Load()) > StallAfter:
		return Verdict{Reasons: []string{reasonStalled}}
	}
	return *v
}
