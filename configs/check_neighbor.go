package configs

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// checkConnects judges TGW Connect peers
// (https://docs.aws.amazon.com/vpc/latest/tgw/tgw-connect.html).
func (l *loader) checkConnects() {
	devices := map[string]*connectDoc{}
	inside := map[netip.Prefix]*connectDoc{}
	outer := map[[2]netip.Addr]*connectDoc{}
	for _, c := range l.doc.Connect {
		l.checkConnect(c)
		if first := devices[c.Device]; c.Device != "" && first != nil && first.Name != c.Name && c.ok("device", "name") {
			l.wrong(&c.meta, "device", fmt.Sprintf("interface %s belongs to tgw-connect %s (%s)", c.Device, first.Name, where(first.at("device"))), "set another device")
		}
		devices[c.Device] = c
		for i, p := range c.Inside {
			for q, first := range inside {
				if p.Overlaps(q) && first != c {
					l.wrong(&c.meta, "inside", fmt.Sprintf("%s overlaps %s of tgw-connect %s (%s)", p, q, first.Name, where(first.at("inside"))), "every Connect peer has blocks of its own", i)
					c.refuse("inside")
				}
			}
		}
		for _, p := range c.Inside {
			inside[p] = c
		}
		if c.discovers() {
			continue
		}
		pair := [2]netip.Addr{c.Local, c.Remote}
		if first := outer[pair]; first != nil && c.ok("local", "remote") {
			l.wrong(&c.meta, "remote", fmt.Sprintf("tgw-connect %s has the same local and remote address (%s): GRE without key can not tell the tunnels apart", first.Name, where(first.at("remote"))), "use another TransitGatewayAddress")
		}
		outer[pair] = c
	}
}

func (l *loader) checkConnect(c *connectDoc) {
	l.checkDevice(&c.meta, "device", c.Device)
	switch c.Device {
	case "gre0", "gretap0", "erspan0", "ip6gre0": // net/ipv4/ip_gre.c makes these itself
		l.wrong(&c.meta, "device", c.Device+" is the kernel's own fallback device", "choose another name")
	}
	if w := l.doc.WireGuard[c.Device]; w != nil {
		l.wrong(&c.meta, "device", fmt.Sprintf("%s is a WireGuard interface (%s)", c.Device, where(w.at(""))), "choose another name")
	}
	l.checkDiscover(c)
	l.checkHost(&c.meta, "local", c.Local)
	l.checkHost(&c.meta, "remote", c.Remote)
	if c.Local.IsValid() && c.Remote.IsValid() {
		switch {
		case c.Local.Is4() != c.Remote.Is4():
			l.wrong(&c.meta, "remote", fmt.Sprintf("%s and local %s are of different families", c.Remote, c.Local), "use addresses of one family")
		case c.Local == c.Remote:
			l.wrong(&c.meta, "remote", "the same as local", "use the Connect peer's TransitGatewayAddress")
		}
	}
	l.checkInside(c)
	l.checkASN(&c.meta, "tgw-asn", c.TGWASN, false)
	if g := &l.doc.Gateway; c.ok("tgw-asn") && !c.discovers() && g.ok("asn") && g.node != nil && c.TGWASN == g.ASN {
		l.wrong(&c.meta, "tgw-asn", fmt.Sprintf("%d is the gateway's own ASN too (%s), which makes the sessions iBGP: a TGW never installs what its iBGP neighbor originated itself (empty AS_PATH)", c.TGWASN, where(g.at("asn"))),
			"give the gateway an ASN of its own; a Connect peer made without PeerAsn has the TGW's and must be made again")
	}
	if c.MTU != 0 && c.ok("mtu") && c.MTU < 1280 {
		l.wrong(&c.meta, "mtu", fmt.Sprintf("%d is below 1280, the least that IPv6 needs (RFC 8200)", c.MTU), "use 1280 to 8476, or 0 to derive it")
	}
	l.checkTimers(&c.meta, bgp.Neighbor{HoldTime: c.HoldTime, Keepalive: c.Keepalive})
	if len(c.Allow) == 0 && c.ok("allow") {
		l.warn("W-8212", c.problem("allow", "without an allow-list nothing is learned from the TGW (RFC 8212)", "leave allow out to accept everything"))
	}
}

func (l *loader) checkInside(c *connectDoc) {
	if !c.ok("inside") || c.discovers() {
		return
	}
	var four, six int
	for i, p := range c.Inside {
		check, n := tgwconnect.CheckInside4, &four
		if p.Addr().Is6() {
			check, n = tgwconnect.CheckInside6, &six
		}
		if *n++; *n > 1 {
			l.wrong(&c.meta, "inside", fmt.Sprintf("%s is a second block of its family", p), "a Connect peer has one /29 of IPv4 and at most one /125 of IPv6", i)
		}
		if err := check(p); err != nil {
			l.wrong(&c.meta, "inside", err.Error(), "copy the Connect peer's InsideCidrBlocks", i)
			c.refuse("inside")
		}
	}
	if four == 0 {
		l.wrong(&c.meta, "inside", "no IPv4 block", "the sessions run over IPv4: add the /29")
		c.refuse("inside")
	}
}

func (l *loader) checkNeighbor(n *neighborDoc) {
	l.checkASN(&n.meta, "asn", n.ASN, n.Range.IsValid() || n.RouteServer != "")
	l.checkASN(&n.meta, "local-asn", n.LocalASN, true)
	if n.RouteServer != "" {
		l.checkRouteServer(n)
	} else {
		l.checkRange(n)
	}
	l.checkHost(&n.meta, "local-address", n.LocalAddress)
	l.checkDevice(&n.meta, "device", n.Device)
	l.checkTimers(&n.meta, bgp.Neighbor{HoldTime: n.HoldTime, Keepalive: n.Keepalive})
	if a := n.Address; a.IsValid() {
		if a.IsUnspecified() || a.IsMulticast() {
			l.wrong(&n.meta, "address", fmt.Sprintf("%s is not the address of a router", a), "use a unicast address")
		}
		if a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "" {
			l.wrong(&n.meta, "address", fmt.Sprintf("%s is link-local and needs an interface", a), "add device = \"eth0\"")
		}
		if n.LocalAddress.IsValid() && n.LocalAddress.Is4() != a.Is4() {
			l.wrong(&n.meta, "local-address", fmt.Sprintf("%s and %s are of different families", n.LocalAddress, a), "use addresses of one family")
		}
	}
	if n.BindDevice && n.Device == "" && n.ok("device") {
		l.wrong(&n.meta, "bind-device", "there is no device to bind to", "add device = \"eth0\"")
	}
	if n.TTLSecurity && n.MultihopTTL != 0 {
		l.wrong(&n.meta, "ttl-security", fmt.Sprintf("GTSM (RFC 5082) and multihop-ttl %d exclude each other", n.MultihopTTL), "keep one of them")
	}
	l.checkNeighborBFD(n)
	ibgp := n.ASN == l.doc.Gateway.ASN && n.LocalASN == 0
	if n.Kind == string(bgp.KindFleet) && !ibgp && n.ok("asn", "kind") {
		l.wrong(&n.meta, "asn", fmt.Sprintf("%d is not the gateway's ASN: hosts of a fleet speak iBGP with each other", n.ASN), fmt.Sprintf("use asn = %d, or kind = \"router\"", l.doc.Gateway.ASN))
	}
	l.checkNextHops(&n.meta, n.sessionAddress(), n.Families, n.NextHop4, n.NextHop6)
	if len(n.Allow) == 0 && n.ok("allow") {
		l.warn("W-8212", n.problem("", "without an allow-list nothing is learned from this neighbor (RFC 8212)", "add allow = [\"10.0.0.0/8 le 24\"]"))
	}
	if !n.Export && n.ok("export") {
		l.warn("W-8212", n.problem("", "without export nothing is announced to this neighbor (RFC 8212)", "add export = true if it should learn routes"))
	}
}

// checkRange judges a neighbor that accepts whoever dials from a range, or that
// it has an address.
func (l *loader) checkRange(n *neighborDoc) {
	m, r := &n.meta, n.Range
	if !r.IsValid() {
		if n.ok("range", "address") && !n.Address.IsValid() {
			l.wrong(m, "address", "missing", `add address = "192.0.2.254", or range = "192.0.2.0/24" for whoever dials from there`)
		}
		return
	}
	if n.Address.IsValid() {
		l.wrong(m, "range", fmt.Sprintf("%s and address %s exclude each other", r, n.Address), "keep one of them")
	}
	if a := r.Addr(); a.IsMulticast() || a.IsLinkLocalUnicast() || a.Is6() && r.Bits() < 32 || a.Is4() && r.Bits() < 8 {
		l.wrong(m, "range", fmt.Sprintf("%s can not be that of neighbors", r), "use a unicast prefix such as 192.0.2.0/24")
	}
	if n.LocalAddress.IsValid() && n.LocalAddress.Is4() != r.Addr().Is4() {
		l.wrong(m, "local-address", fmt.Sprintf("%s and %s are of different families", n.LocalAddress, r), "use addresses of one family")
	}
	if n.Kind == string(bgp.KindFleet) {
		l.wrong(m, "range", "hosts of a fleet know each other", "give this one an address")
	} else if n.ASN != 0 && n.ASN == l.doc.Gateway.ASN && n.ok("asn") {
		l.wrong(m, "asn", fmt.Sprintf("%d is the gateway's ASN too: whoever may come from a range is no iBGP neighbor", n.ASN), "give iBGP neighbors an address each")
	}
	for _, k := range []struct {
		key string
		on  bool
	}{{"graceful-restart", n.GracefulRestart}, {"bind-device", n.BindDevice}, {"passive", n.Passive}, {"port", port(n.Port) != 0}} {
		if k.on && n.ok(k.key) {
			l.wrong(m, k.key, "has no meaning with a range: the others dial, and leave nothing when they go", "remove it")
		}
	}
	for _, w := range l.doc.devices() {
		for _, p := range w.Address {
			if p.Overlaps(r) {
				l.wrong(m, "range", fmt.Sprintf("%s overlaps %s of wireguard %s (%s), where sites are", r, p, w.name, where(w.at("address"))), "give sites a [site.neighbor] each")
			}
		}
	}
}

// checkSessions compares all BGP sessions with each other: GoBGP knows a
// neighbor by its address only.
func (l *loader) checkSessions() {
	type session struct {
		what string
		at   *node
	}
	seen := map[netip.Addr]session{}
	audience := map[string]*connectDoc{}
	one := func(m *meta, key, what string, a netip.Addr) {
		if !a.IsValid() || !m.ok(key) {
			return
		}
		if first, ok := seen[a]; ok {
			l.wrong(m, key, fmt.Sprintf("%s has a session with %s already (%s), and there can be one per address", first.what, a, where(first.at)), "use another address of the neighbor")
			return
		}
		seen[a] = session{what, m.at(key)}
	}
	group := func(m *meta, g string) {
		if g == "" {
			l.wrong(m, "group", "empty", "leave it out for the default")
		} else if c := audience[g]; c != nil {
			l.wrong(m, "group", fmt.Sprintf("%q is the group of tgw-connect %s (%s)", g, c.Name, where(c.at("name"))), "choose another group")
		}
	}
	for _, c := range l.doc.Connect {
		audience[c.Name] = c
		if c.ok("inside") {
			for _, a := range c.speakers() {
				one(&c.meta, "inside", "tgw-connect "+c.Name, a)
			}
		}
	}
	for _, s := range l.doc.Site {
		if s.Neighbor == nil {
			continue
		}
		key := "address"
		one(&s.Neighbor.meta, key, "site "+s.Name, s.Neighbor.Address)
		group(&s.Neighbor.meta, s.Neighbor.Group)
	}
	for _, n := range l.doc.Neighbor {
		one(&n.meta, "address", "neighbor "+n.Name, n.Address)
		group(&n.meta, n.Group)
	}
	var ranges []*neighborDoc
	for _, n := range l.doc.Neighbor {
		if !n.Range.IsValid() || !n.ok("range") {
			continue
		}
		for _, o := range ranges {
			if o.Range.Overlaps(n.Range) {
				l.wrong(&n.meta, "range", fmt.Sprintf("%s overlaps %s of neighbor %s (%s)", n.Range, o.Range, o.Name, where(o.at("range"))), "use ranges that share no address")
			}
		}
		ranges = append(ranges, n)
		for _, a := range slices.SortedFunc(maps.Keys(seen), netip.Addr.Compare) {
			if n.Range.Contains(a) {
				l.wrong(&n.meta, "range", fmt.Sprintf("%s holds %s, the address of %s (%s)", n.Range, a, seen[a].what, where(seen[a].at)), "use a range without the addresses of other neighbors")
			}
		}
	}
}
