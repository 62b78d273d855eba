package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Process is a program that runs on a host.
type Process struct {
	Name string
	Log  string // file with its output, stdout and stderr together

	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; valid when done is closed
}

// Start starts a program on the host. What it prints goes to NAME.log in the
// host's directory; a second start with the same name appends.
func (h *Host) Start(name string, args ...string) (*Process, error) {
	return h.StartEnv(name, nil, args...)
}

// StartEnv is Start with additional environment variables ("KEY=value").
func (h *Host) StartEnv(name string, env []string, args ...string) (*Process, error) {
	p := &Process{Name: h.name + "/" + name, Log: filepath.Join(h.dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	p.cmd, err = h.start(args, env, func(c *exec.Cmd) {
		c.Stdout, c.Stderr = log, log
		// A process group of its own: Ctrl-C in the terminal is for the lab alone.
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	if h.lab != nil {
		h.lab.mu.Lock()
		h.lab.procs = append(h.lab.procs, p)
		h.lab.mu.Unlock()
	}
	return p, nil
}

// PID is the process ID inside the lab.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether the program has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Err says how the program ended; nil while it runs and after success.
func (p *Process) Err() error {
	if p.Running() {
		return nil
	}
	return p.err
}

// Signal sends a signal to the program alone.
func (p *Process) Signal(sig os.Signal) error {
	err := p.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Stop asks the program to end (SIGTERM) and kills it after the grace period.
// How it ended is in Err; Stop fails only if it could not be stopped.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
		return p.Kill()
	}
}

// Kill ends the program at once (SIGKILL) and waits for its end.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", p.Name, err)
	}
	<-p.done
	return nil
}

// Tail is the end of what the program printed, at most n lines.
func (p *Process) Tail(n int) string {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
