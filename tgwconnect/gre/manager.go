package gre

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Options configure a Manager.
type Options struct {
	Logger *slog.Logger // nil: slog.Default

	// PlainSockets keeps userspace tunnels from loading eBPF programs, as where
	// the kernel (before Linux 6.6) or the container does not permit them. They
	// are slower then, but what they send passes the host's output rules.
	PlainSockets bool
}

// Manager keeps the GRE tunnels of this host as they should be.
type Manager struct {
	log    *slog.Logger
	plain  bool
	events chan struct{}
	poked  chan struct{} // something changed: look again
	moved  chan struct{} // the same for whoever reads the host's addresses
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex // guards what follows, and every write to the kernel
	gen    uint64
	want   []tgwconnect.Tunnel
	last   []tgwconnect.TunnelState // as reported last, in the order of want
	user   map[string]*userTunnel
	closed bool
}

// New starts a Manager. It changes nothing before the first Apply.
func New(o Options) (*Manager, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	m := &Manager{
		log:    o.Logger.With("edge", "gre"),
		plain:  o.PlainSockets,
		events: make(chan struct{}, 1),
		poked:  make(chan struct{}, 1),
		moved:  make(chan struct{}, 1),
		user:   map[string]*userTunnel{},
	}
	if err := m.start(); err != nil {
		return nil, err
	}
	return m, nil
}

// Events says "look again" (Observe) after a tunnel changed by itself. It has
// room for one; missed and doubled ones do no harm.
func (m *Manager) Events() <-chan struct{} { return m.events }

// Addresses says "look again" when interfaces or addresses of this host may have
// changed, those of others included. It has room for one, and one reader.
func (m *Manager) Addresses() <-chan struct{} { return m.moved }

// Apply brings the tunnels in line with want and reports on each, in that
// order. A set that is already so writes nothing. One bad tunnel does not stop
// the others; its state says why. With sweep, tunnels of ours that are not
// wanted are removed; without it they are left alone.
//
// The Manager keeps working at the same set: a tunnel whose local address
// appears later, or that somebody deleted, comes up by itself.
func (m *Manager) Apply(ctx context.Context, gen uint64, want []tgwconnect.Tunnel, sweep bool) []tgwconnect.TunnelState {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gen, m.want = gen, slices.Clone(want)
	for i := range m.want {
		t := &m.want[i]
		t.Local, t.Remote, t.Addresses = t.Local.Unmap(), t.Remote.Unmap(), slices.Clone(t.Addresses)
	}
	if sweep && !m.closed {
		m.sweep()
	}
	m.report(m.reconcile(ctx))
	return slices.Clone(m.last)
}

// Observe reads the tunnels of the last Apply without changing anything.
func (m *Manager) Observe() []tgwconnect.TunnelState {
	m.mu.Lock()
	defer m.mu.Unlock()
	states := make([]tgwconnect.TunnelState, 0, len(m.want))
	for i, t := range m.want {
		var err error
		if m.last[i].Err != "" {
			err = errors.New(m.last[i].Err)
		}
		l, readErr := linkByName(t.Name)
		if readErr != nil {
			err = readErr
		}
		states = append(states, m.state(t, l, err))
	}
	return states
}

// Close stops forwarding by userspace tunnels. Interfaces, addresses and routes
// stay for the next process; Apply with nothing wanted and sweep removes them.
func (m *Manager) Close() error {
	m.stop()
	m.wg.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for name := range m.user {
		m.stopUser(name)
	}
	return nil
}

// lookAgain repairs what changed behind our back and tells the listener.
func (m *Manager) lookAgain(ctx context.Context) (healthy bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	states := m.reconcile(ctx)
	if ctx.Err() != nil {
		return true
	}
	if m.report(states) {
		select {
		case m.events <- struct{}{}:
		default:
		}
	}
	return !slices.ContainsFunc(states, func(s tgwconnect.TunnelState) bool { return s.Err != "" })
}

func (m *Manager) reconcile(ctx context.Context) []tgwconnect.TunnelState {
	states := make([]tgwconnect.TunnelState, 0, len(m.want))
	var sound []tgwconnect.Tunnel
	for _, t := range m.want {
		var l *link
		err := ctx.Err()
		if err == nil && m.closed {
			err = errors.New("closed")
		}
		if err == nil {
			err = check(t, sound)
		}
		if err == nil {
			sound = append(sound, t)
			l, err = m.ensure(t)
		}
		states = append(states, m.state(t, l, err))
	}
	return states
}

// report remembers states and says whether they differ, counters apart, from
// those before.
func (m *Manager) report(states []tgwconnect.TunnelState) (changed bool) {
	bare := func(s tgwconnect.TunnelState) tgwconnect.TunnelState {
		s.Gen, s.Rx, s.Tx, s.Dropped, s.TxDropped = 0, 0, 0, 0, 0
		return s
	}
	for _, s := range states {
		old := tgwconnect.TunnelState{Name: s.Name}
		if i := slices.IndexFunc(m.last, func(o tgwconnect.TunnelState) bool { return o.Name == s.Name }); i >= 0 {
			old = m.last[i]
		}
		if bare(old) == bare(s) {
			continue
		}
		changed = true
		level := slog.LevelInfo
		if s.Err != "" {
			level = slog.LevelWarn
		}
		m.log.Log(context.Background(), level, "tunnel changed", "tunnel", s.Name, "gen", s.Gen, "up", s.Up, "backend", s.Backend, "mtu", s.MTU, "err", s.Err)
	}
	m.last = states
	return changed
}

// check refuses what no backend can make, and a tunnel that takes the name or
// the outer addresses of one before it.
func check(t tgwconnect.Tunnel, before []tgwconnect.Tunnel) error {
	switch {
	case t.Name == "" || len(t.Name) > 15:
		return fmt.Errorf("interface name %q: want 1 to 15 bytes", t.Name)
	case !t.Local.IsValid() || !t.Remote.IsValid() || t.Local.Is4() != t.Remote.Is4():
		return fmt.Errorf("outer addresses %s and %s: want two of one family", t.Local, t.Remote)
	case t.Local == t.Remote:
		return fmt.Errorf("outer addresses are both %s", t.Local)
	case t.MTU != 0 && (t.MTU < leastMTU(t) || t.MTU > 65535-t.Overhead()):
		return fmt.Errorf("MTU %d: want %d to %d", t.MTU, leastMTU(t), 65535-t.Overhead())
	case t.Backend != tgwconnect.BackendAuto && t.Backend != tgwconnect.BackendKernel && t.Backend != tgwconnect.BackendUserspace && t.Backend != "":
		return fmt.Errorf("unknown backend %q", t.Backend)
	}
	if i := slices.IndexFunc(t.Addresses, func(p netip.Prefix) bool { return !p.IsValid() }); i >= 0 {
		return fmt.Errorf("inside address %d is not valid", i+1)
	}
	for _, b := range before {
		if b.Name == t.Name {
			return fmt.Errorf("a second tunnel of this name")
		}
		if b.Local == t.Local && b.Remote == t.Remote {
			return fmt.Errorf("outer addresses %s and %s are those of tunnel %s", t.Local, t.Remote, b.Name)
		}
	}
	return nil
}

// state describes a tunnel as it is; l is nil when the interface is missing.
func (m *Manager) state(t tgwconnect.Tunnel, l *link, err error) tgwconnect.TunnelState {
	s := tgwconnect.TunnelState{Name: t.Name, Gen: m.gen}
	if err != nil {
		s.Err = err.Error()
	}
	if l == nil || !l.ours() {
		return s
	}
	s.Index, s.MTU, s.Backend = l.index, l.mtu, tgwconnect.BackendKernel
	s.Up = l.up && l.running && isLocal(t.Local)
	if l.kind != kindTUN {
		s.Rx, s.Tx, s.Dropped, s.TxDropped = l.stats.RxPackets, l.stats.TxPackets, l.stats.RxErrors+l.stats.RxDropped, l.stats.TxErrors+l.stats.TxDropped
		return s
	}
	s.Backend = tgwconnect.BackendUserspace
	u := m.user[t.Name]
	s.Up = s.Up && u != nil && !u.ended.Load()
	if u != nil {
		s.Rx, s.Dropped = u.rx.Load(), u.dropped()
		s.Tx, s.TxDropped = u.sent()
	}
	return s
}
