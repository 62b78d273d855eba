// Package apitest is a Backend in memory for tests of the control interface:
// one small gateway with something of everything, and fault switches.
package apitest

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
)

// Backend answers from View. The zero value is an empty gateway; New has the
// small one. Change fields only before the server starts, or under Edit.
type Backend struct {
	mu     sync.Mutex
	View   api.View
	Chains []api.MTUChain
	Kernel []api.Problem // what CheckKernel finds
	In     map[string]api.AdjIn
	Out    map[string]api.AdjOut
	Found  api.Discovery
	Config api.Config
	Report api.ConfigReport
	Fault  map[string]error // by method name, e.g. "SetSite"
	Hang   map[string]bool  // by method name: waits until the caller leaves
	Panic  map[string]bool
	Calls  []string // orders received, such as "disable lyon"

	log *api.EventLog
}

// Edit changes the backend while it serves.
func (b *Backend) Edit(f func(*Backend)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
}

// enter carries out the fault switches of a method. The caller then holds mu.
func (b *Backend) enter(ctx context.Context, method string) error {
	b.mu.Lock()
	hang, fail := b.Hang[method], b.Fault[method]
	if b.Panic[method] {
		b.mu.Unlock()
		panic("apitest: " + method)
	}
	if !hang && fail == nil {
		return nil
	}
	b.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return fail
}

func answer[T any](ctx context.Context, b *Backend, method string, f func() T) (v T, err error) {
	if err := b.enter(ctx, method); err != nil {
		return v, err
	}
	defer b.mu.Unlock()
	return f(), nil
}

// Status implements api.Backend.
func (b *Backend) Status(ctx context.Context) (api.Status, error) {
	return answer(ctx, b, "Status", func() api.Status { return b.View.Status })
}

// Peers implements api.Backend.
func (b *Backend) Peers(ctx context.Context) ([]api.Peer, error) {
	return answer(ctx, b, "Peers", func() []api.Peer { return b.View.Peers })
}

// Sites implements api.Backend.
func (b *Backend) Sites(ctx context.Context) ([]api.Site, error) {
	return answer(ctx, b, "Sites", func() []api.Site { return b.View.Sites })
}

// Neighbors implements api.Backend.
func (b *Backend) Neighbors(ctx context.Context) ([]api.Neighbor, error) {
	return answer(ctx, b, "Neighbors", func() []api.Neighbor { return b.View.Neighbors })
}

// Discovery implements api.Backend.
func (b *Backend) Discovery(ctx context.Context) (api.Discovery, error) {
	return answer(ctx, b, "Discovery", func() api.Discovery { return b.Found })
}

// BFD answers with the BFD sessions.
func (b *Backend) BFD(ctx context.Context) ([]api.BFD, error) {
	return answer(ctx, b, "BFD", bfd)
}

// AdjIn implements api.Backend.
func (b *Backend) AdjIn(ctx context.Context, n string) (api.AdjIn, error) {
	return answer(ctx, b, "AdjIn", func() api.AdjIn { return b.In[n] })
}

// AdjOut implements api.Backend.
func (b *Backend) AdjOut(ctx context.Context, n string) (api.AdjOut, error) {
	return answer(ctx, b, "AdjOut", func() api.AdjOut { return b.Out[n] })
}

// RIB implements api.Backend.
func (b *Backend) RIB(ctx context.Context, q api.PrefixQuery) ([]api.RIBEntry, error) {
	return answer(ctx, b, "RIB", func() []api.RIBEntry {
		return matching(q, b.View.RIB, func(e api.RIBEntry) netip.Prefix { return e.Prefix })
	})
}

// Routes implements api.Backend.
func (b *Backend) Routes(ctx context.Context, q api.PrefixQuery) ([]api.Route, error) {
	return answer(ctx, b, "Routes", func() []api.Route {
		return matching(q, b.View.Routes, func(r api.Route) netip.Prefix { return r.Prefix })
	})
}

func matching[T any](q api.PrefixQuery, all []T, key func(T) netip.Prefix) []T {
	var out []T
	for _, v := range all {
		if q.Matches(key(v)) {
			out = append(out, v)
		}
	}
	return out
}

// Health implements api.Backend.
func (b *Backend) Health(ctx context.Context) ([]api.Health, error) {
	return answer(ctx, b, "Health", func() []api.Health { return b.View.Health })
}

// MTU implements api.Backend.
func (b *Backend) MTU(ctx context.Context, site string) ([]api.MTUChain, error) {
	return answer(ctx, b, "MTU", func() []api.MTUChain {
		var out []api.MTUChain
		for _, c := range b.Chains {
			if site == "" || site == c.Site {
				out = append(out, c)
			}
		}
		return out
	})
}

// Explain implements api.Backend.
func (b *Backend) Explain(ctx context.Context, q api.ExplainQuery) (api.Explain, error) {
	return answer(ctx, b, "Explain", func() api.Explain { return api.ExplainFrom(q, b.View) })
}

// CheckKernel implements api.Backend.
func (b *Backend) CheckKernel(ctx context.Context) ([]api.Problem, error) {
	return answer(ctx, b, "CheckKernel", func() []api.Problem { return b.Kernel })
}

// Events implements api.Backend.
func (b *Backend) Events() *api.EventLog {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.log == nil {
		b.log = api.NewEventLog(64)
	}
	return b.log
}

// SetSite implements api.Backend.
func (b *Backend) SetSite(ctx context.Context, site string, disabled, _ bool) error {
	verb := "enable "
	if disabled {
		verb = "disable "
	}
	return b.order(ctx, "SetSite", verb+site)
}

// AWSRoutes implements api.Backend.
func (b *Backend) AWSRoutes(context.Context) (api.AWSRouteList, error) {
	p := netip.MustParsePrefix("10.101.0.0/16")
	return api.AWSRouteList{Schema: api.Schema, Rules: 1, Error: "ReplaceRoute: RequestLimitExceeded", RetrySeconds: 4, Entries: api.List[api.AWSRoute]{
		{Rule: "sites", Table: "rtb-0123456789abcdef0", Prefix: p, Present: true, Target: "eni-b", Holder: "this host", Action: "replace", To: "eni-a", Why: "this host holds the prefix"},
		{Rule: "sites", Table: "rtb-0123456789abcdef1", Prefix: p, Present: true, Target: "nat-1", Blackhole: true, Holder: "this host", Action: "leave", Why: "it leads to nat-1, which is none of the rule's targets", Problem: true},
	}}, nil
}

// AWSFront implements api.Backend.
func (b *Backend) AWSFront(context.Context) (api.AWSFront, error) {
	return api.AWSFront{
		Schema: api.Schema, Error: "DeregisterTargets: Throttling: Rate exceeded", RetrySeconds: 4,
		Targets: api.List[api.AWSTarget]{{
			Name: "wireguard", Group: "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/wg/0123456789abcdef", ID: "i-0123456789abcdef0",
			Port: 51820, State: "unhealthy", Reason: "Target.FailedHealthChecks", Others: 2, Healthy: 1, Action: "deregister", Why: "this host has left",
		}},
		Records: api.List[api.AWSRecord]{
			{Name: "endpoint", Zone: "Z0123456789ABCDEFGHIJ", Record: "wg.example.net", SetID: "gw-a", Action: "remove", Why: "this host leaves", Present: api.List[api.AWSRecordSet]{
				{Type: "A", Values: api.List[string]{"203.0.113.10"}, Policy: "weighted", Weight: 100, TTLSeconds: 60},
				{Type: "AAAA", Values: api.List[string]{"2001:db8::10"}, Policy: "weighted", Weight: 100, TTLSeconds: 60},
			}},
			{Name: "old", Zone: "Z0123456789ABCDEFGHIJ", Record: "vpn.example.net", SetID: "gw-a", Action: "leave", Why: "the A record gw-a has no owner record: adopt = true takes it over", Problem: true},
		},
	}, nil
}

// HA implements api.Backend.
func (b *Backend) HA(ctx context.Context) (api.HAList, error) {
	sites, err := b.Sites(ctx)
	var out api.List[api.HASite]
	for _, s := range sites {
		out = append(out, api.HASite{Site: s.Name, Verdict: s.Verdict, Since: s.Since, Role: s.Role, Rank: "direct"})
	}
	if len(out) > 1 {
		out[0].Order, out[0].By, out[0].Holder, out[0].Rank = api.OrderFailover, "uid 0 pid 1", "gw-b", "indirect"
		out[0].Others = api.List[api.HAOther]{{Host: "gw-b", Region: "eu", Rank: "direct", Since: ago(time.Hour)}, {Host: "gw-c", Region: "us", Rank: "backup", Dead: true}}
		out[1].OutbidSeconds, out[1].Rank = 12, "takeover"
		out[1].Elsewhere = &api.Elsewhere{Host: "gw-b", Endpoint: "203.0.113.21:51820", Heard: ago(3 * time.Second), Greeting: "takeover"}
	}
	hosts := api.List[api.HAHost]{
		{Host: "gw-b", Region: "eu", State: "Established", Since: ago(time.Hour), Told: 2},
		{Host: "gw-c", Region: "us", State: "Idle", Since: ago(time.Minute), Died: ago(time.Minute), Reason: "bfd-down", Detail: "no packet from it"},
	}
	return api.HAList{Region: "eu", Hosts: hosts, Sites: out}, err
}

// Steer implements api.Backend.
func (b *Backend) Steer(ctx context.Context, o api.Steer) error {
	return b.order(ctx, "Steer", o.Order+" "+o.Site)
}

// Drain implements api.Backend.
func (b *Backend) Drain(ctx context.Context, o api.Drain) error {
	return b.order(ctx, "Drain", "drain "+o.Reason)
}

// Undrain implements api.Backend.
func (b *Backend) Undrain(ctx context.Context) error { return b.order(ctx, "Undrain", "undrain") }

// RestartCost implements api.Backend.
func (b *Backend) RestartCost(context.Context) (api.Restart, error) {
	return api.Restart{
		Schema: api.Schema, Program: "/usr/bin/wgbgpd", Forwards: true, Keep: api.List[string]{"paris"},
		Lose: api.List[string]{"tgw-a/1", "tgw-a/2"}, Alone: 2, Refused: "tgw-a/1, tgw-a/2 would have no route to 2 prefixes until the next process announces them",
	}, nil
}

// Restart implements api.Backend.
func (b *Backend) Restart(ctx context.Context) error { return b.order(ctx, "Restart", "restart") }

// ResetNeighbor implements api.Backend.
func (b *Backend) ResetNeighbor(ctx context.Context, n string) error {
	return b.order(ctx, "ResetNeighbor", "reset "+n)
}

func (b *Backend) order(ctx context.Context, method, call string) error {
	if err := b.enter(ctx, method); err != nil {
		return err
	}
	defer b.mu.Unlock()
	b.Calls = append(b.Calls, call)
	return nil
}

// Reload implements api.Backend.
func (b *Backend) Reload(ctx context.Context) (api.ConfigReport, error) {
	return answer(ctx, b, "Reload", func() api.ConfigReport {
		b.Calls = append(b.Calls, "reload")
		r := b.Report
		r.Applied = len(r.Errors) == 0
		return r
	})
}

// ConfigDiff implements api.Backend.
func (b *Backend) ConfigDiff(ctx context.Context, path string) (api.ConfigReport, error) {
	return answer(ctx, b, "ConfigDiff", func() api.ConfigReport {
		r := b.Report
		r.File = path
		return r
	})
}

// ConfigShow implements api.Backend.
func (b *Backend) ConfigShow(ctx context.Context) (api.Config, error) {
	return answer(ctx, b, "ConfigShow", func() api.Config { return b.Config })
}
