package ha

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/wgbgp/wgbgp/bgp"
)

// rangeWorld has a neighbor that accepts whoever comes from 198.51.100.0/24.
func rangeWorld(t *testing.T) (*world, *Config) {
	cfg := config()
	cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{
		Name: "lab", Kind: bgp.KindRouter, Group: "lab", Device: "eth0", IPv4: true, Export: true,
		Range: pfx("198.51.100.0/24"), MaxSessions: 4,
	})
	return newWorld(t, cfg), cfg
}

const visitor = "lab/198.51.100.7"

func (w *world) visits(st bgp.SessionState, gone bool) {
	w.step(NeighborObserved{bgp.NeighborState{
		Name: visitor, Dynamic: "lab", Address: netip.MustParseAddr("198.51.100.7"), RemoteASN: 64999, State: st, Gone: gone,
	}})
}

func (w *world) names() (out []string) {
	w.c.Sessions(func(n *bgp.Neighbor, _ bgp.NeighborState) { out = append(out, n.Name) })
	return out
}

func TestVisitorComesAndLeavesNothing(t *testing.T) {
	w, cfg := rangeWorld(t)
	before := w.settle()
	w.visits(bgp.StateEstablished, false)
	w.learn(visitor, 0, "10.7.0.0/16")
	p := w.settle()
	i := slices.IndexFunc(p.FIB.Routes, func(r bgp.Route) bool { return r.Prefix == pfx("10.7.0.0/16") })
	if i < 0 || p.FIB.Routes[i].NextHops[0].Device != "eth0" {
		t.Errorf("routes: got %v, want one to 10.7.0.0/16 by eth0", p.FIB.Routes)
	}
	i = slices.IndexFunc(p.Announcements, func(a bgp.Announcement) bool { return a.Prefix == pfx("10.7.0.0/16") })
	if i < 0 || !slices.Contains(p.Announcements[i].Except, visitor) {
		t.Errorf("announcements: got %+v, want one of 10.7.0.0/16 that spares the visitor", p.Announcements)
	}
	if !slices.Equal(w.names(), []string{"lab", visitor, "tgw/1", "tgw/2"}) {
		t.Errorf("sessions: got %v", w.names())
	}

	// A reload keeps the visitor and its paths.
	w.c.Reconfigure(w.now, cfg)
	if q := w.settle(); len(q.FIB.Routes) != len(p.FIB.Routes) || !slices.Contains(w.names(), visitor) {
		t.Errorf("after a reload: %d routes, sessions %v", len(q.FIB.Routes), w.names())
	}

	w.unlearn(visitor, "10.7.0.0/16")
	w.visits(bgp.StateIdle, true)
	w.settle()
	w.now = w.now.Add(2 * w.c.cfg.Gateway.Linger)
	after := w.settle()
	if len(after.FIB.Routes) != len(before.FIB.Routes) || len(after.Announcements) != len(before.Announcements) || len(w.c.rib.byPrefix) != 0 {
		t.Errorf("left: %v, %v, %d entries", after.FIB.Routes, after.Announcements, len(w.c.rib.byPrefix))
	}
	if slices.Contains(w.names(), visitor) || len(w.c.left) != 0 {
		t.Errorf("sessions: got %v and %v", w.names(), w.c.left)
	}
}

// The events of session and paths are not ordered against each other.
func TestVisitorsPathsMayComeFirst(t *testing.T) {
	w, _ := rangeWorld(t)
	w.learn(visitor, 0, "10.7.0.0/16")
	if p := w.settle(); len(p.FIB.Routes) != 0 {
		t.Errorf("routes of an unknown neighbor: %v", p.FIB.Routes)
	}
	w.visits(bgp.StateEstablished, false)
	if p := w.settle(); len(p.FIB.Routes) != 1 {
		t.Errorf("routes: got %v, want one", p.FIB.Routes)
	}
	w.visits(bgp.StateIdle, true) // its withdrawal comes after it
	w.unlearn(visitor, "10.7.0.0/16")
	w.settle()
	w.now = w.now.Add(2 * w.c.cfg.Gateway.Linger)
	if p := w.settle(); len(p.FIB.Routes) != 0 || len(w.c.rib.byPrefix) != 0 {
		t.Errorf("left: %v, %d entries", p.FIB.Routes, len(w.c.rib.byPrefix))
	}
}

func TestSweepDoesNotWaitForVisitors(t *testing.T) {
	w, _ := rangeWorld(t)
	for _, n := range []string{"tgw/1", "tgw/2"} {
		w.session(n, true)
	}
	w.visits(bgp.StateOpenSent, false)
	w.settle()
	if !w.c.Complete() {
		t.Error("sweeping waits for somebody from a range")
	}
}
