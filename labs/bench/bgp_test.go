package bench

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// figures are measurements by daemon.
type figures map[string][]float64

func (f figures) add(subject string, v float64) { f[subject] = append(f[subject], v) }

// print writes a line as go test does: the median of every daemon, ours as a
// multiple of the others', and ours less BIRD's.
func (f figures) print(name, unit string) {
	var b strings.Builder
	fmt.Fprintf(&b, "Benchmark%s %d", name, len(f["wgbgpd"]))
	for _, s := range []string{"wgbgpd", "frr", "bird"} {
		fmt.Fprintf(&b, " %.3f %s-%s", f.median(s), unit, s)
	}
	ours := f.median("wgbgpd")
	fmt.Fprintf(&b, " %.3f x-frr %.3f x-bird %.3f %s-over-bird", ours/f.median("frr"), ours/f.median("bird"), ours-f.median("bird"), unit)
	fmt.Println(b.String())
}

func (f figures) median(subject string) float64 {
	v := slices.Sorted(slices.Values(f[subject]))
	if len(v) == 0 {
		return 0
	}
	return v[len(v)/2]
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }

// bgpBench isolates a benchmark that sets our daemon beside FRR and BIRD. False:
// return at once.
func bgpBench(b *testing.B) bool {
	buildPrograms(b)
	if !nstest.Isolate(b) {
		return false
	}
	if m := daemons.Missing(); len(m) > 0 {
		b.Skipf("needs %v", m)
	}
	return true
}

func program() []string { return []string{os.Getenv(gwlab.EnvDaemon)} }

// start begins a run that ends with fn.
func start(b *testing.B, s subject, n network, fn func(r *run)) {
	b.Helper()
	r, err := begin(s, n)
	if err != nil {
		b.Fatal(err)
	}
	defer r.end()
	defer func() {
		if b.Failed() {
			for _, p := range r.procs {
				b.Logf("%s, end of log:\n%s", p.Name, p.Tail(20))
			}
		}
	}()
	fn(r)
}

// until waits for the observer's answer.
func (r *run) until(b *testing.B, what string, answer <-chan time.Time, by netip.Addr) time.Time {
	b.Helper()
	select {
	case at := <-answer:
		if r.obs.err != nil {
			b.Fatalf("%s: observer: %v", what, r.obs.err)
		}
		return at
	case <-time.After(60 * time.Second):
		n, all := r.obs.count(by)
		b.Fatalf("%s: after a minute %d routes by way of %s, %d in all", what, n, by, all)
		return time.Time{}
	}
}

// cost is what all processes of the subject have used.
func (r *run) cost(b *testing.B) (c cost) {
	b.Helper()
	for _, p := range r.procs {
		m := measure(b, p.PID())
		c.rss += m.rss
		c.peak += m.peak
		c.cpu += m.cpu
	}
	return c
}

const (
	shortRest = 500 * time.Millisecond
	longRest  = 2 * time.Second // before memory is measured
)

// rest waits until the subject has been at rest for so long and returns what it
// has used.
func (r *run) rest(b *testing.B, d time.Duration) cost {
	b.Helper()
	const span = 250 * time.Millisecond
	deadline := time.Now().Add(60 * time.Second)
	last, quiet := r.cost(b), time.Duration(0)
	for quiet < d {
		if time.Now().After(deadline) {
			b.Fatal("the daemon does not come to rest")
		}
		time.Sleep(span) // the span that is measured
		now := r.cost(b)
		if now.cpu-last.cpu <= 10*time.Millisecond {
			quiet += span
		} else {
			quiet = 0
		}
		last = now
	}
	return last
}

// BenchmarkBGPToFIB measures from the first octet of a neighbor's table to the
// kernel's notification of the last route, then, where a second neighbor has a
// longer path to the same prefixes, from the loss of the first session to the
// last route that moved. Daemons take turns, each freshly started.
func BenchmarkBGPToFIB(b *testing.B) {
	if !bgpBench(b) {
		return
	}
	for _, c := range []struct {
		six    bool
		n      int
		kind   tableKind
		rounds int
	}{
		{false, 10_000, sharedAttrs, 5},
		{false, 10_000, diverseAttrs, 5},
		{true, 10_000, diverseAttrs, 3},
		{false, 100_000, sharedAttrs, 3},
		{false, 100_000, diverseAttrs, 3},
	} {
		net := network{six: c.six, peers: 2}
		first := newTable(c.kind, c.n, net.address(1), uint32(net.asn(1)), 0)
		second := newTable(c.kind, c.n, net.address(2), uint32(net.asn(2)), 1)
		learn, work, memory, peak, move := figures{}, figures{}, figures{}, figures{}, figures{}
		for range c.rounds {
			for _, s := range subjects(program()...) {
				start(b, s, net, func(r *run) {
					r.rest(b, shortRest)
					there := r.obs.when(net.address(1), c.n)
					before, begin := r.cost(b).cpu, time.Now()
					if err := r.send(1, first); err != nil {
						b.Fatal(err)
					}
					learn.add(s.name, ms(r.until(b, s.name+": table", there, net.address(1)).Sub(begin)))
					rest := shortRest
					if c.n > 10_000 {
						rest = longRest
					}
					used := r.rest(b, rest)
					memory.add(s.name, used.rss)
					peak.add(s.name, used.peak)
					work.add(s.name, ms(used.cpu-before))
					if c.n > 10_000 {
						return
					}
					if err := r.send(2, second); err != nil {
						b.Fatal(err)
					}
					r.rest(b, shortRest)
					moved := r.obs.when(net.address(2), c.n)
					begin = time.Now()
					if err := r.peers[0].reset(); err != nil {
						b.Fatal(err)
					}
					move.add(s.name, ms(r.until(b, s.name+": failover", moved, net.address(2)).Sub(begin)))
				})
			}
		}
		name := fmt.Sprintf("%s/%d/%s", map[bool]string{false: "IPv4", true: "IPv6"}[c.six], c.n, c.kind)
		learn.print("BGPToFIB/"+name, "ms")
		work.print("BGPWork/"+name, "ms")
		memory.print("BGPMemory/"+name, "MB")
		peak.print("BGPPeak/"+name, "MB")
		if c.n <= 10_000 {
			move.print("BGPFailover/"+name, "ms")
		}
	}
}

// BenchmarkBGPManyNeighbors is the memory of 200 neighbors with 100 prefixes
// each, and how long they took to be in the kernel.
func BenchmarkBGPManyNeighbors(b *testing.B) {
	if !bgpBench(b) {
		return
	}
	const neighbors, each, rounds = 200, 100, 3
	net := network{peers: neighbors}
	var wire [][]byte
	all := newTable(diverseAttrs, neighbors*each, net.address(1), 1, 0).prefixes
	for i := range neighbors {
		u := appendUpdate(nil, net.address(i+1), []uint32{uint32(net.asn(i + 1)), 100_000 + uint32(i)}, nil, all[i*each:(i+1)*each])
		wire = append(wire, appendWithdrawal(u, false))
	}
	memory, peak, learn := figures{}, figures{}, figures{}
	for range rounds {
		for _, s := range subjects(program()...) {
			start(b, s, net, func(r *run) {
				r.rest(b, shortRest)
				there := r.obs.whenAll(neighbors * each)
				begin := time.Now()
				for i := range neighbors {
					if _, err := r.peers[i].conn.Write(wire[i]); err != nil {
						b.Fatal(err)
					}
				}
				learn.add(s.name, ms(r.until(b, s.name+": tables", there, netip.Addr{}).Sub(begin)))
				c := r.rest(b, longRest)
				memory.add(s.name, c.rss)
				peak.add(s.name, c.peak)
			})
		}
	}
	memory.print("BGPManyNeighbors/memory", "MB")
	peak.print("BGPManyNeighbors/peak", "MB")
	learn.print("BGPManyNeighbors/fib", "ms")
}

// BenchmarkBGPOneChange measures from the octets of one announcement or
// withdrawal written to one neighbor's socket to the UPDATE about it read from
// another's, beside a table of 10,000 prefixes that both know. The three daemons
// run at once and are asked in turn.
func BenchmarkBGPOneChange(b *testing.B) {
	if !bgpBench(b) {
		return
	}
	const trials = 100
	runs := map[string]*run{}
	all := subjects(program()...)
	for i, s := range all {
		r, err := begin(s, network{id: byte(i), peers: 1, watch: true})
		if err != nil {
			b.Fatal(err)
		}
		defer r.end()
		runs[s.name] = r
		t := newTable(diverseAttrs, 10_000, r.address(1), uint32(r.asn(1)), 0)
		if err := r.send(1, t); err != nil {
			b.Fatal(err)
		}
		for _, p := range t.prefixes {
			if _, err := r.peers[1].wait(p, true, time.Time{}, 60*time.Second); err != nil {
				b.Fatalf("%s: %v", s.name, err)
			}
		}
		r.rest(b, shortRest)
	}
	single := netip.MustParsePrefix("99.1.2.0/24")
	change := func(r *run, there bool) float64 {
		// At no fixed distance, so that no timer of a daemon beats in step.
		time.Sleep(time.Duration(20+rand.N(30)) * time.Millisecond)
		wire := appendWithdrawal(nil, false, single)
		if there {
			wire = appendUpdate(nil, r.address(1), []uint32{uint32(r.asn(1)), 100_000}, nil, []netip.Prefix{single})
		}
		begin := time.Now()
		if _, err := r.peers[0].conn.Write(wire); err != nil {
			b.Fatal(err)
		}
		at, err := r.peers[1].wait(single, there, begin, 10*time.Second)
		if err != nil {
			b.Fatal(err)
		}
		return ms(at.Sub(begin))
	}
	announced, withdrawn := figures{}, figures{}
	for range trials {
		for _, s := range all {
			announced.add(s.name, change(runs[s.name], true))
			withdrawn.add(s.name, change(runs[s.name], false))
		}
	}
	announced.print("BGPOneChange/announce", "ms")
	withdrawn.print("BGPOneChange/withdraw", "ms")
}

// BenchmarkDaemonProfile puts our daemon alone under the load of BGPToFIB:
// 100,000 prefixes, their failover, and single changes. Where profiles go is in
// the environment (make profile-daemon); without that it does nothing.
func BenchmarkDaemonProfile(b *testing.B) {
	dir := os.Getenv("WGBGP_PROFILE_DIR")
	if dir == "" {
		b.Skip("wants WGBGP_PROFILE_DIR")
	}
	if !bgpBench(b) {
		return
	}
	const n = 100_000
	net := network{peers: 2, watch: os.Getenv("WGBGP_PROFILE_LEARN_ONLY") == ""}
	first := newTable(diverseAttrs, n, net.address(1), uint32(net.asn(1)), 0)
	second := newTable(diverseAttrs, n, net.address(2), uint32(net.asn(2)), 1)
	start(b, subjects(append(program(), "-profile", dir)...)[0], net, func(r *run) {
		there := r.obs.when(net.address(1), n)
		begin := time.Now()
		if err := r.send(1, first); err != nil {
			b.Fatal(err)
		}
		b.Logf("%d prefixes in the kernel after %.0f ms", n, ms(r.until(b, "table", there, net.address(1)).Sub(begin)))
		b.Logf("%.0f MB at rest", r.rest(b, longRest).rss)
		if os.Getenv("WGBGP_PROFILE_LEARN_ONLY") == "" {
			if err := r.send(2, second); err != nil {
				b.Fatal(err)
			}
			r.rest(b, shortRest)
			moved := r.obs.when(net.address(2), n)
			begin = time.Now()
			if err := r.peers[0].reset(); err != nil {
				b.Fatal(err)
			}
			b.Logf("moved after %.0f ms", ms(r.until(b, "failover", moved, net.address(2)).Sub(begin)))
			b.Logf("%.0f MB at rest", r.rest(b, longRest).rss)
		}
		if err := r.procs[0].Stop(30 * time.Second); err != nil {
			b.Fatal(err)
		}
		if n, err := strconv.Atoi(os.Getenv("WGBGP_PROFILE_TAIL")); err == nil {
			b.Logf("end of its log:\n%s", r.procs[0].Tail(n))
		}
	})
}
