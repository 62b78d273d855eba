package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// programs builds what `make demo` runs into a directory that anybody may read.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := gwlab.BuildPrograms(dir); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "demo"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the demo: %v\n%s", err, out)
	}
	return dir
}

// run runs the demo and returns what it printed.
func runDemo(t *testing.T, dir, tmp string, user uint32, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(filepath.Join(dir, "demo"), args...)
	cmd.Dir, cmd.Env = "/", []string{"TMPDIR=" + tmp, "PATH=/nowhere"} // no other program is needed
	if user != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// permitted skips the test on a machine that lets nobody make namespaces; it
// uses the same way as every other namespace test to find out.
func permitted(t *testing.T) bool {
	t.Helper()
	return nstest.Isolate(t)
}

// tunForEverybody makes /dev/net/tun what it is on a machine with udev, mode
// 0666 (50-udev-default.rules); some virtual machines and containers are
// stricter. Only the mounts of this test see it.
func tunForEverybody(t *testing.T) {
	t.Helper()
	const tun = "/dev/net/tun"
	info, err := os.Stat(tun)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() == 0o666 {
		return
	}
	if err := unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=755"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(tun, unix.S_IFCHR|0o666, int(info.Sys().(*syscall.Stat_t).Rdev)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tun, 0o666); err != nil { // whatever the umask is
		t.Fatal(err)
	}
}

func TestDemoTellsItsStoryAndLeavesNothing(t *testing.T) {
	if !permitted(t) {
		return
	}
	dir := programs(t)
	nobody := uint32(65534)
	for _, c := range []struct {
		name string
		user uint32
	}{
		{"as the user of the test", 0},
		{"as an ordinary user", nobody},
	} {
		t.Run(c.name, func(t *testing.T) {
			tmp, err := os.MkdirTemp("/tmp", "demo-test-")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.RemoveAll(tmp) }()
			if err := os.Chmod(tmp, 0o777); err != nil {
				t.Fatal(err)
			}
			if c.user != 0 {
				if os.Geteuid() != 0 {
					t.Skip("needs root to become an ordinary user; the other case is one already")
				}
				tunForEverybody(t)
			}
			began := time.Now()
			out, err := runDemo(t, dir, tmp, c.user)
			if c.user != 0 && strings.Contains(out, "needs root, or user namespaces") {
				t.Skip(out)
			}
			if err != nil {
				t.Fatalf("demo: %v\n%s", err, out)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("took %s, want less than a minute", took)
			}
			for _, want := range []string{"gw1 has withdrawn paris", "gw1 has announced paris again", "first broken link: ", "all as expected"} {
				if !strings.Contains(out, want) {
					t.Errorf("output lacks %q:\n%s", want, out)
				}
			}
			for _, pattern := range []string{tmp + "/*", "/run/netns/*", "/run/wireguard/*", "/run/wgbgpd/*"} {
				if left, _ := filepath.Glob(pattern); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			}
			if out, err := exec.Command("ps", "-e", "-o", "args").Output(); err != nil || strings.Contains(string(out), dir+"/") {
				t.Errorf("still running (%v):\n%s", err, out)
			}
		})
	}
}

func TestDemoFailsWhenTheGatewayDoesNot(t *testing.T) {
	if !permitted(t) {
		return
	}
	dir := programs(t)
	// A daemon that ends at once is the crudest of broken gateways.
	if err := os.WriteFile(filepath.Join(dir, "wgbgpd"), []byte("#!/bin/sh\necho broken on purpose\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := runDemo(t, dir, t.TempDir(), 0)
	if err == nil {
		t.Errorf("got success, want failure:\n%s", out)
	}
	if !strings.Contains(out, "broken on purpose") {
		t.Errorf("output lacks the daemon's last words:\n%s", out)
	}
}
