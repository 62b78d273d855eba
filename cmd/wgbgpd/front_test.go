package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/healthz"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
	"github.com/wgbgp/wgbgp/tgwconnect/front"
)

// balancer is a load balancer with this host as its target. It asks for the host's
// health as slowly as a real one, and notes what it is told and when.
type balancer struct {
	front.API
	healthy func() bool
	notices time.Duration // after the health check has begun to fail
	fails   error         // of DeregisterTargets

	mu   sync.Mutex
	bad  time.Time
	gone []time.Time // DeregisterTargets
}

func (b *balancer) DescribeTargetHealth(context.Context, string) ([]tgwconnect.TargetHealth, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := tgwconnect.TargetHealth{ID: "i-1", Port: 51820, State: "healthy"}
	if b.healthy() {
		b.bad = time.Time{}
	} else if b.bad.IsZero() {
		b.bad = time.Now()
	}
	if !b.bad.IsZero() && time.Since(b.bad) >= b.notices {
		x.State = "unhealthy"
	}
	return []tgwconnect.TargetHealth{x}, nil
}

func (b *balancer) DeregisterTargets(context.Context, string, string, int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = append(b.gone, time.Now())
	return b.fails
}

func TestLeavingGoesThroughTheLoadBalancer(t *testing.T) {
	throttled := errors.New("DeregisterTargets: Throttling")
	for _, tt := range []struct {
		name      string
		notices   time.Duration
		fails     error
		least     time.Duration // of the whole
		most      time.Duration
		confirmed bool
	}{
		// Twice the linger of 3 s comes on top of what the load balancer takes; AWS is
		// asked every 2 s, and this host looked at every second.
		{"noticed early: the wait ends", 10 * time.Second, nil, 16 * time.Second, 20 * time.Second, true},
		{"never noticed: the wait is bounded", time.Hour, nil, 31 * time.Second, 33 * time.Second, true},
		{"deregistering fails: that is bounded too", 10 * time.Second, throttled, 16*time.Second + 25*time.Second, 20*time.Second + 25*time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runLoop(t, func(t *testing.T, l *loop, _ *handed) {
				_ = l.ask(t.Context(), func(time.Time) {
					l.config = &configs.Config{Health: configs.Health{DrainWait: 25 * time.Second}}
				})
				phase := func() (p ha.DrainPhase) {
					_ = l.ask(t.Context(), func(time.Time) { p = l.core.Drain() })
					return p
				}
				b := &balancer{notices: tt.notices, fails: tt.fails, healthy: func() bool { return phase() == ha.DrainNone }}
				leave := tgwconnect.Staying
				var mu sync.Mutex
				r := front.New(front.Options{API: b, Rand: rand.New(rand.NewPCG(1, 1)), Presence: func() tgwconnect.Presence {
					mu.Lock()
					defer mu.Unlock()
					return tgwconnect.Presence{Leave: leave}
				}})
				_ = l.ask(t.Context(), func(time.Time) {
					l.leaves = func(x tgwconnect.Leave) {
						mu.Lock()
						defer mu.Unlock()
						leave = x
					}
				})
				r.SetRules(front.Rules{Targets: []tgwconnect.TargetRule{{Name: "wg", Group: "arn", ID: "i-1", Port: 51820, Deregister: true}}})
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				go func() { _ = r.Run(ctx) }()
				time.Sleep(time.Minute)

				began := time.Now()
				(&drainer{loop: l, front: r}).leave(t.Context(), nil)
				took := time.Since(began)
				synctest.Wait()
				if took < tt.least || took > tt.most {
					t.Errorf("took %s, want %s to %s", took, tt.least, tt.most)
				}
				if p := phase(); p != ha.DrainLeft {
					t.Errorf("ends in phase %q, want %q", p, ha.DrainLeft)
				}
				if len(b.gone) == 0 {
					t.Fatal("was not deregistered")
				}
				// Health check, preference, withdrawal: each has had its time before.
				if early := b.gone[0].Sub(began); early < min(tt.notices, 25*time.Second)+6*time.Second {
					t.Errorf("deregistered %s after the beginning, before everything was withdrawn", early)
				}
				if r.Left() != tt.confirmed {
					t.Errorf("left: got %t, want %t", r.Left(), tt.confirmed)
				}
			})
		})
	}
}

// systemd must not kill a daemon that leaves as slowly as it was told to.
func TestLeavingAsksSystemdForTime(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	t.Setenv("NOTIFY_SOCKET", name)
	runLoop(t, func(t *testing.T, l *loop, _ *handed) {
		_ = l.ask(t.Context(), func(time.Time) {
			l.config = &configs.Config{Health: configs.Health{DrainWait: 5 * time.Minute}}
		})
		began := time.Now()
		(&drainer{loop: l}).leave(t.Context(), nil)
		took := time.Since(began)
		b := make([]byte, 256)
		if err := c.SetReadDeadline(time.Now().Add(24 * time.Hour)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		text, ok := strings.CutPrefix(string(b[:n]), "EXTEND_TIMEOUT_USEC=")
		usec, err := strconv.ParseInt(text, 10, 64)
		if asked := time.Duration(usec) * time.Microsecond; !ok || err != nil || asked <= took || asked > 20*time.Minute {
			t.Errorf("got %q (%s) for a leave of %s", b[:n], asked, took)
		}
	})
}

func TestEntranceTellsOfAnErrorOnce(t *testing.T) {
	var got []string
	e := newEntrance(&configs.Config{}, healthz.NewBoard(), func(_ slog.Level, x api.Event) { got = append(got, x.Reason) }, &ec2api.Counters{}, slog.New(slog.DiscardHandler))
	a := front.Action{Target: &tgwconnect.TargetAction{Verb: tgwconnect.TargetRegister}}
	slow := &ec2api.Error{Op: "RegisterTargets", Code: "Throttling"}
	for _, err := range []error{slow, slow, slow, errors.New("no answer"), slow, nil, nil} {
		e.acted(a, err)
	}
	if want := "throttled register throttled register register"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", strings.Join(got, " "), want)
	}
}
