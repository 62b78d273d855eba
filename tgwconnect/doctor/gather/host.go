package gather

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/tgwconnect/doctor"
)

// Host reads what needs no netlink: interfaces, /proc and the clock. Counters are
// read once; Again reads them a second time.
func Host() doctor.Host {
	h := doctor.Host{Sysctls: map[string]string{}}
	list, err := net.Interfaces()
	if err != nil {
		h.Gap = err.Error()
		return h
	}
	names := []string{"all"}
	for _, i := range list {
		x := doctor.Interface{Name: i.Name, MTU: i.MTU, Up: i.Flags&net.FlagUp != 0, Driver: driver(i.Name)}
		addrs, _ := i.Addrs() // an interface that went has none
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if p, ok := prefix(n); ok {
					x.Addresses = append(x.Addresses, p)
				}
			}
		}
		h.Interfaces = append(h.Interfaces, x)
		names = append(names, i.Name)
	}
	for _, name := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max"} {
		sysctl(h.Sysctls, name, strings.ReplaceAll(name, ".", "/"))
	}
	for _, name := range names {
		sysctl(h.Sysctls, "net.ipv4.conf."+name+".rp_filter", filepath.Join("net/ipv4/conf", name, "rp_filter"))
	}
	h.Clock = clock()
	h.After = counters(h.Interfaces)
	return h
}

// Again reads the counters a second time.
func Again(h *doctor.Host, elapsed time.Duration) {
	h.Before, h.After, h.Elapsed = h.After, counters(h.Interfaces), elapsed.Round(time.Millisecond)
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	ones, bits := n.Mask.Size()
	return netip.PrefixFrom(a, ones-bits+a.BitLen()), true
}

func sysctl(to map[string]string, name, path string) {
	if b, err := os.ReadFile(filepath.Join("/proc/sys", path)); err == nil {
		to[name] = strings.TrimSpace(string(b))
	}
}

// clock is nil where it may not be asked.
func clock() *doctor.Clock {
	var x unix.Timex // Modes 0 changes nothing
	state, err := unix.Adjtimex(&x)
	if err != nil {
		return nil
	}
	const timeError = 5 // TIME_ERROR of adjtimex(2)
	return &doctor.Clock{
		Synchronized: state != timeError && x.Status&unix.STA_UNSYNC == 0,
		MaxError:     time.Duration(x.Maxerror) * time.Microsecond,
	}
}

// counters are the kernel's of the namespace and the interfaces' own.
func counters(list []doctor.Interface) map[string]uint64 {
	out := map[string]uint64{}
	table(out, "/proc/net/snmp", "Ip:", "ip.", "FragCreates", "FragFails")
	table(out, "/proc/net/netstat", "TcpExt:", "netstat.", "IPReversePathFilter")
	if b, err := os.ReadFile("/proc/net/snmp6"); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 2 && strings.HasPrefix(f[0], "Ip6Frag") {
				number(out, "ip6."+f[0], f[1])
			}
		}
	}
	if b, err := os.ReadFile("/proc/net/dev"); err == nil {
		for line := range strings.Lines(string(b)) {
			name, rest, ok := strings.Cut(line, ":")
			f := strings.Fields(rest)
			if !ok || len(f) < 10 {
				continue
			}
			name = strings.TrimSpace(name) + "."
			number(out, name+"rx_bytes", f[0])
			number(out, name+"rx_packets", f[1])
			number(out, name+"tx_bytes", f[8])
			number(out, name+"tx_packets", f[9])
		}
	}
	for _, i := range list {
		for k, v := range deviceCounters(i.Name) {
			if strings.Contains(k, "_allowance_") {
				out[i.Name+"."+k] = v
			}
		}
	}
	return out
}

func number(to map[string]uint64, name, text string) {
	if v, err := strconv.ParseUint(text, 10, 64); err == nil {
		to[name] = v
	}
}

// table reads a file of pairs of lines, names and values, that begin with head.
func table(to map[string]uint64, path, head, prefix string, want ...string) {
	b, err := os.ReadFile(path)
	if err != nil {
		return
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != head {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i, n := range names[:min(len(names), len(f))] {
			for _, w := range want {
				if n == w {
					number(to, prefix+w, f[i])
				}
			}
		}
		return
	}
}

// Lookup asks the kernel for the way to an address, by a socket that sends nothing:
// a connected UDP socket has the source address and the path MTU of its route.
func Lookup(what string, to netip.Addr, list []doctor.Interface) doctor.Lookup {
	l := doctor.Lookup{To: to, What: what}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
	if err != nil {
		l.Err = "no route"
		return l
	}
	defer c.Close()
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
		l.Source = a.AddrPort().Addr().Unmap()
	}
	for _, i := range list {
		for _, p := range i.Addresses {
			if p.Addr() == l.Source.WithZone("") {
				l.Device = i.Name
			}
		}
	}
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { // MTU stays 0
			level, option := unix.IPPROTO_IP, unix.IP_MTU
			if to.Is6() {
				level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
			}
			if v, err := unix.GetsockoptInt(int(fd), level, option); err == nil {
				l.MTU = v
			}
		})
	}
	return l
}

// dialTime bounds a TCP connection to a speaker.
const dialTime = time.Second

// Dial tries a TCP connection to a BGP speaker and closes it at once.
func Dial(ctx context.Context, local, to netip.Addr) doctor.Dial {
	d := net.Dialer{Timeout: dialTime}
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(to, 179).String())
	if err != nil {
		return doctor.Dial{To: to, Err: fmt.Sprint(err)}
	}
	_ = c.Close() // nothing was sent
	return doctor.Dial{To: to, Opened: true}
}
