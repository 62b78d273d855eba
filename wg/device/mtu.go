package device

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// What WireGuard puts around a packet: 32 bytes of its own, 8 of UDP, and 20
// or 40 of IP.
const (
	overhead4 = 60
	overhead6 = 80
)

// Bounds of a derived MTU. Below 1280 IPv6 does not work (RFC 8200 section 5);
// above 8920 no network we know carries it.
const (
	mtuDefault = 1420 // 1500 minus overhead6, as wg-quick
	mtuFloor   = 1280
	mtuCeiling = 8920
)

// internetMTU bounds paths to public addresses: the route of an EC2 instance
// says 9001 where the internet gateway carries 1500, and WireGuard's outer
// packets have DF clear, so that nobody would tell us.
const internetMTU = 1500

// pathMTU derives an interface MTU from the routes to the peers' endpoints:
// the smallest, so that it suits every peer. mark is that of the outer
// packets, because policy rules may send them another way. Unreachable
// endpoints say nothing.
func pathMTU(endpoints []netip.AddrPort, mark uint32) int {
	if m, ok := pathMTUIfAny(endpoints, mark); ok {
		return m
	}
	return mtuDefault
}

// pathMTUIfAny is pathMTU, or false if there is no path to any of them.
func pathMTUIfAny(endpoints []netip.AddrPort, mark uint32) (int, bool) {
	addrs := make([]netip.Addr, len(endpoints))
	for i, e := range endpoints {
		addrs[i] = e.Addr()
	}
	best := 0
	for addr, m := range PathMTUs(addrs, mark) {
		if m -= Overhead(addr); best == 0 || m < best {
			best = m
		}
	}
	return min(max(best, mtuFloor), mtuCeiling), best != 0
}

// Overhead is what WireGuard puts around a packet for this outer address, in bytes.
func Overhead(outer netip.Addr) int {
	if outer.Unmap().Is4() {
		return overhead4
	}
	return overhead6
}

// PathMTUs says how large a packet to each of these outer addresses may be, in
// bytes: what the kernel knows (a path MTU it learned, the route's, the device's),
// and on the internet 1500 at most. What is not reachable is missing.
func PathMTUs(addrs []netip.Addr, mark uint32) map[netip.Addr]int {
	fds := map[int]int{}
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	out := map[netip.Addr]int{}
	seen := map[netip.Addr]bool{}
	for _, a := range addrs {
		addr := a.Unmap()
		if !addr.IsValid() || seen[addr] {
			continue
		}
		seen[addr] = true
		m := routeMTU(fds, addr, mark)
		if m > 0 && publicAddr(addr) {
			m = min(m, internetMTU)
		}
		if m > 0 {
			out[addr] = m
		}
	}
	return out
}

func publicAddr(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}

// routeMTU asks the kernel by connecting a UDP socket, which sends nothing.
// The socket is used again for the next address of the family.
func routeMTU(fds map[int]int, addr netip.Addr, mark uint32) int {
	family, level, opt := unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_MTU
	var sa unix.Sockaddr
	if addr.Is4() {
		family, level, opt = unix.AF_INET, unix.IPPROTO_IP, unix.IP_MTU
		sa = &unix.SockaddrInet4{Addr: addr.As4(), Port: 9}
	} else {
		sa = &unix.SockaddrInet6{Addr: addr.As16(), Port: 9}
	}
	fd, ok := fds[family]
	if !ok {
		var err error
		if fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return 0
		}
		fds[family] = fd
		if mark != 0 {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark))
		}
	}
	if unix.Connect(fd, sa) != nil {
		return 0
	}
	m, err := unix.GetsockoptInt(fd, level, opt)
	if err != nil {
		return 0
	}
	return m
}
