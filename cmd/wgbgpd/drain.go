package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/tgwconnect/front"
)

// drainer takes this host out of the paths of others and, after maintenance, back
// in. The daemon's own end goes the same way (see leave).
//
// First those who check the host's health are told, while everything goes on;
// then it is announced as the last choice so that traffic moves; when that has
// moved, or has been waited for long enough, everything is withdrawn; then a
// moment passes for what is still under way. Routes and tunnels stay. The order
// is the one that a load balancer needs: a target that is withdrawn or
// deregistered while it is healthy keeps its flows (facts/aws.md 3.6). It is
// deregistered last, when nothing can come to it any more.
type drainer struct {
	loop    *loop
	file    string                      // where an order is kept over a restart
	packets func(*ha.Plan) (n, c int64) // packets in, and how many of them a second are our own conversation
	front   *front.Runner               // target groups and records, nil: none

	orders sync.Mutex // one order at a time
	mu     sync.Mutex // guards the rest
	order  *api.Drain // nil: none
	cancel context.CancelFunc
	done   chan struct{} // of the steps under way
}

// quietFor is how long no more than control traffic must have come in.
const quietFor = 2 * time.Second

// stopMargin is for what ends after leaving: the edges, the log.
const stopMargin = 10 * time.Second

// leave is the end of the daemon: it goes all the way, unless an operator's drain
// already has. A second signal cuts it short.
func (d *drainer) leave(ctx context.Context, hurry <-chan os.Signal) {
	d.last(ctx, hurry, func(ctx context.Context) { d.steps(ctx, nil) })
}

// handOver is the end of a daemon that another process follows at once. Where the
// kernel has the tunnels, forwarding goes on and neighbors with graceful restart
// keep what they know; those without lose it in any case, so they are withdrawn
// from, after another host of the fleet has taken over. Where there is none, the
// sooner it is over the better. Embedded tunnels end with the process, which is
// an end like any other. It reports whether a signal cut it short: then nobody
// follows.
func (d *drainer) handOver(ctx context.Context, hurry <-chan os.Signal) (hurried bool) {
	return d.last(ctx, hurry, func(ctx context.Context) {
		forwards, partner := false, ""
		if d.loop.ask(ctx, func(time.Time) {
			forwards, partner = d.loop.core.Persists(), d.loop.core.RestartCost().Partner
		}) != nil {
			return
		}
		switch {
		case !forwards:
			d.steps(ctx, nil)
		case partner != "":
			d.stepsTo(ctx, ha.DrainHandOver, nil)
		}
	})
}

// last goes through the last steps of the daemon and reports whether a signal cut
// them short.
func (d *drainer) last(ctx context.Context, hurry <-chan os.Signal, steps func(context.Context)) (hurried bool) {
	d.mu.Lock()
	cancel, done := d.cancel, d.done
	d.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// systemd waits as long as leaving may take, whatever TimeoutStopSec= says.
	_, _ = daemon.SdNotify(false, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (d.atMost(ctx)+stopMargin).Microseconds()))
	end, short := make(chan struct{}), make(chan bool, 1)
	go func() {
		select {
		case <-hurry:
			stop()
			short <- true
		case <-end:
			short <- false
		}
	}()
	steps(ctx)
	close(end)
	return <-short
}

// deregisterWithin is how long deregistering may take at least; else the drain-wait
// bounds it. It is one or two requests.
const deregisterWithin = 3 * time.Second

// atMost is how long leaving takes if every wait takes as long as it may.
func (d *drainer) atMost(ctx context.Context) (total time.Duration) {
	_ = d.loop.ask(ctx, func(time.Time) {
		g := d.loop.core.Config().Gateway
		total = max(g.Linger, g.DrainLimit) + g.Linger
		if d.loop.config != nil {
			notice := d.loop.config.Health.DrainWait
			total += notice + max(notice, deregisterWithin)
		}
	})
	return total
}

// steps goes through the phases that are still to come; on is told of each.
func (d *drainer) steps(ctx context.Context, on func(ha.DrainPhase)) {
	d.stepsTo(ctx, ha.DrainWithdraw, on)
}

// stepsTo ends with another phase. Who checks the health of a host that hands over
// need not know: it goes on forwarding.
func (d *drainer) stepsTo(ctx context.Context, last ha.DrainPhase, on func(ha.DrainPhase)) {
	var linger, notice, limit time.Duration
	var at ha.DrainPhase
	var plan *ha.Plan
	partner := false
	if d.loop.ask(ctx, func(time.Time) {
		g := d.loop.core.Config().Gateway
		linger, limit, at, plan = g.Linger, g.DrainLimit, d.loop.core.Drain(), d.loop.plan
		if d.loop.config != nil {
			notice = d.loop.config.Health.DrainWait
		}
		d.loop.core.Sessions(func(n *bgp.Neighbor, st bgp.NeighborState) {
			here := n.Region == "" || n.Region == g.Region // traffic can not move to another region before this one withdraws
			partner = partner || n.Kind == bgp.KindFleet && here && st.State == bgp.StateEstablished
		})
	}) != nil {
		return
	}
	step := func(phase ha.DrainPhase, what string, pass time.Duration, early func() bool) bool {
		if at >= phase {
			return ctx.Err() == nil
		}
		d.loop.events.system("draining", what)
		d.loop.inbox.put(ha.Draining{Phase: phase})
		if on != nil {
			on(phase)
		}
		await(ctx, pass, early)
		return ctx.Err() == nil
	}
	if notice > 0 && last >= ha.DrainWithdraw && !step(ha.DrainHealth, "health check fails", notice, d.noticed) {
		return // else the next step fails the check too
	}
	if !step(ha.DrainPrefer, "preference lowered", linger, nil) {
		return
	}
	// Alone there is nobody the traffic could move to.
	if at < last && partner && limit > linger && d.packets != nil {
		d.quiet(ctx, plan, limit-linger)
	}
	if last == ha.DrainHandOver {
		step(last, "handing over", linger, nil)
		return
	}
	if !step(ha.DrainWithdraw, "withdrawing", linger, nil) || d.front == nil || !d.front.Used() {
		return
	}
	if step(ha.DrainLeft, "out of load balancers and DNS", max(notice, deregisterWithin), d.front.Left) && !d.front.Left() {
		d.loop.events.system("draining", "AWS has not confirmed in time: "+d.front.State().Err)
	}
}

// noticed reports whether whoever sends clients here has noticed that this host leaves.
func (d *drainer) noticed() bool { return d.front != nil && d.front.Noticed(time.Now()) }

// await passes time, unless ctx ends first or early becomes true.
func await(ctx context.Context, d time.Duration, early func() bool) {
	const look = 200 * time.Millisecond
	end := time.Now().Add(d)
	for early != nil && time.Until(end) > 0 && ctx.Err() == nil {
		if early() {
			return
		}
		wait(ctx, min(look, time.Until(end)))
	}
	wait(ctx, time.Until(end))
}

// quiet waits until hardly anything comes in any more, at most limit.
func (d *drainer) quiet(ctx context.Context, plan *ha.Plan, limit time.Duration) {
	end, calm := time.Now().Add(limit), time.Time{}
	last, _ := d.packets(plan)
	for at := time.Now(); at.Before(end); {
		wait(ctx, 500*time.Millisecond)
		now := time.Now()
		n, own := d.packets(plan)
		if ctx.Err() != nil {
			return
		}
		switch busy := float64(n-last) > float64(own)*now.Sub(at).Seconds(); {
		case busy:
			calm = time.Time{}
		case calm.IsZero():
			calm = at
		}
		if !calm.IsZero() && now.Sub(calm) >= quietFor {
			d.loop.events.system("draining", "traffic has left")
			return
		}
		last, at = n, now
	}
	d.loop.events.system("draining", "traffic has not left in time")
}

// Drain begins an operator's drain. It returns at once.
func (d *drainer) Drain(o api.Drain) error {
	d.orders.Lock()
	defer d.orders.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.order != nil {
		return api.Refused("draining already: %s", d.order.Phase).WithHint("wgbgp undrain")
	}
	o.Phase = "begins"
	if err := d.save(&o); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	d.order, d.cancel, d.done = &o, cancel, done
	go func() {
		defer close(done)
		d.steps(ctx, func(p ha.DrainPhase) { d.set(ctx, p.String()) })
		d.set(ctx, "drained")
	}()
	return nil
}

// set notes how far the drain has come, unless it was called off.
func (d *drainer) set(ctx context.Context, phase string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() == nil && d.order != nil {
		d.order.Phase = phase
	}
}

// Undrain ends a drain: what was withdrawn is announced again.
func (d *drainer) Undrain() error {
	d.orders.Lock()
	defer d.orders.Unlock()
	d.mu.Lock()
	cancel, done := d.cancel, d.done
	d.mu.Unlock()
	if cancel == nil {
		return api.Refused("not draining")
	}
	if err := os.Remove(d.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return api.Errorf(api.CodeFailed, "%s: %v", d.file, err)
	}
	cancel()
	<-done
	d.mu.Lock()
	d.order, d.cancel, d.done = nil, nil, nil
	d.mu.Unlock()
	d.loop.inbox.put(ha.Draining{Phase: ha.DrainNone})
	d.loop.events.system("undrain", "")
	return nil
}

// state is the order in force.
func (d *drainer) state() *api.Drain {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.order == nil {
		return nil
	}
	o := *d.order
	return &o
}

// save keeps an order over a restart, if that was asked for.
func (d *drainer) save(o *api.Drain) error {
	if !o.Keep {
		return nil
	}
	if err := writeJSON(d.file, o); err != nil {
		return api.Errorf(api.CodeFailed, "keep the drain over a restart: %v", err)
	}
	return nil
}

// resume goes on with an order that was kept: nothing is announced until an
// operator says undrain. It must be called before the loop runs.
func (d *drainer) resume() error {
	b, err := os.ReadFile(d.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var o api.Drain
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil {
		// When in doubt the operator wanted this host out of the way.
		o = api.Drain{Reason: "the kept order can not be read: " + err.Error()}
	}
	o.Phase, o.Keep = "drained", true
	d.order, d.cancel, d.done = &o, func() {}, make(chan struct{})
	close(d.done)
	d.loop.core.Step(time.Now(), ha.Draining{Phase: ha.DrainLeft})
	return err
}
