package probe

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchLen is how many packets one system call sends or receives.
const batchLen = 64

// mmsghdr is struct mmsghdr of recvmmsg(2); the compiler pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// sockaddr is an address in the form the kernel reads. It is kept with each
// probe, so that sending allocates nothing. Link-local addresses need no scope:
// the sockets are bound to their interface.
type sockaddr struct {
	raw unix.RawSockaddrInet6 // or an IPv4 one in its place
	len uint32
}

func newSockaddr(a netip.Addr, port uint16) (s sockaddr) {
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

// addr returns the address without zone.
func (s *sockaddr) addr() netip.Addr {
	switch s.raw.Family {
	case unix.AF_INET:
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&s.raw)).Addr)
	case unix.AF_INET6:
		return netip.AddrFrom16(s.raw.Addr)
	}
	return netip.Addr{}
}

// outbox collects packets for one socket.
type outbox struct {
	n    int
	msgs [batchLen]mmsghdr
	iovs [batchLen]unix.Iovec
	bufs [batchLen][echoLen]byte
	to   [batchLen]sockaddr
	who  [batchLen]*target
}

// add appends a packet of n bytes and returns its buffer. The caller flushes
// when full reports true.
func (o *outbox) add(t *target, n int) []byte {
	i := o.n
	o.n++
	o.who[i], o.to[i] = t, t.to
	b := o.bufs[i][:n]
	o.iovs[i].Base = &b[0]
	o.iovs[i].SetLen(n)
	m := &o.msgs[i]
	m.hdr = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&o.to[i].raw)), Namelen: o.to[i].len, Iov: &o.iovs[i]}
	m.hdr.SetIovlen(1)
	return b
}

func (o *outbox) full() bool { return o.n == batchLen }

// flush sends everything and tells each packet's fate. sendmmsg reports an error
// only for the first packet of a call, so the rest is tried again.
func (o *outbox) flush(fd int, fate func(*target, error)) {
	for i := 0; i < o.n; {
		n, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&o.msgs[i])), uintptr(o.n-i), unix.MSG_NOSIGNAL, 0, 0)
		switch {
		case e == unix.EINTR:
			continue
		case e != 0:
			fate(o.who[i], e)
			i++
		default:
			for ; n > 0; n-- {
				fate(o.who[i], nil)
				i++
			}
		}
	}
	clear(o.who[:o.n])
	o.n = 0
}

// inbox receives packets with the kernel's time of arrival.
type inbox struct {
	msgs [batchLen]mmsghdr
	iovs [batchLen]unix.Iovec
	bufs [batchLen][256]byte // an error quotes at most IP + ICMP + IP + our request, plus options
	from [batchLen]sockaddr
	ctl  [batchLen][64]byte
}

// receive takes what is there, at most one batch.
func (in *inbox) receive(fd int) (int, error) {
	for i := range in.msgs {
		in.iovs[i].Base = &in.bufs[i][0]
		in.iovs[i].SetLen(len(in.bufs[i]))
		m := &in.msgs[i].hdr
		*m = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&in.from[i].raw)), Namelen: unix.SizeofSockaddrInet6, Iov: &in.iovs[i], Control: &in.ctl[i][0]}
		m.SetIovlen(1)
		m.SetControllen(len(in.ctl[i]))
	}
	n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&in.msgs[0])), batchLen, unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// packet returns the i-th packet, its source and how long ago it arrived. The
// age is what keeps a late reader honest; without a usable timestamp it is 0.
func (in *inbox) packet(i int, wall time.Time) (b []byte, from netip.Addr, age time.Duration) {
	m := &in.msgs[i]
	if c := m.hdr.Controllen; c >= uint64(unix.CmsgLen(16)) {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&in.ctl[i][0]))
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS {
			ts := (*unix.Timespec)(unsafe.Pointer(&in.ctl[i][unix.SizeofCmsghdr]))
			age = wall.Sub(time.Unix(ts.Unix()))
			if age < 0 || age > time.Minute { // the wall clock was stepped
				age = 0
			}
		}
	}
	return in.bufs[i][:min(int(m.len), len(in.bufs[i]))], in.from[i].addr(), age
}
