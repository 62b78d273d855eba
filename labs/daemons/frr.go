// Package daemons runs other people's programs on the hosts of a lab: FRR, BIRD
// and wireguard-go with wg(8). They are the other ends that are not our code.
// Debian's packages suffice (labs/setup); nothing of the machine's own
// configuration of them is read or written.
package daemons

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/internal/netlab"
)

const frrDir = "/usr/lib/frr"

// FRR is zebra, bgpd and perhaps bfdd on one host.
type FRR struct {
	Zebra, BGPD, BFDD *netlab.Process
	host              *netlab.Host
	dir               string
}

// StartFRR starts zebra and bgpd with bgpd's configuration, as vtysh would show
// it. Routes go to the main table. It returns when both answer.
func StartFRR(h *netlab.Host, config string) (*FRR, error) {
	conf, err := h.File("frr/bgpd.conf", config)
	if err != nil {
		return nil, err
	}
	zconf, err := h.File("frr/zebra.conf", "hostname "+h.Name()+"\n")
	if err != nil {
		return nil, err
	}
	if _, err := h.File("frr/vtysh.conf", "no service integrated-vtysh-config\n"); err != nil {
		return nil, err
	}
	f := &FRR{host: h, dir: filepath.Dir(conf)}
	// FRR gives up root for its own user, which it was compiled for.
	if _, err := h.Run("chown", "-R", "frr:frr", f.dir); err != nil {
		return nil, err
	}
	if f.Zebra, err = h.Start("zebra", f.command("zebra", zconf)...); err != nil {
		return nil, err
	}
	if err := f.answers(f.Zebra, "zebra"); err != nil {
		return nil, err
	}
	if f.BGPD, err = h.Start("bgpd", append(f.command("bgpd", conf), "-p", "179")...); err != nil {
		return nil, err
	}
	return f, f.answers(f.BGPD, "bgpd")
}

// StartBFDD starts bfdd with its configuration beside the others and returns when
// it answers. Neighbors of bgpd with "neighbor X bfd" get their sessions from it.
func (f *FRR) StartBFDD(config string) error {
	conf, err := f.host.File("frr/bfdd.conf", config)
	if err != nil {
		return err
	}
	if _, err := f.host.Run("chown", "frr:frr", conf); err != nil {
		return err
	}
	args := append(f.command("bfdd", conf), "--bfdctl", filepath.Join(f.dir, "bfdd.sock"))
	if f.BFDD, err = f.host.Start("bfdd", args...); err != nil {
		return err
	}
	return f.answers(f.BFDD, "bfdd")
}

// command is how a daemon is started.
func (f *FRR) command(name, conf string) []string {
	return []string{
		filepath.Join(frrDir, name), "-A", "127.0.0.1", "-f", conf,
		"-i", filepath.Join(f.dir, name+".pid"), "-z", filepath.Join(f.dir, "zserv.api"), "--vty_socket", f.dir,
		"--log", "stdout", "--log-level", "informational",
	}
}

func (f *FRR) answers(p *netlab.Process, daemon string) error {
	return waitFor(p, func() error {
		_, err := f.vtysh("-d", daemon, "-c", "show version")
		return err
	})
}

func (f *FRR) vtysh(args ...string) (string, error) {
	return f.host.Run(append([]string{"vtysh", "--vty_socket", f.dir, "--config_dir", f.dir}, args...)...)
}

// Vtysh runs commands of bgpd's command line in one session, so that
// "configure terminal" holds for those after it.
func (f *FRR) Vtysh(commands ...string) (string, error) { return f.commands("bgpd", commands) }

// VtyshBFD is Vtysh for bfdd.
func (f *FRR) VtyshBFD(commands ...string) (string, error) { return f.commands("bfdd", commands) }

func (f *FRR) commands(daemon string, commands []string) (string, error) {
	args := []string{"-d", daemon}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out, err := f.vtysh(args...)
	if err == nil && strings.Contains(out, "% ") {
		// vtysh reports refused commands in its text only.
		err = fmt.Errorf("vtysh %q: %s", commands, out)
	}
	return out, err
}

// waitFor tries until the program answers, ends, or thirty seconds have passed.
func waitFor(p *netlab.Process, try func() error) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := try()
		if err == nil {
			return nil
		}
		switch {
		case !p.Running():
			err = errors.New("it ended")
		case time.Now().After(deadline):
		default:
			time.Sleep(20 * time.Millisecond) // pause between tries of a bounded wait
			continue
		}
		return fmt.Errorf("%s does not answer: %w\n%s", p.Name, err, p.Tail(20))
	}
}
