package main

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
)

func testEdge(do func(context.Context, *ha.Plan, why) string) *edge {
	j := &journal{log: slog.New(slog.DiscardHandler), out: api.NewEventLog(16)}
	return &edge{name: "test", every: 30 * time.Second, do: do, report: j, kick: make(chan struct{}, 1)}
}

// Only an audit sees what others did to the system: plans that keep coming must
// not put it off.
func TestAuditIsDueHoweverOftenPlansChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		audits := 0
		e := testEdge(func(_ context.Context, _ *ha.Plan, w why) string {
			if w == audit {
				audits++
			}
			return ""
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = e.run(ctx) }()
		for gen := range uint64(30) { // five minutes
			e.offer(&ha.Plan{Gen: gen + 1})
			time.Sleep(10 * time.Second)
		}
		stop()
		<-done
		if audits < 8 || audits > 11 {
			t.Errorf("got %d audits in five minutes, want about 10", audits)
		}
	})
}

// What failed is tried again with growing pauses, and at once with a new plan.
func TestFailedAttemptIsRepeatedWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		began := time.Now()
		e := testEdge(func(context.Context, *ha.Plan, why) string {
			at = append(at, time.Since(began))
			if len(at) > 5 {
				return ""
			}
			return "no"
		})
		e.every = 0
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = e.run(ctx) }()
		e.offer(&ha.Plan{Gen: 1})
		time.Sleep(40 * time.Second)
		stop()
		<-done
		want := []time.Duration{0, 1, 3, 7, 15, 31}
		if len(at) < len(want) {
			t.Fatalf("got attempts at %v, want at %v seconds", at, want)
		}
		for i, w := range want {
			if at[i] != w*time.Second {
				t.Errorf("attempt %d: got at %v, want at %v", i, at[i], w*time.Second)
			}
		}
	})
}

func TestPollSlowsDownWithPeersWithinBounds(t *testing.T) {
	for peers, want := range map[int]time.Duration{0: time.Second, 2000: time.Second, 4000: 2 * time.Second, 10000: 5 * time.Second, 60000: 5 * time.Second} {
		if got := pollEvery(peers); got != want {
			t.Errorf("%d peers: every %s, want %s", peers, got, want)
		}
	}
}
