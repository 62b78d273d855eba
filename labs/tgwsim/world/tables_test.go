package world

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgbgp/wgbgp/bgp"
)

func TestAnAttachmentHasOneAssociation(t *testing.T) {
	w := example(ExampleOptions{})
	w.Do(func(s *State) {
		s.Delays.Associate = time.Second
		s.Tables["other"] = &Table{ID: "other", TransitGatewayID: "tgw-other", Lifecycle: Lifecycle{State: "available"}}
	})
	want(t, "associate twice", w.Associate(w.Table, w.Connect), "Resource.AlreadyAssociated")
	want(t, "a table of another TGW", w.Associate("other", w.Connect), "InvalidParameterValue")
	want(t, "no such table", w.Associate("tgw-rtb-no", w.Connect), "InvalidRouteTableID.NotFound")
	want(t, "end it", w.Disassociate(w.Table, w.Connect), "")
	want(t, "end it twice", w.Disassociate(w.Table, w.Connect), "IncorrectState")
	want(t, "associate while it ends", w.Associate(w.Table, w.Connect), "Resource.AlreadyAssociated")
	w.at = w.at.Add(time.Second)
	want(t, "end what has ended", w.Disassociate(w.Table, w.Connect), "InvalidAssociation.NotFound")
	want(t, "associate again", w.Associate(w.Table, w.Connect), "")
	if s := w.Snapshot().Attachments[w.Connect].Association.State; s != "associating" {
		t.Errorf("state %q, want associating", s)
	}
	w.at = w.at.Add(time.Second)
	if s := w.Snapshot().Attachments[w.Connect].Association.State; s != "associated" {
		t.Errorf("state %q, want associated", s)
	}
	want(t, "propagate twice", w.Propagate(w.Table, w.Connect), "TransitGatewayRouteTablePropagation.Duplicate")
	want(t, "stop", w.StopPropagation(w.Table, w.Connect), "")
	w.at = w.at.Add(time.Second)
	want(t, "stop what has stopped", w.StopPropagation(w.Table, w.Connect), "TransitGatewayRouteTablePropagation.NotFound")
	want(t, "propagate", w.Propagate(w.Table, w.Connect), "")
}

// shown are the routes of the example's table, one line each.
func (w *testWorld) shown() (lines []string) {
	for _, r := range w.Network().Routes(w.Table) {
		line := r.Prefix.String()
		if r.Static {
			line += " static"
		}
		if r.Blackhole {
			line += " blackhole"
		}
		for _, v := range r.Via {
			line += " " + v.ResourceType
		}
		lines = append(lines, line)
	}
	return lines
}

func TestStaticRoutesAndWhatTheTableShows(t *testing.T) {
	w := example(ExampleOptions{})
	m := w.Network().(*Memory)
	for i, peer := range w.Peers {
		m.SetSessions(peer, i == 0, false)
		m.Learn(peer, []bgp.ASN{65001}, nil, prefix("10.9.0.0/16"), prefix("10.0.0.0/16"))
	}
	check := func(what string, lines ...string) {
		t.Helper()
		if diff := cmp.Diff(lines, w.shown()); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", what, diff)
		}
	}
	const vpc6 = "2001:db8:0:100::/56 vpc"
	check("VPC before Connect", "10.0.0.0/16 vpc", "10.9.0.0/16 connect", vpc6)

	static := Static{Prefix: prefix("10.9.0.0/16"), AttachmentID: w.VPCAttachment}
	want(t, "replace what is not static", w.ReplaceStatic(w.Table, static), "InvalidRoute.NotFound")
	want(t, "create", w.CreateStatic(w.Table, static), "")
	want(t, "create again", w.CreateStatic(w.Table, static), "RouteAlreadyExists")
	check("static before propagated", "10.0.0.0/16 vpc", "10.9.0.0/16 static vpc", vpc6)
	want(t, "to Connect", w.ReplaceStatic(w.Table, Static{Prefix: static.Prefix, AttachmentID: w.Connect}), "UnsupportedOperation")
	want(t, "neither nor", w.ReplaceStatic(w.Table, Static{Prefix: static.Prefix}), "InvalidParameterCombination")
	want(t, "blackhole", w.ReplaceStatic(w.Table, Static{Prefix: static.Prefix, Blackhole: true}), "")
	check("blackhole", "10.0.0.0/16 vpc", "10.9.0.0/16 static blackhole", vpc6)
	_, err := w.DeleteStatic(w.Table, static.Prefix)
	want(t, "delete", err, "")
	_, err = w.DeleteStatic(w.Table, static.Prefix)
	want(t, "delete again", err, "InvalidRoute.NotFound")
	check("BGP again", "10.0.0.0/16 vpc", "10.9.0.0/16 connect", vpc6)
	m.SetSessions(w.Peers[0], false, false)
	check("no session up", "10.0.0.0/16 vpc", vpc6)
}

func TestRoutesOfAVPC(t *testing.T) {
	w := example(ExampleOptions{})
	p := prefix("10.9.0.0/16")
	to := func(target Target) VPCRoute { return VPCRoute{Prefix: p, Target: target} }
	first, second := to(Target{InterfaceID: w.Interfaces[0]}), to(Target{InterfaceID: w.Interfaces[1]})
	want(t, "replace what is not there", w.ReplaceRoute(w.RouteTable, first), "InvalidParameterValue")
	want(t, "no such table", w.CreateRoute("rtb-no", first), "InvalidRouteTableID.NotFound")
	want(t, "no such interface", w.CreateRoute(w.RouteTable, to(Target{InterfaceID: "eni-no"})), "InvalidNetworkInterfaceID.NotFound")
	want(t, "create", w.CreateRoute(w.RouteTable, first), "")
	want(t, "create again", w.CreateRoute(w.RouteTable, second), "RouteAlreadyExists")
	want(t, "replace", w.ReplaceRoute(w.RouteTable, second), "")
	routes := w.Snapshot().RouteTables[w.RouteTable].Routes
	if got := routes[len(routes)-1]; got.Target != second.Target || got.Origin != "CreateRoute" {
		t.Errorf("the route is %+v, want the replaced one", got)
	}
	want(t, "to the TGW", w.ReplaceRoute(w.RouteTable, to(Target{TransitGatewayID: w.TransitGateway})), "")
	want(t, "delete", w.DeleteRoute(w.RouteTable, p, ""), "")
	want(t, "delete again", w.DeleteRoute(w.RouteTable, p, ""), "InvalidRoute.NotFound")
	want(t, "delete the VPC's own", w.DeleteRoute(w.RouteTable, prefix("10.0.0.0/16"), ""), "InvalidParameterValue")
	w.Do(func(s *State) { s.Attachments[w.VPCAttachment].State = "deleted" })
	want(t, "to a TGW without attachment", w.CreateRoute(w.RouteTable, to(Target{TransitGatewayID: w.TransitGateway})), "InvalidTransitGatewayID.NotFound")
}

func TestTagsAndInterfaces(t *testing.T) {
	w := example(ExampleOptions{})
	ids := []string{w.Connect, w.Peers[0]}
	want(t, "tag", w.CreateTags(ids, Tags{"a": "1", "b": "2"}), "")
	want(t, "tag nothing", w.CreateTags([]string{"tgw-attach-no"}, Tags{"a": "1"}), "InvalidID")
	want(t, "tag with AWS's prefix", w.CreateTags(ids, Tags{"aws:x": "1"}), "InvalidParameterValue")
	want(t, "remove another value", w.DeleteTags(ids, map[string]*string{"a": new("9")}), "")
	want(t, "remove a key", w.DeleteTags(ids, map[string]*string{"b": nil}), "")
	if diff := cmp.Diff(Tags{"a": "1"}, w.Snapshot().ConnectPeers[w.Peers[0]].Tags); diff != "" {
		t.Errorf("tags (-want +got)\n%s", diff)
	}
	many := Tags{}
	for i := range 50 {
		many[fmt.Sprint(i)] = ""
	}
	want(t, "51 tags", w.CreateTags(ids[:1], many), "TagLimitExceeded")

	want(t, "a short timeout", w.ModifyInterface(w.Interfaces[0], InterfaceChange{UDPTimeout: new(int32(29))}), "InvalidParameterValue")
	want(t, "a good timeout", w.ModifyInterface(w.Interfaces[0], InterfaceChange{UDPTimeout: new(int32(60))}), "")
	want(t, "an unknown group", w.ModifyInterface(w.Interfaces[0], InterfaceChange{GroupIDs: []string{"sg-no"}}), "InvalidGroup.NotFound")
	want(t, "the check", w.ModifyInstanceSourceDestCheck(w.Instances[0], true), "")
	if n := w.Snapshot().Interfaces[w.Interfaces[0]]; !n.SourceDestCheck || n.UDPTimeout != 60 {
		t.Errorf("the interface is %+v, want check and timeout set", n)
	}
	w.Do(func(s *State) {
		i := s.Instances[w.Instances[0]]
		i.InterfaceIDs = append(i.InterfaceIDs, w.Interfaces[1])
	})
	want(t, "an instance with two interfaces", w.ModifyInstanceSourceDestCheck(w.Instances[0], false), "InvalidInstanceID")
}

func TestASnapshotIsACopy(t *testing.T) {
	w := example(ExampleOptions{IPv6: true})
	before := w.Snapshot()
	want(t, "change", w.DeleteConnectPeer(w.Peers[0]), "")
	after := w.Snapshot()
	if before.ConnectPeers[w.Peers[0]].State != "available" || after.ConnectPeers[w.Peers[0]].State == "available" {
		t.Error("a snapshot changed with the world, or did not see the change")
	}
	w.View(func(s *State) {
		if diff := cmp.Diff(s, after, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }), cmp.Comparer(equalPrefix), cmp.Comparer(equalAddr)); diff != "" {
			t.Errorf("the copy is unlike the world:\n%s", diff)
		}
	})
}

func equalPrefix(a, b netip.Prefix) bool { return a == b }
func equalAddr(a, b netip.Addr) bool     { return a == b }
