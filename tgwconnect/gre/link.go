package gre

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// alias marks an interface as made by this package, for a fresh process and for
// the operator (ip link). WireGuard devices of the daemon have another one: a
// sweep must not take a userspace WireGuard TUN for a tunnel.
const alias = "wgbgp gre"

// link is what the kernel says about one interface.
type link struct {
	index   int
	name    string
	alias   string
	kind    string // gre, ip6gre, tun; "" for hardware
	up      bool   // administratively
	running bool
	mtu     int
	master  int
	stats   netlink.LinkStatistics
	gre     greAttrs // kinds gre and ip6gre
}

func (l *link) ours() bool { return l.alias == alias && (l.isGRE() || l.kind == kindTUN) }
func (l *link) isGRE() bool {
	return l.kind == kindGRE || l.kind == kindGRE6
}

// Kinds of interface (IFLA_INFO_KIND).
const (
	kindGRE  = "gre"
	kindGRE6 = "ip6gre"
	kindTUN  = "tun"
)

// linkByName returns nil without an error when there is none.
func linkByName(name string) (*link, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	msgs, err := req.Execute(unix.NETLINK_ROUTE, 0)
	switch {
	case errors.Is(err, unix.ENODEV):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read interface %s: %w", name, err)
	case len(msgs) == 0:
		return nil, nil
	}
	return parseLink(msgs[0])
}

// allLinks lists the interfaces of the namespace. A dump interrupted by a
// change is taken again.
func allLinks() ([]*link, error) {
	var msgs [][]byte
	var err error
	for range 5 {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
		req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		if msgs, err = req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	links := make([]*link, 0, len(msgs))
	for _, m := range msgs {
		l, err := parseLink(m)
		if err != nil {
			return nil, err
		}
		links = append(links, l)
	}
	return links, nil
}

func parseLink(m []byte) (*link, error) {
	nlLink, err := netlink.LinkDeserialize(nil, m)
	if err != nil {
		return nil, fmt.Errorf("read interface: %w", err)
	}
	a := nlLink.Attrs()
	l := &link{
		index: a.Index, name: a.Name, alias: a.Alias, mtu: a.MTU, master: a.MasterIndex,
		up: a.RawFlags&unix.IFF_UP != 0, running: a.RawFlags&unix.IFF_RUNNING != 0,
	}
	if a.Statistics != nil {
		l.stats = *a.Statistics
	}
	attrs, err := nl.ParseRouteAttr(m[unix.SizeofIfInfomsg:])
	if err != nil {
		return nil, fmt.Errorf("read interface %s: %w", l.name, err)
	}
	return l, l.parseInfo(attrs)
}

func (l *link) parseInfo(attrs []syscall.NetlinkRouteAttr) error {
	for _, a := range attrs {
		if a.Attr.Type != unix.IFLA_LINKINFO {
			continue
		}
		infos, err := nl.ParseRouteAttr(a.Value)
		if err != nil {
			return fmt.Errorf("read interface %s: %w", l.name, err)
		}
		var data []byte
		for _, i := range infos {
			switch i.Attr.Type {
			case nl.IFLA_INFO_KIND:
				l.kind = unix.ByteSliceToString(i.Value)
			case nl.IFLA_INFO_DATA:
				data = i.Value
			}
		}
		if l.isGRE() {
			if l.gre, err = parseGREAttrs(data); err != nil {
				return fmt.Errorf("read tunnel %s: %w", l.name, err)
			}
		}
	}
	return nil
}

// handleLink is the form in which the library names an existing interface.
func (l *link) handle() netlink.Link {
	return &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: l.index, Name: l.name}, LinkType: l.kind}
}

// addressDiff compares wanted addresses with those of the interface. Link-local
// IPv6 addresses that the kernel made itself are left alone.
func addressDiff(have []netlink.Addr, want []netip.Prefix) (add []netip.Prefix, remove []netlink.Addr) {
	var present []netip.Prefix
	for _, h := range have {
		p, ok := toPrefix(h.IPNet)
		if !ok {
			continue
		}
		if slices.Contains(want, p) {
			present = append(present, p)
		} else if !p.Addr().IsLinkLocalUnicast() || p.Addr().Is4() {
			remove = append(remove, h)
		}
	}
	for _, w := range want {
		if !slices.Contains(present, w) {
			add = append(add, w)
		}
	}
	return add, remove
}

func toPrefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if a = a.Unmap(); !ok || size != a.BitLen() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, bits), true
}

func toIPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
