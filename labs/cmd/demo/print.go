package main

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/router"
	"github.com/wgbgp/wgbgp/labs/traffic"
)

type events = []router.Event

// act prints a heading.
func (s *story) act(title string) { fmt.Fprintf(s.out, "\n%s\n", title) }

// say prints a line of the timeline, at now.
func (s *story) say(format string, args ...any) { s.sayAt(time.Now(), format, args...) }

// sayAt prints a line of the timeline, at the time when it happened.
func (s *story) sayAt(at time.Time, format string, args ...any) {
	fmt.Fprintf(s.out, "%6.2f s  %s\n", at.Sub(s.start).Seconds(), fmt.Sprintf(format, args...))
}

// timeline collects lines that were found out in another order than they
// happened in.
type timeline []line

type line struct {
	at   time.Time
	text string
}

func (t *timeline) add(at time.Time, format string, args ...any) {
	*t = append(*t, line{at, fmt.Sprintf(format, args...)})
}

func (s *story) tellInOrder(t timeline) {
	slices.SortStableFunc(t, func(a, b line) int { return a.at.Compare(b.at) })
	for _, l := range t {
		s.sayAt(l.at, "%s", l.text)
	}
}

// expect notes whether something is as it should be.
func (s *story) expect(what string, ok bool) {
	s.checks++
	mark := "ok"
	if !ok {
		mark = "FAILED"
		s.failed++
	}
	fmt.Fprintf(s.out, "          %-6s %s\n", mark, what)
}

// settle returns now, after the packets sent until now had the time to arrive:
// until all of them did, two seconds at most.
func (s *story) settle() (now time.Time) {
	now = time.Now()
	s.pause(100 * time.Millisecond)
	_ = gwlab.Eventually(2*time.Second, func() error { // what did not arrive is counted by the caller
		for _, st := range s.streams {
			if r := st.Report(now.Add(-50*time.Millisecond), now); r.Lost > 0 && s.interrupted.Err() == nil {
				return fmt.Errorf("%d under way", r.Lost)
			}
		}
		return nil
	})
	return now
}

// pause lets packets flow for a while: the demo measures them meanwhile.
func (s *story) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.interrupted.Done():
	}
}

func (s *story) report(from, to time.Time, stream int) traffic.Report {
	return s.streams[stream].Report(from, to)
}

// loss prints what a stream lost in a period.
func (s *story) loss(from, to time.Time, stream int) {
	r := s.report(from, to, stream)
	hit := map[int]bool{}
	for _, o := range r.Outages {
		hit[o.Flow] = true
	}
	line := fmt.Sprintf("%s: %d packets sent, %d lost, of %d of %d flows", s.names[stream], r.Sent, r.Lost, len(hit), flows)
	if o, ok := r.Longest(); ok {
		line += ", longest gap " + ms(o.Gap)
	}
	s.say("%s", line)
}

// expectLoss expects streams to have lost at most so many packets in a period.
func (s *story) expectLoss(from, to time.Time, most int, streams ...int) {
	for _, n := range streams {
		r := s.report(from, to, n)
		what := fmt.Sprintf("%s: %d packets sent, %d lost", s.names[n], r.Sent, r.Lost)
		if o, ok := r.Longest(); ok {
			what += fmt.Sprintf(", longest gap %s, first at %.2f s, last at %.2f s", ms(o.Gap),
				r.Outages[0].From.Sub(s.start).Seconds(), r.Outages[len(r.Outages)-1].To.Sub(s.start).Seconds())
		}
		ok := r.Lost <= most && r.Sent > 0
		if !ok && r.SendPause > 50*time.Millisecond {
			what += fmt.Sprintf(" (the sender itself got no processor for %s: is this machine busy?)", ms(r.SendPause))
		}
		s.expect(what, ok)
	}
}

// expectGap expects an outage to be over, after at most so long.
func (s *story) expectGap(from, to time.Time, most time.Duration, stream int) {
	r := s.report(from, to, stream)
	o, ok := r.Longest()
	s.expect(fmt.Sprintf("%s: the outage is no longer than the withdrawal took", s.names[stream]), !ok || o.Ended && o.Gap <= most)
}

// waitRoute waits until the events that read returns have prefix by exactly via,
// and returns when that happened.
func (s *story) waitRoute(within time.Duration, since time.Time, prefix string, via []string, read func() (events, error)) (time.Time, error) {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		return time.Time{}, err
	}
	var at time.Time
	err = gwlab.Eventually(within, func() error {
		if s.interrupted.Err() != nil {
			return gwlab.Fatal(errInterrupted)
		}
		all, err := read()
		if err != nil {
			return gwlab.Fatal(err)
		}
		e, ok := router.RouteChanged(all, since, p, via...)
		if !ok {
			return fmt.Errorf("%s by %v: now it is by %v", p, via, router.Routes(all)[p])
		}
		at = e.At
		return nil
	})
	return at, err
}

// ms prints a duration with milliseconds, or finer below ten.
func ms(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}
