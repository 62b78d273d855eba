package failover

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/router"
	"github.com/wgbgp/wgbgp/labs/traffic"
)

// Times are those of one failure, from the instant in which it was brought about.
type Times struct {
	// Route is when the Transit Gateway used the living way alone.
	Route time.Duration
	// Traffic is the longest time in which no packet of a flow arrived.
	Traffic time.Duration
	// Held says that the Transit Gateway still had the sessions of the first gateway
	// when it no longer used its routes.
	Held bool
}

const (
	recovery = 90 * time.Second // from a failure to a lab in order
	settled  = time.Second      // that it must have been in order
	patience = 45 * time.Second // for the hold time of 30 s
	rate     = 1000             // packets a second
	flows    = 16
)

// Measure waits until everything is in order, brings the failure about under
// traffic from the Transit Gateway's workload to the site's, measures, and ends
// the failure.
func (l *Lab) Measure(f Failure) (t Times, err error) {
	if err := l.inOrder(); err != nil {
		return t, fmt.Errorf("before the failure: %w", err)
	}
	stream, err := gwlab.Stream(l.VPCWorkload(), l.site.Workload(), rate, flows)
	if err != nil {
		return t, err
	}
	defer func() { stream.Stop(0) }()
	if err := l.flows(stream); err != nil {
		return t, fmt.Errorf("before the failure: %w", err)
	}
	at := time.Now()
	heal, err := l.cut(f)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, heal()) }()
	var moved router.Event
	if err := gwlab.Eventually(patience, func() error {
		events, err := l.TGWEvents()
		if err != nil {
			return err
		}
		e, ok := router.RouteChanged(events, at, l.site.Net4, l.other.Name)
		if !ok {
			return fmt.Errorf("the Transit Gateway goes on using %s", l.dying.Name)
		}
		moved, t.Held = e, held(events, at, l.dying.Name)
		return nil
	}); err != nil {
		return t, err
	}
	t.Route = moved.At.Sub(at)
	if err := l.flows(stream); err != nil {
		return t, err
	}
	for _, o := range stream.Report(at.Add(-100*time.Millisecond), time.Time{}).Outages {
		if o.Ended {
			t.Traffic = max(t.Traffic, o.Gap)
		}
	}
	return t, nil
}

// inOrder waits until the lab has been in order for a while.
func (l *Lab) inOrder() error {
	var since time.Time
	return gwlab.Eventually(recovery, func() error {
		if err := l.healthy(); err != nil {
			since = time.Time{}
			return err
		}
		if since.IsZero() {
			since = time.Now()
		}
		if d := time.Since(since); d < settled {
			return fmt.Errorf("in order for %s only", d)
		}
		return nil
	})
}

// flows waits until nothing is lost any more.
func (l *Lab) flows(s *traffic.Stream) error {
	return gwlab.Eventually(20*time.Second, func() error {
		now := time.Now()
		r := s.Report(now.Add(-700*time.Millisecond), now.Add(-200*time.Millisecond))
		if r.Sent < rate/4 || r.Lost > 0 {
			return fmt.Errorf("traffic does not flow: %s", r)
		}
		return nil
	})
}

// held says whether no session with the gateway has ended since.
func held(events []router.Event, since time.Time, gateway string) bool {
	for _, e := range events {
		if e.Neighbor != "" && !e.At.Before(since) && e.State != "Established" && strings.HasPrefix(e.Neighbor, gateway+"/") {
			return false
		}
	}
	return true
}
