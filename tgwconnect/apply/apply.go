// Package apply makes and unmakes what tgwconnect.Want wants on the AWS side: the
// edge behind Want.Plan and Want.Unplan. It has no memory of its own: every step
// is decided from what was just read, so that a run which was killed anywhere is
// completed by the next one.
package apply

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// API is what is asked of EC2. Creating calls are not repeated by whoever
// implements it.
type API interface {
	Inventory(ctx context.Context, w *tgwconnect.Want) (tgwconnect.Inventory, error)
	// Do carries out a step and returns the ID of what it made, if anything.
	Do(ctx context.Context, w *tgwconnect.Want, s tgwconnect.Step) (id string, err error)
	// Hopeless reports whether an error will not go away: a missing permission, a
	// parameter that AWS refuses.
	Hopeless(err error) bool
	// Unknown reports whether the step that failed may have been done nevertheless:
	// its answer was lost, or was an internal error of AWS.
	Unknown(err error) bool
}

// Options of a run. Zero durations take the defaults.
type Options struct {
	API  API
	Rand *rand.Rand
	// Poll is the pause between two looks at a state, 3 s; Settle is how long the
	// first look must stay true before anything is created or marked, 10 s: EC2 may
	// not show yet what an interrupted run has made.
	Poll, Settle time.Duration
	// Patience bounds one run, 20 min.
	Patience time.Duration
	Sleep    func(ctx context.Context, d time.Duration) error // nil: in real time
	// Progress is told of each step, when it begins and what it failed with.
	Progress func(s tgwconnect.Step, err error)
}

// Blocked is why a run can not succeed.
type Blocked struct{ Obstacles []tgwconnect.Obstacle }

func (b *Blocked) Error() string {
	text := b.Obstacles[0].Text
	if n := len(b.Obstacles) - 1; n > 0 {
		text = fmt.Sprintf("%s (and %d more)", text, n)
	}
	return text
}

type planner func(*tgwconnect.Inventory) ([]tgwconnect.Step, []tgwconnect.Obstacle)

// Apply makes everything that is missing.
func Apply(ctx context.Context, w *tgwconnect.Want, o Options) error { return run(ctx, w, w.Plan, o) }

// Destroy takes back everything of this gateway's.
func Destroy(ctx context.Context, w *tgwconnect.Want, o Options) error {
	return run(ctx, w, w.Unplan, o)
}

// mostFailures is how many calls in a row may fail, and mostSame how often one step
// may with the same words.
const (
	mostFailures = 20
	mostSame     = 8
)

func run(ctx context.Context, w *tgwconnect.Want, plan planner, o Options) error {
	o.defaults()
	ctx, cancel := context.WithTimeout(ctx, o.Patience)
	defer cancel()
	var last string // what was waited for
	settled, failures := false, 0
	made := ""               // not seen in a list yet
	same, complaint := 0, "" // how often a step failed in the same way
	// Marks that this run wrote, and what became of the steps they are for.
	var marks []*attempt
	for {
		inv, err := o.API.Inventory(ctx, w)
		if err != nil {
			if failures++; ctx.Err() != nil || o.API.Hopeless(err) || failures > mostFailures {
				return err
			}
			if err := o.pause(ctx, failures); err != nil {
				return err
			}
			continue
		}
		if made != "" && !shows(&inv, made) {
			if failures++; failures > mostFailures {
				return fmt.Errorf("%s was made and is not shown", made)
			}
			if err := o.pause(ctx, 1); err != nil {
				return err
			}
			continue
		}
		made = ""
		steps, obstacles := plan(&inv)
		if len(obstacles) > 0 {
			return &Blocked{obstacles}
		}
		s := tgwconnect.Step{}
		if len(steps) > 0 {
			s = steps[0]
		}
		if i := slices.IndexFunc(marks, func(a *attempt) bool { return a.refused && a.step.Text != s.Text }); i >= 0 {
			s = marks[i].step.Unmark() // it is there, and not by us
			marks = slices.Delete(marks, i, i+1)
		}
		if s.Kind == "" {
			return nil
		}
		if s.Kind == tgwconnect.StepWait {
			if s.Text != last {
				last = s.Text
				o.Progress(s, nil)
			}
			if err := o.Sleep(ctx, o.Poll); err != nil {
				return fmt.Errorf("%s: %w", s.Text, err)
			}
			continue
		}
		if !settled && (s.Kind == tgwconnect.StepCreateConnect || s.Kind == tgwconnect.StepMark) {
			settled = true
			if err := o.Sleep(ctx, o.Settle); err != nil {
				return err
			}
			continue // another look
		}
		o.Progress(s, nil)
		id, err := o.API.Do(ctx, w, s)
		if s.Kind == tgwconnect.StepMark && err == nil && find(marks, s.ID, s.Tags) == nil {
			marks = append(marks, &attempt{on: s.ID, mark: s.Tags})
		}
		if a := find(marks, s.On, s.Marked); a != nil {
			a.note(s, err, err != nil && o.API.Unknown(err))
		}
		if err == nil {
			failures, made = 0, id
			// What was changed may not show at once; made anew it would be refused.
			if err := o.Sleep(ctx, o.Poll/3); err != nil {
				return err
			}
			continue
		}
		o.Progress(s, err)
		// Whatever the error says, the step may have been done: look again. Only a
		// created attachment has nothing that keeps a second one from being made.
		settled = settled && s.Kind != tgwconnect.StepCreateConnect
		if same++; complaint != s.Text+err.Error() {
			same, complaint = 1, s.Text+err.Error()
		}
		if failures++; ctx.Err() != nil || o.API.Hopeless(err) || failures > mostFailures || same > mostSame {
			return fmt.Errorf("%s: %w", s.Text, err)
		}
		if err := o.pause(ctx, failures); err != nil {
			return err
		}
	}
}

// attempt is what became of a step whose mark this run wrote. A mark from before may
// be that of a run which was killed, and stays.
type attempt struct {
	on      string
	mark    tgwconnect.Tags
	step    tgwconnect.Step
	unsure  bool // it may have been done
	refused bool // it was not, and never may have been
}

func (a *attempt) note(s tgwconnect.Step, err error, unknown bool) {
	a.step = s
	a.unsure = a.unsure || unknown || err == nil
	a.refused = err != nil && !a.unsure
}

func find(marks []*attempt, on string, mark tgwconnect.Tags) *attempt {
	for _, a := range marks {
		if a.on == on && maps.Equal(a.mark, mark) {
			return a
		}
	}
	return nil
}

// shows reports whether the inventory has the object.
func shows(inv *tgwconnect.Inventory, id string) bool {
	for _, c := range inv.Connects {
		if c.ID == id {
			return true
		}
	}
	for _, p := range inv.Peers {
		if p.ID == id {
			return true
		}
	}
	return false
}

func (o *Options) defaults() {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&o.Poll, 3*time.Second)
	set(&o.Settle, 10*time.Second)
	set(&o.Patience, 20*time.Minute)
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Progress == nil {
		o.Progress = func(tgwconnect.Step, error) {}
	}
	if o.Rand == nil {
		o.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
}

// pause backs off with jitter after n failures.
func (o *Options) pause(ctx context.Context, n int) error {
	d := min(o.Poll<<min(n-1, 4), 10*o.Poll)
	return o.Sleep(ctx, d/2+time.Duration(o.Rand.Int64N(int64(d/2)+1)))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
