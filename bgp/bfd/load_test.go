package bfd

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// A process that gets no CPU reads late. It must judge by when packets arrived.
func TestStalledEngineDeclaresNobodyDead(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	b := nstest.New(t, "b")
	nstest.Veth(t, nil, "v0", []string{"10.0.0.1/24", "10.0.0.3/24"}, b, "v0", []string{"10.0.0.2/24", "10.0.0.4/24"})
	far := watch(t, b.Host())
	near := &watched{last: map[string]bgp.BFDState{}, why: map[bgp.BFDDiag]int{}}
	stall := make(chan time.Duration, 1)
	near.Engine = New(Options{OnState: func(s bgp.BFDState) {
		near.on(s)
		select {
		case d := <-stall:
			time.Sleep(d) // the engine's goroutine stands still, as it would without a CPU
		default:
		}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- near.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	// Near must be slow to be missed, and quick to miss.
	want := []bgp.BFDSession{session1("a", "10.0.0.1", "10.0.0.2", "v0"), session1("b", "10.0.0.3", "10.0.0.4", "v0")}
	want[0].Multiplier, want[1].Multiplier = 100, 100
	near.Set(1, want)
	far.Set(1, []bgp.BFDSession{session1("a", "10.0.0.2", "10.0.0.1", "v0"), session1("b", "10.0.0.4", "10.0.0.3", "v0")})
	for _, name := range []string{"a", "b"} {
		near.becomes(t, name, func(s bgp.BFDState) bool { return s.State == bgp.BFDUp && s.DetectTime == 300*ms })
	}
	for i := range 5 {
		stall <- time.Second
		want[0].Interval += 10 * ms // something to report
		near.Set(uint64(i+2), want)
		near.becomes(t, "a", func(s bgp.BFDState) bool { return s.RemoteInterval == want[0].Interval })
	}
	if near.get("a").Flaps+near.get("b").Flaps != 0 || near.Stats().Late == 0 {
		t.Errorf("flaps %d and %d; %d sessions saved by what had arrived", near.get("a").Flaps, near.get("b").Flaps, near.Stats().Late)
	}
	// And what really is silent is still noticed.
	cut(t, b)
	b.Run(t, "ip", "addr", "del", "10.0.0.2/24", "dev", "v0")
	far.Set(2, nil)
	near.is(t, "b", bgp.BFDDown)
}

// One core is kept busy by others, for as long as WGBGP_BFD_LOAD says: the whole
// proof is WGBGP_BFD_LOAD=10m go test -timeout 15m -run BusyMachine -v ./bgp/bfd. The far end is an engine too: BIRD and FRR
// judge by when they read, so on a busy machine they would find us guilty of
// their own delay.
func TestManySessionsOnABusyMachine(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	hurry(t)
	n := 1000
	if race {
		n = 100 // every access to memory costs ten times as much
	}
	here, there, b := many(t, n)
	near, far := watch(t, nil), watch(t, b)
	near.Set(1, here)
	far.Set(1, there)
	steady(t, near, len(here))
	steady(t, far, len(here))
	span, err := time.ParseDuration(cmp.Or(os.Getenv("WGBGP_BFD_LOAD"), "15s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), span)
	defer cancel()
	var burn sync.WaitGroup
	for range max(runtime.NumCPU()-1, 1) {
		burn.Go(func() { _ = exec.CommandContext(ctx, "sh", "-c", "while :; do :; done").Run() })
	}
	burn.Wait()
	t.Logf("figure: %d sessions at 300 ms x 3, one core busy with others for %s: %d and %d failed; %+v", n, span, flaps(near), flaps(far), near.Stats())
	for _, w := range []*watched{near, far} {
		if n := flaps(w); n > 0 {
			t.Errorf("%d sessions failed while the machine was busy: %v; stats %+v", n, w.diags(), w.Stats())
		}
	}
}

// hurry gives the process the priority that its unit gives it (configs/systemd:
// Nice=-10).
func hurry(t *testing.T) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if tid, err := strconv.Atoi(task.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, -10) // without the right to it: as it is
		}
	}
}
