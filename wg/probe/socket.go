package probe

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/mmsg"
)

// path is one way out: interface, family and source. Probes that share it share
// its sockets.
type path struct {
	dev    *device
	v6     bool
	source netip.Addr // invalid: the kernel chooses

	key       pathKey
	icmp, udp int // descriptors, -1 while closed
	out       [2]*outbox
	uses      int
}

// Index of path.out.
const (
	outICMP = iota
	outUDP
)

// device is an interface as last looked up. Sockets are bound to its index: one
// that was deleted and made anew is another interface.
type device struct {
	name    string
	ifr     *unix.Ifreq
	index   int // 0: missing, anyDevice: sockets are not bound
	checked time.Duration
	suspect bool // sending failed, look again
	paths   []*path
}

// recheck is how old the knowledge of an interface index may be. Errors on
// sending look again at once; this bounds how long a probe of an interface that
// comes back fails.
const recheck = 500 * time.Millisecond

var errNoDevice = errors.New("no-device")

// anyDevice is the index of no interface.
const anyDevice = -1

// lookup refreshes the index and closes sockets of an earlier life.
func (d *device) lookup(ctl int, now time.Duration) {
	d.checked = now
	if d.name == "" {
		d.index = anyDevice
		return
	}
	index := 0
	if d.ifr != nil && unix.IoctlIfreq(ctl, unix.SIOCGIFINDEX, d.ifr) == nil {
		index = int(d.ifr.Uint32())
	}
	if index == d.index {
		return
	}
	d.index = index
	for _, p := range d.paths {
		p.close()
	}
}

// socket makes a non-blocking socket bound to the interface and the source.
func (p *path) socket(typ, proto int) (int, error) {
	if p.dev.index == 0 {
		return -1, errNoDevice
	}
	family := unix.AF_INET
	if p.v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return -1, err
	}
	// SO_BINDTOIFINDEX is SO_BINDTODEVICE by number (Linux 5.0): it can not
	// catch another interface of the same name.
	if p.dev.index != anyDevice {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, p.dev.index)
	} else if p.key.mark != 0 {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(p.key.mark))
	}
	if err == nil && p.source.IsValid() {
		err = unix.Bind(fd, p.local())
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (p *path) local() unix.Sockaddr {
	if p.v6 {
		return &unix.SockaddrInet6{Addr: p.source.As16()}
	}
	return &unix.SockaddrInet4{Addr: p.source.As4()}
}

// openICMP opens the raw socket. Each raw socket gets a copy of every ICMP
// packet of its interface, so a filter keeps what is not ours in the kernel.
func (p *path) openICMP(id uint16) error {
	proto := unix.IPPROTO_ICMP
	if p.v6 {
		proto = unix.IPPROTO_ICMPV6
	}
	fd, err := p.socket(unix.SOCK_RAW, proto)
	if err != nil {
		return err
	}
	err = attachFilter(fd, p.v6, id)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	// Room for the answers of some thousand probes while the process waits for
	// a CPU; FORCE needs CAP_NET_ADMIN, the plain one is cut to rmem_max.
	const room = 1 << 20
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, room)
	}
	p.icmp = fd
	return nil
}

// openUDP opens the socket heartbeats leave by. Answers to them (port
// unreachable) are of interest to WireGuard's counters only; nothing is read.
func (p *path) openUDP() error {
	fd, err := p.socket(unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 0) // the smallest
	p.udp = fd
	return nil
}

// close is for sockets whose interface is gone; the next round opens new ones.
func (p *path) close() {
	for _, fd := range []*int{&p.icmp, &p.udp} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}

// attachFilter accepts echo replies with our identifier, and errors.
func attachFilter(fd int, v6 bool, id uint16) error {
	prog := []bpf.Instruction{
		bpf.LoadMemShift{Off: 0}, // IPv4 header length
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: icmp4Unreachable, SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: icmp4TimeExceeded, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmp4EchoReply, SkipTrue: 3},
		bpf.LoadIndirect{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(id), SkipTrue: 1},
		bpf.RetConstant{Val: 256},
		bpf.RetConstant{Val: 0},
	}
	if v6 { // a raw ICMPv6 socket does not deliver the IPv6 header
		prog = []bpf.Instruction{
			bpf.LoadAbsolute{Off: 0, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: icmp6Unreachable, SkipTrue: 4},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: icmp6TimeExceeded, SkipTrue: 3},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmp6EchoReply, SkipTrue: 3},
			bpf.LoadAbsolute{Off: 4, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(id), SkipTrue: 1},
			bpf.RetConstant{Val: 256},
			bpf.RetConstant{Val: 0},
		}
	}
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// Reasons of failed rounds that are not "send: ...".
const (
	reasonTimeout     = "timeout"
	reasonRefused     = "refused"
	reasonNoDevice    = "no-device"
	reasonUnreachable = "unreachable"
)

// reasonOf translates a system error for operators.
func reasonOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errNoDevice), mmsg.NoDevice(err):
		return reasonNoDevice
	case errors.Is(err, unix.ECONNREFUSED):
		return reasonRefused
	case errors.Is(err, unix.ETIMEDOUT):
		return reasonTimeout
	case mmsg.Unreachable(err):
		return reasonUnreachable
	}
	return mmsg.SendError(err)
}
