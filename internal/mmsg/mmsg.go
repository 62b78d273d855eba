// Package mmsg moves batches of datagrams with one system call (sendmmsg(2),
// recvmmsg(2)), for the edges that talk to thousands of addresses: probes and BFD.
// Nothing is allocated per packet, and a packet's age is the kernel's word, so that
// a reader that was late judges nobody by its own delay.
package mmsg

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Batch is how many packets one system call sends or receives.
const Batch = 64

// Header is struct mmsghdr of recvmmsg(2); the compiler pads it as C does.
type Header struct {
	Hdr unix.Msghdr
	Len uint32
}

// Sockaddr is an address in the form the kernel reads, kept with what is sent to,
// so that sending allocates nothing. Link-local addresses have no scope: the
// sockets are bound to their interface.
type Sockaddr struct {
	raw unix.RawSockaddrInet6 // or an IPv4 one in its place
	len uint32
}

// NewSockaddr makes one of an address and a port.
func NewSockaddr(a netip.Addr, port uint16) (s Sockaddr) {
	if a.Is4() {
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.raw))
		p.Family, p.Addr, s.len = unix.AF_INET, a.As4(), unix.SizeofSockaddrInet4
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&p.Port))[:], port)
		return s
	}
	s.raw.Family, s.raw.Addr, s.len = unix.AF_INET6, a.As16(), unix.SizeofSockaddrInet6
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&s.raw.Port))[:], port)
	return s
}

// Addr returns the address without zone.
func (s *Sockaddr) Addr() netip.Addr {
	switch s.raw.Family {
	case unix.AF_INET:
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&s.raw)).Addr)
	case unix.AF_INET6:
		return netip.AddrFrom16(s.raw.Addr)
	}
	return netip.Addr{}
}

// Outgoing makes the header of a packet to an address; both must stay where they
// are until it is sent.
func (h *Header) Outgoing(to *Sockaddr, iov *unix.Iovec, packet []byte) {
	iov.Base = unsafe.SliceData(packet)
	iov.SetLen(len(packet))
	h.Hdr = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&to.raw)), Namelen: to.len, Iov: iov}
	h.Hdr.SetIovlen(1)
}

// Incoming makes the header ready to receive a packet with its source and its
// control messages.
func (h *Header) Incoming(from *Sockaddr, iov *unix.Iovec, packet, control []byte) {
	iov.Base = unsafe.SliceData(packet)
	iov.SetLen(len(packet))
	h.Hdr = unix.Msghdr{
		Name: (*byte)(unsafe.Pointer(&from.raw)), Namelen: unix.SizeofSockaddrInet6, Iov: iov, Control: unsafe.SliceData(control),
	}
	h.Hdr.SetIovlen(1)
	h.Hdr.SetControllen(len(control))
}

// Send sends every message and tells each one's fate, by its index. sendmmsg
// reports an error only for the first message of a call, so the rest is tried
// again. It does not wait for room.
func Send(fd int, msgs []Header, fate func(int, error)) {
	for i := 0; i < len(msgs); {
		n, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[i])), uintptr(len(msgs)-i), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
		switch {
		case e == unix.EINTR:
			continue
		case e != 0:
			fate(i, e)
			i++
		default:
			for ; n > 0; n-- {
				fate(i, nil)
				i++
			}
		}
	}
}

// Receive takes what is there, at most one batch, without waiting.
func Receive(fd int, msgs []Header) (int, error) {
	for {
		n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}

// Control calls fn for each control message of a received packet.
func (h *Header) Control(control []byte, fn func(level, typ int32, data []byte)) {
	for c := control[:min(int(h.Hdr.Controllen), len(control))]; len(c) >= unix.SizeofCmsghdr; {
		m := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
		n := int(m.Len)
		if n < unix.SizeofCmsghdr || n > len(c) {
			return
		}
		fn(m.Level, m.Type, c[unix.CmsgLen(0):n])
		c = c[min(unix.CmsgSpace(n-unix.CmsgLen(0)), len(c)):]
	}
}

// Age is how long ago the kernel received a packet, of a control message of type
// SO_TIMESTAMPNS; 0 where the wall clock was stepped since.
func Age(timestamp []byte, wall time.Time) time.Duration {
	if len(timestamp) < int(unsafe.Sizeof(unix.Timespec{})) {
		return 0
	}
	ts := (*unix.Timespec)(unsafe.Pointer(&timestamp[0]))
	age := wall.Sub(time.Unix(ts.Unix()))
	if age < 0 || age > time.Minute {
		return 0
	}
	return age
}

// SendError says in an operator's words why a packet could not be sent by a tunnel.
// ENOKEY and EDESTADDRREQ are WireGuard's (drivers/net/wireguard/device.c: wg_xmit).
func SendError(err error) string {
	switch {
	case errors.Is(err, unix.ENOKEY):
		return "send: no peer has the target in its allowed IPs"
	case errors.Is(err, unix.EDESTADDRREQ):
		return "send: the peer has no endpoint yet"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return "send: the local address does not exist"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "send: not permitted"
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
		return "send: buffer full"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return "send: too many open files"
	}
	return "send: " + err.Error()
}

// Unreachable reports whether the network, not this host, is why a packet can not be
// sent.
func Unreachable(err error) bool {
	return errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.EHOSTDOWN)
}

// NoDevice reports whether the interface is gone that a socket is bound to.
func NoDevice(err error) bool { return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) }
