package configs

import (
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
)

// check judges what one key alone can not show. A key that was refused before
// is not judged again: one mistake gives one message.
func (l *loader) check() {
	d := &l.doc
	l.checkGateway(&d.Gateway)
	l.checkFIB(&d.FIB)
	l.checkDamping(&d.Damping)
	l.checkGuard(&d.Guard)
	l.checkRanks(&d.Rank)
	l.checkHealth(&d.Health)
	l.checkSecretStores(&d.Secrets)
	l.checkAWS(&d.AWS)
	l.checkPaths()
	l.checkMetrics(&d.Metrics)
	l.checkNames()
	l.checkDevices()
	for _, s := range d.Site {
		l.checkSite(s)
	}
	l.checkClaims()
	l.checkConnects()
	for _, n := range d.Neighbor {
		l.checkNeighbor(n)
	}
	l.checkSessions()
	l.checkAggregates()
	l.checkRegions()
	l.checkConditionals()
	l.checkAWSRoutes()
	l.checkTargetGroups()
	l.checkRecords()
	l.checkTGWApply()
	l.checkActions()
}

func (l *loader) wrong(m *meta, key, text, cure string, index ...int) {
	l.report(m.problem(key, text, cure, index...))
}

// where names a place in a message about another one.
func where(n *node) string { return fmt.Sprintf("%s:%d", n.file, n.line) }

func (l *loader) checkGateway(g *gatewayDoc) {
	if g.node == nil && !l.doc.ok("gateway") {
		return
	}
	if g.node == nil {
		// [gateway] as a whole is missing: the decoder never saw its keys.
		n := l.doc.node
		l.report(Problem{File: n.file, Line: n.line, Key: "gateway", Text: "missing", Cure: "add [gateway] with name, asn and router-id"})
		return
	}
	l.checkName(&g.meta, g.Name)
	l.checkASN(&g.meta, "asn", g.ASN, false)
	if a := g.RouterID; a.IsValid() && (!a.Is4() || a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})) {
		l.wrong(&g.meta, "router-id", fmt.Sprintf("%s can not be a BGP identifier", a), "use an IPv4 address that no other router has (RFC 6286)")
	}
}

func (l *loader) checkName(m *meta, name string) {
	if name != "" && m.ok("name") && !validName(name) {
		l.wrong(m, "name", quote(name)+" is no name", "use up to 63 letters, digits, '-', '_' and '.', beginning with a letter or digit")
		m.refuse("name")
	}
}

// checkASN refuses the numbers that can not be a router's: 0 (RFC 7607), 23456
// (RFC 6793), the last of 16 and of 32 bits (RFC 7300).
func (l *loader) checkASN(m *meta, key string, asn uint32, zeroIsUnset bool) {
	if !m.ok(key) || asn == 0 && zeroIsUnset {
		return
	}
	why := map[uint32]string{
		0:          "0 is reserved (RFC 7607)",
		23456:      "23456 is AS_TRANS, which stands for 4-octet ASNs (RFC 6793)",
		65535:      "65535 is reserved (RFC 7300)",
		4294967295: "4294967295 is reserved (RFC 7300)",
	}[asn]
	if why != "" {
		l.wrong(m, key, why, "use your own ASN, or a private one: 64512 to 65534 or 4200000000 to 4294967294")
		m.refuse(key)
	}
}

func (l *loader) checkFIB(f *fibDoc) {
	if f.ok("metric", "sink-metric") && f.SinkMetric <= f.Metric {
		l.wrong(&f.meta, "sink-metric", fmt.Sprintf("%d is not above metric %d, so the blackhole would win over the route", f.SinkMetric, f.Metric), "use a greater number, such as 65535")
	}
	if f.ok("table") && f.VRF == "" && f.Table >= 253 && f.Table <= 255 {
		l.wrong(&f.meta, "table", fmt.Sprintf("%d is the kernel's default, main or local table", f.Table), "use a table of our own, such as 1186")
	}
	l.checkDevice(&f.meta, "vrf", f.VRF)
	l.onePerFamily(&f.meta, "source", f.Source)
}

func (l *loader) checkDamping(d *dampingDoc) {
	if !d.ok("suppress", "reuse", "half-life", "max-suppress") {
		return
	}
	if d.Reuse >= d.Suppress {
		l.wrong(&d.meta, "reuse", fmt.Sprintf("%d is not below suppress %d, so nothing would stay withheld", d.Reuse, d.Suppress), "use half of suppress")
		return
	}
	// RFC 2439 section 4.2: the ceiling follows from reuse and the longest time.
	if ceiling := float64(d.Reuse) * math.Exp2(d.MaxSuppress.Seconds()/d.HalfLife.Seconds()); ceiling < float64(d.Suppress) {
		l.wrong(&d.meta, "suppress", fmt.Sprintf("%d is never reached: max-suppress %s bounds the penalty to %.0f", d.Suppress, d.MaxSuppress, ceiling),
			"raise max-suppress or lower suppress")
	}
}

func (l *loader) checkDevice(m *meta, key, name string) {
	if name != "" && m.ok(key) && !validDevice(name) {
		l.wrong(m, key, quote(name)+" is no interface name", "use up to 15 letters, digits, '-', '_' and '.'")
		m.refuse(key)
	}
}

// onePerFamily refuses two addresses of one family and addresses that can not
// be a host's.
func (l *loader) onePerFamily(m *meta, key string, addrs []netip.Addr) {
	if !m.ok(key) {
		return
	}
	var four, six bool
	for i, a := range addrs {
		seen := &four
		if a.Is6() {
			seen = &six
		}
		if *seen {
			l.wrong(m, key, fmt.Sprintf("%s is a second address of its family", a), "give at most one IPv4 and one IPv6 address", i)
		}
		*seen = true
		l.checkHost(m, key, a, i)
	}
}

// checkHost refuses addresses that no single host has.
func (l *loader) checkHost(m *meta, key string, a netip.Addr, index ...int) {
	if a.IsValid() && (a.IsUnspecified() || a.IsMulticast() || a.IsLoopback()) {
		l.wrong(m, key, fmt.Sprintf("%s is not the address of a host on a link", a), "use a unicast address", index...)
	}
}

// checkRanks warns when a weaker rank would win over a stronger one: AS_PATH
// length counts before MED (RFC 4271 section 9.1.2.2).
func (l *loader) checkRanks(r *ranksDoc) {
	all := r.all()
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if b.doc.Prepend < a.doc.Prepend || b.doc.Prepend == a.doc.Prepend && b.doc.MED <= a.doc.MED {
			m := &b.doc.meta
			if m.node == nil {
				m = &a.doc.meta
			}
			if m.node == nil {
				continue
			}
			l.warn("W-RANK", m.problem("", fmt.Sprintf("rank %s (prepend %d, MED %d) does not lose against %s (prepend %d, MED %d)",
				b.rank, b.doc.Prepend, b.doc.MED, a.rank, a.doc.Prepend, a.doc.MED), "give the weaker rank more prepends or a greater MED"))
		}
	}
}

func (l *loader) checkMetrics(d *metricsDoc) {
	if d.Listen == "" || !d.ok("listen") {
		return
	}
	a, err := netip.ParseAddrPort(d.Listen)
	if err != nil || a.Port() == 0 {
		l.wrong(&d.meta, "listen", quote(d.Listen)+" is no address with a port", `write it as "127.0.0.1:9586" or "[::1]:9586"`)
		return
	}
	d.addr = a
}

func (l *loader) checkPaths() {
	d := &l.doc
	if d.ok("state-dir") && !filepath.IsAbs(d.StateDir) {
		l.wrong(&d.meta, "state-dir", quote(d.StateDir)+" is no absolute path", `write it as "/run/wgbgpd"`)
	}
	a := &d.API
	if a.ok("socket") && !filepath.IsAbs(a.Socket) {
		l.wrong(&a.meta, "socket", quote(a.Socket)+" is no absolute path", `write it as "/run/wgbgpd/wgbgpd.sock"`)
	} else if len(a.Socket) > 107 { // sun_path, unix(7)
		l.wrong(&a.meta, "socket", "longer than the 107 bytes of a unix socket's name", "use a shorter path")
	}
	if a.ok("mode") && a.Mode.FileMode&0o007 != 0 {
		l.wrong(&a.meta, "mode", a.Mode.text()+" lets every user of this host control the gateway", `use "0660" and a group`)
	}
}

// checkNames refuses bad and repeated names, each kind in its own space, and
// names that meet in the space of BGP neighbors.
func (l *loader) checkNames() {
	seen := map[string]map[string]*meta{}
	once := func(space, name string, m *meta) {
		if name == "" || !m.ok("name") {
			return
		}
		if seen[space] == nil {
			seen[space] = map[string]*meta{}
		}
		if first := seen[space][name]; first != nil {
			l.wrong(m, "name", fmt.Sprintf("%s %q exists already at %s", space, name, where(first.at("name"))), "rename one of them")
			return
		}
		seen[space][name] = m
	}
	d := &l.doc
	for _, s := range d.Site {
		l.checkName(&s.meta, s.Name)
		once("site", s.Name, &s.meta)
		if s.Neighbor != nil {
			once("neighbor", s.Name, &s.meta)
		}
		if s.BFD && s.Neighbor == nil {
			once("BFD session", s.Name, &s.meta)
		}
		for _, p := range s.Probe {
			l.checkName(&p.meta, p.Name)
		}
	}
	for _, r := range d.Rule {
		l.checkName(&r.meta, r.Name)
		once("rule", r.Name, &r.meta)
		if r.Name == ruleAll || r.Name == ruleAny {
			l.wrong(&r.meta, "name", fmt.Sprintf("%q is built in", r.Name), "choose another name")
		}
	}
	for _, c := range d.Connect {
		l.checkName(&c.meta, c.Name)
		once("tgw-connect", c.Name, &c.meta)
	}
	for _, n := range d.Neighbor {
		l.checkName(&n.meta, n.Name)
		once("neighbor", n.Name, &n.meta)
		if n.BFD {
			once("BFD session", n.Name, &n.meta)
		}
	}
	for _, t := range d.TargetGroup {
		once("aws-target-group", t.Name, &t.meta)
	}
	for _, r := range d.Record {
		once("aws-record", r.Name, &r.meta)
	}
	for _, a := range d.Aggregate {
		if a.has("name") && a.Name != a.Prefix.String() {
			l.checkName(&a.meta, a.Name)
			once("aggregate", a.Name, &a.meta)
		}
	}
	for _, g := range d.GroupRank {
		if g.has("name") && g.Name != g.Group+" "+g.Rank {
			l.checkName(&g.meta, g.Name)
			once("group-rank", g.Name, &g.meta)
		}
	}
	for _, c := range d.Conditional {
		l.checkName(&c.meta, c.Name)
		once("conditional", c.Name, &c.meta)
	}
	for _, a := range d.Action {
		if a.has("name") && a.Name != a.Community.text() {
			l.checkName(&a.meta, a.Name)
			once("community-action", a.Name, &a.meta)
		}
	}
}

func (l *loader) checkDevices() {
	d := &l.doc
	ports := map[uint16]*wireguardDoc{}
	addrs := map[netip.Addr]*wireguardDoc{}
	for _, w := range d.devices() {
		if !validDevice(w.name) {
			l.wrong(&w.meta, "", quote(w.name)+" is no interface name", "use up to 15 letters, digits, '-', '_' and '.'")
		}
		l.checkFleetPort(w)
		if first := ports[w.ListenPort]; first != nil && w.ListenPort != 0 && w.ok("listen-port") {
			l.wrong(&w.meta, "listen-port", fmt.Sprintf("interface %s has port %d already at %s", first.name, w.ListenPort, where(first.at("listen-port"))),
				fmt.Sprintf("set another port, such as %d", w.ListenPort+1))
		} else {
			ports[w.ListenPort] = w
		}
		if w.MTU != 0 && w.ok("mtu") && w.MTU < 1280 {
			l.wrong(&w.meta, "mtu", fmt.Sprintf("%d is below 1280, the least that IPv6 needs (RFC 8200)", w.MTU), "use 1280 to 9000, or 0 to derive it")
		}
		for i, p := range w.Address {
			l.checkHost(&w.meta, "address", p.Addr(), i)
			first := addrs[p.Addr()]
			if first != nil && !(p.Addr().IsLinkLocalUnicast() && first != w) {
				l.wrong(&w.meta, "address", fmt.Sprintf("%s is on interface %s already", p.Addr(), first.name), "remove one of them", i)
			}
			if p == p.Masked() && p.Addr().Is4() && p.Bits() < 31 {
				l.wrong(&w.meta, "address", fmt.Sprintf("%s is a network, not an address in it", p), fmt.Sprintf("write \"%s/%d\"", p.Addr().Next(), p.Bits()), i)
			}
			addrs[p.Addr()] = w
		}
		l.checkDevice(&w.meta, "vrf", w.VRF)
	}
	l.checkOpen()
}

// checkOpen: on an open interface one peer has 0.0.0.0/0 and ::/0, so there
// can be no second.
func (l *loader) checkOpen() {
	first := map[string]*siteDoc{}
	for _, s := range l.doc.Site {
		w := l.doc.WireGuard[s.Interface]
		if w == nil || w.Mode != "open" {
			continue
		}
		if f := first[s.Interface]; f != nil {
			l.wrong(&s.meta, "interface", fmt.Sprintf("interface %s is open and belongs to site %s (%s)", s.Interface, f.Name, where(f.at("interface"))),
				"give the site an interface of its own, or make the interface synced")
			continue
		}
		first[s.Interface] = s
	}
}

// checkRule resolves a site's rule.
func (l *loader) checkRule(s *siteDoc, checks []ha.Check) {
	if s.Rule == ruleAll || s.Rule == ruleAny || !s.ok("rule") {
		return
	}
	var names []string
	for _, r := range l.doc.Rule {
		names = append(names, r.Name)
		if r.Name == s.Rule {
			l.checkRuleOf(s, r, checks)
			return
		}
	}
	cure := "use all, any, or the name of a [[rule]]"
	if near := nearest(s.Rule, append(names, ruleAll, ruleAny)); near != "" {
		cure = fmt.Sprintf("did you mean %q?", near)
	}
	l.wrong(&s.meta, "rule", fmt.Sprintf("there is no rule %s", quote(s.Rule)), cure)
}

func (l *loader) checkRuleOf(s *siteDoc, r *ruleDoc, checks []ha.Check) {
	for i, of := range r.Of {
		var names []string
		var found *ha.Check
		for j := range checks {
			names = append(names, checks[j].Name)
			if checks[j].Name == of {
				found = &checks[j]
			}
		}
		switch {
		case found == nil:
			l.wrong(&r.meta, "of", fmt.Sprintf("site %s (%s) uses rule %s and has no check %s", s.Name, where(s.at("rule")), r.Name, quote(of)),
				"its checks are "+strings.Join(names, ", "), i)
		case len(found.Prefixes) > 0:
			l.wrong(&r.meta, "of", fmt.Sprintf("check %q of site %s is bound to prefixes and does not judge the site", of, s.Name), "remove it from the rule, or the prefixes from the probe", i)
		}
	}
}

// checkTimers: a keepalive that is not below the hold time keeps nothing alive.
func (l *loader) checkTimers(m *meta, n bgp.Neighbor) {
	if m.ok("hold-time", "keepalive") && n.Keepalive >= n.HoldTime {
		l.wrong(m, "keepalive", fmt.Sprintf("%s is not below the hold time of %s", n.Keepalive, n.HoldTime), "use a third of the hold time (RFC 4271 section 10), or leave it out")
	}
}
