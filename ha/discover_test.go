package ha

import (
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// found is a Connect peer in block 169.254.100.n/29.
func found(id string, n byte) tgwconnect.Candidate {
	block := netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254, 100, n}), 29)
	return tgwconnect.Candidate{Entry: "aws", Name: "aws-" + id, Peer: tgwconnect.Peer{
		ID: "tgw-connect-peer-" + id, PeerAddress: netip.MustParseAddr("10.0.0.10"), TransitGatewayAddress: netip.AddrFrom4([4]byte{192, 0, 2, n + 1}),
		Inside4: block, Inside6: netip.MustParsePrefix("fd00:100::/125"), Sessions: []tgwconnect.PeerSession{{TransitGatewayASN: 64512, PeerASN: 65001}},
	}}
}

func TestDiscoveredPeersComeAndGoBesideTheRest(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	cfg := &Config{
		Gateway:   Gateway{Name: "gw", ASN: 65001, RouterID: netip.MustParseAddr("192.0.2.9"), EndOfRIBWait: time.Minute},
		Neighbors: []bgp.Neighbor{{Name: "core", Kind: bgp.KindRouter, Address: netip.MustParseAddr("192.0.2.254"), RemoteASN: 65020, IPv4: true}},
		Discover:  []Discovery{{Entry: tgwconnect.Entry{Name: "aws", ASN: 65001}, Neighbor: bgp.Neighbor{Kind: bgp.KindTGW, Group: "aws", IPv4: true}}},
		Ranks:     DefaultRanks(),
	}
	c := New(now, cfg)
	if c.Plan(now); c.Complete() {
		t.Error("complete before discovery has answered: an earlier process's tunnels would be swept")
	}
	c.Step(now, NeighborObserved{NeighborState: bgp.NeighborState{Name: "core", State: bgp.StateEstablished, EndOfRIB4: true}})
	want := func(what string, tunnels ...string) {
		t.Helper()
		p := c.Plan(now)
		if len(p.Tunnels) != len(tunnels) || len(p.Neighbors) != 1+2*len(tunnels) {
			t.Fatalf("%s: %d tunnels and %d neighbors, want %v and two for each besides core", what, len(p.Tunnels), len(p.Neighbors), tunnels)
		}
		for i, name := range tunnels {
			if p.Tunnels[i].Name != name {
				t.Errorf("%s: tunnel %s, want %s", what, p.Tunnels[i].Name, name)
			}
		}
		if _, st, _ := c.Neighbor("core"); st.State != bgp.StateEstablished {
			t.Errorf("%s: core is %s: it has nothing to do with discovery", what, st.State)
		}
	}
	epoch := c.epoch
	c.Step(now, PeersDiscovered{[]tgwconnect.Candidate{found("aaaaaaaa", 0)}})
	if c.epoch == epoch {
		t.Error("settled entries are not looked at again")
	}
	want("found", "gre-aaaaaaaa")
	n, _, _ := c.Neighbor("aws-aaaaaaaa/2")
	if n == nil || n.Address != netip.MustParseAddr("169.254.100.3") || n.LocalAddress != netip.MustParseAddr("169.254.100.1") || n.RemoteASN != 64512 ||
		n.Group != "aws" || n.Device != "gre-aaaaaaaa" || n.NextHop6 != netip.MustParseAddr("fd00:100::1") {
		t.Errorf("second session %+v", n)
	}
	c.Step(now, PeersDiscovered{[]tgwconnect.Candidate{found("aaaaaaaa", 0), found("bbbbbbbb", 8)}})
	want("a second one", "gre-aaaaaaaa", "gre-bbbbbbbb")
	c.Reconfigure(now, cfg)
	want("a reload", "gre-aaaaaaaa", "gre-bbbbbbbb")
	gone := found("aaaaaaaa", 0)
	gone.Name, gone.Reason = "", tgwconnect.UnusedState
	c.Step(now, PeersDiscovered{[]tgwconnect.Candidate{gone, found("bbbbbbbb", 8)}})
	want("replaced", "gre-bbbbbbbb")
}

// foundServer is this host as a peer of a Route Server's endpoint 10.0.0.n.
func foundServer(name string, n byte, liveness string) tgwconnect.ServerCandidate {
	return tgwconnect.ServerCandidate{Entry: "rs", Name: name, Peer: tgwconnect.RouteServerPeer{
		ID: "rsp-" + name, ServerID: "rs-1", ServerASN: 65500, PeerASN: 65001, Liveness: liveness,
		PeerAddress: netip.MustParseAddr("10.0.0.10"), EndpointAddress: netip.AddrFrom4([4]byte{10, 0, 0, n}),
	}}
}

func TestRouteServersComeAndGoWithTheirBFD(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	c := New(now, &Config{
		Gateway: Gateway{Name: "gw", ASN: 65001, RouterID: netip.MustParseAddr("192.0.2.9"), EndOfRIBWait: time.Minute},
		Servers: []ServerDiscovery{{
			Entry:    tgwconnect.ServerEntry{Name: "rs", ASN: 65001},
			Neighbor: bgp.Neighbor{Kind: bgp.KindRouter, Group: "rs", IPv4: true, Export: true, AnnounceLimit: 100},
			BFD:      bgp.BFDSession{Interval: time.Second, Multiplier: 3},
		}},
		Ranks: DefaultRanks(),
	})
	if c.Plan(now); c.Complete() {
		t.Error("complete before discovery has answered")
	}
	c.Step(now, ServersDiscovered{[]tgwconnect.ServerCandidate{foundServer("rs-a", 200, tgwconnect.LivenessBFD), foundServer("rs-b", 201, "bgp-keepalive")}})
	p := c.Plan(now)
	if len(p.Neighbors) != 2 || len(p.BFD) != 1 || p.BFD[0].Name != "rs-a" || p.BFD[0].Interval != time.Second || len(p.Tunnels) != 0 {
		t.Fatalf("neighbors %+v, BFD %+v, tunnels %+v, want two sessions of which AWS watches one", p.Neighbors, p.BFD, p.Tunnels)
	}
	if len(c.limits) != 1 || c.limits[0].group != "rs" || c.limits[0].limit != 100 {
		t.Errorf("limits %+v, want 100 of the group", c.limits)
	}
	c.Step(now, ServersDiscovered{[]tgwconnect.ServerCandidate{foundServer("rs-b", 201, "bgp-keepalive")}})
	if p := c.Plan(now); len(p.Neighbors) != 1 || p.Neighbors[0].Name != "rs-b" || len(p.BFD) != 0 {
		t.Errorf("neighbors %+v, BFD %+v after one went", p.Neighbors, p.BFD)
	}
	if o := c.Origins(); len(o) != 1 || o["rs-b"] != (Origin{Entry: "rs", ID: "rsp-rs-b", Parent: "rs-1", Server: true}) {
		t.Errorf("origins %+v", o)
	}
	c.Reconfigure(now, &Config{Gateway: Gateway{Name: "gw", ASN: 65001}, Ranks: DefaultRanks()})
	if o := c.Origins(); len(o) != 0 {
		t.Errorf("origins %+v of entries that are gone", o)
	}
}
