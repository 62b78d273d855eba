package fib

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// batchSize is how many requests share one sendmsg. Between 16 and 4,096 the
// kernel is equally fast; 256 errors surely fit the receive buffer.
const batchSize = 256

// dumpTries bounds how often an interrupted dump is asked for again.
const dumpTries = 40

// conn is the one rtnetlink socket for requests. The kernel works on a request
// within sendmsg, so after a batch its errors are already in the receive
// queue and an empty queue means success: no acknowledgement is asked for.
type conn struct {
	fd  int
	pid uint32 // the socket's netlink address, on every notification we cause
	seq uint32
	out messages
	in  []byte
	// retried counts dumps that were asked for again.
	retried *atomic.Uint64
}

func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	c := &conn{fd: fd, in: make([]byte, 128<<10), retried: new(atomic.Uint64)}
	fail := func(err error) (*conn, error) {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("set up rtnetlink: %w", err)
	}
	setReceiveBuffer(fd, 4<<20)
	tv := unix.NsecToTimeval(int64(10 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return fail(err)
	}
	for _, opt := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK, unix.NETLINK_GET_STRICT_CHK} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, opt, 1); err != nil {
			return fail(err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fail(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return fail(err)
	}
	c.pid = sa.(*unix.SockaddrNetlink).Pid
	return c, nil
}

// setReceiveBuffer asks for n bytes, past the system's limit when allowed.
func setReceiveBuffer(fd, n int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n)
	}
}

func (c *conn) close() { _ = unix.Close(c.fd) }

func (c *conn) send() error {
	return unix.Sendto(c.fd, c.out.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// errInterrupted says that the table changed during each of many dumps.
var errInterrupted = errors.New("the table kept changing while it was read")

// dump runs a dump request and calls fn with each answer. A dump that the
// kernel marks as interrupted (NLM_F_DUMP_INTR) is repeated from the start;
// restart is called before each try so that the caller forgets the last one.
func (c *conn) dump(ctx context.Context, build func(m *messages, seq uint32), restart func(), fn func(typ uint16, body []byte) error) error {
	for try := range dumpTries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if try > 3 {
			time.Sleep(time.Duration(min(try, 20)) * time.Millisecond) // give a busy writer room, bounded by dumpTries
		}
		restart()
		c.seq++
		c.out.reset()
		build(&c.out, c.seq)
		intr, err := c.answers(fn)
		if err != nil {
			return err
		}
		if !intr {
			return nil
		}
		c.retried.Add(1)
	}
	return errInterrupted
}

// answers reads the multipart answer to the request under construction.
func (c *conn) answers(fn func(typ uint16, body []byte) error) (interrupted bool, err error) {
	if err := c.send(); err != nil {
		return false, err
	}
	for {
		n, _, err := unix.Recvfrom(c.fd, c.in, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ENOBUFS:
			interrupted = true // the dump goes on, but something is missing
			continue
		case err != nil:
			return false, err
		}
		for b := c.in[:n]; len(b) > 0; {
			h, body, rest, err := nextMessage(b)
			if err != nil {
				return false, err
			}
			b = rest
			if h.seq != c.seq {
				continue // the tail of an earlier request that was given up
			}
			interrupted = interrupted || h.flags&unix.NLM_F_DUMP_INTR != 0
			switch h.typ {
			case unix.NLMSG_DONE:
				if len(body) >= 4 {
					if errno := unix.Errno(-int32(native.Uint32(body))); errno != 0 {
						return interrupted, errno
					}
				}
				return interrupted, nil
			case unix.NLMSG_ERROR:
				errno, text, err := parseError(h, body)
				if err != nil || errno == 0 {
					return interrupted, err
				}
				return interrupted, describe(errno, text)
			}
			if err := fn(h.typ, body); err != nil {
				return interrupted, err
			}
			if h.flags&unix.NLM_F_MULTI == 0 {
				return interrupted, nil
			}
		}
	}
}

// get sends one request that has one answer.
func (c *conn) get(build func(m *messages, seq uint32), fn func(typ uint16, body []byte) error) error {
	c.seq++
	c.out.reset()
	build(&c.out, c.seq)
	_, err := c.answers(fn)
	return err
}

// kernelError is a refusal with the kernel's own words.
type kernelError struct {
	errno unix.Errno
	text  string
}

func (e *kernelError) Error() string {
	if e.text == "" {
		return e.errno.Error()
	}
	return e.errno.Error() + ": " + e.text
}

func (e *kernelError) Unwrap() error { return e.errno }

func describe(errno unix.Errno, text string) error { return &kernelError{errno, text} }

// op is one request of a batch, so that an error finds its object.
type op struct {
	kind opKind
	idx  int32 // which cell, stray, group or single
	arg  int32 // what it becomes when the kernel agrees
}

// batch packs requests and sends them by batchSize.
type batch struct {
	c     *conn
	ops   []op
	base  uint32 // sequence number of ops[0]
	errs  []error
	sent  uint64 // requests
	calls uint64 // sendmsg calls
	// done is told of every request with the kernel's error, nil when it agreed.
	done func(o op, err error)
}

// next returns the sequence number for the request about to be encoded.
func (b *batch) next(o op) (m *messages, seq uint32) {
	if len(b.ops) == 0 {
		b.c.out.reset()
		b.base = b.c.seq + 1
	}
	b.c.seq++
	b.ops = append(b.ops, o)
	return &b.c.out, b.c.seq
}

// full flushes when the batch has reached its size.
func (b *batch) full(ctx context.Context) error {
	if len(b.ops) < batchSize {
		return nil
	}
	return b.flush(ctx)
}

func (b *batch) flush(ctx context.Context) error {
	if len(b.ops) == 0 {
		return nil
	}
	defer func() { b.ops = b.ops[:0] }()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.c.send(); err != nil {
		return fmt.Errorf("write to rtnetlink: %w", err)
	}
	b.sent += uint64(len(b.ops))
	b.calls++
	if cap(b.errs) < len(b.ops) {
		b.errs = make([]error, batchSize)
	}
	b.errs = b.errs[:len(b.ops)]
	clear(b.errs)
	if err := b.collect(); err != nil {
		return err
	}
	for i, o := range b.ops {
		b.done(o, b.errs[i])
	}
	return nil
}

// collect empties the receive queue and files each error under its request.
func (b *batch) collect() error {
	for {
		n, _, err := unix.Recvfrom(b.c.fd, b.c.in, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("read errors from rtnetlink: %w", err)
		}
		for m := b.c.in[:n]; len(m) > 0; {
			h, body, rest, err := nextMessage(m)
			if err != nil {
				return err
			}
			m = rest
			i := h.seq - b.base
			if h.typ != unix.NLMSG_ERROR || i >= uint32(len(b.errs)) {
				continue
			}
			if errno, text, err := parseError(h, body); err == nil && errno != 0 {
				b.errs[i] = describe(errno, text)
			}
		}
	}
}
