package speaker

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

func TestEachGroupSeesExactlyItsShare(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, _ := start(t, Config{})
	ns := []bgp.Neighbor{
		neighbor("tgw", "127.0.0.2", 64512, "tgw"), neighbor("site-a", "127.0.0.3", 65101, "sites"),
		neighbor("site-b", "127.0.0.4", 65102, "sites"), neighbor("fleet", "127.0.0.5", 65000, "fleet"),
	}
	own := announcement("10.1.0.0/16", nil, bgp.Export{Group: "fleet", MED: 5, LocalPref: 300, Prepend: 2},
		bgp.Export{
			Group: "tgw", MED: 50, Prepend: 2, Communities: []bgp.Community{bgp.GracefulShutdown},
			Large: []bgp.LargeCommunity{{Global: 65000, Data1: 1, Data2: 2}},
		})
	own.Attrs.Communities = []bgp.Community{65001<<16 | 7, 3} // 0:3 is reserved space: never passed on
	own.Attrs.Large = []bgp.LargeCommunity{{Global: 9, Data1: 9, Data2: 9}}
	own.Attrs.MED, own.Attrs.HasMED, own.Attrs.LocalPref = 777, true, 888
	six := announcement("fd00:1::/48", []bgp.ASN{65101}, bgp.Export{Group: "sites", MED: 1}, bgp.Export{Group: "tgw"})
	except := announcement("10.2.0.0/16", nil, bgp.Export{Group: "sites", MED: 9})
	except.Except = []string{"site-b"}
	apply(t, s, ns, []bgp.Announcement{own, six, except})

	tgw := dialRaw(t, rawConf{local: "127.0.0.2", asn: 64512})
	a := dialRaw(t, rawConf{local: "127.0.0.3", asn: 65101})
	b := dialRaw(t, rawConf{local: "127.0.0.4", asn: 65102})
	fleet := dialRaw(t, rawConf{local: "127.0.0.5", asn: 65000})

	tgw.expect(t, map[string]string{
		"10.1.0.0/16": seen{nextHop: "127.0.0.1", as: []uint32{65000, 65000, 65000}, med: 50, localPref: -1, communities: []uint32{65001<<16 | 7, 0xFFFF0000}, large: []string{"9:9:9", "65000:1:2"}}.String(),
		"fd00:1::/48": seen{nextHop: "fd00:9::1", as: []uint32{65000, 65101}, med: 0, localPref: -1}.String(),
	})
	// fd00:1::/48 holds site-a's ASN: it must not go back there.
	a.expect(t, map[string]string{"10.2.0.0/16": seen{nextHop: "127.0.0.1", as: []uint32{65000}, med: 9, localPref: -1}.String()})
	b.expect(t, map[string]string{"fd00:1::/48": seen{nextHop: "fd00:9::1", as: []uint32{65000, 65101}, med: 1, localPref: -1}.String()})
	// iBGP: no prepend of our own ASN, local preference is sent.
	fleet.expect(t, map[string]string{"10.1.0.0/16": seen{nextHop: "127.0.0.1", med: 5, localPref: 300, communities: []uint32{65001<<16 | 7}, large: []string{"9:9:9"}}.String()})

	out, err := s.AdjOut("tgw")
	if err != nil || len(out) != 2 {
		t.Fatalf("AdjOut: got %v, %v, want 2 paths", out, err)
	}
	if got := out[0]; got.NextHop != netip.MustParseAddr("127.0.0.1") || got.Attrs.MED != 50 || !slices.Equal(got.Attrs.ASPath, []bgp.ASN{65000, 65000, 65000}) {
		t.Errorf("AdjOut of %s: got %v %+v", got.Prefix, got.NextHop, got.Attrs)
	}
	told := map[string]uint32{}
	for _, st := range s.States() {
		told[st.Name] = st.Announced
	}
	for name, want := range map[string]uint32{"tgw": 2, "site-a": 1, "site-b": 1, "fleet": 1} {
		if told[name] != want {
			t.Errorf("Announced of %s: got %d, want %d", name, told[name], want)
		}
	}
}

func TestChangeReachesOnlyWhoIsConcerned(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, _ := start(t, Config{})
	ns := []bgp.Neighbor{neighbor("tgw", "127.0.0.2", 64512, "tgw"), neighbor("site", "127.0.0.3", 65101, "sites")}
	both := []bgp.Export{{Group: "sites", MED: 1}, {Group: "tgw", MED: 50}}
	apply(t, s, ns, []bgp.Announcement{announcement("10.1.0.0/16", nil, both...), announcement("10.2.0.0/16", nil, both[1])})
	tgw := dialRaw(t, rawConf{local: "127.0.0.2", asn: 64512})
	site := dialRaw(t, rawConf{local: "127.0.0.3", asn: 65101})
	at := func(med int64) string {
		return seen{nextHop: "127.0.0.1", as: []uint32{65000}, med: med, localPref: -1}.String()
	}
	tgw.expect(t, map[string]string{"10.1.0.0/16": at(50), "10.2.0.0/16": at(50)})
	site.expect(t, map[string]string{"10.1.0.0/16": at(1)})

	// The rank changes for one group, the other loses the prefix.
	apply(t, s, ns, []bgp.Announcement{announcement("10.1.0.0/16", nil, bgp.Export{Group: "tgw", MED: 10}), announcement("10.2.0.0/16", nil, both[1])})
	tgw.expect(t, map[string]string{"10.1.0.0/16": at(10), "10.2.0.0/16": at(50)})
	site.expect(t, map[string]string{})

	// A prefix the site never had goes away: not a word to the site.
	before := site.count()
	apply(t, s, ns, []bgp.Announcement{announcement("10.1.0.0/16", nil, bgp.Export{Group: "tgw", MED: 10})})
	tgw.expect(t, map[string]string{"10.1.0.0/16": at(10)})
	if got := site.count(); got != before {
		t.Errorf("UPDATEs to the site about a prefix it never had: got %d, want 0", got-before)
	}
	// And comes back.
	apply(t, s, ns, []bgp.Announcement{announcement("10.1.0.0/16", nil, bgp.Export{Group: "tgw", MED: 10}), announcement("10.2.0.0/16", nil, both...)})
	tgw.expect(t, map[string]string{"10.1.0.0/16": at(10), "10.2.0.0/16": at(50)})
	site.expect(t, map[string]string{"10.2.0.0/16": at(1)})

	// An exclusion that appears later is a withdrawal for that neighbor only.
	x := announcement("10.2.0.0/16", nil, both...)
	x.Except = []string{"tgw"}
	apply(t, s, ns, []bgp.Announcement{announcement("10.1.0.0/16", nil, bgp.Export{Group: "tgw", MED: 10}), x})
	tgw.expect(t, map[string]string{"10.1.0.0/16": at(10)})
	site.expect(t, map[string]string{"10.2.0.0/16": at(1)})
}

func TestGroupMoveWithdrawsWithoutSessionReset(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, _ := start(t, Config{})
	n := neighbor("n", "127.0.0.2", 64512, "a")
	ann := []bgp.Announcement{
		announcement("10.1.0.0/16", nil, bgp.Export{Group: "a", MED: 1}), announcement("10.2.0.0/16", nil, bgp.Export{Group: "b", MED: 2}),
		announcement("10.3.0.0/16", nil, bgp.Export{Group: "a", MED: 3}, bgp.Export{Group: "b", MED: 4}), announcement("fd00:1::/48", nil, bgp.Export{Group: "b", MED: 5}),
	}
	apply(t, s, []bgp.Neighbor{n}, ann)
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 64512})
	at := func(nh string, med int64) string {
		return seen{nextHop: nh, as: []uint32{65000}, med: med, localPref: -1}.String()
	}
	p.expect(t, map[string]string{"10.1.0.0/16": at("127.0.0.1", 1), "10.3.0.0/16": at("127.0.0.1", 3)})
	n.Group = "b"
	n.NextHop4, n.NextHop6 = netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("fd00:9::2")
	apply(t, s, []bgp.Neighbor{n}, ann)
	p.expect(t, map[string]string{"10.2.0.0/16": at("127.0.0.9", 2), "10.3.0.0/16": at("127.0.0.9", 4), "fd00:1::/48": at("fd00:9::2", 5)})
	n.Export = false
	apply(t, s, []bgp.Neighbor{n}, ann)
	p.expect(t, map[string]string{})
	if err := p.closed(); err != nil {
		t.Errorf("session was reset: %v", err)
	}
}

func TestIPv6WithoutNextHopIsNotSentOverIPv4(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, _ := start(t, Config{})
	n := neighbor("n", "127.0.0.2", 64512, "g")
	n.NextHop6 = netip.Addr{}
	apply(t, s, []bgp.Neighbor{n}, []bgp.Announcement{
		announcement("10.1.0.0/16", nil, bgp.Export{Group: "g", MED: 1}), announcement("fd00:1::/48", nil, bgp.Export{Group: "g", MED: 1}),
	})
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 64512})
	p.expect(t, map[string]string{"10.1.0.0/16": seen{nextHop: "127.0.0.1", as: []uint32{65000}, med: 1, localPref: -1}.String()})
}

func TestNothingIsSaidInSteadyState(t *testing.T) {
	t.Parallel()
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{})
	mk := func() ([]bgp.Neighbor, []bgp.Announcement) {
		var ann []bgp.Announcement
		for i := range 500 {
			ann = append(ann, announcement(fmt.Sprintf("10.%d.%d.0/24", i/256, i%256), nil, bgp.Export{Group: "g", MED: 50}))
		}
		return []bgp.Neighbor{neighbor("n", "127.0.0.2", 64512, "g")}, ann
	}
	ns, ann := mk()
	apply(t, s, ns, ann)
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 64512, hold: 6})
	p.update(t, []uint32{64512}, "127.0.0.2", "192.168.1.0/24")
	rec.has(t, "n 192.168.1.0/24")
	nstest.Eventually(t, 5*time.Second, func() error {
		if n := len(p.table()); n != 500 {
			return fmt.Errorf("got %d prefixes, want 500", n)
		}
		return nil
	})
	before := p.count()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		ns, ann := mk() // equal, not the same memory
		apply(t, s, ns, ann)
		p.update(t, []uint32{64512}, "127.0.0.2", "192.168.1.0/24") // refreshed, unchanged
		time.Sleep(500 * time.Millisecond)                          // the pace of the loop
	}
	if got := p.count() - before; got != 0 {
		t.Errorf("UPDATEs in 30 s of steady state: got %d, want 0", got)
	}
	if rec.changes != 1 {
		t.Errorf("path changes told: got %d, want 1", rec.changes)
	}
	if err := p.closed(); err != nil {
		t.Errorf("session ended: %v", err)
	}
}

func TestNothingLeaksBeforeTheFirstApply(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, _ := start(t, Config{})
	if _, err := tryRaw(rawConf{local: "127.0.0.2", asn: 64512, port: testPort, remote: "127.0.0.1"}); err == nil {
		t.Error("a session came up before any neighbor was configured")
	}
	// The first table is complete and packed: one UPDATE for one set of attributes.
	var ann []bgp.Announcement
	for i := range 200 {
		ann = append(ann, announcement(fmt.Sprintf("10.0.%d.0/24", i), nil, bgp.Export{Group: "g", MED: 50}))
	}
	apply(t, s, []bgp.Neighbor{neighbor("n", "127.0.0.2", 64512, "g")}, ann)
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 64512})
	nstest.Eventually(t, 5*time.Second, func() error {
		if n := len(p.table()); n != 200 {
			return fmt.Errorf("got %d prefixes, want 200", n)
		}
		return nil
	})
	if got := p.count(); got != 1 {
		t.Errorf("UPDATEs of the first table: got %d, want 1", got)
	}
}

func TestFirstUpdateComesThoughAnotherNeighborNeverDoes(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, _ := start(t, Config{})
	n, dead := neighbor("n", "127.0.0.2", 64512, "g"), neighbor("dead", "127.0.0.77", 65100, "g")
	n.GracefulRestart, dead.GracefulRestart = true, true
	apply(t, s, []bgp.Neighbor{dead, n}, []bgp.Announcement{announcement("10.1.0.0/16", nil, bgp.Export{Group: "g"})})
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 64512})
	nstest.Eventually(t, 3*time.Second, func() error {
		if len(p.table()) != 1 {
			return fmt.Errorf("no UPDATE %s after Established", time.Since(p.up))
		}
		return nil
	})
}

func TestOneBadItemDoesNotStopTheRest(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, _ := start(t, Config{})
	twin := neighbor("z-twin", "127.0.0.2", 64513, "g")
	bad := neighbor("bad", "127.0.0.8", 0, "g")
	ann := []bgp.Announcement{
		announcement("10.1.0.0/16", nil, bgp.Export{Group: "g"}),
		{Prefix: pfx("10.2.0.0/16"), To: []bgp.Export{{Group: "g"}}},
		announcement("10.3.0.0/16", nil, bgp.Export{Group: "g"}),
	}
	r := s.Apply(context.Background(), 7, []bgp.Neighbor{bad, neighbor("n", "127.0.0.2", 64512, "g"), twin}, ann)
	if r.Gen != 7 || len(r.Failed) != 1 || r.Failed[pfx("10.2.0.0/16")] == "" {
		t.Errorf("got gen %d failed %v, want gen 7 and only 10.2.0.0/16 failed", r.Gen, r.Failed)
	}
	if len(r.NeighborErrors) != 2 || r.NeighborErrors["bad"] == "" || r.NeighborErrors["z-twin"] != "address 127.0.0.2 belongs to neighbor n already" {
		t.Errorf("got neighbor errors %v", r.NeighborErrors)
	}
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 64512})
	want := seen{nextHop: "127.0.0.1", as: []uint32{65000}, med: 0, localPref: -1}.String()
	p.expect(t, map[string]string{"10.1.0.0/16": want, "10.3.0.0/16": want})
}
