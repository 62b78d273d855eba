package tgwsim

import (
	"context"
	"net/http"
	"path"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
)

// Faults are what goes wrong. They can be changed at any time; the zero value is
// an API that always works at once. All durations are in nanoseconds in JSON.
type Faults struct {
	// Throttle empties token buckets as EC2 does, nil: never.
	Throttle *Throttle
	// PageSize is the most that a list answers with at once, 0: 1000.
	PageSize int
	// Lag is how old the state is that an answer shows: for each call a time
	// between both. New objects are not found, lists lack them, deleted ones are
	// still there, changes do not show [ERR, eventual consistency].
	LagMin, LagMax time.Duration
	// Credentials is the error of all calls when the caller's credentials are not
	// good (any more): RequestExpired, ExpiredToken, InvalidClientTokenId, AuthFailure.
	Credentials string
	// Plan is tried in order; the first fault that applies happens.
	Plan []Fault
}

// Kind is what happens to a call.
type Kind string

// Kinds of faults.
const (
	CutBefore Kind = "cut-before" // the connection ends, and nothing was done
	CutAfter  Kind = "cut-after"  // it was done, but the answer is lost
	Fail      Kind = "fail"       // Code and Status are the answer, nothing was done
	Slow      Kind = "slow"       // the answer takes Delay longer
)

// Fault happens to some calls.
type Fault struct {
	Operations []string // patterns of path.Match, such as "Describe*"; empty: all
	Kind       Kind
	Code       string        // of Fail; empty: InternalError
	Status     int           // of Fail; 0: 500
	Delay      time.Duration // of Slow
	Chance     float64       // 0: certain
	Count      int           // how often it happens, 0: no limit
}

// Throttle are token buckets: how many calls at once, and how many per second
// [THROTTLE]. Here all operations of a kind share one bucket, as if other clients
// of the account were busy too.
type Throttle struct {
	ReadBurst, ReadRate             float64
	MutateBurst, MutateRate         float64
	UnfilteredBurst, UnfilteredRate float64 // DescribeInstances and such without filter or pages
	Route53Rate                     float64 // all of Route 53 together [R53-LIM]
}

// AWSThrottle is what AWS documents [THROTTLE].
func AWSThrottle() *Throttle {
	return &Throttle{ReadBurst: 100, ReadRate: 20, MutateBurst: 50, MutateRate: 5, UnfilteredBurst: 50, UnfilteredRate: 10, Route53Rate: 5}
}

// SetFaults replaces all faults.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	s.faults = f
	clear(s.buckets)
	s.mu.Unlock()
	s.world.Remember(f.LagMax)
}

// cut says whether and when the connection ends without an answer.
type cut struct{ before, after bool }

// begin is the first thing of each call: it waits, or says what error the call
// has. The connection must be cut where cut says so.
func (s *Server) begin(ctx context.Context, service, operation string) (*Call, cut, *wire.Error) {
	c := &Call{Server: s, Context: ctx, World: s.world}
	s.mu.Lock()
	faults := s.faults
	lag := faults.LagMin
	if spread := faults.LagMax - faults.LagMin; spread > 0 {
		lag += time.Duration(s.random.Int64N(int64(spread) + 1))
	}
	fault := s.pick(operation)
	throttled := s.throttled(faults.Throttle, service, operation)
	s.mu.Unlock()

	c.look(operation, faults.LagMax > 0, lag)
	if fault.Kind == Slow {
		select {
		case <-time.After(fault.Delay):
		case <-ctx.Done():
		}
	}
	switch {
	case faults.Credentials != "":
		return c, cut{}, &wire.Error{Code: faults.Credentials, Message: "The security token included in the request is expired or not valid", Status: http.StatusForbidden}
	case throttled:
		return c, cut{}, &wire.Error{Code: "RequestLimitExceeded", Message: "Request limit exceeded.", Status: http.StatusServiceUnavailable} // [ERR]
	case fault.Kind == Fail:
		return c, cut{}, &wire.Error{Code: or(fault.Code, "InternalError"), Message: "An internal error has occurred", Status: or(fault.Status, http.StatusInternalServerError)}
	}
	return c, cut{before: fault.Kind == CutBefore, after: fault.Kind == CutAfter}, nil
}

func or[T comparable](v, instead T) T {
	var zero T
	if v == zero {
		return instead
	}
	return v
}

// pick chooses the fault of a call and counts it.
func (s *Server) pick(operation string) Fault {
	for i := range s.faults.Plan {
		f := &s.faults.Plan[i]
		if f.Count < 0 || !f.concerns(operation) || f.Chance > 0 && s.random.Float64() >= f.Chance {
			continue
		}
		if f.Count == 1 {
			f.Count = -1 // used up
		} else if f.Count > 1 {
			f.Count--
		}
		return *f
	}
	return Fault{}
}

func (f *Fault) concerns(operation string) bool {
	for _, pattern := range f.Operations {
		if ok, err := path.Match(pattern, operation); ok && err == nil {
			return true
		}
	}
	return len(f.Operations) == 0
}

// bucket is a token bucket.
type bucket struct {
	tokens float64
	at     time.Time
}

func (s *Server) throttled(t *Throttle, service, operation string) bool {
	if t == nil {
		return false
	}
	if service == wire.Route53.Name {
		return !s.take(service, t.Route53Rate, t.Route53Rate)
	}
	kind, burst, rate := "mutate", t.MutateBurst, t.MutateRate
	if reads(operation) {
		kind, burst, rate = "read", t.ReadBurst, t.ReadRate
	}
	return !s.take(kind, burst, rate)
}

// take takes a token, if there is one.
func (s *Server) take(kind string, burst, rate float64) bool {
	now := s.now()
	b := s.buckets[kind]
	if b == nil {
		b = &bucket{tokens: burst, at: now}
		s.buckets[kind] = b
	}
	b.tokens = min(burst, b.tokens+rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// takeUnfiltered is for lists of everything, which have a bucket of their own
// [THROTTLE].
func (c *Call) takeUnfiltered() *wire.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.faults.Throttle
	if t == nil || c.take("unfiltered", t.UnfilteredBurst, t.UnfilteredRate) {
		return nil
	}
	return &wire.Error{Code: "RequestLimitExceeded", Message: "Request limit exceeded.", Status: http.StatusServiceUnavailable}
}

// reads says whether an operation changes nothing, by its name.
func reads(operation string) bool {
	for _, verb := range []string{"Describe", "Get", "Search", "List"} {
		if len(operation) > len(verb) && operation[:len(verb)] == verb {
			return true
		}
	}
	return false
}
