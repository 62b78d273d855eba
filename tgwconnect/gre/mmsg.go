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
	rc   syscall.RawConn
	msgs [batchSize]mmsghdr
	iovs [batchSize]unix.Iovec

	fn    func(fd uintptr) bool // poll, bound once
	n     int                   // in: messages to send; out: messages received
	lost  int                   // out: messages that could not be sent
	cause error                 // out: the last cause of a loss

	tooBig func() // told when a message was larger than the path takes
}

func newBatch(rc syscall.RawConn, tooBig func()) *batch {
	b := &batch{rc: rc, tooBig: tooBig}
	for i := range b.msgs {
		b.msgs[i].hdr.Iov = &b.iovs[i]
		b.msgs[i].hdr.SetIovlen(1)
	}
	return b
}

// set points message i at p, which the caller keeps alive.
func (b *batch) set(i int, p []byte) {
	b.iovs[i].Base = unsafe.SliceData(p)
	b.iovs[i].SetLen(len(p))
}

// sender prepares a batch for send.
func sender(rc syscall.RawConn, tooBig func()) *batch {
	b := newBatch(rc, tooBig)
	at, tried, pauses := 0, 0, 0
	b.fn = func(fd uintptr) bool {
		for at < b.n {
			got, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.msgs[at])), uintptr(b.n-at), unix.MSG_DONTWAIT, 0, 0)
			if errno == 0 {
				at, tried, pauses = at+int(got), 0, 0
				continue
			}
			switch errno {
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				return false
			case unix.EMSGSIZE:
				b.tooBig()
			case unix.ENOBUFS, unix.ENOMEM:
				// The device queue is full and, unlike a full socket buffer,
				// nothing tells when it is not (udp(7)). Wait a moment, not long.
				if pauses++; pauses <= 5 {
					time.Sleep(time.Duration(20<<pauses) * time.Microsecond)
					continue
				}
			}
			// An ICMP error for an earlier packet is reported once, by the next
			// call (icmp(7)): the same message has a second try.
			if tried++; tried == 1 {
				continue
			}
			b.cause = errno
			drop := b.n - at
			if errno == unix.EMSGSIZE {
				drop = 1 // the next may be smaller
			}
			b.lost += drop
			at, tried, pauses = at+drop, 0, 0
		}
		at, tried, pauses = 0, 0, 0
		return true
	}
	return b
}

// send sends the first n messages. Errors of single messages are not returned
// but counted in lost; an error means that the socket is gone.
func (b *batch) send(n int) error {
	b.n, b.lost, b.cause = n, 0, nil
	return b.rc.Write(b.fn)
}

// receiver prepares a batch for receive.
func receiver(rc syscall.RawConn, tooBig func()) *batch {
	b := newBatch(rc, tooBig)
	b.fn = func(fd uintptr) bool {
		for {
			got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.msgs[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
			switch errno {
			case 0:
				b.n = int(got)
				return true
			case unix.EAGAIN:
				return false
			case unix.EBADF, unix.ENOTSOCK:
				b.n, b.cause = 0, errno
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

// receive waits for messages and returns how many arrived.
func (b *batch) receive() (int, error) {
	b.n, b.cause = 0, nil
	if err := b.rc.Read(b.fn); err != nil {
		return 0, err
	}
	return b.n, b.cause
}

// size is the length of received message i; whole is false when it was cut.
func (b *batch) size(i int) (n int, whole bool) {
	return int(b.msgs[i].n), b.msgs[i].hdr.Flags&unix.MSG_TRUNC == 0
}

// closed tells the end of a file or socket from other errors.
func closed(err error) bool {
	return errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EBADF) || errors.Is(err, unix.EBADFD)
}
