package failover_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/simtest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
	"github.com/wgbgp/wgbgp/tgwconnect/failover"
)

var (
	runs = flag.Int("races", 60, "races of two hosts")
	seed = flag.Uint64("race-seed", 1, "of the first race")
)

var (
	site4 = netip.MustParsePrefix("10.101.0.0/16")
	site6 = netip.MustParsePrefix("2001:db8:101::/48")
)

// host is one of the two: a runner whose every call waits for its turn.
type host struct {
	ec2api.Routes
	*failover.Runner
	*simtest.Player
}

func (h *host) DescribeRouteTables(ctx context.Context, ids []string) ([]tgwconnect.VPCRouteTable, error) {
	h.Gate()
	return h.Routes.DescribeRouteTables(ctx, ids)
}

func (h *host) SearchTransitGatewayRoutes(ctx context.Context, t string, p []netip.Prefix) ([]tgwconnect.TGWRoute, error) {
	h.Gate()
	return h.Routes.SearchTransitGatewayRoutes(ctx, t, p)
}

func (h *host) CreateRoute(ctx context.Context, n tgwconnect.NewVPCRoute) error {
	h.Gate()
	return h.Routes.CreateRoute(ctx, n)
}

func (h *host) ReplaceRoute(ctx context.Context, n tgwconnect.NewVPCRoute) error {
	h.Gate()
	return h.Routes.ReplaceRoute(ctx, n)
}

func (h *host) DeleteRoute(ctx context.Context, t string, p netip.Prefix) error {
	h.Gate()
	return h.Routes.DeleteRoute(ctx, t, p)
}

func (h *host) CreateTransitGatewayRoute(ctx context.Context, n tgwconnect.NewTGWRoute) error {
	h.Gate()
	return h.Routes.CreateTransitGatewayRoute(ctx, n)
}

func (h *host) ReplaceTransitGatewayRoute(ctx context.Context, n tgwconnect.NewTGWRoute) error {
	h.Gate()
	return h.Routes.ReplaceTransitGatewayRoute(ctx, n)
}

func (h *host) DeleteTransitGatewayRoute(ctx context.Context, t string, p netip.Prefix) error {
	h.Gate()
	return h.Routes.DeleteTransitGatewayRoute(ctx, t, p)
}

// race is one world with two hosts and a route table that both may write, of a VPC
// or of a Transit Gateway.
type race struct {
	t     *testing.T
	clock *simtest.Clock
	rng   *rand.Rand
	sim   *simtest.Sim
	names *world.Names
	hosts [2]*host
	// Of a Transit Gateway's table.
	tgw         bool
	unheld      tgwconnect.Unheld
	attachments []string
}

func newRace(t *testing.T, seed uint64, tgw bool, unheld tgwconnect.Unheld) *race {
	r := &race{t: t, clock: simtest.NewClock(time.Now()), rng: rand.New(rand.NewPCG(seed, 0)), tgw: tgw, unheld: unheld}
	w, names := world.Example("us-east-1", r.clock.Now, world.ExampleOptions{NoPeers: true})
	r.names = names
	w.Do(func(s *world.State) {
		// The second host is in a VPC of its own.
		first := s.Attachments[names.VPCAttachment]
		second, other := *first, s.NewID("vpc")
		s.VPCs[other] = &world.VPC{ID: other, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}
		second.ID, second.ResourceID, second.SubnetIDs = s.NewID("tgw-attach"), other, nil
		s.Attachments[second.ID] = &second
		r.attachments = []string{first.ID, second.ID}
		core := s.Tables[names.Table]
		core.Static = append(core.Static, world.Static{Prefix: netip.MustParsePrefix("10.200.0.0/16"), AttachmentID: first.ID})
		if r.rng.IntN(2) == 0 {
			core.Static = append(core.Static, world.Static{Prefix: site4, AttachmentID: r.attachments[r.rng.IntN(2)]})
		}
		// Somebody else's, and an old one of the first host.
		table := s.RouteTables[names.RouteTable]
		table.Routes = append(table.Routes, world.VPCRoute{Prefix: netip.MustParsePrefix("10.200.0.0/16"), Target: world.Target{InterfaceID: names.Interfaces[0]}, Origin: "CreateRoute"})
		if r.rng.IntN(2) == 0 {
			table.Routes = append(table.Routes, world.VPCRoute{Prefix: site4, Target: world.Target{InterfaceID: names.Interfaces[r.rng.IntN(2)]}, Origin: "CreateRoute", Blackhole: r.rng.IntN(4) == 0})
		}
	})
	r.sim = simtest.Start(t, w, tgwsim.Options{Seed: seed, Now: r.clock.Now})
	r.sim.SetFaults(tgwsim.Faults{
		Throttle: &tgwsim.Throttle{ReadBurst: 6, ReadRate: 2, MutateBurst: 3, MutateRate: 1, UnfilteredBurst: 6, UnfilteredRate: 2},
		Plan: []tgwsim.Fault{
			{Operations: []string{"*Route"}, Kind: tgwsim.CutAfter, Chance: 0.1, Count: 2},
			{Kind: tgwsim.Fail, Chance: 0.05, Count: 2},
		},
	})
	r.sim.Setenv(t, names.Instances[0])
	for i := range r.hosts {
		c, err := ec2api.New(t.Context(), ec2api.Options{Attempts: 1, Backoff: func(int) time.Duration { return 0 }})
		if err != nil {
			t.Fatal(err)
		}
		h := &host{Routes: ec2api.Routes{Client: c}}
		h.Runner = failover.New(failover.Options{API: h, Rand: rand.New(rand.NewPCG(seed, uint64(i+1)))})
		rule := tgwconnect.RouteRule{Name: "sites", Prefixes: []netip.Prefix{site4, site6}, Unheld: unheld}
		if tgw {
			rule.TGWTables, rule.OwnAttachment, rule.Targets = []string{names.Table}, r.attachments[i], r.attachments
		} else {
			rule.VPCTables, rule.OwnInterface, rule.Targets = []string{names.RouteTable}, names.Interfaces[i], names.Interfaces
		}
		h.SetRules([]tgwconnect.RouteRule{rule})
		h.Player = simtest.NewPlayer(r.clock.Now(), h.Turn)
		r.hosts[i] = h
	}
	return r
}

// claim tells a host who carries the prefixes, now.
func (r *race) claim(i int, hold tgwconnect.Hold, rival bool) {
	h := r.hosts[i]
	h.Set([]tgwconnect.Claim{{Prefix: site4, Hold: hold, Rival: rival}, {Prefix: site6, Hold: hold, Rival: rival}})
	h.Wake(r.clock.Now().Add(time.Duration(r.rng.IntN(500)) * time.Millisecond))
}

// play lets both hosts work for a time.
func (r *race) play(d time.Duration) {
	simtest.Play(r.clock, r.rng, d, r.hosts[0].Player, r.hosts[1].Player)
}

// agree gives the hosts the ten seconds of AC-38, from the last call that AWS
// failed or whose answer was lost on: until then neither can know what it did.
// Throttling counts as an answer. Faults are bounded in number, and so is this.
func (r *race) agree() {
	began := r.clock.Now()
	for end := began.Add(10 * time.Second); end.After(r.clock.Now()); {
		r.play(end.Sub(r.clock.Now()))
		for _, c := range r.sim.Calls("*") {
			if failed := c.Cut || c.Code == "InternalError"; failed && c.Time.After(began) && c.Time.Add(10*time.Second).After(end) {
				end = c.Time.Add(10 * time.Second)
			}
		}
		if r.clock.Now().Sub(began) > time.Minute {
			r.t.Fatal("the faults do not end")
		}
	}
}

// leads is where the table sends a prefix: a host's number, -1: nowhere, -2: into
// a blackhole.
func (r *race) leads(p netip.Prefix) int {
	if r.tgw {
		for _, x := range r.sim.World().Snapshot().Tables[r.names.Table].Static {
			switch {
			case x.Prefix == p && x.Blackhole:
				return -2
			case x.Prefix == p:
				return slices.Index(r.attachments, x.AttachmentID)
			}
		}
		return -1
	}
	for _, x := range r.sim.World().Snapshot().RouteTables[r.names.RouteTable].Routes {
		if x.Prefix == p {
			if x.Blackhole {
				return -2
			}
			return slices.Index(r.names.Interfaces, x.Target.InterfaceID)
		}
	}
	return -1
}

func (r *race) foreign() string {
	var static []world.Static
	for _, x := range r.sim.World().Snapshot().Tables[r.names.Table].Static {
		if x.Prefix != site4 && x.Prefix != site6 {
			static = append(static, x)
		}
	}
	var out []world.VPCRoute
	for _, x := range r.sim.World().Snapshot().RouteTables[r.names.RouteTable].Routes {
		if x.Prefix != site4 && x.Prefix != site6 {
			out = append(out, x)
		}
	}
	return fmt.Sprint(static, out)
}

func (r *race) want(what string, host int) {
	r.t.Helper()
	for _, p := range []netip.Prefix{site4, site6} {
		if got := r.leads(p); got != host {
			r.t.Errorf("%s: %s leads to host %d, want %d", what, p, got, host)
		}
	}
}

// AC-38: two hosts, an API that throttles, fails and loses answers: ten seconds
// later the entry leads to one of them, to the right one, nothing of others is
// touched, and when nobody holds the prefix no entry of ours is left.
func TestTwoHostsRaceForARouteTable(t *testing.T) {
	races(t, "TestTwoHostsRaceForARouteTable", false, tgwconnect.UnheldDelete, -1)
}

func TestTwoHostsRaceForATableOfATransitGateway(t *testing.T) {
	races(t, "TestTwoHostsRaceForATableOfATransitGateway", true, tgwconnect.UnheldDelete, -1)
}

// A blackhole that one host made gives way to the other.
func TestTwoHostsRaceOverABlackhole(t *testing.T) {
	races(t, "TestTwoHostsRaceOverABlackhole", true, tgwconnect.UnheldBlackhole, -2)
}

func races(t *testing.T, name string, tgw bool, unheld tgwconnect.Unheld, nobody int) {
	races := nstest.Seeds(t, *runs)
	for n := range races {
		seed := *seed + uint64(n)
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := newRace(t, seed, tgw, unheld)
			before := r.foreign()
			// Neither has heard of the other.
			r.claim(0, tgwconnect.HeldHere, false)
			r.claim(1, tgwconnect.HeldHere, false)
			r.agree()
			r.want("both hold it: the preferred one", 0)
			// They have now: the second one has the stronger rank, or it gives way, and the
			// first one loses the site before their race is long ago.
			rival := r.rng.IntN(2) == 0
			if !rival {
				r.claim(1, tgwconnect.HeldElsewhere, false)
				r.play(time.Duration(r.rng.IntN(2000)) * time.Millisecond)
			}
			r.claim(0, tgwconnect.HeldElsewhere, false)
			r.play(time.Duration(r.rng.IntN(1000)) * time.Millisecond)
			r.claim(1, tgwconnect.HeldHere, rival)
			r.agree()
			r.want("the second holds it", 1)
			// The site moves back.
			r.claim(1, tgwconnect.HeldElsewhere, false)
			r.claim(0, tgwconnect.HeldHere, false)
			r.agree()
			r.want("the first holds it", 0)
			// Nobody does.
			r.claim(0, tgwconnect.HeldByNobody, false)
			r.claim(1, tgwconnect.HeldByNobody, false)
			r.agree()
			r.want("nobody holds it", nobody)
			// The second one does again.
			r.claim(0, tgwconnect.HeldElsewhere, false)
			r.claim(1, tgwconnect.HeldHere, false)
			r.agree()
			r.want("the second holds it again", 1)
			if after := r.foreign(); after != before {
				t.Errorf("routes of others: %s, were %s", after, before)
			}
		})
		if !ok {
			t.Fatalf("seed %d failed; alone: go test ./tgwconnect/failover -run '%s$' -race-seed %d -races 1", seed, name, seed)
		}
	}
	t.Logf("%d races from seed %d", races, *seed)
}
