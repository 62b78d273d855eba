package netlab

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is a network namespace with a name, and perhaps mounts of its own. The
// nil Host stands for the isolated namespace that the lab is built in.
type Host struct {
	name string
	net  *os.File // the network namespace, kept alive by being open
	mnt  *os.File // the mount namespace, nil: shared with the lab
	uts  *os.File // host name and process IDs; nil: shared with the lab
	pid  *os.File
	lab  *Lab
	dir  string

	adopted bool // namespaces of somebody else, without a name in /run/netns

	// Env is what programs started on the host have in their environment besides
	// that of this process ("KEY=value").
	Env []string
}

// NewHost makes a host that belongs to no lab. With ownRun it gets a /run of
// its own, so that programs with the same socket paths do not meet.
func NewHost(name string, ownRun bool) (*Host, error) {
	h := &Host{name: name}
	err := onThread(func() error {
		flags := unix.CLONE_NEWNET
		if ownRun {
			flags |= unix.CLONE_NEWNS | unix.CLONE_FS
		}
		if err := unix.Unshare(flags); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if ownRun {
			if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return fmt.Errorf("make mounts private: %w", err)
			}
			if err := PrivateRun(); err != nil {
				return err
			}
		}
		NoAddressDetection()
		if err := LoUp(); err != nil {
			return err
		}
		var err error
		if h.net, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		if ownRun {
			h.mnt, err = os.Open("/proc/thread-self/ns/mnt")
		}
		return err
	})
	if err == nil {
		err = h.giveName()
	}
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", name, errors.Join(err, h.close()))
	}
	return h, nil
}

// NoAddressDetection makes IPv6 link-local addresses usable at once. Without it
// a router sends no neighbor solicitations for its first second or two, because
// their source is still tentative (RFC 4862 section 5.4). On a lab's links
// nobody else can have the address. Where /proc/sys is read-only it only takes
// longer.
func NoAddressDetection() {
	for _, which := range []string{"all", "default"} {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/accept_dad", []byte("0"), 0)
	}
}

// giveName makes the namespace known to `ip netns`.
func (h *Host) giveName() error {
	path := "/run/netns/" + h.name
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	_ = f.Close()
	return unix.Mount(fmt.Sprintf("/proc/self/fd/%d", h.net.Fd()), path, "", unix.MS_BIND, "")
}

func (h *Host) close() error {
	var errs []error
	if !h.adopted {
		if err := unix.Unmount("/run/netns/"+h.name, unix.MNT_DETACH); err == nil {
			errs = append(errs, os.Remove("/run/netns/"+h.name))
		}
	}
	for _, f := range []*os.File{h.net, h.mnt, h.uts, h.pid} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Name is what ip netns calls the host.
func (h *Host) Name() string {
	if h == nil {
		return "lab"
	}
	return h.name
}

// Dir is the host's directory for configurations and logs.
func (h *Host) Dir() string { return h.dir }

// File writes a file into the host's directory, readable only by its owner
// (WireGuard keys are among them), and returns its path.
func (h *Host) File(name, content string) (string, error) {
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(content), 0o600)
}

// netns opens the host's network namespace.
func (h *Host) netns() (*os.File, error) {
	if h == nil {
		return os.Open("/proc/thread-self/ns/net")
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", h.net.Fd()))
}

// Netlink calls fn with a netlink handle of the host.
func (h *Host) Netlink(fn func(*netlink.Handle) error) error {
	f, err := h.netns()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	nl, err := netlink.NewHandleAt(netns.NsHandle(int(f.Fd())), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer nl.Close()
	return fn(nl)
}

// Do calls fn on a thread that is on the host. Sockets, devices and processes
// made by fn belong to the host; goroutines that fn starts do not.
func (h *Host) Do(fn func() error) error {
	return onThread(func() error {
		if h != nil {
			if err := h.enter(); err != nil {
				return fmt.Errorf("enter host %s: %w", h.name, err)
			}
		}
		return fn()
	})
}

func (h *Host) enter() error {
	if h.mnt != nil {
		// A thread that shares its working directory with others may not change
		// its mount namespace (setns(2)).
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return err
		}
		if err := unix.Setns(int(h.mnt.Fd()), unix.CLONE_NEWNS); err != nil {
			return err
		}
	}
	if h.uts != nil {
		if err := unix.Setns(int(h.uts.Fd()), unix.CLONE_NEWUTS); err != nil {
			return err
		}
	}
	if h.pid != nil { // concerns children only (pid_namespaces(7))
		if err := unix.Setns(int(h.pid.Fd()), unix.CLONE_NEWPID); err != nil {
			return err
		}
	}
	return unix.Setns(int(h.net.Fd()), unix.CLONE_NEWNET)
}

// onThread calls fn on a thread that ends afterwards, so that whatever fn does
// to the thread's namespaces affects nobody else.
func onThread(fn func() error) error {
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		errc <- fn()
	}()
	return <-errc
}

// Run runs a command on the host and returns what it printed.
func (h *Host) Run(args ...string) (string, error) {
	stdout, stderr, err := h.output(args)
	if err != nil {
		return stdout, fmt.Errorf("%s: %s: %w\n%s%s", h.Name(), strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout + stderr, nil
}

// RunAll runs commands one after the other, each given as one line of words.
func (h *Host) RunAll(lines ...string) error {
	for _, l := range lines {
		if _, err := h.Run(strings.Fields(l)...); err != nil {
			return err
		}
	}
	return nil
}

// Output runs a command on the host; a non-zero exit code is no error.
func (h *Host) Output(args ...string) (stdout, stderr string, code int, err error) {
	stdout, stderr, err = h.output(args)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return stdout, stderr, exit.ExitCode(), nil
	}
	return stdout, stderr, 0, err
}

func (h *Host) output(args []string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd, err := h.start(args, nil, func(c *exec.Cmd) { c.Stdout, c.Stderr = &out, &errs })
	if err == nil {
		err = cmd.Wait()
	}
	return out.String(), errs.String(), err
}

// start starts a program on the host, found in the host's mounts.
func (h *Host) start(args, env []string, prepare func(*exec.Cmd)) (*exec.Cmd, error) {
	if h != nil {
		env = slices.Concat(h.Env, env)
	}
	var cmd *exec.Cmd
	err := h.Do(func() error {
		path, err := findProgram(args[0], env)
		if err != nil {
			return err
		}
		cmd = exec.Command(path, args[1:]...)
		cmd.Args[0] = args[0]
		if len(env) > 0 {
			cmd.Env = append(os.Environ(), env...)
		}
		prepare(cmd)
		return cmd.Start()
	})
	return cmd, err
}

// Sysctl sets kernel settings of the host's network namespace, each given as
// "net.ipv4.ip_forward=1".
func (h *Host) Sysctl(settings ...string) error {
	return h.Do(func() error {
		for _, s := range settings {
			key, value, ok := strings.Cut(s, "=")
			if !ok {
				return fmt.Errorf("sysctl %q: want key=value", s)
			}
			path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
			if err := os.WriteFile(path, []byte(value), 0); err != nil {
				return fmt.Errorf("sysctl %s: %w", s, err)
			}
		}
		return nil
	})
}

// Route adds a route to prefix ("default" is 0.0.0.0/0 of via's family) by way of
// a neighbor's address.
func (h *Host) Route(prefix, via string) error {
	gw := net.ParseIP(via)
	if prefix == "default" {
		prefix = "0.0.0.0/0"
		if gw.To4() == nil {
			prefix = "::/0"
		}
	}
	dst, err := netlink.ParseIPNet(prefix)
	if err != nil || gw == nil {
		return fmt.Errorf("host %s: route %s via %s: not understood", h.Name(), prefix, via)
	}
	err = h.Netlink(func(nl *netlink.Handle) error { return nl.RouteReplace(&netlink.Route{Dst: dst, Gw: gw}) })
	if err != nil {
		return fmt.Errorf("host %s: route %s via %s: %w", h.Name(), prefix, via, err)
	}
	return nil
}

// Forwarding makes the host a router of both families.
func (h *Host) Forwarding() error {
	return h.Sysctl("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
		"net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
}
