package front

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// API is what the runner needs of load balancers and DNS.
type API interface {
	// InstanceID is that of this instance.
	InstanceID(ctx context.Context) (string, error)
	DescribeTargetHealth(ctx context.Context, group string) ([]tgwconnect.TargetHealth, error)
	RegisterTargets(ctx context.Context, group, id string, port int) error
	DeregisterTargets(ctx context.Context, group, id string, port int) error
	// ListResourceRecordSets lists the records of exactly that name.
	ListResourceRecordSets(ctx context.Context, zone, name string) ([]tgwconnect.RecordSet, error)
	ChangeResourceRecordSets(ctx context.Context, zone string, changes []tgwconnect.RecordChange) error
}

// Rules are what this host should be in.
type Rules struct {
	Targets []tgwconnect.TargetRule
	Records []tgwconnect.RecordRule
}

// None reports whether there is nothing to do.
func (r *Rules) None() bool { return len(r.Targets)+len(r.Records) == 0 }

// Options of a runner. Zero durations take the defaults.
type Options struct {
	API  API
	Rand *rand.Rand
	// Presence is asked each second; it must not block.
	Presence func() tgwconnect.Presence
	// Poll is how often AWS is asked though nothing happened; 5 min.
	Poll time.Duration
	// Backoff is how long to wait after an error, the n-th in a row from 1 on; nil:
	// from one second, doubled up to a minute.
	Backoff func(n int) time.Duration
	// OnAction is told of every write, for events. It has neither target nor record
	// when what failed was reading.
	OnAction func(a Action, err error)
}

// Action is a write that was tried.
type Action struct {
	Target *tgwconnect.TargetAction
	Record *tgwconnect.RecordAction
}

// Times of the runner: how often it looks whether something has changed here, how
// soon after a write it reads what has come of it, and how often it asks for what a
// leaving host waits for.
const (
	lookEvery   = time.Second
	settleAfter = 5 * time.Second
	leaveEvery  = 2 * time.Second
	firstRetry  = time.Second
	lastRetry   = time.Minute
)

// State is what was read and decided last.
type State struct {
	Targets []tgwconnect.TargetAction
	Records []tgwconnect.RecordAction
	Read    time.Time // zero: never
	Err     string    // of the last turn; empty: none
	Retry   time.Time
}

// Runner keeps rules. SetRules may be called from anywhere.
type Runner struct {
	o    Options
	kick chan struct{}

	mu      sync.Mutex
	rules   Rules
	state   State
	done    bool             // the last turn did everything
	as      tgwconnect.Leave // that was to be done then
	unseen  bool             // and a load balancer still sent flows here
	changed time.Time        // of this host's records, by this runner; zero: never
	steady  map[string]tgwconnect.Steady
	last    []modeOf
	fails   int
	self    string // this instance, empty: not known
}

// modeOf is what a turn depends on, to see whether another one is due.
type modeOf struct {
	tgwconnect.Presence
	up, known bool
}

// New makes a runner without rules.
func New(o Options) *Runner {
	if o.Poll == 0 {
		o.Poll = 5 * time.Minute
	}
	if o.OnAction == nil {
		o.OnAction = func(Action, error) {}
	}
	if o.Backoff == nil {
		o.Backoff = func(n int) time.Duration { return min(firstRetry<<min(n-1, 10), lastRetry) }
	}
	return &Runner{o: o, kick: make(chan struct{}, 1), steady: map[string]tgwconnect.Steady{}}
}

// SetRules replaces the rules. What a rule that is gone had written stays.
func (r *Runner) SetRules(rules Rules) {
	r.mu.Lock()
	r.rules = rules
	r.mu.Unlock()
	r.Wake()
}

// Wake says that something has changed.
func (r *Runner) Wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// State is what is known now.
func (r *Runner) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Used reports whether there are rules.
func (r *Runner) Used() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.rules.None()
}

// Noticed reports whether a leaving host has been noticed everywhere: no load
// balancer starts a new flow here, and nobody can have an old record in a cache.
// Without target groups nobody can say.
func (r *Runner) Noticed(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.rules.Targets) == 0 || !r.done || r.as != tgwconnect.Leaving || r.unseen {
		return false
	}
	for i := range r.rules.Records {
		if x := &r.rules.Records[i]; now.Before(r.changed.Add(x.TTL)) {
			return false
		}
	}
	return true
}

// Left reports whether everything has been done that a host does that has left.
func (r *Runner) Left() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rules.None() || r.done && r.as == tgwconnect.Left
}

// Run works until ctx ends.
func (r *Runner) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var next time.Time
	for {
		now := time.Now()
		if r.Look(now) || !now.Before(next) {
			next = r.Turn(ctx, now)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.kick:
			next = time.Time{}
		case <-tick.C:
		}
	}
}

// Look observes this host, and says whether it is time for a turn.
func (r *Runner) Look(now time.Time) bool {
	p := r.o.Presence()
	r.mu.Lock()
	defer r.mu.Unlock()
	modes := []modeOf{{Presence: p}}
	steady := map[string]tgwconnect.Steady{}
	for i := range r.rules.Records {
		x := &r.rules.Records[i]
		s := r.steady[x.Name]
		if p.Leave == tgwconnect.Staying { // a leaving host says nothing of whether it could
			s.See(now, p.Forwards, x.DownAfter, x.UpAfter)
		}
		steady[x.Name] = s
		up, known := s.Up()
		modes = append(modes, modeOf{up: up, known: known})
	}
	r.steady = steady
	if slices.Equal(modes, r.last) {
		return false
	}
	r.last = modes
	return true
}

// Turn reads, writes what must change, and returns when to come again if nothing
// happens before.
func (r *Runner) Turn(ctx context.Context, now time.Time) time.Time {
	p := r.o.Presence()
	r.mu.Lock()
	rules, steady := r.rules, r.steady // Look makes a new one each time
	r.done = r.done && r.as == p.Leave
	r.mu.Unlock()
	if rules.None() {
		return now.Add(r.o.Poll)
	}
	s := State{Read: now}
	var errs []error
	wrote := false
	for _, rule := range rules.Targets {
		a, err := r.target(ctx, &rule, p)
		s.Targets, errs, wrote = append(s.Targets, a), append(errs, err), wrote || a.Verb != tgwconnect.TargetLeave
	}
	for i := range rules.Records {
		a, err := r.record(ctx, now, &rules.Records[i], p, steady[rules.Records[i].Name])
		s.Records, errs, wrote = append(s.Records, a), append(errs, err), wrote || a.Verb != tgwconnect.RecordLeave
	}
	next := now.Add(r.jitter(r.o.Poll))
	err := errors.Join(errs...)
	switch {
	case err != nil:
		r.fails++
		next = now.Add(r.jitter(r.o.Backoff(r.fails)))
		s.Err, s.Retry = err.Error(), next
	case wrote:
		next = now.Add(r.jitter(settleAfter))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = s
	if err != nil {
		return next
	}
	r.fails = 0
	r.done, r.as, r.unseen = true, p.Leave, slices.ContainsFunc(s.Targets, func(a tgwconnect.TargetAction) bool { return !a.Noticed() })
	if p.Leave == tgwconnect.Leaving && r.unseen {
		next = now.Add(leaveEvery)
	}
	return next
}

// target does what one target group needs.
func (r *Runner) target(ctx context.Context, rule *tgwconnect.TargetRule, p tgwconnect.Presence) (tgwconnect.TargetAction, error) {
	found, err := r.targets(ctx, rule)
	if err != nil {
		r.o.OnAction(Action{}, err)
		return tgwconnect.TargetAction{Rule: *rule, Verb: tgwconnect.TargetLeave, Why: "not read: " + err.Error()}, err
	}
	a := rule.Decide(found, p)
	switch a.Verb {
	case tgwconnect.TargetRegister:
		err = r.o.API.RegisterTargets(ctx, rule.Group, rule.ID, rule.Port)
	case tgwconnect.TargetDeregister:
		err = r.o.API.DeregisterTargets(ctx, rule.Group, rule.ID, rule.Port)
	default:
		return a, nil
	}
	r.o.OnAction(Action{Target: &a}, err)
	return a, err
}

// targets reads a target group, and fills in this instance where the rule names none.
func (r *Runner) targets(ctx context.Context, rule *tgwconnect.TargetRule) ([]tgwconnect.TargetHealth, error) {
	if rule.ID == "" && r.self == "" {
		id, err := r.o.API.InstanceID(ctx)
		if err != nil {
			return nil, err
		}
		r.self = id
	}
	if rule.ID == "" {
		rule.ID = r.self
	}
	return r.o.API.DescribeTargetHealth(ctx, rule.Group)
}

// record does what the records of one name need.
func (r *Runner) record(ctx context.Context, now time.Time, rule *tgwconnect.RecordRule, p tgwconnect.Presence, s tgwconnect.Steady) (tgwconnect.RecordAction, error) {
	var found []tgwconnect.RecordSet
	for _, name := range []string{rule.Record, rule.OwnerName()} {
		list, err := r.o.API.ListResourceRecordSets(ctx, rule.Zone, name)
		if err != nil {
			r.o.OnAction(Action{}, err)
			return tgwconnect.RecordAction{Rule: *rule, Verb: tgwconnect.RecordLeave, Why: "not read: " + err.Error()}, err
		}
		found = append(found, list...)
	}
	a := rule.Decide(found, p, s)
	if a.Verb == tgwconnect.RecordLeave {
		return a, nil
	}
	err := r.o.API.ChangeResourceRecordSets(ctx, rule.Zone, a.Changes)
	r.mu.Lock()
	r.changed = now // if only its answer was lost
	r.mu.Unlock()
	r.o.OnAction(Action{Record: &a}, err)
	return a, err
}

// jitter spreads hosts that share one bucket of API requests: 75 to 125 %.
func (r *Runner) jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(r.o.Rand.Int64N(int64(d/2)+1))
}
