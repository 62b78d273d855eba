package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/labs/docker"
)

// deploy makes the lab stand by the real containerlab and adopts its containers:
// commands and traffic of scenarios join their namespaces.
func (s *Stage) deploy(o Options, file string) error {
	if len(o.NotStarted) > 0 {
		return fmt.Errorf("in Docker all nodes start with their programs, also %s", strings.Join(o.NotStarted, " and "))
	}
	ctx := context.Background()
	lab, err := docker.Deploy(ctx, docker.Options{Name: s.Topology.Name, File: file, Containerlab: containerlab(o.Folder)})
	if err != nil {
		return err
	}
	var followers []*exec.Cmd
	s.down = func() error {
		errs := []error{lab.Destroy()}
		for _, f := range followers { // they end with their containers
			_ = f.Process.Kill()
			_ = f.Wait()
		}
		return errors.Join(errs...)
	}
	for i := range s.Topology.Nodes {
		n := &Node{Spec: &s.Topology.Nodes[i]}
		if n.main, err = commandLine(n.Spec); err != nil {
			return err
		}
		if n.PID, err = lab.PID(ctx, n.Spec.Name); err != nil {
			return err
		}
		if n.Host, err = s.lab.Adopt(n.Spec.Name, n.PID); err != nil {
			return err
		}
		n.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
		for _, kv := range n.Spec.Env {
			n.Env = append(n.Env, kv.Key+"="+kv.Value)
		}
		s.Nodes = append(s.Nodes, n)
		if len(n.main) == 0 {
			continue
		}
		log := filepath.Join(n.Dir(), "main.log")
		follower, err := follow(lab.Container(n.Name()), log)
		if err != nil {
			return err
		}
		followers = append(followers, follower)
		program, err := mainOf(n.PID)
		if err != nil {
			return fmt.Errorf("node %s: %w", n.Name(), err)
		}
		if n.Main, err = n.AdoptProcess("main", program, log); err != nil {
			return err
		}
	}
	return nil
}

// containerlab is the script of the repository that the lab is in, if any.
func containerlab(folder string) string {
	script, err := filepath.Abs(filepath.Join(folder, "../../containerlab"))
	if err == nil {
		_, err = os.Stat(script)
	}
	if err != nil {
		return "" // from the PATH
	}
	return script
}

// follow copies what a container's program prints, so that Process.Tail and a
// person find it where they do in namespaces.
func follow(container, path string) (*exec.Cmd, error) {
	log, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command("docker", "logs", "-f", container)
	cmd.Stdout, cmd.Stderr = log, log
	return cmd, cmd.Start()
}

// mainOf finds a node's program. In our images the first process is lab-node,
// which outlives it (labs/images/base); in others it is the program itself.
func mainOf(pid int) (int, error) {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil || strings.TrimSpace(string(name)) != "lab-node" {
		return pid, err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(children)), " ")
	program, err := strconv.Atoi(first)
	if err != nil {
		return 0, errors.New("its program has ended")
	}
	return program, nil
}
