package main

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/simtest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

// discoveryLab is discovery with the real client against the emulator; time is
// the test's.
type discoveryLab struct {
	*discovery
	sim   *simtest.Sim
	names *world.Names
	core  *ha.Core
	facts []ha.Fact
	at    time.Time
	fresh bool // the next turn is the first one
	cfg   *configs.Config
}

func discoverConfig(dir string) *configs.Config {
	d := ha.Discovery{Entry: tgwconnect.Entry{Name: "aws", ASN: 65001}, Connect: tgwconnect.ConnectPeer{LocalASN: 65001}}
	return &configs.Config{
		Core:     &ha.Config{Gateway: ha.Gateway{Name: "gw", ASN: 65001, RouterID: netip.MustParseAddr("10.0.0.10")}, Discover: []ha.Discovery{d}, Ranks: ha.DefaultRanks()},
		StateDir: dir, AWS: configs.AWS{PollInterval: time.Minute},
	}
}

func newDiscoveryLab(t *testing.T) *discoveryLab {
	t.Helper()
	l := &discoveryLab{at: time.Now(), cfg: discoverConfig(t.TempDir())}
	// AWS keeps real time: the SDK signs with it.
	w, names := world.Example("us-east-1", time.Now, world.ExampleOptions{})
	l.names, l.sim = names, simtest.Start(t, w, tgwsim.Options{})
	l.sim.Setenv(t, names.Instances[0])
	l.restart()
	return l
}

// restart is a new daemon with the same state directory.
func (l *discoveryLab) restart() {
	l.facts, l.core = nil, ha.New(l.at, l.cfg.Core)
	d := &discovery{
		put: func(f ha.Fact) {
			in := newInbox()
			in.put(f, f) // the second takes the place of the first
			for _, f := range in.take() {
				l.facts = append(l.facts, f)
				l.core.Step(l.at, f)
			}
		},
		event:     func(slog.Level, api.Event) {},
		addresses: func() ([]netip.Addr, error) { return []netip.Addr{l.names.Addresses[0]}, nil },
		open: func(ctx context.Context, region string) (awsPeers, error) {
			return ec2api.New(ctx, ec2api.Options{Region: region, Backoff: func(int) time.Duration { return time.Millisecond }})
		},
	}
	d.begin(l.cfg, slog.New(slog.DiscardHandler), func() float64 { return 0.5 })
	l.discovery, l.fresh = d, true
}

// pass is one turn, and lets time pass until the next one.
func (l *discoveryLab) pass(t *testing.T) {
	l.at = l.at.Add(l.turn(t.Context(), l.at, l.fresh))
	l.fresh = false
}

// passes lets time pass.
func (l *discoveryLab) passes(t *testing.T, d time.Duration) {
	for end := l.at.Add(d); l.at.Before(end); {
		l.pass(t)
	}
}

func (l *discoveryLab) tunnels() (names []string) {
	for _, c := range l.core.Config().Connect {
		names = append(names, c.Name)
	}
	return names
}

// calls lets time pass and says when AWS was asked meanwhile.
func (l *discoveryLab) calls(t *testing.T, d time.Duration) (at []time.Time) {
	l.sim.ForgetCalls()
	for end := l.at.Add(d); l.at.Before(end); {
		was, before := l.at, len(l.sim.Calls("*"))
		l.pass(t)
		for range len(l.sim.Calls("*")) - before {
			at = append(at, was)
		}
	}
	return at
}

// atMostOneAMinute judges calls of an hour.
func (l *discoveryLab) atMostOneAMinute(t *testing.T, at []time.Time) {
	t.Helper()
	if n := len(at); n > 60 || n < 45 {
		t.Errorf("%d calls in an hour, want one a minute at most", n)
	}
	for i := 1; i < len(at); i++ {
		if d := at[i].Sub(at[i-1]); d < time.Minute {
			t.Errorf("two calls within %v", d)
		}
	}
}

func TestAnHourOfDiscoveryIsOneCallAMinute(t *testing.T) {
	l := newDiscoveryLab(t)
	l.pass(t)
	if len(l.tunnels()) != 1 || len(l.core.Config().Neighbors) != 2 {
		t.Fatalf("tunnels %v after the first answer, want one with two sessions", l.tunnels())
	}
	l.passes(t, 3*time.Minute)
	l.atMostOneAMinute(t, l.calls(t, time.Hour))
	if len(l.facts) != 1 {
		t.Errorf("%d facts, want the first only", len(l.facts))
	}
}

func TestLastAnswerOutlivesOutageAndRestart(t *testing.T) {
	l := newDiscoveryLab(t)
	l.pass(t)
	want := l.tunnels()
	for _, f := range []tgwsim.Faults{
		{Plan: []tgwsim.Fault{{Kind: tgwsim.Fail, Code: "RequestLimitExceeded", Status: 503}}},
		{Plan: []tgwsim.Fault{{Kind: tgwsim.CutBefore}}},
		{Credentials: "ExpiredToken"},
	} {
		l.sim.SetFaults(f)
		l.passes(t, 3*time.Minute)
		if got := l.tunnels(); len(got) != 1 || got[0] != want[0] || l.failure() == "" {
			t.Errorf("%+v: tunnels %v, failure %q", f, got, l.failure())
		}
	}
	l.restart()
	if got := l.tunnels(); len(got) != 1 || got[0] != want[0] {
		t.Errorf("tunnels %v after a restart without AWS, want %v", got, want)
	}
	l.sim.SetFaults(tgwsim.Faults{})
	l.pass(t)
	if got := l.tunnels(); l.failure() != "" || len(got) != 1 || got[0] != want[0] {
		t.Errorf("tunnels %v, failure %q after the outage", got, l.failure())
	}
}

func TestAReplacedPeerIsFollowed(t *testing.T) {
	l := newDiscoveryLab(t)
	l.pass(t)
	was := l.tunnels()[0]
	w := l.sim.World()
	if err := w.DeleteConnectPeer(l.names.Peers[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := w.CreateConnectPeer(world.NewConnectPeer{
		AttachmentID: l.names.Connect, PeerAddress: l.names.Addresses[0], Inside: []netip.Prefix{netip.MustParsePrefix("169.254.101.0/29")}, ASN: 65001,
	}); err != nil {
		t.Fatal(err)
	}
	l.passes(t, 5*time.Minute)
	if got := l.tunnels(); len(got) != 1 || got[0] == was {
		t.Errorf("tunnels %v, want another than %s", got, was)
	}
}
