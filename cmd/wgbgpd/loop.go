package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/ha"
)

// loop owns the core: it alone calls Step and Plan. Everybody else puts facts
// into the inbox or asks a question through ask.
type loop struct {
	log    *slog.Logger
	core   *ha.Core
	inbox  *inbox
	asks   chan func(now time.Time)
	edges  []applier
	events *journal
	config *configs.Config // in force
	plan   *ha.Plan        // last handed out
	beat   func()          // tells the watchdog that the loop turns
}

// applier is one edge: it is handed every new plan and always works on the
// latest one.
type applier interface{ offer(*ha.Plan) }

// run is the daemon's heart: take facts, let the core decide, hand out the plan.
// A failure is planned for at once; good news waits a moment for company.
func (l *loop) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var planAt time.Time // zero: nothing waits
	for {
		select {
		case <-ctx.Done():
			return nil
		case fn := <-l.asks:
			fn(time.Now())
		case <-l.inbox.kick:
		case <-timer.C:
		}
		now := time.Now()
		l.beat()
		facts := l.inbox.take()
		for _, f := range facts {
			l.core.Step(now, f)
		}
		if planAt.IsZero() && l.core.Changed() {
			planAt = now.Add(l.core.Config().Gateway.CoalesceDelay)
		}
		due := l.core.Due()
		if l.plan == nil || l.core.Urgent() || (!planAt.IsZero() && !now.Before(planAt)) || (!due.IsZero() && !now.Before(due)) {
			l.hand(l.core.Plan(now))
			planAt, due = time.Time{}, l.core.Due()
		}
		timer.Reset(l.rest(now, planAt, due))
	}
}

// rest is how long nothing needs to be done; at most a second, so that the
// watchdog sees the loop turn.
func (l *loop) rest(now, planAt, due time.Time) time.Duration {
	d := time.Second
	for _, t := range []time.Time{planAt, due} {
		if !t.IsZero() {
			d = min(d, max(t.Sub(now), 0))
		}
	}
	return d
}

// hand gives a new plan to the edges and the difference to the journal, causes
// before their consequences.
func (l *loop) hand(p *ha.Plan) {
	old := l.plan
	if p != old {
		for _, e := range l.edges {
			e.offer(p)
		}
		l.plan = p
	}
	l.events.transitions(l.core.Transitions())
	if p != old {
		l.events.plan(old, p)
	}
}

// ask runs fn in the loop, where the core may be read.
func (l *loop) ask(ctx context.Context, fn func(now time.Time)) error {
	done := make(chan struct{})
	select {
	case l.asks <- func(now time.Time) { defer close(done); fn(now) }:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave takes this host out of the paths of others: first it is announced as
// the last choice so that traffic moves, then everything is withdrawn, then a
// moment passes for what is still under way. Routes and tunnels stay. A second
// signal cuts it short.
func (l *loop) leave(ctx context.Context, hurry <-chan os.Signal) {
	var linger time.Duration
	if l.ask(ctx, func(time.Time) { linger = l.core.Config().Gateway.Linger }) != nil {
		return
	}
	for _, step := range []struct {
		phase ha.DrainPhase
		what  string
	}{{ha.DrainPrefer, "preference lowered"}, {ha.DrainWithdraw, "withdrawing"}} {
		l.events.system("draining", step.what)
		l.inbox.put(ha.Draining{Phase: step.phase})
		t := time.NewTimer(linger)
		select {
		case <-t.C:
		case <-hurry:
			return
		case <-ctx.Done():
			return
		}
	}
}

// wait passes time unless ctx ends first.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
