// Command demo shows the gateway at work in one minute, on one machine, with
// nothing installed: two gateways with the real wgbgpd, a Transit Gateway with a
// workload behind it, a site with static prefixes and a site that speaks BGP.
// Packets flow all the time and every lost one is counted.
//
// It needs root, or user namespaces. It exits with 1 if something did not happen
// as it should. Start reading at story.go.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/labs/node"
)

func main() {
	node.Main()
	keep := flag.Bool("keep", false, "keep the lab's directory with configurations and logs")
	dir := flag.String("bin", "", "`directory` of wgbgpd and wgbgp (default: that of this program)")
	flag.Parse()

	code, err := isolated(*dir, *keep)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// isolated plays the story in fresh namespaces.
func isolated(dir string, keep bool) (code int, err error) {
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return 1, fmt.Errorf("the tunnels need TUN devices: %w; as root: sudo make demo", err)
	}
	_ = tun.Close()
	inside, code, err := netlab.Reexec()
	if inside && err == nil {
		return run(dir, keep)
	}
	if errors.Is(err, netlab.ErrNotPermitted) {
		err = fmt.Errorf("%w; as root: sudo make demo", err)
	}
	return code, err
}

// run plays the story and returns the exit code.
func run(dir string, keep bool) (code int, err error) {
	if dir == "" {
		exe, err := os.Executable()
		if err != nil {
			return 1, err
		}
		dir = filepath.Dir(exe)
	}
	s := &story{out: os.Stdout, daemon: filepath.Join(dir, "wgbgpd"), cli: filepath.Join(dir, "wgbgp")}
	for _, p := range []string{s.daemon, s.cli} {
		if _, err := os.Stat(p); err != nil {
			return 1, fmt.Errorf("%w (make build)", err)
		}
	}
	err = s.tell()
	if s.lab != nil {
		if err != nil && !errors.Is(err, errInterrupted) {
			s.showLogs()
		}
		err = errors.Join(err, s.lab.Close(keep))
		if keep {
			fmt.Printf("\nConfigurations and logs: %s\n", s.lab.Dir())
		}
	}
	if err != nil || s.failed > 0 {
		return 1, err
	}
	return 0, nil
}
