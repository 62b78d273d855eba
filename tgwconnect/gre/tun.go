package gre

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

// openTUN creates or attaches to the TUN device of a name, with segmentation
// and checksum offload. The device is not persistent yet.
func openTUN(name string) (tun.Device, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	dev, err := attachTUN(fd, name)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return dev, nil
}

func attachTUN(fd int, name string) (tun.Device, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return nil, fmt.Errorf("interface name %q: %w", name, err)
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		if errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("TUN %s is in use by another process", name)
		}
		return nil, fmt.Errorf("make TUN %s: %w", name, err)
	}
	// Unmonitored: we watch links ourselves, and the library's monitor would
	// set the MTU of an adopted device.
	dev, _, err := tun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		return nil, fmt.Errorf("set up TUN %s: %w", name, err)
	}
	lengthenQueue(ifr)
	return dev, nil
}

// queueLength is how many packets wait for this process to read them. Linux
// gives a TUN 500 (drivers/net/tun.c, TUN_READQ_SIZE) and drops what finds no
// room: at 10,000 packets per second a process that did not run for 50 ms has
// lost some.
const queueLength = 2000

// lengthenQueue may fail without more harm than that.
func lengthenQueue(ifr *unix.Ifreq) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(s) }()
	ifr.SetUint32(queueLength)
	_ = unix.IoctlIfreq(s, unix.SIOCSIFTXQLEN, ifr)
}

// setPersistent keeps the device, its addresses and routes when its last
// descriptor closes. It is called only after the alias marks the device as
// ours: one that a crash leaves behind must be recognisable.
func setPersistent(dev tun.Device) error {
	rc, err := dev.File().SyscallConn()
	if err != nil {
		return fmt.Errorf("make TUN persistent: %w", err)
	}
	var ioctlErr error
	if err := rc.Control(func(fd uintptr) { ioctlErr = unix.IoctlSetInt(int(fd), unix.TUNSETPERSIST, 1) }); err != nil {
		return fmt.Errorf("make TUN persistent: %w", err)
	}
	if ioctlErr != nil {
		return fmt.Errorf("make TUN persistent: %w", ioctlErr)
	}
	return nil
}
