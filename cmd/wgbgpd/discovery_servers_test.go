package main

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// withServers puts a Route Server with two endpoints into the region, both with
// the first host as a peer, one with the second one, and asks for its sessions.
func (l *discoveryLab) withServers() {
	l.sim.World().Do(func(s *world.State) {
		ok := world.Lifecycle{State: "available"}
		s.RouteServers["rs-00000001"] = &world.RouteServer{ID: "rs-00000001", ASN: 65500, Lifecycle: ok}
		for id, host := range map[string]int{"rsp-aaaaaaaa": 10, "rsp-bbbbbbbb": 10, "rsp-cccccccc": 11} {
			end := "rse-" + id[4:]
			address := netip.AddrFrom4([4]byte{10, 0, 0, 200 + id[4] - 'a'})
			s.RouteServerEndpoints[end] = &world.RouteServerEndpoint{ID: end, ServerID: "rs-00000001", Lifecycle: ok, Address: address}
			s.RouteServerPeers[id] = &world.RouteServerPeer{
				ID: id, EndpointID: end, ServerID: "rs-00000001", Lifecycle: ok, ASN: 65001, Liveness: "bfd",
				PeerAddress: netip.AddrFrom4([4]byte{10, 0, 0, byte(host)}),
			}
		}
	})
	l.cfg.Core.Servers = []ha.ServerDiscovery{{
		Entry:    tgwconnect.ServerEntry{Name: "rs", ASN: 65001},
		Neighbor: bgp.Neighbor{Name: "rs", Kind: bgp.KindRouter, Group: "rs", IPv4: true, AnnounceLimit: 100},
		BFD:      bgp.BFDSession{Interval: 300 * time.Millisecond, Multiplier: 3},
	}}
	l.restart()
}

func (l *discoveryLab) sessions() (names []string) {
	for _, n := range l.core.Config().Neighbors {
		if n.Group == "rs" {
			names = append(names, n.Name)
		}
	}
	return names
}

func TestSessionsWithRouteServersAreFound(t *testing.T) {
	l := newDiscoveryLab(t)
	l.withServers()
	l.pass(t)
	n, _, ok := l.core.Neighbor("rs-bbbbbbbb")
	if got := l.sessions(); len(got) != 2 || !ok {
		t.Fatalf("sessions %v, want one with each endpoint that has this host as a peer", got)
	}
	if n.Address != netip.MustParseAddr("10.0.0.201") || n.LocalAddress != l.names.Addresses[0] || n.RemoteASN != 65500 || n.AnnounceLimit != 100 {
		t.Errorf("%+v", n)
	}
	b := l.core.BFD()
	if len(b) != 2 || b[1].Config.Name != "rs-bbbbbbbb" || b[1].Config.Address != n.Address || b[1].Config.LocalAddress != n.LocalAddress {
		t.Errorf("BFD %+v, want one with each endpoint", b)
	}
	if o := origin(n, l.core.Origins()); o != (api.Origin{Source: api.OriginRouteServer, ID: "rsp-bbbbbbbb", Parent: "rs-00000001", Entry: "rs"}) {
		t.Errorf("origin %+v", o)
	}
	v := l.view(l.at)
	if len(v.Sources) != 2 || len(v.Sources[1].Found) != 3 || v.Sources[1].Found[2].Reason != string(tgwconnect.UnusedForeign) {
		t.Errorf("%+v", v)
	}
	if len(l.tunnels()) != 1 {
		t.Errorf("tunnels %v beside them, want one", l.tunnels())
	}
}

func TestAnHourOfTwoKindsIsOneCallAMinute(t *testing.T) {
	l := newDiscoveryLab(t)
	l.withServers()
	l.passes(t, 5*time.Minute)
	l.atMostOneAMinute(t, l.calls(t, time.Hour))
	for _, op := range []string{"DescribeTransitGatewayConnectPeers", "DescribeRouteServerPeers"} {
		if n := len(l.sim.Calls(op)); n < 20 {
			t.Errorf("%d times %s in an hour, want half of the calls", n, op)
		}
	}
	if len(l.facts) != 2 {
		t.Errorf("%d facts, want the first of each kind", len(l.facts))
	}
}

func TestOneKindThatFailsLeavesTheOtherAlone(t *testing.T) {
	l := newDiscoveryLab(t)
	l.withServers()
	l.passes(t, 5*time.Minute)
	l.sim.SetFaults(tgwsim.Faults{Plan: []tgwsim.Fault{{Operations: []string{"DescribeRouteServer*"}, Kind: tgwsim.Fail, Code: "UnauthorizedOperation", Status: 403}}})
	l.passes(t, time.Hour)
	if l.failure() == "" || len(l.sessions()) != 2 {
		t.Errorf("failure %q, sessions %v: the last answer stays", l.failure(), l.sessions())
	}
	v := l.view(l.at).Sources
	if a, b := l.at.Sub(v[0].Answered.Time), l.at.Sub(v[1].Answered.Time); a > 3*time.Minute || b < time.Hour {
		t.Errorf("answers are %v and %v old, want the first one fresh", a, b)
	}
	l.restart()
	if got := l.sessions(); len(got) != 2 {
		t.Errorf("sessions %v after a restart without AWS, want both", got)
	}
}

func TestARouteServerPeerThatGoesIsFollowed(t *testing.T) {
	l := newDiscoveryLab(t)
	l.withServers()
	l.passes(t, 5*time.Minute)
	l.sim.World().Do(func(s *world.State) { s.RouteServerPeers["rsp-aaaaaaaa"].State = "deleting" })
	l.passes(t, 5*time.Minute)
	if got := l.sessions(); len(got) != 1 || got[0] != "rs-bbbbbbbb" || len(l.core.BFD()) != 1 {
		t.Errorf("sessions %v, want the other endpoint's", got)
	}
}

// Between two questions nothing reads the kernel's addresses but what is told of a
// change, and the slow timer.
func TestAnAddressThatComesIsAskedForSoon(t *testing.T) {
	l := newDiscoveryLab(t)
	l.passes(t, 3*time.Minute)
	l.sim.ForgetCalls()
	var more atomic.Bool
	l.addresses = func() ([]netip.Addr, error) {
		if !more.Load() {
			return []netip.Addr{l.names.Addresses[0]}, nil
		}
		return []netip.Addr{l.names.Addresses[0], netip.MustParseAddr("10.0.0.99")}, nil
	}
	changes := make(chan struct{}, 1)
	l.changes = changes
	l.sources[0].(*finder[tgwconnect.Peer]).next = time.Now().Add(time.Minute) // so far time was the test's
	<-l.kick                                                                   // the configuration is known
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for changes <- struct{}{}; len(changes) > 0; {
		runtime.Gosched()
	}
	if n := len(l.sim.Calls("Describe*")); n > 0 {
		t.Fatalf("%d calls without a reason", n)
	}
	more.Store(true)
	changes <- struct{}{}
	nstest.Eventually(t, 10*time.Second, func() error {
		if len(l.sim.Calls("Describe*")) == 0 {
			return errors.New("AWS was not asked")
		}
		return nil
	})
}
