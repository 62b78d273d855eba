package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/netlab"
)

// initWord makes wgbgp-lab the first process of a node.
const initWord = "lab-init"

// inner is what the first process of a node is told.
type inner struct {
	Name    string
	Binds   []bind
	Sysctls []string // "net.ipv4.ip_forward=1"
	Ready   string   // a file made when all is set up
}

type bind struct {
	Source, Target string
	ReadOnly       bool
}

// Init is the first process of a node in namespaces, if the program's arguments
// say so; then it does not return. Call it first in main.
func Init() {
	if len(os.Args) != 3 || os.Args[1] != initWord {
		return
	}
	if err := runInit(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runInit(file string) error {
	var in inner
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := in.setUp(); err != nil {
		return fmt.Errorf("node %s: %w", in.Name, err)
	}
	if err := os.WriteFile(in.Ready, nil, 0o600); err != nil {
		return err
	}
	// Orphans come to the first process of a PID namespace and are its to reap.
	dead := make(chan os.Signal, 1)
	signal.Notify(dead, unix.SIGCHLD)
	for range dead {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if pid <= 0 || err != nil {
				break
			}
		}
	}
	return nil
}

// setUp gives the node its own /proc, /run and /etc, in this order: the others
// need the mounts of the one before.
func (in inner) setUp() error {
	if err := unix.Sethostname([]byte(in.Name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := netlab.PrivateRun(); err != nil {
		return err
	}
	for _, d := range []string{"/var/tmp", "/var/log"} {
		if err := unix.Mount("tmpfs", d, "tmpfs", 0, "mode=1777"); err != nil {
			return fmt.Errorf("mount %s: %w", d, err)
		}
	}
	if err := in.privateEtc(); err != nil {
		return fmt.Errorf("private /etc: %w", err)
	}
	for _, b := range in.Binds {
		if err := b.mount(); err != nil {
			return fmt.Errorf("bind %s: %w", b.Target, err)
		}
	}
	netlab.NoAddressDetection()
	for _, kv := range in.Sysctls {
		key, value, _ := strings.Cut(kv, "=")
		if err := os.WriteFile("/proc/sys/"+strings.ReplaceAll(key, ".", "/"), []byte(value), 0); err != nil {
			return fmt.Errorf("sysctl %s: %w", kv, err)
		}
	}
	return netlab.LoUp()
}

// privateEtc makes an /etc that can be written without harm: a fresh file system
// with links to what the machine has. Directories that a bind goes into begin
// empty, so that the machine's own configuration of a daemon is not seen.
func (in inner) privateEtc() error {
	const machine = "/run/machine-etc"
	if err := os.Mkdir(machine, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("/etc", machine, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	entries, err := os.ReadDir(machine)
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/etc", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "hosts" || in.bindsInto(filepath.Join("/etc", e.Name())) {
			continue
		}
		if err := os.Symlink(filepath.Join(machine, e.Name()), filepath.Join("/etc", e.Name())); err != nil {
			return err
		}
	}
	hosts := "127.0.0.1 localhost " + in.Name + "\n::1 localhost\n"
	return os.WriteFile("/etc/hosts", []byte(hosts), 0o644)
}

func (in inner) bindsInto(dir string) bool {
	for _, b := range in.Binds {
		if b.Target == dir || strings.HasPrefix(b.Target, dir+"/") {
			return true
		}
	}
	return false
}

func (b bind) mount() error {
	info, err := os.Stat(b.Source)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(b.Target), 0o755); err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(b.Target, 0o755)
	} else {
		var f *os.File
		if f, err = os.OpenFile(b.Target, os.O_CREATE, 0o644); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(b.Source, b.Target, "", unix.MS_BIND, ""); err != nil || !b.ReadOnly {
		return err
	}
	return unix.Mount("", b.Target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}
