package failover

import (
	"os"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/node"
)

var programs struct{ daemon, cli string }

func TestMain(m *testing.M) {
	node.Main()
	os.Exit(gwlab.Main(func() int {
		programs.daemon, programs.cli = os.Getenv(gwlab.EnvDaemon), os.Getenv(gwlab.EnvCLI)
		return m.Run()
	}))
}

// start builds a lab that ends with the test.
func start(t *testing.T, s Subject) *Lab {
	t.Helper()
	if m := daemons.Missing(); len(m) > 0 {
		t.Skipf("needs %v", m)
	}
	l, err := Start(s, programs.daemon, programs.cli)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, g := range l.Gateways {
			if t.Failed() && g.Process != nil {
				t.Logf("%s, end of log:\n%s", g.Name, g.Process.Tail(60))
			}
		}
		if err := l.Close(false); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Three times each, with limits that a busy machine keeps too; the figures are
// those of labs/cmd/failover.
func TestTrafficLeavesADeadTunnelAndADeadHost(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := start(t, Ours)
	var cases []Case
	for _, f := range []Failure{SiteTunnel, Host} {
		c := Case{Failure: f, Subject: Ours}
		for range 3 {
			m, err := l.Measure(f)
			if err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			if m.Route > 5*time.Second || m.Traffic > 5*time.Second {
				t.Errorf("%s: old way gone at the Transit Gateway after %s, traffic back after %s, want both long before the hold time of 30 s", f, m.Route, m.Traffic)
			}
			if !m.Held {
				t.Errorf("%s: the Transit Gateway had noticed by itself: the test shows nothing", f)
			}
			c.Times = append(c.Times, m)
		}
		cases = append(cases, c)
	}
	if _, err := Table(t.Output(), cases); err != nil {
		t.Fatal(err)
	}
}

// What the takeover is good for, and that the comparison with FRR is one.
func TestWithoutTakeoverADeadHostCostsTheHoldTime(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	for _, s := range []Subject{NoTakeover, FRR} {
		t.Run(string(s), func(t *testing.T) {
			l := start(t, s)
			m, err := l.Measure(Host)
			if err != nil {
				t.Fatal(err)
			}
			if m.Route < 15*time.Second || m.Traffic < 15*time.Second {
				t.Errorf("old way gone after %s, traffic back after %s, want about 30 s", m.Route, m.Traffic)
			}
		})
	}
}

func TestTableJudgesOursAndSetsOthersBeside(t *testing.T) {
	ms := func(n ...int) (out []Times) {
		for _, v := range n {
			d := time.Duration(v) * time.Millisecond
			out = append(out, Times{Route: d, Traffic: d})
		}
		return out
	}
	for want, cases := range map[int][]Case{
		0: {{SiteTunnel, Ours, ms(400, 450, 700)}, {Host, Ours, ms(900)}, {Host, FRR, ms(30_000)}},
		1: {{SiteTunnel, Ours, ms(400, 450, 900)}, {Host, Ours, ms(900)}, {Host, FRR, ms(30_000)}},
		2: {{SiteTunnel, Ours, ms(600)}, {Host, Ours, ms(1100)}},
	} {
		missed, err := Table(t.Output(), cases)
		if err != nil || missed != want {
			t.Errorf("%+v: got %d missed, %v, want %d", cases, missed, err, want)
		}
	}
}
