package gre

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// testBackend is the one under test. WGBGP_KERNEL_GRE=1 runs the same suite
// against the kernel's GRE, where it has one.
func testBackend() tgwconnect.Backend {
	if os.Getenv("WGBGP_KERNEL_GRE") == "1" {
		return tgwconnect.BackendKernel
	}
	return tgwconnect.BackendUserspace
}

func userspaceOnly(t *testing.T) {
	if testBackend() != tgwconnect.BackendUserspace {
		t.Skip("concerns the userspace data path")
	}
}

func prefixes(list ...string) (p []netip.Prefix) {
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func tunnel4() tgwconnect.Tunnel {
	return tgwconnect.Tunnel{
		Name: "gre1", Backend: testBackend(),
		Local: netip.MustParseAddr("10.0.0.1"), Remote: netip.MustParseAddr("10.0.0.2"),
		Addresses: prefixes("169.254.100.1/29", "fd00:100::1/125"),
	}
}

func tunnel6() tgwconnect.Tunnel {
	t := tunnel4()
	t.Name, t.Local, t.Remote = "gre6", netip.MustParseAddr("fd00:9::1"), netip.MustParseAddr("fd00:9::2")
	t.Addresses = prefixes("169.254.101.1/29", "fd00:101::1/125")
	return t
}

// underlay joins the isolated namespace, host 1, with a new one, host 2.
func underlay(t *testing.T) *nstest.NS {
	t.Helper()
	z := nstest.New(t, "z")
	nstest.Veth(t, nil, "eth0", []string{"10.0.0.1/24", "fd00:9::1/64"}, z, "eth0", []string{"10.0.0.2/24", "fd00:9::2/64"})
	return z
}

func newManager(t *testing.T) *Manager {
	t.Helper()
	m, err := New(Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), PlainSockets: os.Getenv(plainEnv) != ""})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func apply(m *Manager, sweep bool, want ...tgwconnect.Tunnel) []tgwconnect.TunnelState {
	return m.Apply(context.Background(), 1, want, sweep)
}

func mustBeUp(t *testing.T, states []tgwconnect.TunnelState) {
	t.Helper()
	for _, s := range states {
		if s.Err != "" || !s.Up || s.Index == 0 {
			t.Fatalf("tunnel is not up: %+v", s)
		}
	}
}

func mustPing(t *testing.T, addrs ...string) {
	t.Helper()
	for _, a := range addrs {
		out := nstest.Run(t, "ping", "-c1", "-W3", a)
		if !strings.Contains(out, "1 received") {
			t.Errorf("ping %s: %s", a, out)
		}
	}
}

func TestTwoManagersCarryBothFamiliesOverBothFamilies(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	z := underlay(t)
	m := newManager(t)
	states := apply(m, false, tunnel4(), tunnel6())
	mustBeUp(t, states)
	mustBeUp(t, startHelper(t, z, "manager").ask(applyRequest{Want: []tgwconnect.Tunnel{far(tunnel4()), far(tunnel6())}}))
	mustPing(t, "169.254.100.2", "fd00:100::2", "169.254.101.2", "fd00:101::2")
	for i, want := range []int{1476, 1456} {
		if states[i].MTU != want {
			t.Errorf("%s over a path of 1500: MTU %d, want %d", states[i].Name, states[i].MTU, want)
		}
	}
	for _, s := range m.Observe() {
		if s.Rx < 2 || s.Tx < 2 || s.Dropped != 0 {
			t.Errorf("%s after two answered pings: rx %d tx %d dropped %d, want 2, 2, 0", s.Name, s.Rx, s.Tx, s.Dropped)
		}
	}
}

func TestSameSetAgainWritesNothing(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	underlay(t)
	m := newManager(t)
	first := apply(m, true, tunnel4(), tunnel6())
	mustBeUp(t, first)
	watch, err := openWatch()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watch.Close() }()
	ours := []int{first[0].Index, first[1].Index}
	messages(t, watch, ours) // the kernel's own news of fresh links, e.g. the link-local address
	again := apply(m, true, tunnel4(), tunnel6())
	m.lookAgain(context.Background())
	if n := messages(t, watch, ours); n != 0 {
		t.Errorf("the same set again made the kernel report %d changes, want 0", n)
	}
	if first[0].Index != again[0].Index {
		t.Errorf("index: got %d, want %d", again[0].Index, first[0].Index)
	}
}

// messages counts what the kernel reports about some interfaces until it is
// quiet for a while. The index is at the same place in messages about links
// (struct ifinfomsg) and addresses (struct ifaddrmsg).
func messages(t *testing.T, watch *os.File, index []int) (n int) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for {
		if err := watch.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		size, err := watch.Read(buf)
		if err != nil {
			return n
		}
		all, err := syscall.ParseNetlinkMessage(buf[:size])
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if slices.Contains(index, int(binary.NativeEndian.Uint32(m.Data[4:]))) {
				n++
			}
		}
	}
}

func TestForeignInterfaceIsReportedAndLeftAlone(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	underlay(t)
	nstest.Run(t, "ip", "tuntap", "add", "gre1", "mode", "tun")
	before := nstest.Run(t, "ip", "-d", "link", "show", "gre1")
	m := newManager(t)
	states := apply(m, true, tunnel4(), tunnel6())
	if want := "interface gre1 exists and is not ours"; states[0].Err != want || states[0].Up {
		t.Errorf("foreign: got %+v, want %q", states[0], want)
	}
	mustBeUp(t, states[1:])
	if after := nstest.Run(t, "ip", "-d", "link", "show", "gre1"); after != before {
		t.Errorf("it was changed:\n%s\n%s", before, after)
	}
}

func TestTunnelComesUpWhenItsLocalAddressAppears(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	z := underlay(t)
	nstest.Run(t, "ip", "addr", "del", "10.0.0.1/24", "dev", "eth0")
	m := newManager(t)
	s := apply(m, false, tunnel4())
	if s[0].Up || !strings.Contains(s[0].Err, "local address 10.0.0.1 is not on this host") {
		t.Fatalf("without the address: %+v", s[0])
	}
	nstest.Run(t, "ip", "addr", "add", "10.0.0.1/24", "dev", "eth0")
	select {
	case <-m.Events():
	case <-time.After(5 * time.Second):
		t.Fatal("no event")
	}
	mustBeUp(t, m.Observe())
	mustBeUp(t, startHelper(t, z, "manager").ask(applyRequest{Want: []tgwconnect.Tunnel{far(tunnel4())}}))
	mustPing(t, "169.254.100.2")
}

// Also without a tunnel, for whoever waits for an address that a tunnel could have.
func TestAddressesThatComeAndGoAreSaid(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	m := newManager(t)
	for _, args := range [][]string{
		{"addr", "add", "10.9.9.9/32", "dev", "lo"},
		{"addr", "del", "10.9.9.9/32", "dev", "lo"},
		{"addr", "add", "fd00:9::9/128", "dev", "lo"},
		{"addr", "del", "fd00:9::9/128", "dev", "lo"},
	} {
		for waits := true; waits; {
			select {
			case <-m.Addresses(): // of what was before
			default:
				waits = false
			}
		}
		nstest.Run(t, append([]string{"ip"}, args...)...)
		select {
		case <-m.Addresses():
		case <-time.After(5 * time.Second):
			t.Errorf("ip %v: nobody is told", args)
		}
	}
}

func TestDeletedTunnelComesBack(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	underlay(t)
	m := newManager(t)
	old := apply(m, false, tunnel4())
	nstest.Run(t, "ip", "link", "del", "gre1")
	nstest.Eventually(t, 5*time.Second, func() error {
		if s := m.Observe()[0]; !s.Up || s.Index == old[0].Index {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

func TestSweepRemovesOnlyTunnelsOfOurs(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	underlay(t)
	nstest.Run(t, "ip", "tuntap", "add", "wg0", "mode", "tun") // a userspace WireGuard of the daemon
	nstest.Run(t, "ip", "link", "set", "wg0", "alias", "wgbgp")
	m := newManager(t)
	mustBeUp(t, apply(m, true, tunnel4(), tunnel6()))
	mustBeUp(t, apply(m, false, tunnel6()))
	if l, _ := linkByName("gre1"); l == nil {
		t.Error("gre1 was removed without sweep")
	}
	mustBeUp(t, apply(m, true, tunnel6()))
	for name, want := range map[string]bool{"gre1": false, "gre6": true, "wg0": true, "eth0": true} {
		if l, err := linkByName(name); (l != nil) != want || err != nil {
			t.Errorf("%s exists: %v (%v), want %v", name, l != nil, err, want)
		}
	}
}

func TestTunnelSurvivesACrashAndIsAdopted(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	z := underlay(t)
	mustBeUp(t, startHelper(t, z, "manager").ask(applyRequest{Want: []tgwconnect.Tunnel{far(tunnel4())}}))
	h := startHelper(t, nil, "manager")
	old := h.ask(applyRequest{Want: []tgwconnect.Tunnel{tunnel4()}})
	mustBeUp(t, old)
	nstest.Run(t, "ip", "route", "add", "10.77.0.0/16", "dev", "gre1")
	h.crash()
	if out := nstest.Run(t, "ip", "addr", "show", "gre1"); !strings.Contains(out, "169.254.100.1/29") || !strings.Contains(out, "fd00:100::1/125") {
		t.Errorf("addresses after the crash: %s", out)
	}
	s := apply(newManager(t), true, tunnel4())
	mustBeUp(t, s)
	if s[0].Index != old[0].Index {
		t.Errorf("index: got %d, want %d", s[0].Index, old[0].Index)
	}
	if out := nstest.Run(t, "ip", "route", "show", "10.77.0.0/16"); !strings.Contains(out, "gre1") || strings.Contains(out, "linkdown") {
		t.Errorf("route after adoption: %q", out)
	}
	mustPing(t, "169.254.100.2", "fd00:100::2")
}

func TestChangesAreMadeInPlaceWherePossible(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	z := underlay(t)
	z.Run(t, "ip", "addr", "add", "10.0.0.3/24", "dev", "eth0")
	m := newManager(t)
	tun := tunnel4()
	old := apply(m, false, tun)
	tun.MTU, tun.TTL, tun.Mark, tun.Addresses = 1400, 7, 42, prefixes("169.254.100.9/29")
	s := apply(m, false, tun)
	mustBeUp(t, s)
	if s[0].Index != old[0].Index || s[0].MTU != 1400 {
		t.Errorf("got %+v, want index %d and MTU 1400", s[0], old[0].Index)
	}
	out := nstest.Run(t, "ip", "-o", "addr", "show", "dev", "gre1")
	if !strings.Contains(out, "169.254.100.9/29") || strings.Contains(out, "169.254.100.1/29") || strings.Contains(out, "fd00:100::1") {
		t.Errorf("addresses: %s", out)
	}
	far := far(tun)
	far.Local = netip.MustParseAddr("10.0.0.3")
	far.Addresses = prefixes("169.254.100.10/29")
	tun.Remote = far.Local
	mustBeUp(t, apply(m, false, tun))
	mustBeUp(t, startHelper(t, z, "manager").ask(applyRequest{Want: []tgwconnect.Tunnel{far}}))
	mustPing(t, "169.254.100.10")
}

func TestOneBadTunnelDoesNotStopTheOthers(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	underlay(t)
	bad := []tgwconnect.Tunnel{tunnel4(), tunnel4(), tunnel4(), tunnel4(), tunnel4()}
	bad[0].Name = "a-name-that-is-too-long"
	bad[1].Remote = netip.MustParseAddr("fd00:9::2")
	bad[2].MTU = 100
	bad[3].Name, bad[3].Remote = "gre7", netip.MustParseAddr("203.0.113.1") // no route
	bad[4].Name, bad[4].VRF, bad[4].Remote = "gre8", "nowhere", netip.MustParseAddr("10.0.0.8")
	twin := tunnel4()
	twin.Name = "gre9"
	m := newManager(t)
	states := apply(m, false, append(bad, tunnel4(), twin)...)
	for i, want := range []string{"want 1 to 15 bytes", "want two of one family", "MTU 100", "no route to 203.0.113.1", "VRF nowhere does not exist", "", "are those of tunnel gre1"} {
		if (want == "") != (states[i].Err == "") || !strings.Contains(states[i].Err, want) {
			t.Errorf("tunnel %d: got %q, want %q", i, states[i].Err, want)
		}
	}
	mustBeUp(t, states[5:6])
}

func TestExplicitKernelBackendDoesNotFallBack(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	underlay(t)
	if err := createKernel("probe0", wantedAttrs(tunnel4())); err != errNoKernelGRE {
		t.Skipf("this kernel has GRE: %v", err)
	}
	k, a := tunnel4(), tunnel6()
	k.Backend, a.Backend = tgwconnect.BackendKernel, tgwconnect.BackendAuto
	s := apply(newManager(t), false, k, a)
	if s[0].Err != errNoKernelGRE.Error() || s[0].Index != 0 {
		t.Errorf("kernel: got %+v, want %q and no interface", s[0], errNoKernelGRE)
	}
	mustBeUp(t, s[1:])
	if s[1].Backend != tgwconnect.BackendUserspace {
		t.Errorf("auto: got backend %s, want userspace", s[1].Backend)
	}
}
