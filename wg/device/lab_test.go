package device

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

// The lab: the test's own namespace is the gateway, every site is a namespace
// with a WireGuard device of its own, set up by wg(8). The same tests run over
// the kernel's devices where the kernel has them (labs/vm runs them in a VM).

const siteEnv = "WGBGP_DEVICE_TEST_SITE"

// TestMain lets the test binary be a site: a userspace device until stdin ends.
func TestMain(m *testing.M) {
	name := os.Getenv(siteEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	b, warning, err := newUserBackend(name, 1420, nil, slog.New(slog.DiscardHandler))
	if err == nil && warning == "" {
		err = b.up()
	}
	if err != nil || warning != "" {
		fmt.Println("site:", err, warning)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	b.close()
}

// forced lets the VM choose the backend under test.
func forced() wg.Backend {
	if b := os.Getenv("WGBGP_TEST_BACKEND"); b != "" {
		return wg.Backend(b)
	}
	return wg.BackendUserspace
}

type lab struct {
	t     testing.TB
	m     *Manager
	dir   string
	log   *bytes.Buffer
	logMu sync.Mutex
	gw    wg.Device
	gen   uint64
	res   Resolver
	level slog.Level // of the log
	sight func(device string, k wg.Key, from netip.AddrPort)
}

const gwPort = 51820

func (l *lab) Write(b []byte) (int, error) {
	l.logMu.Lock()
	defer l.logMu.Unlock()
	return l.log.Write(b)
}

// newLab opens a Manager with one interface gw0.
func newLab(t testing.TB) *lab {
	nstest.Need(t, "ip", "wg")
	l := &lab{t: t, dir: t.TempDir(), log: &bytes.Buffer{}, level: slog.LevelDebug}
	if _, ok := t.(*testing.B); ok {
		l.level = slog.LevelInfo // what is measured is what runs
	}
	l.gw = wg.Device{
		Name: "gw0", Backend: forced(), PrivateKey: private(1), ListenPort: gwPort, MTU: 1420, Mode: wg.ModeSynced,
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.200.0.1/24"), netip.MustParsePrefix("fd00:200::1/64")},
	}
	l.start()
	t.Cleanup(func() {
		_ = l.m.Close()
		if t.Failed() {
			t.Logf("log of the edge, its end:\n%s", l.log.Bytes()[max(0, l.log.Len()-8000):])
		}
	})
	return l
}

func (l *lab) start() {
	l.t.Helper()
	var err error
	l.m, err = New(Options{
		Logger:   slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: l.level})),
		StateDir: l.dir, Resolver: l.res,
		OnSight: func(device string, k wg.Key, from netip.AddrPort) {
			if l.sight != nil {
				l.sight(device, k, from)
			}
		},
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// restart ends the Manager as a process end would and opens a fresh one.
func (l *lab) restart() {
	l.t.Helper()
	_ = l.m.Close()
	l.start()
}

// apply applies gw0 with these peers.
func (l *lab) apply(sweep bool, peers ...wg.Peer) wg.Applied {
	l.t.Helper()
	d := l.gw
	d.Peers = slices.Clone(peers)
	slices.SortFunc(d.Peers, func(a, b wg.Peer) int { return a.Key.Compare(b.Key) })
	for i := range d.Peers {
		d.Peers[i].AllowedIPs = slices.Clone(d.Peers[i].AllowedIPs)
		slices.SortFunc(d.Peers[i].AllowedIPs, wg.CompareAllowed)
	}
	l.gen++
	a := l.m.Apply(context.Background(), l.gen, []wg.Device{d}, sweep)
	if len(a) != 1 {
		l.t.Fatalf("want one report, got %d", len(a))
	}
	return a[0]
}

// must applies and insists that everything is in place.
func (l *lab) must(sweep bool, peers ...wg.Peer) wg.Applied {
	l.t.Helper()
	a := l.apply(sweep, peers...)
	if a.Err != "" || len(a.PeerErrors)+len(a.Failed)+len(a.Problems) > 0 {
		l.t.Fatalf("want everything in place, got %+v", a)
	}
	return a
}

func (l *lab) observe() wg.DeviceState {
	l.t.Helper()
	var s wg.DeviceState
	nstest.Eventually(l.t, 5*time.Second, func() (err error) {
		s, err = l.m.Observe(context.Background(), "gw0")
		return err
	})
	return s
}

func (l *lab) peer(k wg.Key) wg.PeerState {
	l.t.Helper()
	for _, p := range l.observe().Peers {
		if p.Key == k {
			return p
		}
	}
	l.t.Fatalf("peer %s is not there", k)
	return wg.PeerState{}
}

// allowedIPs is what wg(8) says, sorted by peer and prefix.
func (l *lab) allowedIPs() string {
	l.t.Helper()
	lines := strings.Split(strings.TrimSpace(nstest.Run(l.t, "wg", "show", "gw0", "allowed-ips")), "\n")
	for i, line := range lines {
		k, ips, _ := strings.Cut(line, "\t")
		f := strings.Fields(ips)
		slices.Sort(f)
		lines[i] = k + " " + strings.Join(f, " ")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func private(n byte) wg.PrivateKey {
	return wg.NewPrivateKey([wg.KeyLen]byte{n, 99, 5: n, 31: n})
}

func base64Key(k [wg.KeyLen]byte) string { return base64.StdEncoding.EncodeToString(k[:]) }

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// site is a remote place with a device of its own.
type site struct {
	n     int
	ns    *nstest.NS
	dev   string
	key   wg.PrivateKey
	inner netip.Addr // its address in the tunnel
	peer  wg.Peer    // as the gateway knows it
}

// newSite makes site n behind a veth: outer 10.99.n.2 and fd00:99:n::2, inner
// 10.200.0.(10+n) and fd00:200::(10+n).
func (l *lab) newSite(n int) *site {
	t := l.t
	t.Helper()
	s := &site{n: n, dev: fmt.Sprintf("ws%d", n), key: private(byte(100 + n))}
	s.ns = nstest.New(t, fmt.Sprintf("site%d", n))
	nstest.Veth(t, nil, fmt.Sprintf("up%d", n), []string{fmt.Sprintf("10.99.%d.1/24", n), fmt.Sprintf("fd00:99:%d::1/64", n)},
		s.ns, "eth0", []string{fmt.Sprintf("10.99.%d.2/24", n), fmt.Sprintf("fd00:99:%d::2/64", n)})
	// The underlay carries both families before anything is built on it.
	for _, a := range []string{fmt.Sprintf("10.99.%d.2", n), fmt.Sprintf("fd00:99:%d::2", n)} {
		nstest.Eventually(t, 10*time.Second, func() error { return ping(a) })
	}
	s.inner = netip.AddrFrom4([4]byte{10, 200, 0, byte(10 + n)})
	s.peer = wg.Peer{
		Name: s.ns.Name(), Key: s.key.Public(), Endpoint: wg.Endpoint{Host: fmt.Sprintf("10.99.%d.2", n), Port: 51821},
		AllowedIPs: prefixes(s.inner.String()+"/32", fmt.Sprintf("fd00:200::%d/128", 10+n)),
	}
	s.start(t)
	s.set(t, "listen-port", "51821", "private-key", secretFile(t, s.key.Reveal()))
	s.set(t, "peer", private(1).Public().String(), "allowed-ips", "0.0.0.0/0,::/0",
		"endpoint", fmt.Sprintf("10.99.%d.1:%d", n, gwPort))
	for _, args := range [][]string{
		{"addr", "add", s.inner.String() + "/24", "dev", s.dev},
		{"addr", "add", fmt.Sprintf("fd00:200::%d/64", 10+n), "dev", s.dev, "nodad"},
		{"link", "set", s.dev, "mtu", "1420", "up"},
	} {
		s.ns.Run(t, append([]string{"ip"}, args...)...)
	}
	return s
}

func (s *site) start(t testing.TB) {
	t.Helper()
	if forced() == wg.BackendKernel {
		s.ns.Run(t, "ip", "link", "add", s.dev, "type", "wireguard")
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := s.ns.Cmd(exe)
	cmd.Env = append(os.Environ(), siteEnv+"="+s.dev)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line := make([]byte, 100)
	if n, _ := out.Read(line); string(line[:n]) != "ready\n" {
		t.Fatalf("site %s did not start: %s", s.dev, line[:n])
	}
}

// set runs wg set on the site's device.
func (s *site) set(t testing.TB, args ...string) {
	t.Helper()
	s.ns.Run(t, append([]string{"wg", "set", s.dev}, args...)...)
}

func secretFile(t testing.TB, k [wg.KeyLen]byte) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(f, []byte(base64Key(k)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// up waits until the tunnel carries packets.
func (l *lab) up(sites ...*site) {
	l.t.Helper()
	for _, s := range sites {
		nstest.Eventually(l.t, 10*time.Second, func() error { return ping(s.inner.String()) })
	}
}

func ping(dst string) error {
	out, err := runQuiet("ping", "-c1", "-W1", dst)
	if err != nil {
		return fmt.Errorf("ping %s: %s", dst, out)
	}
	return nil
}

// flow is numbered datagrams from the gateway to an inner address, received by
// whatever site has it.
type flow struct {
	t        testing.TB
	sent     atomic.Int64
	got      sync.Map
	received atomic.Int64
	stopC    chan struct{}
	done     sync.WaitGroup
	sender   chan struct{} // closed when nothing is sent any more
	conns    []net.PacketConn
}

// newFlow starts a flow of perSecond packets to dst, which sites have.
func newFlow(t testing.TB, dst netip.Addr, perSecond int, sites ...*site) *flow {
	t.Helper()
	f := &flow{t: t, stopC: make(chan struct{}), sender: make(chan struct{})}
	to := netip.AddrPortFrom(dst, 9999)
	for _, s := range sites {
		s.ns.Do(t, func() {
			c, err := net.ListenPacket("udp", to.String())
			if err != nil {
				t.Errorf("listen at %s: %v", s.ns.Name(), err)
				return
			}
			if rc, err := c.(*net.UDPConn).SyscallConn(); err == nil {
				_ = rc.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) })
			}
			f.conns = append(f.conns, c)
		})
	}
	for _, c := range f.conns {
		f.done.Add(1)
		go f.receive(c)
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	go f.send(c, perSecond)
	nstest.Eventually(t, 10*time.Second, func() error {
		if f.received.Load() == 0 {
			return fmt.Errorf("no packet of the flow arrived")
		}
		return nil
	})
	return f
}

func (f *flow) receive(c net.PacketConn) {
	defer f.done.Done()
	b := make([]byte, 100)
	for {
		if _, _, err := c.ReadFrom(b); err != nil {
			return
		}
		if _, dup := f.got.LoadOrStore(binary.BigEndian.Uint64(b), true); !dup {
			f.received.Add(1)
		}
	}
}

func (f *flow) send(c *net.UDPConn, perSecond int) {
	defer close(f.sender)
	defer c.Close()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	var b [64]byte
	for {
		select {
		case <-f.stopC:
			return
		case <-tick.C:
		}
		due := int64(time.Since(start).Seconds() * float64(perSecond))
		if late := due - f.sent.Load() - 50; late > 0 {
			// This process did not get the processor. Making up for it in one
			// burst would overflow the interface's queue; go on from here.
			start = start.Add(time.Duration(float64(late) / float64(perSecond) * float64(time.Second)))
			due -= late
		}
		for ; f.sent.Load() < due; f.sent.Add(1) {
			binary.BigEndian.PutUint64(b[:], uint64(f.sent.Load()))
			for i := 0; ; i++ {
				if _, err := c.Write(b[:]); err == nil || i == 3 {
					break // an ICMP error of an earlier packet shows up once
				}
			}
		}
	}
}

// next waits for some more packets to be on their way.
func (f *flow) next() {
	f.t.Helper()
	n := f.sent.Load() + 2
	for deadline := time.Now().Add(5 * time.Second); f.sent.Load() < n; {
		if time.Now().After(deadline) {
			f.t.Fatalf("the flow stands still at %d packets", f.sent.Load())
		}
		time.Sleep(time.Millisecond) // pause between looks of a bounded wait
	}
}

// stop ends the flow and returns how many packets were sent and lost.
func (f *flow) stop() (sent, lost int64) {
	close(f.stopC)
	<-f.sender
	deadline := time.Now().Add(3 * time.Second)
	for time.Now().Before(deadline) && f.received.Load() < f.sent.Load() {
		time.Sleep(10 * time.Millisecond)
	}
	for _, c := range f.conns {
		_ = c.Close()
	}
	f.done.Wait()
	return f.sent.Load(), f.sent.Load() - f.received.Load()
}

func (f *flow) mustLoseNothing() {
	f.t.Helper()
	sent, lost := f.stop()
	f.t.Logf("flow: %d sent, %d lost", sent, lost)
	if sent < 500 || lost != 0 {
		var which []int64
		for i := range sent {
			if _, ok := f.got.Load(uint64(i)); !ok {
				which = append(which, i)
			}
		}
		f.t.Errorf("want at least 500 packets and no loss, got %d sent, %d lost: %d", sent, lost, which)
	}
}

// counting counts what is written to a device.
type counting struct {
	backend
	writes atomic.Int64
}

func (c *counting) configure(d deviceConfig) error { c.writes.Add(1); return c.backend.configure(d) }
func (c *counting) apply(ops []wg.Op) error        { c.writes.Add(1); return c.backend.apply(ops) }

// count puts a counter between the Manager and gw0.
func (l *lab) count() *counting {
	d := l.m.existing("gw0")
	d.lock()
	defer d.unlock()
	c := &counting{backend: d.be}
	d.be = c
	return c
}

func runQuiet(args ...string) (string, error) {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	return string(out), err
}
