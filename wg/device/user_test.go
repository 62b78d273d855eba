package device

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

func userspaceOnly(t *testing.T) bool {
	if forced() != wg.BackendUserspace {
		t.Log("a property of the userspace backend, nothing to test on the kernel's")
		return false
	}
	return nstest.Isolate(t)
}

// The site neither knows our endpoint again nor sends: only what we kept helps.
func TestUserspaceRestartHandshakesAtOnce(t *testing.T) {
	if !userspaceOnly(t) {
		return
	}
	l := newLab(t)
	l.gw.ListenPort = 0
	s := l.newSite(1)
	l.must(true, s.peer)
	port := l.observe().ListenPort
	s.set(t, "peer", private(1).Public().String(), "endpoint", fmt.Sprintf("10.99.1.1:%d", port))
	peer := s.peer
	peer.Endpoint = wg.Endpoint{} // from now on the site has to find us
	l.must(true, peer)
	nstest.Eventually(t, 10*time.Second, func() error {
		out, err := s.ns.Cmd("ping", "-c1", "-W1", "10.200.0.1").CombinedOutput()
		if err != nil {
			return fmt.Errorf("site can not reach us: %s", out)
		}
		return nil
	})
	l.restart()
	start := time.Now()
	l.must(true, peer)
	nstest.Eventually(t, 5*time.Second, func() error {
		if l.peer(peer.Key).Handshake == 0 {
			return fmt.Errorf("no handshake after the restart")
		}
		return nil
	})
	t.Logf("handshake %s after the restart's first Apply", time.Since(start))
	if got := l.observe().ListenPort; got != port {
		t.Errorf("want the listen port %d again, got %d", port, got)
	}
	l.up(s)
}

func TestUserspaceForeignSocketLeftByAKilledProcess(t *testing.T) {
	if !userspaceOnly(t) {
		return
	}
	if err := os.WriteFile(filepath.Join(uapiDir, "gw0.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLab(t)
	l.must(true)
	nstest.Run(t, "wg", "show", "gw0")
}

// fakeDNS is a resolver whose answers the test changes.
type fakeDNS struct {
	mu    sync.Mutex
	addr  netip.Addr
	asked int
}

func (f *fakeDNS) LookupTTL(_ context.Context, host string) ([]netip.Addr, time.Duration, error) {
	a, err := f.LookupNetIP(context.Background(), "ip", host)
	return a, time.Second, err
}

func (f *fakeDNS) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if host != "site.example" || !f.addr.IsValid() {
		return nil, fmt.Errorf("no such name")
	}
	return []netip.Addr{f.addr}, nil
}

func (f *fakeDNS) set(a string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addr, f.asked = netip.MustParseAddr(a), 0
}

func (f *fakeDNS) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// AC-33: the name's address changes; only a dead peer follows it.
func TestEndpointNameIsFollowedByDeadPeersOnly(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	dns := &fakeDNS{}
	l := newLab(t)
	_ = l.m.Close()
	l.res = dns
	l.start()
	s := l.newSite(1)
	s.ns.Run(t, "ip", "addr", "add", "10.99.1.3/24", "dev", "eth0")
	s.set(t, "peer", private(1).Public().String(), "remove")
	s.set(t, "peer", private(1).Public().String(), "allowed-ips", "0.0.0.0/0") // the gateway must start
	s.peer.Endpoint.Host = "site.example"
	followed := func(want string, within time.Duration) {
		t.Helper()
		nstest.Eventually(t, within, func() error {
			select {
			case <-l.m.Events():
				l.must(true, s.peer)
			default:
			}
			if got := l.peer(s.peer.Key).Endpoint.Addr(); got != netip.MustParseAddr(want) {
				return fmt.Errorf("want endpoint %s, got %s", want, got)
			}
			return nil
		})
	}
	l.must(true, s.peer) // the name is not known yet: no endpoint, no waiting
	if got := l.peer(s.peer.Key).Endpoint; got.IsValid() {
		t.Fatalf("want no endpoint yet, got %s", got)
	}
	dns.set("10.99.1.2")
	followed("10.99.1.2", 15*time.Second)
	l.up(s)

	dns.set("10.99.1.3")
	l.must(true, s.peer)
	time.Sleep(1500 * time.Millisecond) // longer than the TTL: time in which nothing must happen
	if n := dns.count(); n != 0 {
		t.Errorf("want no lookup for a live peer, got %d", n)
	}
	if got := l.peer(s.peer.Key).Endpoint.Addr(); got != netip.MustParseAddr("10.99.1.2") {
		t.Errorf("want a live peer's endpoint kept, got %s", got)
	}
	s.peer.Dead = true
	l.must(true, s.peer)
	followed("10.99.1.3", 5*time.Second)
	l.up(s)
}

func TestMTUFollowsThePathToTheEndpoints(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	l.gw.MTU = 0
	s1, s2 := l.newSite(1), l.newSite(2)
	if a := l.must(true); a.MTU != 1420 {
		t.Errorf("without endpoints: want 1420, got %d", a.MTU)
	}
	for _, tc := range []struct {
		up1, up2 string
		host2    string
		want     int
	}{
		{"1500", "1500", "10.99.2.2", 1440},
		{"1500", "1500", "fd00:99:2::2", 1420},
		{"9001", "9001", "10.99.2.2", 8920},
		{"9001", "1400", "10.99.2.2", 1340},
		{"9001", "1300", "10.99.2.2", 1280},
	} {
		nstest.Run(t, "ip", "link", "set", "up1", "mtu", tc.up1)
		nstest.Run(t, "ip", "link", "set", "up2", "mtu", tc.up2)
		s2.peer.Endpoint.Host = tc.host2
		s2.peer.Dead = true // so that the endpoint is written
		l.m.existing("gw0").dirty.Store(true)
		l.must(true, s1.peer, s2.peer)
		l.m.existing("gw0").dirty.Store(true)
		if a := l.must(true, s1.peer, s2.peer); a.MTU != tc.want {
			t.Errorf("paths %s and %s to %s: want %d, got %d", tc.up1, tc.up2, tc.host2, tc.want, a.MTU)
		}
		if got := nstest.Run(t, "ip", "link", "show", "gw0"); !strings.Contains(got, fmt.Sprintf("mtu %d ", tc.want)) {
			t.Errorf("want mtu %d on the link, got %s", tc.want, got)
		}
	}
}

func TestSecretsAppearNowhere(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	psk := wg.NewPresharedKey([wg.KeyLen]byte{42, 43, 44})
	p := wg.Peer{Key: private(50).Public(), PresharedKey: psk, AllowedIPs: prefixes("10.1.0.0/16"), Endpoint: wg.Endpoint{Host: "10.99.9.9", Port: 9}}
	a := l.must(true, p)
	l.gw.ListenPort = 1
	l.gw.PrivateKey = private(2)
	a2 := l.must(true, p)
	_, _ = runQuiet("wg", "set", "gw0", "peer", "nonsense")
	_ = l.m.Close()
	text := fmt.Sprintf("%+v %+v %#v", a, a2, a)
	l.logMu.Lock()
	text += l.log.String()
	l.logMu.Unlock()
	files, _ := filepath.Glob(filepath.Join(l.dir, "*"))
	if len(files) == 0 {
		t.Error("want state files to look at")
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
	}
	for _, k := range [][wg.KeyLen]byte{private(1).Reveal(), private(2).Reveal(), psk.Reveal()} {
		for _, form := range []string{base64Key(k), fmt.Sprintf("%x", k)} {
			if strings.Contains(text, form) {
				t.Errorf("a secret appears in reports, logs or state:\n%s", text)
			}
		}
	}
}

func BenchmarkUserspace(b *testing.B) {
	if !nstest.Isolate(b) {
		return
	}
	for _, n := range []int{1000, 10000} {
		l := newLab(b)
		l.gw.Name = fmt.Sprintf("gw%d", n)
		l.gw.ListenPort = 0
		var peers []wg.Peer
		for i := range n {
			p := wg.Peer{Key: wg.Key{byte(i >> 8), byte(i), 31: 1}}
			for j := range 4 {
				p.AllowedIPs = append(p.AllowedIPs, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(j)}), 32))
			}
			peers = append(peers, p)
		}
		start := time.Now()
		l.must(true, peers...)
		b.Logf("add %d peers x 4: %s", n, time.Since(start))
		l.gw.Peers = peers
		apply := func(b *testing.B) {
			l.gen++
			if a := l.m.Apply(context.Background(), l.gen, []wg.Device{l.gw}, true); a[0].Err != "" || len(a[0].Failed) > 0 {
				b.Fatalf("%+v", a[0])
			}
		}
		b.Run(fmt.Sprintf("Observe/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.m.Observe(context.Background(), l.gw.Name); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("ApplyUnchanged/%d", n), func(b *testing.B) {
			for b.Loop() {
				apply(b)
			}
		})
		b.Run(fmt.Sprintf("ApplyOneMove/%d", n), func(b *testing.B) {
			all := peers[n/2].AllowedIPs
			i := 0
			for b.Loop() {
				peers[n/2].AllowedIPs = all[:4-i%2]
				i++
				apply(b)
			}
		})
		_ = l.m.Close()
	}
}
