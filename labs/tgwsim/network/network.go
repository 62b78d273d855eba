package network

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/labs/router"
	"github.com/wgbgp/wgbgp/labs/tgwsim/routing"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/gre"
)

// Event is one change, as written to the event file.
type Event = router.Event

// Network runs a Spec.
type Network struct {
	log     *slog.Logger
	tunnels *gre.Manager
	events  *os.File
	kick    chan struct{}
	changed chan struct{} // closed and made anew after every apply

	mu        sync.Mutex
	spec      *Spec
	sessions  map[string]*session
	decisions []*routing.Decision // as last applied
	pending   []Event
	servers   map[string]*endpoint // by Endpoint.ID

	// Only Run's goroutine touches what follows.
	gen      uint64
	tables   map[string]*kernelTable // by lookup
	written  map[string][]string     // routes as last written to events
	troubles map[string]string       // what was complained about last
	bfd      *liveness
	cuts     string // the ruleset of syncCuts, as last written
}

// New opens what the network needs. The event file gets one JSON line per change;
// empty: none.
func New(eventFile string, log *slog.Logger) (*Network, error) {
	n := &Network{
		log: log, cuts: "table inet tgwsim\ndelete table inet tgwsim\n", kick: make(chan struct{}, 1), changed: make(chan struct{}), spec: &Spec{Plain: true},
		sessions: map[string]*session{}, servers: map[string]*endpoint{},
		tables: map[string]*kernelTable{}, written: map[string][]string{}, troubles: map[string]string{},
	}
	n.bfd = &liveness{n: n, states: map[string]bgp.BFDState{}}
	var err error
	if eventFile != "" {
		if n.events, err = os.OpenFile(eventFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			return nil, err
		}
	}
	if n.tunnels, err = gre.New(gre.Options{Logger: log}); err != nil {
		return nil, err
	}
	return n, nil
}

// Set says what should be there from now on. It returns at once; the spec must
// not be changed afterwards.
func (n *Network) Set(spec *Spec) {
	n.mu.Lock()
	n.spec = spec
	n.mu.Unlock()
	n.signal()
}

func (n *Network) signal() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// Run keeps the network as Set says until ctx ends, then leaves the neighbors in
// order.
func (n *Network) Run(ctx context.Context) error {
	n.bfd.ctx = ctx
	again := time.NewTicker(time.Second) // what failed is tried again
	defer again.Stop()
	n.signal()
	for {
		select {
		case <-ctx.Done():
			return n.close()
		case <-n.kick:
		case <-n.tunnels.Events():
		case <-again.C:
		}
		if ctx.Err() == nil {
			n.apply(ctx)
		}
	}
}

func (n *Network) close() error {
	for _, s := range n.sessions {
		_ = s.speaker.Stop(true)
	}
	for _, e := range n.servers {
		_ = e.speaker.Stop(true)
	}
	n.bfd.stop()
	for _, t := range n.tables {
		_ = t.fib.Close()
	}
	return n.tunnels.Close()
}

// apply makes kernel and neighbors agree with the spec and with what was learned,
// and writes what changed to the event file afterwards, so that an event is never
// ahead of the truth.
func (n *Network) apply(ctx context.Context) {
	n.gen++
	n.mu.Lock()
	spec := n.spec
	n.mu.Unlock()

	if !spec.Plain {
		n.complain("addresses", n.syncAddresses(spec))
	}
	n.syncTunnels(ctx, spec)
	n.syncSessions(ctx, spec)
	n.syncServers(ctx, spec)

	n.mu.Lock()
	paths := n.learned()
	served := n.served(spec)
	happened := n.pending
	n.pending = nil
	n.mu.Unlock()
	decisions := make([]*routing.Decision, len(spec.TGWs))
	for i := range spec.TGWs {
		decisions[i] = routing.Decide(&spec.TGWs[i], paths)
		for peer, excess := range decisions[i].Excess {
			n.complain("peer "+peer, fmt.Errorf("%d prefixes beyond the limit of %d are ignored", excess, spec.TGWs[i].PeerLimit()))
		}
	}
	n.complain("forwarding", n.forward(ctx, spec, decisions, served))
	n.announce(ctx, decisions)

	n.mu.Lock()
	n.decisions = decisions
	close(n.changed)
	n.changed = make(chan struct{})
	n.mu.Unlock()
	n.write(spec, happened, decisions)
}

// syncTunnels makes the GRE endpoints: hosts 2 and 3 of the inside blocks on one
// device.
func (n *Network) syncTunnels(ctx context.Context, spec *Spec) {
	var want []tgwconnect.Tunnel
	for _, id := range slices.Sorted(maps.Keys(spec.Connect)) {
		c := spec.Connect[id]
		t := tgwconnect.Tunnel{Name: c.Device, Backend: c.Backend, Local: c.Local, Remote: c.Remote, MTU: c.MTU}
		if t.Backend == "" {
			t.Backend = tgwconnect.BackendAuto
		}
		hosts := []int{2, 3}
		if spec.FirstHostOnly {
			hosts = hosts[:1]
		}
		for _, host := range hosts {
			t.Addresses = append(t.Addresses, tgwconnect.Host(c.Inside4, host))
			if c.Inside6.IsValid() {
				t.Addresses = append(t.Addresses, tgwconnect.Host(c.Inside6, host))
			}
		}
		want = append(want, t)
	}
	for _, s := range n.tunnels.Apply(ctx, n.gen, want, true) {
		var err error
		if !s.Up {
			err = fmt.Errorf("is down: %s", s.Err)
		}
		n.complain("tunnel "+s.Name, err)
	}
}

// complain logs a trouble once, and its end.
func (n *Network) complain(what string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if n.troubles[what] == text {
		return
	}
	n.troubles[what] = text
	if text == "" {
		delete(n.troubles, what)
		n.log.Info(what + " is well now")
		return
	}
	n.log.Warn(what, "err", text)
}

// Sessions says of every session of a Connect peer whether it is Established.
func (n *Network) Sessions(peer string) (up [2]bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.sessions {
		if s.peer == peer {
			up[s.number-1] = s.state.State == bgp.StateEstablished
		}
	}
	return up
}

// Table are the routes of a TGW route table, as packets are led now.
func (n *Network) Table(id string) []routing.Route {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.decisions {
		if routes := d.Table(id); routes != nil {
			return routes
		}
	}
	return nil
}

// Changed is closed after the next apply: then Sessions and Table may say
// something else.
func (n *Network) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

// Learned are the paths of a peer's sessions.
func (n *Network) Learned(peer string) []routing.Path {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(n.learned(), func(p routing.Path) bool { return p.Peer != peer })
}
