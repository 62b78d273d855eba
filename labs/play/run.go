package play

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rsc.io/script"

	"github.com/wgbgp/wgbgp/labs/stage"
	"github.com/wgbgp/wgbgp/labs/traffic"
)

// Options say how a scenario is played.
type Options struct {
	Stage  stage.Options // Folder, Change and NotStarted are the scenario's
	Update bool          // write expected output as it is found
	Log    io.Writer
	// Break opens a shell at the word break and after a failure; nil: neither.
	Break func(*stage.Stage) error
}

// player is what the words of a script work on.
type player struct {
	*stage.Stage
	scenario *Scenario
	options  Options
	streams  map[string]*stream
	cuts     map[string]cut
	notes    map[string]*note
	began    time.Time
	stopped  map[string]bool // nodes whose program a step ended
	updated  bool
}

type stream struct {
	*traffic.Stream
	mark time.Time // the beginning of the period that is judged
	full int       // packets that full queues had dropped by then
}

// Run makes the scenario's lab stand, plays the script and takes it down again.
func Run(ctx context.Context, s *Scenario, o Options) error {
	o.Stage.Folder, o.Stage.Change, o.Stage.NotStarted = filepath.Dir(s.Path), s.change, s.Needs.NotStarted
	began := time.Now()
	st, err := stage.Up(o.Stage)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	p := &player{
		Stage: st, scenario: s, options: o, streams: map[string]*stream{}, cuts: map[string]cut{}, notes: map[string]*note{},
		began: began, stopped: map[string]bool{},
	}
	fmt.Fprintf(o.Log, "# %s/%s: lab stands after %.1f s\n", s.Lab, s.Name, time.Since(began).Seconds())
	err = p.play(ctx)
	if err == nil && !s.Needs.Unchecked {
		err = p.finish()
	}
	for _, st := range p.streams {
		st.Stop(0)
	}
	if err != nil {
		p.logs(o.Log)
		if o.Break != nil {
			fmt.Fprintf(o.Log, "%v\n", err)
			err = errors.Join(err, o.Break(st))
		}
	}
	return errors.Join(err, st.Down())
}

func (p *player) play(ctx context.Context) error {
	work := filepath.Join(p.Dir, "..", "script")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	state, err := script.NewState(ctx, work, nil)
	if err != nil {
		return err
	}
	engine := &script.Engine{Cmds: p.commands(), Conds: map[string]script.Cond{
		"docker": script.BoolCondition("the lab stands in Docker", p.options.Stage.Docker),
	}}
	err = engine.Execute(state, p.scenario.Path, bufio.NewReader(strings.NewReader(p.scenario.script)), p.options.Log)
	if closeErr := state.CloseAndWait(p.options.Log); err == nil {
		err = closeErr
	}
	if err == nil && p.updated {
		err = p.scenario.save()
	}
	return err
}

// finish asks what must be true after every scenario: no program ended by
// itself, what the gateways want is what their kernels hold (AC-36), and AWS would
// have understood every call.
func (p *player) finish() error {
	if err := p.dead(); err != nil {
		return err
	}
	for _, n := range p.Nodes {
		if strings.HasPrefix(n.Spec.Cmd, "tgwsim run ") && !p.stopped[n.Name()] {
			if out, errs, code, err := n.Output("tgwsim", "ctl", "violations"); err != nil || code != 0 {
				return errors.Join(err, fmt.Errorf("%s: somebody asked what no AWS would understand:\n%s%s", n.Name(), out, errs))
			}
		}
		if !isGateway(n) || p.stopped[n.Name()] {
			continue
		}
		err := p.eventually(10*time.Second, func() error {
			out, errs, code, err := n.Output("wgbgp", "check", "--kernel")
			if err == nil && code != 0 {
				err = fmt.Errorf("%s: wgbgp check --kernel: exit code %d\n%s%s", n.Name(), code, out, errs)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dead is an error if a program ended that no step of the script ended.
func (p *player) dead() error {
	for _, n := range p.Nodes {
		if n.Main != nil && !n.Main.Running() && !p.stopped[n.Name()] {
			return fmt.Errorf("%s ended by itself: %w", n.Main.Name, n.Main.Err())
		}
	}
	return nil
}

// isGateway reports whether the node runs wgbgpd.
func isGateway(n *stage.Node) bool {
	for _, b := range n.Spec.Binds {
		if strings.HasSuffix(b.Target, "wgbgpd.toml") {
			return true
		}
	}
	return false
}

// logs shows the ends of what the nodes' programs printed.
func (p *player) logs(w io.Writer) {
	for _, n := range p.Nodes {
		if n.Main != nil {
			fmt.Fprintf(w, "--- %s, end of log %s\n%s\n", n.Main.Name, n.Main.Log, n.Main.Tail(40))
		}
	}
}

func (p *player) eventually(within time.Duration, try func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if dead := p.dead(); dead != nil {
			return errors.Join(dead, err)
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("not within %s: %w", within, err)
		}
		time.Sleep(20 * time.Millisecond) // pause between tries of a bounded wait
	}
}

// owner finds the node that has the address now.
func (p *player) owner(a netip.Addr) (string, error) {
	for _, n := range p.Nodes {
		addrs, err := addresses(n)
		if err != nil {
			return "", err
		}
		for _, own := range addrs {
			if own.Addr() == a {
				return n.Name(), nil
			}
		}
	}
	return "", fmt.Errorf("no node has %s", a)
}
