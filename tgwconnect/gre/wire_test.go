package gre

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// reference is a far end that knows nothing of this package: a plain raw
// socket and packets built by hand.
type reference struct {
	t  *testing.T
	fd int
}

func newReference(t *testing.T, z *nstest.NS) *reference {
	t.Helper()
	r := &reference{t: t}
	z.Do(t, func() {
		var err error
		if r.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 47); err != nil {
			t.Error(err)
			return
		}
		tv := unix.NsecToTimeval(int64(3 * time.Second))
		if err := unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = unix.Close(r.fd) })
	return r
}

func (r *reference) send(p []byte) {
	r.t.Helper()
	if err := unix.Sendto(r.fd, p, 0, &unix.SockaddrInet4{Addr: [4]byte{10, 0, 0, 1}}); err != nil {
		r.t.Fatal(err)
	}
}

// receive returns the next packet that carries the given GRE protocol type.
func (r *reference) receive(etherType uint16) []byte {
	r.t.Helper()
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.Read(r.fd, buf)
		if err != nil {
			r.t.Fatalf("no answer: %v", err)
		}
		if binary.BigEndian.Uint16(buf[22:]) == etherType {
			return buf[:n]
		}
	}
}

// echo is an ICMP echo request from 169.254.100.2 to .1 with the given
// DSCP/ECN byte, by RFC 791 and RFC 792.
func echo(class byte) []byte {
	p := unhex("450000200001400040010000" + "a9fe6402" + "a9fe6401" + "0800000000420001" + "01020304")
	p[1] = class
	binary.BigEndian.PutUint16(p[10:], ^internetSum(p[:20]))
	binary.BigEndian.PutUint16(p[22:], ^internetSum(p[20:]))
	return p
}

func TestWireFormatAgainstAHandMadePeer(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	z := underlay(t)
	r := newReference(t, z)
	mustBeUp(t, apply(newManager(t), false, tunnel4()))
	r.send(cat(unhex("00000800"), echo(0xb8))) // expedited forwarding
	p := r.receive(etherIPv4)
	want := unhex("45b80038" + "0000" + "4000" + "402f" + "0000" + "0a000001" + "0a000002" + "00000800")
	got := bytes.Clone(p[:24])
	clear(got[4:6])   // identification: any, RFC 6864 4.1
	clear(got[10:12]) // checksum: checked below
	if !bytes.Equal(got, want) {
		t.Errorf("outer header and GRE header:\n got %x\nwant %x", got, want)
	}
	if internetSum(p[:20]) != 0xffff {
		t.Error("outer header checksum is wrong")
	}
	inner := p[24:]
	if inner[20] != 0 || !bytes.Equal(inner[24:], echo(0)[24:]) || internetSum(inner[20:]) != 0xffff {
		t.Errorf("inner packet is not the echo reply: %x", inner)
	}
}

func TestTcpdumpReadsWhatWeSend(t *testing.T) {
	nstest.Need(t, "tcpdump")
	if !nstest.Isolate(t) {
		return
	}
	z := underlay(t)
	mustBeUp(t, apply(newManager(t), false, tunnel4(), tunnel6()))
	for _, c := range []struct{ filter, dst, want string }{
		{"ip proto 47 and ip[24]=0x45", "169.254.100.2", "flags [DF], proto GRE (47)"},
		{"ip6 proto 47 and ip6[44]=0x45", "169.254.101.2", "next-header GRE (47)"},
	} {
		dump := z.Cmd("tcpdump", "-c1", "-l", "-n", "-v", "-i", "eth0", c.filter)
		var out bytes.Buffer
		dump.Stdout = &out
		if err := dump.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- dump.Wait() }()
		nstest.Eventually(t, 10*time.Second, func() error {
			_ = exec.Command("ping", "-c1", "-W1", c.dst).Run() // nobody answers
			select {
			case err := <-done:
				return err
			default:
				return errors.New("no packet captured")
			}
		})
		text := out.String()
		for _, want := range []string{c.want, "GREv0, Flags [none], ", "length ", "ICMP echo request", c.dst} {
			if !strings.Contains(text, want) {
				t.Errorf("tcpdump does not say %q:\n%s", want, text)
			}
		}
	}
}

func TestBadHeadersAreDroppedAndCounted(t *testing.T) {
	userspaceOnly(t)
	if !nstest.Isolate(t) {
		return
	}
	r := newReference(t, underlay(t))
	m := newManager(t)
	mustBeUp(t, apply(m, false, tunnel4()))
	bad := []string{"20000800", "10000800", "40000800", "08000800", "04000800", "00010800", "80000800", "00006558", "00000000", "00000806"}
	for _, h := range bad {
		r.send(cat(unhex(h), echo(0)))
	}
	r.send(unhex("0000")) // cut
	r.send(cat(unhex("00000800"), echo(0)))
	r.receive(etherIPv4) // the good one is answered
	nstest.Eventually(t, 5*time.Second, func() error {
		if s, want := m.Observe()[0], uint64(len(bad)+1); s.Dropped != want || s.Rx != 1 {
			return fmt.Errorf("got dropped %d rx %d, want %d and 1", s.Dropped, s.Rx, want)
		}
		return nil
	})
}

func TestTooBigIsToldToTheSender(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	underlay(t)
	w := nstest.New(t, "w")
	nstest.Veth(t, nil, "lan0", []string{"10.1.0.1/24", "fd00:a::1/64"}, w, "eth0", []string{"10.1.0.2/24", "fd00:a::2/64"})
	w.Run(t, "ip", "route", "add", "default", "via", "10.1.0.1")
	w.Run(t, "ip", "route", "add", "default", "via", "fd00:a::1")
	nstest.Run(t, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	mustBeUp(t, apply(newManager(t), false, tunnel4()))
	out, _ := w.Cmd("ping", "-c2", "-W1", "-M", "do", "-s", "1449", "169.254.100.2").CombinedOutput()
	if !strings.Contains(string(out), "mtu = 1476") && !strings.Contains(string(out), "mtu=1476") {
		t.Errorf("IPv4 packet of 1477 bytes: no word of MTU 1476:\n%s", out)
	}
	out, _ = w.Cmd("ping", "-c2", "-W1", "-M", "do", "-s", "1429", "fd00:100::2").CombinedOutput()
	if !strings.Contains(string(out), "mtu=1476") && !strings.Contains(string(out), "mtu = 1476") {
		t.Errorf("IPv6 packet of 1477 bytes: no word of MTU 1476:\n%s", out)
	}
}

func TestMTUFollowsTheDevice(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	underlay(t)
	m := newManager(t)
	mustBeUp(t, apply(m, false, tunnel4(), tunnel6()))
	for _, c := range []struct{ path, mtu4, mtu6 int }{{1400, 1376, 1356}, {9001, 8476, 8456}, {1280, 1280, 1280}} {
		nstest.Run(t, "ip", "link", "set", "eth0", "mtu", fmt.Sprint(c.path))
		nstest.Eventually(t, 5*time.Second, func() error {
			s := m.Observe()
			if s[0].MTU != c.mtu4 || s[1].MTU != c.mtu6 {
				return fmt.Errorf("path %d: got %d and %d, want %d and %d", c.path, s[0].MTU, s[1].MTU, c.mtu4, c.mtu6)
			}
			return nil
		})
	}
}

// A router on the way has a smaller MTU and says so by ICMP (RFC 1191).
func TestMTUFollowsThePathThatARouterTells(t *testing.T) {
	userspaceOnly(t)
	if !nstest.Isolate(t) {
		return
	}
	r, z := nstest.New(t, "r"), nstest.New(t, "z")
	nstest.Veth(t, nil, "eth0", []string{"10.0.0.1/24"}, r, "eth0", []string{"10.0.0.254/24"})
	nstest.Veth(t, r, "eth1", []string{"10.2.0.254/24"}, z, "eth0", []string{"10.2.0.2/24"})
	r.Run(t, "sysctl", "-qw", "net.ipv4.ip_forward=1")
	nstest.Run(t, "ip", "route", "add", "10.2.0.0/24", "via", "10.0.0.254")
	z.Run(t, "ip", "route", "add", "default", "via", "10.2.0.254")
	tun := tunnel4()
	tun.Remote = netip.MustParseAddr("10.2.0.2")
	tun.Addresses = prefixes("169.254.100.1/29")
	m := newManager(t)
	mustBeUp(t, apply(m, false, tun))
	mustBeUp(t, startHelper(t, z, "manager").ask(applyRequest{Want: []tgwconnect.Tunnel{far(tun)}}))
	mustPing(t, "169.254.100.2")
	r.Run(t, "ip", "link", "set", "eth1", "mtu", "1300")
	z.Run(t, "ip", "link", "set", "eth0", "mtu", "1300")
	nstest.Eventually(t, 10*time.Second, func() error {
		_ = exec.Command("ping", "-c1", "-W1", "-s", "1400", "169.254.100.2").Run()
		if s := m.Observe()[0]; s.MTU != 1276 {
			return fmt.Errorf("got %+v, want MTU 1276", s)
		}
		return nil
	})
	nstest.Eventually(t, 5*time.Second, func() error {
		return exec.Command("ping", "-c1", "-W1", "-s", "1400", "169.254.100.2").Run()
	})
}

// The far end has no GRE yet: its kernel answers protocol unreachable, which a
// connected socket reports as an error.
func TestUnreachableFarEndDoesNotEndTheTunnel(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	z := underlay(t)
	m := newManager(t)
	mustBeUp(t, apply(m, false, tunnel4()))
	for range 3 {
		_ = exec.Command("ping", "-c2", "-i0.2", "-W1", "169.254.100.2").Run()
	}
	mustBeUp(t, m.Observe())
	mustBeUp(t, startHelper(t, z, "manager").ask(applyRequest{Want: []tgwconnect.Tunnel{far(tunnel4())}}))
	mustPing(t, "169.254.100.2")
}
