package probe

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/wgbgp/wgbgp/internal/poll"
	"github.com/wgbgp/wgbgp/wg"
)

// Options configure an Engine.
type Options struct {
	Logger *slog.Logger // nil: slog.Default()
	// OnResult is called for every finished round, from the engine's one
	// goroutine: it must not block, and results come late while it does.
	OnResult func(wg.ProbeResult)
}

// Engine runs probes. It needs CAP_NET_RAW.
//
// Rounds of a probe start on a grid of its interval whose phase is a hash of the
// site, so that sites spread and a restart does not bunch them, while the probes
// of one site share a wake-up and a send, and a handful of probes share a few;
// the first round of a new probe comes
// within firstWithin. A round ends with the answer or with
// the timeout, and no round begins while one is open: a timeout longer than the
// interval skips the rounds in between.
//
// If the engine can not keep up, rounds are skipped, never invented. Answers
// carry the kernel's time of arrival, and before a round is declared timed out
// everything that arrived is read, so a slow process does not look like a slow
// site.
type Engine struct {
	opt Options

	wanted poll.Mailbox[wg.Probe]
	stats  counters
}

type counters struct {
	targets, sent, answered, timeouts, errors, foreign, skipped atomic.Uint64
}

// Stats are totals since New.
type Stats struct {
	Targets  uint64 // probes now
	Sent     uint64 // rounds begun with a packet on its way
	Answered uint64 // rounds that ended well, without heartbeats
	Timeouts uint64
	Errors   uint64 // rounds that could not be sent or were refused
	Foreign  uint64 // ICMP packets with our identifier that answered no open round
	Skipped  uint64 // rounds left out because the engine was late
}

// New makes an engine; Run starts it.
func New(opt Options) *Engine {
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	if opt.OnResult == nil {
		opt.OnResult = func(wg.ProbeResult) {}
	}
	return &Engine{opt: opt}
}

// Set hands over the whole set of probes, sorted by ID. Unchanged ones keep
// their rhythm and an open round, and so do those of which only the interval
// changed; an older generation than the last is ignored. The slice must not be
// changed afterwards: the same one again means that nothing changed and costs
// nothing. Set returns at once and may be called before Run.
func (e *Engine) Set(gen uint64, probes []wg.Probe) { e.wanted.Put(gen, probes) }

// Stats returns the totals.
func (e *Engine) Stats() Stats {
	c := &e.stats
	return Stats{
		Targets: c.targets.Load(), Sent: c.sent.Load(), Answered: c.answered.Load(), Timeouts: c.timeouts.Load(),
		Errors: c.errors.Load(), Foreign: c.foreign.Load(), Skipped: c.skipped.Load(),
	}
}

// Run probes until ctx is done and then returns nil. It fails only if the
// system refuses what every probe needs. After Run returned it may not be called
// again.
func (e *Engine) Run(ctx context.Context) error {
	l, err := newLoop(e)
	if err != nil {
		return fmt.Errorf("probe engine: %w", err)
	}
	defer l.close()
	if err := e.wanted.Run(ctx, l.waiter, l.set, l.turn); err != nil {
		return fmt.Errorf("probe engine: %w", err)
	}
	return nil
}
