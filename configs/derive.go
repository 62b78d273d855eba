package configs

import (
	"net/netip"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// derive fills the defaults that depend on other keys. It writes only what the
// operator left open, and it never reports: what can not be derived stays
// unset, and check says so.
func (l *loader) derive() {
	d := &l.doc
	for _, w := range d.WireGuard {
		if !w.has("vrf") {
			w.VRF = d.FIB.VRF
		}
	}
	for _, s := range d.Site {
		d.deriveSite(s)
	}
	for _, c := range d.Connect {
		if c.Device == "" && validName(c.Name) && !c.Discover {
			c.Device = "gre-" + c.Name
		}
		c.Keepalive = thirdOf(c.Keepalive, c.HoldTime)
	}
	for _, n := range d.Neighbor {
		d.deriveNeighbor(n)
	}
	d.deriveRegions()
	l.deriveFront()
	for _, a := range d.Action {
		if a.Name == "" && a.has("community") {
			a.Name = a.Community.text()
		}
	}
	for _, a := range d.Aggregate {
		if a.Name == "" && a.Prefix.IsValid() {
			a.Name = a.Prefix.String()
		}
		if !a.has("to") {
			a.To = d.amazons()
		}
	}
}

func (d *document) deriveSite(s *siteDoc) {
	if s.Interface == "" && len(d.WireGuard) == 1 {
		for name := range d.WireGuard {
			s.Interface = name
		}
	}
	for _, p := range s.Probe {
		if !p.Target.IsValid() && p.ok("target") && len(s.Address) > 0 {
			p.Target = s.Address[0]
		}
		if p.Rise == 0 {
			p.Rise = s.Rise
		}
		if p.Fall == 0 {
			p.Fall = s.Fall
		}
	}
	n := s.Neighbor
	if n == nil {
		return
	}
	n.Keepalive = thirdOf(n.Keepalive, n.HoldTime)
	if n.ASN == d.Gateway.ASN && !n.has("enforce-first-as") {
		n.EnforceFirstAS = false // iBGP paths do not start with the neighbor's ASN
	}
	w := d.WireGuard[s.Interface]
	if w == nil {
		return
	}
	if !n.Address.IsValid() && n.ok("address") && len(s.Address) > 0 {
		n.Address = s.Address[0]
	}
	n.Address = zoned(n.Address, s.Interface)
	if !n.LocalAddress.IsValid() && n.ok("local-address") {
		n.LocalAddress = w.inner(n.Address)
	}
	n.LocalAddress = zoned(n.LocalAddress, s.Interface)
	// The next hop of the session's own family is the session's local address;
	// the other family needs one of its own (facts: GoBGP would send ::ffff:).
	four, six := w.inner(netip.IPv4Unspecified()), w.inner(netip.IPv6Unspecified())
	if n.Address.Is6() && !n.NextHop4.IsValid() && n.ok("next-hop4") {
		n.NextHop4 = four
	}
	if n.Address.Is4() && !n.NextHop6.IsValid() && n.ok("next-hop6") {
		n.NextHop6 = six
	}
	n.Families = families(n.Families, n.Address, n.NextHop4, n.NextHop6)
}

func (d *document) deriveNeighbor(n *neighborDoc) {
	n.Keepalive = thirdOf(n.Keepalive, n.HoldTime)
	n.deriveRouteServer()
	if n.Group == "" {
		n.Group = map[string]string{string(bgp.KindFleet): "fleet"}[n.Kind]
		if n.Group == "" {
			n.Group = "routers"
		}
	}
	n.Address = zoned(n.Address, n.Device)
	if n.Kind == string(bgp.KindFleet) {
		d.deriveLink(n)
	}
	n.LocalAddress = zoned(n.LocalAddress, n.Device)
	n.Families = families(n.Families, n.sessionAddress(), n.NextHop4, n.NextHop6)
	if n.ASN == d.Gateway.ASN {
		if !n.has("enforce-first-as") {
			n.EnforceFirstAS = false
		}
		// RFC 8212 speaks of eBGP only; inside the fleet everything is ours.
		if n.Kind == string(bgp.KindFleet) && !n.has("allow") {
			n.Allow = allowEverything()
		}
		if n.Kind == string(bgp.KindFleet) && !n.has("export") {
			n.Export = true
		}
	}
}

// sessionAddress is the neighbor's address, or with a range the first one of it.
// The addresses of Route Servers are IPv4 (facts/aws.md 3.1).
func (n *neighborDoc) sessionAddress() netip.Addr {
	if n.RouteServer != "" {
		return netip.IPv4Unspecified()
	}
	if n.Range.IsValid() {
		return n.Range.Addr()
	}
	return n.Address
}

// thirdOf is the keepalive of RFC 4271 section 4.4 when none is given.
func thirdOf(keepalive, hold time.Duration) time.Duration {
	if keepalive == 0 {
		return (hold / 3).Truncate(time.Second)
	}
	return keepalive
}

// zoned gives a link-local address the device it belongs to.
func zoned(a netip.Addr, device string) netip.Addr {
	if a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "" && device != "" {
		return a.WithZone(device)
	}
	return a
}

// families defaults to the session's own family and to the other one where it
// has a next hop.
func families(given []family, addr, nh4, nh6 netip.Addr) []family {
	if len(given) > 0 || !addr.IsValid() {
		return given
	}
	var out []family
	if addr.Is4() || nh4.IsValid() {
		out = append(out, "ipv4")
	}
	if addr.Is6() || nh6.IsValid() {
		out = append(out, "ipv6")
	}
	return out
}

// inner is the interface's own address to talk to peer from: of the same
// family and scope, and of the prefix that holds peer where there is a choice.
func (w *wireguardDoc) inner(peer netip.Addr) netip.Addr {
	var best netip.Addr
	for _, p := range w.Address {
		a := p.Addr()
		if a.Is4() != peer.Is4() || a.Is6() && a.IsLinkLocalUnicast() != peer.IsLinkLocalUnicast() {
			continue
		}
		// The first one, so that an address added later moves no session.
		if p.Contains(peer.WithZone("")) && !peer.IsUnspecified() {
			return a
		}
		if !best.IsValid() {
			best = a
		}
	}
	return best
}

// inside returns the inside blocks by family; invalid where there is none.
func (c *connectDoc) blocks() (four, six netip.Prefix) {
	for _, p := range c.Inside {
		if p.Addr().Is4() {
			four = p
		} else {
			six = p
		}
	}
	return four, six
}

// speakers are the two TGW ends of the Connect peer's sessions.
func (c *connectDoc) speakers() []netip.Addr {
	four, _ := c.blocks()
	if tgwconnect.CheckInside4(four) != nil {
		return nil
	}
	return []netip.Addr{tgwconnect.Host(four, 2).Addr(), tgwconnect.Host(four, 3).Addr()}
}
