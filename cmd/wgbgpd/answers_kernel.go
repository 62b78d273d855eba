package main

import (
	"context"
	"time"

	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
)

// settleTime bounds how long CheckKernel waits for edges that are still at work
// on the latest plan.
const settleTime = 2 * time.Second

// CheckKernel reads everything back that the latest plan wants in the system
// and lists the differences. Edges that are still at work are given a moment.
func (b *backend) CheckKernel(ctx context.Context) ([]api.Problem, error) {
	p, err := b.settled(ctx)
	if err != nil || p == nil {
		return nil, err
	}
	complete, g := p.FIB.Complete, b.gateway
	var out []api.Problem
	for _, part := range []struct {
		object string
		read   func() ([]string, error)
	}{
		{"kernel wireguard", func() ([]string, error) { return g.wg.Check(ctx, p.Devices, complete) }},
		{"kernel tunnels", func() ([]string, error) { return g.gre.Check(p.Tunnels, complete) }},
		{"kernel routes", func() ([]string, error) { return g.fib.Check(ctx) }},
		{"kernel filter", func() ([]string, error) { return g.fib.CheckFilter(ctx) }},
	} {
		lines, err := part.read()
		for _, text := range lines {
			out = append(out, api.Problem{Severity: api.SeverityError, Object: part.object, Reason: "kernel-differs", Text: text})
		}
		if err != nil {
			out = append(out, api.Problem{Severity: api.SeverityError, Object: part.object, Reason: "kernel-unreadable", Text: err.Error()})
		}
	}
	return out, nil
}

// settled returns the latest plan once every edge has worked on it, or the
// latest one after settleTime.
func (b *backend) settled(ctx context.Context) (*ha.Plan, error) {
	deadline := time.Now().Add(settleTime)
	for {
		p, err := read(ctx, b, func(*ha.Core, time.Time) *ha.Plan { return b.loop.plan })
		if err != nil || p == nil {
			return nil, err
		}
		busy := false
		for _, e := range b.gateway.edges() {
			busy = busy || e.gen.Load() < p.Gen
		}
		if !busy || time.Now().After(deadline) {
			return p, nil
		}
		wait(ctx, 20*time.Millisecond)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}
