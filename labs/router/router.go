package router

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/bgp/fib"
	"github.com/wgbgp/wgbgp/bgp/speaker"
)

// Router runs a Config in the network namespace of its process.
type Router struct {
	cfg      Config
	log      *slog.Logger
	ways     map[string]Neighbor // by neighbor name
	speakers []*speaker.Speaker
	sets     [][]bgp.Neighbor // by speaker, sorted by name
	fib      *fib.FIB
	events   *os.File
	kick     chan struct{}

	mu       sync.Mutex
	rib      rib
	networks []netip.Prefix
	states   map[string]bgp.SessionState
	pending  []Event // of sessions

	routes map[netip.Prefix][]string // as last written to events; only Run touches it
	gen    uint64
}

// New opens what the router needs. The addresses of Speakers must exist.
func New(cfg Config, log *slog.Logger) (*Router, error) {
	r := &Router{
		cfg: cfg, log: log, ways: map[string]Neighbor{}, kick: make(chan struct{}, 1),
		rib: rib{}, networks: cfg.Networks, states: map[string]bgp.SessionState{}, routes: map[netip.Prefix][]string{},
	}
	var err error
	if cfg.Events != "" {
		if r.events, err = os.OpenFile(cfg.Events, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			return nil, err
		}
	}
	if r.fib, err = fib.New(fib.Options{Logger: log}); err != nil {
		return nil, err
	}
	for _, sc := range cfg.Speakers {
		sp, err := speaker.New(speaker.Config{ASN: cfg.ASN, RouterID: cfg.RouterID, Listen: sc.Listen, Logger: log, Sink: sink{r}})
		if err != nil {
			return nil, err
		}
		set := make([]bgp.Neighbor, 0, len(sc.Neighbors))
		for _, n := range sc.Neighbors {
			if _, ok := r.ways[n.Name]; ok {
				return nil, fmt.Errorf("two neighbors are named %q", n.Name)
			}
			r.ways[n.Name] = n
			set = append(set, n.neighbor())
		}
		slices.SortFunc(set, func(a, b bgp.Neighbor) int { return strings.Compare(a.Name, b.Name) })
		r.speakers, r.sets = append(r.speakers, sp), append(r.sets, set)
	}
	return r, nil
}

// SetNetworks replaces the announced networks.
func (r *Router) SetNetworks(networks []netip.Prefix) {
	r.mu.Lock()
	r.networks = slices.Clone(networks)
	r.mu.Unlock()
	r.signal()
}

// Run routes until ctx ends, then leaves its neighbors in order.
func (r *Router) Run(ctx context.Context) error {
	for _, s := range r.speakers {
		if err := s.Start(ctx); err != nil {
			return err
		}
	}
	r.signal()
	again := time.NewTicker(time.Second) // what failed is tried again
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, s := range r.speakers {
				_ = s.Stop(true)
			}
			return r.fib.Close()
		case <-r.kick:
			r.apply(ctx, false)
		case <-r.fib.Events():
			r.fib.Repair(ctx)
		case <-again.C:
			r.apply(ctx, true)
		}
	}
}

func (r *Router) signal() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// apply makes kernel and neighbors agree with the rib and writes what changed
// to the event file afterwards, so that an event is never ahead of the truth.
func (r *Router) apply(ctx context.Context, quiet bool) {
	r.mu.Lock()
	routes, ann, via := r.decide()
	sessions := r.pending
	r.pending = nil
	r.mu.Unlock()

	r.gen++
	applied := r.fib.Apply(ctx, r.gen, bgp.FIB{
		Table: r.cfg.Table, Protocol: 186, RulePref: r.cfg.Table, Mark: r.cfg.Table, Routes: routes, Complete: true,
	})
	if (applied.Err != "" || len(applied.Reports) > 0) && !quiet {
		r.log.Warn("routes", "err", applied.Err, "reports", applied.Reports)
	}
	for i, s := range r.speakers {
		a := s.Apply(ctx, r.gen, r.sets[i], r.address(ann, r.sets[i]))
		if (len(a.Failed) > 0 || len(a.NeighborErrors) > 0) && !quiet {
			r.log.Warn("announcements", "failed", a.Failed, "neighbors", a.NeighborErrors)
		}
	}
	r.write(sessions, via)
}

// announcement is a network or, when reflected, a learned prefix with the ways
// it came from.
type announcement struct {
	prefix netip.Prefix
	attrs  *bgp.Attrs
	from   []string
}

// decide computes everything from the rib. The caller holds mu.
func (r *Router) decide() (routes []bgp.Route, ann []announcement, via map[netip.Prefix][]string) {
	via = map[netip.Prefix][]string{}
	for _, n := range r.networks {
		ann = append(ann, announcement{prefix: n.Masked(), attrs: &bgp.Attrs{}})
	}
	for _, p := range r.rib.prefixes() {
		if slices.Contains(r.networks, p) {
			continue
		}
		best := r.rib.best(p)
		rt := bgp.Route{Prefix: p, Metric: 100}
		for _, path := range best {
			way := r.ways[path.Neighbor]
			rt.NextHops = append(rt.NextHops, bgp.NextHop{Gateway: path.NextHop, Device: way.Device})
			via[p] = append(via[p], way.Via)
		}
		slices.SortFunc(rt.NextHops, func(a, b bgp.NextHop) int {
			return cmp.Or(a.Gateway.Compare(b.Gateway), strings.Compare(a.Device, b.Device))
		})
		rt.NextHops = slices.Compact(rt.NextHops)
		slices.Sort(via[p])
		via[p] = slices.Compact(via[p])
		routes = append(routes, rt)
		if r.cfg.Reflect {
			ann = append(ann, announcement{prefix: p, attrs: best[0].Attrs, from: via[p]})
		}
	}
	slices.SortFunc(ann, func(a, b announcement) int { return bgp.ComparePrefix(a.prefix, b.prefix) })
	return routes, ann, via
}

// address turns ann into what one speaker announces. Every neighbor is a group
// of its own, because each may have its own MED; nothing goes back the way it
// came.
func (r *Router) address(ann []announcement, set []bgp.Neighbor) []bgp.Announcement {
	var out []bgp.Announcement
	for _, a := range ann {
		var to []bgp.Export
		for _, n := range set {
			if way := r.ways[n.Name]; !slices.Contains(a.from, way.Via) {
				to = append(to, bgp.Export{Group: n.Group, MED: way.MED})
			}
		}
		if len(to) > 0 {
			out = append(out, bgp.Announcement{Prefix: a.prefix, Attrs: a.attrs, To: to})
		}
	}
	return out
}

// write appends what changed to the event file.
func (r *Router) write(events []Event, via map[netip.Prefix][]string) {
	now := time.Now()
	for p := range r.routes {
		if _, ok := via[p]; !ok {
			events = append(events, Event{At: now, Prefix: p})
		}
	}
	for p, ways := range via {
		if !slices.Equal(ways, r.routes[p]) {
			events = append(events, Event{At: now, Prefix: p, Via: ways})
		}
	}
	r.routes = via
	if r.events == nil {
		return
	}
	if err := WriteEvents(r.events, events); err != nil {
		r.log.Error("events", "err", err)
	}
}

// sink takes what the speakers report.
type sink struct{ r *Router }

func (s sink) Paths(changes []bgp.PathChange) {
	s.r.mu.Lock()
	s.r.rib.update(changes)
	s.r.mu.Unlock()
	s.r.signal()
}

func (s sink) Neighbor(st bgp.NeighborState) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	was := s.r.states[st.Name]
	if was == st.State {
		return
	}
	s.r.states[st.Name] = st.State
	if st.State == bgp.StateEstablished || was == bgp.StateEstablished {
		s.r.pending = append(s.r.pending, Event{At: time.Now(), Neighbor: st.Name, State: string(st.State), Reason: st.Reason})
		s.r.signal()
	}
}

func (s sink) Rejected(bgp.Rejected) {}
