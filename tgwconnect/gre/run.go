package gre

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Pauses of the watcher.
const (
	settle    = 20 * time.Millisecond // events come in bursts
	slowCheck = 30 * time.Second      // compare with the kernel without an event
	retry     = 2 * time.Second       // the same while a tunnel has an error: not everything sends events
)

// start starts the goroutines of a manager; all goroutines of the package
// start in this file.
func (m *Manager) start() error {
	watch, err := openWatch()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = func() { cancel(); _ = watch.Close() }
	m.wg.Go(func() { m.watch(watch) })
	m.wg.Go(func() { m.run(ctx) })
	return nil
}

// start starts the directions of a userspace tunnel.
func (u *userTunnel) start() {
	u.wg.Go(u.runTransmit)
	u.wg.Go(u.runReceive)
	if u.off.in != nil {
		u.wg.Go(u.runUnpack)
	}
}

// poke asks run to look again; it never waits.
func (m *Manager) poke() {
	select {
	case m.poked <- struct{}{}:
	default:
	}
}

func (m *Manager) run(ctx context.Context) {
	pause := slowCheck
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.poked:
			select {
			case <-ctx.Done():
				return
			case <-time.After(settle):
			}
			select {
			case <-m.poked:
			default:
			}
		case <-time.After(pause):
		}
		pause = retry
		if m.lookAgain(ctx) {
			pause = slowCheck
		}
	}
}

// openWatch listens for changes of links and addresses. Routes are left out:
// a hundred thousand of them would wake us for nothing.
func openWatch() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	return os.NewFile(uintptr(fd), "rtnetlink"), nil
}

// watch turns every message, and every overflow (ENOBUFS), into one "look
// again". The contents do not matter: the kernel is read anew.
func (m *Manager) watch(f *os.File) {
	buf := make([]byte, 1<<16)
	for {
		_, err := f.Read(buf)
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
		m.poke()
		select {
		case m.moved <- struct{}{}:
		default:
		}
	}
}
