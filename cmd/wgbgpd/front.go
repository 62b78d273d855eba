package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/healthz"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
	"github.com/wgbgp/wgbgp/tgwconnect/front"
)

// entrance keeps this host where clients look for it: in target groups and in DNS.
// Without rules it asks nothing and loads no credentials.
type entrance struct {
	event  func(slog.Level, api.Event)
	aws    *lazyAWS
	leave  atomic.Uint32 // tgwconnect.Leave, as the core says
	runner *front.Runner

	mu   sync.Mutex
	used bool   // there are rules
	said string // the last error that an event told of
}

func newEntrance(cfg *configs.Config, board *healthz.Board, event func(slog.Level, api.Event), counters *ec2api.Counters, log *slog.Logger) *entrance {
	e := &entrance{event: event, aws: &lazyAWS{log: log, counters: counters}}
	e.runner = front.New(front.Options{
		API: e.aws, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), OnAction: e.acted,
		Presence: func() tgwconnect.Presence {
			return tgwconnect.Presence{Forwards: board.Get().Forwarding, Leave: tgwconnect.Leave(e.leave.Load())}
		},
	})
	e.set(cfg)
	return e
}

// set takes over a configuration.
func (e *entrance) set(cfg *configs.Config) {
	rules := front.Rules{Targets: cfg.Front.Targets, Records: cfg.Front.Records}
	e.mu.Lock()
	e.used = !rules.None()
	e.mu.Unlock()
	e.aws.setRegion(cfg.AWS.Region)
	e.runner.SetRules(rules)
}

// leaves is told how far this host has come in leaving.
func (e *entrance) leaves(l tgwconnect.Leave) {
	if e.leave.Swap(uint32(l)) != uint32(l) {
		e.runner.Wake()
	}
}

func (e *entrance) run(ctx context.Context) error { return e.runner.Run(ctx) }

// acted is told of every write and of every error. An error is told once, until
// something succeeds or another one comes.
func (e *entrance) acted(a front.Action, err error) {
	x := api.Event{Kind: api.EventAWS, Reason: "read"}
	what := ""
	switch {
	case a.Target != nil:
		t := a.Target
		x.Reason = string(t.Verb)
		what = fmt.Sprintf("aws-target-group %s, target %s port %d: ", t.Rule.Name, t.Rule.ID, t.Rule.Port)
		x.Detail = what + t.Why
	case a.Record != nil:
		r := a.Record
		x.Reason = string(r.Verb)
		what = fmt.Sprintf("aws-record %s, %s %s: ", r.Rule.Name, r.Rule.Record, r.Rule.SetID)
		x.Detail = what + r.Why
	}
	text := ""
	if err != nil {
		text = err.Error()
		if x.Detail = what + text; ec2api.IsThrottled(err) {
			x.Reason = "throttled"
		}
	}
	e.mu.Lock()
	known := text != "" && text == e.said
	e.said = text
	e.mu.Unlock()
	switch {
	case known:
	case err != nil:
		e.event(slog.LevelWarn, x)
	default:
		e.event(slog.LevelInfo, x)
	}
}

// failure is what is wrong now, as of an edge; used: there is anything to do.
func (e *entrance) failure() (text string, used bool) {
	e.mu.Lock()
	used = e.used
	e.mu.Unlock()
	s := e.runner.State()
	if s.Err != "" {
		return s.Err, used
	}
	for i := range s.Records {
		if r := &s.Records[i]; r.Problem {
			return "aws-record " + r.Rule.Name + ": " + r.Why, used
		}
	}
	return "", used
}

// AWSFront lists the target groups and records of this host.
func (b *backend) AWSFront(context.Context) (api.AWSFront, error) {
	s, now := b.entrance.runner.State(), time.Now()
	out := api.AWSFront{Schema: api.Schema, Read: api.At(s.Read, now), Error: s.Err}
	if s.Err != "" {
		out.RetrySeconds = max(0, s.Retry.Sub(now).Seconds())
	}
	for i := range s.Targets {
		t := &s.Targets[i]
		out.Targets = append(out.Targets, api.AWSTarget{
			Name: t.Rule.Name, Group: t.Rule.Group, ID: t.Rule.ID, Port: t.Rule.Port, State: t.State, Reason: t.Reason,
			Others: t.Others, Healthy: t.Healthy, Action: string(t.Verb), Why: t.Why,
		})
	}
	for i := range s.Records {
		r := &s.Records[i]
		x := api.AWSRecord{Name: r.Rule.Name, Zone: r.Rule.Zone, Record: r.Rule.Record, SetID: r.Rule.SetID, Action: string(r.Verb), Why: r.Why, Problem: r.Problem}
		for _, p := range r.Present {
			x.Present = append(x.Present, api.AWSRecordSet{Type: p.Type, Values: p.Values, Policy: string(p.Policy), Weight: p.Weight, TTLSeconds: p.TTL})
		}
		out.Records = append(out.Records, x)
	}
	return out, nil
}
