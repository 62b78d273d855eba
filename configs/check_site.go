package configs

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
)

func (l *loader) checkSite(s *siteDoc) {
	w := l.checkInterface(s)
	l.onePerFamily(&s.meta, "address", s.Address)
	if w != nil && s.ok("address") && w.ok("address") {
		for i, a := range s.Address {
			l.checkInner(s, w, a, i)
		}
	}
	l.checkSitePrefixes(s)
	for _, p := range s.Probe {
		l.checkProbe(s, w, p)
		if w != nil {
			l.checkTarget(s, w, p)
		}
	}
	if w != nil {
		l.checkShared(s, w)
	}
	l.checkProbeNames(s)
	l.checkSiteBFD(s)
	if s.Neighbor != nil {
		l.checkSiteNeighbor(s, w)
	} else if len(s.Allow) > 0 {
		l.warn("W-UNUSED", s.problem("allow", "an allow-list without a BGP neighbor does nothing", "add [site.neighbor] or remove the list"))
	}
	if s.Neighbor == nil && len(s.Prefixes) == 0 && s.ok("prefixes", "neighbor") && !l.doc.link(s) {
		l.warn("W-EMPTY", s.problem("", "no prefixes and no neighbor, so nothing is ever announced for this site", "add prefixes or [site.neighbor]"))
	}
	checks := l.checks(s)
	l.checkRule(s, checks)
	if len(checks) == 1 && checks[0].Kind == ha.CheckHandshake && s.Keepalive == 0 && s.ok("keepalive", "heartbeat", "probe", "neighbor", "address", "prefixes") {
		l.warn("W-IDLE", s.problem("keepalive", "the age of the handshake is the only evidence and keepalive is off: an idle site looks dead and a dead one idle; idle-policy "+s.IdlePolicy+" decides",
			"set heartbeat = true, add a probe, or set keepalive = \"25s\""))
	}
}

func (l *loader) checkInterface(s *siteDoc) *wireguardDoc {
	if !s.ok("interface") {
		return nil
	}
	w := l.doc.WireGuard[s.Interface]
	if w != nil {
		return w
	}
	var names []string
	for _, d := range l.doc.devices() {
		names = append(names, d.name)
	}
	switch {
	case len(names) == 0:
		l.wrong(&s.meta, "interface", "there is no [wireguard.NAME]", "add one, such as [wireguard.wg0]")
	case s.Interface == "":
		l.wrong(&s.meta, "interface", "missing, and there are several", "use one of "+strings.Join(names, ", "))
	default:
		l.wrong(&s.meta, "interface", fmt.Sprintf("there is no [wireguard.%s]", strings.Trim(quote(s.Interface), `"`)), "use one of "+strings.Join(names, ", "))
	}
	s.refuse("interface")
	return nil
}

// checkInner judges an inner address that is reached through w.
func (l *loader) checkInner(s *siteDoc, w *wireguardDoc, a netip.Addr, i int) {
	if slices.ContainsFunc(w.Address, func(p netip.Prefix) bool { return p.Addr() == a.WithZone("") }) {
		l.wrong(&s.meta, "address", fmt.Sprintf("%s is this host's own address on %s", a, w.name), "use the address of the site's end", i)
		return
	}
	if !w.inner(a).IsValid() {
		l.wrong(&s.meta, "address", fmt.Sprintf("%s can not be reached: interface %s has no %s address", a, w.name, scope(a)),
			fmt.Sprintf("add one to address of [wireguard.%s] (%s)", w.name, where(w.at("address"))), i)
	}
}

func scope(a netip.Addr) string {
	switch {
	case a.Is4():
		return "IPv4"
	case a.IsLinkLocalUnicast():
		return "link-local IPv6"
	}
	return "IPv6"
}

func (l *loader) checkSitePrefixes(s *siteDoc) {
	if !s.ok("prefixes") {
		return
	}
	seen := map[netip.Prefix]int{}
	for i, p := range s.Prefixes {
		if j, ok := seen[p]; ok {
			l.wrong(&s.meta, "prefixes", fmt.Sprintf("%s is given twice, first at %s", p, where(s.at("prefixes", j))), "remove one of them", i)
			continue
		}
		seen[p] = i
		if why := l.reserved(p); why != "" {
			l.wrong(&s.meta, "prefixes", fmt.Sprintf("%s %s", p, why), "remove it, or name exactly this prefix in permit of [fib] if it is meant", i)
		}
	}
}

// martians are never a site's. fd00::/8 itself is not among them, sites use
// parts of it; what covers it is refused by reserved.
var martians = []struct {
	p   netip.Prefix
	why string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "is in \"this network\" (RFC 1122)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "is in the loopback range"},
	{netip.MustParsePrefix("169.254.0.0/16"), "touches link-local 169.254.0.0/16, where TGW Connect and the metadata service live"},
	{netip.MustParsePrefix("224.0.0.0/4"), "is multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "is reserved (RFC 1112)"},
	{netip.MustParsePrefix("::1/128"), "is the loopback address"},
	{netip.MustParsePrefix("fe80::/10"), "is link-local"},
	{netip.MustParsePrefix("ff00::/8"), "is multicast"},
	{netip.MustParsePrefix("fd00:ec2::/32"), "holds the metadata service of EC2 (fd00:ec2::254)"},
}

// reserved says why p can not be installed toward a site, or "".
func (l *loader) reserved(p netip.Prefix) string {
	if slices.Contains(l.doc.FIB.Permit, p) {
		return ""
	}
	if why := unroutable(p); why != "" {
		return why
	}
	for _, c := range l.doc.Connect {
		for _, in := range c.Inside {
			if p.Overlaps(in) {
				return fmt.Sprintf("overlaps the inside block %s of tgw-connect %s", in, c.Name)
			}
		}
		for _, a := range []netip.Addr{c.Local, c.Remote} {
			if a.IsValid() && p.Contains(a) {
				return fmt.Sprintf("holds %s, an outer address of tgw-connect %s, so that the tunnel would run into itself", a, c.Name)
			}
		}
	}
	return ""
}

// unroutable says why p can belong to nobody, or "".
func unroutable(p netip.Prefix) string {
	if p.Bits() == 0 {
		return "is the default route"
	}
	for _, m := range martians {
		if p.Overlaps(m.p) {
			return m.why
		}
	}
	if ula := netip.MustParsePrefix("fd00::/8"); p.Addr().Is6() && p.Bits() <= ula.Bits() && p.Overlaps(ula) {
		return "covers fd00::/8"
	}
	return ""
}

func (l *loader) checkProbeNames(s *siteDoc) {
	seen := map[string]*probeDoc{}
	for _, p := range s.Probe {
		switch p.Name {
		case checkHeartbeat, checkHandshake, checkBGP, checkBFD:
			l.wrong(&p.meta, "name", fmt.Sprintf("%q is the name of a built-in check", p.Name), "choose another name")
		}
		if first := seen[p.Name]; first != nil && p.ok("name") {
			l.wrong(&p.meta, "name", fmt.Sprintf("probe %q exists already at %s", p.Name, where(first.at("name"))), "rename one of them")
		}
		seen[p.Name] = p
	}
}

func (l *loader) checkProbe(s *siteDoc, w *wireguardDoc, p *probeDoc) {
	if p.ok("type", "port") {
		switch {
		case p.Type == "tcp" && p.Port == 0:
			l.wrong(&p.meta, "port", "missing for a TCP probe", "add port = 179, or another port that the target listens on")
		case p.Type == "icmp" && p.Port != 0:
			l.wrong(&p.meta, "port", "ICMP has no ports", "remove it, or set type = \"tcp\"")
		}
	}
	if p.ok("interval", "timeout") && p.Timeout > p.Interval {
		l.wrong(&p.meta, "timeout", fmt.Sprintf("%s is longer than the interval of %s", p.Timeout, p.Interval), fmt.Sprintf("use at most %q", p.Interval))
	}
	l.checkHost(&p.meta, "target", p.Target)
	if p.ok("target") {
		switch {
		case !p.Target.IsValid() && s.ok("address"):
			l.wrong(&p.meta, "target", "missing, and the site has no address", "add target, or address to the site")
		case p.Target.IsValid() && w != nil && w.ok("address") && !w.inner(p.Target).IsValid():
			l.wrong(&p.meta, "target", fmt.Sprintf("%s can not be asked: interface %s has no %s address", p.Target, w.name, scope(p.Target)),
				fmt.Sprintf("add one to address of [wireguard.%s] (%s)", w.name, where(w.at("address"))))
		}
	}
	if !p.ok("prefixes") || !s.ok("prefixes", "allow") {
		return
	}
	for i, x := range p.Prefixes {
		allowed := s.Neighbor != nil && slices.ContainsFunc(s.Allow, func(r prefixRule) bool { return r.Matches(x) })
		if !slices.Contains(s.Prefixes, x) && !allowed {
			l.wrong(&p.meta, "prefixes", fmt.Sprintf("%s is no prefix of site %s", x, s.Name), "name one of the site's prefixes, or one that its allow-list accepts", i)
		}
		if slices.Index(p.Prefixes, x) < i {
			l.wrong(&p.meta, "prefixes", fmt.Sprintf("%s is given twice", x), "remove one of them", i)
		}
	}
}

func (l *loader) checkSiteNeighbor(s *siteDoc, w *wireguardDoc) {
	n := s.Neighbor
	l.checkASN(&n.meta, "asn", n.ASN, false)
	l.checkASN(&n.meta, "local-asn", n.LocalASN, true)
	l.checkTimers(&n.meta, bgp.Neighbor{HoldTime: n.HoldTime, Keepalive: n.Keepalive})
	l.checkHost(&n.meta, "address", n.Address)
	if n.ok("address") && s.ok("address") && !n.Address.IsValid() {
		l.wrong(&n.meta, "address", "missing, and the site has no address", "add address to the site, such as address = [\"10.255.0.2\"]")
	}
	if w != nil && n.Address.IsValid() && n.ok("local-address") && w.ok("address") {
		own := slices.ContainsFunc(w.Address, func(p netip.Prefix) bool { return p.Addr() == n.LocalAddress.WithZone("") })
		switch {
		case n.has("local-address") && !own:
			l.wrong(&n.meta, "local-address", fmt.Sprintf("%s is not an address of interface %s", n.LocalAddress, w.name), "use one of its addresses, or leave it out")
		case n.LocalAddress.IsValid() && n.LocalAddress.Is4() != n.Address.Is4():
			l.wrong(&n.meta, "local-address", fmt.Sprintf("%s and %s are of different families", n.LocalAddress, n.Address), "use addresses of one family")
		case !n.LocalAddress.IsValid() && n.has("address"):
			l.wrong(&n.meta, "address", fmt.Sprintf("%s can not be reached: interface %s has no %s address", n.Address, w.name, scope(n.Address)),
				fmt.Sprintf("add one to address of [wireguard.%s] (%s)", w.name, where(w.at("address"))))
		}
	}
	l.checkNextHops(&n.meta, n.Address, n.Families, n.NextHop4, n.NextHop6)
	if len(s.Allow) == 0 && s.ok("allow") {
		l.warn("W-8212", n.problem("", "without an allow-list nothing is learned from this neighbor (RFC 8212)", fmt.Sprintf("add allow = [\"10.1.0.0/16 le 24\"] to site %s", s.Name)))
	}
	if !n.Export && n.ok("export") {
		l.warn("W-8212", n.problem("export", "nothing is announced to this neighbor (RFC 8212)", "set export = true if it should learn routes"))
	}
}

// checkNextHops: a family that is not the session's own needs a next hop, and
// next hops are of their family.
func (l *loader) checkNextHops(m *meta, addr netip.Addr, fams []family, nh4, nh6 netip.Addr) {
	if nh4.IsValid() && !nh4.Is4() {
		l.wrong(m, "next-hop4", fmt.Sprintf("%s is not IPv4", nh4), "use next-hop6 for it")
	}
	if nh6.IsValid() && !nh6.Is6() {
		l.wrong(m, "next-hop6", fmt.Sprintf("%s is not IPv6", nh6), "use next-hop4 for it")
	}
	if !addr.IsValid() || !m.ok("families", "address") {
		return
	}
	for i, f := range fams {
		switch {
		case slices.Index(fams, f) < i:
			l.wrong(m, "families", fmt.Sprintf("%s is given twice", f), "remove one of them", i)
		case f == "ipv6" && addr.Is4() && !nh6.IsValid():
			l.wrong(m, "families", "IPv6 over an IPv4 session needs a next hop", "add next-hop6, an IPv6 address of this host that the neighbor reaches", i)
		}
	}
}
