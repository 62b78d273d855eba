package gre

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// errNoKernelGRE says that the kernel can not make GRE tunnels.
var errNoKernelGRE = errors.New("the kernel has no GRE")

// createKernel makes a kernel tunnel and marks it as ours.
func createKernel(name string, a greAttrs) error {
	err := setKernel(name, 0, a, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT):
		return errNoKernelGRE
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("another interface of this host has the same outer addresses %s and %s", a.local, a.remote)
	case err != nil:
		return fmt.Errorf("make kernel tunnel: %w", err)
	}
	l, err := linkByName(name)
	if err != nil {
		return err
	}
	if l == nil {
		return errors.New("make kernel tunnel: it is gone again")
	}
	return markOurs(l)
}

// changeKernel brings TTL, mark and flags of an existing tunnel in line.
func changeKernel(l *link, a greAttrs) error {
	if err := setKernel("", l.index, a, 0); err != nil {
		return fmt.Errorf("change kernel tunnel: %w", err)
	}
	return nil
}

func setKernel(name string, index int, a greAttrs, flags int) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, flags|unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	if name != "" {
		req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(a.kind()))
	a.add(info.AddRtAttr(nl.IFLA_INFO_DATA, nil))
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func markOurs(l *link) error {
	if err := netlink.LinkSetAlias(l.handle(), alias); err != nil {
		return fmt.Errorf("mark interface as ours: %w", err)
	}
	return nil
}

// deleteLink removes an interface of ours; absent is fine.
func deleteLink(l *link) error {
	if err := netlink.LinkDel(l.handle()); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete interface: %w", err)
	}
	return nil
}
