package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
)

// How the daemon ends when another process follows it at once: started by the
// supervisor, or in its place (execve).
var (
	errHandOver = errors.New("handed over")
	errReplace  = errors.New("replaced")
)

// lifeline keeps on file what the next process must know about this one, for the
// case that it ends without a word.
type lifeline struct {
	file  string
	loop  *loop
	moved atomic.Bool // something may have changed
}

// lifelineEvery bounds how old the file is.
const lifelineEvery = 500 * time.Millisecond

type life struct {
	Boot      string   `json:"boot"` // of the kernel that had the routes
	Neighbors []string `json:"neighbors"`
	Sites     []string `json:"sites"`
}

func newLifeline(dir string, l *loop) *lifeline {
	return &lifeline{file: filepath.Join(dir, "restart.json"), loop: l}
}

// run writes the file while the daemon lives.
func (f *lifeline) run(ctx context.Context) error {
	for {
		wait(ctx, lifelineEvery)
		if ctx.Err() != nil {
			return nil
		}
		if !f.moved.Swap(false) {
			continue
		}
		var r ha.Resumed
		if f.loop.ask(ctx, func(time.Time) { r = f.loop.core.Resumable() }) != nil {
			return nil
		}
		if err := writeJSON(f.file, life{bootID(), r.Neighbors, r.Sites}); err != nil {
			f.loop.log.Warn("restart", "reason", "not-kept", "err", err)
		}
	}
}

// cut makes the next start a cold one.
func (f *lifeline) cut() { _ = os.Remove(f.file) }

// resume tells the core what an earlier process had, if the kernel has gone on
// forwarding since.
func (f *lifeline) resume(cfg *ha.Config) {
	b, err := os.ReadFile(f.file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var was life
	if err == nil {
		err = json.Unmarshal(b, &was)
	}
	switch down := notRunning(cfg); {
	case err != nil:
		f.loop.log.Warn("restart", "reason", "cold", "err", err)
	case was.Boot != bootID():
		f.loop.log.Info("restart", "reason", "cold", "detail", "the kernel was started since")
	case down != "":
		f.loop.log.Info("restart", "reason", "cold", "detail", "forwarding did not go on: "+down+" is down")
	default:
		f.loop.core.Step(time.Now(), ha.Resumed{Neighbors: was.Neighbors, Sites: was.Sites})
		f.loop.log.Info("restart", "reason", "warm", "neighbors", len(was.Neighbors), "sites", len(was.Sites))
	}
}

// notRunning names an interface that can not have carried traffic while no process
// ran: it is not there, or it is one of the embedded devices, which are without
// carrier then.
func notRunning(cfg *ha.Config) string {
	var names []string
	for i := range cfg.Devices {
		names = append(names, cfg.Devices[i].Name)
	}
	for i := range cfg.Connect {
		names = append(names, cfg.Connect[i].Tunnel().Name)
	}
	for _, name := range names {
		if i, err := net.InterfaceByName(name); err != nil || i.Flags&net.FlagRunning == 0 {
			return name
		}
	}
	return ""
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// writeJSON replaces a file in one step.
func writeJSON(file string, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err == nil {
		err = os.WriteFile(file+".new", append(b, '\n'), 0o644)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	return err
}

// RestartCost says what a restart would cost.
func (b *backend) RestartCost(ctx context.Context) (api.Restart, error) {
	r := api.Restart{Schema: api.Schema}
	program, err := os.Executable()
	if err != nil {
		return r, api.Errorf(api.CodeFailed, "find the program: %v", err)
	}
	r.Program = program
	return read(ctx, b, func(c *ha.Core, _ time.Time) api.Restart {
		cost := c.RestartCost()
		r.Forwards, r.Lose, r.Alone, r.Partner = c.Persists(), cost.Lose, cost.Alone, cost.Partner
		c.Sessions(func(n *bgp.Neighbor, st bgp.NeighborState) {
			if n.GracefulRestart && st.State == bgp.StateEstablished {
				r.Keep = append(r.Keep, n.Name)
			}
		})
		switch {
		case !r.Forwards && r.Partner == "":
			r.Refused = "tunnels of this host are the embedded ones, which end with the process, and no other host of the fleet can take over"
		case r.Alone > 0:
			r.Refused = fmt.Sprintf("%s would have no route to %d prefixes until the next process announces them", strings.Join(r.Lose, ", "), r.Alone)
		}
		return r
	})
}

// Restart hands over to a new process, unless that would not take the
// configuration.
func (b *backend) Restart(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return api.Errorf(api.CodeFailed, "find the program: %v", err)
	}
	if out, err := exec.CommandContext(ctx, program, "-f", b.file, "--check").CombinedOutput(); err != nil {
		return api.Errorf(api.CodeInvalid, "%s would not start: %v: %s", program, err, strings.TrimSpace(string(out))).
			WithHint("the running daemon goes on")
	}
	select {
	case b.restart <- struct{}{}:
		return nil
	default:
		return api.Refused("a restart is under way already")
	}
}
