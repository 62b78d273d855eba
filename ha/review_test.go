package ha

import (
	"fmt"
	"math/rand"
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// slowEdge takes the latest plan, gives it effect some time later, and reports
// later still. Plans offered meanwhile overtake each other.
type slowEdge struct {
	latest, busy, did *Plan
	effected          bool
}

func (e *slowEdge) step(effect, report func(*Plan)) {
	switch {
	case e.busy == nil && e.latest != e.did:
		e.busy, e.effected = e.latest, false
	case e.busy != nil && !e.effected:
		effect(e.busy)
		e.effected = true
	case e.busy != nil:
		p := e.busy
		e.did, e.busy = p, nil
		report(p)
	}
}

// reality is what the edges made of the plans they took.
type reality struct {
	allowed map[string]map[netip.Prefix]string // by device
	routes  map[netip.Prefix]bgp.Route
	ann     map[netip.Prefix]bool
}

func (r *reality) check() error {
	for p := range r.ann {
		if _, ok := r.routes[p]; !ok {
			return fmt.Errorf("%s is announced without a route", p)
		}
	}
	for p, rt := range r.routes {
		for _, h := range rt.NextHops {
			if own := r.allowed[h.Device]; own != nil && own[p] == "" {
				return fmt.Errorf("%s is routed into %s where no peer owns it", p, h.Device)
			}
		}
	}
	return nil
}

// Whatever the edges are at while prefixes come and go: what is announced is
// routed, and what is routed into a device belongs to a peer there.
func TestOrderHoldsWhileEdgesAreSlow(t *testing.T) {
	for seed := range int64(400) {
		r := rand.New(rand.NewSource(seed))
		cfg := randomConfig(r)
		w := newWorld(t, cfg)
		real := reality{map[string]map[netip.Prefix]string{"wg0": {}, "wg1": {}}, map[netip.Prefix]bgp.Route{}, map[netip.Prefix]bool{}}
		var wgEdge, fibEdge, bgpEdge slowEdge
		trace := ""
		note := func(format string, a ...any) { trace += fmt.Sprintf(format+"\n", a...) }
		must := func(what string) {
			if err := real.check(); err != nil {
				t.Fatalf("seed %d: after %s: %v\n%s", seed, what, err, trace)
			}
		}
		for range 600 {
			switch r.Intn(8) {
			case 0:
				n := cfg.Neighbors[r.Intn(len(cfg.Neighbors))].Name
				if r.Intn(4) == 0 {
					w.session(n, r.Intn(4) > 0)
				}
				p := fmt.Sprintf("10.%d.0.0/16", r.Intn(4))
				if r.Intn(2) == 0 {
					w.learn(n, 0, p)
					note("learn %s %s", n, p)
				} else {
					w.unlearn(n, p)
					note("unlearn %s %s", n, p)
				}
			case 1:
				w.now = w.now.Add(time.Duration(r.Intn(900)) * time.Millisecond)
			case 2:
				p := w.c.Plan(w.now)
				note("plan %d", p.Gen)
				wgEdge.latest, fibEdge.latest, bgpEdge.latest = p, p, p
			case 3, 4:
				wgEdge.step(func(p *Plan) {
					for _, d := range p.Devices {
						own := map[netip.Prefix]string{}
						for _, q := range d.Peers {
							for _, a := range q.AllowedIPs {
								own[a] = q.Name
							}
						}
						real.allowed[d.Name] = own
					}
					note("wireguard %d", p.Gen)
					must("wireguard")
				}, w.applyWG)
			case 5:
				fibEdge.step(func(p *Plan) {
					real.routes = map[netip.Prefix]bgp.Route{}
					for _, rt := range p.FIB.Routes {
						if rt.Type == bgp.Unicast {
							real.routes[rt.Prefix] = rt
						}
					}
					note("routes %d", p.Gen)
					must("routes")
				}, w.applyRoutes)
			default:
				bgpEdge.step(func(p *Plan) {
					real.ann = map[netip.Prefix]bool{}
					for _, a := range p.Announcements {
						real.ann[a.Prefix] = true
					}
					note("bgp %d", p.Gen)
					must("bgp")
				}, w.applyAnn)
			}
		}
	}
}

// A netlink error of a whole attempt says nothing about the routes that were
// confirmed before.
func TestFailedAttemptAtRoutesLeavesConfirmedOnesStanding(t *testing.T) {
	w := newWorld(t, config(site("a", 1, "10.1.0.0/16")))
	w.session("a", true)
	p := w.settle()
	w.step(RoutesApplied{Plan: p, RoutesApplied: bgp.RoutesApplied{Gen: p.Gen, Err: "netlink: no buffer space"}})
	if p = w.c.Plan(w.now); !announced(p, "10.1.0.0/16") {
		t.Errorf("a confirmed route is gone for a failed look:\n%s", text(p))
	}
	w.learn("a", 0, "10.2.0.0/16")
	p = w.c.Plan(w.now)
	w.applyWG(p)
	p = w.c.Plan(w.now)
	w.step(RoutesApplied{Plan: p, RoutesApplied: bgp.RoutesApplied{Gen: p.Gen, Err: "netlink: no buffer space"}})
	if p = w.c.Plan(w.now); announced(p, "10.2.0.0/16") || withheld(p, "10.2.0.0/16") != ReasonRouteFailed {
		t.Errorf("a new route is not confirmed by a failed attempt:\n%s", text(p))
	}
}

// The speaker could not withdraw: the prefix is still out and must be routed.
func TestRouteStaysWhileItsWithdrawalFails(t *testing.T) {
	w := newWorld(t, config(site("a", 1)))
	w.session("a", true)
	w.learn("a", 0, "10.9.0.0/16")
	w.settle()
	w.unlearn("a", "10.9.0.0/16")
	p := w.c.Plan(w.now)
	w.now = w.now.Add(2 * time.Second)
	failed := map[netip.Prefix]string{pfx("10.9.0.0/16"): "withdraw: engine does not answer"}
	w.step(AnnounceApplied{Plan: p, AnnounceApplied: bgp.AnnounceApplied{Gen: p.Gen, Failed: failed}})
	if p = w.c.Plan(w.now); routed(p, "10.9.0.0/16") == "" {
		t.Errorf("the prefix is announced and lost its route:\n%s", text(p))
	}
	w.applyAnn(p)
	if p = w.c.Plan(w.now); routed(p, "10.9.0.0/16") != "" {
		t.Errorf("withdrawn, the route must go:\n%s", text(p))
	}
}

// The device could not be set (a port in use, an interrupted dump): its peers
// are as they were. On another interface of the same name they are not.
func TestFailedAttemptAtADeviceLeavesItsPeersStanding(t *testing.T) {
	w := newWorld(t, config(site("a", 1, "10.1.0.0/16")))
	w.session("a", true)
	p := w.settle()
	fail := func(index int) {
		w.step(WireGuardApplied{p, wg.Applied{Device: "wg0", Gen: p.Gen, Index: index, Err: "interface wg0: configure: address in use"}})
		p = w.c.Plan(w.now)
	}
	if fail(7); !announced(p, "10.1.0.0/16") {
		t.Errorf("the interface stands, its prefixes are withdrawn:\n%s", text(p))
	}
	if fail(8); announced(p, "10.1.0.0/16") {
		t.Errorf("another interface has taken the place and holds nothing yet:\n%s", text(p))
	}
}
