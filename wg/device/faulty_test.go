package device

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

func TestOneBadPeerDoesNotStopTheRest(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	good := wg.Peer{Key: private(50).Public(), Name: "good", AllowedIPs: prefixes("10.1.0.0/16")}
	self := wg.Peer{Key: private(1).Public(), Name: "self", AllowedIPs: prefixes("10.2.0.0/16")}
	a := l.apply(true, good, self)
	if a.Err != "" || len(a.PeerErrors) != 1 || !strings.Contains(a.PeerErrors[self.Key], "itself") {
		t.Errorf("want one peer error about the own key, got %+v", a)
	}
	if len(a.Failed) != 1 || a.Failed[self.AllowedIPs[0]] == "" {
		t.Errorf("want its prefix failed, got %v", a.Failed)
	}
	if got, want := l.allowedIPs(), good.Key.String()+" 10.1.0.0/16"; got != want {
		t.Errorf("want %q, got %q", want, got)
	}
}

func TestOnePrefixForTwoPeersIsReportedAndStable(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	a := wg.Peer{Key: private(50).Public(), Name: "a", AllowedIPs: prefixes("10.1.0.0/16")}
	b := wg.Peer{Key: private(51).Public(), Name: "b"}
	l.must(true, a, b)
	b.AllowedIPs = a.AllowedIPs
	for range 3 {
		got := l.apply(true, a, b)
		if want := "overlap: wanted for peer " + a.Key.String() + " too"; got.Failed[a.AllowedIPs[0]] != want {
			t.Fatalf("want %q, got %+v", want, got)
		}
	}
	if got := l.allowedIPs(); !strings.Contains(got, a.Key.String()+" 10.1.0.0/16") {
		t.Errorf("want the holder to keep it, got\n%s", got)
	}
}

func TestManyPeersArePackedAndSwept(t *testing.T) { // AC-6
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	var peers []wg.Peer
	for i := range 200 {
		p := wg.Peer{Key: private(byte(i + 2)).Public()}
		for j := range 10 {
			p.AllowedIPs = append(p.AllowedIPs, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), byte(j)}), 24))
		}
		peers = append(peers, p)
	}
	l.must(true)
	c := l.count()
	start := time.Now()
	l.must(true, peers...)
	t.Logf("200 peers with 10 prefixes each: %s in %d calls", time.Since(start), c.writes.Load())
	if time.Since(start) > 5*time.Second || c.writes.Load() > 10 {
		t.Errorf("want less than 5 s and at most 10 calls, got %s, %d calls", time.Since(start), c.writes.Load())
	}
	s, err := l.m.Snapshot(context.Background(), "gw0")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range s.Peers {
		n += len(p.AllowedIPs)
	}
	if len(s.Peers) != 200 || n != 2000 {
		t.Errorf("want 200 peers and 2000 prefixes, got %d and %d", len(s.Peers), n)
	}
	l.must(true)
	if got := strings.TrimSpace(nstest.Run(t, "wg", "show", "gw0", "peers")); got != "" {
		t.Errorf("want no peer left, got\n%s", got)
	}
}

func TestDeviceRemovedByConfigurationOnly(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	l.must(true)
	l.gen++
	l.m.Apply(context.Background(), l.gen, nil, false)
	nstest.Run(t, "ip", "link", "show", "gw0")
	l.gen++
	l.m.Apply(context.Background(), l.gen, nil, true)
	if out, err := runQuiet("ip", "link", "show", "gw0"); err == nil {
		t.Errorf("want the interface gone, got %s", out)
	}
}

func TestCapabilitiesNameTheBackend(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	c := l.m.Capabilities(context.Background())
	t.Logf("%+v", c)
	if !c.Userspace || c.Kernel != (forced() == wg.BackendKernel) {
		t.Errorf("want userspace and kernel=%v, got %+v", forced() == wg.BackendKernel, c)
	}
	if out := nstest.Run(t, "ip", "link"); strings.Contains(out, "wgprobe") {
		t.Errorf("want no scratch interface left, got\n%s", out)
	}
}

func TestOlderPlanChangesNothing(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	p := wg.Peer{Key: private(50).Public(), AllowedIPs: prefixes("10.1.0.0/16")}
	l.gen = 5
	l.must(true, p)
	l.gen = 2
	if a := l.apply(true); a.Gen != 6 || len(l.observe().Peers) != 1 {
		t.Errorf("want the report of generation 6 and its peer, got %+v", a)
	}
}

// AC-34 for a fresh process: a running kernel device is read and compared, and
// nothing is written. (A userspace device does not outlive its process.)
func TestRestartAdoptsARunningKernelDevice(t *testing.T) {
	if forced() != wg.BackendKernel {
		t.Log("a property of the kernel backend")
		return
	}
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	s := l.newSite(1)
	s.peer.Keepalive = 25 * time.Second
	l.must(true, s.peer)
	l.up(s)
	f := newFlow(t, s.inner, 500, s)
	before := nstest.Run(t, "wg", "show", "gw0", "latest-handshakes")
	_ = l.m.Close()
	l.logMu.Lock()
	l.log.Reset()
	l.logMu.Unlock()
	l.start()
	a := l.must(true, s.peer)
	f.next()
	l.logMu.Lock()
	text := l.log.String()
	l.logMu.Unlock()
	for _, bad := range []string{"peers written", "interface set", "interface created"} {
		if strings.Contains(text, bad) {
			t.Errorf("want nothing written, the log says %q", bad)
		}
	}
	if after := nstest.Run(t, "wg", "show", "gw0", "latest-handshakes"); after != before || len(a.Foreign) != 0 {
		t.Errorf("want the same handshake and nothing foreign, before %s after %s, %v", before, after, a.Foreign)
	}
	for range 200 {
		f.next()
	}
	f.mustLoseNothing()
}
