package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/labs/clab"
)

// startFRR does what the start script of FRR's own image does: the daemons that
// /etc/frr/daemons switches on, then the configuration for all of them. An address
// that comes while zebra 8.4 reads the interfaces is lost to bgpd for good
// ("nexthop_set failed ... intf (Unknown)"), so that tunnels come first, if they
// come within 10 s.
const startFRR = `set -e
mkdir -p /run/frr && chown frr:frr /run/frr
touch /etc/frr/vtysh.conf
for f in /etc/wireguard/*.conf; do
	i=$(basename "$f" .conf)
	for _ in $(seq 100); do
		[ ! -e "$f" ] || ip -o addr show dev "$i" up 2>/dev/null | grep -q . && break
		sleep 0.1
	done
done
on() { [ "$1" = zebra ] || grep -q "^$1=yes" /etc/frr/daemons; }
for d in zebra bgpd bfdd staticd; do
	if on $d; then /usr/lib/frr/$d -d -A 127.0.0.1 --log stdout; fi
done
vtysh -b
exec sleep infinity`

// entrypoints are those of the images the labs use, by the last word of the
// image's name without its tag: in namespaces there is no image to ask.
var entrypoints = map[string][]string{
	"wgbgp":       {"wgbgpd"},
	"lab-gateway": {"wgbgpd"},
	"lab-frr":     {"sh", "-c", startFRR},
	"frr":         {"sh", "-c", startFRR},
	"lab-bird":    {"sh", "-c", "mkdir -p /run/bird && exec bird -f -c /etc/bird/bird.conf"},
	"lab-gobgp":   {"gobgpd", "-f", "/etc/gobgp/gobgpd.toml"},
	"lab":         nil, // a host; its command, if any, is the whole command line
}

// namespaces makes the lab stand in namespaces, in containerlab's order: the
// programs start, then the links come, then the commands of exec run.
func (s *Stage) namespaces(o Options) error {
	for i := range s.Topology.Nodes {
		spec := &s.Topology.Nodes[i]
		main, err := commandLine(spec)
		if err != nil {
			return err
		}
		s.Nodes = append(s.Nodes, &Node{Spec: spec, main: main})
	}
	s.down = s.endNodes
	programs, err := filepath.Abs(o.Programs)
	if err != nil {
		return err
	}
	var g errgroup.Group
	for _, n := range s.Nodes {
		g.Go(func() error { return s.isolate(n, programs) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, n := range s.Nodes {
		if len(n.main) > 0 && !slices.Contains(o.NotStarted, n.Spec.Name) {
			if err := n.Start(); err != nil {
				return err
			}
		}
	}
	for _, l := range s.Topology.Links {
		if err := s.link(l); err != nil {
			return err
		}
	}
	for _, n := range s.Nodes { // in order, so that a site dials a gateway that has addresses
		if err := n.exec(); err != nil {
			return err
		}
	}
	return nil
}

func commandLine(n *clab.Node) ([]string, error) {
	name, _, _ := strings.Cut(path.Base(n.Image), ":")
	entry, known := entrypoints[name]
	switch {
	case n.Entrypoint != "":
		entry = strings.Fields(n.Entrypoint)
	case !known:
		return nil, fmt.Errorf("node %s: what image %s starts is not known here; give the node an entrypoint", n.Name, n.Image)
	}
	return append(slices.Clone(entry), strings.Fields(n.Cmd)...), nil
}

// isolate starts the node's first process in namespaces of its own.
func (s *Stage) isolate(n *Node, programs string) error {
	in := inner{Name: n.Spec.Name, Ready: filepath.Join(s.lab.Dir(), n.Spec.Name+".ready")}
	for _, b := range n.Spec.Binds {
		source := b.Source
		if !filepath.IsAbs(source) {
			source = filepath.Join(s.Dir, source)
		}
		in.Binds = append(in.Binds, bind{source, b.Target, b.ReadOnly})
	}
	for _, kv := range n.Spec.Sysctls {
		in.Sysctls = append(in.Sysctls, kv.Key+"="+kv.Value)
	}
	told, err := json.Marshal(in)
	if err != nil {
		return err
	}
	file := filepath.Join(s.lab.Dir(), n.Spec.Name+".json")
	if err := os.WriteFile(file, told, 0o600); err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", initWord, file)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Unshareflags: syscall.CLONE_NEWNS, // with mounts private to it (package syscall)
		Setpgid:      true,
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("node %s: %w", n.Spec.Name, err)
	}
	n.PID = cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := untilThere(in.Ready, ended); err != nil {
		return fmt.Errorf("node %s: %w: %s", n.Spec.Name, err, said.String())
	}
	if n.Host, err = s.lab.Adopt(n.Spec.Name, n.PID); err != nil {
		return err
	}
	n.Env = []string{"PATH=" + programs + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, kv := range n.Spec.Env {
		n.Env = append(n.Env, kv.Key+"="+kv.Value)
	}
	return nil
}

// endNodes ends the first process of every node, and with it all others.
func (s *Stage) endNodes() error {
	var errs []error
	for _, n := range s.Nodes {
		if n.PID != 0 {
			errs = append(errs, syscall.Kill(n.PID, syscall.SIGKILL))
		}
	}
	return errors.Join(errs...)
}

func untilThere(file string, ended <-chan error) error {
	deadline := time.After(20 * time.Second)
	for {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		select {
		case err := <-ended:
			return fmt.Errorf("it ended: %w", err)
		case <-deadline:
			return errors.New("not set up after 20 s")
		case <-time.After(5 * time.Millisecond): // pause between tries of a bounded wait
		}
	}
}

func (s *Stage) link(l clab.Link) error {
	a, err := s.Node(l.A.Node)
	if err != nil {
		return err
	}
	b, err := s.Node(l.B.Node)
	if err != nil {
		return err
	}
	mtu := l.MTU
	if mtu == 0 {
		mtu = clab.DefaultMTU
	}
	return netlab.Link(netlab.End{Host: a.Host, Device: l.A.Interface, MTU: mtu}, netlab.End{Host: b.Host, Device: l.B.Interface, MTU: mtu})
}

// exec runs the commands of the topology file.
func (n *Node) exec() error {
	for _, line := range n.Spec.Exec {
		words, err := Words(line)
		if err != nil {
			return fmt.Errorf("node %s: exec %q: %w", n.Name(), line, err)
		}
		if _, err := n.Run(words...); err != nil {
			return err
		}
	}
	return nil
}

// Words splits a command line as containerlab does: at blanks, with single and
// double quotes.
func Words(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, quote := false, rune(0)
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			in, quote = true, r
		case r == ' ' || r == '\t':
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		default:
			in = true
			word.WriteRune(r)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("%c is not closed", quote)
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}
