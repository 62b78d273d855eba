package nstest

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// NS is a host of a test: a named network namespace inside the isolated one.
type NS struct {
	name string
}

// New makes a namespace; call it only after Isolate returned true.
func New(t testing.TB, name string) *NS {
	t.Helper()
	Run(t, "ip", "netns", "add", name)
	n := &NS{name: name}
	n.Run(t, "ip", "link", "set", "lo", "up")
	return n
}

// Name is what ip netns calls it.
func (n *NS) Name() string { return n.name }

// Cmd prepares a command that runs in the namespace.
func (n *NS) Cmd(args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", n.name}, args...)...)
}

// Run runs a command in the namespace and returns its output; failure ends the test.
func (n *NS) Run(t testing.TB, args ...string) string {
	t.Helper()
	return output(t, n.Cmd(args...))
}

// Run runs a command in the isolated namespace itself.
func Run(t testing.TB, args ...string) string {
	t.Helper()
	return output(t, exec.Command(args[0], args[1:]...))
}

func output(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// Do runs fn with the calling thread inside the namespace. Sockets and devices
// opened in fn belong to the namespace; goroutines that fn starts do not.
func (n *NS) Do(t testing.TB, fn func()) {
	t.Helper()
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		f, err := os.Open("/run/netns/" + n.name)
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			_ = f.Close()
		}
		if err == nil {
			fn()
		}
		errc <- err
	}()
	if err := <-errc; err != nil {
		t.Fatalf("enter namespace %s: %v", n.name, err)
	}
}

// Veth joins two namespaces; a nil NS is the isolated namespace itself.
func Veth(t testing.TB, a *NS, aDev string, aAddrs []string, b *NS, bDev string, bAddrs []string) {
	t.Helper()
	Run(t, "ip", "link", "add", aDev, "type", "veth", "peer", "name", "nstmp0")
	place := func(n *NS, from, dev string, addrs []string) {
		t.Helper()
		run := func(args ...string) {
			t.Helper()
			if n == nil {
				Run(t, args...)
			} else {
				n.Run(t, args...)
			}
		}
		if n != nil {
			Run(t, "ip", "link", "set", from, "netns", n.name)
		}
		if from != dev {
			run("ip", "link", "set", from, "name", dev)
		}
		for _, a := range addrs {
			if netip.MustParsePrefix(a).Addr().Is6() {
				run("ip", "addr", "add", a, "dev", dev, "nodad")
			} else {
				run("ip", "addr", "add", a, "dev", dev)
			}
		}
		run("ip", "link", "set", dev, "up")
	}
	place(b, "nstmp0", bDev, bAddrs)
	place(a, aDev, aDev, aAddrs)
}

// Eventually retries cond until it returns nil or the deadline passes, then
// ends the test with the last error.
func Eventually(t testing.TB, within time.Duration, cond func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	err := errors.New("never tried")
	for time.Now().Before(deadline) {
		if err = cond(); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond) // pause between tries of a bounded wait
	}
	t.Fatalf("not within %s: %v", within, err)
}

// Need skips the test unless every program is installed.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s: %v", p, err)
		}
	}
}
