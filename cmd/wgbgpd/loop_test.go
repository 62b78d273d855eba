package main

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
)

// handed is an edge that notes when it was handed which plan.
type handed struct {
	began time.Time
	at    []time.Duration
	plans []*ha.Plan
}

func (h *handed) offer(p *ha.Plan) {
	h.at = append(h.at, time.Since(h.began))
	h.plans = append(h.plans, p)
}

// routersConfig has two plain neighbors that tell each other what they have.
func routersConfig() *ha.Config {
	cfg := &ha.Config{
		Gateway: ha.Gateway{Name: "gw", ASN: 65010, CoalesceDelay: 10 * time.Millisecond, EndOfRIBWait: time.Hour, Linger: 3 * time.Second},
		FIB:     ha.FIB{Table: 1186, Protocol: 186, Metric: 100, SinkMetric: 65535, MaxECMP: 8},
		Ranks:   ha.DefaultRanks(),
	}
	for _, n := range []string{"east", "west"} {
		cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{Name: n, Kind: bgp.KindRouter, Group: n, Device: "eth0", IPv4: true, Export: true})
	}
	return cfg
}

// runLoop runs a loop in a bubble of synctest until the test's body ends.
func runLoop(t *testing.T, body func(t *testing.T, l *loop, h *handed)) {
	synctest.Test(t, func(t *testing.T) {
		h := &handed{began: time.Now()}
		log := slog.New(slog.DiscardHandler)
		l := &loop{
			log: log, inbox: newInbox(), asks: make(chan func(time.Time)), edges: []applier{h}, beat: func() {},
			events: &journal{log: log, out: api.NewEventLog(64)}, core: ha.New(time.Now(), routersConfig()),
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = l.run(ctx) }()
		synctest.Wait()
		body(t, l, h)
		stop()
		<-done
	})
}

func session(name string, state bgp.SessionState) ha.Fact {
	return ha.NeighborObserved{NeighborState: bgp.NeighborState{Name: name, State: state}}
}

func learned(prefix string) ha.Fact {
	return ha.PathsChanged{Changes: []bgp.PathChange{{Path: bgp.Path{
		Prefix: netip.MustParsePrefix(prefix), Neighbor: "east", NextHop: netip.MustParseAddr("192.0.2.1"),
		Attrs: &bgp.Attrs{ASPath: []bgp.ASN{64999}, LocalPref: 100},
	}}}}
}

func TestFirstPlanIsHandedOutAtOnce(t *testing.T) {
	runLoop(t, func(t *testing.T, _ *loop, h *handed) {
		if len(h.plans) != 1 || h.at[0] != 0 {
			t.Errorf("got %d plans at %v, want one at once", len(h.plans), h.at)
		}
	})
}

func TestGoodNewsWaitsForCompany(t *testing.T) {
	runLoop(t, func(t *testing.T, l *loop, h *handed) {
		l.inbox.put(session("east", bgp.StateEstablished), session("west", bgp.StateEstablished))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		h.at, h.plans, h.began = nil, nil, time.Now()
		for _, p := range []string{"10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16"} {
			l.inbox.put(learned(p))
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if !slices.Equal(h.at, []time.Duration{10 * time.Millisecond}) {
			t.Fatalf("plans at %v, want a single one 10ms after the first news", h.at)
		}
		if n := len(h.plans[0].FIB.Routes); n != 4 {
			t.Errorf("got %d routes, want all 4 in one plan", n)
		}
	})
}

func TestFailureIsPlannedForAtOnce(t *testing.T) {
	runLoop(t, func(t *testing.T, l *loop, h *handed) {
		l.inbox.put(session("east", bgp.StateEstablished), learned("10.1.0.0/16"))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		h.at, h.plans, h.began = nil, nil, time.Now()
		l.inbox.put(learned("10.2.0.0/16"))
		time.Sleep(time.Millisecond)
		synctest.Wait()
		l.inbox.put(session("east", bgp.StateIdle))
		synctest.Wait()
		if !slices.Equal(h.at, []time.Duration{time.Millisecond}) {
			t.Errorf("plans at %v, want one at the moment of the loss, which takes the waiting news along", h.at)
		}
	})
}

func TestFactsThatChangeNothingMakeNoPlan(t *testing.T) {
	runLoop(t, func(t *testing.T, l *loop, h *handed) {
		l.inbox.put(session("east", bgp.StateEstablished))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		n := len(h.plans)
		for range 50 {
			l.inbox.put(session("east", bgp.StateEstablished))
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if len(h.plans) != n {
			t.Errorf("got %d plans out of 50 facts that change nothing, want none", len(h.plans)-n)
		}
	})
}

func TestWatchdogSeesAnIdleLoopTurn(t *testing.T) {
	beats := 0
	runLoop(t, func(t *testing.T, l *loop, _ *handed) {
		_ = l.ask(t.Context(), func(time.Time) { l.beat = func() { beats++ } })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		_ = l.ask(t.Context(), func(time.Time) { l.beat = func() {} })
	})
	if beats < 9 {
		t.Errorf("got %d beats in 10 s, want one a second", beats)
	}
}

func TestAskEndsWithItsCaller(t *testing.T) {
	l := &loop{asks: make(chan func(time.Time))} // nobody runs it
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := l.ask(ctx, func(time.Time) {}); err == nil {
		t.Error("got no error, want the caller's")
	}
}

func TestLeavingLowersPreferenceThenWithdraws(t *testing.T) {
	for _, tt := range []struct {
		name  string
		hurry bool
		want  time.Duration
		phase ha.DrainPhase
	}{
		{"in order", false, 6 * time.Second, ha.DrainWithdraw},
		{"a second signal", true, time.Second, ha.DrainPrefer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runLoop(t, func(t *testing.T, l *loop, _ *handed) {
				began, again := time.Now(), make(chan os.Signal, 1)
				var phases []ha.DrainPhase
				look := func() { _ = l.ask(t.Context(), func(time.Time) { phases = append(phases, l.core.Drain()) }) }
				go func() {
					time.Sleep(time.Second)
					synctest.Wait()
					look()
					if tt.hurry {
						again <- syscall.SIGTERM
						return
					}
					time.Sleep(3 * time.Second)
					synctest.Wait()
					look()
				}()
				l.leave(t.Context(), again)
				took := time.Since(began)
				synctest.Wait()
				if took != tt.want {
					t.Errorf("took %s, want %s", took, tt.want)
				}
				if len(phases) == 0 || phases[0] != ha.DrainPrefer || phases[len(phases)-1] != tt.phase {
					t.Errorf("phases: got %v, want first %v and last %v", phases, ha.DrainPrefer, tt.phase)
				}
			})
		})
	}
}
