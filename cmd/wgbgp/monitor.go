package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
)

// reconnectDelay is the pause between attempts while the daemon is away.
const reconnectDelay = 500 * time.Millisecond

// doMonitor prints events until it is interrupted. The first connection must
// succeed within the time-out; after that a daemon that goes away is waited
// for, and what it kept meanwhile is asked for.
func doMonitor(ctx context.Context, a *app, kinds []string, since uint64) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	m := &monitor{app: a, q: api.EventQuery{Kinds: kinds, Seq: since}}
	if err := m.position(ctx, c); err != nil {
		return err
	}
	for {
		err := c.Events(ctx, m.q, m.opened, m.event)
		var werr *writeError
		switch {
		case ctx.Err() != nil:
			return nil // Interrupted: the ordinary end.
		case errors.As(err, &werr):
			return api.Errorf(api.CodeFailed, "write: %v", werr.error)
		case api.AsError(err).Code != api.CodeUnreachable && api.AsError(err).Code != api.CodeTimeout:
			return err
		}
		m.lost(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reconnectDelay):
		}
	}
}

type monitor struct {
	*app
	q    api.EventQuery
	away bool
}

// position checks that the daemon answers at all.
func (m *monitor) position(ctx context.Context, c *api.Client) error {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	_, err := c.Version(ctx)
	return err
}

// opened remembers where the stream begins, so that nothing is missed when the
// daemon goes away before the first event.
func (m *monitor) opened(boot string, seq uint64) {
	if m.q.Boot == "" {
		m.q.Boot = boot
		if m.q.Seq == 0 {
			m.q.Seq = seq
		}
	}
	if m.away {
		m.away = false
		fmt.Fprintln(m.Err, "wgbgp: the daemon is back")
	}
}

// lost says once that the daemon is away.
func (m *monitor) lost(err error) {
	if !m.away {
		m.away = true
		fmt.Fprintf(m.Err, "wgbgp: %v; waiting for the daemon\n", err)
	}
}

// event prints one event and remembers it as the place to go on from.
func (m *monitor) event(e api.Event) error {
	m.q.Boot, m.q.Seq = e.Boot, e.Seq
	if m.quiet {
		return nil
	}
	var err error
	if m.json != "" {
		err = m.encode(m.Out, e)
	} else {
		_, err = io.WriteString(m.Out, eventLine(e, m.dump)+"\n")
	}
	if err != nil {
		return &writeError{err}
	}
	return nil
}

// writeError tells a closed pipe from a daemon that went away.
type writeError struct{ error }
