package speaker

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

func table(n int) []bgp.Announcement {
	to := []bgp.Export{{Group: "sites", MED: 1}, {Group: "tgw", MED: 50}}
	attrs := &bgp.Attrs{}
	out := make([]bgp.Announcement, n)
	for i := range out {
		out[i] = bgp.Announcement{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32), Attrs: attrs, To: to}
	}
	return out
}

// BenchmarkWithdrawLatency measures from Apply without one prefix to the UPDATE
// at the neighbor's socket, with 10,000 announcements.
func BenchmarkWithdrawLatency(b *testing.B) {
	if !nstest.Isolate(b) {
		return
	}
	s, _ := start(b, Config{})
	ns := []bgp.Neighbor{neighbor("a", "127.0.0.2", 64512, "tgw"), neighbor("b", "127.0.0.3", 64513, "tgw")}
	full := table(10000)
	apply(b, s, ns, full)
	p := dialRaw(b, rawConf{local: "127.0.0.2", asn: 64512})
	_ = dialRaw(b, rawConf{local: "127.0.0.3", asn: 64513})
	nstest.Eventually(b, 20*time.Second, func() error {
		if n := len(p.table()); n != len(full) {
			return fmt.Errorf("%d prefixes", n)
		}
		return nil
	})
	time.Sleep(200 * time.Millisecond) // let the first table settle
	var took []time.Duration
	seenAt := func(n int) time.Time {
		for {
			p.mu.Lock()
			if len(p.updates) > n {
				at := p.when[n]
				p.mu.Unlock()
				return at
			}
			p.mu.Unlock()
			time.Sleep(20 * time.Microsecond) // finer than what is measured
		}
	}
	for i := 0; b.Loop(); i++ {
		k := i * 7919 % len(full)
		less := slices.Delete(slices.Clone(full), k, k+1)
		n := p.count()
		begin := time.Now()
		s.Apply(context.Background(), 1, ns, less)
		took = append(took, seenAt(n).Sub(begin))
		n = p.count()
		s.Apply(context.Background(), 1, ns, full)
		seenAt(n)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkApply measures the difference of 40,000 announcements.
func BenchmarkApply(b *testing.B) {
	for _, name := range []string{"same-memory", "equal", "one-changed"} {
		b.Run(name, func(b *testing.B) {
			s, err := New(Config{ASN: 65000, RouterID: netip.MustParseAddr("10.0.0.1"), ListenPort: -1})
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Start(context.Background()); err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Stop(true) }()
			x, y := table(40000), table(40000)
			s.Apply(context.Background(), 1, nil, x)
			if name == "one-changed" {
				y[777].To = []bgp.Export{{Group: "tgw", MED: 10}}
			}
			if name == "same-memory" {
				y = x
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%2 == 0 {
					s.Apply(context.Background(), 1, nil, y)
				} else {
					s.Apply(context.Background(), 1, nil, x)
				}
			}
		})
	}
}

// BenchmarkLearn reports the memory of learned paths, in all and ours alone.
func BenchmarkLearn(b *testing.B) {
	if !nstest.Isolate(b) {
		return
	}
	const paths = 100000
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for b.Loop() {
		s, rec := start(b, Config{Sink: silentSink{}})
		_ = rec
		apply(b, s, []bgp.Neighbor{neighbor("n", "127.0.0.2", 64512, "g")}, nil)
		p := dialRaw(b, rawConf{local: "127.0.0.2", asn: 64512})
		before := heap()
		begin := time.Now()
		var chunk []packet.PathNLRI
		for i := range paths {
			n, _ := packet.NewIPAddrPrefix(netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
			if chunk = append(chunk, packet.PathNLRI{NLRI: n}); len(chunk) == 500 || i == paths-1 {
				nh, _ := packet.NewPathAttributeNextHop(netip.MustParseAddr("127.0.0.2"))
				if err := p.send(packet.NewBGPUpdateMessage(nil, []packet.PathAttributeInterface{
					packet.NewPathAttributeOrigin(0), nh,
					packet.NewPathAttributeAsPath([]packet.AsPathParamInterface{packet.NewAs4PathParam(2, []uint32{64512, uint32(i)})}),
				}, chunk)); err != nil {
					b.Fatal(err)
				}
				chunk = nil
			}
		}
		nstest.Eventually(b, 60*time.Second, func() error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if n := len(s.byName["n"].adjIn); n != paths || !s.out.empty() {
				return fmt.Errorf("%d paths", n)
			}
			return nil
		})
		b.ReportMetric(time.Since(begin).Seconds(), "s/100k")
		all := heap()
		b.ReportMetric((all-before)/paths, "B/path")
		s.mu.Lock()
		s.flush(s.byName["n"])
		s.out = newOutbox()
		s.mu.Unlock()
		b.ReportMetric((all-heap())/paths, "own-B/path")
		_ = s.Stop(true)
	}
}

type silentSink struct{}

func (silentSink) Paths([]bgp.PathChange)     {}
func (silentSink) Neighbor(bgp.NeighborState) {}
func (silentSink) Rejected(bgp.Rejected)      {}

// BenchmarkManyNeighbors measures one withdrawal that concerns 2 of 202
// neighbors, each of the others being excluded from its own announcements.
func BenchmarkManyNeighbors(b *testing.B) {
	if !nstest.Isolate(b) {
		return
	}
	s, _ := start(b, Config{})
	ns := []bgp.Neighbor{neighbor("tgw-1", "127.0.0.2", 64512, "tgw"), neighbor("tgw-2", "127.0.0.3", 64512, "tgw")}
	full := table(4000)
	for i := range 200 {
		n := neighbor(fmt.Sprintf("site-%03d", i), fmt.Sprintf("127.0.2.%d", i+1), bgp.ASN(65001+i), "sites")
		ns = append(ns, n)
		for k := i; k < len(full); k += 200 {
			full[k].Except, full[k].To = []string{n.Name}, full[k].To[1:]
		}
	}
	slices.SortFunc(ns, func(a, c bgp.Neighbor) int { return compareNames(a.Name, c.Name) })
	apply(b, s, ns, full)
	tgw := dialRaw(b, rawConf{local: "127.0.0.2", asn: 64512})
	_ = dialRaw(b, rawConf{local: "127.0.0.3", asn: 64512})
	for i := range 200 {
		_ = dialRaw(b, rawConf{local: fmt.Sprintf("127.0.2.%d", i+1), asn: uint32(65001 + i)})
	}
	nstest.Eventually(b, 20*time.Second, func() error {
		if n := len(tgw.table()); n != len(full) {
			return fmt.Errorf("%d prefixes", n)
		}
		return nil
	})
	var took []time.Duration
	wait := func(n int, begin time.Time) time.Duration {
		for {
			tgw.mu.Lock()
			if len(tgw.updates) > n {
				at := tgw.when[n]
				tgw.mu.Unlock()
				return at.Sub(begin)
			}
			tgw.mu.Unlock()
			time.Sleep(20 * time.Microsecond) // finer than what is measured
		}
	}
	for i := 0; b.Loop(); i++ {
		k := i * 7919 % len(full)
		less := slices.Delete(slices.Clone(full), k, k+1)
		n, begin := tgw.count(), time.Now()
		s.Apply(context.Background(), 1, ns, less)
		took = append(took, wait(n, begin))
		n = tgw.count()
		s.Apply(context.Background(), 1, ns, full)
		wait(n, begin)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkIntroduce measures Apply when one of 1,000 sites, each with prefixes of
// its own, is told its table from now on: what a cold start costs for each site that
// has told its own (ha/listen.go), as far as they do not come in one plan.
func BenchmarkIntroduce(b *testing.B) {
	if !nstest.Isolate(b) {
		return
	}
	const sites = 1000
	s, _ := start(b, Config{})
	var ns []bgp.Neighbor
	full := table(4 * sites)
	for i := range sites {
		n := neighbor(fmt.Sprintf("site-%04d", i), fmt.Sprintf("127.0.%d.%d", 2+i/250, i%250+1), bgp.ASN(65001+i), "sites")
		n.Export = false
		ns = append(ns, n)
		for k := i; k < len(full); k += sites {
			full[k].Except, full[k].To = []string{n.Name}, full[k].To[1:]
		}
	}
	apply(b, s, ns, full)
	for i := 0; b.Loop(); i++ {
		ns = slices.Clone(ns)
		ns[i%sites].Export = !ns[i%sites].Export
		s.Apply(context.Background(), uint64(i), ns, full)
	}
}
