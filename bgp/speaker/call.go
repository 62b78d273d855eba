package speaker

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// errWedged says that GoBGP did not answer. Its methods ignore their contexts,
// so the only cure is a new process.
var errWedged = errors.New("the BGP engine does not answer")

// callSlices is in how many steps CallTimeout passes.
const callSlices = 20

// wedge counts the calls that have not come back.
type wedge struct{ stuck atomic.Int32 }

// call runs one call into GoBGP, in a goroutine of its own because it may
// never return, and translates panics into errors. While an earlier call is
// stuck it fails at once.
func (s *Speaker) call(name string, fn func() error) error {
	if s.wedge.stuck.Load() > 0 {
		return errWedged
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("%s: panic in the BGP engine: %v", name, r)
			}
		}()
		done <- fn()
	}()
	// Counted in slices, because a machine that was suspended, or a process that
	// got no processor, finds all timers due at once when it goes on, before GoBGP
	// had a chance to answer. A ticker drops what nobody took: that is one slice.
	t := time.NewTicker(s.cfg.CallTimeout / callSlices)
	defer t.Stop()
	for range callSlices {
		select {
		case err := <-done:
			return err
		case <-t.C:
		}
	}
	s.wedge.stuck.Add(1)
	go func() { <-done; s.wedge.stuck.Add(-1) }() // it came back after all
	s.log.Error("BGP engine does not answer", "call", name, "after", s.cfg.CallTimeout)
	if s.cfg.OnWedged != nil {
		s.cfg.OnWedged(name)
	}
	return errWedged
}

// Wedged reports whether a call into the BGP engine has not returned in time.
func (s *Speaker) Wedged() bool { return s.wedge.stuck.Load() > 0 }
