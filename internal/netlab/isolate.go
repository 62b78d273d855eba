package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const reexecEnv = "WGBGP_NETLAB_INSIDE"

// ErrNotPermitted says that this machine does not let us make namespaces.
var ErrNotPermitted = errors.New("needs root, or user namespaces that an ordinary user may make " +
	"(sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)")

// Isolation is what a process must be started with to own a world of its own:
// network, mounts and process IDs, and, for anybody but root, a user namespace
// in which it is root. The process ends with the thread that started it, so
// keep that thread (runtime.LockOSThread) until then. It must call Setup first.
func Isolation() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  unix.SIGKILL,
	}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

// Start starts cmd isolated. An error that says ErrNotPermitted means that the
// machine does not allow it.
func Start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = Isolation()
	err := cmd.Start()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL) {
		// ENOSPC: user.max_user_namespaces is reached, usually because it is 0.
		return fmt.Errorf("%w: %w", ErrNotPermitted, err)
	}
	return err
}

// Setup finishes the isolation from inside: private mounts, a /proc that shows
// only our processes, a /run with places for named namespaces and WireGuard
// sockets, and lo up.
func Setup() error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if os.Getpid() == 1 {
		if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			return fmt.Errorf("mount /proc of the process ID namespace: %w", err)
		}
	}
	if err := PrivateRun(); err != nil {
		return err
	}
	NoAddressDetection()
	return LoUp()
}

// PrivateRun mounts a fresh /run and the /sys that belongs to this thread's
// network namespace.
func PrivateRun() error {
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount private /run: %w", err)
	}
	for _, d := range []string{"/run/netns", "/run/wireguard", "/run/lock"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	// In a user namespace the kernel refuses a new sysfs while parts of the
	// present one are hidden, as container engines do. Nothing of ours needs
	// /sys, so that is no reason to give up.
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	return nil
}

func LoUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// Reexec runs the calling program again, isolated, with the same arguments.
// Inside the copy it has set everything up and returns inside=true; in the
// original it returns the copy's exit code after its end.
func Reexec() (inside bool, code int, err error) {
	if os.Getenv(reexecEnv) != "" {
		if err := os.Unsetenv(reexecEnv); err != nil {
			return true, 1, err
		}
		return true, 0, Setup()
	}
	// The terminal sends SIGINT to both of us, and the copy decides what it
	// means; SIGTERM comes to us only and is passed on.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	defer signal.Stop(signals)

	runtime.LockOSThread() // Pdeathsig follows the thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), reexecEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// A better share of a busy machine, for all that the copy will start, where
	// that is permitted: every packet passes several userspace programs, and one
	// that waits for a processor is no fault of the network. Priorities belong to
	// threads and are inherited.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -10)
	err = Start(cmd)
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
	if err != nil {
		return false, 1, err
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals:
				if s == unix.SIGTERM {
					_ = cmd.Process.Signal(s)
				}
			case <-done:
				return
			}
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return false, max(exit.ExitCode(), 1), nil
	}
	return false, 0, err
}
