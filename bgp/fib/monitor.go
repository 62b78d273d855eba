package fib

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
)

// What the monitor says has to be looked at again.
const (
	dirtAll   = 1 << iota // devices, objects and our table
	dirtMain              // table main
	dirtRules             // policy rules
)

// monitor listens for changes by others. It decides nothing: it only says
// "look again", and at what.
//
// A listener costs the writer: the kernel copies each of our own writes to it.
// So a filter in the kernel drops what our request socket caused, and routes
// of tables we do not care about, before they are queued.
type monitor struct {
	events   chan struct{}
	underlay chan struct{}
	dirt     atomic.Uint32
	file     *os.File
	raw      syscall.RawConn
	self     uint32 // netlink address of the request socket
	count    *Counters
	ended    chan struct{}

	mu        sync.Mutex
	frame     frame
	base      uint32
	want      []bgp.Route
	addresses bool // an address may decide about a route
	deviceful bool // every next hop names its device
	links     map[int32]link
}

func newMonitor(self uint32, buffer int, count *Counters) (*monitor, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open event socket: %w", err)
	}
	m := &monitor{
		events: make(chan struct{}, 1), underlay: make(chan struct{}, 1), self: self, count: count,
		ended: make(chan struct{}), links: map[int32]link{}, deviceful: true,
	}
	if buffer == 0 {
		buffer = 4 << 20
	}
	setReceiveBuffer(fd, buffer)
	groups := []int{
		unix.RTNLGRP_LINK, unix.RTNLGRP_NEXTHOP, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	}
	err = attachFilter(fd, self, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	for _, g := range groups {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("set up event socket: %w", err)
	}
	m.file = os.NewFile(uintptr(fd), "rtnetlink events")
	if m.raw, err = m.file.SyscallConn(); err != nil {
		_ = m.file.Close()
		return nil, fmt.Errorf("set up event socket: %w", err)
	}
	go m.run()
	return m, nil
}

// attachFilter makes the kernel drop notifications that the socket with
// address self caused, route messages of tables other than main and ours unless
// they are about a default route, and those of buckets, of which a resilient
// group sends hundreds when a member is back.
func attachFilter(fd int, self, table uint32) error {
	swap := func(v uint32) uint32 { // loads of a filter are big-endian, netlink headers are native
		b := make([]byte, 4)
		native.PutUint32(b, v)
		return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	}
	swap16 := func(v uint16) uint32 {
		b := make([]byte, 2)
		native.PutUint16(b, v)
		return uint32(b[0])<<8 | uint32(b[1])
	}
	t8 := table
	if table >= 256 {
		t8 = unix.RT_TABLE_COMPAT
	}
	const (
		ldw, ldh, ldb = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		jeq           = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret           = unix.BPF_RET | unix.BPF_K
		all           = 0xffffffff
	)
	prog := []unix.SockFilter{
		{Code: ldw, K: 12}, // nlmsg_pid
		{Code: jeq, K: swap(self), Jt: 10},
		{Code: ldh, K: 4}, // nlmsg_type
		{Code: jeq, K: swap16(unix.RTM_NEWNEXTHOPBUCKET), Jt: 8},
		{Code: jeq, K: swap16(unix.RTM_NEWROUTE), Jt: 1},
		{Code: jeq, K: swap16(unix.RTM_DELROUTE), Jf: 5},
		{Code: ldb, K: sizeofNlMsghdr + 4}, // rtm_table
		{Code: jeq, K: unix.RT_TABLE_MAIN, Jt: 3},
		{Code: jeq, K: t8, Jt: 2},
		{Code: ldb, K: sizeofNlMsghdr + 1}, // rtm_dst_len
		{Code: jeq, K: 0, Jf: 1},
		{Code: ret, K: all},
		{Code: ret, K: 0},
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(prog)), Filter: unsafe.SliceData(prog)})
}

func (m *monitor) close() {
	_ = m.file.Close()
	<-m.ended
}

// take returns and forgets what has to be looked at again.
func (m *monitor) take() uint32 { return m.dirt.Swap(0) }

func (m *monitor) setTable(f frame, base uint32) {
	m.mu.Lock()
	m.frame, m.base = f, base
	m.mu.Unlock()
	_ = m.raw.Control(func(fd uintptr) { _ = attachFilter(int(fd), m.self, f.table) })
}

func (m *monitor) setWant(want []bgp.Route, addresses bool, deviceful bool) {
	m.mu.Lock()
	m.want, m.addresses, m.deviceful = want, addresses, deviceful
	m.mu.Unlock()
}

func (m *monitor) run() {
	defer close(m.ended)
	buf := make([]byte, 64<<10)
	for {
		var n int
		var err error
		closed := m.raw.Read(func(fd uintptr) bool {
			n, _, err = unix.Recvfrom(int(fd), buf, 0)
			return err != unix.EAGAIN
		})
		switch {
		case closed != nil:
			return
		case errors.Is(err, unix.ENOBUFS):
			// The subscription goes on, but something was lost: look at everything.
			m.count.Overflows.Add(1)
			m.tell(dirtAll | dirtMain | dirtRules)
			kick(m.underlay)
		case err != nil:
			continue
		default:
			m.read(buf[:n])
		}
	}
}

func (m *monitor) read(b []byte) {
	for len(b) > 0 {
		h, body, rest, err := nextMessage(b)
		if err != nil {
			return
		}
		b = rest
		if h.pid == m.self {
			continue
		}
		if leadsOut(h.typ, body) {
			kick(m.underlay)
		}
		if d := m.matters(h.typ, body); d != 0 {
			m.tell(d)
		}
	}
}

// leadsOut reports whether a notification may be about the way to addresses that
// no specific route leads to.
func leadsOut(typ uint16, body []byte) bool {
	switch typ {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return len(body) > 1 && body[1] == 0 // rtm_dst_len
	case unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWADDR, unix.RTM_DELADDR, unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return true
	}
	return false
}

func (m *monitor) tell(d uint32) {
	m.count.Events.Add(1)
	m.dirt.Or(d)
	kick(m.events)
}

func kick(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// matters says what has to be looked at because of one notification.
func (m *monitor) matters(typ uint16, body []byte) uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.frame == (frame{}) {
		return 0
	}
	switch typ {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return m.routeMatters(typ, body)
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		l, err := parseLink(body)
		if err != nil {
			return dirtAll
		}
		old, seen := m.links[l.index]
		if typ == unix.RTM_DELLINK {
			// A bridge port leaving sends DELLINK of family AF_BRIDGE; the device stays.
			if body[0] != unix.AF_UNSPEC {
				return 0
			}
			delete(m.links, l.index)
			return dirtAll
		}
		m.links[l.index] = l
		if !seen || old != l {
			return dirtAll
		}
	case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		n, err := parseNextHop(body)
		if err != nil || n.id >= m.base && n.id-m.base < idsPerTable {
			return dirtAll
		}
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		r, other, err := parseRule(body)
		if err != nil || !other && m.frame.owns(r) {
			return dirtRules
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if m.addresses {
			return dirtAll
		}
	}
	return 0
}

func (m *monitor) routeMatters(typ uint16, body []byte) uint32 {
	r, err := parseRoute(body)
	switch {
	case err != nil:
		return 0
	case r.table == m.frame.table:
		return dirtAll
	case r.table != unix.RT_TABLE_MAIN || !m.frame.rules():
		return 0
	case !m.deviceful:
		return dirtMain
	case r.prefix.Bits() == 0:
		return 0 // the rule suppresses default routes of main
	}
	if i := searchPrefix(m.want, &r); i < len(m.want) && covers(&r, &m.want[i]) {
		return dirtMain
	}
	return 0
}
