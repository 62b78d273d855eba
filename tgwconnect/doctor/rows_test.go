package doctor_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
	"github.com/wgbgp/wgbgp/tgwconnect/doctor"
)

// where says how a fault is planted.
const (
	inSim    = "tgwsim" // through the product's client
	inFacts  = "facts"  // a value, as the kernel or the daemon would say it
	inStrand = "absent" // tgwsim has no such service: a value
)

// fault is how the fault of one row is planted, and what its evidence must name.
type fault struct {
	where   string
	verdict doctor.Verdict
	names   string
	plant   func(s *scene)
}

func (s *scene) peer(f func(*world.ConnectPeer)) {
	s.Do(func(x *world.State) { f(x.ConnectPeers[s.Peers[0]]) })
}

func (s *scene) attachment(id string, f func(*world.Attachment)) {
	s.Do(func(x *world.State) { f(x.Attachments[id]) })
}

// foreign adds another attachment and a static route to it.
func (s *scene) static(kind, prefix string) {
	s.Do(func(x *world.State) {
		a := &world.Attachment{ID: x.NewID("tgw-attach"), TransitGatewayID: s.TransitGateway, Type: kind, ResourceID: "other", Lifecycle: world.Lifecycle{State: "available"}}
		x.Attachments[a.ID] = a
		x.Tables[s.Table].Static = append(x.Tables[s.Table].Static, world.Static{Prefix: netip.MustParsePrefix(prefix), AttachmentID: a.ID})
	})
}

func (s *scene) rules(keep func(world.GroupRule) bool) {
	s.Do(func(x *world.State) {
		g := x.SecurityGroups[s.Group]
		g.Rules = slices.DeleteFunc(g.Rules, func(r world.GroupRule) bool { return !keep(r) })
	})
}

func (s *scene) routeServer(n int, reason string) {
	s.Do(func(x *world.State) {
		x.RouteServers["rs-1"] = &world.RouteServer{ID: "rs-1", VPCID: s.VPC, ASN: 65010, Lifecycle: world.Lifecycle{State: "available"}, PersistRoutes: "disabled"}
		x.RouteServerEndpoints["rse-1"] = &world.RouteServerEndpoint{ID: "rse-1", ServerID: "rs-1", VPCID: s.VPC, SubnetID: s.Subnets[0], Lifecycle: world.Lifecycle{State: "available"}, Address: addr("10.0.0.200")}
		x.RouteServerPeers["rsp-1"] = &world.RouteServerPeer{ID: "rsp-1", EndpointID: "rse-1", ServerID: "rs-1", VPCID: s.VPC, SubnetID: s.Subnets[0], Lifecycle: world.Lifecycle{State: "available"}, PeerAddress: s.Addresses[0], ASN: 65001, Liveness: "bgp-keepalive"}
	})
	var routes []world.RouteServerRoute
	for i := range n {
		routes = append(routes, world.RouteServerRoute{
			Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 50, byte(i), 0}), 24), PeerID: "rsp-1", InFIB: true, NextHop: s.Addresses[0], ASPath: []uint32{65001},
			Installed: []world.Installation{{RouteTableID: s.RouteTable, Installed: reason == "", Reason: reason}},
		})
	}
	s.net.SetRouteServer("rs-1", routes)
}

func (s *scene) bump(counter string) { s.host.After[counter] = s.host.Before[counter] + 7 }

func (s *scene) neighbor(f func(*api.Neighbor)) { f(&s.daemon.Neighbors[0]) }

// faults has every row; TestEveryRowHasItsFault counts them.
var faults = map[int]fault{
	1: {inSim, doctor.Problem, "PeerAsn 64512", func(s *scene) { s.peer(func(p *world.ConnectPeer) { p.ASN = 64512 }) }},
	2: {inSim, doctor.Problem, "PeerAsn of", func(s *scene) { s.peer(func(p *world.ConnectPeer) { p.ASN = 65002 }) }},
	3: {inSim, doctor.Problem, "1 of 2 sessions", func(s *scene) { s.net.SetSessions(s.Peers[0], true, false) }},
	4: {inFacts, doctor.Problem, "TTL 1", func(s *scene) { s.daemon.Config.Neighbors[1].TTL = 0 }},
	5: {inFacts, doctor.Problem, "host 1 of 169.254.100.0/29", func(s *scene) {
		s.host.Tunnels[0].Addresses = []netip.Prefix{netip.MustParsePrefix("169.254.100.4/29")}
	}},
	6: {inSim, doctor.Problem, "tgw-a goes from", func(s *scene) {
		s.peer(func(p *world.ConnectPeer) { p.TransitGatewayAddress = addr("192.0.2.77") })
	}},
	7: {inSim, doctor.Problem, "10.0.0.99 is not on this host", func(s *scene) { s.peer(func(p *world.ConnectPeer) { p.PeerAddress = addr("10.0.0.99") }) }},
	8: {inFacts, doctor.Problem, "tgw-a has key", func(s *scene) { s.host.Tunnels[0].OutFlags = 0x2000 }},
	9: {inSim, doctor.Problem, "has no route for 192.0.2.0/24", func(s *scene) {
		s.Do(func(x *world.State) {
			t := x.RouteTables[s.RouteTable]
			t.Routes = slices.DeleteFunc(t.Routes, func(r world.VPCRoute) bool { return r.Target.TransitGatewayID != "" })
		})
	}},
	10: {inSim, doctor.Problem, "the gateway is in us-east-1a", func(s *scene) {
		s.attachment(s.VPCAttachment, func(a *world.Attachment) { a.SubnetIDs = []string{s.Subnets[1]} })
	}},
	11: {inSim, doctor.Problem, "protocol 47 in from", func(s *scene) { s.rules(func(r world.GroupRule) bool { return r.Protocol != "47" }) }},
	12: {inSim, doctor.Problem, "blocks protocol 47", func(s *scene) {
		s.Do(func(x *world.State) {
			l := x.NetworkACLs[s.ACL]
			l.Entries = append(l.Entries, world.ACLEntry{Number: 50, Protocol: "47", Prefix: netip.MustParsePrefix("0.0.0.0/0")})
		})
	}},
	13: {inSim, doctor.Problem, "UDP 51820", func(s *scene) { s.rules(func(r world.GroupRule) bool { return r.Protocol != "udp" }) }},
	14: {inSim, doctor.Problem, "SourceDestCheck is on", func(s *scene) {
		s.Do(func(x *world.State) {
			x.Interfaces[s.Interfaces[0]].SourceDestCheck = true
			t := x.RouteTables[s.RouteTable]
			t.Routes = append(t.Routes, world.VPCRoute{Prefix: site1, Target: world.Target{InterfaceID: s.Interfaces[0]}, Origin: "CreateRoute"})
		})
	}},
	15: {inSim, doctor.Problem, "associated with no route table", func(s *scene) {
		s.attachment(s.Connect, func(a *world.Attachment) { a.TableID, a.Association = "", world.Lifecycle{} })
	}},
	16: {inSim, doctor.Problem, "policy table", func(s *scene) {
		s.attachment(s.Connect, func(a *world.Attachment) { a.TableID, a.PolicyTableID = "", "tgw-ptb-1" })
	}},
	17: {inSim, doctor.Problem, "propagates to no route table", func(s *scene) { s.attachment(s.Connect, func(a *world.Attachment) { a.Propagations = nil }) }},
	18: {inSim, doctor.Problem, "static route by direct-connect-gateway", func(s *scene) { s.static("direct-connect-gateway", site1.String()) }},
	19: {inSim, doctor.Warning, "10.1.7.0/24", func(s *scene) { s.static("direct-connect-gateway", "10.1.7.0/24") }},
	20: {inSim, doctor.Problem, "AS_PATHs differ", func(s *scene) {
		s.Do(func(x *world.State) { x.ConnectPeers[s.Peers[1]].ASN = 65002 })
	}},
	21: {inFacts, doctor.Warning, "900 of 1000", func(s *scene) { s.neighbor(func(n *api.Neighbor) { n.Announced = 900 }) }},
	22: {inSim, doctor.Warning, "ASN 64512", func(s *scene) {
		s.Do(func(x *world.State) {
			x.TransitGateways["tgw-2"] = &world.TransitGateway{ID: "tgw-2", ASN: 64512, Encryption: "disabled", Lifecycle: world.Lifecycle{State: "available"}}
		})
	}},
	23: {inSim, doctor.Problem, "enabling", func(s *scene) {
		s.Do(func(x *world.State) { x.TransitGateways[s.TransitGateway].Encryption = "enabling" })
	}},
	24: {inSim, doctor.Problem, "is failed", func(s *scene) { s.attachment(s.VPCAttachment, func(a *world.Attachment) { a.State = "failed" }) }},
	25: {inFacts, doctor.Problem, "MTU 8977", func(s *scene) { s.host.Tunnels[0].MTU = 8977 }},
	26: {inFacts, doctor.Problem, "takes 1340", func(s *scene) { s.daemon.MTU[0].Links[2].MTU, s.daemon.MTU[0].Links[2].Packet = 1400, 1340 }},
	27: {inFacts, doctor.Problem, "IPv4 fragments made: 7 more", func(s *scene) { s.bump("ip.FragCreates") }},
	28: {inFacts, doctor.Warning, "no clamp", func(s *scene) { s.daemon.MTU[0].MSS4 = 0 }},
	29: {inFacts, doctor.Warning, "no routable preferred source", func(s *scene) { s.daemon.Routes[1].Source = netip.Addr{} }},
	30: {inFacts, doctor.Problem, "net.ipv4.ip_forward is 0", func(s *scene) { s.host.Sysctls["net.ipv4.ip_forward"] = "0" }},
	31: {inFacts, doctor.Problem, "2 tunnels", func(s *scene) {
		b := s.host.Tunnels[0]
		b.Name, b.Remote = "tgw-b", addr("192.0.2.2")
		s.host.Tunnels = append(s.host.Tunnels, b)
		s.host.Sysctls["net.ipv4.conf.tgw-b.rp_filter"] = "1"
	}},
	32: {inFacts, doctor.Problem, "a foreign route wins", func(s *scene) { s.daemon.Routes[0].Status = api.RouteShadowed }},
	33: {inFacts, doctor.Problem, "routed into tgw-a", func(s *scene) { s.host.Lookups[0].Device = "tgw-a" }},
	34: {inSim, doctor.Problem, "reserved by AWS", func(s *scene) {
		s.peer(func(p *world.ConnectPeer) { p.Inside4 = netip.MustParsePrefix("169.254.2.0/29") })
	}},
	35: {inSim, doctor.Problem, "hop limit is 1", func(s *scene) { s.noIMDS = true }},
	36: {inFacts, doctor.Warning, "not synchronized", func(s *scene) { s.host.Clock.Synchronized = false }},
	37: {inFacts, doctor.Problem, "probe lan", func(s *scene) { s.daemon.Health[0].Checks[0].Up = false }},
	38: {inFacts, doctor.Problem, "[lyon paris]", func(s *scene) { s.daemon.Peers[1].AllowedIPs = s.daemon.Peers[0].AllowedIPs }},
	39: {inFacts, doctor.Problem, "none of [paris]", func(s *scene) {
		s.daemon.Peers[0].State, s.daemon.Peers[0].Handshake = api.PeerDown, api.At(started.Add(-time.Hour), started)
	}},
	40: {inStrand, doctor.Problem, "Target.Timeout", func(s *scene) { s.targets[0].State, s.targets[0].Reason = "unhealthy", "Target.Timeout" }},
	41: {inStrand, doctor.Problem, "fails open", func(s *scene) { s.targets[0].State, s.targets[1].State = "unhealthy", "unhealthy" }},
	42: {inFacts, doctor.Problem, "a key of its own", func(s *scene) { s.daemon.Config.SharedKeys = nil }},
	43: {inSim, doctor.Problem, "keepalive 2m0s", func(s *scene) {
		s.daemon.Config.Sites[0].Keepalive = 2 * time.Minute
		s.Do(func(x *world.State) { x.Interfaces[s.Interfaces[0]].UDPStreamTimeout = 60 })
	}},
	44: {inFacts, doctor.Problem, "no handshake with 203.0.113.10", func(s *scene) { s.daemon.Peers[0].Handshake = api.At(started.Add(-time.Hour), started) }},
	45: {inFacts, doctor.Problem, "bandwidth allowance", func(s *scene) { s.bump("eth0.bw_in_allowance_exceeded") }},
	46: {inFacts, doctor.Problem, "262000 of 262144", func(s *scene) { s.host.Sysctls["net.netfilter.nf_conntrack_count"] = "262000" }},
	47: {inStrand, doctor.Warning, "PacketDropCountNoRoute 12", func(s *scene) { s.drops = 12 }},
	48: {inSim, doctor.Warning, "RequestLimitExceeded", func(s *scene) {
		s.sim.SetFaults(tgwsim.Faults{Plan: []tgwsim.Fault{{Operations: []string{"DescribeSubnets"}, Kind: tgwsim.Fail, Code: "RequestLimitExceeded", Status: 503, Count: 1}}})
	}},
	49: {inSim, doctor.Problem, "ec2:DescribeSubnets is denied", func(s *scene) {
		s.Do(func(x *world.State) { x.Denied["ec2:DescribeSubnets"] = true })
	}},
	50: {inFacts, doctor.Warning, "negotiated 9 s", func(s *scene) { s.neighbor(func(n *api.Neighbor) { n.HoldTimeSeconds = 9 }) }},
	51: {inSim, doctor.Warning, "only this host announces it", func(s *scene) {
		s.net.SetSessions(s.Peers[1], false, false)
		s.daemon.AdjIn["gw-b"] = api.AdjIn{}
	}},
	52: {inSim, doctor.Problem, "rejected by", func(s *scene) { s.routeServer(1, "static route of the same prefix") }},
	53: {inSim, doctor.Warning, "90 of 100", func(s *scene) { s.routeServer(90, "") }},
	54: {inSim, doctor.Problem, "static route by peering", func(s *scene) { s.static(world.TypePeering, site1.String()) }},
	55: {inFacts, doctor.Problem, "routed into tgw-a", func(s *scene) { s.host.Lookups[2].Device = "tgw-a" }},
}

// idle are the rows that a healthy gateway has nothing for.
var idle = map[int]func(*scene){
	52: func(s *scene) { s.routeServer(2, "") },
	53: func(s *scene) { s.routeServer(2, "") },
}

func TestEveryRowHasItsFault(t *testing.T) {
	const rows = 55
	if n := len(doctor.Rows()); n != rows {
		t.Fatalf("%d rows, want %d", n, rows)
	}
	seen := map[string]bool{}
	for i, r := range doctor.Rows() {
		if r.Number != i+1 {
			t.Errorf("row %d has the place of row %d", r.Number, i+1)
		}
		if f, ok := faults[r.Number]; !ok || f.plant == nil || f.names == "" {
			t.Errorf("row %s has no fault that is planted", r.ID())
		}
		if r.Slug == "" || seen[r.Slug] || r.Title == "" || r.How == "" {
			t.Errorf("row %s lacks a name, a title or what is read", r.ID())
		}
		seen[r.Slug] = true
	}
}

func all(doctor.Row) bool { return true }

func TestAHealthyGatewayRaisesNoAlarm(t *testing.T) {
	s := healthy(t)
	check := func(why string) {
		for _, r := range doctor.Examine(s.facts(), all) {
			if r.Verdict != doctor.OK && (r.Verdict != doctor.NotApplicable || idle[r.Row] == nil) {
				t.Errorf("%s: row %s is %s: %q", why, r.ID, r.Verdict, r.Evidence)
			}
		}
	}
	check("plain")
	for _, more := range idle {
		more(s)
	}
	for _, r := range doctor.Examine(s.facts(), func(r doctor.Row) bool { return idle[r.Number] != nil }) {
		if r.Verdict != doctor.OK {
			t.Errorf("row %s is %s: %q", r.ID, r.Verdict, r.Evidence)
		}
	}
}

// judged keeps the results of spoiled for the page that shows their cures.
var judged = map[int]doctor.Result{}

// spoiled is the verdict of a row on a gateway with the row's fault.
func spoiled(t *testing.T, row doctor.Row) doctor.Result {
	t.Helper()
	if r, ok := judged[row.Number]; ok {
		return r
	}
	s := healthy(t)
	faults[row.Number].plant(s)
	got := doctor.Examine(s.facts(), func(r doctor.Row) bool { return r.Number == row.Number })
	if len(got) != 1 {
		t.Fatalf("%d results", len(got))
	}
	judged[row.Number] = got[0]
	return got[0]
}

func TestEveryRowFindsItsFault(t *testing.T) {
	for _, row := range doctor.Rows() {
		t.Run(row.ID(), func(t *testing.T) {
			f := faults[row.Number]
			got := spoiled(t, row)
			if got.Verdict != f.verdict || !strings.Contains(strings.Join(got.Evidence, "\n"), f.names) {
				t.Fatalf("(%s) got %+v, want %s and %q", f.where, got, f.verdict, f.names)
			}
			if len(got.Cure) == 0 {
				t.Error("no cure")
			}
		})
	}
}

// AC-39: AS_PATH that differs between hosts is seen from what the partner says.
func TestPathsOfHostsDiffer(t *testing.T) {
	s := healthy(t)
	s.daemon.AdjIn["gw-b"].Paths[0].Attrs.ASPath = api.List[uint32]{65102}
	got := doctor.Examine(s.facts(), func(r doctor.Row) bool { return r.Slug == "no-ecmp" })[0]
	if got.Verdict != doctor.Problem || !strings.Contains(got.Evidence[0], "AS_PATH differs between hosts") {
		t.Errorf("%+v", got)
	}
}

// What other hosts announce is known from them alone: the Transit Gateway shows
// attachments, and all Connect peers of one look the same.
func TestPathsOfHostsAreUnknownWithoutASessionWithThem(t *testing.T) {
	row := func(r doctor.Row) bool { return r.Slug == "no-ecmp" }
	s := healthy(t)
	for i := range s.daemon.Neighbors {
		if n := &s.daemon.Neighbors[i]; n.Kind == "fleet" {
			n.State = "Active"
		}
	}
	got := doctor.Examine(s.facts(), row)[0]
	if got.Verdict != doctor.Unknown || !strings.Contains(strings.Join(got.Evidence, "\n"), "1 Connect peers of other hosts") || len(got.Cure) == 0 {
		t.Errorf("%+v, want unknown, why, and a cure", got)
	}
	s.Do(func(x *world.State) { delete(x.ConnectPeers, s.Peers[1]) })
	if got := doctor.Examine(s.facts(), row)[0]; got.Verdict != doctor.OK {
		t.Errorf("%+v, want ok: there is no other host", got)
	}
}

func TestAMissingPermissionIsNamedAndNothingElseIsLost(t *testing.T) {
	s := healthy(t)
	s.Do(func(x *world.State) { x.Denied["ec2:DescribeRouteTables"] = true })
	for _, r := range doctor.Examine(s.facts(), all) {
		switch r.Row {
		case 9, 14:
			if r.Verdict != doctor.Unknown || r.Missing != "ec2:DescribeRouteTables" {
				t.Errorf("row %s: %+v", r.ID, r)
			}
		case 1, 3, 11, 18:
			if r.Verdict != doctor.OK {
				t.Errorf("row %s: %+v", r.ID, r)
			}
		}
	}
}

func TestNothingReadIsUnknownAndNeverFine(t *testing.T) {
	for _, r := range doctor.Examine(&doctor.Facts{Host: doctor.Host{Gap: "not read"}, Daemon: doctor.Daemon{Gap: "not read"}}, all) {
		if r.Verdict != doctor.Unknown {
			t.Errorf("row %s is %s: %q", r.ID, r.Verdict, r.Evidence)
		}
	}
}

func TestEachQuestionIsAskedOnce(t *testing.T) {
	s := healthy(t)
	s.sim.ForgetCalls()
	s.facts()
	seen := map[string]int{}
	for _, c := range s.sim.Calls("*") {
		seen[c.Operation]++
	}
	for op, n := range seen {
		if n > 1 {
			t.Errorf("%s was asked %d times", op, n)
		}
	}
	t.Logf("%d questions", len(seen))
}

func TestIPv6OuterAddresses(t *testing.T) {
	f := &doctor.Facts{Now: started, Daemon: healthyDaemon()}
	f.Host.Tunnels = []doctor.Tunnel{{Name: "tgw-a", Local: addr("2001:db8::10"), Remote: addr("2001:db8:1::1"), MTU: 8476}}
	got := doctor.Examine(f, func(r doctor.Row) bool { return r.Slug == "gre-mtu" })[0]
	if got.Verdict != doctor.Problem || !strings.Contains(got.Evidence[0], "carries 8456") {
		t.Errorf("%+v", got)
	}
}
