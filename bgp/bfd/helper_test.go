package bfd

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// watched is an engine with what it reported.
type watched struct {
	*Engine
	mu   sync.Mutex
	last map[string]bgp.BFDState
	why  map[bgp.BFDDiag]int
}

// watch runs an engine on a host until the test ends; nil is the isolated
// namespace itself.
func watch(t testing.TB, h *netlab.Host) *watched {
	t.Helper()
	w := &watched{last: map[string]bgp.BFDState{}, why: map[bgp.BFDDiag]int{}}
	w.Engine = New(Options{OnState: w.on})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Do(func() error { return w.Run(ctx) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return w
}

func (w *watched) on(s bgp.BFDState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.Failed && !w.last[s.Name].Failed {
		w.why[s.Diag]++
	}
	w.last[s.Name] = s
}

func (w *watched) get(name string) bgp.BFDState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last[name]
}

// diags counts failures by diagnostic.
func (w *watched) diags() map[bgp.BFDDiag]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.why)
}

func (w *watched) all() map[string]bgp.BFDState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.last)
}

// is waits for a state.
func (w *watched) is(t testing.TB, name string, want bgp.BFDSessionState) bgp.BFDState {
	t.Helper()
	return w.becomes(t, name, func(s bgp.BFDState) bool { return s.State == want })
}

// becomes waits until the session is as it should be.
func (w *watched) becomes(t testing.TB, name string, good func(bgp.BFDState) bool) bgp.BFDState {
	t.Helper()
	nstest.Eventually(t, 20*time.Second, func() error {
		if s := w.get(name); !good(s) {
			return fmt.Errorf("%s is %+v", name, s)
		}
		return nil
	})
	return w.get(name)
}

func session1(name, local, remote, device string) bgp.BFDSession {
	s := bgp.BFDSession{Name: name, Address: netip.MustParseAddr(remote), Device: device, Interval: 100 * time.Millisecond, Multiplier: 3}
	if local != "" {
		s.LocalAddress = netip.MustParseAddr(local)
	}
	return s
}

// cut drops what the host receives, without a word to anyone.
func cut(t testing.TB, h *nstest.NS) {
	t.Helper()
	h.Run(t, "nft", "add table inet cut; add chain inet cut in { type filter hook input priority 0; policy drop; }")
}

func heal(t testing.TB, h *nstest.NS) {
	t.Helper()
	h.Run(t, "nft", "delete table inet cut")
}
