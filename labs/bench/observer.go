package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/netlab"
)

// observer follows the routes of one host through the kernel's notifications and
// says when so many lead by way of one address. It is the same for every daemon
// that is measured: it knows routes that spell out their gateway and routes that
// name a next-hop object or a group of them, in any table.
//
// It looks once a millisecond, if not told otherwise, and takes everything that waits then: a reader
// that sleeps costs the writer a copy of each message and no wake-up.
type observer struct {
	fd   int
	quit chan struct{}
	done chan struct{}

	mu      sync.Mutex
	routes  map[netip.Prefix]way
	byWay   map[way]int
	objects map[uint32]object
	wantBy  netip.Addr // the present question; invalid: any
	wantN   int
	answer  chan time.Time
	err     error
}

// way is what a route says about its next hop: an object, or an address.
type way struct {
	object  uint32
	gateway netip.Addr
}

type object struct {
	gateway netip.Addr
	members []uint32
}

const (
	nhaID, nhaGroup, nhaGateway = 1, 2, 6 // NHA_*, linux/nexthop.h
	rtaNHID                     = 30      // RTA_NH_ID
	rtmNewNextHop               = 104     // RTM_NEWNEXTHOP
	rtmDelNextHop               = 105
)

// observe begins on a host that has no routes to count yet.
func observe(h *netlab.Host, closely bool) (*observer, error) {
	o := &observer{
		quit: make(chan struct{}), done: make(chan struct{}),
		routes: map[netip.Prefix]way{}, byWay: map[way]int{}, objects: map[uint32]object{},
	}
	err := h.Do(func() (err error) {
		o.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		unix.SetsockoptInt(o.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 256<<20),
		unix.Bind(o.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	for _, g := range []int{unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_NEXTHOP} {
		err = errors.Join(err, unix.SetsockoptInt(o.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g))
	}
	if err != nil {
		_ = unix.Close(o.fd)
		return nil, fmt.Errorf("observe routes: %w", err)
	}
	every := time.Millisecond
	if closely {
		every /= 10
	}
	go o.run(every)
	return o, nil
}

func (o *observer) close() {
	close(o.quit)
	<-o.done
	_ = unix.Close(o.fd)
}

// whenAll answers once with the instant from which on there are n routes.
func (o *observer) whenAll(n int) <-chan time.Time { return o.when(netip.Addr{}, n) }

// when answers once with the instant from which on n routes lead by way of the
// address.
func (o *observer) when(by netip.Addr, n int) <-chan time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wantBy, o.wantN, o.answer = by, n, make(chan time.Time, 1)
	return o.answer
}

// count is how many routes lead by way of the address now, and how many there are.
func (o *observer) count(by netip.Addr) (n, all int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.by(by), len(o.routes)
}

func (o *observer) by(gw netip.Addr) (n int) {
	for w, c := range o.byWay {
		if o.leads(w, gw) {
			n += c
		}
	}
	return n
}

func (o *observer) leads(w way, gw netip.Addr) bool {
	if w.object == 0 {
		return w.gateway == gw
	}
	x := o.objects[w.object]
	if len(x.members) == 0 {
		return x.gateway == gw
	}
	return !slices.ContainsFunc(x.members, func(id uint32) bool { return !o.leads(way{object: id}, gw) })
}

func (o *observer) run(every time.Duration) {
	defer close(o.done)
	batch := newReceiver(64, 16<<10)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-o.quit:
			return
		case <-tick.C:
		}
		for more := true; more; {
			msgs, err := batch.receive(o.fd)
			at := time.Now()
			o.mu.Lock()
			if err != nil && o.err == nil {
				o.err = err // such as ENOBUFS: something was lost
			}
			for _, m := range msgs {
				o.read(m)
			}
			if o.answer != nil && len(msgs) > 0 && o.met() {
				o.answer <- at
				o.answer = nil
			}
			o.mu.Unlock()
			more = len(msgs) == len(batch.headers)
		}
	}
}

func (o *observer) met() bool {
	if !o.wantBy.IsValid() {
		return len(o.routes) == o.wantN
	}
	return o.by(o.wantBy) == o.wantN
}

func (o *observer) read(b []byte) {
	for len(b) >= unix.SizeofNlMsghdr {
		n := int(binary.NativeEndian.Uint32(b))
		if n < unix.SizeofNlMsghdr || n > len(b) {
			return
		}
		typ, body := binary.NativeEndian.Uint16(b[4:]), b[unix.SizeofNlMsghdr:n]
		switch typ {
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			o.route(typ == unix.RTM_NEWROUTE, body)
		case rtmNewNextHop, rtmDelNextHop:
			o.object(typ == rtmNewNextHop, body)
		}
		b = b[min((n+3)&^3, len(b)):]
	}
}

// route follows rtnetlink(7): an rtmsg, then attributes. Only prefixes of a
// table that a bench sends are counted.
func (o *observer) route(there bool, b []byte) {
	if len(b) < unix.SizeofRtMsg {
		return
	}
	bits := int(b[1])
	var p netip.Prefix
	var w way
	attributes(b[unix.SizeofRtMsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.RTA_DST:
			if a, ok := netip.AddrFromSlice(v); ok {
				p = netip.PrefixFrom(a, bits)
			}
		case unix.RTA_GATEWAY:
			w.gateway, _ = netip.AddrFromSlice(v)
		case rtaNHID:
			w.object = binary.NativeEndian.Uint32(v)
		}
	})
	if p.Bits() != 24 && p.Bits() != 48 {
		return
	}
	if w.object != 0 {
		w.gateway = netip.Addr{} // what the object led to at that moment
	}
	old, ok := o.routes[p]
	if !there && (!ok || old != w) {
		return // the former one of two, after its successor was added
	}
	if ok {
		if o.byWay[old]--; o.byWay[old] == 0 {
			delete(o.byWay, old)
		}
	}
	if !there {
		delete(o.routes, p)
		return
	}
	o.routes[p] = w
	o.byWay[w]++
}

func (o *observer) object(there bool, b []byte) {
	const sizeofNhMsg = 8
	if len(b) < sizeofNhMsg {
		return
	}
	var id uint32
	var x object
	attributes(b[sizeofNhMsg:], func(typ uint16, v []byte) {
		switch typ {
		case nhaID:
			id = binary.NativeEndian.Uint32(v)
		case nhaGateway:
			x.gateway, _ = netip.AddrFromSlice(v)
		case nhaGroup:
			for ; len(v) >= 8; v = v[8:] { // struct nexthop_grp
				x.members = append(x.members, binary.NativeEndian.Uint32(v))
			}
		}
	})
	if there {
		o.objects[id] = x
	} else {
		delete(o.objects, id)
	}
}

func attributes(b []byte, each func(typ uint16, v []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return
		}
		each(binary.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED, b[unix.SizeofRtAttr:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}

// receiver takes many datagrams in one call (recvmmsg(2)).
type receiver struct {
	buffers [][]byte
	vectors []unix.Iovec
	headers []mmsghdr
	out     [][]byte
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

func newReceiver(n, size int) *receiver {
	r := &receiver{buffers: make([][]byte, n), vectors: make([]unix.Iovec, n), headers: make([]mmsghdr, n)}
	for i := range n {
		r.buffers[i] = make([]byte, size)
		r.vectors[i].Base = &r.buffers[i][0]
		r.vectors[i].SetLen(size)
		r.headers[i].hdr.Iov, r.headers[i].hdr.Iovlen = &r.vectors[i], 1
	}
	return r
}

// receive returns what waits, at most as many as fit; the memory is reused.
func (r *receiver) receive(fd int) ([][]byte, error) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.headers[0])),
		uintptr(len(r.headers)), unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
	case unix.EAGAIN, unix.EINTR:
		return nil, nil
	default:
		return nil, errno
	}
	r.out = r.out[:0]
	for i := range int(n) {
		r.out = append(r.out, r.buffers[i][:r.headers[i].len])
	}
	return r.out, nil
}
