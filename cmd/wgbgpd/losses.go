package main

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"

	"github.com/wgbgp/wgbgp/bgp"
)

// losses tells the routes edge which next hops are lost while the core still
// plans what follows from it, which takes tens of milliseconds for a large table.
// The latest list wins.
type losses struct {
	lose   func(ctx context.Context, gen uint64, lost []bgp.NextHop) error
	log    *slog.Logger
	latest atomic.Pointer[loss]
	kick   chan struct{}
}

type loss struct {
	gen  uint64 // of the last plan made before
	hops []bgp.NextHop
}

func newLosses(lose func(context.Context, uint64, []bgp.NextHop) error, log *slog.Logger) *losses {
	return &losses{lose: lose, log: log, kick: make(chan struct{}, 1)}
}

// tell wakes the task, and lets it go first where there is one processor only.
func (l *losses) tell(gen uint64, lost []bgp.NextHop) {
	l.latest.Store(&loss{gen, lost})
	select {
	case l.kick <- struct{}{}:
	default:
	}
	runtime.Gosched()
}

func (l *losses) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.kick:
		}
		n := l.latest.Load()
		if err := l.lose(ctx, n.gen, n.hops); err != nil && ctx.Err() == nil {
			l.log.Warn("routes by lost next hops wait for the plan", "edge", "routes", "err", err)
		}
	}
}
