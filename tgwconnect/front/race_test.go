package front_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/simtest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
	"github.com/wgbgp/wgbgp/tgwconnect/front"
)

var (
	runs = flag.Int("races", 60, "races of two hosts")
	seed = flag.Uint64("race-seed", 1, "of the first race")
)

const record = "wg.example.net"

// gated is a client whose every call waits for its time.
type gated struct {
	*ec2api.Client
	player func() *simtest.Player
	id     string
}

func (g *gated) InstanceID(context.Context) (string, error) { return g.id, nil }

func (g *gated) DescribeTargetHealth(ctx context.Context, group string) ([]tgwconnect.TargetHealth, error) {
	g.player().Gate()
	return g.Client.DescribeTargetHealth(ctx, group)
}

func (g *gated) RegisterTargets(ctx context.Context, group, id string, port int) error {
	g.player().Gate()
	return g.Client.RegisterTargets(ctx, group, id, port)
}

func (g *gated) DeregisterTargets(ctx context.Context, group, id string, port int) error {
	g.player().Gate()
	return g.Client.DeregisterTargets(ctx, group, id, port)
}

func (g *gated) ListResourceRecordSets(ctx context.Context, zone, name string) ([]tgwconnect.RecordSet, error) {
	g.player().Gate()
	return g.Client.ListResourceRecordSets(ctx, zone, name)
}

func (g *gated) ChangeResourceRecordSets(ctx context.Context, zone string, changes []tgwconnect.RecordChange) error {
	g.player().Gate()
	return g.Client.ChangeResourceRecordSets(ctx, zone, changes)
}

// host is one of the two. Its daemon may be killed and started anew.
type host struct {
	number int
	rule   tgwconnect.RecordRule
	target tgwconnect.TargetRule

	p       tgwconnect.Presence
	alive   bool
	player  *simtest.Player
	runner  *front.Runner
	barred  string // somebody else's records with its set identifier; empty: none
	atDeath string // what there was of it when it was killed
}

// race is one region with two hosts, whose API throttles, fails and loses answers.
type race struct {
	t     *testing.T
	clock *simtest.Clock
	rng   *rand.Rand
	sim   *simtest.Sim
	names *world.Names
	hosts [2]*host
	seed  uint64
}

func newRace(t *testing.T, seed uint64) *race {
	r := &race{t: t, clock: simtest.NewClock(time.Now()), rng: rand.New(rand.NewPCG(seed, 0)), seed: seed}
	w, names := world.Example("us-east-1", r.clock.Now, world.ExampleOptions{NoPeers: true, Services: true, Gateways: 3})
	r.names = names
	for i := range r.hosts {
		id := fmt.Sprintf("gw-%d", i+1)
		h := &host{number: i}
		h.target = tgwconnect.TargetRule{Name: "wg", Group: names.TargetGroup, Port: 51820, Deregister: r.rng.IntN(4) > 0}
		h.rule = tgwconnect.RecordRule{
			Name: "endpoint", Zone: names.Zone, Record: record, SetID: id, Owner: id, Policy: tgwconnect.PolicyWeighted, Weight: 100, TTL: 60 * time.Second,
			Addresses: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("203.0.113.%d", i+1)), netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1))},
			DownAfter: 10 * time.Second, UpAfter: 30 * time.Second,
			WhenDown: []tgwconnect.Withdrawal{tgwconnect.WithdrawZero, tgwconnect.WithdrawRemove}[r.rng.IntN(2)],
			AtDrain:  []tgwconnect.Withdrawal{tgwconnect.WithdrawZero, tgwconnect.WithdrawRemove}[r.rng.IntN(2)],
		}
		r.hosts[i] = h
	}
	// Sometimes the name is there before, without an owner, and each host may take it.
	simple := r.rng.IntN(4) == 0
	r.hosts[0].rule.Adopt, r.hosts[1].rule.Adopt = simple, simple
	w.Do(func(s *world.State) {
		g := s.TargetGroups[names.TargetGroup]
		add := func(id string, port int32, state string) {
			g.Targets = append(g.Targets, &world.GroupTarget{ID: id, Port: port, Lifecycle: world.Lifecycle{State: state, Created: r.clock.Now()}})
		}
		add(names.Instances[2], 51820, "healthy") // somebody else's
		for i := range r.hosts {
			add(names.Instances[i], 51821, "healthy") // another service of this host
			if r.rng.IntN(3) == 0 {
				add(names.Instances[i], 51820, "healthy")
			}
		}
		z := s.HostedZones[names.Zone]
		ttl, ten := int64(60), int64(10)
		put := func(name, kind, set, value string) {
			x := world.Record{Name: world.DNSName(name), Type: kind, TTL: &ttl, Values: []string{value}, SetID: set}
			if set != "" {
				x.Weight = &ten
			}
			z.Records = append(z.Records, x)
		}
		if simple {
			put(record, "A", "", "198.51.100.1")
		} else {
			put(record, "A", "office", "198.51.100.7")
			put("_wgbgp-owner."+record, "TXT", "office", `"wgbgp-owner=office"`)
			if r.rng.IntN(3) == 0 { // of an earlier life, with another address
				put(record, "A", "gw-1", "203.0.113.99")
				put("_wgbgp-owner."+record, "TXT", "gw-1", `"wgbgp-owner=gw-1"`)
			}
			// The second one's identifier is somebody's, with a name on it or without.
			if n := r.rng.IntN(6); n < 2 {
				put(record, "A", "gw-2", "198.51.100.2")
				r.hosts[1].barred = "A [198.51.100.2] 10"
				if n == 0 {
					put("_wgbgp-owner."+record, "TXT", "gw-2", `"wgbgp-owner=gw-9"`)
					r.hosts[1].barred += `, TXT ["wgbgp-owner=gw-9"] 10`
				}
			}
		}
		put("a."+record, "A", "", "198.51.100.8")
		put("mail.example.net", "A", "gw-1", "198.51.100.9")
		slices.SortFunc(z.Records, world.CompareRecords)
	})
	r.sim = simtest.Start(t, w, tgwsim.Options{Seed: seed, Now: r.clock.Now})
	r.sim.SetFaults(tgwsim.Faults{
		Throttle: &tgwsim.Throttle{ReadBurst: 8, ReadRate: 3, MutateBurst: 3, MutateRate: 1, UnfilteredBurst: 8, UnfilteredRate: 3, Route53Rate: 4},
		Plan: []tgwsim.Fault{
			{Operations: []string{"*Targets", "Change*"}, Kind: tgwsim.CutAfter, Chance: 0.3, Count: 4},
			{Kind: tgwsim.Fail, Chance: 0.05, Count: 4},
		},
	})
	r.sim.Setenv(t, "")
	for _, h := range r.hosts {
		r.start(h)
	}
	return r
}

// start begins a daemon, which knows nothing of an earlier one.
func (r *race) start(h *host) {
	c, err := ec2api.New(r.t.Context(), ec2api.Options{Attempts: 1, Backoff: func(int) time.Duration { return 0 }})
	if err != nil {
		r.t.Fatal(err)
	}
	api := &gated{Client: c, player: func() *simtest.Player { return h.player }, id: r.names.Instances[h.number]}
	h.alive, h.p = true, tgwconnect.Presence{}
	runner := front.New(front.Options{API: api, Rand: rand.New(rand.NewPCG(r.seed, r.rng.Uint64())), Presence: func() tgwconnect.Presence { return h.p }})
	runner.SetRules(front.Rules{Targets: []tgwconnect.TargetRule{h.target}, Records: []tgwconnect.RecordRule{h.rule}})
	var due time.Time
	h.runner = runner
	h.player = simtest.NewPlayer(r.clock.Now(), func(ctx context.Context, now time.Time) time.Time {
		if runner.Look(now) || !now.Before(due) {
			due = runner.Turn(ctx, now)
		}
		if next := now.Add(time.Second); next.Before(due) {
			return next
		}
		return due
	})
}

func (r *race) play(d time.Duration) {
	var players []*simtest.Player
	for _, h := range r.hosts {
		if h.alive {
			players = append(players, h.player)
		}
	}
	simtest.Play(r.clock, r.rng, d, players...)
}

// event does something to a host.
func (r *race) event(h *host) {
	switch n := r.rng.IntN(8); {
	case !h.alive:
		r.start(h)
	case n == 0:
		h.player.Kill()
		h.alive, h.atDeath = false, r.own(h)
	case n <= 2:
		h.p.Leave = []tgwconnect.Leave{tgwconnect.Leaving, tgwconnect.Left}[r.rng.IntN(2)]
	case n == 3:
		h.p.Leave = tgwconnect.Staying
	case n <= 5:
		h.p.Forwards = true
	default:
		h.p.Forwards = false
	}
}

// settle plays until what was decided last has been done: the time to count as down
// or up, and a minute after the last fault.
func (r *race) settle() {
	began := r.clock.Now()
	for end := began.Add(3 * time.Minute); end.After(r.clock.Now()); {
		r.play(end.Sub(r.clock.Now()))
		for _, c := range r.sim.Calls("*") {
			if failed := c.Cut || c.Code == "InternalError" || c.Code == "InternalFailure"; failed && c.Time.After(began) && c.Time.Add(time.Minute).After(end) {
				end = c.Time.Add(time.Minute)
			}
		}
		if r.clock.Now().Sub(began) > 30*time.Minute {
			r.t.Fatal("the faults do not end")
		}
	}
}

// own is everything of one host, as text.
func (r *race) own(h *host) string {
	var out []string
	s := r.sim.World().Snapshot()
	for _, x := range s.TargetGroups[r.names.TargetGroup].Targets {
		if x.ID == r.names.Instances[h.number] && x.Port == 51820 && x.State != "draining" {
			out = append(out, "registered")
		}
	}
	for _, x := range s.HostedZones[r.names.Zone].Records {
		if x.SetID == h.rule.SetID && strings.HasSuffix(x.Name, record+".") {
			out = append(out, fmt.Sprint(x.Type, " ", x.Values, " ", *x.Weight))
		}
	}
	return strings.Join(out, ", ")
}

// foreign is everything else.
func (r *race) foreign() string {
	var out []string
	s := r.sim.World().Snapshot()
	for _, x := range s.TargetGroups[r.names.TargetGroup].Targets {
		if x.Port != 51820 || x.ID == r.names.Instances[2] {
			out = append(out, fmt.Sprint(x.ID, " ", x.Port, " ", x.State))
		}
	}
	for _, x := range s.HostedZones[r.names.Zone].Records {
		mine := strings.HasPrefix(x.SetID, "gw-") && strings.HasSuffix(x.Name, record+".")
		adopted := r.hosts[0].rule.Adopt && x.Name == record+"." && x.SetID == ""
		if !mine && !adopted {
			out = append(out, fmt.Sprint(x.Name, x.Type, x.SetID, x.Values))
		}
	}
	return strings.Join(out, "\n")
}

// judge compares what there is of a host with what it was told last.
func (r *race) judge(h *host) {
	r.t.Helper()
	have := r.own(h)
	registered := strings.HasPrefix(have, "registered")
	records := strings.TrimPrefix(strings.TrimPrefix(have, "registered"), ", ")
	wrong := func(what string) {
		r.t.Errorf("host %d, %+v, alive %t, deregister %t, %s, %s: %s: there is %q; %+v", h.number+1, h.p, h.alive, h.target.Deregister, h.rule.WhenDown, h.rule.AtDrain, what, have, h.runner.State())
	}
	withdrawn := h.rule.WhenDown
	if h.p.Leave != tgwconnect.Staying {
		withdrawn = h.rule.AtDrain
	}
	a := h.rule.Addresses
	serving := fmt.Sprintf("A [%s] 100, AAAA [%s] 100, TXT [%q] 1", a[0], a[1], "wgbgp-owner="+h.rule.Owner)
	silent := strings.NewReplacer("] 100", "] 0").Replace(serving)
	switch {
	case !h.alive:
		if have != h.atDeath {
			wrong("it was killed and left " + h.atDeath)
		}
		return
	case h.p.Leave == tgwconnect.Left && h.target.Deregister && registered:
		wrong("it has left")
	case h.p.Leave == tgwconnect.Staying && h.p.Forwards && !registered:
		wrong("it forwards")
	}
	switch {
	case h.barred != "":
		if records != h.barred {
			wrong("want as it was: " + h.barred)
		}
	case h.p.Leave == tgwconnect.Staying && h.p.Forwards:
		if records != serving {
			wrong("want " + serving)
		}
	case records != "" && (withdrawn == tgwconnect.WithdrawRemove || records != silent):
		wrong("want no client sent there")
	}
}

// Whatever happens, a host touches nothing of others, what it is told last is done
// when the faults are over, and one that was killed leaves everything as it is.
func TestTwoHostsKeepTheirOwn(t *testing.T) {
	races := nstest.Seeds(t, *runs)
	for n := range races {
		seed := *seed + uint64(n)
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := newRace(t, seed)
			before := r.foreign()
			for range 12 {
				r.event(r.hosts[r.rng.IntN(2)])
				r.play(time.Duration(r.rng.IntN(60_000)) * time.Millisecond)
			}
			r.settle()
			for _, h := range r.hosts {
				r.judge(h)
			}
			if after := r.foreign(); after != before {
				t.Errorf("of others there is\n%s\nand was\n%s", after, before)
			}
		})
		if !ok {
			t.Fatalf("seed %d failed; alone: go test ./tgwconnect/front -run TwoHosts -race-seed %d -races 1", seed, seed)
		}
	}
	t.Logf("%d races from seed %d", races, *seed)
}
