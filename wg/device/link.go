package device

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/wg"
)

// linkMark is the alias (ip link show: "alias wgbgp") by which a fresh process
// knows an interface of ours.
const linkMark = "wgbgp"

// links is what the package asks of rtnetlink.
type links struct{ h *netlink.Handle }

// find returns nil without an error if there is no such interface.
func (l links) find(name string) (netlink.Link, error) {
	link, err := l.h.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up interface %s: %w", name, translate(err))
	}
	return link, nil
}

// adjust brings the interface of a device up to date and returns what it is
// now and what could not be done. Only differences are written.
func (l links) adjust(link netlink.Link, want *wg.Device, mtu int, own *ownership) (changed bool, problems []string) {
	a := link.Attrs()
	do := func(what string, err error) {
		if err == nil {
			changed = true
			return
		}
		problems = append(problems, fmt.Sprintf("interface %s: %s: %v", want.Name, what, translate(err)))
	}
	if own.created && a.Alias != linkMark {
		do("set alias", l.h.LinkSetAlias(link, linkMark))
	}
	if a.MTU != mtu {
		do(fmt.Sprintf("set MTU %d", mtu), l.h.LinkSetMTU(link, mtu))
	}
	if err := l.vrf(link, want.VRF, false, do); err != nil {
		problems = append(problems, err.Error())
	}
	problems = append(problems, l.addresses(link, want, own, do)...)
	if a.Flags&net.FlagUp == 0 {
		do("set up", l.h.LinkSetUp(link))
	}
	return changed, problems
}

// vrf moves the interface into its VRF; dry only says what would be done.
func (l links) vrf(link netlink.Link, vrf string, dry bool, do func(string, error)) error {
	master := 0
	if vrf != "" {
		v, err := l.find(vrf)
		if err != nil {
			return err
		}
		if v == nil || v.Type() != "vrf" {
			return fmt.Errorf("interface %s: there is no VRF %s", link.Attrs().Name, vrf)
		}
		master = v.Attrs().Index
	}
	switch now := link.Attrs().MasterIndex; {
	case now == master:
	case dry && master == 0:
		do("leave its VRF", nil)
	case dry:
		do("enter VRF "+vrf, nil)
	case master == 0:
		do("leave its VRF", l.h.LinkSetNoMaster(link))
	default:
		do("enter VRF "+vrf, l.h.LinkSetMasterByIndex(link, master))
	}
	return nil
}

// addresses adds what is missing and removes what we set and is no longer
// wanted; addresses of others stay.
func (l links) addresses(link netlink.Link, want *wg.Device, own *ownership, do func(string, error)) []string {
	have, err := l.have(link)
	if err != nil {
		return []string{fmt.Sprintf("interface %s: read addresses: %v", want.Name, translate(err))}
	}
	for _, p := range want.Addresses {
		if have[p] {
			continue
		}
		own.add("+addr", p.String())
		err := l.h.AddrAdd(link, address(p))
		if errors.Is(err, unix.EEXIST) {
			err = nil
		}
		do("add address "+p.String(), err)
	}
	var gone []netip.Prefix
	for p := range own.addrs {
		if !slices.Contains(want.Addresses, p) {
			gone = append(gone, p)
		}
	}
	slices.SortFunc(gone, wg.CompareAllowed)
	for _, p := range gone {
		if have[p] {
			do("remove address "+p.String(), l.h.AddrDel(link, address(p)))
		}
		own.add("-addr", p.String())
	}
	return nil
}

// have reads the addresses of an interface. An interrupted dump, which a change
// anywhere causes, is taken again, and at last as it is.
func (l links) have(link netlink.Link) (map[netip.Prefix]bool, error) {
	var list []netlink.Addr
	var err error
	for range 5 {
		if list, err = l.h.AddrList(link, netlink.FAMILY_ALL); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, err
	}
	have := map[netip.Prefix]bool{}
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			ones, _ := a.Mask.Size()
			have[netip.PrefixFrom(ip.Unmap(), ones)] = true
		}
	}
	return have, nil
}

// address: duplicate address detection makes no sense on a link without
// neighbors and would leave IPv6 addresses unusable for a second.
func address(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}
