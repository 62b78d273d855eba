package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// API is what the runner needs of EC2. Its writes are not repeated by whoever
// implements it: the runner looks before it tries again.
type API interface {
	DescribeRouteTables(ctx context.Context, ids []string) ([]tgwconnect.VPCRouteTable, error)
	// SearchTransitGatewayRoutes lists the routes of a TGW route table that have
	// exactly one of the prefixes.
	SearchTransitGatewayRoutes(ctx context.Context, table string, prefixes []netip.Prefix) ([]tgwconnect.TGWRoute, error)
	CreateRoute(ctx context.Context, n tgwconnect.NewVPCRoute) error
	ReplaceRoute(ctx context.Context, n tgwconnect.NewVPCRoute) error
	DeleteRoute(ctx context.Context, table string, p netip.Prefix) error
	CreateTransitGatewayRoute(ctx context.Context, n tgwconnect.NewTGWRoute) error
	ReplaceTransitGatewayRoute(ctx context.Context, n tgwconnect.NewTGWRoute) error
	DeleteTransitGatewayRoute(ctx context.Context, table string, p netip.Prefix) error
}

// Options of a runner. Zero durations take the defaults.
type Options struct {
	API    API
	Logger *slog.Logger
	Rand   *rand.Rand
	// Poll is how often tables are read though nothing happened; 5 min, never less
	// than a minute.
	Poll time.Duration
	// OnAction is told of every write and of every error, for events.
	OnAction func(a tgwconnect.RouteAction, err error)
}

// Settling: after a write the table is read again, because another host may have
// written at the same moment, and after news of who carries a prefix, because the
// host that does may not have written yet. Contest is how long a write of another
// host counts as such.
const (
	settleAfter = 2 * time.Second
	settleFor   = 8 * time.Second
	contest     = 15 * time.Second
	firstRetry  = time.Second
	lastRetry   = time.Minute
)

// key is one entry of one table.
type key struct {
	table  string
	prefix netip.Prefix
}

// attempt is a write by this host, which may have been refused or its answer lost.
type attempt struct {
	at   time.Time
	from tgwconnect.RouteEntry // what it was to change
	to   string                // where it should lead; empty: nowhere
	sure bool                  // AWS said that it is done, or showed it
}

// lost reports whether somebody wrote after it, given what is there now. Without an
// answer, an entry that is as it was may just never have been changed.
func (a attempt) lost(now tgwconnect.RouteEntry) bool {
	return a.sure || now.Target != a.from.Target || now.Present != a.from.Present
}

// Entry is what is known and meant about one entry, for operators.
type Entry struct {
	tgwconnect.RouteAction
	Hold    tgwconnect.Hold
	Read    time.Time
	Written time.Time // by this host; zero: never
}

// Runner follows claims. Set and SetRules may be called from anywhere.
type Runner struct {
	o    Options
	kick chan struct{}

	mu     sync.Mutex
	rules  []tgwconnect.RouteRule
	claims []tgwconnect.Claim
	ready  bool                  // there are claims
	news   map[netip.Prefix]bool // changed since the last turn began
	seen   []Entry
	err    string
	retry  time.Time

	// Of turn alone.
	written map[key]attempt
	since   map[netip.Prefix]time.Time // of the turn that saw the claim change last
	yielded map[key]bool
	held    map[netip.Prefix]tgwconnect.Claim
	fails   int
}

// New makes a runner without rules.
func New(o Options) *Runner {
	if o.Poll == 0 {
		o.Poll = 5 * time.Minute
	}
	o.Poll = max(o.Poll, time.Minute)
	if o.OnAction == nil {
		o.OnAction = func(tgwconnect.RouteAction, error) {}
	}
	return &Runner{o: o, kick: make(chan struct{}, 1), written: map[key]attempt{}, since: map[netip.Prefix]time.Time{}, news: map[netip.Prefix]bool{}, yielded: map[key]bool{}, held: map[netip.Prefix]tgwconnect.Claim{}}
}

// SetRules replaces the rules.
func (r *Runner) SetRules(rules []tgwconnect.RouteRule) {
	r.mu.Lock()
	r.rules = rules
	r.mu.Unlock()
	r.wake()
}

// Set replaces the claims, sorted by prefix.
func (r *Runner) Set(claims []tgwconnect.Claim) {
	r.mu.Lock()
	same := r.ready && slices.Equal(r.claims, claims)
	if !same {
		// Noted here, not by the next turn: one that waits for an answer would miss
		// what changes and changes back meanwhile.
		for _, c := range claims {
			if !r.ready || !slices.Contains(r.claims, c) {
				r.news[c.Prefix] = true
			}
		}
	}
	r.claims, r.ready = claims, true
	r.mu.Unlock()
	if !same {
		r.wake()
	}
}

func (r *Runner) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// State is every entry as last read, the last error and when it is tried again.
func (r *Runner) State() (entries []Entry, err string, retry time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen, r.err, r.retry
}

// Run works until ctx ends.
func (r *Runner) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.kick:
		case <-timer.C:
		}
		now := time.Now()
		timer.Reset(max(r.Turn(ctx, now).Sub(now), 0))
	}
}

// Turn reads the tables, writes what must change and returns when to come again
// if nothing happens before.
func (r *Runner) Turn(ctx context.Context, now time.Time) time.Time {
	r.mu.Lock()
	rules, claims, ready := r.rules, r.claims, r.ready
	if len(rules) == 0 || !ready {
		r.mu.Unlock()
		return now.Add(r.o.Poll)
	}
	news := r.news
	r.news = map[netip.Prefix]bool{}
	r.mu.Unlock()
	r.forgive(news, claims, now)
	seen, wrote, err := r.work(ctx, now, rules, claims)
	next := now.Add(r.jitter(r.o.Poll))
	if err != nil {
		r.fails++
		next = now.Add(r.jitter(min(firstRetry<<min(r.fails-1, 10), lastRetry)))
	} else {
		r.fails = 0
	}
	if wrote || r.settling(now) {
		next = soonest(next, now.Add(r.jitter(settleAfter)))
	}
	r.mu.Lock()
	if seen != nil {
		r.seen = seen
	}
	r.err, r.retry = "", time.Time{}
	if err != nil {
		r.err, r.retry = err.Error(), next
	}
	r.mu.Unlock()
	return next
}

// forgive lets this host try again where who carries the prefix has changed since
// it gave way.
func (r *Runner) forgive(news map[netip.Prefix]bool, claims []tgwconnect.Claim, now time.Time) {
	for p := range news {
		r.since[p] = now
	}
	maps.DeleteFunc(r.yielded, func(k key, _ bool) bool { return news[k.prefix] })
	clear(r.held)
	for _, c := range claims {
		r.held[c.Prefix] = c
	}
}

func (r *Runner) settling(now time.Time) bool {
	recent := func(at time.Time) bool { return now.Sub(at) < settleFor }
	for _, at := range r.since {
		if recent(at) {
			return true
		}
	}
	for _, w := range r.written {
		if recent(w.at) {
			return true
		}
	}
	return false
}

// work is one round. Failures of one entry do not keep it from the others.
func (r *Runner) work(ctx context.Context, now time.Time, rules []tgwconnect.RouteRule, claims []tgwconnect.Claim) (seen []Entry, wrote bool, err error) {
	entries, err := r.read(ctx, rules)
	if err != nil {
		return nil, false, err
	}
	var errs []error
	for i := range rules {
		rule := &rules[i]
		for _, e := range entries[i] {
			k := key{e.Table, e.Prefix}
			w, ours := r.written[k]
			if ours && w.to != "" && e.Target == w.to {
				w.sure = true // there it is
				r.written[k] = w
			}
			// A write from before the last news of who carries the prefix says nothing of
			// now: the preferred host may just have lost it.
			ours = ours && !w.at.Before(r.since[e.Prefix]) && now.Sub(w.at) < contest
			if ours && e.Present && !e.Dead && rule.Precedes(e) && w.lost(e) {
				r.yielded[k] = true // both hosts wrote, and the other one is preferred
			}
		}
		for _, a := range rule.Decide(entries[i], claims, func(t string, p netip.Prefix) bool { return r.yielded[key{t, p}] }) {
			k := key{a.Entry.Table, a.Entry.Prefix}
			if a.Verb != tgwconnect.RouteLeave {
				werr := r.write(ctx, a)
				r.o.OnAction(a, werr)
				r.written[k], wrote = attempt{now, a.Entry, a.To, werr == nil}, true
				if werr != nil {
					errs = append(errs, werr)
				}
			}
			seen = append(seen, Entry{RouteAction: a, Hold: r.held[a.Entry.Prefix].Hold, Read: now, Written: r.written[k].at})
		}
	}
	return seen, wrote, errors.Join(errs...)
}

// read asks once for all VPC tables and once for each TGW table.
func (r *Runner) read(ctx context.Context, rules []tgwconnect.RouteRule) ([][]tgwconnect.RouteEntry, error) {
	var vpc []string
	tgw := map[string][]netip.Prefix{}
	for i := range rules {
		vpc = append(vpc, rules[i].VPCTables...)
		for _, t := range rules[i].TGWTables {
			tgw[t] = append(tgw[t], rules[i].Prefixes...)
		}
	}
	slices.Sort(vpc)
	tables := map[string]tgwconnect.VPCRouteTable{}
	if vpc = slices.Compact(vpc); len(vpc) > 0 {
		got, err := r.o.API.DescribeRouteTables(ctx, vpc)
		if err != nil {
			return nil, err
		}
		for _, t := range got {
			tables[t.ID] = t
		}
	}
	routes := map[string][]tgwconnect.TGWRoute{}
	for t, prefixes := range tgw {
		got, err := r.o.API.SearchTransitGatewayRoutes(ctx, t, prefixes)
		if err != nil {
			return nil, err
		}
		routes[t] = got
	}
	out := make([][]tgwconnect.RouteEntry, len(rules))
	for i := range rules {
		rule := &rules[i]
		for _, id := range rule.VPCTables {
			t, ok := tables[id]
			if !ok {
				return nil, fmt.Errorf("route table %s: not in the answer of DescribeRouteTables", id)
			}
			out[i] = append(out[i], rule.VPCEntries(&t)...)
		}
		for _, id := range rule.TGWTables {
			out[i] = append(out[i], rule.TGWEntries(id, routes[id])...)
		}
	}
	return out, nil
}

func (r *Runner) write(ctx context.Context, a tgwconnect.RouteAction) error {
	e := a.Entry
	if e.TGW {
		n := tgwconnect.NewTGWRoute{RouteTableID: e.Table, Prefix: e.Prefix, AttachmentID: a.To, Blackhole: a.To == ""}
		switch a.Verb {
		case tgwconnect.RouteCreate:
			return r.o.API.CreateTransitGatewayRoute(ctx, n)
		case tgwconnect.RouteReplace:
			return r.o.API.ReplaceTransitGatewayRoute(ctx, n)
		}
		return r.o.API.DeleteTransitGatewayRoute(ctx, e.Table, e.Prefix)
	}
	n := tgwconnect.NewVPCRoute{RouteTableID: e.Table, Prefix: e.Prefix, Target: tgwconnect.RouteTarget{InterfaceID: a.To}}
	switch a.Verb {
	case tgwconnect.RouteCreate:
		return r.o.API.CreateRoute(ctx, n)
	case tgwconnect.RouteReplace:
		return r.o.API.ReplaceRoute(ctx, n)
	}
	return r.o.API.DeleteRoute(ctx, e.Table, e.Prefix)
}

// jitter spreads hosts that share one bucket of API requests: 75 to 125 %.
func (r *Runner) jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(r.o.Rand.Int64N(int64(d/2)+1))
}

func soonest(a, b time.Time) time.Time { return slices.MinFunc([]time.Time{a, b}, time.Time.Compare) }
