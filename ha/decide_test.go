package ha

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/wgbgp/wgbgp/bgp"
)

// claim is one path of a neighbor: "router" neighbors only, so that BGP alone decides.
type claim struct {
	from  string
	kind  bgp.Kind
	attrs bgp.Attrs
	id    uint32
	stale bool
	rid   string // router ID, empty: 192.0.2.1
	addr  string // empty: 198.51.100.1
}

// decide plans one prefix with these claims and returns it as the operator sees
// it, and the devices of its route.
func decide(t *testing.T, maxECMP int, claims ...claim) (EntryView, []string) {
	t.Helper()
	cfg := config()
	cfg.FIB.MaxECMP = maxECMP
	or := func(s, other string) netip.Addr {
		if s == "" {
			s = other
		}
		return netip.MustParseAddr(s)
	}
	for _, c := range claims {
		if !slices.ContainsFunc(cfg.Neighbors, func(n bgp.Neighbor) bool { return n.Name == c.from }) {
			cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{
				Name: c.from, Kind: c.kind, Group: "r", Device: "dev-" + c.from, IPv4: true, Address: or(c.addr, "198.51.100.1"),
			})
		}
	}
	w := newWorld(t, cfg)
	var ch []bgp.PathChange
	for _, c := range claims {
		w.step(NeighborObserved{bgp.NeighborState{Name: c.from, State: bgp.StateEstablished, RouterID: or(c.rid, "192.0.2.1")}})
		a := c.attrs
		ch = append(ch, bgp.PathChange{Path: bgp.Path{
			Prefix: pfx("10.7.0.0/16"), Neighbor: c.from, ID: c.id, Attrs: &a, Stale: c.stale, NextHop: netip.MustParseAddr("198.51.100.1"),
		}})
	}
	w.step(PathsChanged{ch})
	p := w.settle()
	es := w.c.Entries(func(p netip.Prefix) bool { return p == pfx("10.7.0.0/16") })
	if len(es) != 1 {
		t.Fatalf("entries: got %d, want 1", len(es))
	}
	var devs []string
	for _, r := range p.FIB.Routes {
		if r.Prefix == pfx("10.7.0.0/16") && r.Type == bgp.Unicast {
			for _, h := range bgp.Primary(r.NextHops) {
				devs = append(devs, h.Device)
			}
		}
	}
	return es[0], devs
}

func TestEveryStepOfPathSelectionIsNamed(t *testing.T) {
	path := func(pref, med uint32, o bgp.Origin, as ...bgp.ASN) bgp.Attrs {
		return bgp.Attrs{LocalPref: pref, MED: med, HasMED: true, Origin: o, ASPath: as}
	}
	const r, f = bgp.KindRouter, bgp.KindFleet
	for _, c := range []struct {
		step     Step
		best     claim
		loser    claim
		sameCost bool
	}{
		{step: StepPref, best: claim{from: "z", kind: r, attrs: path(200, 9, 2, 1, 2)}, loser: claim{from: "a", kind: r, attrs: path(100, 0, 0, 1)}},
		{step: StepASPath, best: claim{from: "z", kind: r, attrs: path(100, 9, 2, 1)}, loser: claim{from: "a", kind: r, attrs: path(100, 0, 0, 1, 2)}},
		{step: StepOrigin, best: claim{from: "z", kind: r, attrs: path(100, 9, 0, 1)}, loser: claim{from: "a", kind: r, attrs: path(100, 0, 2, 1)}},
		{step: StepMED, best: claim{from: "z", kind: f, attrs: path(100, 1, 0, 1)}, loser: claim{from: "a", kind: r, attrs: path(100, 2, 0, 1)}},
		{step: StepEBGP, best: claim{from: "z", kind: r, attrs: path(100, 9, 0, 1)}, loser: claim{from: "a", kind: f, attrs: path(100, 1, 0, 2)}},
		{step: StepStale, best: claim{from: "z", kind: r, attrs: path(100, 0, 0, 1)}, loser: claim{from: "a", kind: r, attrs: path(100, 0, 0, 1), stale: true}},
		{step: StepRouterID, best: claim{from: "z", kind: r, rid: "192.0.2.1", addr: "198.51.100.9", attrs: path(100, 0, 0, 1)}, loser: claim{from: "a", kind: r, rid: "192.0.2.2", attrs: path(100, 0, 0, 2)}, sameCost: true},
		{step: StepAddress, best: claim{from: "z", kind: r, addr: "198.51.100.1", attrs: path(100, 0, 0, 1)}, loser: claim{from: "a", kind: r, addr: "198.51.100.2", attrs: path(100, 0, 0, 1)}, sameCost: true},
		{step: StepPathID, best: claim{from: "a", kind: r, id: 1, attrs: path(100, 0, 0, 1)}, loser: claim{from: "a", kind: r, id: 2, attrs: path(100, 0, 0, 1)}, sameCost: true},
	} {
		for _, claims := range [][]claim{{c.best, c.loser}, {c.loser, c.best}} {
			e, devs := decide(t, 1, claims...)
			if got := e.Paths[0]; got.From != c.best.from || got.Path.ID != c.best.id || !got.Best || got.Decided != StepNone {
				t.Errorf("%s: best: got %s (%d), best %v, decided by %q, want %s (%d)", c.step, got.From, got.Path.ID, got.Best, got.Decided, c.best.from, c.best.id)
			}
			if got := e.Paths[1]; got.Best || got.Decided != c.step || got.Decided.Text() == "" {
				t.Errorf("%s: loser: got best %v, decided by %q", c.step, got.Best, got.Decided)
			}
			if want := []string{"dev-" + c.best.from}; !slices.Equal(devs, want) {
				t.Errorf("%s: route by %v, want %v", c.step, devs, want)
			}
		}
		e, devs := decide(t, 2, c.best, c.loser)
		if e.Paths[1].Best != c.sameCost {
			t.Errorf("%s with max-ecmp 2: second path best %v, want %v", c.step, e.Paths[1].Best, c.sameCost)
		}
		if n := len(devs); (n == 2) != (c.sameCost && c.step != StepPathID) {
			t.Errorf("%s with max-ecmp 2: route by %v", c.step, devs)
		}
	}
}

// MED says nothing about paths of different ASes: the worse of one AS must lose
// whatever stands between them (RFC 4271 section 9.1.2.2 c).
func TestMEDComparesWithinOneNeighboringASOnly(t *testing.T) {
	at := func(from, rid string, as bgp.ASN, med uint32) claim {
		return claim{from: from, kind: bgp.KindRouter, rid: rid, attrs: bgp.Attrs{LocalPref: 100, ASPath: []bgp.ASN{as}, MED: med, HasMED: true}}
	}
	low, other, high := at("low", "192.0.2.3", 1, 5), at("other", "192.0.2.2", 2, 7), at("high", "192.0.2.1", 1, 10)
	for _, claims := range [][]claim{{low, other, high}, {high, other, low}, {other, high, low}, {other, low, high}, {high, low, other}, {low, high, other}} {
		e, devs := decide(t, 8, claims...)
		if e.Paths[0].From != "other" || e.Paths[1].From != "low" || e.Paths[2].From != "high" {
			t.Errorf("order: got %s %s %s, want other low high", e.Paths[0].From, e.Paths[1].From, e.Paths[2].From)
		}
		if e.Paths[2].Decided != StepMED || e.Paths[1].Decided != StepRouterID {
			t.Errorf("decided: got %s and %s", e.Paths[1].Decided, e.Paths[2].Decided)
		}
		if want := []string{"dev-low", "dev-other"}; !slices.Equal(devs, want) {
			t.Errorf("route by %v, want %v", devs, want)
		}
	}
}

// k02: of three equal paths one goes stale and leaves the group; a stale one that
// is alone, or better, stays.
func TestStalePathIsNeverBesideAFreshOne(t *testing.T) {
	at := func(from string, pref uint32, stale bool) claim {
		return claim{from: from, kind: bgp.KindRouter, stale: stale, attrs: bgp.Attrs{LocalPref: pref, ASPath: []bgp.ASN{1}}}
	}
	for _, c := range []struct {
		name   string
		claims []claim
		want   []string
	}{
		{"all fresh", []claim{at("a", 100, false), at("b", 100, false), at("c", 100, false)}, []string{"dev-a", "dev-b", "dev-c"}},
		{"one stale", []claim{at("a", 100, true), at("b", 100, false), at("c", 100, false)}, []string{"dev-b", "dev-c"}},
		{"alone", []claim{at("a", 100, true)}, []string{"dev-a"}},
		{"all stale", []claim{at("a", 100, true), at("b", 100, true)}, []string{"dev-a", "dev-b"}},
		{"stale and better", []claim{at("a", 200, true), at("b", 100, false)}, []string{"dev-a"}},
	} {
		if _, devs := decide(t, 8, c.claims...); !slices.Equal(devs, c.want) {
			t.Errorf("%s: route by %v, want %v", c.name, devs, c.want)
		}
	}
}
