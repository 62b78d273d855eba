package gre

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	bpflink "github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// withPrograms skips where the suite runs without eBPF (WGBGP_GRE_PLAIN=1).
func withPrograms(t *testing.T) {
	t.Helper()
	userspaceOnly(t)
	if os.Getenv(plainEnv) != "" {
		t.Skip("concerns the programs")
	}
}

// forward makes a namespace forward, as a gateway does; nil is the isolated one.
func forward(t *testing.T, n *nstest.NS) {
	t.Helper()
	args := []string{"sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"}
	if n == nil {
		nstest.Run(t, args...)
	} else {
		n.Run(t, args...)
	}
}

// bySegments is how many packets the sending program has sent.
func bySegments(t *testing.T, m *Manager, name string) uint64 {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	n, lost := m.user[name].off.sent()
	if lost != 0 {
		t.Errorf("%s: the program dropped %d packets, want 0", name, lost)
	}
	return n
}

// transfer sends size bytes by TCP from the isolated namespace to an address
// of n, and back, and compares what comes back.
func transfer(t *testing.T, n *nstest.NS, addr string, size int) {
	t.Helper()
	var l net.Listener
	n.Do(t, func() {
		var err error
		if l, err = net.Listen("tcp", net.JoinHostPort(addr, "0")); err != nil {
			t.Error(err)
		}
	})
	if l == nil {
		return
	}
	defer func() { _ = l.Close() }()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		all, err := io.ReadAll(c)
		if err == nil {
			_, _ = c.Write(all)
		}
	}()
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(data)
	if _, err := c.Write(data); err != nil {
		t.Fatalf("send to %s: %v", addr, err)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	back, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("receive %d of %d bytes from %s: %v", len(back), size, addr, err)
	}
	if sha256.Sum256(back) != sha256.Sum256(data) {
		t.Errorf("to %s and back: %d bytes differ from the %d sent", addr, len(back), size)
	}
}

// Both ends with and without programs, over a wire that carries segments whole
// (unfinished checksums included) and over one that cuts and merges them.
func TestBulkTransferIsIntact(t *testing.T) {
	userspaceOnly(t)
	if !nstest.Isolate(t) {
		return
	}
	z := underlay(t)
	forward(t, nil)
	forward(t, z)
	for _, wire := range []string{"whole", "segments"} {
		if wire == "segments" {
			segmentWire(t, nil, "eth0")
			segmentWire(t, z, "eth0")
		}
		for _, c := range []struct{ here, there bool }{{false, false}, {true, false}, {false, true}} {
			m, err := New(Options{PlainSockets: c.here})
			if err != nil {
				t.Fatal(err)
			}
			mustBeUp(t, apply(m, false, tunnel4(), tunnel6()))
			var env []string
			if c.there {
				env = []string{plainEnv + "=1"}
			}
			h := startHelper(t, z, "manager", env...)
			mustBeUp(t, h.ask(applyRequest{Want: []tgwconnect.Tunnel{far(tunnel4()), far(tunnel6())}}))
			for _, addr := range []string{"169.254.100.2", "fd00:100::2", "169.254.101.2", "fd00:101::2"} {
				start := time.Now()
				transfer(t, z, addr, 4<<20)
				t.Logf("%s, plain here %v there %v, %s: %v", wire, c.here, c.there, addr, time.Since(start).Round(time.Millisecond))
			}
			for i, s := range m.Observe() {
				if s.Dropped != 0 || s.Rx < 2*(4<<20)/1500 || s.Tx < 2*(4<<20)/1500 {
					t.Errorf("%s, %+v: got %+v, want none dropped, and every segment of twice 4 MiB counted", wire, c, s)
				}
				if n := bySegments(t, m, s.Name); (n == 0) != c.here {
					t.Errorf("%s, %+v: %d packets sent by the program of tunnel %d", wire, c, n, i)
				}
			}
			h.stop()
			_ = m.Close()
		}
	}
}

// A merged packet must be cut as it was: the host behind the far end takes no
// larger segments, and its path no larger packets.
func TestForwardedSegmentsKeepTheirSize(t *testing.T) {
	withPrograms(t)
	if !nstest.Isolate(t) {
		return
	}
	z, host := underlay(t), nstest.New(t, "host")
	segmentWire(t, nil, "eth0")
	segmentWire(t, z, "eth0")
	nstest.Veth(t, host, "lan0", []string{"10.1.0.1/24", "fd00:a::1/64"}, z, "lan0", []string{"10.1.0.2/24", "fd00:a::2/64"})
	forward(t, nil)
	forward(t, z)
	m := newManager(t)
	mustBeUp(t, apply(m, false, tunnel4()))
	mustBeUp(t, startHelper(t, z, "manager").ask(applyRequest{Want: []tgwconnect.Tunnel{far(tunnel4())}}))
	z.Run(t, "ip", "link", "set", "lan0", "mtu", "1300")
	host.Run(t, "ip", "link", "set", "lan0", "mtu", "1300")
	host.Run(t, "ip", "route", "add", "default", "via", "10.1.0.2")
	host.Run(t, "ip", "route", "add", "default", "via", "fd00:a::2")
	nstest.Run(t, "ip", "route", "add", "10.1.0.0/24", "via", "169.254.100.2")
	nstest.Run(t, "ip", "route", "add", "fd00:a::/64", "via", "fd00:100::2")
	transfer(t, host, "10.1.0.1", 4<<20)
	transfer(t, host, "fd00:a::1", 4<<20)
	if n := bySegments(t, m, "gre1"); n < 2*(4<<20)/1300 {
		t.Errorf("%d packets sent by the program, want all segments of twice 4 MiB", n)
	}
}

func TestWithoutForwardingPacketsTakeTheOtherWay(t *testing.T) {
	userspaceOnly(t)
	if !nstest.Isolate(t) {
		return
	}
	z := underlay(t)
	nstest.Run(t, "sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
	m := newManager(t)
	mustBeUp(t, apply(m, false, tunnel4(), tunnel6()))
	mustBeUp(t, startHelper(t, z, "manager").ask(applyRequest{Want: []tgwconnect.Tunnel{far(tunnel4()), far(tunnel6())}}))
	for i, addr := range []string{"169.254.100.2", "169.254.101.2"} {
		mustPing(t, addr)
		if s := m.Observe()[i]; s.Tx == 0 || bySegments(t, m, s.Name) != 0 {
			t.Errorf("got %+v, %d of them by the program, want 0", s, bySegments(t, m, s.Name))
		}
	}
}

// The routes and the rules of the host are obeyed with the next packet.
func TestSendingFollowsRoutesAndMark(t *testing.T) {
	withPrograms(t)
	if !nstest.Isolate(t) {
		return
	}
	z := underlay(t)
	nstest.Veth(t, nil, "eth1", []string{"10.3.0.1/24", "fd00:3::1/64"}, z, "eth1", []string{"10.3.0.2/24", "fd00:3::2/64"})
	forward(t, nil)
	forward(t, z)
	z.Run(t, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.eth1.rp_filter=0")
	m := newManager(t)
	tun4, tun6 := tunnel4(), tunnel6()
	tun4.Mark = 42
	mustBeUp(t, apply(m, false, tun4, tun6))
	mustBeUp(t, startHelper(t, z, "manager").ask(applyRequest{Want: []tgwconnect.Tunnel{far(tunnel4()), far(tunnel6())}}))
	mustPing(t, "169.254.100.2", "169.254.101.2")
	before := packets(t, z, "eth1")
	nstest.Run(t, "ip", "rule", "add", "fwmark", "42", "table", "100")
	nstest.Run(t, "ip", "route", "add", "10.0.0.2/32", "via", "10.3.0.2", "table", "100")
	nstest.Run(t, "ip", "route", "add", "fd00:9::2/128", "via", "fd00:3::2")
	for range 3 {
		mustPing(t, "169.254.100.2", "169.254.101.2")
	}
	if n := packets(t, z, "eth1") - before; n < 6 {
		t.Errorf("%d packets on the new path, want 6 or more", n)
	}
	if a, b := bySegments(t, m, "gre1"), bySegments(t, m, "gre6"); a < 4 || b < 4 {
		t.Errorf("%d and %d packets sent by the programs, want 4 or more", a, b)
	}
}

// packets is the number of packets a device received.
func packets(t *testing.T, n *nstest.NS, dev string) (count int) {
	t.Helper()
	raw := n.Run(t, "cat", "/sys/class/net/"+dev+"/statistics/rx_packets")
	if _, err := fmt.Sscan(raw, &count); err != nil {
		t.Fatal(err)
	}
	return count
}

func TestOuterFragmentsArePutTogether(t *testing.T) {
	withPrograms(t)
	if !nstest.Isolate(t) {
		return
	}
	r := newReference(t, underlay(t))
	m := newManager(t)
	mustBeUp(t, apply(m, false, tunnel4()))
	if err := unix.SetsockoptInt(r.fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT); err != nil {
		t.Fatal(err)
	}
	big := append(echo(0), bytes.Repeat([]byte{7}, 3000)...)
	big[2], big[3] = byte(len(big)>>8), byte(len(big))
	big[10], big[11], big[22], big[23] = 0, 0, 0, 0
	sum := ^internetSum(big[:20])
	big[10], big[11] = byte(sum>>8), byte(sum)
	sum = ^internetSum(big[20:])
	big[22], big[23] = byte(sum>>8), byte(sum)
	r.send(cat(unhex("00000800"), big))
	nstest.Eventually(t, 5*time.Second, func() error {
		if s := m.Observe()[0]; s.Rx != 1 || s.Dropped != 0 {
			return fmt.Errorf("got rx %d dropped %d, want 1 and 0", s.Rx, s.Dropped)
		}
		return nil
	})
}

func TestProgramEndsWithTheProcess(t *testing.T) {
	withPrograms(t)
	if !nstest.Isolate(t) {
		return
	}
	underlay(t)
	count := func(index int) int {
		q, err := bpflink.QueryPrograms(bpflink.QueryOptions{Target: index, Attach: ebpf.AttachTCXEgress})
		if err != nil {
			t.Fatal(err)
		}
		return len(q.Programs)
	}
	h := startHelper(t, nil, "manager")
	s := h.ask(applyRequest{Want: []tgwconnect.Tunnel{tunnel4()}})
	mustBeUp(t, s)
	if n := count(s[0].Index); n != 1 {
		t.Errorf("%d programs at a running tunnel, want 1", n)
	}
	h.crash()
	nstest.Eventually(t, 5*time.Second, func() error {
		if n := count(s[0].Index); n != 0 {
			return fmt.Errorf("%d programs after a crash, want 0", n)
		}
		return nil
	})
}

func TestNothingLeavesAroundIPsec(t *testing.T) {
	withPrograms(t)
	if !nstest.Isolate(t) {
		return
	}
	underlay(t)
	m := newManager(t)
	policy := []string{"ip", "xfrm", "policy", "add", "dst", "10.0.0.9/32", "dir", "out", "action", "block"}
	for _, want := range []bool{true, false} {
		mustBeUp(t, apply(m, false, tunnel4()))
		m.mu.Lock()
		got := m.user["gre1"].off.counters != nil
		m.mu.Unlock()
		if got != want {
			t.Errorf("sending program attached: got %v, want %v", got, want)
		}
		if out, err := exec.Command(policy[0], policy[1:]...).CombinedOutput(); err != nil && want {
			t.Skipf("the kernel has no IPsec: %s", strings.TrimSpace(string(out)))
		}
	}
}

// Bytes from the wire must not end the process.
func FuzzUnpack(f *testing.F) {
	frame := cat(unhex("020000000001020000000002"+"0800"), unhex("4500003800004000402f0000"+"0a000001"+"0a000002"+"00000800"), echo(0))
	f.Add(make([]byte, virtioLen), frame)
	f.Add(unhex("01013600b8052e001000"), frame)
	u := &userTunnel{t: tunnel4()}
	r := u.newUnpacker(&packetSocket{})
	f.Fuzz(func(t *testing.T, virtio, frame []byte) {
		if len(virtio) != virtioLen || len(frame) < 1 {
			return
		}
		size := copy(r.bufs[0], virtio)
		size += copy(r.bufs[0][size:], frame)
		r.in.msgs[0].n = uint32(size)
		putAuxdata(r.in, 0, etherHeaderLen)
		b, at, h, why := r.one(0)
		if why != accepted {
			return
		}
		if at < virtioLen+headLen || at+20 > len(b) {
			t.Errorf("inner packet at %d of %d", at, len(b))
		}
		if !h.plain() && (int(h.sumStart)+int(h.sumToStore)+2 > len(b)-at || int(h.headers) > len(b)-at) {
			t.Errorf("header %+v points behind %d bytes", h, len(b)-at)
		}
		_ = h.packets(b[at:])
	})
}

// putAuxdata is what the kernel writes for networkOffset.
func putAuxdata(r *receiver, i, offset int) {
	r.wantControl()
	c := r.control[i][:]
	clear(c)
	c[0], c[8], c[9], c[12] = byte(unix.CmsgLen(20)), byte(unix.SOL_PACKET&0xff), byte(unix.SOL_PACKET>>8), unix.PACKET_AUXDATA
	c[unix.CmsgLen(0)+14] = byte(offset)
}

// Outer headers do not tell which way a packet was sent.
func TestProgramWritesTheHeadersOfTheOtherPath(t *testing.T) {
	withPrograms(t)
	if !nstest.Isolate(t) {
		return
	}
	z := underlay(t)
	forward(t, nil)
	forward(t, z)
	tap := -1
	z.Do(t, func() {
		var err error
		if tap, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(beHalf(unix.ETH_P_ALL))); err != nil {
			t.Error(err)
			return
		}
		tv := unix.NsecToTimeval(int64(3 * time.Second))
		_ = unix.SetsockoptTimeval(tap, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	})
	defer func() { _ = unix.Close(tap) }()
	// capture returns the outer headers of an echo request of the class.
	capture := func(dst, class string) []byte {
		_ = exec.Command("ping", "-c1", "-W0.1", "-s", "1000", "-Q", class, dst).Run() // nobody answers
		buf := make([]byte, 1<<16)
		for {
			n, err := unix.Read(tap, buf)
			if err != nil {
				t.Fatalf("no packet to %s: %v", dst, err)
			}
			switch {
			case n > 1000 && buf[0] == 0x45 && buf[9] == 47:
				if internetSum(buf[:outerLen]) != 0xffff {
					t.Errorf("to %s: outer header checksum is wrong: %x", dst, buf[:outerLen])
				}
				clear(buf[4:6])   // identification: any, RFC 6864 4.1
				clear(buf[10:12]) // its checksum
				return bytes.Clone(buf[:headLen])
			case n > 1000 && buf[0]>>4 == 6 && buf[6] == 47:
				return bytes.Clone(buf[:ip6Len+greLen])
			}
		}
	}
	for _, dst := range []string{"169.254.100.2", "fd00:100::2", "169.254.101.2", "fd00:101::2"} {
		var heads [2][]byte
		for i, plain := range []bool{true, false} {
			m, err := New(Options{PlainSockets: plain})
			if err != nil {
				t.Fatal(err)
			}
			four, six := tunnel4(), tunnel6()
			four.TTL, six.TTL = 33, 44
			mustBeUp(t, apply(m, false, four, six))
			nstest.Eventually(t, 5*time.Second, func() error { return carrier(t, "gre1", "gre6") })
			heads[i] = capture(dst, "0xb9") // expedited forwarding, ECT(1)
			if n := bySegments(t, m, "gre1") + bySegments(t, m, "gre6"); (n == 0) != plain {
				t.Errorf("to %s, plain %v: %d packets sent by the programs", dst, plain, n)
			}
			_ = m.Close()
		}
		if !bytes.Equal(heads[0], heads[1]) {
			t.Errorf("to %s:\nprogram %x\nplain   %x", dst, heads[1], heads[0])
		}
	}
}

// carrier says whether the kernel has taken notice that devices are attached.
func carrier(t *testing.T, devs ...string) error {
	t.Helper()
	for _, d := range devs {
		if out := nstest.Run(t, "ip", "-o", "link", "show", d); strings.Contains(out, "NO-CARRIER") || strings.Contains(out, "qdisc noop ") {
			return fmt.Errorf("%s", out)
		}
	}
	return nil
}
