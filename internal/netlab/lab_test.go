package netlab_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

func newLab(t *testing.T) *netlab.Lab {
	t.Helper()
	lab, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(false); err != nil {
			t.Errorf("close lab: %v", err)
		}
	})
	return lab
}

func newHost(t *testing.T, lab *netlab.Lab, name string) *netlab.Host {
	t.Helper()
	h, err := lab.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestRouterBetweenHostsForwardsBothFamilies(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	lab := newLab(t)
	a, r, b := newHost(t, lab, "a"), newHost(t, lab, "r"), newHost(t, lab, "b")
	for _, err := range []error{
		netlab.Link(netlab.End{Host: a, Device: "eth0", Addresses: []string{"10.1.0.2/24", "fd01::2/64"}, MTU: 9000},
			netlab.End{Host: r, Device: "a", Addresses: []string{"10.1.0.1/24", "fd01::1/64"}, MTU: 9000}),
		netlab.Link(netlab.End{Host: b, Device: "eth0", Addresses: []string{"10.2.0.2/24", "fd02::2/64"}},
			netlab.End{Host: r, Device: "b", Addresses: []string{"10.2.0.1/24", "fd02::1/64"}}),
		r.Forwarding(),
		a.Route("default", "10.1.0.1"), a.Route("default", "fd01::1"),
		b.Route("10.1.0.0/16", "10.2.0.1"), b.Route("fd01::/64", "fd02::1"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, dst := range []string{"10.2.0.2", "fd02::2"} {
		if _, err := a.Run("ping", "-c1", "-W2", dst); err != nil {
			t.Error(err)
		}
	}
	if out, err := a.Run("ip", "link", "show", "eth0"); err != nil || !strings.Contains(out, "mtu 9000") {
		t.Errorf("mtu: got %q (%v), want 9000", out, err)
	}
}

func TestHostsDoNotShareRun(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	lab := newLab(t)
	a, b := newHost(t, lab, "a"), newHost(t, lab, "b")
	if _, err := a.Run("touch", "/run/wireguard/wg0.sock"); err != nil {
		t.Fatal(err)
	}
	if out, err := b.Run("ls", "/run/wireguard"); err != nil || out != "" {
		t.Errorf("/run/wireguard of the other host: got %q (%v), want nothing", out, err)
	}
}

func TestProgramsAreStoppedAndTheirEndIsKnown(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	lab := newLab(t)
	h := newHost(t, lab, "a")
	deaf, err := h.Start("deaf", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
	if err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 5*time.Second, func() error {
		if got := deaf.Tail(1); got != "ready" {
			return errors.New("log: got " + got)
		}
		return nil
	})
	if err := deaf.Stop(100 * time.Millisecond); err != nil {
		t.Error(err)
	}
	if deaf.Running() || deaf.Err() == nil {
		t.Errorf("after Stop: running %v, end %v; want killed", deaf.Running(), deaf.Err())
	}

	bad, err := h.Start("bad", "sh", "-c", "echo no such thing >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	<-bad.Done()
	if got := bad.Tail(5); got != "no such thing" || bad.Err() == nil {
		t.Errorf("failed program: log %q, end %v", got, bad.Err())
	}
}

func TestClosedLabLeavesNothing(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	lab, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(t, lab, "a")
	p, err := h.Start("sleeper", "sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.File("keys/wg.key", "secret"); err != nil {
		t.Fatal(err)
	}
	if err := lab.Close(false); err != nil {
		t.Error(err)
	}
	if p.Running() {
		t.Error("the program still runs")
	}
	if _, err := os.Stat(lab.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory: %v, want it gone", err)
	}
	if left, _ := filepath.Glob("/run/netns/*"); len(left) > 0 {
		t.Errorf("namespaces left: %v", left)
	}
}

func TestOutputTellsExitCodeAndStreamsApart(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	h := newHost(t, newLab(t), "a")
	out, errs, code, err := h.Output("sh", "-c", "echo out; echo err >&2; exit 5")
	if out != "out\n" || errs != "err\n" || code != 5 || err != nil {
		t.Errorf("got %q, %q, %d, %v; want out, err, 5 and no error", out, errs, code, err)
	}
	if _, _, _, err := h.Output("/no/such/program"); err == nil {
		t.Error("a program that does not exist: got no error")
	}
}
