package gre

import (
	"fmt"
	"math"

	"github.com/vishvananda/netlink"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// leastMTU is what the inside must carry: an interface with a smaller MTU loses
// its IPv6 addresses (RFC 8200 5, RFC 7676 3.2); RFC 791 for IPv4.
func leastMTU(t tgwconnect.Tunnel) int {
	for _, p := range t.Addresses {
		if p.Addr().Is6() {
			return 1280
		}
	}
	return 576
}

// tunnelMTU is the inside MTU for an outer path of pathMTU bytes.
func tunnelMTU(t tgwconnect.Tunnel, pathMTU int) int {
	if t.MTU != 0 {
		return t.MTU
	}
	return max(min(pathMTU, tgwconnect.MTU)-t.Overhead(), leastMTU(t))
}

// PathMTU is how large an outer packet of the tunnel may be, in bytes, as far as
// this host knows.
func PathMTU(t tgwconnect.Tunnel) (int, error) { return pathMTU(t) }

// pathMTU asks the kernel for the MTU of the path to the far end: a path MTU
// it learned (RFC 1191, RFC 8201), the route's, or the device's.
func pathMTU(t tgwconnect.Tunnel) (int, error) {
	routes, err := netlink.RouteGetWithOptions(t.Remote.AsSlice(), &netlink.RouteGetOptions{SrcAddr: t.Local.AsSlice(), Mark: t.Mark})
	if err != nil || len(routes) == 0 {
		return 0, fmt.Errorf("no route to %s", t.Remote)
	}
	mtu := math.MaxInt
	for _, r := range routes {
		if r.MTU > 0 {
			mtu = min(mtu, r.MTU)
			continue
		}
		l, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			return 0, fmt.Errorf("path to %s: %w", t.Remote, err)
		}
		mtu = min(mtu, l.Attrs().MTU)
	}
	return mtu, nil
}
