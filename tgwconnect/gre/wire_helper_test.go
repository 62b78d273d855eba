package gre

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/nstest"
)

// segmentWire makes one end of a veth behave like a network card without
// segmentation offload, whose driver merges received segments (GRO).
func segmentWire(t testing.TB, n *nstest.NS, dev string) {
	t.Helper()
	// One segment, said as a length: the count of a packet that a program has
	// touched is not known (net/core/dev.c, gso_features_check).
	link := []string{"ip", "link", "set", dev, "gso_max_size", "1600"}
	if n == nil {
		nstest.Run(t, link...)
		setGRO(t, dev)
		return
	}
	n.Run(t, link...)
	n.Do(t, func() { setGRO(t, dev) })
}

// setGRO is ethtool -K dev gro on (include/uapi/linux/ethtool.h).
func setGRO(t testing.TB, dev string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = unix.Close(fd) }()
	const setGRO = 0x2c
	value := struct{ cmd, data uint32 }{setGRO, 1}
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:], dev)
	req.data = unsafe.Pointer(&value)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		t.Errorf("gro on %s: %v", dev, errno)
	}
}
