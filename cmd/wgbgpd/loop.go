package main

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/healthz"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// loop owns the core: it alone calls Step and Plan. Everybody else puts facts
// into the inbox or asks a question through ask.
type loop struct {
	log    *slog.Logger
	core   *ha.Core
	inbox  *inbox
	asks   chan func(now time.Time)
	edges  []applier
	losses *losses
	events *journal
	config *configs.Config // in force
	plan   *ha.Plan        // last handed out
	beat   func()          // tells the watchdog that the loop turns
	memory *memory
	board  *healthz.Board
	leaves func(tgwconnect.Leave) // is told how far this host has come in leaving; nil: nobody
	life   *lifeline
}

// applier is one edge: it is handed every new plan and always works on the
// latest one.
type applier interface{ offer(*ha.Plan) }

// run is the daemon's heart: take facts, let the core decide, hand out the plan.
// A failure is planned for at once, and so is news that comes alone and what an
// edge answers to a plan: the next step, such as announcing what is routed now,
// waits for it. News that follows other news waits a moment for company.
func (l *loop) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var newsAt, answerAt time.Time // when to plan for them; zero: nothing waits
	var pace pace
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
		facts, answered := l.inbox.take(), false
		for _, f := range facts {
			l.core.Step(now, f)
			answered = answered || isAnswer(f)
			if p, ok := f.(ha.PathsChanged); ok {
				l.memory.learned(len(p.Changes))
			}
		}
		if lost, news := l.core.Lost(); news && l.plan != nil {
			l.losses.tell(l.plan.Gen, lost)
		}
		if l.core.Changed() {
			if newsAt.IsZero() || len(facts) > 0 {
				newsAt = pace.news(now, l.core.Config().Gateway.CoalesceDelay)
			}
			if answered && l.waiting() {
				answerAt = soonest(answerAt, pace.answer(now))
			}
		}
		due := l.core.Due()
		at := soonest(soonest(newsAt, answerAt), due)
		if l.plan == nil || l.core.Urgent() || !at.IsZero() && !now.Before(at) {
			l.hand(l.core.Plan(now))
			pace.planned(now, time.Now())
			newsAt, answerAt = time.Time{}, time.Time{}
			at = l.core.Due()
		}
		l.post()
		timer.Reset(rest(now, at))
	}
}

// post tells who asks for this host's health.
func (l *loop) post() {
	f := l.core.Forwarding()
	if l.leaves != nil {
		l.leaves(l.core.Leave())
	}
	v := healthz.Verdict{Forwarding: f.OK}
	for _, w := range f.Why {
		v.Reasons = append(v.Reasons, string(w.Reason))
	}
	if l.board.Set(v) && l.config != nil && l.config.Health.Listens() {
		l.events.forwarding(f)
	}
}

// waiting reports whether something is only held back until an edge has done its
// part. Otherwise an answer is no hurry: what is taken away step by step, the
// route and then the allowed IP, has packets under way in between.
func (l *loop) waiting() bool {
	return l.plan != nil && slices.ContainsFunc(l.plan.Withheld, func(h ha.Withheld) bool { return h.Reason.Passing() })
}

// pace says how long good news waits.
type pace struct {
	last time.Time     // the end of the last plan
	cost time.Duration // how long it took
}

// shareOfPlans bounds what planning takes of a core while news keeps coming:
// one part in so many. It only matters for tables that take milliseconds.
const shareOfPlans = 3

func (p *pace) planned(begin, end time.Time) { p.last, p.cost = end, end.Sub(begin) }

// news is when to plan for what was learned now, if nothing more is: at once when
// the last plan is so long ago, else that long after it. A plan that costs more
// than that is put off until no more news comes, within limits.
func (p *pace) news(now time.Time, coalesce time.Duration) time.Time {
	at := p.last.Add(coalesce)
	if limit := p.last.Add((shareOfPlans - 1) * p.cost); limit.After(at) {
		at = latest(at, now.Add(coalesce))
		at = soonest(at, limit)
	}
	return latest(at, now)
}

// answer is when to plan for an edge's answer: there is at most one for each plan
// and edge.
func (p *pace) answer(now time.Time) time.Time { return latest(p.last.Add(p.cost), now) }

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// isAnswer reports whether a fact is what an edge made of a plan.
func isAnswer(f ha.Fact) bool {
	switch f.(type) {
	case ha.WireGuardApplied, ha.RoutesApplied, ha.AnnounceApplied:
		return true
	}
	return false
}

// rest is how long nothing needs to be done; at most a second, so that the
// watchdog sees the loop turn.
func rest(now, at time.Time) time.Duration {
	if at.IsZero() {
		return time.Second
	}
	return min(time.Second, max(at.Sub(now), 0))
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
	moves := l.core.Transitions()
	if len(moves) > 0 && l.life != nil {
		l.life.moved.Store(true)
	}
	l.events.transitions(moves)
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

// wait passes time unless ctx ends first.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
