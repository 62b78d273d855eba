package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/labs/stage"
)

// A standing lab has a directory with:
const (
	holderFile = "holder"     // process ID of the process that keeps it
	nodesFile  = "nodes.json" // process IDs of the nodes, inside
	logFile    = "log"
)

func standing(lab string) string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("wgbgp-lab-%d-%s", os.Getuid(), lab))
}

// up makes the lab stand in a process of its own that outlives this one.
func up(w io.Writer, f flags, lab string) error {
	if _, err := f.topology(lab); err != nil {
		return err
	}
	dir := standing(lab)
	if err := os.Mkdir(dir, 0o755); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("lab %s stands already (%s); wgbgp-lab down %s takes it away", lab, dir, lab)
	} else if err != nil {
		return err
	}
	labs, err := f.dir()
	if err != nil {
		return err
	}
	args := []string{"hold", "--labs", labs}
	if f.programs != "" {
		args = append(args, "--programs", f.programs)
	}
	if f.docker {
		args = append(args, "--docker")
	}
	log, err := os.Create(filepath.Join(dir, logFile))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, append(args, lab, dir)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, holderFile), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		if nodes, err := readNodes(dir); err == nil {
			fmt.Fprintf(w, "lab %s stands; try:\n", lab)
			for name := range nodes {
				fmt.Fprintf(w, "  wgbgp-lab shell %s %s\n", lab, name)
			}
			return nil
		}
		select {
		case err := <-ended:
			said, _ := os.ReadFile(filepath.Join(dir, logFile))
			_ = os.RemoveAll(dir)
			return fmt.Errorf("lab %s did not stand: %w\n%s", lab, err, said)
		case <-time.After(50 * time.Millisecond): // the holder ends if it can not make the lab
		}
	}
}

// holdLab is the process that keeps a lab until SIGTERM.
func holdLab(f flags, lab, dir string) error {
	programs, cleanup, err := f.binaries()
	defer cleanup()
	if err != nil {
		return err
	}
	if !f.docker {
		if err := os.Setenv("WGBGP_LAB_PROGRAMS", programs); err != nil {
			return err
		}
		inside, code, err := netlab.Reexec()
		if err != nil || !inside {
			return errors.Join(err, exitCode(code))
		}
		programs = os.Getenv("WGBGP_LAB_PROGRAMS")
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	labs, err := f.dir()
	if err != nil {
		return err
	}
	s, err := stage.Up(stage.Options{Folder: filepath.Join(labs, lab), Programs: programs, Docker: f.docker, Getenv: os.Getenv})
	if err != nil {
		return err
	}
	nodes := map[string]int{}
	for _, n := range s.Nodes {
		nodes[n.Name()] = n.PID
	}
	b, err := json.Marshal(nodes)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, nodesFile), b, 0o644)
	}
	if err == nil {
		<-end
	}
	return errors.Join(err, s.Down())
}

func readNodes(dir string) (map[string]int, error) {
	b, err := os.ReadFile(filepath.Join(dir, nodesFile))
	if err != nil {
		return nil, err
	}
	var nodes map[string]int
	return nodes, json.Unmarshal(b, &nodes)
}

func holder(lab string) (dir string, pid int, err error) {
	dir = standing(lab)
	b, err := os.ReadFile(filepath.Join(dir, holderFile))
	if err != nil {
		return dir, 0, fmt.Errorf("lab %s does not stand; wgbgp-lab up %s makes it", lab, lab)
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
	return dir, pid, err
}

// shell enters the isolated process that keeps the lab, and from there the node.
func shell(lab, node string, command []string) error {
	dir, pid, err := holder(lab)
	if err != nil {
		return err
	}
	nodes, err := readNodes(dir)
	if err != nil {
		return err
	}
	inner, ok := nodes[node]
	if !ok {
		return fmt.Errorf("lab %s has no node %q", lab, node)
	}
	if len(command) == 0 {
		command = []string{"bash"}
	}
	args := []string{"nsenter", "-t", strconv.Itoa(inner), "-n", "-m", "-p", "-u", "--"}
	if child, isolated := onlyChild(pid); isolated {
		user := "-U"
		if os.Getuid() == 0 {
			user = "-n" // root's labs need no user namespace
		}
		args = append([]string{"nsenter", "-t", strconv.Itoa(child), "-m", "-p", user, "--"}, args...)
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return err
	}
	cmd := exec.Command(nsenter, append(args[1:], command...)...)
	cmd.Env = append(os.Environ(), "PATH="+programsOf(pid)+":"+os.Getenv("PATH"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitCode(exit.ExitCode())
	}
	return err
}

// onlyChild finds the isolated copy of the holder (netlab.Reexec).
func onlyChild(pid int) (int, bool) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return 0, false
	}
	for _, t := range tasks {
		b, err := os.ReadFile(t)
		if err != nil {
			continue
		}
		if f := strings.Fields(string(b)); len(f) > 0 {
			child, err := strconv.Atoi(f[0])
			return child, err == nil
		}
	}
	return 0, false
}

// programsOf is the folder of the programs that the holder runs.
func programsOf(pid int) string {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return "."
	}
	return filepath.Dir(exe)
}

func down(_ flags, lab string) error {
	dir, pid, err := holder(lab)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	deadline := time.Now().Add(30 * time.Second)
	for syscall.Kill(pid, 0) == nil {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d still keeps lab %s after 30 s", pid, lab)
		}
		time.Sleep(50 * time.Millisecond) // pause between tries of a bounded wait
	}
	return os.RemoveAll(dir)
}
