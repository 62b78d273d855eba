package probe

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

// bench is an engine under test with everything it reported.
type bench struct {
	*Engine
	mu      sync.Mutex
	results map[string][]wg.ProbeResult
}

func start(t testing.TB, probes ...wg.Probe) *bench {
	t.Helper()
	b := &bench{results: map[string][]wg.ProbeResult{}}
	b.Engine = New(Options{OnResult: func(r wg.ProbeResult) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.results[r.ID] = append(b.results[r.ID], r)
	}})
	b.Set(1, probes)
	b.run(t)
	return b
}

func (b *bench) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("Run did not return within 5 s of its context's end")
		}
	})
}

// take returns the results of a probe so far and forgets them.
func (b *bench) take(id string) []wg.ProbeResult {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.results[id]
	delete(b.results, id)
	return r
}

// wait waits until the last n results of a probe all look as wanted. On a busy
// machine an answer may take longer than a round allows, again and again.
func (b *bench) wait(t testing.TB, id string, n int, ok bool, reason string) {
	t.Helper()
	nstest.Eventually(t, 20*time.Second, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		r := b.results[id]
		if len(r) < n {
			return fmt.Errorf("%s: %d results, want at least %d", id, len(r), n)
		}
		for _, x := range r[len(r)-n:] {
			if x.OK != ok || x.Reason != reason {
				return fmt.Errorf("%s: got OK %v reason %q, want OK %v reason %q", id, x.OK, x.Reason, ok, reason)
			}
		}
		return nil
	})
}

const (
	every   = 100 * time.Millisecond
	allowed = 80 * time.Millisecond
)

func ping(id, dev, target string) wg.Probe {
	return wg.Probe{ID: id, Kind: wg.ProbeICMP, Device: dev, Target: netip.MustParseAddr(target), Interval: every, Timeout: allowed}
}

func tcp(id, dev, target string, port uint16) wg.Probe {
	p := ping(id, dev, target)
	p.Kind, p.Port = wg.ProbeTCP, port
	return p
}

func heartbeat(id, dev, target string) wg.Probe {
	p := ping(id, dev, target)
	p.Kind = wg.ProbeHeartbeat
	return p
}

// far makes a host behind wg0, which is a veth here: what matters is a device
// of that name. Forwarding is on, so that targets may lie behind it.
func far(t testing.TB) *nstest.NS {
	t.Helper()
	n := nstest.New(t, "far")
	nstest.Veth(t, nil, "wg0", []string{"10.7.0.1/24", "fd07::1/64"}, n, "eth0", []string{"10.7.0.2/24", "fd07::2/64"})
	n.Run(t, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
	return n
}

func TestEchoIsAnsweredOnBothFamilies(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	n := far(t)
	n.Run(t, "ip", "addr", "add", "fe80::77/64", "dev", "eth0", "nodad")
	nstest.Run(t, "ip", "addr", "add", "fe80::66/64", "dev", "wg0", "nodad")
	sourced := ping("sourced", "wg0", "10.7.0.2")
	sourced.Source = netip.MustParseAddr("10.7.0.1")
	b := start(t, ping("link-local", "wg0", "fe80::77"), ping("v4", "wg0", "10.7.0.2"), ping("v6", "wg0", "fd07::2"), sourced)
	for _, id := range []string{"v4", "v6", "sourced", "link-local"} {
		b.wait(t, id, 5, true, "")
		for _, r := range b.take(id) {
			if r.RTT <= 0 || r.RTT > allowed {
				t.Errorf("%s: RTT %s, want within (0, %s]", id, r.RTT, allowed)
			}
			if age := time.Since(r.At); age < 0 || age > 5*time.Second {
				t.Errorf("%s: result is %s old", id, age)
			}
		}
	}
}

func TestSilenceIsTimeout(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	n := far(t)
	nstest.Need(t, "nft")
	b := start(t, ping("v4", "wg0", "10.7.0.2"), ping("v6", "wg0", "fd07::2"))
	b.wait(t, "v4", 3, true, "")
	b.wait(t, "v6", 3, true, "")
	n.Run(t, "nft", "add table inet f; add chain inet f in { type filter hook input priority 0; }; "+
		"add rule inet f in icmp type echo-request drop; add rule inet f in icmpv6 type echo-request drop")
	b.wait(t, "v4", 3, false, "timeout")
	b.wait(t, "v6", 3, false, "timeout")
	n.Run(t, "nft", "delete", "table", "inet", "f")
	b.wait(t, "v4", 3, true, "")
	b.wait(t, "v6", 3, true, "")
}

// With the timeout as long as the interval, which is the default, a round ends a
// moment after the next one is due. That one must not be left out, or detection
// takes twice as long as the operator reads from fall and interval.
func TestSilentTargetIsAskedEveryInterval(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	n := far(t)
	n.Run(t, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
	p := ping("silent", "wg0", "10.7.0.2")
	p.Timeout = p.Interval
	b := start(t, p)
	b.wait(t, "silent", 1, false, "timeout")
	first := b.take("silent")[0].At
	const rounds = 10
	b.wait(t, "silent", rounds, false, "timeout")
	took := b.take("silent")[rounds-1].At.Sub(first)
	if limit := rounds * every * 3 / 2; took > limit {
		t.Errorf("%d failed rounds: took %s, want about %s and at most %s", rounds, took, rounds*every, limit)
	}
}

func TestUnreachableIsReportedBeforeTheTimeout(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	n := far(t)
	n.Run(t, "ip", "route", "add", "unreachable", "10.8.0.0/16")
	n.Run(t, "ip", "route", "add", "unreachable", "fd08::/16")
	nstest.Run(t, "ip", "route", "add", "10.8.0.0/16", "via", "10.7.0.2")
	nstest.Run(t, "ip", "route", "add", "fd08::/16", "via", "fd07::2")
	p4, p6 := ping("v4", "wg0", "10.8.0.1"), ping("v6", "wg0", "fd08::1")
	p4.Interval, p6.Interval = 200*time.Millisecond, 200*time.Millisecond
	p4.Timeout, p6.Timeout = 10*time.Second, 10*time.Second // only the ICMP error can end the round
	b := start(t, p4, p6)
	b.wait(t, "v4", 2, false, "unreachable")
	b.wait(t, "v6", 2, false, "unreachable")
}

// TestProbeNeverLeavesByAnotherInterface is AC-13: a default route to a host
// that would answer must not make a probe green when its interface is gone.
func TestProbeNeverLeavesByAnotherInterface(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	far(t)
	wan := nstest.New(t, "wan")
	nstest.Veth(t, nil, "wan0", []string{"192.0.2.1/24", "2001:db8::1/64"}, wan, "eth0", []string{"192.0.2.2/24", "2001:db8::2/64"})
	wan.Run(t, "ip", "addr", "add", "10.7.0.2/32", "dev", "lo")
	wan.Run(t, "ip", "addr", "add", "fd07::2/128", "dev", "lo")
	wan.Run(t, "ip", "route", "add", "10.7.0.0/24", "via", "192.0.2.1")
	wan.Run(t, "ip", "route", "add", "fd07::/64", "via", "2001:db8::1")
	nstest.Run(t, "ip", "route", "add", "default", "via", "192.0.2.2")
	nstest.Run(t, "ip", "-6", "route", "add", "default", "via", "2001:db8::2")
	probes := []wg.Probe{
		heartbeat("hb4", "wg0", "10.7.0.2"), heartbeat("hb6", "wg0", "fd07::2"),
		ping("v4", "wg0", "10.7.0.2"), ping("v6", "wg0", "fd07::2"),
	}
	b := start(t, probes...)
	ids := []string{"hb4", "hb6", "v4", "v6"}
	for _, id := range ids {
		b.wait(t, id, 3, true, "")
	}
	nstest.Run(t, "ip", "link", "del", "wg0")
	gone := time.Now()
	// The way around works, for everybody else.
	nstest.Run(t, "ping", "-c1", "-W2", "10.7.0.2")
	nstest.Run(t, "ping", "-c1", "-W2", "fd07::2")
	for _, id := range ids {
		b.wait(t, id, 5, false, "no-device")
		for _, r := range b.take(id) {
			if r.OK && r.At.After(gone) {
				t.Errorf("%s: succeeded %s after the interface was gone", id, r.At.Sub(gone))
			}
		}
	}
	// Another interface of that name is found and used.
	nstest.Run(t, "ip", "route", "del", "default")
	again := nstest.New(t, "again")
	nstest.Veth(t, nil, "wg0", []string{"10.7.0.1/24", "fd07::1/64"}, again, "eth0", []string{"10.7.0.2/24", "fd07::2/64"})
	for _, id := range ids {
		b.wait(t, id, 3, true, "")
	}
}

func TestInterfaceThatNeverExisted(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	b := start(t, heartbeat("h", "wg9", "10.7.0.2"), ping("i", "a-name-too-long-for-linux", "10.7.0.2"), tcp("t", "wg9", "10.7.0.2", 80))
	for _, id := range []string{"h", "i", "t"} {
		b.wait(t, id, 2, false, "no-device")
	}
}

// TestProbeIsNotStoppedByTheSink covers the state in which a site is down: its
// route is gone and a blackhole stands under its prefix. A probe must still
// leave by its interface, or the site could never come back.
func TestProbeIsNotStoppedByTheSink(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	n := far(t)
	n.Run(t, "ip", "addr", "add", "10.9.0.1/32", "dev", "lo")
	n.Run(t, "sysctl", "-qw", "net.ipv4.conf.all.proxy_arp=0")
	nstest.Run(t, "ip", "route", "add", "blackhole", "10.9.0.0/16", "metric", "4294967000")
	nstest.Run(t, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.wg0.rp_filter=0")
	b := start(t, heartbeat("hb", "wg0", "10.9.0.1"), ping("v4", "wg0", "10.9.0.1"))
	b.wait(t, "hb", 3, true, "")
	b.wait(t, "v4", 3, true, "")
}

func TestConnectTellsOpenRefusedAndFiltered(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	n := far(t)
	nstest.Need(t, "nft")
	listen(t, n, "10.7.0.2:8080", "[fd07::2]:8080")
	n.Run(t, "nft", "add table inet f; add chain inet f in { type filter hook input priority 0; }; add rule inet f in tcp dport 8082 drop")
	b := start(t,
		tcp("filtered", "wg0", "10.7.0.2", 8082), tcp("open4", "wg0", "10.7.0.2", 8080), tcp("open6", "wg0", "fd07::2", 8080),
		tcp("refused4", "wg0", "10.7.0.2", 8081), tcp("refused6", "wg0", "fd07::2", 8081))
	b.wait(t, "open4", 3, true, "")
	b.wait(t, "open6", 3, true, "")
	b.wait(t, "refused4", 3, false, "refused")
	b.wait(t, "refused6", 3, false, "refused")
	b.wait(t, "filtered", 3, false, "timeout")
}

func TestSetKeepsWhatIsUnchanged(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	far(t)
	keep, drop := ping("keep", "wg0", "10.7.0.2"), ping("drop", "wg0", "10.7.0.2")
	b := start(t, drop, keep)
	b.wait(t, "keep", 3, true, "")
	b.wait(t, "drop", 1, true, "")
	b.take("keep")
	begin := time.Now()
	for gen := uint64(2); gen < 40; gen++ { // storms of plans must neither restart nor stop it
		b.Set(gen, []wg.Probe{keep})
		time.Sleep(25 * time.Millisecond) // the storm's pace
	}
	took := time.Since(begin)
	r := b.take("keep")
	if want := int(took / every); len(r) < want-2 || len(r) > want+2 {
		t.Errorf("%d rounds in %s, want about %d", len(r), took, want)
	}
	b.take("drop")
	b.Set(50, []wg.Probe{ping("new", "wg0", "10.7.0.2")})
	b.Set(49, []wg.Probe{drop}) // an older set changes nothing
	b.wait(t, "new", 2, true, "")
	if r := b.take("drop"); len(r) > 0 {
		t.Errorf("%d results of a probe that is not in the set", len(r))
	}
}
