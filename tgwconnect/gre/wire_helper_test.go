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

// setGRO is ethtool -K dev gro on tso off: a veth merges nothing from a sender
// that segments (drivers/net/veth.c, veth_skb_is_eligible_for_gro).
func setGRO(t testing.TB, dev string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = unix.Close(fd) }()
	for _, f := range []struct{ cmd, data uint32 }{{ethtoolSGRO, 1}, {ethtoolSTSO, 0}} {
		var req struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}
		copy(req.name[:], dev)
		req.data = unsafe.Pointer(&f)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
			t.Errorf("ethtool command %#x on %s: %v", f.cmd, dev, errno)
		}
	}
}

// Commands of include/uapi/linux/ethtool.h.
const (
	ethtoolSTSO = 0x1f
	ethtoolSGRO = 0x2c
)
