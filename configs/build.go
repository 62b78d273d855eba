package configs

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// Names of the checks that a site has without naming them.
const (
	checkHeartbeat = "heartbeat"
	checkHandshake = "handshake"
	checkBGP       = "bgp"
	checkBFD       = "bfd"
)

// heartbeatPort is discard (RFC 863): nobody answers, and WireGuard itself must.
const heartbeatPort = 9

// build makes the core's configuration of a document without problems.
func (l *loader) build() *ha.Config {
	d := &l.doc
	c := &ha.Config{
		Gateway: ha.Gateway{
			Name: d.Gateway.Name, ASN: bgp.ASN(d.Gateway.ASN), RouterID: d.Gateway.RouterID, Region: d.Gateway.Region, Prefer: slices.Clone(d.Gateway.PreferRegions),
			CoalesceDelay: d.Gateway.Coalesce, EndOfRIBWait: d.Gateway.EndOfRIBWait, Linger: d.Gateway.Linger, DrainLimit: d.Gateway.DrainLimit,
		},
		FIB:   d.FIB.build(),
		Ranks: ha.Ranks{},

		Health: ha.Health{Sites: ha.CountSites(d.Health.Sites)},
		Guard:  d.Guard.build(d.FIB.Mark),
	}
	for _, w := range d.devices() {
		c.Devices = append(c.Devices, w.build(d.FIB.Mark))
	}
	for _, s := range d.Site {
		c.Sites = append(c.Sites, l.site(s))
		if s.Neighbor != nil {
			c.Neighbors = append(c.Neighbors, s.neighbor())
		}
	}
	for _, t := range d.Connect {
		if t.discovers() {
			c.Discover = append(c.Discover, t.discovery(d.Gateway.ASN, d.FIB.VRF != ""))
			continue
		}
		c.Connect = append(c.Connect, t.build(d.Gateway.ASN))
		c.Neighbors = append(c.Neighbors, t.neighbors(d.FIB.VRF != "")...)
	}
	for _, n := range d.Neighbor {
		if n.RouteServer != "" {
			c.Servers = append(c.Servers, n.servers(d.Gateway.ASN))
			continue
		}
		b := n.build()
		b.Site = d.linkTo(n)
		c.Neighbors = append(c.Neighbors, b)
	}
	c.BFD = d.sessionsBFD()
	slices.SortFunc(c.Neighbors, func(a, b bgp.Neighbor) int { return cmp.Compare(a.Name, b.Name) })
	c.Watched = d.watched()
	for _, a := range d.Action {
		c.Actions = append(c.Actions, ha.CommunityAction{
			Community: a.Community.Community, LocalPref: a.LocalPref, Prepend: a.Prepend, NoAnnounce: d.allParts(a.NoAnnounce),
		})
	}
	slices.SortFunc(c.Actions, func(a, b ha.CommunityAction) int { return cmp.Compare(a.Community, b.Community) })
	for _, a := range d.Aggregate {
		c.Aggregates = append(c.Aggregates, ha.Aggregate{Prefix: a.Prefix, Min: a.Min, Suppress: a.Suppress, To: d.allParts(a.To)})
	}
	slices.SortFunc(c.Aggregates, func(a, b ha.Aggregate) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
	for _, r := range d.Rank.all() {
		c.Ranks[r.rank] = rankAttrs(r.doc.MED, r.doc.Prepend, r.doc.LocalPref, r.doc.Communities)
	}
	l.buildRegions(c)
	c.Conditions = l.buildConditions()
	return c
}

func (f *fibDoc) build() ha.FIB {
	out := ha.FIB{
		Table: f.Table, VRF: f.VRF, Protocol: f.Protocol, Metric: f.Metric, SinkMetric: f.SinkMetric, RulePref: f.RulePref, Mark: f.Mark,
		MaxECMP: f.MaxECMP, Takeover: f.Takeover, Permit: sortedPrefixes(f.Permit), Sysctl: ha.SysctlMode(f.Sysctl), MSSClamp: f.MSSClamp,
	}
	out.Source4, out.Source6 = byFamily(f.Source)
	return out
}

func (w *wireguardDoc) build(mark uint32) wg.Device {
	out := wg.Device{
		Name: w.name, Backend: wg.Backend(w.Backend), ListenPort: w.ListenPort, FirewallMark: mark, MTU: w.MTU,
		Addresses: slices.Clone(w.Address), VRF: w.VRF, Mode: wg.Mode(w.Mode),
		SharedKey: w.SharedKey,
	}
	if !w.PrivateKey.value.IsZero() {
		out.PrivateKey, _ = wg.ParsePrivateKey(w.PrivateKey.value.Reveal()) // judged by keys
	}
	return out
}

func (l *loader) site(s *siteDoc) ha.Site {
	out := ha.Site{
		Name: s.Name, Description: s.Description, Device: s.Interface, Mode: wg.Mode(l.doc.WireGuard[s.Interface].Mode),
		Peer:     wg.Peer{Name: s.Name, Key: s.PublicKey.Key, Endpoint: s.Endpoint.Endpoint, Keepalive: s.Keepalive},
		Prefixes: sortedPrefixes(s.Prefixes), Group: s.Group, Role: ha.Role(s.Role), Disabled: s.Disabled,
		Checks: l.checks(s), Rules: l.rule(s), IdlePolicy: ha.IdlePolicy(s.IdlePolicy), HoldDown: s.HoldDown, Damping: l.damping(s), Preempt: s.Preempt,
	}
	out.Address4, out.Address6 = byFamily(s.Address)
	if !s.PresharedKey.value.IsZero() {
		out.Peer.PresharedKey, _ = wg.ParsePresharedKey(s.PresharedKey.value.Reveal()) // judged by keys
	}
	if s.Neighbor != nil {
		out.Neighbor = s.Name
	}
	out.Link = l.doc.link(s)
	out.Roams = l.doc.WireGuard[s.Interface].SharedKey && s.Endpoint.Endpoint == (wg.Endpoint{})
	return out
}

// damping is what [damping] says, for a site that is not exempt.
func (l *loader) damping(s *siteDoc) ha.Damping {
	d := &l.doc.Damping
	if !d.Enabled || !s.Damping {
		return ha.Damping{}
	}
	return ha.Damping{
		Penalty: float64(d.Penalty), Suppress: float64(d.Suppress), Reuse: float64(d.Reuse),
		HalfLife: d.HalfLife, Max: d.MaxSuppress,
	}
}

func (l *loader) rule(s *siteDoc) ha.Rule {
	for _, r := range l.doc.Rule {
		if r.Name == s.Rule {
			return ha.Rule{Name: r.Name, Any: r.Mode == ruleAny, Of: slices.Sorted(slices.Values(r.Of))}
		}
	}
	return ha.Rule{Name: s.Rule, Any: s.Rule == ruleAny}
}

// checks lists the evidence about a site: the heartbeat, its probes, its BGP
// session. The age of the handshake counts only where there is nothing else,
// because it is slow and says nothing about an idle site (AC-11).
func (l *loader) checks(s *siteDoc) []ha.Check {
	w := l.doc.WireGuard[s.Interface]
	var out []ha.Check
	if target := s.heartbeatTarget(); s.Heartbeat && target.IsValid() {
		out = append(out, ha.Check{
			Name: checkHeartbeat, Kind: ha.CheckHeartbeat, Rise: 1, Fall: 1,
			Probe: wg.Probe{
				ID: s.Name + "/" + checkHeartbeat, Site: s.Name, Kind: wg.ProbeHeartbeat, Device: s.Interface,
				Target: target, Source: w.source(target), Port: heartbeatPort, Interval: s.HeartbeatInterval, Timeout: s.HeartbeatInterval,
			},
		})
	}
	probes := slices.Clone(s.Probe)
	slices.SortStableFunc(probes, func(a, b *probeDoc) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range probes {
		out = append(out, ha.Check{
			Name: p.Name, Kind: ha.CheckProbe, Rise: p.Rise, Fall: p.Fall, Prefixes: sortedPrefixes(p.Prefixes),
			Probe: wg.Probe{
				ID: s.Name + "/" + p.Name, Site: s.Name, Kind: wg.ProbeKind(p.Type), Device: s.Interface,
				Target: p.Target, Source: w.source(p.Target), Port: p.Port, Interval: p.Interval, Timeout: p.Timeout,
			},
		})
	}
	if s.Neighbor != nil {
		out = append(out, ha.Check{Name: checkBGP, Kind: ha.CheckBGP, Rise: 1, Fall: 1})
	}
	if b, ok := l.doc.siteBFD(s); ok {
		out = append(out, ha.Check{Name: checkBFD, Kind: ha.CheckBFD, Rise: 1, Fall: 1, Strict: b.Strict, Probe: wg.Probe{Target: b.Address, Interval: b.Interval}})
	}
	if !slices.ContainsFunc(out, func(c ha.Check) bool { return len(c.Prefixes) == 0 }) {
		out = append(out, ha.Check{Name: checkHandshake, Kind: ha.CheckHandshake, Rise: 1, Fall: 1})
	}
	slices.SortFunc(out, func(a, b ha.Check) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// source is the address a probe is sent from; invalid: the kernel's choice.
func (w *wireguardDoc) source(target netip.Addr) netip.Addr {
	if w == nil || !target.IsValid() {
		return netip.Addr{}
	}
	return zoned(w.inner(target), w.name)
}

// heartbeatTarget is the site's inner address, or any address behind it: the
// packet needs only to be routed to the peer, nobody has to answer.
func (s *siteDoc) heartbeatTarget() netip.Addr {
	if len(s.Address) > 0 {
		return zoned(s.Address[0], s.Interface)
	}
	if len(s.Prefixes) == 0 {
		return netip.Addr{}
	}
	p := sortedPrefixes(s.Prefixes)[0]
	if p.IsSingleIP() {
		return p.Addr()
	}
	return p.Addr().Next()
}

func (s *siteDoc) neighbor() bgp.Neighbor {
	n := s.Neighbor
	group := n.Group
	if s.Role == string(ha.RoleBackup) {
		group = ha.BackupGroup(group)
	}
	out := bgp.Neighbor{
		Name: s.Name, Description: s.Description, Kind: bgp.KindSite, Group: group, Site: s.Name,
		Address: n.Address, LocalAddress: n.LocalAddress, Device: s.Interface, BindDevice: true,
		LocalASN: bgp.ASN(n.LocalASN), RemoteASN: bgp.ASN(n.ASN), Passive: n.Passive, Port: port(n.Port),
		TTLSecurity: n.TTLSecurity, HoldTime: n.HoldTime, Keepalive: n.Keepalive, ConnectRetry: n.ConnectRetry,
		Password: bgp.Password(n.Password.value.Reveal()), NextHop4: n.NextHop4, NextHop6: n.NextHop6,
		AddPaths: n.AddPaths, GracefulRestart: n.GracefulRestart, MaxPrefixes: s.MaxPrefixes, Export: n.Export,
		Actions: n.Actions, AcceptBlackhole: n.AcceptBlackhole,
		Import: imports(s.Allow, n.LocalPref, n.EnforceFirstAS, n.AllowOwnASN),
	}
	if n.GracefulRestart {
		out.RestartTime = n.RestartTime
	}
	out.IPv4, out.IPv6 = slices.Contains(n.Families, "ipv4"), slices.Contains(n.Families, "ipv6")
	return out
}

func (c *connectDoc) build(asn uint32) tgwconnect.ConnectPeer {
	four, six := c.blocks()
	return tgwconnect.ConnectPeer{
		Name: c.Name, Device: c.Device, Local: c.Local, Remote: c.Remote, Inside4: four, Inside6: six,
		LocalASN: asn, TGWASN: c.TGWASN, MTU: c.MTU, Backend: tgwconnect.Backend(c.Backend),
	}
}

// neighbors are the two sessions of a Connect peer. AWS requires both, with
// eBGP multihop TTL 2, and has no graceful restart and no MD5. In a VRF, which the
// tunnel is then in too, only a socket bound to the tunnel sees its addresses.
func (c *connectDoc) neighbors(inVRF bool) []bgp.Neighbor {
	four, six := c.blocks()
	var out []bgp.Neighbor
	for i, speaker := range c.speakers() {
		n := c.session(inVRF)
		n.Name, n.Device = c.Name+"/"+strconv.Itoa(i+1), c.Device
		n.Address, n.LocalAddress, n.RemoteASN = speaker, tgwconnect.Host(four, 1).Addr(), bgp.ASN(c.TGWASN)
		if six.IsValid() {
			n.IPv6, n.NextHop6 = true, tgwconnect.Host(six, 1).Addr()
		}
		out = append(out, n)
	}
	return out
}

// session is what all sessions of the entry have in common.
func (c *connectDoc) session(inVRF bool) bgp.Neighbor {
	return bgp.Neighbor{
		Kind: bgp.KindTGW, Group: c.Name, BindDevice: inVRF, MultihopTTL: 2,
		HoldTime: c.HoldTime, Keepalive: c.Keepalive, ConnectRetry: c.ConnectRetry,
		IPv4: true, MaxPrefixes: c.MaxPrefixes, Export: true, AnnounceLimit: c.AnnounceLimit,
		Import: imports(c.Allow, c.LocalPref, true, false),
	}
}

func (n *neighborDoc) build() bgp.Neighbor {
	out := bgp.Neighbor{
		Name: n.Name, Description: n.Description, Kind: bgp.Kind(n.Kind), Group: n.Group, Region: n.Region,
		Address: n.Address, Range: n.Range, LocalAddress: n.LocalAddress, Device: n.Device, BindDevice: n.BindDevice,
		LocalASN: bgp.ASN(n.LocalASN), RemoteASN: bgp.ASN(n.ASN), Passive: n.Passive, Port: port(n.Port),
		MultihopTTL: n.MultihopTTL, TTLSecurity: n.TTLSecurity,
		HoldTime: n.HoldTime, Keepalive: n.Keepalive, ConnectRetry: n.ConnectRetry,
		Password: bgp.Password(n.Password.value.Reveal()), NextHop4: n.NextHop4, NextHop6: n.NextHop6,
		AddPaths: n.AddPaths, GracefulRestart: n.GracefulRestart, MaxPrefixes: n.MaxPrefixes, Export: n.Export,
		AnnounceLimit: n.AnnounceLimit, Actions: n.Actions, AcceptBlackhole: n.AcceptBlackhole,
		Import: imports(n.Allow, n.LocalPref, n.EnforceFirstAS, n.AllowOwnASN),
	}
	if n.Range.IsValid() {
		out.MaxSessions = n.MaxSessions
	}
	if n.GracefulRestart {
		out.RestartTime = n.RestartTime
	}
	out.IPv4, out.IPv6 = slices.Contains(n.Families, "ipv4"), slices.Contains(n.Families, "ipv6")
	return out
}

// port keeps 179 in its one spelling, 0.
func port(p uint16) uint16 {
	if p == 179 {
		return 0
	}
	return p
}

// imports is nil, which learns nothing, when nothing is allowed (RFC 8212).
func imports(allow []prefixRule, pref uint32, firstAS, ownASN bool) *bgp.ImportPolicy {
	if len(allow) == 0 {
		return nil
	}
	p := &bgp.ImportPolicy{EnforceFirstAS: firstAS, AllowOwnASN: ownASN, LocalPref: pref}
	for _, r := range allow {
		p.Allow = append(p.Allow, r.PrefixRule)
	}
	// One order, so that a reordered list is not taken for a changed policy.
	slices.SortFunc(p.Allow, func(a, b bgp.PrefixRule) int {
		return cmp.Or(bgp.ComparePrefix(a.Prefix, b.Prefix), cmp.Compare(a.GE, b.GE), cmp.Compare(a.LE, b.LE))
	})
	return p
}

func byFamily(addrs []netip.Addr) (four, six netip.Addr) {
	for _, a := range addrs {
		if a.Is4() {
			four = a
		} else {
			six = a
		}
	}
	return four, six
}

func sortedPrefixes(ps []netip.Prefix) []netip.Prefix {
	out := slices.Clone(ps)
	slices.SortFunc(out, bgp.ComparePrefix)
	return out
}
