// Package clab reads the topology files of containerlab (NAME.clab.yml) as far as
// the labs use them, and refuses everything else by name, with the line: a key
// that the namespaces' runner ignored silently would make the same file mean two
// things. https://containerlab.dev/manual/topo-def-file/
//
// Start reading at Load, then decode.go.
package clab

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Suffix ends the name of every topology file.
const Suffix = ".clab.yml"

// Topology is a lab: nodes and the links between them.
type Topology struct {
	Name  string
	Dir   string // of the file; Bind.Source is relative to it
	Nodes []Node // in the order of the file
	Links []Link
}

// Node is one container, or one set of namespaces.
type Node struct {
	Name       string
	Image      string // with the environment's variables filled in
	Entrypoint string // empty: the image's
	Cmd        string // arguments of the entrypoint
	Binds      []Bind
	Exec       []string // commands after the links are there, one after the other
	Env        []KeyValue
	Sysctls    []KeyValue
	Group      string // where the picture puts it
	line       int
}

// Bind shows a file or directory of the lab in the node.
type Bind struct {
	Source   string // relative to Topology.Dir, or absolute
	Target   string // absolute, in the node
	ReadOnly bool
}

// KeyValue is one setting.
type KeyValue struct{ Key, Value string }

// Link joins two nodes by a pair of virtual Ethernet interfaces.
type Link struct {
	A, B End
	MTU  int // 0: containerlab's 9500
	line int
}

// DefaultMTU is containerlab's default for links (its constants.DefaultLinkMTU).
const DefaultMTU = 9500

// End is one end of a link.
type End struct{ Node, Interface string }

// Load reads a topology file. Variables of the form ${NAME}, ${NAME:-default} and
// ${NAME:=default} are filled in by getenv.
func Load(path string, getenv func(string) string) (*Topology, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := parse(path, expand(string(text), getenv))
	if err != nil {
		return nil, err
	}
	t.Dir = filepath.Dir(path)
	return t, t.check(path)
}

// Find is the topology file of a lab's folder.
func Find(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"+Suffix))
	switch {
	case err != nil:
		return "", err
	case len(files) != 1:
		return "", fmt.Errorf("%s: want one file NAME%s, found %d", dir, Suffix, len(files))
	}
	return files[0], nil
}

// Node finds a node by name.
func (t *Topology) Node(name string) (*Node, bool) {
	n := slices.IndexFunc(t.Nodes, func(n Node) bool { return n.Name == name })
	if n < 0 {
		return nil, false
	}
	return &t.Nodes[n], true
}

// Between are the links that join two nodes directly, each with its A end at a.
func (t *Topology) Between(a, b string) []Link {
	var found []Link
	for _, l := range t.Links {
		switch {
		case l.A.Node == a && l.B.Node == b:
			found = append(found, l)
		case l.A.Node == b && l.B.Node == a:
			found = append(found, Link{A: l.B, B: l.A, MTU: l.MTU})
		}
	}
	return found
}

// check finds what containerlab would find only while it deploys.
func (t *Topology) check(path string) error {
	ends := map[End]int{}
	for _, l := range t.Links {
		for _, e := range []End{l.A, l.B} {
			if _, ok := t.Node(e.Node); !ok {
				return fmt.Errorf("%s:%d: links: no node is called %q; there are %s", path, l.line, e.Node, strings.Join(t.names(), ", "))
			}
			if first, ok := ends[e]; ok {
				return fmt.Errorf("%s:%d: links: %s:%s is already used on line %d", path, l.line, e.Node, e.Interface, first)
			}
			if len(e.Interface) > 15 { // IFNAMSIZ
				return fmt.Errorf("%s:%d: links: interface name %q is longer than 15 characters", path, l.line, e.Interface)
			}
			if e.Interface == "eth0" {
				return fmt.Errorf("%s:%d: links: eth0 is containerlab's management interface; begin with eth1", path, l.line)
			}
			ends[e] = l.line
		}
	}
	for _, n := range t.Nodes {
		if n.Image == "" {
			return fmt.Errorf("%s:%d: node %s: image is missing", path, n.line, n.Name)
		}
	}
	return nil
}

func (t *Topology) names() []string {
	names := make([]string, len(t.Nodes))
	for i, n := range t.Nodes {
		names[i] = n.Name
	}
	return names
}
