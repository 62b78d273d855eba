package live

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/router"
	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/network"
	"github.com/wgbgp/wgbgp/labs/tgwsim/simtest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

// description has a workload, two gateways with a Connect peer each, and a third
// VPC that is in no route table of the others.
const description = `
hold = 3

[[vpc]]
name = "work"
cidr = ["10.0.0.0/16"]
[[vpc]]
name = "edge"
cidr = ["10.1.0.0/16"]
[[vpc]]
name = "apart"
cidr = ["10.2.0.0/16"]

[[subnet]]
name = "work-a"
vpc = "work"
cidr = "10.0.1.0/24"
device = "work"
[[subnet]]
name = "edge-a"
vpc = "edge"
cidr = "10.1.1.0/24"
device = "gw1"
[[subnet]]
name = "edge-b"
vpc = "edge"
zone = "b"
cidr = "10.1.2.0/24"
device = "gw2"
[[subnet]]
name = "apart-a"
vpc = "apart"
cidr = "10.2.1.0/24"
device = "apart"

[[route-table]]
vpc = "work"
route = [{ prefix = "10.0.0.0/8", transit-gateway = "core" }]
[[route-table]]
vpc = "edge"
route = [{ prefix = "192.0.2.0/24", transit-gateway = "core" }]
[[route-table]]
vpc = "apart"
route = [{ prefix = "10.0.0.0/8", transit-gateway = "core" }]

[[instance]]
name = "gw1"
subnet = "edge-a"
address = ["10.1.1.10"]
[[instance]]
name = "gw2"
subnet = "edge-b"
address = ["10.1.2.10"]

[[transit-gateway]]
name = "core"
cidr = ["192.0.2.0/24"]
[[transit-gateway-route-table]]
name = "apart"
transit-gateway = "core"
route = [{ prefix = "10.9.0.0/16", attachment = "work" }]

[[attachment]]
name = "work"
transit-gateway = "core"
vpc = "work"
subnets = ["work-a"]
[[attachment]]
name = "edge"
transit-gateway = "core"
vpc = "edge"
subnets = ["edge-a", "edge-b"]
[[attachment]]
name = "apart"
transit-gateway = "core"
vpc = "apart"
subnets = ["apart-a"]
table = "apart"
propagate = ["apart"]
[[attachment]]
name = "connect"
transit-gateway = "core"
transport = "edge"

[[connect-peer]]
name = "gw1"
attachment = "connect"
address = "10.1.1.10"
transit-gateway-address = "192.0.2.1"
inside = ["169.254.6.0/29"]
asn = 65010
[[connect-peer]]
name = "gw2"
attachment = "connect"
address = "10.1.2.10"
transit-gateway-address = "192.0.2.2"
inside = ["169.254.7.0/29"]
asn = 65010

[[target-group]]
name = "wg"
vpc = "edge"
port = 51820
targets = ["gw1"]
[[load-balancer]]
name = "wg"
subnets = ["edge-a", "edge-b"]
listener = [{ port = 51820, target-group = "wg" }]
[[hosted-zone]]
name = "example.net"
record = [{ name = "a.example.net", type = "A", values = ["198.51.100.1"], set-identifier = "gw1", weight = 10 }]
[[secret]]
name = "gw1"
text = "of the manager"
[[parameter]]
name = "/gw1/key"
value = "of the store"
`

func build(t *testing.T) (*world.World, Place) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "world.toml")
	if err := os.WriteFile(path, []byte(description), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w := world.New(f.Region, time.Now)
	var place Place
	w.Do(func(s *world.State) { place, err = f.Build(s, time.Now()) })
	if err != nil {
		t.Fatal(err)
	}
	return w, place
}

var peer1, peer2 = ID("tgw-connect-peer", "gw1"), ID("tgw-connect-peer", "gw2")

func TestWhatStopsGRE(t *testing.T) {
	rtb, eni, edge := ID("rtb", "edge"), ID("eni", "gw1"), ID("tgw-attach", "edge")
	for _, c := range []struct {
		name  string
		fault func(*world.State)
		want  string // empty: passes
	}{
		{"nothing", func(*world.State) {}, ""},
		{"another gateway's group", func(s *world.State) { s.Interfaces[ID("eni", "gw2")].GroupIDs = nil }, ""},
		{"no route to the CIDR block", func(s *world.State) { s.RouteTables[rtb].Routes = s.RouteTables[rtb].Routes[:1] }, "does not lead 192.0.2.1 to the Transit Gateway"},
		{"that route is a blackhole", func(s *world.State) { s.RouteTables[rtb].Routes[1].Blackhole = true }, "does not lead"},
		{"no security group", func(s *world.State) { s.Interfaces[eni].GroupIDs = nil }, "no security group"},
		{"only UDP", func(s *world.State) {
			for i := range s.SecurityGroups[ID("sg", "edge")].Rules {
				s.SecurityGroups[ID("sg", "edge")].Rules[i].Protocol = "udp"
			}
		}, "no security group"},
		{"ACL", func(s *world.State) {
			a := s.NetworkACLs[ID("acl", "edge")]
			a.Entries = append(a.Entries, world.ACLEntry{Number: 5, Protocol: "47", Prefix: all4})
		}, "network ACL denies"},
		{"zone", func(s *world.State) { s.Attachments[edge].SubnetIDs = []string{ID("subnet", "edge-b")} }, "has no subnet in us-east-1a"},
		{"the transport attachment goes", func(s *world.State) { s.Attachments[edge].State = "deleting" }, "not available"},
		{"the appliance is on premises", func(s *world.State) { delete(s.Interfaces, eni) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, place := build(t)
			w.Do(c.fault)
			s := w.Snapshot()
			why, ok := passes(s, s.ConnectPeers[peer1])
			if ok != (c.want == "") || !strings.Contains(why, c.want) {
				t.Errorf("got %t, %q; want %q", ok, why, c.want)
			}
			if cut := Spec(s, &place).Connect[peer1].Cut; cut == ok {
				t.Errorf("cut: got %t", cut)
			}
		})
	}
}

// rig is a world that runs, with its hosts.
type rig struct {
	*testing.T
	world       *world.World
	live        *Network
	work, apart *nstest.NS
	dir         string
	api         *ec2api.Client
	peers       [2]string // Connect peers of gw1 and gw2
}

func start(t *testing.T) *rig {
	w, place := build(t)
	n, err := network.New("", slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, world: w, work: nstest.New(t, "work"), apart: nstest.New(t, "apart"), dir: t.TempDir(), peers: [2]string{peer1, peer2}}
	nstest.Run(t, "sysctl", "-qw", "net.ipv4.ip_forward=1")
	host := func(ns *nstest.NS, device, subnet string) {
		nstest.Veth(t, nil, device, []string{subnet + ".1/24"}, ns, "eth0", []string{subnet + ".10/24"})
		ns.Run(t, "ip", "route", "add", "default", "via", subnet+".1")
	}
	host(r.work, "work", "10.0.1")
	host(r.apart, "apart", "10.2.1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"gw1", "gw2"} {
		ns := nstest.New(t, name)
		host(ns, name, fmt.Sprintf("10.1.%d", i+1))
		ns.Run(t, "ip", "address", "add", "10.101.0.1/32", "dev", "lo")
		text, err := json.Marshal(appliance{
			Local: netip.MustParseAddr(fmt.Sprintf("10.1.%d.10", i+1)), Remote: netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i+1)),
			Inside4: netip.MustParsePrefix(fmt.Sprintf("169.254.%d.0/29", 6+i)), ASN: 65010, TGWASN: 64512,
			Networks: []netip.Prefix{netip.MustParsePrefix("10.101.0.0/16")}, Events: r.events(name),
		})
		if err != nil {
			t.Fatal(err)
		}
		p := ns.Cmd(self, applianceWord, string(text))
		var said strings.Builder
		p.Stdout, p.Stderr = &said, &said
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = p.Process.Kill()
			_ = p.Wait()
			if t.Failed() {
				t.Logf("%s:\n%s", name, said.String())
			}
		})
	}
	for _, v := range simtest.Start(t, w, tgwsim.Options{}).Env("") {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil { // this process is the test's own
			t.Fatal(err)
		}
	}
	if r.api, err = ec2api.New(t.Context(), ec2api.Options{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.live = New(w, n, place)
	ended := make(chan error, 1)
	go func() { ended <- r.live.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

// route waits until a TGW route table has just these attachments' peers for a
// prefix, and both sessions of gw1 and gw2 are as given.
func (r *rig) route(table, prefix string, up [4]bool, want ...string) {
	r.Helper()
	nstest.Eventually(r, 10*time.Second, func() error {
		var have []string
		for _, route := range r.live.network.Table(ID("tgw-rtb", table)) {
			for _, v := range route.Via {
				if route.Prefix.String() == prefix {
					have = append(have, v.Peer+strings.TrimSuffix(v.Attachment, ID("tgw-attach", "connect")))
				}
			}
		}
		slices.Sort(have)
		slices.Sort(want)
		one, two := r.live.network.Sessions(r.peers[0]), r.live.network.Sessions(r.peers[1])
		if now := [4]bool{one[0], one[1], two[0], two[1]}; now != up || !slices.Equal(have, want) {
			return fmt.Errorf("%s by %q, sessions %v; want %q, %v", prefix, have, now, want, up)
		}
		return nil
	})
}

func (r *rig) ping(ns *nstest.NS, to string, want bool) {
	r.Helper()
	nstest.Eventually(r, 5*time.Second, func() error {
		out, err := ns.Cmd("ping", "-c1", "-W1", to).CombinedOutput()
		if (err == nil) != want {
			return fmt.Errorf("ping %s: %w\n%s", to, err, out)
		}
		return nil
	})
}

// What the world says is played, and the other way round.
func TestWorldIsPlayed(t *testing.T) {
	t.Parallel()
	if !nstest.Isolate(t) {
		return
	}
	r := start(t)
	all := [4]bool{true, true, true, true}
	r.route("core", "10.101.0.0/16", all, peer1, peer2)
	r.ping(r.work, "10.101.0.1", true)
	if !r.live.SessionUp(peer1, netip.MustParseAddr("169.254.6.3")) || r.live.SessionUp(peer1, netip.MustParseAddr("169.254.6.1")) {
		t.Error("SessionUp: want true for the second speaker and false for the appliance's address")
	}
	if rs := r.live.Routes(ID("tgw-rtb", "core")); len(rs) != 3 || len(rs[2].Via) != 1 || rs[2].Via[0].ResourceType != "connect" {
		t.Errorf("routes: got %+v, want those of two VPCs, and one line for both Connect peers", rs)
	}
	nstest.Eventually(t, 5*time.Second, func() error {
		if got, want := r.told("gw1"), []string{"10.0.0.0/16", "10.1.0.0/16"}; !slices.Equal(got, want) {
			return fmt.Errorf("gw1 was told %v, want what its route table has, %v", got, want)
		}
		return nil
	})

	// AWS closes one of gw1's sessions: nothing changes. Then its peer is deleted.
	r.live.Close(peer1, 2, true)
	r.route("core", "10.101.0.0/16", [4]bool{true, false, true, true}, peer1, peer2)
	r.described(r.peers[0], true, false)
	if err := r.api.DeleteTransitGatewayConnectPeer(t.Context(), peer1, false); err != nil {
		t.Fatal(err)
	}
	r.route("core", "10.101.0.0/16", [4]bool{false, false, true, true}, peer2)
	r.ping(r.work, "10.101.0.1", true)
	r.ping(r.apart, "10.101.0.1", false) // its route table knows nothing of Connect

	// Another one like it is made, and something stops gw2's packets.
	p, err := r.api.CreateTransitGatewayConnectPeer(t.Context(), tgwconnect.NewPeer{
		AttachmentID: ID("tgw-attach", "connect"), PeerAddress: netip.MustParseAddr("10.1.1.10"), TransitGatewayAddress: netip.MustParseAddr("192.0.2.1"),
		Inside4: netip.MustParsePrefix("169.254.6.0/29"), PeerASN: 65010,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.peers[0] = p.ID
	r.world.Do(func(s *world.State) { s.Interfaces[ID("eni", "gw2")].GroupIDs = nil })
	r.route("core", "10.101.0.0/16", [4]bool{true, true, false, false}, p.ID)
	r.ping(r.work, "10.101.0.1", true)
	r.described(p.ID, true, true)
	r.described(peer2, false, false)

	// A static route wins over what is learned.
	work := ID("tgw-attach", "work")
	if err := r.api.CreateTransitGatewayRoute(t.Context(), tgwconnect.NewTGWRoute{
		RouteTableID: ID("tgw-rtb", "core"), Prefix: netip.MustParsePrefix("10.101.0.0/16"), AttachmentID: work,
	}); err != nil {
		t.Fatal(err)
	}
	r.route("core", "10.101.0.0/16", [4]bool{true, true, false, false}, work)
	r.ping(r.work, "10.101.0.1", false)
	found, err := r.api.SearchTransitGatewayRoutes(t.Context(), ID("tgw-rtb", "core"), tgwconnect.Where("route-search.exact-match", "10.101.0.0/16"))
	if err != nil || len(found.Routes) != 1 || found.Routes[0].Type != "static" || found.Routes[0].Via[0].AttachmentID != work {
		t.Errorf("SearchTransitGatewayRoutes: got %+v, %v; want the static route", found.Routes, err)
	}
}

// described compares BgpStatus of a Connect peer's two sessions.
func (r *rig) described(id string, first, second bool) {
	r.Helper()
	peers, err := r.api.DescribeTransitGatewayConnectPeers(r.Context(), tgwconnect.Query{IDs: []string{id}})
	if err != nil || len(peers) != 1 || len(peers[0].Sessions) != 2 || peers[0].Sessions[0].Up != first || peers[0].Sessions[1].Up != second {
		r.Errorf("DescribeTransitGatewayConnectPeers %s: got %+v, %v; want sessions %t, %t", id, peers, err, first, second)
	}
}

// told are the prefixes that an appliance has learned.
func (r *rig) told(name string) (learned []string) {
	r.Helper()
	events, err := router.ReadEvents(r.events(name))
	if err != nil {
		r.Fatal(err)
	}
	for p := range router.Routes(events) {
		learned = append(learned, p.String())
	}
	slices.Sort(learned)
	return learned
}

func (r *rig) events(name string) string { return filepath.Join(r.dir, name) }
