package api

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"
)

// subscriberQueue bounds what one reader may lag behind before it is cut.
const subscriberQueue = 1024

// EventLog keeps the latest events and hands new ones to readers. Publish
// never waits: a reader that does not keep up is cut off, the daemon is not
// held up.
type EventLog struct {
	boot string

	mu   sync.Mutex
	seq  uint64
	ring []Event // oldest first once full: ring[next] is the oldest
	next int
	subs map[*Subscription]struct{}
}

// NewEventLog keeps the latest size events.
func NewEventLog(size int) *EventLog {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return &EventLog{
		boot: hex.EncodeToString(b[:]),
		ring: make([]Event, 0, max(1, size)),
		subs: make(map[*Subscription]struct{}),
	}
}

// Publish numbers the event, keeps it and offers it to every reader. Time is
// set when it is zero. The event as published is returned.
func (l *EventLog) Publish(e Event) Event {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Schema, e.Boot, e.Time = Schema, l.boot, e.Time.UTC().Round(time.Millisecond)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	e.Seq = l.seq
	if len(l.ring) < cap(l.ring) {
		l.ring = append(l.ring, e)
	} else {
		l.ring[l.next] = e
		l.next = (l.next + 1) % len(l.ring)
	}
	for s := range l.subs {
		select {
		case s.c <- e:
		default:
			l.drop(s, true)
		}
	}
	return e
}

// Subscription is one reader. C is closed when the reader was too slow or when
// Close was called; Lagged tells which.
type Subscription struct {
	C    <-chan Event
	Boot string // life of the log
	Seq  uint64 // latest event when the subscription began

	c      chan Event
	log    *EventLog
	lagged bool
}

// Subscribe hands over the kept events after seq since, and what comes. Boot
// is the life in which since was seen; another one, or a gap, starts with an
// event of kind EventLost. An empty boot with since 0 asks for new events only.
func (l *EventLog) Subscribe(boot string, since uint64) *Subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	var backlog []Event
	if boot != "" || since != 0 {
		backlog = l.after(boot, since)
	}
	c := make(chan Event, subscriberQueue+len(backlog))
	for _, e := range backlog {
		c <- e
	}
	s := &Subscription{C: c, Boot: l.boot, Seq: l.seq, c: c, log: l}
	l.subs[s] = struct{}{}
	return s
}

// after lists kept events behind since. The caller holds mu.
func (l *EventLog) after(boot string, since uint64) []Event {
	lost := ""
	if boot != "" && boot != l.boot {
		lost, since = "restart", 0
	}
	oldest := l.seq - uint64(len(l.ring)) + 1
	if lost == "" && since+1 < oldest {
		lost = "overflow"
	}
	var out []Event
	if lost != "" {
		out = append(out, Event{
			Schema: Schema, Boot: l.boot, Seq: max(since, oldest-1), Time: time.Now().UTC().Round(time.Millisecond),
			Kind: EventLost, Reason: lost,
		})
	}
	for i := range l.ring {
		if e := l.ring[(l.next+i)%len(l.ring)]; e.Seq > since {
			out = append(out, e)
		}
	}
	return out
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.log.drop(s, false)
}

// Lagged reports whether the reader was cut because it was too slow.
func (s *Subscription) Lagged() bool {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.lagged
}

// drop removes s. The caller holds mu.
func (l *EventLog) drop(s *Subscription, lagged bool) {
	if _, ok := l.subs[s]; !ok {
		return
	}
	delete(l.subs, s)
	s.lagged = lagged
	close(s.c)
}
