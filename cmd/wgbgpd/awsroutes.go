package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
	"github.com/wgbgp/wgbgp/tgwconnect/failover"
)

// awsRoutes keeps route tables of AWS pointing at the host that carries a prefix.
// Without rules it does nothing at all and loads no credentials.
type awsRoutes struct {
	journal  *journal
	counters *ec2api.Counters
	log      *slog.Logger

	mu     sync.Mutex
	rules  []tgwconnect.RouteRule
	router netip.Addr
	region string
	claims []tgwconnect.Claim
	runner *failover.Runner // nil: not begun
	err    string           // why it could not begin
	kick   chan struct{}
}

func newAWSRoutes(j *journal, counters *ec2api.Counters, log *slog.Logger) *awsRoutes {
	return &awsRoutes{journal: j, counters: counters, log: log, kick: make(chan struct{}, 1)}
}

// set takes over a configuration.
func (a *awsRoutes) set(cfg *configs.Config) {
	a.mu.Lock()
	a.rules, a.router, a.region = cfg.Routes, cfg.Core.Gateway.RouterID, cfg.AWS.Region
	a.mu.Unlock()
	a.wake()
}

// offer takes what a plan says of who carries what.
func (a *awsRoutes) offer(p *ha.Plan) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.claims = p.Claims
	if a.runner != nil {
		a.runner.Set(p.Claims)
	}
}

func (a *awsRoutes) wake() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// run begins when there are rules, and goes on until ctx ends.
func (a *awsRoutes) run(ctx context.Context) error {
	var client *ec2api.Client
	asked := "" // the region of client
	stop := func() {}
	var done sync.WaitGroup
	defer done.Wait()
	defer func() { stop() }()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.kick:
		case <-retry.C:
		}
		a.mu.Lock()
		rules, router, region, runner := slices.Clone(a.rules), a.router, a.region, a.runner
		a.mu.Unlock()
		if len(rules) == 0 && runner == nil {
			continue
		}
		if region != asked { // another region's tables, by another client
			stop()
			client, runner, asked = nil, nil, region
		}
		err := func() (err error) {
			if client == nil {
				if client, err = ec2api.New(ctx, ec2api.Options{Region: region, Logger: a.log, Counters: a.counters}); err != nil {
					return err
				}
			}
			return ownTargets(ctx, client, rules, router)
		}()
		if err != nil {
			a.fail(err)
			retry.Reset(20*time.Second + rand.N(20*time.Second))
			continue
		}
		if runner == nil {
			runner = failover.New(failover.Options{
				API: ec2api.Routes{Client: client}, Logger: a.log, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), OnAction: a.acted,
			})
			own, cancel := context.WithCancel(ctx)
			stop = cancel
			done.Go(func() { _ = runner.Run(own) })
		}
		runner.SetRules(rules)
		a.mu.Lock()
		a.runner, a.err = runner, ""
		runner.Set(a.claims)
		a.mu.Unlock()
	}
}

// ownTargets fills in the interface of this instance where a rule names none.
func ownTargets(ctx context.Context, client *ec2api.Client, rules []tgwconnect.RouteRule, router netip.Addr) error {
	var self tgwconnect.Self
	for i := range rules {
		r := &rules[i]
		if r.OwnInterface == "" && len(r.VPCTables) > 0 {
			if self.InstanceID == "" {
				var err error
				if self, err = client.Self(ctx); err != nil {
					return err
				}
			}
			own, err := ownInterface(self, router)
			if err != nil {
				return fmt.Errorf("aws-route %s: %w", r.Name, err)
			}
			r.OwnInterface = own
		}
	}
	return nil
}

// ownInterface is the only interface of an instance, or the one that has the
// gateway's router ID.
func ownInterface(self tgwconnect.Self, router netip.Addr) (string, error) {
	if len(self.Interfaces) == 1 {
		return self.Interfaces[0].ID, nil
	}
	for _, n := range self.Interfaces {
		if slices.Contains(n.Addresses, router) {
			return n.ID, nil
		}
	}
	return "", errors.New("this instance has several interfaces and none with the router ID: name one with interface = \"eni-...\"")
}

func (a *awsRoutes) fail(err error) {
	a.mu.Lock()
	news := a.err != err.Error()
	a.err = err.Error()
	a.mu.Unlock()
	if news {
		a.journal.event(slog.LevelWarn, api.Event{Kind: api.EventAWS, Reason: "unreachable", Detail: err.Error()})
	}
}

// acted is told of every write.
func (a *awsRoutes) acted(x tgwconnect.RouteAction, err error) {
	p := x.Entry.Prefix
	e := api.Event{Kind: api.EventAWS, Prefix: p, Reason: string(x.Verb), Detail: fmt.Sprintf("%s %s: %s", x.Entry.Table, x.To, x.Why)}
	level := slog.LevelInfo
	if err != nil {
		level, e.Detail = slog.LevelWarn, fmt.Sprintf("%s %s: %v", x.Entry.Table, x.To, err)
	}
	a.journal.event(level, e)
}

// AWSRoutes lists the entries that follow the sites.
func (b *backend) AWSRoutes(context.Context) (api.AWSRouteList, error) {
	a, now := b.awsRoutes, time.Now()
	a.mu.Lock()
	runner, text, rules := a.runner, a.err, len(a.rules)
	a.mu.Unlock()
	out := api.AWSRouteList{Schema: api.Schema, Rules: rules, Error: text}
	if runner == nil {
		return out, nil
	}
	entries, text, retry := runner.State()
	if text != "" {
		out.Error, out.RetrySeconds = text, max(0, retry.Sub(now).Seconds())
	}
	for _, e := range entries {
		out.Entries = append(out.Entries, api.AWSRoute{
			Rule: e.Rule, Table: e.Entry.Table, Prefix: e.Entry.Prefix, Target: e.Entry.Target, Present: e.Entry.Present, Blackhole: e.Entry.Dead,
			Holder: e.Hold.String(), Action: string(e.Verb), To: e.To, Why: e.Why, Problem: e.Problem,
			Read: api.At(e.Read, now), Written: api.At(e.Written, now),
		})
	}
	return out, nil
}
