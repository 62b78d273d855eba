package poll

import (
	"context"
	"sync"
)

// Mailbox holds the last set of things that somebody wants an engine to run. The zero
// value is empty.
type Mailbox[T any] struct {
	mu      sync.Mutex
	gen     uint64
	set     []T
	changed bool    // and not taken yet
	waiter  *Waiter // of the engine that runs
}

// Put replaces the set and returns at once. A generation that is older than the last
// is ignored, and so is the same slice: what was put must not be changed afterwards.
func (m *Mailbox[T]) Put(gen uint64, set []T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if gen < m.gen {
		return
	}
	m.gen = gen
	if m.set != nil && len(m.set) == len(set) && (len(set) == 0 || &m.set[0] == &set[0]) {
		return
	}
	m.set, m.changed = set, true
	m.wake()
}

func (m *Mailbox[T]) wake() {
	if m.waiter != nil {
		m.waiter.Wake()
	}
}

func (m *Mailbox[T]) take() ([]T, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ok := m.changed
	m.changed = false
	return m.set, ok
}

func (m *Mailbox[T]) wakes(w *Waiter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiter = w
}

// Run lets the engine take turns, each of which waits with w, until ctx is done or a
// turn fails. A set that has been put is handed to it between two turns.
func (m *Mailbox[T]) Run(ctx context.Context, w *Waiter, set func([]T), turn func() error) error {
	m.wakes(w)
	defer m.wakes(nil)
	stop := context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.wake()
	})
	defer stop()
	for ctx.Err() == nil {
		if s, ok := m.take(); ok {
			set(s)
		}
		if err := turn(); err != nil {
			return err
		}
	}
	return nil
}
