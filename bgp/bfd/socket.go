package bfd

import (
	"errors"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/mmsg"
)

const (
	// controlPort is where single-hop control packets go (RFC 5881 section 4).
	controlPort = 3784
	// Source ports of RFC 5881 section 4.
	firstSource, sources = 49152, 16384
	// gtsmTTL is the only TTL that is sent and believed (RFC 5881 section 5).
	gtsmTTL = 255
	// classControl is the class selector of network control traffic, CS6.
	classControl = 0xc0
	// again is how long a socket that could not be opened is left alone.
	again = 500 * time.Millisecond
	// maxDrain bounds how many batches one socket is read for in a row. A full
	// receive buffer is less.
	maxDrain = 256
)

var errNoDevice = errors.New("no-device")

// device is an interface as last looked up. Sockets are bound to its index: one
// that was deleted and made anew is another interface.
type device struct {
	name    string // empty: not bound to any
	ifr     *unix.Ifreq
	index   int // 0: missing
	suspect bool
	ports   []*port
}

// lookup refreshes the index and closes the sockets of an earlier life.
func (d *device) lookup(ctl int) {
	d.suspect = false
	index := 0
	if d.ifr != nil && unix.IoctlIfreq(ctl, unix.SIOCGIFINDEX, d.ifr) == nil {
		index = int(d.ifr.Uint32())
	}
	if index == d.index {
		return
	}
	d.index = index
	for _, p := range d.ports {
		p.close()
	}
}

// port is the receiving side of an interface and family.
type port struct {
	dev   *device
	v6    bool
	fd    int // -1: closed
	retry time.Duration
	// empty is when its queue was last seen empty: nothing read later can have
	// arrived before.
	empty time.Duration
	paths []*path
}

// path is the sending side: a port and a source address.
type path struct {
	port   *port
	source netip.Addr // invalid: the kernel chooses
	fd     int        // -1: closed
	retry  time.Duration
	err    error // why it is closed
	out    *outbox
	queued bool // in loop.dirty
	uses   int
}

func (p *port) close() {
	closeFD(&p.fd)
	p.retry = 0
	for _, q := range p.paths {
		closeFD(&q.fd)
		q.retry = 0
	}
}

func closeFD(fd *int) {
	if *fd >= 0 {
		_ = unix.Close(*fd)
		*fd = -1
	}
}

type option struct{ level, name, value int }

// socket makes a non-blocking UDP socket bound to the interface.
func (p *port) socket(opts []option) (int, error) {
	if p.dev.name != "" && p.dev.index == 0 {
		return -1, errNoDevice
	}
	family := unix.AF_INET
	if p.v6 {
		family = unix.AF_INET6
		opts = append(opts, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1})
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if p.dev.name != "" {
		// SO_BINDTOIFINDEX is SO_BINDTODEVICE by number (Linux 5.0): it can not
		// catch another interface of the same name.
		opts = append(opts, option{unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, p.dev.index})
	}
	for _, o := range opts {
		if err = unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			_ = unix.Close(fd)
			return -1, os.NewSyscallError("setsockopt", err)
		}
	}
	return fd, nil
}

// open makes the socket that receives.
func (p *port) open() error {
	ttl := option{unix.IPPROTO_IP, unix.IP_RECVTTL, 1}
	if p.v6 {
		ttl = option{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1}
	}
	fd, err := p.socket([]option{
		ttl,
		{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
		// An unbound socket and bound ones share the port; the bound ones win.
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
	})
	if err != nil {
		return err
	}
	// Room for what thousands of sessions get while the process waits for a CPU;
	// FORCE needs CAP_NET_ADMIN, the plain one is cut to rmem_max.
	const room = 4 << 20
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, room)
	}
	if err := unix.Bind(fd, address(p.v6, netip.Addr{}, controlPort)); err != nil {
		_ = unix.Close(fd)
		return os.NewSyscallError("bind", err)
	}
	p.fd = fd
	return nil
}

// open makes the socket that sends. Sessions that share interface, family and
// source share it and its port: RFC 5881 section 4 would rather have one port
// each, and leaves it to those with few sessions. Thousands of descriptors are
// worth more; demultiplexing never uses the port.
func (q *path) open(random func() uint32) error {
	opts := []option{{unix.IPPROTO_IP, unix.IP_TTL, gtsmTTL}, {unix.IPPROTO_IP, unix.IP_TOS, classControl}}
	if q.port.v6 {
		opts = []option{{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, gtsmTTL}, {unix.IPPROTO_IPV6, unix.IPV6_TCLASS, classControl}}
	}
	fd, err := q.port.socket(opts)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 0) // nothing is read here
	for range 64 {
		err = unix.Bind(fd, address(q.port.v6, q.source, firstSource+int(random()%sources)))
		if err != unix.EADDRINUSE {
			break
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return os.NewSyscallError("bind", err)
	}
	q.fd = fd
	return nil
}

func address(v6 bool, a netip.Addr, port int) unix.Sockaddr {
	if v6 {
		s := &unix.SockaddrInet6{Port: port}
		if a.IsValid() {
			s.Addr = a.As16()
		}
		return s
	}
	s := &unix.SockaddrInet4{Port: port}
	if a.IsValid() {
		s.Addr = a.As4()
	}
	return s
}

// noteOf translates a system error for operators.
func noteOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errNoDevice), mmsg.NoDevice(err):
		return "no-device"
	case mmsg.Unreachable(err):
		return "unreachable"
	case errors.Is(err, unix.EADDRINUSE):
		return "receive: another program holds UDP port 3784"
	}
	return mmsg.SendError(err)
}
