package speaker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

func TestAllowListRefusesAndSessionStaysUp(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{})
	n := neighbor("site", "127.0.0.2", 65101, "sites")
	n.LocalAddress = netip.MustParseAddr("127.0.0.1")
	n.Import = &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: pfx("10.1.0.0/16"), LE: 24}}, EnforceFirstAS: true, LocalPref: 200}
	other := neighbor("other", "127.0.0.3", 65102, "sites")
	apply(t, s, []bgp.Neighbor{n, other}, []bgp.Announcement{announcement("10.1.7.0/24", nil, bgp.Export{Group: "sites"})})
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
	o := dialRaw(t, rawConf{local: "127.0.0.3", asn: 65102})
	own := seen{nextHop: "127.0.0.1", as: []uint32{65000}, med: 0, localPref: -1}.String()
	o.expect(t, map[string]string{"10.1.7.0/24": own})

	p.update(t, []uint32{65101, 65200}, "127.0.0.2", "10.1.0.0/24", "10.1.7.0/24", "0.0.0.0/0", "10.99.0.0/16", "127.1.0.0/16")
	p.update(t, []uint32{65200}, "127.0.0.2", "10.1.1.0/24")
	p.update(t, []uint32{65101}, "127.0.0.1", "10.1.2.0/24")
	rec.has(t, "site 10.1.0.0/24", "site 10.1.7.0/24")
	for _, want := range []string{
		"site 0.0.0.0/0 not-allowed", "site 10.99.0.0/16 not-allowed", "site 127.1.0.0/16 martian",
		"site 10.1.1.0/24 first-as", "site 10.1.2.0/24 own-address",
	} {
		nstest.Eventually(t, 3*time.Second, func() error { return rec.refused(want) })
	}
	rec.mu.Lock()
	got := rec.paths["site 10.1.0.0/24"]
	rec.mu.Unlock()
	if a := got.Attrs; a.LocalPref != 200 || !a.HasMED || a.MED != 7 || !slices.Equal(a.ASPath, []bgp.ASN{65101, 65200}) || !slices.Equal(a.Communities, []bgp.Community{65001<<16 | 5}) || got.NextHop != netip.MustParseAddr("127.0.0.2") {
		t.Errorf("attributes of the learned path: got next hop %s %+v", got.NextHop, *a)
	}

	// A path that loops replaces the good one, which must go.
	p.update(t, []uint32{65101, 65000, 65300}, "127.0.0.2", "10.1.0.0/24")
	rec.has(t, "site 10.1.7.0/24")
	nstest.Eventually(t, 3*time.Second, func() error { return rec.refused("site 10.1.0.0/24 own-asn") })
	p.update(t, []uint32{65101}, "127.0.0.2", "10.1.0.0/24")
	rec.has(t, "site 10.1.0.0/24", "site 10.1.7.0/24")

	// A new policy counts at once, without asking the neighbor.
	n.Import = &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: pfx("10.99.0.0/16")}}, LocalPref: 50}
	apply(t, s, []bgp.Neighbor{n, other}, []bgp.Announcement{announcement("10.1.7.0/24", nil, bgp.Export{Group: "sites"})})
	rec.has(t, "site 10.99.0.0/16")
	paths, refused := s.AdjIn("site")
	if len(paths) != 1 || len(refused) != 6 {
		t.Errorf("AdjIn: got %d accepted and %d refused, want 1 and 6: %v", len(paths), len(refused), refused)
	}
	p.withdraw(t, "10.99.0.0/16", "10.1.7.0/24")
	rec.has(t)

	// Whatever the site did, nothing of it went anywhere else, and both stand.
	if got := o.count(); got != 1 {
		t.Errorf("UPDATEs to the other neighbor: got %d, want 1", got)
	}
	o.expect(t, map[string]string{"10.1.7.0/24": own})
	for name, c := range map[string]*rawPeer{"site": p, "other": o} {
		if err := c.closed(); err != nil {
			t.Errorf("session of %s ended: %v", name, err)
		}
	}
}

func TestNoPolicyMeansNoRoutesBothWays(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{})
	n := neighbor("n", "127.0.0.2", 65101, "g")
	n.Import, n.Export = nil, false
	apply(t, s, []bgp.Neighbor{n}, []bgp.Announcement{announcement("10.1.0.0/16", nil, bgp.Export{Group: "g"})})
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.0.0/24")
	nstest.Eventually(t, 3*time.Second, func() error { return rec.refused("n 192.168.0.0/24 not-allowed") })
	rec.has(t)
	if got := p.count(); got != 0 {
		t.Errorf("UPDATEs to a neighbor without export: got %d, want 0", got)
	}
	st := s.States()[0]
	if st.Received != 1 || st.Accepted != 0 || st.Rejected != 1 || st.Announced != 0 || st.State != bgp.StateEstablished {
		t.Errorf("got %+v, want received 1, accepted 0, rejected 1, announced 0", st)
	}
}

func TestMaxPrefixEndsOnlyThatSessionAndComesBack(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{MaxPrefixRetry: 4 * time.Second})
	n, other := neighbor("n", "127.0.0.2", 65101, "g"), neighbor("other", "127.0.0.3", 65102, "g")
	n.MaxPrefixes = 2
	apply(t, s, []bgp.Neighbor{n, other}, nil)
	o := dialRaw(t, rawConf{local: "127.0.0.3", asn: 65102})
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.0.0/24", "192.168.1.0/24")
	rec.has(t, "n 192.168.0.0/24", "n 192.168.1.0/24")
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.2.0/24")
	rec.has(t)
	nstest.Eventually(t, 3*time.Second, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.notif == nil || p.notif.ErrorCode != 6 || p.notif.ErrorSubcode != 1 {
			return fmt.Errorf("notification: got %+v, want 6/1", p.notif)
		}
		return nil
	})
	st := rec.state("n")
	if st.Reason != "max-prefix" || st.IdleUntil.IsZero() {
		t.Errorf("got reason %q idle until %v, want max-prefix with a time", st.Reason, st.IdleUntil)
	}
	if _, err := tryRaw(rawConf{local: "127.0.0.2", asn: 65101}); err == nil {
		t.Error("session came back before the pause was over")
	}
	// With a higher limit and after the pause it works again.
	n.MaxPrefixes = 10
	apply(t, s, []bgp.Neighbor{n, other}, nil)
	p = dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.0.0/24", "192.168.1.0/24", "192.168.2.0/24")
	rec.has(t, "n 192.168.0.0/24", "n 192.168.1.0/24", "n 192.168.2.0/24")
	// Lowering the limit below what is there ends the session too.
	n.MaxPrefixes = 1
	apply(t, s, []bgp.Neighbor{n, other}, nil)
	rec.has(t)
	if err := o.closed(); err != nil {
		t.Errorf("other session ended: %v", err)
	}
}

func TestLossWithdrawsAndSaysWhy(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{})
	apply(t, s, []bgp.Neighbor{neighbor("n", "127.0.0.2", 65101, "g")}, nil)
	for _, c := range []struct {
		end    func(p *rawPeer)
		reason string
	}{
		{func(p *rawPeer) { _ = p.conn.Close() }, "connection-lost"},
		{func(p *rawPeer) { _ = p.send(packet.NewBGPNotificationMessage(6, 2, nil)) }, "notification-received cease/6/2"},
		{func(p *rawPeer) { _, _ = p.conn.Write(make([]byte, 19)) }, "notification-sent header/1/1"},
	} {
		p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
		p.update(t, []uint32{65101}, "127.0.0.2", "192.168.0.0/24")
		_ = p.send(packet.NewEndOfRib(packet.RF_IPv4_UC))
		rec.has(t, "n 192.168.0.0/24")
		nstest.Eventually(t, 3*time.Second, func() error {
			if st := rec.state("n"); !st.EndOfRIB4 || st.EndOfRIB6 || st.State != bgp.StateEstablished {
				return fmt.Errorf("got %+v, want Established with End-of-RIB for IPv4 only", st)
			}
			return nil
		})
		c.end(p)
		rec.has(t)
		nstest.Eventually(t, 3*time.Second, func() error {
			if st := rec.state("n"); st.Reason != c.reason || st.State == bgp.StateEstablished || st.EndOfRIB4 {
				return fmt.Errorf("got %s, reason %q, want down for %q", st.State, st.Reason, c.reason)
			}
			return nil
		})
		_ = p.conn.Close()
	}
}

func TestGracefulRestartKeepsPathsStaleUntilEndOfRIB(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{})
	n := neighbor("n", "127.0.0.2", 65101, "g")
	n.GracefulRestart, n.IPv6 = true, false
	apply(t, s, []bgp.Neighbor{n}, nil)
	caps := []packet.ParameterCapabilityInterface{
		packet.NewCapMultiProtocol(packet.RF_IPv4_UC), packet.NewCapFourOctetASNumber(65101),
		packet.NewCapGracefulRestart(false, false, 60, []*packet.CapGracefulRestartTuple{packet.NewCapGracefulRestartTuple(packet.RF_IPv4_UC, true)}),
	}
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101, caps: caps})
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.0.0/24", "192.168.1.0/24")
	rec.has(t, "n 192.168.0.0/24", "n 192.168.1.0/24")
	// A change that GoBGP takes live must not cost the negotiated restart.
	n.MaxPrefixes = 100
	apply(t, s, []bgp.Neighbor{n}, nil)
	_ = p.conn.Close()
	stale := func(want ...string) func() error {
		return func() error {
			paths, _ := s.AdjIn("n")
			var got []string
			for _, p := range paths {
				if p.Stale {
					got = append(got, p.Prefix.String())
				}
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("stale: got %v, want %v", got, want)
			}
			return nil
		}
	}
	nstest.Eventually(t, 5*time.Second, stale("192.168.0.0/24", "192.168.1.0/24"))
	p = dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101, caps: caps})
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.1.0/24")
	nstest.Eventually(t, 5*time.Second, stale("192.168.0.0/24"))
	_ = p.send(packet.NewEndOfRib(packet.RF_IPv4_UC))
	rec.has(t, "n 192.168.1.0/24")
}

func TestChangingOneNeighborLeavesOthersAlone(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{})
	a, b := neighbor("a", "127.0.0.2", 65101, "g"), neighbor("b", "127.0.0.3", 65102, "g")
	ann := []bgp.Announcement{announcement("10.1.0.0/16", nil, bgp.Export{Group: "g"})}
	apply(t, s, []bgp.Neighbor{a, b}, ann)
	pa := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
	pb := dialRaw(t, rawConf{local: "127.0.0.3", asn: 65102})
	pa.update(t, []uint32{65101}, "127.0.0.2", "192.168.0.0/24")
	pb.update(t, []uint32{65102}, "127.0.0.3", "192.168.1.0/24")
	rec.has(t, "a 192.168.0.0/24", "b 192.168.1.0/24")
	since := rec.state("a").Since

	// Cosmetic and next-session changes touch not even b itself.
	b.Description, b.HoldTime = "text", 60*time.Second
	apply(t, s, []bgp.Neighbor{a, b}, ann)
	if err := pb.closed(); err != nil {
		t.Errorf("b was reset by a change of description and timers: %v", err)
	}
	// A new neighbor, then another ASN for b, then b gone and its address taken by c.
	apply(t, s, []bgp.Neighbor{a, b, neighbor("c", "127.0.0.4", 65103, "g")}, ann)
	b.RemoteASN = 65112
	apply(t, s, []bgp.Neighbor{a, b, neighbor("c", "127.0.0.4", 65103, "g")}, ann)
	rec.has(t, "a 192.168.0.0/24")
	pb = dialRaw(t, rawConf{local: "127.0.0.3", asn: 65112})
	if pb.update(t, []uint32{65112}, "127.0.0.3", "192.168.1.0/24"); true {
		rec.has(t, "a 192.168.0.0/24", "b 192.168.1.0/24")
	}
	apply(t, s, []bgp.Neighbor{a, neighbor("c", "127.0.0.3", 65113, "g")}, ann)
	rec.has(t, "a 192.168.0.0/24")
	nstest.Eventually(t, 3*time.Second, func() error {
		if st := rec.state("b"); st.Reason != "removed" {
			return fmt.Errorf("state of b: got %+v, want removed", st)
		}
		return nil
	})
	pc := dialRaw(t, rawConf{local: "127.0.0.3", asn: 65113})
	pc.update(t, []uint32{65113}, "127.0.0.3", "192.168.9.0/24")
	rec.has(t, "a 192.168.0.0/24", "c 192.168.9.0/24")

	if err := pa.closed(); err != nil || !rec.state("a").Since.Equal(since) || pa.count() != 1 {
		t.Errorf("a: closed %v, since %v (was %v), %d UPDATEs, want it untouched with 1", err, rec.state("a").Since, since, pa.count())
	}
	if st := s.States()[0]; st.HoldTime != 90*time.Second || st.MessagesIn == 0 || st.UpdatesOut != 1 || st.RouterID != netip.MustParseAddr("127.0.0.2") {
		t.Errorf("state of a: got %+v", st)
	}
}

func TestResetSoftKeepsAndHardEndsTheSession(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{})
	apply(t, s, []bgp.Neighbor{neighbor("n", "127.0.0.2", 65101, "g")}, []bgp.Announcement{announcement("10.1.0.0/16", nil, bgp.Export{Group: "g"})})
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.0.0/24")
	rec.has(t, "n 192.168.0.0/24")
	if err := s.Reset("n", ResetSoft); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 3*time.Second, func() error {
		if p.count() != 2 {
			return fmt.Errorf("UPDATEs after soft reset: got %d, want 2", p.count())
		}
		return p.closed()
	})
	rec.has(t, "n 192.168.0.0/24")
	if err := s.Reset("n", ResetHard); err != nil {
		t.Fatal(err)
	}
	rec.has(t)
	nstest.Eventually(t, 3*time.Second, func() error {
		if st := rec.state("n"); st.Reason != "notification-sent cease/6/4" {
			return fmt.Errorf("reason: got %q, want notification-sent cease/6/4", st.Reason)
		}
		return nil
	})
	if err := s.Reset("nobody", ResetHard); err == nil {
		t.Error("reset of an unknown neighbor: got no error")
	}
}

func TestStuckEngineIsReportedAndNotWaitedFor(t *testing.T) {
	wedged := make(chan string, 1)
	s, err := New(Config{
		ASN: 65000, RouterID: netip.MustParseAddr("10.0.0.1"), ListenPort: -1, CallTimeout: 20 * time.Millisecond,
		OnWedged: func(c string) { wedged <- c },
	})
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	if err := s.call("slow", func() error { <-release; return nil }); !errors.Is(err, errWedged) {
		t.Fatalf("got %v, want %v", err, errWedged)
	}
	if c := <-wedged; c != "slow" || !s.Wedged() {
		t.Errorf("got call %q wedged %v, want slow, true", c, s.Wedged())
	}
	if err := s.call("next", func() error { return nil }); !errors.Is(err, errWedged) {
		t.Errorf("call while stuck: got %v, want %v", err, errWedged)
	}
	close(release)
	nstest.Eventually(t, time.Second, func() error { return s.call("after", func() error { return nil }) })
	if err := s.call("panic", func() error { panic("x") }); err == nil || !strings.Contains(err.Error(), "panic") {
		t.Errorf("panic in a call: got %v", err)
	}
	if r := s.Apply(context.Background(), 1, []bgp.Neighbor{{Name: "n"}}, nil); r.NeighborErrors["n"] == "" {
		t.Error("apply before start: got no error")
	}
}
