package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/wg"
)

func at(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port)
}

func TestGreetingsAreCarriedOutOnceInTheirOrderAndInBatches(t *testing.T) {
	p := &ha.Plan{}
	for i := range greetBatch + 3 {
		p.Greetings = append(p.Greetings, wg.Greeting{Device: "wg0", Key: wg.Key{byte(i)}, Why: ha.GreetTakeover, Try: 1})
	}
	r := &greeter{}
	first, second := r.next(p), r.next(p)
	if len(first) != greetBatch || len(second) != 3 || first[0].Key != (wg.Key{}) || second[0].Key != (wg.Key{greetBatch}) {
		t.Errorf("batches of %d and %d, want %d and 3 in the order of the plan", len(first), len(second), greetBatch)
	}
	if again := r.next(p); again != nil {
		t.Errorf("carried out twice: %+v", again)
	}
	p.Greetings[5].Try, p.Greetings[5].Why = 2, ha.GreetSighted
	if again := r.next(p); len(again) != 1 || again[0].Key != (wg.Key{5}) {
		t.Errorf("another try: got %+v, want that one", again)
	}
	if n, m := r.takeover.Load(), r.sighted.Load(); n != greetBatch+3 || m != 1 {
		t.Errorf("counted %d and %d, want %d and 1", n, m, greetBatch+3)
	}
}

func TestLookoutIsToldOnlyOfNewPlaces(t *testing.T) {
	l := newLookout(nil)
	old, young := time.Unix(100, 0), time.Unix(200, 0)
	l.add(wg.Roster{Host: "a", Device: "wg0", Peers: []wg.Whereabouts{{Key: wg.Key{1}, Endpoint: at(1), Heard: old}}})
	l.add(wg.Roster{Host: "b", Device: "wg0", Peers: []wg.Whereabouts{{Key: wg.Key{2}, Endpoint: at(1), Heard: young}, {Key: wg.Key{3}, Endpoint: at(3), Heard: old}}})
	got := l.take()["wg0"]
	if len(got) != 2 || got[at(1)] != (wg.Key{2}) || got[at(3)] != (wg.Key{3}) {
		t.Errorf("got %v, want two places, the first of the peer that was heard there last", got)
	}
	l.add(wg.Roster{Host: "a", Device: "wg0", Peers: []wg.Whereabouts{{Key: wg.Key{1}, Endpoint: at(1), Heard: time.Unix(150, 0)}}})
	if got := l.take(); len(got) != 0 {
		t.Errorf("heard again at the same place: got %v, want nothing to do", got)
	}
}
