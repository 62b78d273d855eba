package probe

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

// listen accepts TCP connections in a namespace and closes them.
func listen(t testing.TB, n *nstest.NS, addrs ...string) {
	t.Helper()
	n.Do(t, func() {
		for _, a := range addrs {
			l, err := net.Listen("tcp", a)
			if err != nil {
				t.Errorf("listen on %s: %v", a, err)
				continue
			}
			t.Cleanup(func() { _ = l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_ = c.Close()
				}
			}()
		}
	})
}

// sniff counts IP packets that arrive on eth0 of a namespace.
func sniff(t testing.TB, n *nstest.NS, match func(ip []byte) bool) func() []time.Time {
	t.Helper()
	fd := -1
	n.Do(t, func() {
		all := int(binary.BigEndian.Uint16([]byte{unix.ETH_P_ALL & 0xff, unix.ETH_P_ALL >> 8}))
		var err error
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, all); err != nil {
			t.Errorf("packet socket: %v", err)
			return
		}
		tv := unix.NsecToTimeval(int64(200 * time.Millisecond))
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	})
	var mu sync.Mutex
	var seen []time.Time
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if n, _, err := unix.Recvfrom(fd, b, 0); err == nil && match(b[:n]) {
				mu.Lock()
				seen = append(seen, time.Now())
				mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done; _ = unix.Close(fd) })
	return func() []time.Time {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

func TestHeartbeatIsSeenOnTheWire(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	n := far(t)
	isHeartbeat := func(ip []byte) bool {
		switch {
		case len(ip) >= 28 && ip[0]>>4 == 4 && ip[9] == unix.IPPROTO_UDP:
			return binary.BigEndian.Uint16(ip[22:]) == 9 && [4]byte(ip[16:20]) == [4]byte{10, 7, 0, 2} && len(ip) > 28
		case len(ip) >= 48 && ip[0]>>4 == 6 && ip[6] == unix.IPPROTO_UDP:
			return binary.BigEndian.Uint16(ip[42:]) == 9 && ip[39] == 2 && len(ip) > 48
		}
		return false
	}
	seen := sniff(t, n, isHeartbeat)
	b := start(t, heartbeat("v4", "wg0", "10.7.0.2"), heartbeat("v6", "wg0", "fd07::2"))
	b.wait(t, "v4", 10, true, "")
	b.wait(t, "v6", 10, true, "")
	sent := len(b.take("v4")) + len(b.take("v6"))
	nstest.Eventually(t, 2*time.Second, func() error {
		if got := len(seen()); got < sent-1 { // the very first may wait for a neighbor entry
			return fmt.Errorf("%d heartbeats seen on the wire, %d reported sent", got, sent)
		}
		return nil
	})
}

// TestManyProbes runs 2,000 echo probes at one per second for ten seconds.
func TestManyProbes(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	far(t)
	const count, seconds = 2000, 10
	var probes []wg.Probe
	for i := range count {
		p := ping(fmt.Sprintf("site-%04d/icmp", i), "wg0", "10.7.0.2")
		if i%2 == 1 {
			p = ping(p.ID, "wg0", "fd07::2")
		}
		p.Interval, p.Timeout = time.Second, time.Second
		probes = append(probes, p)
	}
	var mu sync.Mutex
	var n, lost int
	var per [1000 / 10]int // rounds by phase in the second, in steps of 10 ms
	var rtts []time.Duration
	e := New(Options{OnResult: func(r wg.ProbeResult) {
		mu.Lock()
		defer mu.Unlock()
		n++
		if !r.OK {
			lost++
			return
		}
		rtts = append(rtts, r.RTT)
		per[r.At.Add(-r.RTT).Nanosecond()/int(10*time.Millisecond)]++
	}})
	e.Set(1, probes)
	(&bench{Engine: e}).run(t)
	nstest.Eventually(t, 3*time.Second, func() error { // the first rounds come early
		mu.Lock()
		defer mu.Unlock()
		if n < count {
			return fmt.Errorf("%d of %d first results", n, count)
		}
		return nil
	})
	mu.Lock()
	n, lost, rtts, per = 0, 0, rtts[:0], [100]int{}
	mu.Unlock()
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	begin := time.Now()
	time.Sleep(seconds * time.Second) // the length of the measurement
	took := time.Since(begin)
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	mu.Lock()
	defer mu.Unlock()
	cpu := time.Duration(after.Utime.Nano()-before.Utime.Nano()) + time.Duration(after.Stime.Nano()-before.Stime.Nano())
	slices.Sort(rtts)
	t.Logf("%d results in %s, %d lost; %s CPU (%.2f %% of a core, including the answering kernel: %s system), RTT p50 %s p99 %s max %s; %+v",
		n, took.Round(time.Millisecond), lost, cpu, 100*cpu.Seconds()/took.Seconds(), time.Duration(after.Stime.Nano()-before.Stime.Nano()),
		rtts[len(rtts)/2], rtts[len(rtts)*99/100], rtts[len(rtts)-1], e.Stats())
	if want := int(count * took.Seconds()); n < want*97/100 || n > want*103/100 {
		t.Errorf("%d results, want %d", n, want)
	}
	if lost > n/1000 {
		t.Errorf("%d of %d rounds failed on a link without loss", lost, n)
	}
	busiest := slices.Max(per[:])
	if mean := n / len(per); busiest > 4*mean {
		t.Errorf("busiest 10 ms of the second hold %d rounds, mean %d: not spread", busiest, mean)
	}
	if cpu > took/2 {
		t.Errorf("%s CPU for %s of 2,000 probes a second, want at most half a core", cpu, took)
	}
}

// BenchmarkEcho reports what one answered echo costs, request and reply.
func BenchmarkEcho(b *testing.B) {
	if !nstest.Isolate(b) {
		return
	}
	far(b)
	b.Cleanup(func() { // the next, longer run builds its own
		nstest.Run(b, "ip", "link", "del", "wg0")
		nstest.Run(b, "ip", "netns", "del", "far")
	})
	var probes []wg.Probe
	for i := range 500 {
		p := ping(fmt.Sprintf("p%d", i), "wg0", "10.7.0.2")
		p.Interval, p.Timeout = 50*time.Millisecond, 50*time.Millisecond
		probes = append(probes, p)
	}
	done := make(chan struct{}, 1)
	n := -500
	e := New(Options{OnResult: func(wg.ProbeResult) {
		if n++; n == b.N {
			done <- struct{}{}
		}
	}})
	e.Set(1, probes)
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	b.ReportAllocs()
	b.ResetTimer()
	(&bench{Engine: e}).run(b)
	<-done
	b.StopTimer()
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	b.ReportMetric(float64(after.Utime.Nano()-before.Utime.Nano()+after.Stime.Nano()-before.Stime.Nano())/float64(b.N), "cpu-ns/op")
}
