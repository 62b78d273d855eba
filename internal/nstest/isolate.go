// Package nstest gives tests network namespaces: a test that calls Isolate runs
// in a process of its own with fresh network and mount namespaces, so that it
// can build hosts and links freely and leaves nothing behind.
package nstest

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const childEnv = "WGBGP_NSTEST_CHILD"

// Isolate returns true inside a fresh network namespace. Called in the ordinary
// test process it runs the calling top-level test again in such a namespace,
// reports that result and returns false: the caller must then return.
//
//	if !nstest.Isolate(t) {
//		return
//	}
//
// Without the right to make namespaces (root, or user namespaces) the test is
// skipped and says so.
func Isolate(t testing.TB) bool {
	t.Helper()
	if os.Getenv(childEnv) == t.Name() {
		setup(t)
		return true
	}
	if strings.Contains(t.Name(), "/") {
		t.Fatal("nstest.Isolate: only top-level tests can be isolated")
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.timeout=9m"}
	if b, ok := t.(*testing.B); ok {
		_ = b
		args = []string{"-test.run=^$", "-test.bench=^" + t.Name() + "$", "-test.v", "-test.timeout=9m", "-test.benchtime=" + benchtime()}
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), childEnv+"="+t.Name())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
	runtime.LockOSThread() // Pdeathsig follows the thread
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		t.Skipf("needs root or user namespaces: %v", err)
	}
	err := cmd.Wait()
	text := out.String()
	switch {
	case err != nil:
		t.Fatalf("in its namespace: %v\n%s", err, text)
	case strings.Contains(text, "--- SKIP: "+t.Name()):
		t.Skipf("in its namespace:\n%s", text)
	default:
		t.Logf("in its namespace:\n%s", text)
	}
	return false
}

func benchtime() string {
	for _, a := range os.Args {
		if v, ok := strings.CutPrefix(a, "-test.benchtime="); ok {
			return v
		}
	}
	return "1s"
}

// setup makes the mount namespace private and gives named namespaces, the
// WireGuard sockets and /sys of this namespace a place that dies with it.
func setup(t testing.TB) {
	t.Helper()
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("nstest: %s: %v", what, err)
		}
	}
	must("make mounts private", unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must("private /run", unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"))
	for _, d := range []string{"/run/netns", "/run/wireguard"} {
		must("mkdir "+d, os.MkdirAll(d, 0o755))
	}
	must("sysfs of the namespace", unix.Mount("sysfs", "/sys", "sysfs", 0, ""))
	lo, err := netlink.LinkByName("lo")
	must("find lo", err)
	must("lo up", netlink.LinkSetUp(lo))
}
