package device

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

// The tests of this file hold for both backends.

func TestTunnelCarriesBothFamiliesOverBothFamilies(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	s1, s2 := l.newSite(1), l.newSite(2)
	s2.peer.Endpoint.Host = "fd00:99:2::2"
	s2.set(t, "peer", private(1).Public().String(), "endpoint", "[fd00:99:2::1]:51820")
	a := l.must(true, s1.peer, s2.peer)
	if a.Backend != forced() || a.Index == 0 || a.MTU != 1420 {
		t.Errorf("want backend %s, an index and MTU 1420, got %+v", forced(), a)
	}
	for _, dst := range []string{"10.200.0.11", "fd00:200::11", "10.200.0.12", "fd00:200::12"} {
		nstest.Eventually(t, 10*time.Second, func() error { return ping(dst) })
	}
	if ep := l.peer(s2.peer.Key).Endpoint; ep != netip.MustParseAddrPort("[fd00:99:2::2]:51821") {
		t.Errorf("want the IPv6 endpoint of site 2, got %s", ep)
	}
	st := l.observe()
	if !st.Up || st.ListenPort != gwPort || st.PublicKey != private(1).Public() || st.Backend != forced() {
		t.Errorf("want the device up with its port and key, got %+v", st)
	}
	for _, p := range st.Peers {
		if p.Handshake == 0 || p.Rx == 0 || p.Tx == 0 || p.AllowedIPs != nil {
			t.Errorf("want counters and no allowed IPs, got %+v", p)
		}
	}
}

func TestWgShowSeesTheDevice(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	p := wg.Peer{
		Key: private(50).Public(), Endpoint: wg.Endpoint{Host: "192.0.2.1", Port: 4500}, Keepalive: 25 * time.Second,
		PresharedKey: wg.NewPresharedKey([wg.KeyLen]byte{7, 7}), AllowedIPs: prefixes("10.1.0.0/16", "fd01::/32"),
	}
	l.gw.FirewallMark = 0x51
	l.must(true, p)
	lines := strings.Split(strings.TrimSpace(nstest.Run(t, "wg", "show", "gw0", "dump")), "\n")
	dev := strings.Fields(lines[0])
	if dev[1] != private(1).Public().String() || dev[2] != "51820" || dev[3] != "0x51" {
		t.Errorf("device line: want key, port 51820 and mark 0x51, got %v", dev[1:])
	}
	got := strings.Fields(lines[1])
	ips := strings.Split(got[3], ",")
	slices.Sort(ips)
	want := []string{p.Key.String(), base64Key(p.PresharedKey.Reveal()), "192.0.2.1:4500"}
	if !slices.Equal(got[:3], want) || !slices.Equal(ips, []string{"10.1.0.0/16", "fd01::/32"}) || got[7] != "25" {
		t.Errorf("peer line: want %v, two allowed IPs, keepalive 25; got %v", want, got)
	}
}

// AC-34, AC-35: the others do not notice, and the same set again is no write.
func TestAddChangeRemoveOnePeerUnderLoad(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	s1, s2 := l.newSite(1), l.newSite(2)
	l.must(true, s1.peer, s2.peer)
	l.up(s1, s2)
	before := l.observe()
	c := l.count()
	f1, f2 := newFlow(t, s1.inner, 1000, s1), newFlow(t, s2.inner, 1000, s2)
	for i := range 100 {
		p := wg.Peer{Key: private(byte(150 + i)).Public(), AllowedIPs: prefixes("10.77.0.0/16", "10.78.0.0/16")}
		l.must(true, s1.peer, s2.peer, p)
		p.PresharedKey = wg.NewPresharedKey([wg.KeyLen]byte{byte(i), 1})
		p.Keepalive = 25 * time.Second
		p.Endpoint = wg.Endpoint{Host: "10.99.1.77", Port: 1}
		p.AllowedIPs = p.AllowedIPs[:1]
		l.must(true, s1.peer, s2.peer, p)
		n := c.writes.Load()
		l.must(true, s1.peer, s2.peer, p)
		if c.writes.Load() != n {
			t.Fatalf("want no write for the same set, got %d", c.writes.Load()-n)
		}
		f1.next()
		l.must(true, s1.peer, s2.peer)
		f1.next()
	}
	f1.mustLoseNothing()
	f2.mustLoseNothing()
	after := l.observe()
	if len(after.Peers) != 2 {
		t.Fatalf("want two peers left, got %d", len(after.Peers))
	}
	for i, p := range after.Peers {
		b := before.Peers[i]
		if p.Key != b.Key || p.Endpoint != b.Endpoint || p.Handshake != b.Handshake || p.Tx < b.Tx {
			t.Errorf("want the peer untouched: before %+v, after %+v", b, p)
		}
	}
}

// AC-3: a covered prefix goes over to the holder of the covering one and back.
func TestPrefixMovesUnderLoad(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	s1, s2 := l.newSite(1), l.newSite(2)
	for _, s := range []*site{s1, s2} {
		s.ns.Run(t, "ip", "addr", "add", "10.50.1.2/32", "dev", "lo")
	}
	p1, p2 := s1.peer, s2.peer
	p1.AllowedIPs = append(slices.Clone(p1.AllowedIPs), prefixes("10.50.0.0/16")...)
	l.must(true, p1, p2)
	l.up(s1, s2)
	empty := l.allowedIPs()
	nstest.Run(t, "ip", "route", "add", "10.50.0.0/16", "dev", "gw0")
	f := newFlow(t, netip.MustParseAddr("10.50.1.2"), 1000, s1, s2)
	q1, q2 := p1, p2
	q1.AllowedIPs = append(slices.Clone(p1.AllowedIPs), prefixes("10.50.1.0/24")...)
	q2.AllowedIPs = append(slices.Clone(p2.AllowedIPs), prefixes("10.50.1.0/24")...)
	for range 500 {
		l.must(true, p1, q2)
		f.next()
		l.must(true, q1, p2)
		f.next()
	}
	tx := l.peer(s2.peer.Key).Tx
	l.must(true, p1, q2)
	nstest.Eventually(t, time.Second, func() error {
		if got := l.peer(s2.peer.Key).Tx; got < tx+5000 {
			return fmt.Errorf("want the flow at site 2, tx went from %d to %d only", tx, got)
		}
		return nil
	})
	l.must(true, p1, p2)
	f.mustLoseNothing()
	if got := l.allowedIPs(); got != empty { // AC-4
		t.Errorf("want the allowed IPs of before:\n%s\ngot\n%s", empty, got)
	}
}

// AC-5: single additions and removals on the peer that carries the load.
func TestSingleAllowedIPChangesUnderLoad(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	s := l.newSite(1)
	l.must(true, s.peer)
	l.up(s)
	f := newFlow(t, s.inner, 5000, s)
	more := s.peer
	more.AllowedIPs = append(slices.Clone(s.peer.AllowedIPs), prefixes("10.60.0.0/24", "10.200.0.0/16", "fd60::/64")...)
	for range 500 {
		l.must(true, more)
		f.next()
		l.must(true, s.peer)
		f.next()
	}
	f.mustLoseNothing()
}

// AC-7: what others put there is reported and survives everything.
func TestForeignEntriesSurvive(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	ours := wg.Peer{Key: private(50).Public(), Name: "ours", AllowedIPs: prefixes("10.1.0.0/16", "10.2.0.0/16")}
	other := wg.Peer{Key: private(51).Public(), Name: "other", AllowedIPs: prefixes("10.3.0.0/16")}
	stranger := private(52).Public()
	l.must(true, ours, other)
	nstest.Run(t, "wg", "set", "gw0", "peer", ours.Key.String(), "allowed-ips", "10.1.0.0/16,10.2.0.0/16,10.9.0.0/16")
	nstest.Run(t, "wg", "set", "gw0", "peer", stranger.String(), "allowed-ips", "10.8.0.0/16", "endpoint", "192.0.2.7:7")
	want := []wg.Foreign{
		{Key: ours.Key, AllowedIP: netip.MustParsePrefix("10.9.0.0/16")},
		{Key: stranger},
		{Key: stranger, AllowedIP: netip.MustParsePrefix("10.8.0.0/16")},
	}
	slices.SortFunc(want, func(a, b wg.Foreign) int {
		if c := a.Key.Compare(b.Key); c != 0 {
			return c
		}
		return a.AllowedIP.Addr().Compare(b.AllowedIP.Addr())
	})
	check := func(when string, a wg.Applied) {
		t.Helper()
		if !slices.Equal(a.Foreign, want) {
			t.Errorf("%s: want foreign %v, got %v", when, want, a.Foreign)
		}
		for _, line := range []string{"10.9.0.0/16", stranger.String() + " 10.8.0.0/16"} {
			if got := l.allowedIPs(); !strings.Contains(got, line) {
				t.Errorf("%s: want %q on the device, got\n%s", when, line, got)
			}
		}
	}
	if _, err := l.m.Snapshot(context.Background(), "gw0"); err != nil { // the caller's audit
		t.Fatal(err)
	}
	check("reload", l.must(true, ours, other))
	less := ours
	less.AllowedIPs = ours.AllowedIPs[:1]
	check("withdraw", l.must(true, less, other))
	if got := l.allowedIPs(); strings.Contains(got, "10.2.0.0/16") {
		t.Errorf("want our own prefix withdrawn, got\n%s", got)
	}
	l.restart()
	check("restart", l.must(true, less, other))

	// The plan may not take what is foreign, but has it where it is in place.
	other.AllowedIPs = prefixes("10.3.0.0/16", "10.9.0.0/16")
	a := l.apply(true, less, other)
	if got := a.Failed[netip.MustParsePrefix("10.9.0.0/16")]; got != "foreign: held by peer "+ours.Key.String() || len(a.Failed) != 1 {
		t.Errorf("want 10.9.0.0/16 held by a foreign entry, got %+v", a.Failed)
	}
	less.AllowedIPs = prefixes("10.1.0.0/16", "10.9.0.0/16")
	other.AllowedIPs = prefixes("10.3.0.0/16")
	l.must(true, less, other)

	if err := l.m.Adopt(context.Background(), "gw0"); err != nil {
		t.Fatal(err)
	}
	if a := l.must(true, ours, other); len(a.Foreign) != 0 {
		t.Errorf("want nothing foreign after adoption, got %v", a.Foreign)
	}
	if got := l.allowedIPs(); strings.Contains(got, "10.9.0.0") || strings.Contains(got, stranger.String()) {
		t.Errorf("want adopted entries removed, got\n%s", got)
	}
}

func TestSweepOnlyWhenTold(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	a := wg.Peer{Key: private(50).Public(), AllowedIPs: prefixes("10.1.0.0/16")}
	b := wg.Peer{Key: private(51).Public(), AllowedIPs: prefixes("10.2.0.0/16", "10.3.0.0/16")}
	l.must(false, a, b)
	less := b
	less.AllowedIPs = b.AllowedIPs[:1]
	l.must(false, a, less) // set in this process: a withdrawal needs no sweep
	if got := l.allowedIPs(); strings.Contains(got, "10.3.0.0") {
		t.Errorf("want 10.3.0.0/16 withdrawn, got\n%s", got)
	}
	if forced() == wg.BackendUserspace {
		return // nothing of an earlier process is left to sweep
	}
	l.restart()
	l.must(false, a)
	if got := l.allowedIPs(); !strings.Contains(got, b.Key.String()) {
		t.Errorf("want the earlier process's peer kept before the sweep, got\n%s", got)
	}
	l.must(true, a)
	if got := l.allowedIPs(); strings.Contains(got, b.Key.String()) {
		t.Errorf("want the earlier process's peer swept, got\n%s", got)
	}
}

func TestRoamedEndpointIsKeptUntilThePeerIsDead(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	s := l.newSite(1)
	l.must(true, s.peer)
	l.up(s)
	s.set(t, "listen-port", "40404")
	s.ns.Run(t, "ping", "-c1", "-W2", "10.200.0.1")
	away := netip.MustParseAddrPort("10.99.1.2:40404")
	if got := l.peer(s.peer.Key).Endpoint; got != away {
		t.Fatalf("want the roamed endpoint %s, got %s", away, got)
	}
	c := l.count()
	l.m.existing("gw0").dirty.Store(true)
	l.must(true, s.peer)
	if got := l.peer(s.peer.Key).Endpoint; got != away || c.writes.Load() != 0 {
		t.Errorf("want the roamed endpoint kept without a write, got %s, %d writes", got, c.writes.Load())
	}
	s.peer.Dead = true
	l.must(true, s.peer)
	if got, want := l.peer(s.peer.Key).Endpoint, netip.MustParseAddrPort("10.99.1.2:51821"); got != want {
		t.Errorf("want a dead peer's endpoint set to %s, got %s", want, got)
	}
}

func TestWrongPresharedKeyAndItsCure(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	s := l.newSite(1)
	good, bad := [wg.KeyLen]byte{1, 2, 3}, [wg.KeyLen]byte{9}
	s.set(t, "peer", private(1).Public().String(), "preshared-key", secretFile(t, good))
	s.peer.PresharedKey = wg.NewPresharedKey(bad)
	l.must(true, s.peer)
	if err := ping(s.inner.String()); err == nil {
		t.Error("want no answer with the wrong preshared key")
	}
	if got := l.peer(s.peer.Key).Handshake; got != 0 {
		t.Errorf("want no handshake, got %d", got)
	}
	s.peer.PresharedKey = wg.NewPresharedKey(good)
	l.must(true, s.peer)
	nstest.Eventually(t, 20*time.Second, func() error { return ping(s.inner.String()) })
}

func TestDamageFromOutsideIsRepaired(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	s := l.newSite(1)
	l.must(true, s.peer)
	l.up(s)
	for _, damage := range [][]string{
		{"ip", "link", "set", "gw0", "down"},
		{"ip", "link", "del", "gw0"},
		{"ip", "addr", "del", "10.200.0.1/24", "dev", "gw0"},
	} {
		drainEvents(l.m)
		nstest.Run(t, damage...)
		select {
		case <-l.m.Events():
		case <-time.After(5 * time.Second):
			t.Fatalf("%v: want a signal to look again", damage)
		}
		nstest.Eventually(t, 5*time.Second, func() error {
			if a := l.apply(true, s.peer); a.Err != "" || len(a.Problems) > 0 {
				return fmt.Errorf("%v: %+v", damage, a)
			}
			return nil
		})
		nstest.Eventually(t, 20*time.Second, func() error { return ping(s.inner.String()) })
	}
	nstest.Run(t, "wg", "set", "gw0", "peer", s.peer.Key.String(), "remove")
	if _, err := l.m.Snapshot(context.Background(), "gw0"); err != nil {
		t.Fatal(err)
	}
	l.must(true, s.peer)
	nstest.Eventually(t, 20*time.Second, func() error { return ping(s.inner.String()) })
}

func drainEvents(m *Manager) {
	for {
		select {
		case <-m.Events():
		case <-time.After(200 * time.Millisecond):
			return
		}
	}
}
