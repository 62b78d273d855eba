package ha

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

func observed(device string, rx uint64) DeviceObserved {
	return DeviceObserved{State: wg.DeviceState{Name: device, Peers: []wg.PeerState{{Rx: rx}}}}
}

func pathChange(prefix, neighbor string, withdrawn bool) bgp.PathChange {
	return bgp.PathChange{Path: bgp.Path{Prefix: netip.MustParsePrefix(prefix), Neighbor: neighbor}, Withdrawn: withdrawn}
}

func TestInboxKeepsTheNewestFactAboutEachThing(t *testing.T) {
	b := NewInbox()
	for i := range uint64(1000) {
		b.Put(observed("wg0", i), observed("wg1", i), NeighborObserved{NeighborState: bgp.NeighborState{Name: "paris", Received: uint32(i)}})
		b.Put(RoutesApplied{RoutesApplied: bgp.RoutesApplied{Gen: i}}, AnnounceApplied{AnnounceApplied: bgp.AnnounceApplied{Gen: i}})
		b.Put(WireGuardApplied{Applied: wg.Applied{Device: "wg0", Gen: i}}, WireGuardApplied{Applied: wg.Applied{Device: "wg1", Gen: i}})
		b.Put(PeersDiscovered{Candidates: make([]tgwconnect.Candidate, i%2)})
		b.Put(SiteSet{Site: "paris", Disabled: i%2 == 0})
		b.Put(RosterHeard{&wg.Roster{Host: "gw-b", Device: "wg0"}})
		b.Put(PeerSighted{Device: "wg0", Key: wg.Key{1}, From: netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(i))})
	}
	facts := b.Take()
	if len(facts) != 11 {
		t.Fatalf("got %d facts, want one for each of 11 things", len(facts))
	}
	if d := facts[0].(DeviceObserved); d.State.Name != "wg0" || d.State.Peers[0].Rx != 999 {
		t.Errorf("first fact: got %+v, want the newest of wg0, at the place of the first", d)
	}
	if s := facts[8].(SiteSet); s.Disabled {
		t.Errorf("order about paris: got %+v, want the last one", s)
	}
	if again := b.Take(); len(again) != 0 {
		t.Errorf("after take: got %d facts, want none", len(again))
	}
	b.Put(observed("wg0", 7))
	if facts := b.Take(); len(facts) != 1 || facts[0].(DeviceObserved).State.Peers[0].Rx != 7 {
		t.Errorf("after take and put: got %+v", facts)
	}
}

func TestInboxQueuesProbeResultsUpToABound(t *testing.T) {
	b := NewInbox()
	for i := range MaxQueued + 5000 {
		b.Put(ProbeObserved{ProbeResult: wg.ProbeResult{ID: fmt.Sprint("probe-", i%2)}})
		if i == 9 {
			if _, n, _ := b.Waiting(); n != 10 {
				t.Fatalf("after 10 rounds of 2 probes: %d facts wait, want all 10, since each counts for rise and fall", n)
			}
		}
	}
	if n := len(b.Take()); n > MaxQueued+2 {
		t.Errorf("got %d facts, want at most %d", n, MaxQueued+2)
	}
}

func TestInboxMergesPathsAndTellsThemLast(t *testing.T) {
	b := NewInbox()
	b.Put(PathsChanged{Changes: []bgp.PathChange{pathChange("10.1.0.0/16", "a", false), pathChange("10.2.0.0/16", "a", false)}})
	b.Put(NeighborObserved{NeighborState: bgp.NeighborState{Name: "a"}})
	b.Put(PathsChanged{Changes: []bgp.PathChange{pathChange("10.1.0.0/16", "a", true), pathChange("10.1.0.0/16", "b", false)}})
	facts := b.Take()
	if len(facts) != 2 {
		t.Fatalf("got %d facts, want the session and one batch of paths", len(facts))
	}
	if _, ok := facts[0].(NeighborObserved); !ok {
		t.Errorf("first: got %T, want the session before what it brought", facts[0])
	}
	got := facts[1].(PathsChanged).Changes
	if len(got) != 3 || !got[0].Withdrawn || got[1].Path.Prefix != netip.MustParsePrefix("10.2.0.0/16") || got[2].Path.Neighbor != "b" {
		t.Errorf("paths: got %+v, want the withdrawal of 10.1.0.0/16 from a, 10.2.0.0/16 from a, 10.1.0.0/16 from b", got)
	}
}

func TestSuccessesOfASteadyProbeAreNoNews(t *testing.T) {
	b := NewInbox()
	woken := func(ok bool) bool {
		return b.Put(ProbeObserved{ProbeResult: wg.ProbeResult{ID: "paris/lan", OK: ok}})
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
	if n := len(b.Take()); n != steadyAfter+3 {
		t.Errorf("got %d facts, want every result", n)
	}
}

// An order that overtakes another before the loop turns is the one that counts.
func TestTheLastOrderToDrainCounts(t *testing.T) {
	b := NewInbox()
	for _, p := range []DrainPhase{DrainNone, DrainPrefer, DrainNone} {
		b.Put(Draining{Phase: p})
	}
	if got := b.Take(); len(got) != 1 || got[0] != (Draining{Phase: DrainNone}) {
		t.Errorf("got %v, want the last order alone", got)
	}
}
