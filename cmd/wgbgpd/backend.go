package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/bgp/speaker"
	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/healthz"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

// backend answers the control API. Everything about the core is read inside
// the loop; edges are asked directly.
type backend struct {
	loop      *loop
	gateway   *gateway
	health    *healthz.Server
	drainer   *drainer
	awsRoutes *awsRoutes
	entrance  *entrance
	requests  *ec2api.Counters // to AWS, of the whole daemon
	orders    steered
	kept      kept
	discovery *discovery
	file      string
	level     *slog.LevelVar
	started   time.Time
	restart   chan struct{} // an operator's order, capacity 1

	stores    *stores
	reload    sync.Mutex        // one reload at a time, guards stale
	stale     map[string]string // secrets that can not be read, with why
	mu        sync.Mutex        // guards the next three
	loaded    time.Time
	attempted time.Time
	failed    string
}

// read runs fn where the core may be read and returns what it made.
func read[T any](ctx context.Context, b *backend, fn func(c *ha.Core, now time.Time) T) (v T, err error) {
	var out T // not v: after a time-out fn may still be running
	err = b.loop.ask(ctx, func(now time.Time) { out = fn(b.loop.core, now) })
	if err != nil {
		return v, err
	}
	return out, nil
}

// Events is the log of what happened.
func (b *backend) Events() *api.EventLog { return b.loop.events.out }

// SetSite disables or enables a site. The server logs who ordered it.
func (b *backend) SetSite(_ context.Context, site string, disabled, keep bool) error {
	if err := b.kept.disable(site, disabled, keep); err != nil {
		return err
	}
	b.loop.inbox.put(ha.SiteSet{Site: site, Disabled: disabled})
	return nil
}

// Drain begins an operator's drain.
func (b *backend) Drain(_ context.Context, o api.Drain) error { return b.drainer.Drain(o) }

// Undrain ends it.
func (b *backend) Undrain(context.Context) error { return b.drainer.Undrain() }

// ResetNeighbor closes one session so that it starts again.
func (b *backend) ResetNeighbor(_ context.Context, neighbor string) error {
	return b.gateway.speaker.Reset(neighbor, speaker.ResetHard)
}

// Reload reads the configuration again. It is all or nothing: with any error
// the running configuration stays in force.
func (b *backend) Reload(ctx context.Context) (api.ConfigReport, error) {
	b.reload.Lock()
	defer b.reload.Unlock()
	r, cfg := b.compare(ctx, b.file)
	now := time.Now()
	b.mu.Lock()
	b.attempted, b.failed = now, ""
	if !r.OK {
		b.failed = firstProblem(r)
	}
	b.mu.Unlock()
	if !r.OK {
		b.loop.events.event(slog.LevelError, api.Event{Kind: api.EventConfig, Reason: "invalid", Detail: firstProblem(r)})
		return r, nil
	}
	if err := b.adopt(ctx, cfg); err != nil {
		return r, err
	}
	b.level.Set(cfg.Log.Level)
	b.health.Set(cfg.Health.Config)
	if b.discovery != nil {
		b.discovery.adopt(cfg)
	}
	b.mu.Lock()
	b.loaded = now
	b.mu.Unlock()
	r.Applied = true
	b.loop.events.event(slog.LevelInfo, api.Event{Kind: api.EventConfig, Reason: "reloaded", Detail: fmt.Sprintf("%d changes", len(r.Changes))})
	return r, nil
}

// ConfigDiff says what a reload with another file would change.
func (b *backend) ConfigDiff(ctx context.Context, path string) (api.ConfigReport, error) {
	r, _ := b.compare(ctx, path)
	return r, nil
}

// compare loads a file and sets it against what runs. Changes that only a
// restart can bring make it an error: taking over the rest would be neither the
// old configuration nor the new one.
func (b *backend) compare(ctx context.Context, path string) (api.ConfigReport, *configs.Config) {
	r := api.ConfigReport{Schema: api.Schema, File: path}
	cfg, warnings, err := configs.Load(path, b.options())
	for _, w := range warnings {
		r.Warnings = append(r.Warnings, problem(w))
	}
	var ps configs.Problems
	switch {
	case errors.As(err, &ps):
		for _, p := range ps {
			r.Errors = append(r.Errors, problem(p))
		}
		return r, nil
	case err != nil:
		r.Errors = append(r.Errors, api.ConfigProblem{File: path, Problem: err.Error()})
		return r, nil
	}
	running, err := b.running(ctx)
	if err != nil {
		r.Errors = append(r.Errors, api.ConfigProblem{File: path, Problem: "the daemon does not answer: " + err.Error()})
		return r, nil
	}
	for _, c := range configs.Diff(running, cfg) {
		r.Changes = append(r.Changes, change(c))
		if c.Class == configs.Restart {
			r.Errors = append(r.Errors, api.ConfigProblem{
				File: path, Key: strings.TrimSpace(c.Object + " " + strings.Join(c.Keys, ", ")), Problem: "can not change while the daemon runs",
				Cure: "put the old value back, or restart wgbgpd",
			})
		}
	}
	r.OK = len(r.Errors) == 0
	return r, cfg
}

func (b *backend) running(ctx context.Context) (*configs.Config, error) {
	return read(ctx, b, func(*ha.Core, time.Time) *configs.Config { return b.loop.config })
}

func problem(p configs.Problem) api.ConfigProblem {
	return api.ConfigProblem{Code: p.Code, File: p.File, Line: p.Line, Key: p.Key, Problem: p.Text, Cure: p.Cure}
}

func change(c configs.Change) api.ConfigChange {
	return api.ConfigChange{Class: string(c.Class), Object: c.Object, Action: string(c.Action), Keys: c.Keys}
}

func firstProblem(r api.ConfigReport) string {
	if len(r.Errors) == 0 {
		return ""
	}
	p := r.Errors[0]
	s := fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Key, p.Problem)
	if n := len(r.Errors) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

// ConfigShow is the configuration in force, with secrets as references.
func (b *backend) ConfigShow(ctx context.Context) (api.Config, error) {
	cfg, err := b.running(ctx)
	if err != nil {
		return api.Config{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return api.Config{
		Schema: api.Schema, File: b.file, Loaded: api.At(b.loaded, time.Now()), Files: cfg.Files, Text: configs.Show(cfg),
	}, nil
}
