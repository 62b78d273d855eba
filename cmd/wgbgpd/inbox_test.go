package main

import (
	"fmt"
	"sync"
	"testing"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/wg"
)

func TestInboxLosesNothingAmongManyWriters(t *testing.T) {
	b := newInbox()
	const writers, each = 8, 500
	seen := map[string]int{}
	done := make(chan struct{})
	var g sync.WaitGroup
	for w := range writers {
		g.Go(func() {
			for i := range each {
				b.put(ha.NeighborObserved{NeighborState: bgp.NeighborState{Name: fmt.Sprint(w), Received: uint32(i)}})
			}
		})
	}
	go func() { g.Wait(); close(done) }()
	take := func() {
		for _, f := range b.take() {
			n := f.(ha.NeighborObserved)
			if int(n.Received) < seen[n.Name] {
				t.Errorf("neighbor %s: got %d after %d, want newer facts only", n.Name, n.Received, seen[n.Name])
			}
			seen[n.Name] = int(n.Received)
		}
	}
	for ended := false; !ended; {
		select {
		case <-b.kick:
		case <-done:
			ended = true
		}
		take()
	}
	for w := range writers {
		if got := seen[fmt.Sprint(w)]; got != each-1 {
			t.Errorf("neighbor %d: last seen %d, want %d", w, got, each-1)
		}
	}
}

func TestSuccessesOfASteadyProbeWakeNobody(t *testing.T) {
	b := newInbox()
	woken := func(ok bool) bool {
		b.put(ha.ProbeObserved{ProbeResult: wg.ProbeResult{ID: "paris/lan", OK: ok}})
		select {
		case <-b.kick:
			return true
		default:
			return false
		}
	}
	for range 20 {
		woken(true)
	}
	if woken(true) {
		t.Error("a success after many must not wake the loop")
	}
	if !woken(false) {
		t.Error("a failure must wake the loop at once")
	}
}
