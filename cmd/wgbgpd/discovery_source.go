package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

// finder is a source of objects that AWS describes as P.
type finder[P any] struct {
	d        *discovery
	name     string // in the API and in metrics
	kind     string // of the events
	file     string // where the last answer outlives the daemon
	take     func(*configs.Config) bool
	question func(context.Context, awsPeers) ([]P, error)
	judge    func([]P) []tgwconnect.Found[P] // under d.mu
	fact     func([]tgwconnect.Found[P]) ha.Fact
	show     func(*P) api.Discovered
	same     func(a, b *P) bool

	// Guarded by d.mu.
	wants  bool
	seen   answer[P]
	failed string // the last question, empty: it did not fail
	result []tgwconnect.Found[P]

	// Of run alone.
	poll   tgwconnect.Poller
	next   time.Time
	calm   bool // nothing is about to change, and AWS answers
	shaken bool // an address has changed since the last question
	last   []tgwconnect.Found[P]
	told   bool
}

// answer is the latest of AWS.
type answer[P any] struct {
	Answered time.Time `json:"answered"` // zero: never
	Peers    []P       `json:"peers"`
}

func (s *finder[P]) adopt(cfg *configs.Config)      { s.wants = s.take(cfg) }
func (s *finder[P]) wanted() bool                   { return s.wants }
func (s *finder[P]) due() (at time.Time, calm bool) { return s.next, s.calm }

// moved: an address of the host has changed, which is a reason to ask at the time
// given.
func (s *finder[P]) moved(at time.Time) {
	if !s.shaken && at.Before(s.next) {
		s.next, s.calm = at, false
	}
	s.shaken = true
}

// recall begins with the answer that an earlier daemon had.
func (s *finder[P]) recall(log *slog.Logger) {
	if !s.wants {
		return
	}
	b, err := os.ReadFile(s.file)
	if err != nil {
		return // there is none
	}
	if err := json.Unmarshal(b, &s.seen); err != nil {
		log.Warn("discovery", "edge", "aws", "file", s.file, "err", err)
		return
	}
	s.decide()
}

// remember writes what concerns this host.
func (s *finder[P]) remember() error {
	s.d.mu.Lock()
	a := answer[P]{Answered: s.seen.Answered}
	for i := range s.result {
		if c := &s.result[i]; c.Reason != tgwconnect.UnusedForeign {
			a.Peers = append(a.Peers, c.Peer)
		}
	}
	s.d.mu.Unlock()
	b, err := json.Marshal(a)
	if err == nil {
		err = os.WriteFile(s.file+".new", append(b, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(s.file+".new", s.file)
	}
	return err
}

// ask asks AWS once; every is how often that is done in quiet.
func (s *finder[P]) ask(ctx context.Context, now time.Time, every time.Duration) {
	s.poll.Every = every
	shaken := s.shaken
	var peers []P
	client, err := s.d.connect(ctx)
	if err == nil {
		peers, err = s.question(ctx, client)
	}
	if err != nil {
		s.fail(ctx, err)
		s.next, s.calm = now.Add(s.poll.Next(tgwconnect.Outcome{Failed: true})), false
		return
	}
	s.shaken = false
	s.d.mu.Lock()
	recovered := s.failed != ""
	changed := !reflect.DeepEqual(s.seen.Peers, peers)
	s.seen, s.failed = answer[P]{now, peers}, ""
	s.d.mu.Unlock()
	if recovered {
		s.d.event(slog.LevelInfo, api.Event{Kind: api.EventEdge, Edge: "aws", Reason: "recovered", Detail: s.name})
	}
	s.decide()
	if s.d.metadata(ctx, now) {
		s.decide()
	}
	if changed || shaken {
		if err := s.remember(); err != nil {
			s.d.event(slog.LevelWarn, api.Event{Kind: api.EventEdge, Edge: "aws", Reason: "not-remembered", Detail: err.Error()})
		}
	}
	unsettled := shaken || s.unsettled()
	s.next, s.calm = now.Add(s.poll.Next(tgwconnect.Outcome{Unsettled: unsettled})), !unsettled
}

// unsettled reports whether one of ours is between two states.
func (s *finder[P]) unsettled() bool {
	return slices.ContainsFunc(s.last, func(c tgwconnect.Found[P]) bool { return c.Entry != "" && c.Reason == tgwconnect.UnusedState })
}

func (s *finder[P]) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	text := err.Error()
	var call *ec2api.Error
	if errors.As(err, &call) && ec2api.IsUnauthorized(err) {
		text += "; allow ec2:" + call.Op + " to this host's role"
	}
	s.d.mu.Lock()
	was := s.failed
	s.failed = text
	s.d.mu.Unlock()
	if was == "" {
		s.d.event(slog.LevelError, api.Event{Kind: api.EventEdge, Edge: "aws", Reason: "failed", Detail: text})
	}
}

// decide works out what is used, and tells the core if that has changed.
func (s *finder[P]) decide() {
	s.d.mu.Lock()
	if s.seen.Answered.IsZero() {
		s.d.mu.Unlock()
		return
	}
	found := s.judge(s.seen.Peers)
	s.result = found
	s.d.mu.Unlock()
	if s.told && slices.EqualFunc(found, s.last, s.unchanged) {
		s.last = found
		return
	}
	s.report(found)
	s.last, s.told = found, true
	s.d.put(s.fact(found))
}

func (s *finder[P]) unchanged(a, b tgwconnect.Found[P]) bool {
	return a.Entry == b.Entry && a.Name == b.Name && a.Reason == b.Reason && a.Detail == b.Detail && s.same(&a.Peer, &b.Peer)
}

// report tells what of this host's has changed.
func (s *finder[P]) report(found []tgwconnect.Found[P]) {
	was := map[string]tgwconnect.Found[P]{}
	for _, c := range s.last {
		was[s.show(&c.Peer).ID] = c
	}
	for _, c := range found {
		x := s.show(&c.Peer)
		o, ok := was[x.ID]
		delete(was, x.ID)
		switch {
		case ok && s.unchanged(c, o) || c.Reason == tgwconnect.UnusedForeign && o.Name == "":
		case c.Used():
			s.d.event(slog.LevelInfo, api.Event{Kind: s.kind, Neighbor: c.Name, Reason: "discovered", Detail: fmt.Sprintf("%s, %s to %s", x.ID, x.Local, x.Remote)})
		default:
			s.d.event(slog.LevelWarn, api.Event{Kind: s.kind, Neighbor: o.Name, Reason: string(c.Reason), Detail: x.ID + " is not used: " + c.Detail})
		}
	}
	for _, o := range s.last {
		if _, gone := was[s.show(&o.Peer).ID]; gone && o.Used() {
			s.d.event(slog.LevelWarn, api.Event{Kind: s.kind, Neighbor: o.Name, Reason: "gone", Detail: s.show(&o.Peer).ID + " is not there any more"})
		}
	}
}

// failure is what is wrong with the last question. d.mu held.
func (s *finder[P]) failure() string { return s.failed }

// view is what operators see. d.mu held.
func (s *finder[P]) view(now time.Time) api.DiscoverySource {
	out := api.DiscoverySource{Name: s.name, Wanted: s.wants, Answered: api.At(s.seen.Answered, now), Error: s.failed}
	for i := range s.result {
		c := &s.result[i]
		x := s.show(&c.Peer)
		x.Name, x.Entry, x.Reason, x.Detail = c.Name, c.Entry, string(c.Reason), c.Detail
		out.Found = append(out.Found, x)
	}
	return out
}
