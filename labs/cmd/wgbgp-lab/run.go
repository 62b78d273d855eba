package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/labs/play"
	"github.com/wgbgp/wgbgp/labs/site"
	"github.com/wgbgp/wgbgp/labs/stage"
	"github.com/wgbgp/wgbgp/labs/swarm"
	"github.com/wgbgp/wgbgp/labs/tgwsim/plain"
)

// Exit codes of run besides 0 and 1.
const exitSkipped exitCode = 3 // nothing failed, something could not be played here

// inVM is set in the virtual machine.
const inVM = "WGBGP_LAB_VM"

type runner struct {
	flags   *flags
	update  bool
	stop    bool
	verbose bool
	times   int
}

func (r *runner) run(c *cobra.Command, names []string) error {
	scenarios, err := r.find(names)
	if err != nil {
		return err
	}
	programs, cleanup, err := r.flags.binaries()
	defer cleanup()
	if err != nil {
		return err
	}
	if r.flags.vm {
		return r.inVM(programs, scenarios)
	}
	if !r.flags.docker {
		if err := os.Setenv("WGBGP_LAB_PROGRAMS", programs); err != nil {
			return err
		}
		inside, code, err := netlab.Reexec()
		switch {
		case err != nil:
			return err
		case !inside && code != 0:
			return exitCode(code)
		case !inside:
			return nil
		}
		programs = os.Getenv("WGBGP_LAB_PROGRAMS")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	return r.playAll(ctx, c.OutOrStdout(), programs, scenarios)
}

func (r *runner) playAll(ctx context.Context, w io.Writer, programs string, scenarios []*play.Scenario) error {
	played, failed, skipped := 0, 0, 0
	for _, s := range scenarios {
		if s.Needs.Kernel && os.Getenv(inVM) == "" && !stage.KernelWireGuard() {
			fmt.Fprintf(w, "skip  %s/%s: needs the kernel's own WireGuard, GRE and VRF; here is none: use --vm\n", s.Lab, s.Name)
			skipped++
			continue
		}
		passed, runs := 0, 0
		for runs < r.times && ctx.Err() == nil { // a failure is a result like any other
			ok, err := r.play(ctx, w, programs, s)
			if err != nil {
				return err
			}
			runs++
			if ok {
				passed++
			}
		}
		if r.times > 1 {
			fmt.Fprintf(w, "      %s/%s: %d of %d passed\n", s.Lab, s.Name, passed, runs)
		}
		played += runs
		failed += runs - passed
		if ctx.Err() != nil {
			break
		}
	}
	fmt.Fprintf(w, "%d played, %d failed, %d skipped\n", played, failed, skipped)
	switch {
	case failed > 0:
		return exitCode(1)
	case skipped > 0:
		return exitSkipped
	}
	return nil
}

// play plays one scenario once and prints what came of it. The error is that of
// printing.
func (r *runner) play(ctx context.Context, w io.Writer, programs string, s *play.Scenario) (ok bool, err error) {
	began := time.Now()
	var log bytes.Buffer
	var to io.Writer = &log
	if r.verbose || r.stop { // before a shell it must be seen what failed
		to = w
	}
	o := play.Options{Stage: stage.Options{Programs: programs, Docker: r.flags.docker, Getenv: os.Getenv}, Update: r.update, Log: to}
	if r.stop {
		o.Break = openShell
	}
	failure := play.Run(ctx, s, o)
	took := time.Since(began).Seconds()
	if failure == nil {
		_, err = fmt.Fprintf(w, "ok    %s/%s (%.1f s)\n", s.Lab, s.Name, took)
		return true, err
	}
	if _, err := io.Copy(w, &log); err != nil {
		return false, err
	}
	_, err = fmt.Fprintf(w, "FAIL  %s/%s (%.1f s): %v\n", s.Lab, s.Name, took, failure)
	return false, err
}

// find understands LAB, LAB/SCENARIO, a scenario's name alone, and all.
func (r *runner) find(names []string) ([]*play.Scenario, error) {
	dir, err := r.flags.dir()
	if err != nil {
		return nil, err
	}
	all, err := play.All(dir)
	if err != nil {
		return nil, err
	}
	var found []*play.Scenario
	for _, name := range names {
		n := len(found)
		for _, s := range all {
			if name == "all" || name == s.Lab || name == s.Name || name == s.Lab+"/"+s.Name || strings.HasPrefix(s.Name, name+"-") {
				found = append(found, s)
			}
		}
		if len(found) == n {
			return nil, fmt.Errorf("no lab or scenario %q; wgbgp-lab list shows all", name)
		}
	}
	return found, nil
}

// inVM plays the scenarios in a virtual machine (labs/vm/run).
func (r *runner) inVM(programs string, scenarios []*play.Scenario) error {
	if r.update || r.stop {
		return errors.New("--vm sees the folder read-only and has no terminal: not with --update or --break")
	}
	dir, err := r.flags.dir()
	if err != nil {
		return err
	}
	programs, err = filepath.Abs(programs)
	if err != nil {
		return err
	}
	args := []string{filepath.Join(programs, "wgbgp-lab"), "run", "--labs", dir, "--programs", programs}
	if r.verbose {
		args = append(args, "-v")
	}
	args = append(args, "-n", strconv.Itoa(r.times))
	for _, s := range scenarios {
		args = append(args, s.Lab+"/"+s.Name)
	}
	cmd := exec.Command(filepath.Join(dir, "../vm/run"), args...)
	cmd.Env = append(os.Environ(), "VMENV="+inVM+"=1 "+os.Getenv("VMENV"), "VM_SHARE="+dir+" "+programs)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitCode(exit.ExitCode())
	}
	return err
}

func openShell(s *stage.Stage) error {
	fmt.Printf("The lab stands. Its files are in %s; nodes:", s.Dir)
	for _, n := range s.Nodes {
		fmt.Printf(" %s=%d", n.Name(), n.PID)
	}
	fmt.Println("\nEnter one with: nsenter -t NUMBER -n -m -p -u   Exit the shell to go on.")
	cmd := exec.Command("bash")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

func playPart(_ *cobra.Command, args []string) error {
	parts := map[string]func(string, *slog.Logger) error{"tgw": plain.Run, "site": site.Run, "swarm": swarm.Run}
	part, ok := parts[args[0]]
	if !ok {
		return fmt.Errorf("no part %q", args[0])
	}
	return part(args[1], slog.New(slog.NewTextHandler(os.Stderr, nil)))
}
