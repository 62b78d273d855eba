package main

import (
	"context"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/version"
)

// Status is the one-screen summary.
func (b *backend) Status(ctx context.Context) (api.Status, error) {
	s, err := read(ctx, b, b.status)
	if err != nil {
		return s, err
	}
	b.mu.Lock()
	s.Config = api.ConfigStatus{
		File: b.file, Loaded: api.At(b.loaded, time.Now()), Attempted: api.At(b.attempted, time.Now()), Error: b.failed,
	}
	b.mu.Unlock()
	for _, n := range b.gateway.speaker.States() {
		s.Prefixes.Learned += int(n.Accepted)
	}
	for _, e := range b.gateway.edges() {
		s.Edges = append(s.Edges, api.Edge{Name: e.name, Gen: e.gen.Load(), OK: e.failure() == "", Error: e.failure()})
		if e == b.gateway.fibEdge {
			c := b.gateway.fib.Counters()
			s.Edges[len(s.Edges)-1].Counters = &api.RouteCounters{
				Writes: c.Writes.Load(), Errors: c.Errors.Load(), Resyncs: c.Resyncs.Load(), Overflows: c.Overflows.Load(), Events: c.Events.Load(),
			}
		}
	}
	r := &b.gateway.greeter
	i := slices.IndexFunc(s.Edges, func(e api.Edge) bool { return e.Name == b.gateway.greetEdge.name })
	s.Edges[i].Greetings = &api.Greetings{Takeover: r.takeover.Load(), Sighted: r.sighted.Load()}
	// These two follow no plan, and so are never behind.
	if d := b.discovery; d != nil && d.wanted() {
		s.Edges = append(s.Edges, api.Edge{Name: "aws", Gen: s.Gen, OK: d.failure() == "", Error: d.failure()})
	}
	if text, used := b.entrance.failure(); used {
		s.Edges = append(s.Edges, api.Edge{Name: "front", Gen: s.Gen, OK: text == "", Error: text})
	}
	n := b.requests.Read()
	s.AWS = api.AWSRequests{Requests: n.Requests, Throttled: n.Throttled, Denied: n.Unauthorized, Failed: n.Failed}
	for _, x := range b.gateway.sysctlProblems() {
		s.Sysctls = append(s.Sysctls, api.Sysctl{Name: x.Key, Have: x.Have, Want: x.Want, Text: x.Why})
	}
	for _, t := range b.gateway.gre.Observe() {
		s.Tunnels = append(s.Tunnels, b.tunnel(ctx, t.Name, api.Tunnel{
			Name: t.Name, Backend: string(t.Backend), Up: t.Up, MTU: t.MTU, Rx: t.Rx, Tx: t.Tx, Dropped: t.Dropped, Error: t.Err,
		}))
	}
	return s, nil
}

// tunnel adds what only the plan knows.
func (b *backend) tunnel(ctx context.Context, name string, t api.Tunnel) api.Tunnel {
	_, _ = read(ctx, b, func(c *ha.Core, _ time.Time) bool {
		for _, p := range c.Config().Connect {
			if p.Device == name {
				t.Local, t.Remote = p.Local, p.Remote
			}
		}
		return true
	})
	return t
}

func (b *backend) status(c *ha.Core, now time.Time) api.Status {
	g := c.Config().Gateway
	s := api.Status{
		Schema: api.Schema, Host: g.Name, Version: version.Get().Version, ASN: uint32(g.ASN), RouterID: g.RouterID, Region: g.Region,
		Started: api.At(b.started, now), Draining: c.Drain() != ha.DrainNone, Drain: b.drainer.state(),
	}
	if p := b.loop.plan; p != nil {
		s.Gen = p.Gen
		s.Prefixes = api.PrefixCounts{Announced: len(p.Announcements), Withheld: withheld(p)}
		for i := range p.FIB.Routes {
			if p.FIB.Routes[i].Type == bgp.Unicast {
				s.Prefixes.Routes++
			}
		}
	}
	s.Quotas, s.Alarms = quotas(b.loop.plan, now)
	if u := c.Underlay(); !u.Since.IsZero() {
		s.Alarms = append(s.Alarms, api.Alarm{
			Name: "underlay-down", Object: "gateway", Text: "this host has stepped down as a whole: " + u.Why, Since: api.At(u.Since, now),
			Cure: "restore its way to the internet; it comes back by itself",
		})
	}
	c.Verdicts(func(_ *ha.Site, disabled bool, v ha.Verdict) {
		s.Sites.Total++
		switch {
		case disabled:
			s.Sites.Disabled++
		case v == ha.Up:
			s.Sites.Up++
		case v == ha.Suspect:
			s.Sites.Suspect++
		case v == ha.Idle:
			s.Sites.Idle++
		case v == ha.Suppressed:
			s.Sites.Suppressed++
		default:
			s.Sites.Down++
		}
	})
	c.Sessions(func(n *bgp.Neighbor, st bgp.NeighborState) {
		if n.Range.IsValid() {
			return
		}
		s.Sessions.Total++
		if st.State == bgp.StateEstablished {
			if mute(n) {
				s.Sessions.Policy++
			} else {
				s.Sessions.Established++
			}
		}
	})
	return s
}

// withheld counts the prefixes that nobody is told. The lesser claims on a
// prefix that is announced are no trouble.
func withheld(p *ha.Plan) int {
	n, ann := 0, p.Announcements
	for i := range p.Withheld {
		prefix := p.Withheld[i].Prefix
		if i > 0 && p.Withheld[i-1].Prefix == prefix {
			continue
		}
		for len(ann) > 0 && bgp.ComparePrefix(ann[0].Prefix, prefix) < 0 {
			ann = ann[1:]
		}
		if len(ann) == 0 || ann[0].Prefix != prefix {
			n++
		}
	}
	return n
}
