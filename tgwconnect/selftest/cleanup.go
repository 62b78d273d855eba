package selftest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// clean deletes what carries the run's tag, and nothing else: peers first, for an
// attachment that has some can not go. It looks again until nothing is seen, so
// that neither a lost answer nor an object that appears late is left behind.
func (r *run) clean(ctx context.Context) {
	var left []string
	err := r.repeat(ctx, func() (bool, error) {
		var err error
		left, err = r.sweep(ctx)
		return err == nil && len(left) == 0, err
	})
	if err != nil && len(left) == 0 {
		left = []string{fmt.Sprintf("unknown, look for the tag %s = %s (%v)", TagKey, r.opt.Run, err)}
	}
	r.report.Left = append(r.report.Left, left...)
}

// settle is how often in a row nothing must be seen: what was made by a call whose
// answer got lost may not be visible at once.
const settle = 3

// repeat is until, but no refusal ends it, and the end must hold.
func (r *run) repeat(ctx context.Context, look func() (bool, error)) error {
	for quiet := 0; ; {
		done, err := look()
		if done {
			quiet++
		} else {
			quiet = 0
		}
		if quiet == settle {
			return nil
		}
		if ended := r.pause(ctx); ended != nil {
			return errors.Join(ended, err)
		}
	}
}

// sweep tries once to delete everything of the run and returns what is still there.
func (r *run) sweep(ctx context.Context) (left []string, err error) {
	connects, err := r.api.Connects(ctx, r.tgw.ID)
	if err != nil {
		return nil, err
	}
	for _, c := range connects {
		if !r.ours(c.Tags) || c.State == "deleted" {
			continue
		}
		left = append(left, c.ID)
		peers, err := r.api.Peers(ctx, c.ID)
		if err != nil {
			return left, err
		}
		peers = slices.DeleteFunc(peers, func(p tgwconnect.Peer) bool { return p.State == "deleted" })
		for _, p := range peers {
			left = append(left, p.ID)
			if r.ours(p.Tags) && p.State != "deleting" {
				r.drop(ctx, dropPeer, p.ID, r.api.DeletePeer)
			}
		}
		if len(peers) == 0 && c.State != "deleting" {
			r.drop(ctx, dropConnect, c.ID, r.api.DeleteConnect)
		}
	}
	return left, nil
}

// drop deletes one object; a refusal is tried again by the next sweep. An attempt
// that was only too early makes no step.
func (r *run) drop(ctx context.Context, what, id string, f func(context.Context, string) error) {
	start := time.Now()
	err := f(ctx, id)
	if err != nil && transient(r.api.Code(err)) {
		return
	}
	s := Step{What: what, ID: id, Seconds: time.Since(start).Seconds()}
	if err != nil {
		s.Error = err.Error()
	}
	if n := len(r.report.Steps); n > 0 && r.report.Steps[n-1].What == what && r.report.Steps[n-1].ID == id {
		r.report.Steps[n-1] = s // the same attempt again
		return
	}
	r.report.Steps = append(r.report.Steps, s)
}
