package apply_test

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/simtest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/apply"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

// small is a world with one gateway to make a Connect peer for; bare, it lacks the
// CIDR block and the route to it.
func small(t *testing.T, bare bool) (*simtest.Sim, *world.Names, *clock, *tgwconnect.Want, apply.Options) {
	c := &clock{now: time.Now()}
	w, n := world.Example("us-east-1", c.Now, world.ExampleOptions{NoPeers: true, NoConnectivity: bare})
	sim := simtest.Start(t, w, tgwsim.Options{Now: c.Now})
	sim.Setenv(t, n.Instances[0])
	cl, err := ec2api.New(t.Context(), ec2api.Options{Backoff: func(int) time.Duration { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	want := &tgwconnect.Want{
		Name: "core", Gateway: "gw1", TransitGatewayID: n.TransitGateway, TransportID: n.VPCAttachment, PeerASN: 65010,
		Addresses: n.Addresses[:1], CIDR: netip.MustParsePrefix("192.0.2.0/24"), VPCRouteTables: []string{n.RouteTable}, Interfaces: n.Interfaces[:1],
	}
	return sim, n, c, want, apply.Options{API: ec2api.Applier{Client: cl}, Sleep: c.Sleep, Rand: rand.New(rand.NewPCG(1, 1))}
}

// routed counts the routes to the Transit Gateway.
func routed(sim *simtest.Sim, n *world.Names) (k int) {
	for _, r := range sim.World().Snapshot().RouteTables[n.RouteTable].Routes {
		if r.Target.TransitGatewayID == n.TransitGateway {
			k++
		}
	}
	return
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDestroySwitchesTheCheckOnAgain(t *testing.T) {
	sim, n, _, w, o := small(t, true)
	sim.World().Do(func(s *world.State) { s.Interfaces[n.Interfaces[0]].SourceDestCheck = true })
	must(t, apply.Apply(t.Context(), w, o))
	must(t, apply.Destroy(t.Context(), w, o))
	if !sim.World().Snapshot().Interfaces[n.Interfaces[0]].SourceDestCheck {
		t.Error("destroy left the source/dest check off")
	}
}

func TestRouteMadeLaterIsTakenBackToo(t *testing.T) {
	sim, n, _, w, o := small(t, false) // route and block exist before us
	must(t, apply.Apply(t.Context(), w, o))
	sim.World().Do(func(s *world.State) { t := s.RouteTables[n.RouteTable]; t.Routes = t.Routes[:len(t.Routes)-1] })
	must(t, apply.Apply(t.Context(), w, o)) // we make the route
	must(t, apply.Destroy(t.Context(), w, o))
	if k := routed(sim, n); k != 0 {
		t.Errorf("%d routes of ours left", k)
	}
}

// racer lets somebody else act just before a route is made.
type racer struct {
	ec2api.Applier
	f func()
}

func (r *racer) Do(ctx context.Context, w *tgwconnect.Want, s tgwconnect.Step) (string, error) {
	if s.Kind == tgwconnect.StepCreateRoute && r.f != nil {
		r.f()
		r.f = nil
	}
	return r.Applier.Do(ctx, w, s)
}

func TestRouteThatSomebodyElseMadeFasterStays(t *testing.T) {
	sim, n, _, w, o := small(t, true)
	o.API = &racer{o.API.(ec2api.Applier), func() {
		sim.World().Do(func(s *world.State) {
			t := s.RouteTables[n.RouteTable]
			t.Routes = append(t.Routes, world.VPCRoute{Prefix: w.CIDR, Target: world.Target{TransitGatewayID: n.TransitGateway}, Origin: "CreateRoute"})
		})
	}}
	must(t, apply.Apply(t.Context(), w, o))
	must(t, apply.Destroy(t.Context(), w, o))
	if routed(sim, n) != 1 {
		t.Error("the route of somebody else was deleted")
	}
}

func TestPeerFollowsAChangedASN(t *testing.T) {
	sim, _, _, w, o := small(t, true)
	must(t, apply.Apply(t.Context(), w, o))
	w.PeerASN = 65011
	must(t, apply.Apply(t.Context(), w, o))
	for _, p := range sim.World().Snapshot().ConnectPeers {
		if p.State == "available" && p.ASN != 65011 {
			t.Errorf("peer still has ASN %d, and apply says done", p.ASN)
		}
	}
}

func TestPeerOfAnOldAddressGoes(t *testing.T) {
	sim, _, _, w, o := small(t, true)
	must(t, apply.Apply(t.Context(), w, o))
	w.Addresses = []netip.Addr{netip.MustParseAddr("10.0.0.77")}
	must(t, apply.Apply(t.Context(), w, o))
	k := 0
	for _, p := range sim.World().Snapshot().ConnectPeers {
		if p.State == "available" {
			k++
		}
	}
	if k != 1 {
		t.Errorf("%d peers, want 1: the old address's stays", k)
	}
}

func TestLagLongerThanSettlingLeavesNothingBehind(t *testing.T) {
	bad := 0
	for seed := range uint64(20) {
		sim, n, c, w, o := small(t, true)
		o.Rand = rand.New(rand.NewPCG(seed, 1))
		sim.SetFaults(tgwsim.Faults{LagMin: 25 * time.Second, LagMax: 25 * time.Second})
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			k := &killer{Applier: o.API.(ec2api.Applier), left: 3 + int(seed)%5, after: true, kill: cancel}
			oo := o
			oo.API = k
			_ = apply.Apply(ctx, w, oo)
		}
		_ = c.Sleep(t.Context(), time.Minute)
		sim.SetFaults(tgwsim.Faults{})
		if err := apply.Apply(t.Context(), w, o); err != nil {
			t.Log(seed, err)
		}
		must(t, apply.Destroy(t.Context(), w, o))
		s := sim.World().Snapshot()
		if routed(sim, n) != 0 || len(s.TransitGateways[n.TransitGateway].CIDRBlocks) != 0 {
			bad++
			t.Logf("seed %d: %d routes and blocks %v left", seed, routed(sim, n), s.TransitGateways[n.TransitGateway].CIDRBlocks)
		}
	}
	if bad > 0 {
		t.Errorf("%d of 20 leave something behind", bad)
	}
}
