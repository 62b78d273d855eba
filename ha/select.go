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
	// waits: a host of another region goes on carrying it, see yieldsTo; also of the
	// path of a host that says so, see second. Within one region it is the rank alone
	// that keeps traffic away.
	waits bool
	// worseMED: a path of the same neighboring AS has a lower MED, see compareMEDs.
	worseMED bool
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
		k := &dst[i]
		c.assess(k, e.prefix)
		switch {
		case k.site == nil:
			k.waits = k.path.second()
		case !k.host && len(e.paths) > 0:
			n := c.yieldsTo(e, k.site)
			k.waits = n != nil && n.far > 0
		}
	}
	if len(e.paths) > 0 {
		c.guard(dst, e.prefix, covers)
		if e.agg != nil {
			e.shadow(dst)
		}
		if e.host != nil {
			e.keepHost(dst)
		}
	}
	if len(dst) > 1 {
		block(dst)
		compareMEDs(dst)
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
		return
	}
	k.reason, k.detail = c.neighborDead(k.path.from)
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

// synced reports whether the site's allowed IPs are the FIB of its device.
func (s *siteState) synced() bool { return s.cfg.Mode == wg.ModeSynced }
