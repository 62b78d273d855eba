package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/wgbgp/wgbgp/ha"
)

// Why an edge looks at its plan.
type why uint8

const (
	planned why = iota // a new plan
	again              // something of ours changed outside
	audit              // the slow timer
)

// edge runs one edge in one goroutine. The latest plan wins; plans that were
// overtaken are never seen. A slow edge delays nobody else.
type edge struct {
	name   string
	events <-chan struct{} // "look again", nil: none
	every  time.Duration   // audit, 0: never
	do     func(ctx context.Context, p *ha.Plan, w why) (err string)
	report *journal

	latest atomic.Pointer[ha.Plan]
	kick   chan struct{}
	gen    atomic.Uint64
	err    atomic.Pointer[string]
}

func (e *edge) offer(p *ha.Plan) {
	e.latest.Store(p)
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// run works until ctx ends. An attempt that failed as a whole is repeated with
// growing pauses even if nothing else happens. An audit is due after its time,
// however often plans change meanwhile; repeating counts as one.
func (e *edge) run(ctx context.Context) error {
	const firstRetry, lastRetry = time.Second, 30 * time.Second
	retry := time.Duration(0)
	var retryAt, auditAt time.Time
	if e.every > 0 {
		auditAt = time.Now().Add(e.every)
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if next := soonest(retryAt, auditAt); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		w := planned
		select {
		case <-ctx.Done():
			return nil
		case <-e.kick:
		case <-e.events:
			w = again
		case <-timer.C:
			w = audit
		}
		p := e.latest.Load()
		if p == nil {
			if w == audit && e.every > 0 {
				auditAt = time.Now().Add(e.every)
			}
			continue
		}
		if !auditAt.IsZero() && !time.Now().Before(auditAt) {
			w = audit
		}
		err := e.do(ctx, p, w)
		if ctx.Err() != nil {
			return nil
		}
		e.gen.Store(p.Gen)
		e.note(err)
		if w == audit && e.every > 0 {
			auditAt = time.Now().Add(e.every)
		}
		switch {
		case err == "":
			retry, retryAt = 0, time.Time{}
			continue
		case retry == 0:
			retry = firstRetry
		default:
			retry = min(2*retry, lastRetry)
		}
		retryAt = time.Now().Add(retry)
	}
}

// soonest is the earlier of two times; zero: never.
func soonest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// note tells the journal when the edge as a whole fails or recovers.
func (e *edge) note(err string) {
	was := e.failure()
	e.err.Store(&err)
	if was != err {
		e.report.edge(e.name, err)
	}
}

func (e *edge) failure() string {
	if s := e.err.Load(); s != nil {
		return *s
	}
	return ""
}
