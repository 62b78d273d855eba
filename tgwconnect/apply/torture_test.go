package apply_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/simtest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/apply"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

var (
	runs = flag.Int("runs", 40, "worlds to apply to and destroy in")
	seed = flag.Uint64("seed", 1, "of the first world")
)

// clock is the time of the world and of the run, which sleeps by moving it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return ctx.Err()
}

// killer ends a run at one of its calls: before the call was made, or after it
// was and before anybody heard.
type killer struct {
	ec2api.Applier
	left  int // calls until then, negative: never
	after bool
	kill  context.CancelFunc
}

func (k *killer) due() bool {
	k.left--
	return k.left == 0
}

func (k *killer) Inventory(ctx context.Context, w *tgwconnect.Want) (tgwconnect.Inventory, error) {
	if k.due() {
		k.kill()
		return tgwconnect.Inventory{}, ctx.Err()
	}
	return k.Applier.Inventory(ctx, w)
}

func (k *killer) Do(ctx context.Context, w *tgwconnect.Want, s tgwconnect.Step) (string, error) {
	if k.due() {
		if k.after {
			_, _ = k.Applier.Do(ctx, w, s)
		}
		k.kill()
		return "", ctx.Err()
	}
	return k.Applier.Do(ctx, w, s)
}

type torture struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	clock *clock
	sim   *simtest.Sim
	names *world.Names
	want  tgwconnect.Want
	api   ec2api.Applier
	kills int
}

func newTorture(t *testing.T, seed uint64) *torture {
	x := &torture{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 7)), clock: &clock{now: time.Now()}}
	pick := func(n int) bool { return x.rng.IntN(n) == 0 }
	w, names := world.Example("us-east-1", x.clock.Now, world.ExampleOptions{NoPeers: true, NoConnectivity: pick(2), IPv6: pick(2)})
	x.names = names
	var other string // a route table of the operator's
	w.Do(func(s *world.State) {
		other = s.NewID("tgw-rtb")
		s.Tables[other] = &world.Table{ID: other, TransitGatewayID: names.TransitGateway, Lifecycle: world.Lifecycle{State: "available"}}
		for _, i := range s.Interfaces {
			i.SourceDestCheck = pick(2)
		}
		if pick(3) {
			s.TransitGateways[names.TransitGateway].DefaultAssociation = ""
			s.TransitGateways[names.TransitGateway].DefaultPropagation = ""
		}
	})
	x.want = tgwconnect.Want{
		Name: "core", Gateway: "gw1", TransitGatewayID: names.TransitGateway, TransportID: names.VPCAttachment, PeerASN: 65010,
		Addresses: names.Addresses[:1+x.rng.IntN(len(names.Addresses))], CIDR: netip.MustParsePrefix("192.0.2.0/24"), IPv6: pick(2),
		VPCRouteTables: []string{names.RouteTable},
	}
	if pick(2) {
		x.want.RouteTable = other
	}
	if pick(2) {
		x.want.Interfaces = names.Interfaces[:1]
	}
	x.foreigners(w, pick)
	w.Do(func(s *world.State) {
		s.Delays.Create, s.Delays.Delete = time.Duration(x.rng.IntN(20))*time.Second, time.Duration(x.rng.IntN(20))*time.Second
		s.Delays.Associate, s.Delays.Modify = time.Duration(x.rng.IntN(8))*time.Second, time.Duration(x.rng.IntN(8))*time.Second
		s.Delays.Linger = time.Duration(x.rng.IntN(60)) * time.Second
	})
	x.sim = simtest.Start(t, w, tgwsim.Options{Seed: seed, Now: x.clock.Now})
	x.sim.Setenv(t, names.Instances[0])
	c, err := ec2api.New(t.Context(), ec2api.Options{Attempts: 2, Backoff: func(int) time.Duration { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	x.api = ec2api.Applier{Client: c}
	return x
}

// foreigners are Connect attachments, peers and routes of others, some of which
// look much like ours.
func (x *torture) foreigners(w *world.World, pick func(int) bool) {
	must := func(id string, err error) string {
		if err != nil {
			x.t.Fatal(err)
		}
		return id
	}
	for i := range x.rng.IntN(3) {
		owner := world.Tags{"Name": "core"}
		if pick(2) {
			owner = world.Tags{tgwconnect.TagOwner: "other", tgwconnect.TagGateway: "gw1"}
		}
		id := must(w.CreateConnect(x.names.VPCAttachment, owner))
		if len(w.Snapshot().TransitGateways[x.names.TransitGateway].CIDRBlocks) == 0 {
			continue
		}
		for j := range x.rng.IntN(3) {
			must(w.CreateConnectPeer(world.NewConnectPeer{
				AttachmentID: id, PeerAddress: netip.AddrFrom4([4]byte{10, 0, 9, byte(10*i + j)}), ASN: 65020, Tags: owner,
				Inside: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254, byte(100 + x.rng.IntN(50)), byte(8*(3*i+j)) &^ 7}), 29)},
			}))
		}
	}
	w.Do(func(s *world.State) {
		t := s.RouteTables[x.names.RouteTable]
		t.Routes = append(t.Routes, world.VPCRoute{Prefix: netip.MustParsePrefix("10.200.0.0/16"), Target: world.Target{TransitGatewayID: x.names.TransitGateway}, Origin: "CreateRoute"})
	})
}

func (x *torture) faults() tgwsim.Faults {
	f := tgwsim.Faults{PageSize: 5 + x.rng.IntN(3), LagMax: time.Duration(x.rng.IntN(6)) * time.Second}
	if x.rng.IntN(2) == 0 {
		f.Throttle = &tgwsim.Throttle{ReadBurst: 20, ReadRate: 4, MutateBurst: 3, MutateRate: 0.5, UnfilteredBurst: 20, UnfilteredRate: 4}
	}
	for _, k := range []tgwsim.Kind{tgwsim.CutAfter, tgwsim.CutBefore, tgwsim.Fail} {
		f.Plan = append(f.Plan, tgwsim.Fault{Operations: []string{"Create*", "Delete*", "Modify*", "*ssociate*", "Enable*"}, Kind: k, Chance: 0.25, Count: 3})
	}
	f.Plan = append(f.Plan, tgwsim.Fault{Kind: tgwsim.Fail, Chance: 0.05, Count: 5})
	return f
}

// finish runs until it has run to the end, however often it is killed before.
func (x *torture) finish(what string, run func(context.Context, *tgwconnect.Want, apply.Options) error) {
	x.t.Helper()
	x.sim.SetFaults(x.faults())
	var log []string
	for try := range 12 {
		ctx, cancel := context.WithCancel(x.t.Context())
		k := &killer{Applier: x.api, left: -1, kill: cancel}
		if try < 6 {
			k.left, k.after = 1+x.rng.IntN(12), x.rng.IntN(2) == 0
		}
		err := run(ctx, &x.want, apply.Options{
			API: k, Sleep: x.clock.Sleep, Rand: x.rng, Patience: time.Minute,
			Progress: func(s tgwconnect.Step, err error) {
				log = append(log, fmt.Sprint(x.clock.Now().Format("04:05 "), s.Text, " ", err))
			},
		})
		killed := ctx.Err() != nil
		cancel()
		if err == nil && !killed {
			x.t.Logf("%s:\n%s", what, strings.Join(log, "\n"))
			return
		}
		if killed {
			x.kills++
			log = append(log, "killed")
			continue
		}
		log = append(log, "gave up: "+err.Error())
		if try > 9 {
			break
		}
	}
	x.t.Fatalf("%s: does not come to an end:\n%s", what, strings.Join(log, "\n"))
}

// others is everything that is not ours, as text. While it is applied, that leaves
// out what the configuration names: the CIDR block and the route to it, the switch
// of the interfaces, and our marks. After destroy nothing is left out.
func (x *torture) others(applied bool) string {
	text, err := json.Marshal(x.sim.World().Snapshot()) // which is shared
	if err != nil {
		x.t.Fatal(err)
	}
	s := &world.State{}
	if err := json.Unmarshal(text, s); err != nil {
		x.t.Fatal(err)
	}
	for id, a := range s.Attachments {
		if a.Tags[tgwconnect.TagOwner] == x.want.Name || a.State == "deleted" {
			delete(s.Attachments, id)
		}
	}
	for id, p := range s.ConnectPeers {
		if p.Tags[tgwconnect.TagOwner] == x.want.Name || p.State == "deleted" {
			delete(s.ConnectPeers, id)
		}
	}
	g := s.TransitGateways[x.names.TransitGateway]
	g.Lifecycle = world.Lifecycle{}
	tagged := []*world.Tags{&g.Tags}
	if len(g.CIDRBlocks) == 0 || applied {
		g.CIDRBlocks = nil
	}
	for _, t := range s.RouteTables {
		tagged = append(tagged, &t.Tags)
		if applied {
			t.Routes = slices.DeleteFunc(t.Routes, func(r world.VPCRoute) bool { return r.Prefix == x.want.CIDR })
		}
	}
	for _, i := range s.Interfaces {
		tagged = append(tagged, &i.Tags)
		i.SourceDestCheck = i.SourceDestCheck && !applied
	}
	for _, t := range tagged {
		maps.DeleteFunc(*t, func(k, _ string) bool { return applied && strings.HasPrefix(k, tgwconnect.TagMade) })
		if len(*t) == 0 {
			*t = nil
		}
	}
	text, err = json.Marshal([]any{s.Attachments, s.ConnectPeers, s.TransitGateways, s.RouteTables, s.Tables, s.Interfaces, s.SecurityGroups})
	if err != nil {
		x.t.Fatal(err)
	}
	return string(text)
}

// ours are our Connect attachments and peers that are there.
func (x *torture) ours() (connects []*world.Attachment, peers []*world.ConnectPeer) {
	s := x.sim.World().Snapshot()
	for _, a := range s.Attachments {
		if a.Tags[tgwconnect.TagOwner] == x.want.Name && a.State != "deleted" {
			connects = append(connects, a)
		}
	}
	for _, p := range s.ConnectPeers {
		if p.Tags[tgwconnect.TagOwner] == x.want.Name && p.State != "deleted" {
			peers = append(peers, p)
		}
	}
	return connects, peers
}

func (x *torture) applied() error {
	connects, peers := x.ours()
	if len(connects) != 1 || connects[0].State != "available" {
		return fmt.Errorf("%d Connect attachments: %+v", len(connects), connects)
	}
	if len(peers) != len(x.want.Addresses) {
		return fmt.Errorf("%d Connect peers, want %d", len(peers), len(x.want.Addresses))
	}
	seen := map[netip.Addr]bool{}
	for _, p := range peers {
		if p.State != "available" || p.ASN != x.want.PeerASN || seen[p.PeerAddress] || p.AttachmentID != connects[0].ID {
			return fmt.Errorf("Connect peer %+v", p) // a name
		}
		seen[p.PeerAddress] = true
	}
	if t := x.want.RouteTable; t != "" && (connects[0].TableID != t || connects[0].Propagations[t] == nil || connects[0].Propagations[t].State != "enabled") {
		return fmt.Errorf("route table %s, propagations %v; want %s", connects[0].TableID, connects[0].Propagations, t)
	}
	s := x.sim.World().Snapshot()
	routes := 0
	for _, r := range s.RouteTables[x.names.RouteTable].Routes {
		if r.Prefix == x.want.CIDR && r.Target.TransitGatewayID == x.names.TransitGateway {
			routes++
		}
	}
	if routes != 1 {
		return fmt.Errorf("%d routes to %s", routes, x.want.CIDR)
	}
	for _, id := range x.want.Interfaces {
		if s.Interfaces[id].SourceDestCheck {
			return errors.New("the source/destination check is on")
		}
	}
	return nil
}

// Whatever fails and wherever a run is killed: the next ones complete it, nothing
// is made twice, nothing is left behind, and nothing of others is touched.
func TestApplyAndDestroyConverge(t *testing.T) {
	kills := 0
	worlds := nstest.Seeds(t, *runs)
	for n := range worlds {
		s := *seed + uint64(n)
		ok := t.Run(fmt.Sprint("seed=", s), func(t *testing.T) {
			x := newTorture(t, s)
			_ = x.clock.Sleep(t.Context(), 2*time.Minute) // what the others made is there by now
			before, named := x.others(false), x.others(true)
			x.finish("apply", apply.Apply)
			if err := x.applied(); err != nil {
				t.Fatalf("applied: %v", err)
			}
			if after := x.others(true); after != named {
				t.Fatalf("of others there is\n%s\nand was\n%s", after, named)
			}
			x.finish("apply again", apply.Apply)
			if err := x.applied(); err != nil {
				t.Fatalf("applied again: %v", err)
			}
			x.finish("destroy", apply.Destroy)
			if connects, peers := x.ours(); len(connects)+len(peers) != 0 {
				t.Fatalf("left behind: %+v %+v", connects, peers)
			}
			if after := x.others(false); after != before {
				t.Fatalf("of others there is\n%s\nand was\n%s", after, before)
			}
			kills += x.kills
		})
		if !ok {
			t.Fatalf("seed %d failed; alone: go test ./tgwconnect/apply -run Converge -seed %d -runs 1", s, s)
		}
	}
	fmt.Printf("apply and destroy: %d worlds from seed %d, %d kills, all converged\n", worlds, *seed, kills)
}
