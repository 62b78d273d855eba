// Package poll is what the engines that own many sockets wait with: an epoll set of
// their own, whose events one goroutine handles, and a mailbox through which others
// hand it what it is to do. The runtime's poller would need a goroutine a socket.
package poll

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Set is an epoll set (epoll(7)). It belongs to one goroutine.
type Set struct {
	fd     int
	events [128]unix.EpollEvent
}

// NewSet makes an empty set.
func NewSet() (*Set, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &Set{fd: fd}, nil
}

// FD is the descriptor of the set, which can be in another one.
func (s *Set) FD() int { return s.fd }

// Add watches a descriptor for the EPOLL events. Data and kind, which is not
// negative, come with each event as its Fd and Pad.
func (s *Set) Add(fd int, events uint32, data, kind int32) error {
	return s.control(unix.EPOLL_CTL_ADD, fd, events, data, kind)
}

// Arm has a descriptor watched anew whose one event (EPOLLONESHOT) has come.
func (s *Set) Arm(fd int, events uint32, data, kind int32) error {
	return s.control(unix.EPOLL_CTL_MOD, fd, events, data, kind)
}

func (s *Set) control(op, fd int, events uint32, data, kind int32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(s.fd, op, fd, &unix.EpollEvent{Events: events, Fd: data, Pad: kind}))
}

// Ready returns what is ready now, at most Most events. They are valid until the next
// call.
func (s *Set) Ready() ([]unix.EpollEvent, error) {
	for {
		n, err := unix.EpollWait(s.fd, s.events[:], 0)
		if err == nil {
			return s.events[:n], nil
		}
		if err != unix.EINTR {
			return nil, os.NewSyscallError("epoll_wait", err)
		}
	}
}

// Most is how many events Ready returns at most.
const Most = len(Set{}.events)

// Close ends the set, not what is in it.
func (s *Set) Close() { _ = unix.Close(s.fd) }

// Waiter is a set that can be waited for, until somebody wakes it.
type Waiter struct {
	*Set
	event int // eventfd
	file  *os.File
	conn  syscall.RawConn
}

// wake is the kind of the event of Wake.
const wake = -1

// NewWaiter makes one with nothing in it.
func NewWaiter() (*Waiter, error) {
	s, err := NewSet()
	if err != nil {
		return nil, err
	}
	// A thread that blocks in epoll_wait holds a processor of the Go scheduler,
	// which its monitor thread then polls for: half of an idle daemon's cost.
	// Hence the runtime waits for the epoll descriptor itself.
	if err := unix.SetNonblock(s.fd, true); err != nil {
		s.Close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	w := &Waiter{Set: s, event: -1, file: os.NewFile(uintptr(s.fd), "epoll")}
	if w.conn, err = w.file.SyscallConn(); err != nil {
		w.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if w.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		w.Close()
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err = s.Add(w.event, unix.EPOLLIN, 0, wake); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Wait returns what is ready as soon as anything is, or nothing once the deadline
// has passed (zero: none) or somebody called Wake. With a deadline in the past it
// does not look.
func (w *Waiter) Wait(deadline time.Time) ([]unix.EpollEvent, error) {
	if err := w.file.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	var events []unix.EpollEvent
	var failed error
	err := w.conn.Read(func(uintptr) bool {
		events, failed = w.Set.Ready()
		return len(events) > 0 || failed != nil
	})
	if failed == nil && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		failed = err
	}
	return w.without(events), failed
}

// Ready returns what is ready now.
func (w *Waiter) Ready() ([]unix.EpollEvent, error) {
	events, err := w.Set.Ready()
	return w.without(events), err
}

// without takes out the event of Wake.
func (w *Waiter) without(events []unix.EpollEvent) []unix.EpollEvent {
	return slices.DeleteFunc(events, func(e unix.EpollEvent) bool {
		if e.Pad == wake {
			var b [8]byte
			_, _ = unix.Read(w.event, b[:])
		}
		return e.Pad == wake
	})
}

// Wake ends a wait, the next one if there is none. Any goroutine may call it until
// Close.
func (w *Waiter) Wake() { _, _ = unix.Write(w.event, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// Close ends the waiter, not what is in it.
func (w *Waiter) Close() {
	_ = w.file.Close() // and the set with it
	if w.event >= 0 {
		_ = unix.Close(w.event)
	}
}
