package ha

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// candidate is one claim on a prefix: configured for a site, learned from a
// neighbor, or the site's own inner address.
type candidate struct {
	site   *siteState
	path   *learned // nil: configured or inner address
	host   bool     // inner address: routed, never announced
	reason Reason   // why it can not be used now; none: usable
	detail string
	// blocked candidates must not be given anything: another site holds the
	// prefix, or it would lead a tunnel into itself.
	blocked bool
}

func (k *candidate) usable() bool { return k.reason == ReasonNone }

func (k *candidate) name() string {
	if k.site != nil {
		return k.site.cfg.Name
	}
	return k.path.Neighbor
}

func (k *candidate) from() string {
	if k.path != nil {
		return k.path.Neighbor
	}
	return ""
}

func (k *candidate) device() string {
	if k.site != nil {
		return k.site.cfg.Device
	}
	return k.path.from.cfg.Device
}

// candidates lists the claims on an entry, best first, blocked ones last.
func (c *Core) candidates(dst []candidate, e *entry, covers bool) []candidate {
	dst = dst[:0]
	for _, s := range e.sites {
		dst = append(dst, candidate{site: s})
	}
	if e.host != nil {
		dst = append(dst, candidate{site: e.host, host: true})
	}
	for i := range e.paths {
		dst = append(dst, candidate{site: e.paths[i].from.site, path: &e.paths[i]})
	}
	for i := range dst {
		c.assess(&dst[i], e.prefix)
	}
	if len(e.paths) > 0 {
		c.guard(dst, e.prefix, covers)
		if e.host != nil {
			e.keepHost(dst)
		}
	}
	if len(dst) > 1 {
		block(dst)
		slices.SortStableFunc(dst, func(a, b candidate) int { d, _ := prefer(&a, &b); return d })
	}
	return dst
}

// assess says whether a claim can be used now.
func (c *Core) assess(k *candidate, p netip.Prefix) {
	if s := k.site; s != nil {
		k.reason, k.detail = s.usable(c.now, p)
		return
	}
	if t, ok := c.tunnels[k.path.from.cfg.Device]; k.path.from.cfg.Kind == bgp.KindTGW && (!ok || !t.Up) {
		k.reason, k.detail = ReasonNoTunnel, t.Err
	}
}

// usable says why the site can not carry traffic for p now, or nothing.
func (s *siteState) usable(now time.Time, p netip.Prefix) (Reason, string) {
	switch {
	case s.disabled:
		return ReasonDisabled, ""
	case !s.judged.announceable(s.cfg.IdlePolicy):
		if s.judged.Reason == ReasonNone {
			return ReasonSiteDown, s.judged.Detail
		}
		return s.judged.Reason, s.judged.Detail
	case len(s.judged.FailedPrefixes) > 0 && slices.Contains(s.judged.FailedPrefixes, p):
		return s.health.prefixReason(now, p)
	}
	return ReasonNone, ""
}

// guard blocks learned paths that would route a tunnel into itself or take
// over ranges nobody may announce, unless the operator named them.
func (c *Core) guard(cands []candidate, p netip.Prefix, covers bool) {
	reason, detail := ReasonNone, ""
	if covers {
		reason, detail = ReasonCoversEndpoint, "covers the outer address of a tunnel"
	} else if r := reservedRange(p); r != "" {
		reason, detail = ReasonReserved, r
	}
	if reason == ReasonNone || slices.Contains(c.cfg.FIB.Permit, p) {
		return
	}
	for i := range cands {
		if cands[i].path != nil {
			cands[i].reason, cands[i].detail, cands[i].blocked = reason, detail, true
		}
	}
}

// keepHost blocks what others offer for the inner address of a site: with it
// they would take its session and its probes, hence the proof that it lives.
func (e *entry) keepHost(cands []candidate) {
	for i := range cands {
		if k := &cands[i]; k.path != nil && k.site != e.host && !k.blocked {
			k.blocked, k.reason, k.detail = true, ReasonOverlap, "inner address of site "+e.host.cfg.Name
		}
	}
}

var reservedRanges = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("169.254.169.254/32"), // instance metadata
	netip.MustParsePrefix("fd00::/8"),
	netip.MustParsePrefix("fd00:ec2::254/128"), // instance metadata
}

// reservedRange names the range that p may not cover (design section 7).
func reservedRange(p netip.Prefix) string {
	if p.Bits() == 0 {
		return "default route"
	}
	for _, r := range reservedRanges {
		if p.Bits() <= r.Bits() && p.Contains(r.Addr()) {
			return "covers " + r.String()
		}
	}
	return ""
}

// block finds the incumbent among the sites that claim the prefix and blocks
// the sites that share no redundancy group with it. Configured claims come
// before learned ones, older before younger, then the name decides; health
// does not: a dead site's prefix is not up for grabs.
func block(cands []candidate) {
	var inc *candidate
	for i := range cands {
		k := &cands[i]
		if k.site == nil || k.blocked {
			continue
		}
		if inc == nil || claimOrder(k, inc) < 0 {
			inc = k
		}
	}
	if inc == nil {
		return
	}
	for i := range cands {
		k := &cands[i]
		if k.site == nil || k.site == inc.site || k.blocked {
			continue
		}
		if g := k.site.cfg.Group; g == "" || g != inc.site.cfg.Group {
			k.blocked, k.reason, k.detail = true, ReasonOverlap, "held by site "+inc.site.cfg.Name
		}
	}
}

func claimOrder(a, b *candidate) int {
	if (a.path == nil) != (b.path == nil) {
		if a.path == nil {
			return -1
		}
		return 1
	}
	if a.path != nil {
		if c := a.path.Since.Compare(b.path.Since); c != 0 {
			return c
		}
	}
	return cmp.Compare(a.site.cfg.Name, b.site.cfg.Name)
}

// Steps of path selection, as shown to the operator.
const (
	stepBlocked = "not permitted"
	stepUsable  = "usable"
	stepRole    = "role"
	stepStatic  = "configured before learned"
	stepPref    = "local preference"
	stepASPath  = "AS_PATH length"
	stepOrigin  = "origin"
	stepMED     = "MED"
	stepEBGP    = "eBGP before iBGP"
	stepName    = "name"
)

// prefer compares two claims on one prefix: the order of RFC 4271 section 9.1
// behind what only this gateway knows (health and role). It returns the step
// that decided. The last step is only for a stable order: claims that differ in
// nothing else are equal-cost.
func prefer(a, b *candidate) (int, string) {
	if a.blocked != b.blocked {
		return first(!a.blocked), stepBlocked
	}
	if a.usable() != b.usable() {
		return first(a.usable()), stepUsable
	}
	if d, step := cost(a, b); d != 0 {
		return d, step
	}
	if a.host != b.host {
		return first(!a.host), stepStatic
	}
	return cmp.Compare(a.name(), b.name()), stepName
}

func first(yes bool) int {
	if yes {
		return -1
	}
	return 1
}

// cost compares what decides between claims that can be used; zero means
// equal-cost (ECMP).
func cost(a, b *candidate) (int, string) {
	aSite, bSite := a.site != nil, b.site != nil
	if aSite && bSite && a.site.cfg.Role != b.site.cfg.Role {
		return first(a.site.cfg.Role == RolePrimary), stepRole
	}
	if aSite != bSite || a.path == nil || b.path == nil {
		if (a.path == nil) != (b.path == nil) && !(a.host || b.host) {
			return first(a.path == nil), stepStatic
		}
		if a.path == nil || b.path == nil {
			return 0, ""
		}
	}
	x, y := a.path.Attrs, b.path.Attrs
	if d := cmp.Compare(y.LocalPref, x.LocalPref); d != 0 {
		return d, stepPref
	}
	if d := cmp.Compare(len(x.ASPath), len(y.ASPath)); d != 0 {
		return d, stepASPath
	}
	if d := cmp.Compare(x.Origin, y.Origin); d != 0 {
		return d, stepOrigin
	}
	// RFC 4271 section 9.1.2.2 c compares MED only between paths of one
	// neighboring AS; a missing one is 0.
	if len(x.ASPath) > 0 && len(y.ASPath) > 0 && x.ASPath[0] == y.ASPath[0] {
		if d := cmp.Compare(x.MED, y.MED); d != 0 {
			return d, stepMED
		}
	}
	if d := cmp.Compare(b2i(a.path.from.ibgp()), b2i(b.path.from.ibgp())); d != 0 {
		return d, stepEBGP
	}
	return 0, ""
}

func (n *neighborState) ibgp() bool { return n.cfg.Kind == bgp.KindFleet }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// synced reports whether the site's allowed IPs are the FIB of its device.
func (s *siteState) synced() bool { return s.cfg.Mode == wg.ModeSynced }
