// Package stage makes a topology (package clab) stand: in namespaces with the
// software of this machine, or by the real containerlab in Docker. What plays on
// it (package play) sees the same nodes either way.
//
// Start reading at Up, then namespaces.go with inner.go, and docker.go.
package stage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/labs/clab"
)

// Stage is a lab that stands.
type Stage struct {
	Topology *clab.Topology
	Dir      string // the copy of the lab's folder that the nodes see
	Nodes    []*Node

	lab  *netlab.Lab
	down func() error
}

// Node is a node of the lab.
type Node struct {
	*netlab.Host
	Spec *clab.Node
	// PID is the node's first process, as seen by this process.
	PID int
	// Main is the program that the node is there for; nil for nodes without one.
	Main *netlab.Process

	main []string // its command line
}

// Options say where a lab comes from and how it shall stand.
type Options struct {
	Folder string // with the topology file
	// Programs is a directory with wgbgpd, wgbgp and wgbgp-lab.
	Programs string
	Docker   bool
	// Change may edit the copy of the folder before anything starts.
	Change func(dir string) error
	// NotStarted names nodes whose program waits for Start. Not in Docker.
	NotStarted []string
	Getenv     func(string) string
}

// Up makes the lab stand. The caller is isolated (netlab.Reexec) unless in
// Docker. On failure everything is taken down again.
func Up(o Options) (*Stage, error) {
	lab, err := netlab.New()
	if err != nil {
		return nil, err
	}
	s := &Stage{lab: lab, Dir: filepath.Join(lab.Dir(), "files"), down: func() error { return nil }}
	if err := s.up(o); err != nil {
		return nil, errors.Join(err, s.Down())
	}
	return s, nil
}

func (s *Stage) up(o Options) error {
	if err := os.CopyFS(s.Dir, os.DirFS(o.Folder)); err != nil {
		return err
	}
	if o.Change != nil {
		if err := o.Change(s.Dir); err != nil {
			return err
		}
	}
	file, err := clab.Find(s.Dir)
	if err != nil {
		return err
	}
	if s.Topology, err = clab.Load(file, o.Getenv); err != nil {
		return err
	}
	if err := WriteKeys(s.Topology, s.Dir); err != nil {
		return err
	}
	if o.Docker {
		return s.deploy(o, file)
	}
	return s.namespaces(o)
}

// Node finds a node by name.
func (s *Stage) Node(name string) (*Node, error) {
	for _, n := range s.Nodes {
		if n.Name() == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node %q in lab %s", name, s.Topology.Name)
}

// LogDir is where the node's programs leave what they print.
func (n *Node) LogDir() string { return n.Dir() }

// Start starts the node's program, again or at last.
func (n *Node) Start() error {
	switch {
	case n.Main != nil && n.Main.Running():
		return fmt.Errorf("%s runs already", n.Main.Name)
	case len(n.main) == 0:
		return fmt.Errorf("%s: nothing to start: it is a host without a program of its own, or in Docker", n.Name())
	}
	var err error
	n.Main, err = n.Host.Start("main", n.main...)
	return err
}

// Down takes the lab away, with its files.
func (s *Stage) Down() error {
	return errors.Join(s.down(), s.lab.Close(false))
}

// KernelWireGuard reports whether interfaces of kind wireguard can be made here.
func KernelWireGuard() bool {
	_, err := os.Stat("/sys/module/wireguard")
	return err == nil
}
