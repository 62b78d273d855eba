package main

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/wg"
)

func observed(device string, rx uint64) ha.DeviceObserved {
	return ha.DeviceObserved{State: wg.DeviceState{Name: device, Peers: []wg.PeerState{{Rx: rx}}}}
}

func pathChange(prefix, neighbor string, withdrawn bool) bgp.PathChange {
	return bgp.PathChange{Path: bgp.Path{Prefix: netip.MustParsePrefix(prefix), Neighbor: neighbor}, Withdrawn: withdrawn}
}

func TestInboxKeepsTheNewestFactAboutEachThing(t *testing.T) {
	b := newInbox()
	for i := range uint64(1000) {
		b.put(observed("wg0", i), observed("wg1", i), ha.NeighborObserved{NeighborState: bgp.NeighborState{Name: "paris", Received: uint32(i)}})
		b.put(ha.RoutesApplied{RoutesApplied: bgp.RoutesApplied{Gen: i}}, ha.AnnounceApplied{AnnounceApplied: bgp.AnnounceApplied{Gen: i}})
		b.put(ha.WireGuardApplied{Applied: wg.Applied{Device: "wg0", Gen: i}}, ha.WireGuardApplied{Applied: wg.Applied{Device: "wg1", Gen: i}})
		b.put(ha.SiteSet{Site: "paris", Disabled: i%2 == 0})
	}
	facts := b.take()
	if len(facts) != 8 {
		t.Fatalf("got %d facts, want one for each of 8 things", len(facts))
	}
	if d := facts[0].(ha.DeviceObserved); d.State.Name != "wg0" || d.State.Peers[0].Rx != 999 {
		t.Errorf("first fact: got %+v, want the newest of wg0, at the place of the first", d)
	}
	if s := facts[7].(ha.SiteSet); s.Disabled {
		t.Errorf("order about paris: got %+v, want the last one", s)
	}
	if again := b.take(); len(again) != 0 {
		t.Errorf("after take: got %d facts, want none", len(again))
	}
	b.put(observed("wg0", 7))
	if facts := b.take(); len(facts) != 1 || facts[0].(ha.DeviceObserved).State.Peers[0].Rx != 7 {
		t.Errorf("after take and put: got %+v", facts)
	}
}

func TestInboxQueuesProbeResultsUpToABound(t *testing.T) {
	b := newInbox()
	for i := range maxQueued + 5000 {
		b.put(ha.ProbeObserved{ProbeResult: wg.ProbeResult{ID: fmt.Sprint("probe-", i%2)}})
		if i == 9 {
			if n := len(b.order); n != 10 {
				t.Fatalf("after 10 rounds of 2 probes: %d facts wait, want all 10, since each counts for rise and fall", n)
			}
		}
	}
	if n := len(b.take()); n > maxQueued+2 {
		t.Errorf("got %d facts, want at most %d", n, maxQueued+2)
	}
}

func TestInboxMergesPathsAndTellsThemLast(t *testing.T) {
	b := newInbox()
	b.put(ha.PathsChanged{Changes: []bgp.PathChange{pathChange("10.1.0.0/16", "a", false), pathChange("10.2.0.0/16", "a", false)}})
	b.put(ha.NeighborObserved{NeighborState: bgp.NeighborState{Name: "a"}})
	b.put(ha.PathsChanged{Changes: []bgp.PathChange{pathChange("10.1.0.0/16", "a", true), pathChange("10.1.0.0/16", "b", false)}})
	facts := b.take()
	if len(facts) != 2 {
		t.Fatalf("got %d facts, want the session and one batch of paths", len(facts))
	}
	if _, ok := facts[0].(ha.NeighborObserved); !ok {
		t.Errorf("first: got %T, want the session before what it brought", facts[0])
	}
	got := facts[1].(ha.PathsChanged).Changes
	if len(got) != 3 || !got[0].Withdrawn || got[1].Path.Prefix != netip.MustParsePrefix("10.2.0.0/16") || got[2].Path.Neighbor != "b" {
		t.Errorf("paths: got %+v, want the withdrawal of 10.1.0.0/16 from a, 10.2.0.0/16 from a, 10.1.0.0/16 from b", got)
	}
}

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
	for i := range steadyAfter {
		if !woken(true) {
			t.Fatalf("success %d may complete a rise: it must wake the loop", i+1)
		}
	}
	if woken(true) {
		t.Error("a success after many must not wake the loop")
	}
	if !woken(false) {
		t.Error("a failure must wake the loop at once")
	}
	if !woken(true) {
		t.Error("a success after a failure must wake the loop")
	}
	if n := len(b.take()); n != steadyAfter+3 {
		t.Errorf("got %d facts, want every result", n)
	}
}
