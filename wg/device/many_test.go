package device

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

// manyPeers makes n peers with one prefix each, sorted by key. Like those of
// real sites their keys have no order. Every second one has an endpoint.
func manyPeers(n int) []wg.Peer {
	peers := make([]wg.Peer, n)
	for i := range peers {
		p := &peers[i]
		p.Name = fmt.Sprintf("site-%05d", i)
		p.Key = sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(i)))
		p.AllowedIPs = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)}
		if i%2 == 0 {
			p.Endpoint = wg.Endpoint{Host: "192.0.2.1", Port: uint16(1024 + i)}
		}
	}
	slices.SortFunc(peers, func(a, b wg.Peer) int { return a.Key.Compare(b.Key) })
	return peers
}

// usage is the processor time that this process has used.
func usage(tb testing.TB) time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// median runs f some times and returns its median time and the processor time
// it took on the average, both in milliseconds.
func median(tb testing.TB, f func(i int)) (wall, cpu float64) {
	const runs = 21
	var took []time.Duration
	begun := usage(tb)
	for i := range runs {
		begin := time.Now()
		f(i)
		took = append(took, time.Since(begin))
	}
	cpu = (usage(tb) - begun).Seconds() * 1e3 / runs
	slices.Sort(took)
	return took[runs/2].Seconds() * 1e3, cpu
}

// BenchmarkManyPeers is an interface with 10,000 peers, beside wg(8) in the same
// run: starting, observing, adding one peer and removing one.
func BenchmarkManyPeers(b *testing.B) {
	if !nstest.Isolate(b) {
		return
	}
	n := 10000
	l := newLab(b)
	peers := manyPeers(n + 1)
	extra := n / 3
	without := slices.Delete(slices.Clone(peers), extra, extra+1)
	apply := func(p []wg.Peer) {
		l.gen++
		l.gw.Peers = p
		if a := l.m.Apply(context.Background(), l.gen, []wg.Device{l.gw}, true); a[0].Err != "" || len(a[0].Failed)+len(a[0].PeerErrors) > 0 {
			b.Fatalf("%+v", a[0])
		}
	}
	apply(nil)
	begin := time.Now()
	apply(without)
	b.ReportMetric(time.Since(begin).Seconds()*1e3, "ms-add-all")

	report := func(name string, f func(i int)) float64 {
		wall, cpu := median(b, f)
		b.ReportMetric(wall, "ms-"+name)
		b.ReportMetric(cpu, "cpu-ms-"+name)
		return wall
	}
	wgRun := func(args ...string) {
		if out, err := exec.Command("wg", args...).CombinedOutput(); err != nil {
			b.Fatalf("wg %v: %v\n%s", args, err, out)
		}
	}
	observe := report("observe", func(int) {
		if _, err := l.m.Observe(context.Background(), "gw0"); err != nil {
			b.Fatal(err)
		}
	})
	dump := report("wg-dump", func(int) { wgRun("show", "all", "dump") })
	b.ReportMetric(observe/dump, "x_wg_dump")
	report("snapshot", func(int) {
		if _, err := l.m.Snapshot(context.Background(), "gw0"); err != nil {
			b.Fatal(err)
		}
	})
	report("unchanged", func(int) { apply(without) })
	var add, remove []float64
	c := l.count()
	for range 21 {
		begin := time.Now()
		apply(peers)
		add = append(add, time.Since(begin).Seconds()*1e3)
		begin = time.Now()
		apply(without)
		remove = append(remove, time.Since(begin).Seconds()*1e3)
	}
	slices.Sort(add)
	slices.Sort(remove)
	b.ReportMetric(add[10], "ms-add")
	b.ReportMetric(remove[10], "ms-remove")
	b.ReportMetric(float64(c.writes.Load())/42, "writes")

	// The same by wg syncconf, which is given the whole configuration.
	var conf [2]string
	for i, p := range [][]wg.Peer{peers, without} {
		var t bytes.Buffer
		k := l.gw.PrivateKey.Reveal()
		fmt.Fprintf(&t, "[Interface]\nPrivateKey = %s\nListenPort = %d\n", base64Key(k), l.gw.ListenPort)
		for j := range p {
			fmt.Fprintf(&t, "[Peer]\nPublicKey = %s\nAllowedIPs = %s\n", p[j].Key, p[j].AllowedIPs[0])
			if p[j].Endpoint.Port != 0 {
				fmt.Fprintf(&t, "Endpoint = %s:%d\n", p[j].Endpoint.Host, p[j].Endpoint.Port)
			}
		}
		conf[i] = fmt.Sprintf("%s/%d.conf", b.TempDir(), i)
		if err := os.WriteFile(conf[i], t.Bytes(), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	sync, _ := median(b, func(i int) { wgRun("syncconf", "gw0", conf[i%2]) })
	b.ReportMetric(sync, "ms-syncconf")
	apply(nil)
	begin = time.Now()
	wgRun("setconf", "gw0", conf[1])
	b.ReportMetric(time.Since(begin).Seconds()*1e3, "ms-setconf")
	b.ReportMetric(add[10]/sync, "x_syncconf")
}
