package nstest

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/netlab"
)

// NS is a host of a test: a named network namespace inside the isolated one.
type NS struct {
	host *netlab.Host
}

// New makes a namespace; call it only after Isolate returned true.
func New(t testing.TB, name string) *NS {
	t.Helper()
	h, err := netlab.NewHost(name, false)
	if err != nil {
		t.Fatalf("nstest: %v", err)
	}
	return &NS{host: h}
}

// Name is what ip netns calls it.
func (n *NS) Name() string { return n.host.Name() }

// Host is the namespace as package netlab sees it.
func (n *NS) Host() *netlab.Host {
	if n == nil {
		return nil
	}
	return n.host
}

// Cmd prepares a command that runs in the namespace.
func (n *NS) Cmd(args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", n.Name()}, args...)...)
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
	if err := n.host.Do(func() error { fn(); return nil }); err != nil {
		t.Fatalf("nstest: %v", err)
	}
}

// Veth joins two namespaces; a nil NS is the isolated namespace itself.
func Veth(t testing.TB, a *NS, aDev string, aAddrs []string, b *NS, bDev string, bAddrs []string) {
	t.Helper()
	err := netlab.Link(
		netlab.End{Host: a.Host(), Device: aDev, Addresses: aAddrs},
		netlab.End{Host: b.Host(), Device: bDev, Addresses: bAddrs},
	)
	if err != nil {
		t.Fatalf("nstest: %v", err)
	}
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

// NeedLink skips the test unless the kernel can make an interface of a kind;
// args are what that kind wants besides. Call it inside the isolated namespace.
func NeedLink(t testing.TB, kind string, args ...string) {
	t.Helper()
	cmd := exec.Command("ip", append([]string{"link", "add", "probe0", "type", kind}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("this kernel has no interfaces of kind %s: %s", kind, strings.TrimSpace(string(out)))
	}
	Run(t, "ip", "link", "del", "probe0")
}
