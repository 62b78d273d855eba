package gre

import (
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is the number of packets of one sendmmsg or recvmmsg: what a TUN
// read with offload can give (wireguard/conn.IdealBatchSize).
const batchSize = 128

// mmsghdr is struct mmsghdr of socket(2); Go pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// batch is a vector of messages for one direction of one socket. Nothing is
// allocated per call.
type batch struct {
	msgs   [batchSize]mmsghdr
	iovs   [batchSize]unix.Iovec
	lost   int    // out: messages that could not be sent
	cause  error  // out: why the last one was lost
	tooBig func() // told when a message was larger than the path takes
}

func (b *batch) init(tooBig func()) {
	b.tooBig = tooBig
	for i := range b.msgs {
		b.msgs[i].hdr.Iov = &b.iovs[i]
		b.msgs[i].hdr.SetIovlen(1)
	}
}

// set points message i at p, which the caller keeps alive.
func (b *batch) set(i int, p []byte) {
	b.iovs[i].Base = unsafe.SliceData(p)
	b.iovs[i].SetLen(len(p))
}

// sender is the sending half of a socket that nothing polls.
type sender struct {
	batch
	fd      int
	stopped func() bool
}

func newSender(fd int, tooBig func(), stopped func() bool) *sender {
	s := &sender{fd: fd, stopped: stopped}
	s.init(tooBig)
	return s
}

// send sends the first n messages. Errors of single messages are counted in
// lost, with the last cause; false means that the tunnel is being stopped.
func (s *sender) send(n int) bool {
	s.lost, s.cause = 0, nil
	at, tried, pauses := 0, 0, 0
	for at < n {
		got, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.msgs[at])), uintptr(n-at), unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			at, tried, pauses = at+int(got), 0, 0
			continue
		}
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			if !s.waitWritable() {
				return false
			}
			continue
		case unix.EMSGSIZE:
			s.tooBig()
		case unix.ENOBUFS, unix.ENOMEM:
			// The device queue is full and, unlike a full socket buffer,
			// nothing tells when it is not. Wait a moment, not long.
			if pauses++; pauses <= 5 {
				time.Sleep(time.Duration(20<<pauses) * time.Microsecond)
				continue
			}
		}
		// An ICMP error for an earlier packet is reported once, by the next
		// call (ip(7), IP_RECVERR): the same message has a second try.
		if tried++; tried == 1 {
			continue
		}
		s.cause = errno
		drop := n - at
		if errno == unix.EMSGSIZE {
			drop = 1 // the next may be smaller
		}
		s.lost += drop
		at, tried, pauses = at+drop, 0, 0
	}
	return true
}

// waitWritable waits for room in the socket buffer.
func (s *sender) waitWritable() bool {
	fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}
	for !s.stopped() {
		if n, err := unix.Poll(fds, 100); n > 0 || (err != nil && err != unix.EINTR) {
			return true
		}
	}
	return false
}

// receiver is the receiving half.
type receiver struct {
	batch
	rc  syscall.RawConn
	fn  func(fd uintptr) bool // try, bound once
	got int

	control [batchSize][controlLen]byte
}

func newReceiver(rc syscall.RawConn, tooBig func()) *receiver {
	b := &receiver{rc: rc}
	b.init(tooBig)
	b.fn = func(fd uintptr) bool {
		for {
			got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.msgs[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
			switch errno {
			case 0:
				b.got = int(got)
				return true
			case unix.EAGAIN:
				return false
			case unix.EBADF, unix.ENOTSOCK:
				b.got, b.cause = 0, errno
				return true
			case unix.EMSGSIZE:
				b.tooBig()
			}
			// EINTR, or an ICMP error that concerns what we sent: it is no
			// error of receiving, and reading it has cleared it.
		}
	}
	return b
}

// receive waits for messages and returns how many arrived. An error means
// that the socket is closed.
func (b *receiver) receive() (int, error) {
	if b.msgs[0].hdr.Control != nil {
		b.wantControl() // recvmmsg has overwritten the lengths
	}
	b.got, b.cause = 0, nil
	if err := b.rc.Read(b.fn); err != nil {
		return 0, err
	}
	return b.got, b.cause
}

// controlLen holds one control message: a traffic class (an int) or a struct
// tpacket_auxdata (20 bytes).
const controlLen = 40

// wantControl gives each message room for a control message.
func (b *receiver) wantControl() {
	for i := range b.msgs {
		b.msgs[i].hdr.Control = &b.control[i][0]
		b.msgs[i].hdr.SetControllen(controlLen)
	}
}

// trafficClass is that of the outer IPv6 header of message i (RFC 3542 6.5),
// 0 when the kernel did not tell.
func (b *receiver) trafficClass(i int) byte {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b.control[i][0]))
	if int(b.msgs[i].hdr.Controllen) < unix.CmsgLen(4) || h.Level != unix.IPPROTO_IPV6 || h.Type != unix.IPV6_TCLASS {
		return 0
	}
	return byte(*(*int32)(unsafe.Pointer(&b.control[i][unix.CmsgLen(0)])))
}

// networkOffset is where the network header of message i starts, as a packet
// socket tells (packet(7), PACKET_AUXDATA): its frames start at the link header,
// which differs from device to device.
func (b *receiver) networkOffset(i int) (int, bool) {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b.control[i][0]))
	if int(b.msgs[i].hdr.Controllen) < unix.CmsgLen(20) || h.Level != unix.SOL_PACKET || h.Type != unix.PACKET_AUXDATA {
		return 0, false
	}
	const tpNet = 14
	return int(*(*uint16)(unsafe.Pointer(&b.control[i][unix.CmsgLen(0)+tpNet]))), true
}

// size is the length of received message i; whole is false when it was cut.
func (b *batch) size(i int) (n int, whole bool) {
	return int(b.msgs[i].n), b.msgs[i].hdr.Flags&unix.MSG_TRUNC == 0
}

// closed tells the end of a file or socket from other errors.
func closed(err error) bool {
	return errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EBADF) || errors.Is(err, unix.EBADFD)
}
