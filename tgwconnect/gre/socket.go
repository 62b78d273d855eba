package gre

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// socketBuffer is what wireguard-go asks for (conn/controlfns.go): some
// milliseconds of a 10 Gbit/s burst.
const socketBuffer = 7 << 20

// outerSocket is the outside of one tunnel: a receiving raw socket, connected
// to the far end, so that the kernel demultiplexes, and that keeps it from
// answering with protocol unreachable; and a sending one.
//
// They are two because Go polls a socket for both directions: each packet that
// leaves would wake the poller ("writable again"), which halves the throughput.
// The sending one has protocol IPPROTO_RAW, so that no packet is queued at it,
// and carries the outer IP header we write (raw(7)), which lets each packet
// have its own traffic class.
type outerSocket struct {
	file *os.File
	rc   syscall.RawConn
	out  int // not polled
}

// close ends receiving; the sending descriptor is closed by its only user.
func (s *outerSocket) close() { _ = s.file.Close() }

// discard closes sockets that were never used.
func (s *outerSocket) discard() {
	s.close()
	_ = unix.Close(s.out)
}

// openOuter opens the sockets of a tunnel.
func openOuter(t tgwconnect.Tunnel) (*outerSocket, error) {
	in, err := openRaw(t, unix.IPPROTO_GRE)
	if err != nil {
		return nil, err
	}
	out, err := openRaw(t, unix.IPPROTO_RAW)
	if err != nil {
		_ = unix.Close(in)
		return nil, err
	}
	s := &outerSocket{file: os.NewFile(uintptr(in), "gre "+t.Name), out: out}
	if s.rc, err = s.file.SyscallConn(); err != nil {
		s.close()
		_ = unix.Close(out)
		return nil, fmt.Errorf("poll raw socket: %w", err)
	}
	return s, nil
}

func openRaw(t tgwconnect.Tunnel, protocol int) (int, error) {
	family := unix.AF_INET
	if t.Local.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return -1, fmt.Errorf("open raw socket: %w", err)
	}
	if err := setUpOuter(fd, t); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func setUpOuter(fd int, t tgwconnect.Tunnel) error {
	type option struct {
		name              string
		level, opt, value int
	}
	options := []option{
		{"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO},
	}
	if t.Local.Is6() {
		options = []option{
			{"IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO},
			// The received traffic class, for the congestion mark.
			{"IPV6_RECVTCLASS", unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1},
		}
	}
	if t.Mark != 0 {
		options = append(options, option{"SO_MARK", unix.SOL_SOCKET, unix.SO_MARK, int(t.Mark)})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.opt, o.value); err != nil {
			return fmt.Errorf("set %s: %w", o.name, err)
		}
	}
	setBuffers(fd)
	if err := unix.Bind(fd, sockaddr(t.Local)); err != nil {
		if errors.Is(err, unix.EADDRNOTAVAIL) {
			return errNoLocal(t.Local)
		}
		return fmt.Errorf("bind %s: %w", t.Local, err)
	}
	if err := unix.Connect(fd, sockaddr(t.Remote)); err != nil {
		return fmt.Errorf("no route to %s: %w", t.Remote, err)
	}
	return nil
}

// setBuffers makes the buffers of a socket large; best effort without CAP_NET_ADMIN.
func setBuffers(fd int) {
	for _, o := range [...][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[0], socketBuffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[1], socketBuffer)
		}
	}
}

// isLocal asks the kernel whether a can be a source address now. Binding is the
// exact question: it honours AnyIP routes, net.ipv4.ip_nonlocal_bind, and IPv6
// addresses still tentative.
func isLocal(a netip.Addr) bool {
	family := unix.AF_INET
	if a.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return true // no answer is no proof
	}
	defer func() { _ = unix.Close(fd) }()
	return !errors.Is(unix.Bind(fd, sockaddr(a)), unix.EADDRNOTAVAIL)
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}

func errNoLocal(a netip.Addr) error {
	return fmt.Errorf("local address %s is not on this host", a)
}

func ttlOf(t tgwconnect.Tunnel) uint8 {
	if t.TTL == 0 {
		return 64
	}
	return t.TTL
}
