package configs

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/wg"
)

// groupRankDoc is what one rank means toward one neighbor group; what it does not
// say is that of [rank.NAME].
type groupRankDoc struct {
	meta
	Name        string      `toml:"name" class:"live"`
	Group       string      `toml:"group" class:"live" req:"group = \"routers\""`
	Rank        string      `toml:"rank" class:"live" enum:"takeover|direct|backup|indirect|remote|drain" req:"rank = \"remote\""`
	MED         uint32      `toml:"med" class:"live"`
	Prepend     uint8       `toml:"prepend" class:"live" span:"0..10"`
	LocalPref   uint32      `toml:"local-pref" class:"live"`
	Communities []community `toml:"communities" class:"live" opt:"set"`
}

// What may confirm that a host of the fleet is dead.
const (
	confirmNone  = "none"
	confirmLink  = "link"
	confirmProbe = "probe"
)

// The probe that confirms a death: it has to answer within confirm-wait.
const (
	confirmInterval = 500 * time.Millisecond
	confirmTimeout  = 400 * time.Millisecond
)

// link reports whether the site is the WireGuard link to a gateway: a neighbor of
// kind fleet is reached over its interface.
func (d *document) link(s *siteDoc) bool {
	return slices.ContainsFunc(d.Neighbor, func(n *neighborDoc) bool { return d.linkTo(n) == s.Name && s.Name != "" })
}

func (d *document) roleByRegion(s *siteDoc) string {
	if s.Regions[0] == d.Gateway.Region {
		return string(ha.RolePrimary)
	}
	return string(ha.RoleBackup)
}

// linkTo is the name of the link that the neighbor is reached over; empty: none.
func (d *document) linkTo(n *neighborDoc) string {
	for _, s := range d.Site {
		if n.Kind == string(bgp.KindFleet) && n.Device != "" && n.Device == s.Interface {
			return s.Name
		}
	}
	return ""
}

// deriveRegions fills in what follows from the regions: a site's role, and that
// of a group's rank which the group does not change.
func (d *document) deriveRegions() {
	for _, s := range d.Site {
		if len(s.Regions) > 0 && !s.has("role") {
			s.Role = d.roleByRegion(s)
		}
	}
	for _, g := range d.GroupRank {
		if g.Name == "" && g.Group != "" {
			g.Name = g.Group + " " + g.Rank
		}
		for _, r := range d.Rank.all() {
			if string(r.rank) != g.Rank {
				continue
			}
			if !g.has("med") {
				g.MED = r.doc.MED
			}
			if !g.has("prepend") {
				g.Prepend = r.doc.Prepend
			}
			if !g.has("local-pref") {
				g.LocalPref = r.doc.LocalPref
			}
			if !g.has("communities") {
				g.Communities = r.doc.Communities
			}
		}
	}
}

// deriveLink gives the session over a WireGuard link the addresses that its
// interface has, as a session with a site gets them.
func (d *document) deriveLink(n *neighborDoc) {
	w := d.WireGuard[n.Device]
	if w == nil || !n.Address.IsValid() {
		return
	}
	if !n.LocalAddress.IsValid() && n.ok("local-address") {
		n.LocalAddress = w.inner(n.Address)
	}
	if n.Address.Is6() && !n.NextHop4.IsValid() && n.ok("next-hop4") {
		n.NextHop4 = w.inner(netip.IPv4Unspecified())
	}
	if n.Address.Is4() && !n.NextHop6.IsValid() && n.ok("next-hop6") {
		n.NextHop6 = w.inner(netip.IPv6Unspecified())
	}
}

func (l *loader) buildRegions(c *ha.Config) {
	for _, g := range l.doc.GroupRank {
		for _, name := range l.doc.allParts([]string{g.Group}) {
			c.GroupRanks = append(c.GroupRanks, ha.GroupRank{Group: name, Rank: ha.Rank(g.Rank), RankAttrs: rankAttrs(g.MED, g.Prepend, g.LocalPref, g.Communities)})
		}
	}
	slices.SortFunc(c.GroupRanks, func(a, b ha.GroupRank) int { return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Rank, b.Rank)) })
	for _, n := range l.doc.Neighbor {
		if n.Confirm == confirmNone {
			continue
		}
		x := ha.Confirm{Neighbor: n.Name, Wait: n.ConfirmWait}
		if n.Confirm == confirmProbe {
			x.Probe = wg.Probe{
				ID: "confirm/" + n.Name, Kind: wg.ProbeICMP, Device: n.confirmDevice(), Target: n.confirmTarget(),
				Interval: confirmInterval, Timeout: confirmTimeout,
			}
		}
		c.Confirms = append(c.Confirms, x)
	}
	slices.SortFunc(c.Confirms, func(a, b ha.Confirm) int { return cmp.Compare(a.Neighbor, b.Neighbor) })
}

func rankAttrs(med uint32, prepend uint8, pref uint32, communities []community) ha.RankAttrs {
	a := ha.RankAttrs{MED: med, Prepend: prepend, LocalPref: pref}
	for _, x := range communities {
		a.Communities = append(a.Communities, x.Community)
	}
	slices.Sort(a.Communities)
	return a
}

// allParts adds to each group the part of it that has its own name, if it has one.
func (d *document) allParts(groups []string) []string {
	var out []string
	for _, g := range groups {
		out = append(out, g)
		if slices.ContainsFunc(d.Site, func(s *siteDoc) bool {
			return s.Neighbor != nil && s.Neighbor.Group == g && s.Role == string(ha.RoleBackup)
		}) {
			out = append(out, ha.BackupGroup(g))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (l *loader) checkRegions() {
	g := &l.doc.Gateway
	seen := map[string]bool{}
	for i, r := range g.PreferRegions {
		switch {
		case r == g.Region:
			l.wrong(&g.meta, "prefer-regions", fmt.Sprintf("%q is this gateway's own region, which is nearest anyway", r), "remove it", i)
		case seen[r]:
			l.wrong(&g.meta, "prefer-regions", fmt.Sprintf("%q is given twice", r), "remove one of them", i)
		}
		seen[r] = true
	}
	for _, s := range l.doc.Site {
		if len(s.Regions) == 0 || !s.ok("regions") {
			continue
		}
		switch {
		case g.Region == "":
			l.wrong(&s.meta, "regions", "the gateway is in no region", "set region in [gateway] ("+where(g.at(""))+"), or remove regions")
		case s.has("role") && s.Role != l.doc.roleByRegion(s) && s.ok("role"):
			l.wrong(&s.meta, "role", fmt.Sprintf("regions (%s) say %s: primary in the first of them, backup in all others", where(s.at("regions")), l.doc.roleByRegion(s)), "keep one of the two keys")
		}
	}
	for _, n := range l.doc.Neighbor {
		l.checkFleet(n)
	}
	l.checkGroupRanks()
}

func (n *neighborDoc) confirmTarget() netip.Addr {
	if n.ConfirmTarget.IsValid() {
		return n.ConfirmTarget
	}
	return n.Address
}

func (n *neighborDoc) confirmDevice() string { return cmp.Or(n.ConfirmDevice, n.Device) }

// checkFleet judges what only a neighbor of kind fleet has.
func (l *loader) checkFleet(n *neighborDoc) {
	if n.Kind != string(bgp.KindFleet) {
		for _, k := range []struct {
			key string
			is  bool
		}{{"region", n.Region != ""}, {"confirm", n.Confirm != confirmNone}, {"confirm-target", n.ConfirmTarget.IsValid()}, {"confirm-device", n.ConfirmDevice != ""}} {
			if k.is && n.ok("kind", k.key) {
				l.wrong(&n.meta, k.key, "only hosts of a fleet have one", "use kind = \"fleet\", or remove it")
			}
		}
		return
	}
	g := &l.doc.Gateway
	if n.Region != "" && g.Region == "" && n.ok("region") && g.ok("region") {
		l.wrong(&n.meta, "region", fmt.Sprintf("%q is compared with the gateway's region, and it has none", n.Region), "set region in [gateway] ("+where(g.at(""))+")")
	}
	w := l.doc.WireGuard[n.Device]
	if w != nil && w.Mode != "open" && w.ok("mode") && n.ok("device") {
		l.wrong(&n.meta, "device", fmt.Sprintf("%s (%s) is synced, and a link to a gateway carries everything", n.Device, where(w.at(""))),
			fmt.Sprintf("give the link an interface of its own, with mode = \"open\" in [wireguard.%s]", n.Device))
	}
	if w != nil && n.ok("device") && !slices.ContainsFunc(l.doc.Site, func(s *siteDoc) bool { return s.Interface == n.Device }) {
		l.wrong(&n.meta, "device", fmt.Sprintf("interface %s has no peer", n.Device), fmt.Sprintf("add a [[site]] with interface = %q, the gateway's public key and its inner address", n.Device))
	}
	switch n.Confirm {
	case confirmLink:
		if w == nil && n.ok("device", "confirm") {
			l.wrong(&n.meta, "confirm", "there is no WireGuard link to this host", "name its interface as device, or use confirm = \"probe\"")
		}
	case confirmProbe:
		if n.confirmDevice() == "" && n.ok("device", "confirm-device", "confirm") {
			l.wrong(&n.meta, "confirm", "a probe needs an interface to leave by", "add confirm-device = \"eth0\"")
		}
		if t := n.confirmTarget(); t.IsValid() && t == n.Address && n.confirmDevice() == n.Device && n.BFD && n.ok("confirm-target", "confirm-device", "bfd") {
			l.wrong(&n.meta, "confirm", "it would go the same way to the same address as BFD, which is no second evidence",
				"give another address of the host as confirm-target, and the interface that leads there as confirm-device")
		}
		l.checkHost(&n.meta, "confirm-target", n.ConfirmTarget)
		l.checkDevice(&n.meta, "confirm-device", n.ConfirmDevice)
	}
	if n.Confirm != confirmProbe && (n.ConfirmTarget.IsValid() || n.ConfirmDevice != "") && n.ok("confirm", "confirm-target", "confirm-device") {
		l.wrong(&n.meta, "confirm", "there is a target or a device for a probe, and no probe", "add confirm = \"probe\", or remove them")
	}
}

func (l *loader) checkGroupRanks() {
	type place struct{ group, rank string }
	seen := map[place]*groupRankDoc{}
	groups := l.audiences()
	for _, g := range l.doc.GroupRank {
		if !g.ok("group", "rank") || !g.has("group") || !g.has("rank") {
			continue
		}
		k := place{g.Group, g.Rank}
		if first := seen[k]; first != nil {
			l.wrong(&g.meta, "rank", fmt.Sprintf("rank %s of group %q is at %s already", g.Rank, g.Group, where(first.at("rank"))), "join the two")
		}
		seen[k] = g
		l.checkOneGroup(&g.meta, "group", g.Group, groups)
		if !g.has("med") && !g.has("prepend") && !g.has("local-pref") && !g.has("communities") && g.ok("med", "prepend", "local-pref", "communities") {
			l.wrong(&g.meta, "", "nothing differs from [rank."+g.Rank+"]", "add med, prepend, local-pref or communities")
		}
	}
	for _, name := range groups {
		l.checkRankOrder(name)
	}
}

// checkRankOrder warns, for a group with ranks of its own, when a weaker rank would
// win over a stronger one.
func (l *loader) checkRankOrder(group string) {
	own := map[string]*groupRankDoc{}
	for _, g := range l.doc.GroupRank {
		if g.Group == group {
			own[g.Rank] = g
		}
	}
	if len(own) == 0 {
		return
	}
	type step struct {
		rank    ha.Rank
		prepend uint8
		med     uint32
		meta    *meta
	}
	var last step
	for _, r := range l.doc.Rank.all() {
		now := step{r.rank, r.doc.Prepend, r.doc.MED, nil}
		if g := own[string(r.rank)]; g != nil && !g.ok("med", "prepend") {
			return
		} else if g != nil {
			now = step{r.rank, g.Prepend, g.MED, &g.meta}
		}
		m := cmp.Or(now.meta, last.meta)
		if last.rank != "" && m != nil && (now.prepend < last.prepend || now.prepend == last.prepend && now.med <= last.med) {
			l.warn("W-RANK", m.problem("", fmt.Sprintf("toward group %s rank %s (prepend %d, MED %d) does not lose against %s (prepend %d, MED %d)",
				group, now.rank, now.prepend, now.med, last.rank, last.prepend, last.med), "give the weaker rank more prepends or a greater MED"))
		}
		last = now
	}
}
