package gather

import (
	"bytes"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// statistics is the set of counters (ETH_SS_STATS).
const statistics = 1

// mostCounters bounds what a driver may claim to have.
const mostCounters = 4096

// ethtool asks a driver by ioctl SIOCETHTOOL (include/uapi/linux/ethtool.h). buf
// begins with the command.
func ethtool(name string, buf []byte) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil || len(name) >= unix.IFNAMSIZ {
		return false
	}
	defer unix.Close(fd)
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:], name)
	req.data = unsafe.Pointer(&buf[0])
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	return errno == 0
}

// driver is the driver's name and version, empty: not told.
func driver(name string) string {
	i, err := func() (*unix.EthtoolDrvinfo, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		defer unix.Close(fd)
		return unix.IoctlGetEthtoolDrvinfo(fd, name)
	}()
	if err != nil || text(i.Driver[:]) != "ena" {
		return "" // others have no allowances
	}
	return strings.TrimSpace(text(i.Driver[:]) + " " + text(i.Version[:]))
}

func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// deviceCounters are what ethtool -S shows; nil where the driver has none.
func deviceCounters(name string) map[string]uint64 {
	info := struct {
		cmd, reserved uint32
		mask          uint64
		n             uint32
		_             uint32
	}{cmd: unix.ETHTOOL_GSSET_INFO, mask: 1 << statistics}
	if !ethtool(name, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info))) || info.mask == 0 || info.n == 0 || info.n > mostCounters {
		return nil
	}
	const length = 32 // ETH_GSTRING_LEN
	names := words(unix.ETHTOOL_GSTRINGS, statistics, info.n, 12+length*int(info.n))
	values := words(unix.ETHTOOL_GSTATS, info.n, 0, 8+8*int(info.n))
	if !ethtool(name, names) || !ethtool(name, values) {
		return nil
	}
	out := map[string]uint64{}
	for i := range int(info.n) {
		out[text(names[12+length*i:12+length*(i+1)])] = *(*uint64)(unsafe.Pointer(&values[8+8*i]))
	}
	return out
}

// words is a buffer that begins with three 32-bit numbers, aligned for 64-bit ones.
func words(a, b, c uint32, size int) []byte {
	buf := make([]uint64, size/8+2)
	w := unsafe.Slice((*uint32)(unsafe.Pointer(&buf[0])), 4)
	w[0], w[1], w[2] = a, b, c
	return unsafe.Slice((*byte)(unsafe.Pointer(&buf[0])), size)
}
