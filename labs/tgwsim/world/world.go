// Package world is the state that the emulated EC2 API shows: Transit Gateways
// and what is attached to them, and the VPC around a gateway instance. It has no
// clock of its own, no network and no AWS types.
//
// A World is changed in two ways: by the operations that the API offers, which
// follow AWS's rules (connect.go, tables.go, tgw.go, vpc.go), and by Do, which
// may do anything, as another operator would behind our back. Start reading at
// State, then Example for a healthy world in one call.
//
// Every rule says where it is known from, by the keys of facts/aws.md, which
// labs/tgwsim/README.md explains. "Assumed" marks what AWS does not document.
package world

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// World is a State with a lock, a clock and a network behind it. All its methods
// may be called from any goroutine.
type World struct {
	mu      sync.Mutex
	now     func() time.Time
	state   *State
	network Network
	asked   bool // targets of target groups, see AskTargets

	copied  *State // a copy of state, nil: it has changed since
	history []past // with Remember
	keep    time.Duration
}

// past is a copy of the state as it was from some time on.
type past struct {
	since time.Time
	state *State
}

// Network is what is behind the API: BGP sessions of Connect peers, and what the
// route tables hold because of them. Its methods are called without the World's
// lock held, so they may call the World.
type Network interface {
	// Changed says that the World is not as it was. It carries no details: the
	// network looks at Snapshot and makes it true. It must not block.
	Changed()
	// SessionUp is the state of one BGP session of a Connect peer, by its inside
	// address on the Transit Gateway's side.
	SessionUp(connectPeerID string, transitGatewayAddress netip.Addr) bool
	// Routes are the routes of a TGW route table: winners only, sorted by prefix.
	Routes(tableID string) []Route
	// RouteServerDatabase are the routes of a VPC Route Server.
	RouteServerDatabase(routeServerID string) []RouteServerRoute
	// RouteServerSessionUp are the states of BGP and BFD of a Route Server peer.
	RouteServerSessionUp(routeServerPeerID string) (bgp, bfd bool)
}

// New returns an empty world in a region. The clock may be time.Now.
func New(region string, now func() time.Time) *World {
	w := &World{now: now, state: newState(region)}
	w.network = &Memory{world: w}
	return w
}

// SetNetwork replaces the network behind the API; it is told to look at once.
func (w *World) SetNetwork(n Network) {
	w.mu.Lock()
	w.network = n
	w.mu.Unlock()
	n.Changed()
}

// Network is the network behind the API. That of New is a *Memory.
func (w *World) Network() Network {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.network
}

// Do lets f change anything, against all rules. f must not keep what it gets.
func (w *World) Do(f func(*State)) {
	w.change(func(s *State, _ time.Time) *Error { f(s); return nil })
}

// View lets f read. f must neither change nor keep what it gets.
func (w *World) View(f func(*State)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	f(w.state)
}

// Snapshot is a deep copy of the state, shared by all that ask for it: it must
// not be changed.
func (w *World) Snapshot() *State {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	return w.copy()
}

func (w *World) copy() *State {
	if w.copied == nil {
		w.copied = w.state.clone()
	}
	return w.copied
}

// Remember makes SnapshotAgo possible for up to that long.
func (w *World) Remember(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep = d
	w.changed()
}

// SnapshotAgo is the state as it was, at most as long ago as was remembered.
func (w *World) SnapshotAgo(ago time.Duration) *State {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	then := w.now().Add(-ago)
	for i := len(w.history) - 1; i >= 0; i-- {
		if !w.history[i].since.After(then) || i == 0 {
			return w.history[i].state
		}
	}
	return w.copy()
}

// changed follows each change of the state.
func (w *World) changed() {
	w.copied = nil
	if w.keep == 0 {
		w.history = nil
		return
	}
	now := w.now()
	w.history = append(w.history, past{now, w.copy()})
	for len(w.history) > 1 && now.Sub(w.history[1].since) > w.keep {
		w.history = w.history[1:]
	}
}

// Tick completes what is due: pending becomes available, and so on. Each access
// does the same first; a program whose network must see changes without one
// calls it now and then.
func (w *World) Tick() {
	w.mu.Lock()
	changed, network := w.settle(), w.network
	w.mu.Unlock()
	if changed {
		network.Changed()
	}
}

// change runs one operation and tells the network.
func (w *World) change(f func(*State, time.Time) *Error) error {
	w.mu.Lock()
	w.settle()
	err := f(w.state, w.now())
	w.changed()
	network := w.network
	w.mu.Unlock()
	network.Changed()
	if err != nil {
		return err // not the typed nil
	}
	return nil
}

// Error is a refusal in the API's terms.
type Error struct{ Code, Message string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
