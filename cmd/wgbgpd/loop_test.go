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
	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/healthz"
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
	runLoopOf(t, routersConfig(), body)
}

func runLoopOf(t *testing.T, cfg *ha.Config, body func(t *testing.T, l *loop, h *handed)) {
	synctest.Test(t, func(t *testing.T) {
		h := &handed{began: time.Now()}
		log := slog.New(slog.DiscardHandler)
		l := &loop{
			log: log, inbox: newInbox(), asks: make(chan func(time.Time)), edges: []applier{h}, beat: func() {},
			events: &journal{log: log, out: api.NewEventLog(64)}, core: ha.New(time.Now(), cfg),
			board: healthz.NewBoard(), losses: newLosses(nil, log),
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

// quiet lets the loop come to rest with both sessions up and forgets its plans.
func (h *handed) quiet(l *loop) {
	l.inbox.put(session("east", bgp.StateEstablished), session("west", bgp.StateEstablished))
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	h.at, h.plans, h.began = nil, nil, time.Now()
}

func TestNewsThatComesAloneIsPlannedForAtOnce(t *testing.T) {
	runLoop(t, func(t *testing.T, l *loop, h *handed) {
		h.quiet(l)
		var want []time.Duration
		for i, p := range []string{"10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"} {
			l.inbox.put(learned(p))
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			want = append(want, time.Duration(i)*10*time.Millisecond)
		}
		if !slices.Equal(h.at, want) {
			t.Errorf("plans at %v, want %v", h.at, want)
		}
	})
}

func TestGoodNewsWaitsForCompany(t *testing.T) {
	runLoop(t, func(t *testing.T, l *loop, h *handed) {
		h.quiet(l)
		for _, p := range []string{"10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16"} {
			l.inbox.put(learned(p))
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if !slices.Equal(h.at, []time.Duration{0, 10 * time.Millisecond}) {
			t.Fatalf("plans at %v, want one for the first news and a single one 10ms later for what followed", h.at)
		}
		if n := len(h.plans[1].FIB.Routes); n != 4 {
			t.Errorf("got %d routes, want all 4 in that plan", n)
		}
	})
}

func TestBurstOfNewsIsOnePlanEachCoalesceTime(t *testing.T) {
	runLoop(t, func(t *testing.T, l *loop, h *handed) {
		h.quiet(l)
		for i := range 1000 { // over a tenth of a second
			l.inbox.put(learned(netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24).String()))
			time.Sleep(100 * time.Microsecond)
			synctest.Wait()
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if len(h.plans) != 11 {
			t.Errorf("got %d plans at %v, want 11: one at once, then one each 10ms", len(h.plans), h.at)
		}
		if n := len(h.plans[len(h.plans)-1].FIB.Routes); n != 1000 {
			t.Errorf("got %d routes in the last plan, want 1000", n)
		}
	})
}

func TestAnswerOfAnEdgeDoesNotWait(t *testing.T) {
	runLoop(t, func(t *testing.T, l *loop, h *handed) {
		h.quiet(l)
		l.inbox.put(learned("10.1.0.0/16"))
		time.Sleep(time.Millisecond)
		synctest.Wait()
		p := h.plans[0]
		l.inbox.put(ha.RoutesApplied{Plan: p, RoutesApplied: bgp.RoutesApplied{Gen: p.Gen}})
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if !slices.Equal(h.at, []time.Duration{0, time.Millisecond}) || len(h.plans[1].Announcements) != 1 {
			t.Errorf("plans at %v, want the announcement in one at the moment of the answer", h.at)
		}
	})
}

func TestAnswerThatNobodyWaitsForIsNoHurry(t *testing.T) {
	runLoop(t, func(t *testing.T, l *loop, h *handed) {
		answer := func() {
			p := h.plans[len(h.plans)-1]
			l.inbox.put(ha.RoutesApplied{Plan: p, RoutesApplied: bgp.RoutesApplied{Gen: p.Gen}}, ha.AnnounceApplied{Plan: p, AnnounceApplied: bgp.AnnounceApplied{Gen: p.Gen}})
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		h.quiet(l)
		l.inbox.put(learned("10.1.0.0/16"))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		answer()
		answer()
		h.at, h.began = nil, time.Now()
		gone := learned("10.1.0.0/16").(ha.PathsChanged)
		gone.Changes[0].Withdrawn = true
		l.inbox.put(gone)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		p := h.plans[len(h.plans)-1]
		l.inbox.put(ha.AnnounceApplied{Plan: p, AnnounceApplied: bgp.AnnounceApplied{Gen: p.Gen}})
		time.Sleep(5 * time.Second) // beyond the linger
		synctest.Wait()
		if len(h.at) < 2 || h.at[0] != 0 || h.at[1] < 10*time.Millisecond {
			t.Errorf("plans at %v, want the withdrawal at once and nothing else within 10ms", h.at)
		}
	})
}

func TestCostlyPlansAreSpread(t *testing.T) {
	const coalesce = 10 * time.Millisecond
	p, last := pace{}, time.Now()
	p.planned(last.Add(-40*time.Millisecond), last)
	for _, tt := range []struct {
		news, want time.Duration // after the plan
		why        string
	}{
		{0, 10 * time.Millisecond, "unless more comes"},
		{35 * time.Millisecond, 45 * time.Millisecond, "unless more comes"},
		{75 * time.Millisecond, 80 * time.Millisecond, "whatever comes: plans take a third of the time"},
		{time.Second, time.Second, "since the last plan is long ago"},
	} {
		if got := p.news(last.Add(tt.news), coalesce).Sub(last); got != tt.want {
			t.Errorf("a plan took 40ms, news %s later is planned for after %s, want %s, %s", tt.news, got, tt.want, tt.why)
		}
	}
	if got := p.answer(last).Sub(last); got != 40*time.Millisecond {
		t.Errorf("after a plan of 40ms an answer waits %s, want 40ms", got)
	}
}

func TestFailureIsPlannedForAtOnce(t *testing.T) {
	runLoop(t, func(t *testing.T, l *loop, h *handed) {
		l.inbox.put(session("east", bgp.StateEstablished), learned("10.1.0.0/16"))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		h.at, h.plans, h.began = nil, nil, time.Now()
		l.inbox.put(learned("10.2.0.0/16")) // alone: at once
		time.Sleep(time.Millisecond)
		synctest.Wait()
		l.inbox.put(learned("10.3.0.0/16"))
		time.Sleep(time.Millisecond)
		synctest.Wait()
		l.inbox.put(session("east", bgp.StateIdle))
		synctest.Wait()
		if !slices.Equal(h.at, []time.Duration{0, 2 * time.Millisecond}) {
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

func TestLeavingFailsTheHealthCheckFirst(t *testing.T) {
	runLoop(t, func(t *testing.T, l *loop, h *handed) {
		_ = l.ask(t.Context(), func(time.Time) {
			l.config = &configs.Config{Health: configs.Health{DrainWait: 25 * time.Second}}
		})
		began, plans := time.Now(), len(h.plans)
		go func() {
			time.Sleep(24 * time.Second)
			synctest.Wait()
			_ = l.ask(t.Context(), func(time.Time) {
				if l.core.Drain() != ha.DrainHealth || len(h.plans) > plans+1 {
					t.Errorf("after 24 s: phase %v and %d plans, want everything as before", l.core.Drain(), len(h.plans)-plans)
				}
			})
			if v := l.board.Get(); v.Forwarding || v.Reasons[0] != "draining" {
				t.Errorf("after 24 s: got %+v, want draining", v)
			}
		}()
		(&drainer{loop: l}).leave(t.Context(), nil)
		if took := time.Since(began); took != 31*time.Second {
			t.Errorf("took %s, want 25 s and twice the linger of 3 s", took)
		}
	})
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
				(&drainer{loop: l}).leave(t.Context(), again)
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
