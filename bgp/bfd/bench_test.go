package bfd

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/daemons"
)

// many is n sessions at 300 ms x 3 between two hosts. BIRD tells sessions apart
// by the other end's address, so each has a pair of its own, and routes choose
// the source: an engine has one socket for all.
func many(t testing.TB, n int) (near, far []bgp.BFDSession, host *netlab.Host) {
	t.Helper()
	host = farHost(t, nil, nil)
	nstest.Run(t, "ip", "link", "set", "v0", "address", "02:00:00:00:00:01")
	if err := host.RunAll("ip link set v0 address 02:00:00:00:00:02"); err != nil {
		t.Fatal(err)
	}
	var here, there strings.Builder
	for i := range n {
		here4 := netip.AddrFrom4([4]byte{10, 8, byte(i / 250), byte(i%250 + 1)})
		there4 := netip.AddrFrom4([4]byte{10, 9, byte(i / 250), byte(i%250 + 1)})
		// Neighbor entries that are permanent do not count toward gc_thresh3.
		const batch = "addr add %s/15 dev v0\nroute add %s/32 dev v0 src %s\nneigh add %s lladdr %s dev v0 nud permanent\n"
		fmt.Fprintf(&here, batch, here4, there4, here4, there4, "02:00:00:00:00:02")
		fmt.Fprintf(&there, batch, there4, here4, there4, here4, "02:00:00:00:00:01")
		s := bgp.BFDSession{Name: there4.String(), Device: "v0", Address: there4, Interval: 300 * ms, Multiplier: 3}
		near = append(near, s)
		s.Name, s.Address = here4.String(), here4
		far = append(far, s)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"/here": here.String(), "/there": there.String()} {
		if err := os.WriteFile(dir+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nstest.Run(t, "ip", "-batch", dir+"/here")
	if err := host.RunAll("ip -batch " + dir + "/there"); err != nil {
		t.Fatal(err)
	}
	return near, far, host
}

// steady waits until all n sessions are up and have settled their timers.
func steady(t testing.TB, w *watched, n int) {
	t.Helper()
	nstest.Eventually(t, 60*time.Second, func() error {
		steady := 0
		for _, s := range w.all() {
			if s.State == bgp.BFDUp && s.DetectTime == 900*ms {
				steady++
			}
		}
		if steady != n {
			return fmt.Errorf("%d of %d sessions are up; %+v", steady, n, w.Stats())
		}
		return nil
	})
}

func flaps(w *watched) (n uint32) {
	for _, s := range w.all() {
		n += s.Flaps
	}
	return n
}

// BenchmarkSessions tells what 1,000 sessions at 300 ms x 3 cost, in percent of
// one core, and what they cost BIRD at the other end at the same time.
func BenchmarkSessions(b *testing.B) {
	if !nstest.Isolate(b) {
		return
	}
	nstest.Need(b, "bird", "birdc")
	near, far, host := many(b, 1000)
	var neighbors strings.Builder
	for i := range far {
		fmt.Fprintf(&neighbors, "  neighbor %s dev \"v0\" local %s;\n", far[i].Address, near[i].Address)
	}
	bird, err := daemons.StartBIRD(host, `
router id 192.0.2.2;
protocol device { }
protocol bfd {
  interface "v0" { min rx interval 300 ms; min tx interval 300 ms; idle tx interval 1 s; multiplier 3; };
`+neighbors.String()+"}\n")
	if err != nil {
		b.Fatal(err)
	}
	w := watch(b, nil)
	w.Set(1, near)
	steady(b, w, len(near))
	time.Sleep(2 * time.Second) // what starting cost is over
	before, start := w.Stats(), time.Now()
	ours, theirs := own(b), spent(b, bird.Process.PID())
	time.Sleep(10 * time.Second) // what is measured is a span of time
	took := time.Since(start)
	after := w.Stats()
	ours, theirs = own(b)-ours, spent(b, bird.Process.PID())-theirs
	packets := after.Sent - before.Sent + after.Received - before.Received
	b.ReportMetric(100*ours.Seconds()/took.Seconds(), "%core")
	b.ReportMetric(100*theirs.Seconds()/took.Seconds(), "%core-bird")
	b.ReportMetric(float64(packets)/took.Seconds(), "packets/s")
	b.ReportMetric(float64(ours.Nanoseconds())/float64(packets), "ns/packet")
	b.ReportMetric(0, "ns/op")
	if n := flaps(w); n > 0 {
		b.Errorf("%d sessions failed", n)
	}
}

// own is the CPU time of this process.
func own(t testing.TB) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// spent is the CPU time of another process, in ticks of 10 ms (proc(5)).
func spent(t testing.TB, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		t.Fatalf("stat: %s", b)
	}
	return time.Duration(user+system) * 10 * ms
}

func BenchmarkMachine(b *testing.B) {
	m := machine{interval: 300 * ms, mult: 3}
	m.start(0, 1, func() uint32 { return 0 })
	m.enter(0, up, 0)
	p := packet{state: up, mult: 3, my: 9, your: 1, minTx: 300 * ms, minRx: 300 * ms}
	var buf [packetLen]byte
	p.put(buf[:])
	b.ReportAllocs()
	for i := range b.N {
		q, err := parse(buf[:])
		if err != nil {
			b.Fatal(err)
		}
		m.receive(time.Duration(i)*ms, &q)
		out := m.transmit(time.Duration(i) * ms)
		out.put(buf[:])
		buf[7], buf[11] = 9, 1
	}
}
