package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/gre"
	"github.com/wgbgp/wgbgp/wg"
	"github.com/wgbgp/wgbgp/wg/device"
)

// TCP and IP headers without options, in bytes.
const (
	tcpHeaders4 = 20 + 20
	tcpHeaders6 = 40 + 20
)

// tunnelMTU is what is known of a tunnel to the transit gateway.
type tunnelMTU struct {
	tgwconnect.Tunnel
	mtu  int // of the interface; 0: not there
	path int // to the transit gateway; 0: no route
}

// siteMTU is what is known of a site's link.
type siteMTU struct {
	site, device string
	mtu          int  // of the interface; 0: not there
	configured   bool // that MTU
	endpoint     netip.Addr
	path         int // to the endpoint; 0: not known
}

// MTU lists the chains of all sites or of one. The kernel is asked outside of the
// loop.
func (b *backend) MTU(ctx context.Context, site string) ([]api.MTUChain, error) {
	type facts struct {
		sites   []siteMTU
		tunnels []tgwconnect.Tunnel
		mark    uint32
		clamp   bool
	}
	f, err := read(ctx, b, func(c *ha.Core, now time.Time) facts {
		f := facts{mark: c.Config().FIB.Mark, clamp: c.Config().FIB.MSSClamp}
		if p := b.loop.plan; p != nil {
			f.tunnels = p.Tunnels
		}
		devices := map[string]ha.DeviceView{}
		for _, d := range c.Devices() {
			devices[d.Config.Name] = d
		}
		for _, v := range c.Sites(now, site) {
			d := devices[v.Config.Device]
			f.sites = append(f.sites, siteMTU{
				site: v.Config.Name, device: v.Config.Device, mtu: d.Seen.MTU, configured: d.Config != nil && d.Config.MTU != 0, endpoint: outer(v),
			})
		}
		return f
	})
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for i := range f.sites {
		addrs = append(addrs, f.sites[i].endpoint)
	}
	paths := device.PathMTUs(addrs, f.mark)
	var tunnels []tunnelMTU
	states := b.gateway.gre.Observe()
	for _, t := range f.tunnels {
		x := tunnelMTU{Tunnel: t}
		if i := slices.IndexFunc(states, func(s tgwconnect.TunnelState) bool { return s.Name == t.Name }); i >= 0 {
			x.mtu = states[i].MTU
		}
		if mtu, err := gre.PathMTU(t); err == nil {
			x.path = mtu
		}
		tunnels = append(tunnels, x)
	}
	var out []api.MTUChain
	for _, s := range f.sites {
		s.path = paths[s.endpoint]
		out = append(out, chain(s, tunnels, f.clamp))
	}
	return out, nil
}

// outer is where the site's packets go: where it was heard last, else the address
// that is configured.
func outer(v ha.SiteView) netip.Addr {
	if v.Peer != nil && v.Peer.Endpoint.IsValid() && v.Peer.Endpoint != wg.Parked {
		return v.Peer.Endpoint.Addr().Unmap().WithZone("")
	}
	a, _ := netip.ParseAddr(v.Config.Peer.Endpoint.Host)
	return a.Unmap().WithZone("")
}

// chain puts the links together and finds the one that limits.
func chain(s siteMTU, tunnels []tunnelMTU, clamp bool) api.MTUChain {
	c := api.MTUChain{Site: s.site}
	link := func(name string, mtu, around int, source string) int {
		l := api.MTULink{Name: name, MTU: mtu, Overhead: around, Source: source}
		if mtu > 0 {
			l.Packet = mtu - around
			if c.MTU == 0 || l.Packet < c.MTU {
				c.MTU, c.Limit = l.Packet, name
			}
		}
		c.Links = append(c.Links, l)
		return l.Packet
	}
	note := func(format string, args ...any) { c.Notes = append(c.Notes, fmt.Sprintf(format, args...)) }
	segment := 0 // the smaller interface MTU of those that a connection is routed through
	through := func(name string, mtu int) {
		if mtu == 0 {
			note("there is no interface %s", name)
		} else if segment == 0 || mtu < segment {
			segment = mtu
		}
	}
	for i, t := range tunnels {
		around := t.Overhead()
		if i == 0 {
			link("tgw", tgwconnect.MTU, around, api.MTUFromAWS)
		}
		fits := link("path to "+t.Remote.String(), t.path, around, api.MTUFromRoute)
		link(t.Name, t.mtu, 0, setBy(t.MTU != 0))
		through(t.Name, t.mtu)
		switch {
		case t.path == 0:
			note("there is no route to %s", t.Remote)
		case t.mtu > min(fits, tgwconnect.MTU-around):
			note("packets above %d bytes do not fit into %s: lower mtu of the [[tgw-connect]]", min(fits, tgwconnect.MTU-around), t.Name)
		}
	}
	link(s.device, s.mtu, 0, setBy(s.configured))
	through(s.device, s.mtu)
	switch {
	case !s.endpoint.IsValid():
		note("the site's endpoint is not known yet")
	case s.path == 0:
		note("there is no route to the site's endpoint %s", s.endpoint)
	default:
		if fits := link("path to "+s.endpoint.String(), s.path, device.Overhead(s.endpoint), api.MTUFromRoute); fits < s.mtu {
			note("packets above %d bytes are sent to %s in fragments: lower mtu of [wireguard.%s] to %d", fits, s.endpoint, s.device, fits)
		}
	}
	if clamp && segment > 0 {
		c.MSS4, c.MSS6 = segment-tcpHeaders4, segment-tcpHeaders6
	} else if !clamp {
		note("the MSS is not clamped (mss-clamp of [fib]): TCP depends on ICMP coming through")
	}
	return c
}

func setBy(configured bool) string {
	if configured {
		return api.MTUConfigured
	}
	return api.MTUDerived
}
