package tgwconnect

import (
	"net/netip"
	"testing"
)

func TestDecisionsAboutRoutes(t *testing.T) {
	p := netip.MustParsePrefix("10.101.0.0/16")
	r := RouteRule{OwnInterface: "eni-b", OwnAttachment: "tgw-attach-b", Targets: []string{"eni-a", "eni-b", "tgw-attach-a", "tgw-attach-b"}}
	leave, blackhole := r, r
	leave.Unheld, blackhole.Unheld = UnheldLeave, UnheldBlackhole
	shared := r
	shared.Targets = []string{"tgw-attach-b", "tgw-attach-b"}
	active := func(target string) RouteEntry { return RouteEntry{Present: true, Target: target, Writable: true} }
	dead := func(target string) RouteEntry {
		return RouteEntry{Present: true, Target: target, Writable: true, Dead: true}
	}
	for _, tt := range []struct {
		what    string
		rule    RouteRule
		entry   RouteEntry
		hold    Hold
		yielded bool
		want    RouteVerb
		problem bool
	}{
		{"absent, held here", r, RouteEntry{}, HeldHere, false, RouteCreate, false},
		{"absent, held elsewhere", r, RouteEntry{}, HeldElsewhere, false, RouteLeave, false},
		{"absent, held by nobody", r, RouteEntry{}, HeldByNobody, false, RouteLeave, false},
		{"right already", r, active("eni-b"), HeldHere, false, RouteLeave, false},
		{"a partner's, held here", r, active("eni-a"), HeldHere, false, RouteReplace, false},
		{"a partner's, held there", r, active("eni-a"), HeldElsewhere, false, RouteLeave, false},
		{"a partner's, held by nobody", r, active("eni-a"), HeldByNobody, false, RouteLeave, false},
		{"a dead partner's, held here", r, dead("eni-a"), HeldHere, true, RouteReplace, false},
		{"lost to a preferred partner", r, active("eni-a"), HeldHere, true, RouteLeave, false},
		{"ours, held by nobody: no blackhole stays", r, active("eni-b"), HeldByNobody, false, RouteDelete, false},
		{"ours, held by nobody: leave", leave, active("eni-b"), HeldByNobody, false, RouteLeave, false},
		{"ours, held by nobody: blackhole, in a VPC", blackhole, active("eni-b"), HeldByNobody, false, RouteDelete, false},
		{"TGW, a blackhole of somebody, held here", r, RouteEntry{TGW: true, Present: true, Writable: true, Dead: true}, HeldHere, false, RouteLeave, true},
		{"TGW, our blackhole, held here", blackhole, RouteEntry{TGW: true, Present: true, Writable: true, Dead: true}, HeldHere, false, RouteReplace, false},
		{"TGW, our blackhole, held by nobody", blackhole, RouteEntry{TGW: true, Present: true, Writable: true, Dead: true}, HeldByNobody, false, RouteLeave, false},
		{"ours, held elsewhere: the other one replaces it", r, active("eni-b"), HeldElsewhere, false, RouteLeave, false},
		{"a stranger's", r, active("eni-x"), HeldHere, false, RouteLeave, true},
		{"a stranger's blackhole", r, dead("eni-x"), HeldHere, false, RouteLeave, true},
		{"propagated", r, RouteEntry{Present: true, Target: "eni-a"}, HeldHere, false, RouteLeave, true},
		{"ours and not writable, held by nobody", r, RouteEntry{Present: true, Target: "eni-b"}, HeldByNobody, false, RouteLeave, false},
		{"own target unknown", RouteRule{Targets: r.Targets}, active("eni-a"), HeldHere, false, RouteLeave, false},
		{"TGW, a partner's attachment", r, RouteEntry{TGW: true, Present: true, Writable: true, Target: "tgw-attach-a"}, HeldHere, false, RouteReplace, false},
		{"TGW, an attachment of both hosts, held by nobody here", shared, RouteEntry{TGW: true, Present: true, Writable: true, Target: "tgw-attach-b"}, HeldByNobody, false, RouteLeave, false},
	} {
		tt.entry.Prefix = p
		got := tt.rule.Decide([]RouteEntry{tt.entry}, []Claim{{Prefix: p, Hold: tt.hold}}, func(string, netip.Prefix) bool { return tt.yielded })
		if a := got[0]; a.Verb != tt.want || a.Problem != tt.problem || a.Why == "" || (a.To != "") != (tt.want == RouteCreate || tt.want == RouteReplace) {
			t.Errorf("%s: got %+v, want %s (problem %v)", tt.what, a, tt.want, tt.problem)
		}
	}
}

func TestNobodyHoldsAPrefixOfATransitGateway(t *testing.T) {
	p := netip.MustParsePrefix("10.101.0.0/16")
	for _, tt := range []struct {
		unheld Unheld
		want   RouteVerb
	}{{UnheldDelete, RouteDelete}, {UnheldLeave, RouteLeave}, {UnheldBlackhole, RouteReplace}} {
		r := RouteRule{OwnAttachment: "tgw-attach-b", Targets: []string{"tgw-attach-b"}, Unheld: tt.unheld}
		e := RouteEntry{TGW: true, Prefix: p, Present: true, Writable: true, Target: "tgw-attach-b"}
		got := r.Decide([]RouteEntry{e}, []Claim{{Prefix: p}}, func(string, netip.Prefix) bool { return false })
		if got[0].Verb != tt.want || got[0].To != "" {
			t.Errorf("%s: got %s to %q, want %s to nowhere", tt.unheld, got[0].Verb, got[0].To, tt.want)
		}
	}
}

func TestEntriesOfTables(t *testing.T) {
	p4, p6, q := netip.MustParsePrefix("10.101.0.0/16"), netip.MustParsePrefix("2001:db8:101::/48"), netip.MustParsePrefix("10.102.0.0/16")
	r := RouteRule{Prefixes: []netip.Prefix{p4, q, p6}}
	got := r.VPCEntries(&VPCRouteTable{ID: "rtb-1", Routes: []VPCRoute{
		{Prefix: p4, Target: RouteTarget{InterfaceID: "eni-a", InstanceID: "i-a"}, State: "active", Origin: "CreateRoute"},
		{Prefix: p6, Target: RouteTarget{GatewayID: "vgw-1"}, State: "blackhole", Origin: "EnableVgwRoutePropagation"},
	}})
	want := []RouteEntry{
		{Table: "rtb-1", Prefix: p4, Present: true, Target: "eni-a", Writable: true},
		{Table: "rtb-1", Prefix: q},
		{Table: "rtb-1", Prefix: p6, Present: true, Target: "vgw-1", Dead: true},
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("VPC entry %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
	got = r.TGWEntries("tgw-rtb-1", []TGWRoute{
		{Prefix: p4, Type: "static", State: "blackhole", Via: []RouteVia{{AttachmentID: "tgw-attach-a"}}},
		{Prefix: q, Type: "static", State: "deleted"},
		{Prefix: p6, Type: "propagated", State: "active", Via: []RouteVia{{AttachmentID: "tgw-attach-c"}}},
	})
	want = []RouteEntry{
		{Table: "tgw-rtb-1", TGW: true, Prefix: p4, Present: true, Target: "tgw-attach-a", Writable: true, Dead: true},
		{Table: "tgw-rtb-1", TGW: true, Prefix: q},
		{Table: "tgw-rtb-1", TGW: true, Prefix: p6, Present: true, Target: "tgw-attach-c"},
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("TGW entry %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}
