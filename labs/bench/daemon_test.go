package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/node"
)

// built is the directory of the programs, removed at the end; empty: none.
var built string

func TestMain(m *testing.M) {
	node.Main()
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// buildPrograms is for the tests that run the daemon, before they are isolated:
// the isolated copy of a test gets the programs from its parent. Other tests do
// without, since a benchmark may run at real-time priority and a compiler must not.
func buildPrograms(t testing.TB) {
	t.Helper()
	if os.Getenv(gwlab.EnvDaemon) != "" {
		return
	}
	var err error
	if built, err = os.MkdirTemp("", "wgbgp-programs-"); err != nil {
		t.Fatal(err)
	}
	daemon, cli, err := gwlab.BuildPrograms(built)
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Setenv(gwlab.EnvDaemon, daemon)
	_ = os.Setenv(gwlab.EnvCLI, cli)
}

const (
	labSites  = 10
	rawConfig = `
[[neighbor]]
name = "stopwatch"
address = "127.0.0.2"
asn = 65020
passive = true
export = true
`
	probe = `
[[site.probe]]
name = "lan"
`
)

// startLab runs one gateway with ten living sites, each probed every second and
// under the heartbeat, a TGW, and a neighbor that is a stopwatch.
func startLab(t testing.TB) (*gwlab.Lab, *rawPeer) {
	t.Helper()
	spec := gwlab.Spec{Daemon: os.Getenv(gwlab.EnvDaemon), CLI: os.Getenv(gwlab.EnvCLI), Gateways: []gwlab.Gateway{{Name: "gw1", TOML: rawConfig}}}
	for i := range labSites {
		spec.Sites = append(spec.Sites, gwlab.Site{Name: fmt.Sprintf("site%02d", i), Tables: probe})
	}
	l, err := gwlab.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the daemon's log:\n%s", l.Gateways[0].Process.Tail(40))
		}
		if err := l.Close(false); err != nil {
			t.Error(err)
		}
	})
	var p *rawPeer
	nstest.Eventually(t, 20*time.Second, func() error {
		return l.Gateways[0].Host.Do(func() (err error) {
			p, err = dialRaw("127.0.0.2", "127.0.0.1", 65020)
			return err
		})
	})
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	go p.run(ctx)
	for _, s := range l.Sites {
		if _, err := p.wait(s.Net4, true, time.Time{}, 60*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	return l, p
}

// cost is what a process has used.
type cost struct {
	rss, anon float64       // MB
	peak      float64       // MB, the highest rss so far
	cpu       time.Duration // user and system
}

// measure reads proc(5): VmRSS, VmHWM and RssAnon of status in kB, utime and stime of
// stat in ticks of 10 ms.
func measure(t testing.TB, pid int) (c cost) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(status)) {
		f := strings.Fields(l)
		if len(f) < 2 || f[0] != "VmRSS:" && f[0] != "RssAnon:" && f[0] != "VmHWM:" {
			continue
		}
		kb, err := strconv.ParseFloat(f[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		switch f[0] {
		case "VmRSS:":
			c.rss = kb / 1000
		case "VmHWM:":
			c.peak = kb / 1000
		default:
			c.anon = kb / 1000
		}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name may hold spaces
	f := strings.Fields(rest)
	for _, s := range f[11:13] {
		ticks, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		c.cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	return c
}

// idle lets the daemon alone for a while and returns its memory and the share of
// one core it used, in percent.
func idle(t testing.TB, pid int, d time.Duration) (c cost, percent float64) {
	t.Helper()
	before, begin := measure(t, pid), time.Now()
	time.Sleep(d) // the span that is measured
	c = measure(t, pid)
	return c, 100 * (c.cpu - before.cpu).Seconds() / time.Since(begin).Seconds()
}

const (
	maxRSS  = 60.0 // MB
	maxIdle = 1.0  // percent of a core
	// maxWakes is the other measure, for a virtual machine on which it is dear to
	// leave the idle processor: what so many wake-ups a second cost a program that
	// does nothing else, in the same run. Elsewhere that is less than maxIdle.
	maxWakes = 500
)

// wakeUp is what a wake-up a second costs a program here, in percent of a core.
func wakeUp() float64 {
	const rate, turns = 100, 500
	used := func() time.Duration {
		var r syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // can not fail for one's own
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	before, begin := used(), time.Now()
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	for range turns {
		<-tick.C
	}
	return 100 * (used() - before).Seconds() / time.Since(begin).Seconds() / rate
}

func TestIdleDaemonIsSmall(t *testing.T) {
	buildPrograms(t)
	if !nstest.Isolate(t) {
		return
	}
	l, _ := startLab(t)
	c, percent := idle(t, l.Gateways[0].Process.PID(), 30*time.Second)
	t.Logf("figure: idle daemon with %d sites: %.1f MB RSS (%.1f MB anonymous), %.2f %% of a core", labSites, c.rss, c.anon, percent)
	if c.rss > maxRSS {
		t.Errorf("memory: got %.1f MB, want at most %.0f", c.rss, maxRSS)
	}
	if percent > maxIdle {
		limit := max(maxIdle, maxWakes*wakeUp())
		t.Logf("figure: %d wake-ups a second cost %.2f %% of a core on this machine", maxWakes, limit)
		if percent > limit {
			t.Errorf("CPU over 30 s: got %.2f %% of a core, want at most %.2f", percent, limit)
		}
	}
}

// BenchmarkDaemon measures the daemon as its neighbors see it: from the order
// that makes a site unusable, given over the API, to the UPDATE read from the
// socket of a neighbor; both instants from one clock. What the API takes is
// part of the figure. Then what it costs to run and do nothing.
func BenchmarkDaemon(b *testing.B) {
	buildPrograms(b)
	if !nstest.Isolate(b) {
		return
	}
	l, p := startLab(b)
	pid := l.Gateways[0].Process.PID()
	c, percent := idle(b, pid, 30*time.Second)
	// Unix sockets of another mount namespace are reached through its root.
	client, err := api.NewClient(fmt.Sprintf("/proc/%d/root%s", pid, api.DefaultSocket))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	var down, up []time.Duration
	order := func(s *gwlab.SiteHost, disabled bool) time.Duration {
		begin := time.Now()
		if _, err := client.SetSite(context.Background(), s.Name, disabled, false); err != nil {
			b.Fatal(err)
		}
		at, err := p.wait(s.Net4, !disabled, begin, 10*time.Second)
		if err != nil {
			b.Fatal(err)
		}
		return at.Sub(begin)
	}
	const rounds = 30
	for range rounds {
		for _, s := range l.Sites {
			down = append(down, order(s, true))
			up = append(up, order(s, false))
		}
	}
	b.ReportMetric(quantile(down, 50), "ms-withdraw-p50")
	b.ReportMetric(quantile(down, 99), "ms-withdraw-p99")
	b.ReportMetric(quantile(down, 100), "ms-withdraw-max")
	b.ReportMetric(quantile(up, 50), "ms-announce-p50")
	b.ReportMetric(quantile(up, 99), "ms-announce-p99")
	b.ReportMetric(float64(len(down)), "trials")
	b.ReportMetric(c.rss, "MB-rss")
	b.ReportMetric(c.anon, "MB-anon")
	b.ReportMetric(percent, "%-cpu")
}

// quantile returns a percentile in milliseconds.
func quantile(d []time.Duration, percent int) float64 {
	s := slices.Sorted(slices.Values(d))
	return s[min(len(s)*percent/100, len(s)-1)].Seconds() * 1e3
}
