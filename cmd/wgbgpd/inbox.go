package main

import (
	"sync"

	"github.com/wgbgp/wgbgp/ha"
)

// inbox is ha.Inbox between the goroutines that observe and the loop.
type inbox struct {
	kick chan struct{} // capacity 1: "look again"

	mu    sync.Mutex
	facts *ha.Inbox
}

func newInbox() *inbox { return &inbox{kick: make(chan struct{}, 1), facts: ha.NewInbox()} }

// put adds facts and wakes the loop if there is news. Otherwise it finds them at
// its next turn, within a second.
func (b *inbox) put(facts ...ha.Fact) {
	b.mu.Lock()
	news := b.facts.Put(facts...)
	b.mu.Unlock()
	if !news {
		return
	}
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

func (b *inbox) reconfigured() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.facts.Reconfigured()
}

func (b *inbox) take() []ha.Fact {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.facts.Take()
}
