package bfd

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/poll"
)

// Options configure an Engine.
type Options struct {
	Logger *slog.Logger // nil: slog.Default()
	// OnState is called for every change of a session and once for a new one,
	// from the engine's one goroutine: it must not block, and sessions suffer
	// while it does.
	OnState func(bgp.BFDState)
	// Random is where discriminators, source ports and jitter come from; nil: a
	// source seeded by the system. It is used by one goroutine.
	Random func() uint32
}

// Engine runs BFD sessions. It needs CAP_NET_RAW to bind to interfaces on
// kernels older than 5.7, and CAP_NET_ADMIN for a receive buffer that is more
// than the system's limit.
type Engine struct {
	opt Options

	wanted poll.Mailbox[bgp.BFDSession]
	stats  counters
}

type counters struct {
	sessions, sent, received, unsent, invalid, ttl, foreign, late, tardy atomic.Uint64
}

// Stats are totals since New.
type Stats struct {
	Sessions uint64 // now, those that are taking their leave included
	Sent     uint64 // packets
	Received uint64 // packets that belonged to a session
	Unsent   uint64 // packets the system refused
	Invalid  uint64 // packets discarded by RFC 5880 section 6.8.6
	TTL      uint64 // packets discarded because they may come from afar (RFC 5881 section 5)
	Foreign  uint64 // packets that belonged to no session
	Tardy    uint64 // packets that left an interval or more after they were due: the process gets no CPU
	Late     uint64 // expired sessions that were saved by a packet which had arrived in time
}

// New makes an engine; Run starts it.
func New(opt Options) *Engine {
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	if opt.OnState == nil {
		opt.OnState = func(bgp.BFDState) {}
	}
	if opt.Random == nil {
		var seed [32]byte
		_, _ = crand.Read(seed[:])
		opt.Random = rand.New(rand.NewChaCha8(seed)).Uint32
	}
	return &Engine{opt: opt}
}

// Set hands over the whole set of sessions; names are unique, and so are pairs
// of address and device. Unchanged ones are left alone, other intervals are
// negotiated within the session, and one that is not wanted any more says
// AdminDown for a detection time before it ends, so that the other end does not
// take the silence for a failure. An older generation than the last is ignored.
// Set returns at once and may be called before Run.
func (e *Engine) Set(gen uint64, sessions []bgp.BFDSession) {
	e.wanted.Put(gen, slices.Clone(sessions))
}

// Stats returns the totals.
func (e *Engine) Stats() Stats {
	c := &e.stats
	return Stats{
		Sessions: c.sessions.Load(), Sent: c.sent.Load(), Received: c.received.Load(), Unsent: c.unsent.Load(),
		Invalid: c.invalid.Load(), TTL: c.ttl.Load(), Foreign: c.foreign.Load(), Late: c.late.Load(), Tardy: c.tardy.Load(),
	}
}

// Run runs sessions until ctx is done, tells the other ends AdminDown and
// returns nil. It fails only if the system refuses what every session needs.
// After Run returned it may not be called again.
func (e *Engine) Run(ctx context.Context) error {
	l, err := newLoop(e)
	if err != nil {
		return fmt.Errorf("bfd engine: %w", err)
	}
	defer l.close()
	if err := e.wanted.Run(ctx, l.waiter, l.set, l.turn); err != nil {
		return fmt.Errorf("bfd engine: %w", err)
	}
	l.farewell()
	return nil
}
