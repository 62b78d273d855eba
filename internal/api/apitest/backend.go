// Package apitest is a Backend in memory for tests of the control interface:
// one small gateway with something of everything, and fault switches.
package apitest

import (
	"context"
	"net/netip"
	"sync"

	"github.com/wgbgp/wgbgp/internal/api"
)

// Backend answers from View. The zero value is an empty gateway; New has the
// small one. Change fields only before the server starts, or under Edit.
type Backend struct {
	mu     sync.Mutex
	View   api.View
	Kernel []api.Problem // what CheckKernel finds
	In     map[string]api.AdjIn
	Out    map[string]api.AdjOut
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
func (b *Backend) SetSite(ctx context.Context, site string, disabled bool) error {
	verb := "enable "
	if disabled {
		verb = "disable "
	}
	return b.order(ctx, "SetSite", verb+site)
}

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
