package tgwconnect

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

var (
	ours  = netip.MustParseAddr("10.0.0.10")
	other = netip.MustParseAddr("10.0.1.11")
)

// somePeer is a Connect peer that can be used by a gateway with ASN 65001.
func somePeer(id string) Peer {
	return Peer{
		ID: "tgw-connect-peer-0123456789" + id, State: "available", PeerAddress: ours, TransitGatewayAddress: netip.MustParseAddr("192.0.2.1"),
		Inside4:  netip.MustParsePrefix("169.254.100.0/29"),
		Sessions: []PeerSession{{TransitGatewayASN: 64512, PeerASN: 65001}, {TransitGatewayASN: 64512, PeerASN: 65001}},
	}
}

func TestConnectPeersAreUsedOrSaidWhyNot(t *testing.T) {
	all := []Entry{{Name: "aws", ASN: 65001}}
	local := Local{Kernel: []netip.Addr{ours}, Metadata: []netip.Addr{ours, other}}
	for _, c := range []struct {
		what    string
		entries []Entry
		static  []ConnectPeer
		change  func(*Peer)
		want    Unused
	}{
		{what: "ours", entries: all},
		{what: "ours by ID", entries: []Entry{{Name: "one", PeerID: somePeer("aaaaaaa").ID, ASN: 65001}}},
		{what: "another ID wanted", entries: []Entry{{Name: "one", PeerID: "tgw-connect-peer-1", ASN: 65001}}, want: UnusedNoEntry},
		{what: "another host's", entries: all, change: func(p *Peer) { p.PeerAddress = netip.MustParseAddr("10.9.9.9") }, want: UnusedForeign},
		{what: "not in the kernel", entries: all, change: func(p *Peer) { p.PeerAddress = other }, want: UnusedAddress},
		{what: "pending", entries: all, change: func(p *Peer) { p.State = "pending" }, want: UnusedState},
		{what: "deleting", entries: all, change: func(p *Peer) { p.State = "deleting" }, want: UnusedState},
		{what: "no sessions shown", entries: all, change: func(p *Peer) { p.Sessions = nil }, want: UnusedState},
		{what: "iBGP", entries: all, change: func(p *Peer) { p.Sessions = []PeerSession{{TransitGatewayASN: 64512, PeerASN: 64512}} }, want: UnusedIBGP},
		{what: "other ASN", entries: all, change: func(p *Peer) { p.Sessions = []PeerSession{{TransitGatewayASN: 64512, PeerASN: 65002}} }, want: UnusedASN},
		{what: "reserved block", entries: all, change: func(p *Peer) { p.Inside4 = netip.MustParsePrefix("169.254.0.0/29") }, want: UnusedInside},
		{what: "no IPv4 block", entries: all, change: func(p *Peer) { p.Inside4 = netip.Prefix{} }, want: UnusedInside},
		{what: "bad IPv6 block", entries: all, change: func(p *Peer) { p.Inside6 = netip.MustParsePrefix("2001:db8::/125") }, want: UnusedInside},
		{what: "two families", entries: all, change: func(p *Peer) { p.TransitGatewayAddress = netip.MustParseAddr("2001:db8::1") }, want: UnusedInside},
		{what: "in the file", entries: all, static: []ConnectPeer{{Name: "s", Local: ours, Remote: netip.MustParseAddr("192.0.2.1")}}, want: UnusedConfigured},
		{what: "block in the file", entries: all, static: []ConnectPeer{{Name: "s", Inside4: netip.MustParsePrefix("169.254.100.0/29")}}, want: UnusedConfigured},
	} {
		p := somePeer("aaaaaaa")
		if c.change != nil {
			c.change(&p)
		}
		got := Discover(c.entries, c.static, local, []Peer{p})
		if len(got) != 1 || got[0].Reason != c.want || got[0].Used() != (c.want == "") || got[0].Used() != (got[0].Name != "") || !got[0].Used() && got[0].Detail == "" {
			t.Errorf("%s: %+v, want %q", c.what, got, c.want)
		}
	}
}

func TestNamesDependOnTheAnswerOnly(t *testing.T) {
	all := []Entry{{Name: "aws", ASN: 65001}}
	local := Local{Kernel: []netip.Addr{ours}}
	a, b, same := somePeer("aaaaaaa"), somePeer("bbbbbbb"), somePeer("ccccccc")
	b.TransitGatewayAddress, b.Inside4 = netip.MustParseAddr("192.0.2.2"), netip.MustParsePrefix("169.254.100.8/29")
	one, two := Discover(all, nil, local, []Peer{a, b, same}), Discover(all, nil, local, []Peer{same, b, a})
	for i := range one {
		if one[i].Name != two[i].Name || one[i].Reason != two[i].Reason {
			t.Errorf("%+v in one order, %+v in another", one[i], two[i])
		}
	}
	if one[0].Name != "aws-9aaaaaaa" || one[0].Peer.Device() != "gre-9aaaaaaa" || one[1].Name != "aws-9bbbbbbb" || one[2].Reason != UnusedConflict {
		t.Errorf("%+v", one)
	}
}

func TestPollerIsRareInQuiet(t *testing.T) {
	p := Poller{Every: time.Minute, Rand: rand.New(rand.NewPCG(1, 0)).Float64}
	for range 1000 {
		if d := p.Next(Outcome{}); d < time.Minute || d > 72*time.Second {
			t.Fatalf("quiet: %v", d)
		}
	}
	if d := p.Next(Outcome{Unsettled: true}); d > 3*time.Second {
		t.Errorf("something pending: %v", d)
	}
	for range 200 {
		p.Next(Outcome{Unsettled: true})
	}
	if d := p.Next(Outcome{Unsettled: true}); d < time.Minute {
		t.Errorf("pending for ever: %v", d)
	}
	p.Next(Outcome{})
	if d := p.Next(Outcome{Unsettled: true}); d > 3*time.Second {
		t.Errorf("pending again: %v", d)
	}
	if d := p.Next(Outcome{Failed: true}); d > 3*time.Second {
		t.Errorf("first failure: %v", d)
	}
	for range 1000 {
		p.Next(Outcome{Failed: true})
	}
	if d := p.Next(Outcome{Failed: true}); d < 30*time.Second || d > 90*time.Second {
		t.Errorf("failing for long: %v", d)
	}
}

// someServerPeer is a peer of a Route Server that can be used by a gateway with
// ASN 65001.
func someServerPeer(id string, endpoint byte) RouteServerPeer {
	return RouteServerPeer{
		ID: "rsp-0123456789" + id, ServerID: "rs-1", State: "available", PeerAddress: ours, PeerASN: 65001, ServerASN: 65500,
		EndpointAddress: netip.AddrFrom4([4]byte{10, 0, 0, endpoint}), Liveness: LivenessBFD,
	}
}

func TestRouteServerPeersAreUsedOrSaidWhyNot(t *testing.T) {
	all := []ServerEntry{{Name: "rs", ASN: 65001}}
	local := Local{Kernel: []netip.Addr{ours}, Metadata: []netip.Addr{ours, other}}
	for _, c := range []struct {
		what       string
		entries    []ServerEntry
		configured []netip.Addr
		change     func(*RouteServerPeer)
		want       Unused
	}{
		{what: "ours", entries: all},
		{what: "of the server that is named", entries: []ServerEntry{{Name: "rs", ServerID: "rs-1", ASN: 65001}}},
		{what: "of another server", entries: []ServerEntry{{Name: "rs", ServerID: "rs-2", ASN: 65001}}, want: UnusedNoEntry},
		{what: "another host's", entries: all, change: func(p *RouteServerPeer) { p.PeerAddress = netip.MustParseAddr("10.9.9.9") }, want: UnusedForeign},
		{what: "not in the kernel", entries: all, change: func(p *RouteServerPeer) { p.PeerAddress = other }, want: UnusedAddress},
		{what: "in the file", entries: all, configured: []netip.Addr{netip.MustParseAddr("10.0.0.200")}, want: UnusedConfigured},
		{what: "pending", entries: all, change: func(p *RouteServerPeer) { p.State = "pending" }, want: UnusedState},
		{what: "failed", entries: all, change: func(p *RouteServerPeer) { p.State, p.FailureReason = "failed", "no capacity" }, want: UnusedState},
		{what: "server's ASN not known", entries: all, change: func(p *RouteServerPeer) { p.ServerASN = 0 }, want: UnusedState},
		{what: "endpoint without address", entries: all, change: func(p *RouteServerPeer) { p.EndpointAddress = netip.Addr{} }, want: UnusedState},
		{what: "two families", entries: all, change: func(p *RouteServerPeer) { p.EndpointAddress = netip.MustParseAddr("2001:db8::1") }, want: UnusedFamily},
		{what: "other ASN", entries: all, change: func(p *RouteServerPeer) { p.PeerASN = 65002 }, want: UnusedASN},
	} {
		p := someServerPeer("aaaaaaa", 200)
		if c.change != nil {
			c.change(&p)
		}
		got := DiscoverServers(c.entries, c.configured, local, []RouteServerPeer{p})
		if len(got) != 1 || got[0].Reason != c.want || got[0].Used() != (got[0].Name != "") || !got[0].Used() && got[0].Detail == "" {
			t.Errorf("%s: %+v, want %q", c.what, got, c.want)
		}
	}
}

func TestOneSessionPerEndpointOfARouteServer(t *testing.T) {
	a, b, same := someServerPeer("aaaaaaa", 200), someServerPeer("bbbbbbb", 201), someServerPeer("ccccccc", 201)
	got := DiscoverServers([]ServerEntry{{Name: "rs", ASN: 65001}}, nil, Local{Kernel: []netip.Addr{ours}}, []RouteServerPeer{same, b, a})
	if got[0].Name != "rs-9aaaaaaa" || got[1].Name != "rs-9bbbbbbb" || got[2].Reason != UnusedConflict {
		t.Errorf("%+v", got)
	}
}
