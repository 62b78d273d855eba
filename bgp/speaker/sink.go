package speaker

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// outbox holds what the sink was not told yet, keyed by what it is about, so
// that its size is bounded by the tables and not by the events. Guarded by
// Speaker.mu.
type outbox struct {
	paths    map[pathKey]struct{}
	rejected map[pathKey]bgp.Rejected
	states   map[string]struct{} // neighbors whose state changed
	gone     map[string]bgp.NeighborState
}

type pathKey struct {
	neighbor string
	nlri
}

func newOutbox() outbox {
	return outbox{
		paths: map[pathKey]struct{}{}, rejected: map[pathKey]bgp.Rejected{},
		states: map[string]struct{}{}, gone: map[string]bgp.NeighborState{},
	}
}

func (o *outbox) path(neighbor string, p nlri) { o.paths[pathKey{neighbor, p}] = struct{}{} }

func (o *outbox) reject(r bgp.Rejected) { o.rejected[pathKey{r.Neighbor, nlri{r.Prefix, r.ID}}] = r }
func (o *outbox) state(neighbor string) { o.states[neighbor] = struct{}{} }

func (o *outbox) empty() bool {
	return len(o.paths)+len(o.rejected)+len(o.states)+len(o.gone) == 0
}

// notify wakes the sink's goroutine.
func (s *Speaker) notify() {
	select {
	case s.kickSink <- struct{}{}:
	default:
	}
}

// sinkGap is the least time between two deliveries of paths alone. A table comes
// in thousands of UPDATEs of a few prefixes each, and telling each one by itself
// would cost more than reading it.
const sinkGap = 2 * time.Millisecond

// runSink is the one goroutine that calls the sink. News that comes alone is told
// at once, and so is a change of a session with whatever waits.
func (s *Speaker) runSink(ctx context.Context) {
	gap := time.NewTimer(0)
	defer gap.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-gap.C:
		case <-s.kickSink:
		}
		if wait := sinkGap - time.Since(last); wait > 0 && !s.statesPending() {
			gap.Reset(wait)
			continue
		}
		s.deliver()
		last = time.Now()
	}
}

func (s *Speaker) statesPending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.out.states)+len(s.out.gone) > 0
}

// deliver takes everything pending with its present value and tells the sink.
func (s *Speaker) deliver() {
	s.mu.Lock()
	if s.out.empty() {
		s.mu.Unlock()
		return
	}
	o := s.out
	s.out = newOutbox()
	changes := make([]bgp.PathChange, 0, len(o.paths))
	for k := range o.paths {
		c := bgp.PathChange{Path: bgp.Path{Prefix: k.prefix, Neighbor: k.neighbor, ID: k.id}, Withdrawn: true}
		if n := s.byName[k.neighbor]; n != nil {
			if e, ok := n.adjIn[k.nlri]; ok {
				c = bgp.PathChange{Path: e.path(k.neighbor, k.nlri)}
			}
		}
		changes = append(changes, c)
	}
	states := make([]bgp.NeighborState, 0, len(o.states)+len(o.gone))
	for name, st := range o.gone {
		if s.byName[name] == nil {
			states = append(states, st)
		}
	}
	for name := range o.states {
		if n := s.byName[name]; n != nil {
			states = append(states, n.observed())
		}
	}
	s.mu.Unlock()

	rejected := make([]bgp.Rejected, 0, len(o.rejected))
	for _, r := range o.rejected {
		rejected = append(rejected, r)
	}
	slices.SortFunc(changes, func(a, b bgp.PathChange) int {
		return cmp.Or(cmp.Compare(a.Path.Neighbor, b.Path.Neighbor), bgp.ComparePrefix(a.Path.Prefix, b.Path.Prefix), cmp.Compare(a.Path.ID, b.Path.ID))
	})
	slices.SortFunc(rejected, func(a, b bgp.Rejected) int {
		return cmp.Or(cmp.Compare(a.Neighbor, b.Neighbor), bgp.ComparePrefix(a.Prefix, b.Prefix), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(states, func(a, b bgp.NeighborState) int { return cmp.Compare(a.Name, b.Name) })

	for _, r := range rejected {
		s.log.Info("path refused", "neighbor", r.Neighbor, "prefix", r.Prefix, "reason", r.Reason)
	}
	if s.cfg.Sink == nil {
		return
	}
	defer func() { // a faulty sink must not take the sessions down
		if r := recover(); r != nil {
			s.log.Error("panic in the sink of BGP events", "err", r)
		}
	}()
	if len(changes) > 0 {
		s.cfg.Sink.Paths(changes)
	}
	for _, r := range rejected {
		s.cfg.Sink.Rejected(r)
	}
	for _, st := range states {
		s.cfg.Sink.Neighbor(st)
	}
}
