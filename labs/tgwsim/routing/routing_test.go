package routing

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// world is two gateways on one Connect attachment, a third on another, a VPC and
// a peering attachment, all in one route table.
func world() *TGW {
	rt := []string{"rt"}
	return &TGW{
		ASN:    64512,
		Tables: []Table{{ID: "rt"}, {ID: "other"}},
		Attachments: []Attachment{
			{ID: "att-c1", Type: Connect, Table: "rt", Propagates: rt},
			{ID: "att-c2", Type: Connect, Table: "rt", Propagates: rt},
			{ID: "att-peering", Type: Peering, Table: "rt"},
			{ID: "att-vpc", Type: VPC, Table: "rt", Propagates: rt, Networks: prefixes("10.0.0.0/16")},
			{ID: "att-vpn", Type: VPN, Table: "rt", Propagates: rt, Networks: prefixes("10.9.0.0/16")},
			{ID: "att-dx", Type: DirectConnect, Table: "rt", Propagates: rt, Networks: prefixes("10.8.0.0/16", "10.9.0.0/16")},
		},
		Peers: []Peer{{ID: "gw1", Attachment: "att-c1", ASN: 65010}, {ID: "gw2", Attachment: "att-c1", ASN: 65010}, {ID: "gw3", Attachment: "att-c2", ASN: 65010}},
	}
}

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// path is "PEER/SESSION PREFIX [MED] AS..."; MED is given as m50.
func path(s string) Path {
	f := strings.Fields(s)
	p := Path{Prefix: netip.MustParsePrefix(f[1]), Since: time.Unix(0, 0)}
	p.Peer, _, _ = strings.Cut(f[0], "/")
	if _, err := fmt.Sscanf(f[0][len(p.Peer):], "/%d", &p.Session); err != nil {
		panic(err)
	}
	a := &bgp.Attrs{}
	for _, w := range f[2:] {
		var n uint32
		if _, err := fmt.Sscanf(strings.TrimPrefix(w, "m"), "%d", &n); err != nil {
			panic(err)
		}
		if w[0] == 'm' {
			a.MED, a.HasMED = n, true
		} else {
			a.ASPath = append(a.ASPath, bgp.ASN(n))
		}
	}
	p.Attrs = a
	return p
}

func paths(lines ...string) (out []Path) {
	for _, l := range lines {
		out = append(out, path(l))
	}
	return out
}

// show is a table as lines of text.
func show(routes []Route) (out []string) {
	for _, r := range routes {
		line := r.Prefix.String()
		switch {
		case r.Blackhole:
			line += " blackhole"
		case r.PrefixList != "":
			line += " list"
		case r.Static:
			line += " static"
		}
		for _, v := range r.Via {
			name := v.Peer
			if name == "" {
				name = v.Attachment
			}
			line += " " + name
		}
		out = append(out, line)
	}
	return out
}

func TestRoutesOfATable(t *testing.T) {
	base := []string{"10.0.0.0/16 att-vpc", "10.8.0.0/16 att-dx", "10.9.0.0/16 att-dx"} // DX before VPN
	for _, c := range []struct {
		name   string
		change func(*TGW)
		paths  []Path
		want   string // the route of 10.1.0.0/16, or of the prefix it begins with; empty: none
	}{
		{"equal paths of two peers and two attachments share", nil, paths("gw1/1 10.1.0.0/16 m50 65010", "gw2/1 10.1.0.0/16 m50 65010", "gw3/1 10.1.0.0/16 m50 65010"), "10.1.0.0/16 gw1 gw2 gw3"},
		{"two sessions of one peer are one way", nil, paths("gw1/1 10.1.0.0/16 65010", "gw1/2 10.1.0.0/16 65010"), "10.1.0.0/16 gw1"},
		{"one session is enough", nil, paths("gw1/2 10.1.0.0/16 65010", "gw2/1 10.1.0.0/16 65010"), "10.1.0.0/16 gw1 gw2"},
		{"the better of two sessions counts", nil, paths("gw1/1 10.1.0.0/16 m200 65010", "gw1/2 10.1.0.0/16 m50 65010", "gw2/1 10.1.0.0/16 m60 65010"), "10.1.0.0/16 gw1"},
		{"shorter AS_PATH before MED", nil, paths("gw1/1 10.1.0.0/16 m200 65010", "gw2/1 10.1.0.0/16 m10 65010 65010"), "10.1.0.0/16 gw1"},
		{"lower MED", nil, paths("gw1/1 10.1.0.0/16 m50 65010", "gw2/1 10.1.0.0/16 m10 65010"), "10.1.0.0/16 gw2"},
		{"a missing MED is 100", nil, paths("gw1/1 10.1.0.0/16 65010", "gw2/1 10.1.0.0/16 m101 65010"), "10.1.0.0/16 gw1"},
		{"a missing MED equals 100", nil, paths("gw1/1 10.1.0.0/16 65010", "gw2/1 10.1.0.0/16 m100 65010"), "10.1.0.0/16 gw1 gw2"},
		{"another AS_PATH of the same length does not share", nil, paths("gw1/1 10.1.0.0/16 65010 65101", "gw2/1 10.1.0.0/16 65010 65102"), "10.1.0.0/16 gw1"},
		{"another ASN does not share", func(w *TGW) { w.Peers[1].ASN = 65011 }, paths("gw1/1 10.1.0.0/16 65010", "gw2/1 10.1.0.0/16 65011"), "10.1.0.0/16 gw1"},
		{"iBGP: what the appliance originates is not installed", func(w *TGW) { w.Peers[0].ASN = 64512 }, paths("gw1/1 10.1.0.0/16"), ""},
		{"iBGP: what it has from eBGP is", func(w *TGW) { w.Peers[0].ASN = 64512 }, paths("gw1/1 10.1.0.0/16 65101"), "10.1.0.0/16 gw1"},
		{"eBGP before iBGP", func(w *TGW) { w.Peers[0].ASN = 64512 }, paths("gw1/1 10.1.0.0/16 65101", "gw2/1 10.1.0.0/16 65010"), "10.1.0.0/16 gw2"},
		{"a VPC's own prefix beats Connect", nil, paths("gw1/1 10.0.0.0/16 65010"), "10.0.0.0/16 att-vpc"},
		{"Direct Connect beats Connect", nil, paths("gw1/1 10.8.0.0/16 65010"), "10.8.0.0/16 att-dx"},
		{"Connect beats VPN", func(w *TGW) { w.Attachments[5].Networks = prefixes("10.8.0.0/16") }, paths("gw1/1 10.9.0.0/16 65010"), "10.9.0.0/16 gw1"},
		{"a static route beats all that is learned", static(Static{Attachment: "att-peering"}), paths("gw1/1 10.1.0.0/16 65010"), "10.1.0.0/16 static att-peering"},
		{"a prefix list beats what is learned", static(Static{Attachment: "att-peering", PrefixList: "pl-1"}), paths("gw1/1 10.1.0.0/16 65010"), "10.1.0.0/16 list att-peering"},
		{"a blackhole is a static route", static(Static{Blackhole: true}), paths("gw1/1 10.1.0.0/16 65010"), "10.1.0.0/16 blackhole"},
		{"the route of an attachment that is gone is a blackhole", static(Static{Attachment: "att-gone"}), nil, "10.1.0.0/16 blackhole"},
		{"no propagation, no route", func(w *TGW) { w.Attachments[0].Propagates = nil }, paths("gw1/1 10.1.0.0/16 65010"), ""},
		{"propagation into another table", func(w *TGW) { w.Attachments[0].Propagates = []string{"other"} }, paths("gw1/1 10.1.0.0/16 65010", "gw3/1 10.1.0.0/16 m900 65010"), "10.1.0.0/16 gw3"},
		{"a peer whose attachment is gone brings nothing", func(w *TGW) { w.Attachments = w.Attachments[1:] }, paths("gw1/1 10.1.0.0/16 65010"), ""},
		{"IPv6 too", nil, paths("gw1/1 2001:db8:1::/48 65010", "gw2/2 2001:db8:1::/48 65010"), "2001:db8:1::/48 gw1 gw2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := world()
			if c.change != nil {
				c.change(w)
			}
			subject, _, _ := strings.Cut(c.want, " ")
			if subject == "" {
				subject = "10.1.0.0/16"
			}
			got := ""
			for _, line := range show(Decide(w, c.paths).Table("rt")) {
				if strings.HasPrefix(line, subject+" ") {
					got = line
				}
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if got := show(Decide(world(), nil).Table("rt")); !slices.Equal(got, base) {
		t.Errorf("nothing learned: got %q, want %q", got, base)
	}
}

func static(s Static) func(*TGW) {
	s.Prefix = netip.MustParsePrefix("10.1.0.0/16")
	return func(w *TGW) { w.Tables[0].Static = append(w.Tables[0].Static, s) }
}

func told(d *Decision, peer string) (out []string) {
	for _, r := range d.Told[peer] {
		out = append(out, r.Prefix.String())
	}
	return out
}

func TestWhatAPeerIsTold(t *testing.T) {
	learned := paths("gw1/1 10.1.0.0/16 65010", "gw2/1 10.1.0.0/16 65010", "gw2/1 10.2.0.0/16 65010")
	w := world()
	w.Attachments = slices.DeleteFunc(w.Attachments, func(a Attachment) bool { return a.Type == DirectConnect || a.Type == VPN })
	d := Decide(w, learned)
	if got, want := told(d, "gw1"), []string{"10.0.0.0/16", "10.2.0.0/16"}; !slices.Equal(got, want) {
		t.Errorf("gw1: got %v, want %v: not what is from itself", got, want)
	}
	// gw2 is told what gw1 announced, and drops it because of its own ASN.
	if got, want := told(d, "gw2"), []string{"10.0.0.0/16", "10.1.0.0/16"}; !slices.Equal(got, want) {
		t.Errorf("gw2: got %v, want %v", got, want)
	}
	if r := d.Told["gw2"][1]; !slices.Equal(r.Attrs.ASPath, []bgp.ASN{65010}) {
		t.Errorf("AS_PATH of the other gateway's route: got %v, want [65010]", r.Attrs.ASPath)
	}
	w.Attachments[0].Table = "other"
	if got := told(Decide(w, learned), "gw1"); len(got) != 0 {
		t.Errorf("associated with an empty table: got %v, want nothing", got)
	}
	w.Attachments[0].Table = ""
	if got := told(Decide(w, learned), "gw1"); len(got) != 0 {
		t.Errorf("not associated: got %v, want nothing", got)
	}
	w.Attachments[0].Table, w.Attachments[0].PolicyTable = "rt", true
	if got := told(Decide(w, learned), "gw1"); len(got) != 0 {
		t.Errorf("policy table: got %v, want nothing", got)
	}
}

func TestLimits(t *testing.T) {
	w := world()
	w.Limits = Limits{FromPeer: 2, ToPeer: 4, All: 7}
	old := path("gw1/1 10.3.0.0/16 65010")
	var learned []Path
	for i, s := range []string{"gw1/1 10.1.0.0/16 65010", "gw1/2 10.1.0.0/16 65010", "gw1/1 10.2.0.0/16 65010", "gw2/1 10.4.0.0/16 65010"} {
		p := path(s)
		p.Since = time.Unix(int64(i+1), 0)
		learned = append(learned, p)
	}
	d := Decide(w, append(learned, old))
	want := []string{"10.0.0.0/16 att-vpc", "10.1.0.0/16 gw1", "10.3.0.0/16 gw1", "10.4.0.0/16 gw2", "10.8.0.0/16 att-dx", "10.9.0.0/16 att-dx"}
	if got := show(d.Table("rt")); !slices.Equal(got, want) || d.Excess["gw1"] != 1 || len(d.Excess) != 1 {
		t.Errorf("the newest of three prefixes is ignored: got %q and excess %v, want %q", got, d.Excess, want)
	}
	if got := told(d, "gw3"); len(got) != 4 {
		t.Errorf("told: got %d routes, want the limit of 4", len(got))
	}
	w.Tables[1].Static = []Static{{Prefix: netip.MustParsePrefix("10.5.0.0/16"), Blackhole: true}, {Prefix: netip.MustParsePrefix("10.6.0.0/16"), Blackhole: true}}
	if d := Decide(w, append(learned, old)); d.Beyond != 1 || len(d.Table("other")) != 1 {
		t.Errorf("beyond 7 routes in all tables: got %d and %d routes in the last table, want 1 and 1", d.Beyond, len(d.Table("other")))
	}
}

func TestLookupsFollowEachOther(t *testing.T) {
	leave := func(device string) Step { return Step{Hops: []bgp.NextHop{{Device: device}}} }
	table := func(entries map[string]Step) map[netip.Prefix]Step {
		out := map[netip.Prefix]Step{}
		for p, s := range entries {
			out[netip.MustParsePrefix(p)] = s
		}
		return out
	}
	l := Lookups{
		"subnet": table(map[string]Step{
			"10.0.0.0/16": {}, "10.0.1.0/24": leave("subnet1"), // of the VPC itself only what is a subnet
			"10.0.0.0/8": {Next: "tgw"}, "172.16.0.0/12": {Next: "tgw"},
			"10.2.0.0/16": leave("eni"), // hides what the TGW knows inside
			"10.3.0.0/16": {},           // blackhole
		}),
		"tgw": table(map[string]Step{
			"10.0.0.0/8": leave("peering"), "10.1.0.0/16": leave("gre"), "10.2.3.0/24": leave("gre"),
			"10.4.0.0/16": {Next: "appliance"}, "10.5.0.0/16": {Next: "loop"}, "192.168.0.0/16": leave("gre"),
		}),
		"appliance": table(map[string]Step{"10.4.4.0/24": leave("eni")}),
		"loop":      table(map[string]Step{"10.0.0.0/8": {Next: "tgw"}}),
	}
	var got []string
	for _, r := range l.Flatten("subnet") {
		s := r.Prefix.String()
		for _, h := range r.NextHops {
			s += " " + h.Device
		}
		if (len(r.NextHops) == 0) != (r.Type == bgp.BlackholeRoute) {
			t.Errorf("%s: type %d with %d next hops", r.Prefix, r.Type, len(r.NextHops))
		}
		got = append(got, s)
	}
	want := []string{
		"10.0.0.0/8 peering", "10.0.0.0/16", "10.0.1.0/24 subnet1", "10.1.0.0/16 gre", "10.2.0.0/16 eni", "10.2.3.0/24 eni", "10.3.0.0/16",
		"10.4.0.0/16", "10.4.4.0/24 eni", "10.5.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRouteServerChoosesOneNextHop(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.1.5"), netip.MustParseAddr("10.0.2.5")
	with := func(peer, prefix string, hop netip.Addr, med uint32, n int) RouteServerPath {
		return RouteServerPath{Peer: peer, Prefix: netip.MustParsePrefix(prefix), NextHop: hop, Attrs: &bgp.Attrs{ASPath: make([]bgp.ASN, n), MED: med, HasMED: med > 0}}
	}
	best := RouteServerRoutes([]RouteServerPath{
		with("b", "10.1.0.0/16", b, 0, 1), with("a", "10.1.0.0/16", a, 10, 1), // MED 0 is preferred
		with("b", "10.2.0.0/16", b, 5, 2), with("a", "10.2.0.0/16", a, 10, 1), // AS_PATH first
		with("b", "10.3.0.0/16", b, 5, 1), with("a", "10.3.0.0/16", a, 5, 1),
		with("a", "10.4.0.0/16", a, 5, 1), // the fourth of a's
	}, 3)
	var got []string
	for _, p := range best {
		got = append(got, p.Prefix.String()+" "+p.NextHop.String())
	}
	want := []string{"10.1.0.0/16 10.0.2.5", "10.2.0.0/16 10.0.1.5", "10.3.0.0/16 10.0.1.5"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
