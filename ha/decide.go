package ha

import (
	"cmp"

	"github.com/wgbgp/wgbgp/bgp"
)

// Step is a step of path selection. The words are for machines; Text has those
// for people.
type Step string

// The steps in their order. The first five and the region are this gateway's
// own; the others are those of RFC 4271 section 9.1. The interior cost (9.1.2.2 e) is missing
// because there is no IGP: a next hop is reached through its session's device.
const (
	StepNone      Step = ""
	StepPermitted Step = "permitted"          // not blocked
	StepUsable    Step = "usable"             // health, tunnel
	StepWaits     Step = "waits"              // the one that does not preempt last
	StepRole      Step = "role"               // primary before backup
	StepStatic    Step = "configured"         // configured before learned
	StepPref      Step = "local-preference"   // 9.1.1
	StepRegion    Step = "region"             // the nearer one, see region.go
	StepASPath    Step = "as-path-length"     // 9.1.2.2 a
	StepOrigin    Step = "origin"             // 9.1.2.2 b
	StepMED       Step = "med"                // 9.1.2.2 c
	StepEBGP      Step = "ebgp-before-ibgp"   // 9.1.2.2 d
	StepStale     Step = "fresh-before-stale" // RFC 4724: never share a route, see cost
	StepRouterID  Step = "router-id"          // 9.1.2.2 f, only for what is equal in cost
	StepAddress   Step = "neighbor-address"   // 9.1.2.2 g
	StepPathID    Step = "path-id"            // RFC 7911: two paths of one neighbor
	StepName      Step = "name"               // two sites with a configured prefix
)

var stepTexts = map[Step]string{
	StepPermitted: "not permitted",
	StepUsable:    "usable",
	StepWaits:     "another region carries it, and the site does not preempt",
	StepRole:      "role",
	StepStatic:    "configured before learned",
	StepPref:      "local preference (RFC 4271 section 9.1.1)",
	StepRegion:    "nearer region",
	StepASPath:    "AS_PATH length (RFC 4271 section 9.1.2.2 a)",
	StepOrigin:    "origin (RFC 4271 section 9.1.2.2 b)",
	StepMED:       "MED (RFC 4271 section 9.1.2.2 c)",
	StepEBGP:      "eBGP before iBGP (RFC 4271 section 9.1.2.2 d)",
	StepStale:     "fresh before stale (RFC 4724)",
	StepRouterID:  "router ID (RFC 4271 section 9.1.2.2 f)",
	StepAddress:   "neighbor address (RFC 4271 section 9.1.2.2 g)",
	StepPathID:    "path identifier (RFC 7911)",
	StepName:      "name",
}

// Text is the step in words.
func (s Step) Text() string { return stepTexts[s] }

// breaksTie reports whether the step only orders what is equal in cost.
func (s Step) breaksTie() bool {
	return s == StepRouterID || s == StepAddress || s == StepPathID || s == StepName
}

// prefer compares two claims on one prefix: the order of RFC 4271 section 9.1
// behind what only this gateway knows (health and role). It returns the step
// that decided. The steps that break ties order claims of equal cost, which
// share a route as far as max-ecmp allows.
func prefer(a, b *candidate) (int, Step) {
	if a.blocked != b.blocked {
		return first(!a.blocked), StepPermitted
	}
	if a.usable() != b.usable() {
		return first(a.usable()), StepUsable
	}
	if d, step := cost(a, b); d != 0 {
		return d, step
	}
	if a.host != b.host {
		return first(!a.host), StepStatic
	}
	return breakTie(a, b)
}

func first(yes bool) int {
	if yes {
		return -1
	}
	return 1
}

// cost compares what decides between claims that can be used; zero means
// equal-cost (ECMP).
func cost(a, b *candidate) (int, Step) {
	if a.waits != b.waits {
		return first(b.waits), StepWaits
	}
	aSite, bSite := a.site != nil, b.site != nil
	if aSite && bSite && a.site.cfg.Role != b.site.cfg.Role {
		return first(a.site.cfg.Role == RolePrimary), StepRole
	}
	if aSite != bSite || a.path == nil || b.path == nil {
		if (a.path == nil) != (b.path == nil) && !(a.host || b.host) {
			return first(a.path == nil), StepStatic
		}
		if a.path == nil || b.path == nil {
			return 0, StepNone
		}
	}
	if d, step := degree(a.path, b.path); d != 0 {
		return d, step
	}
	if a.worseMED != b.worseMED {
		return first(b.worseMED), StepMED
	}
	if d := cmp.Compare(b2i(a.path.from.ibgp()), b2i(b.path.from.ibgp())); d != 0 {
		return d, StepEBGP
	}
	// A neighbor that restarts may have forgotten the way. Its path stays where it
	// is the only one, or the better one (RFC 4724 section 4.2), but no flow is put
	// on it by the side of a path that is known to be good.
	if a.path.Stale != b.path.Stale {
		return first(b.path.Stale), StepStale
	}
	return 0, StepNone
}

// degree compares by the steps before MED.
func degree(a, b *learned) (int, Step) {
	x, y := a.Attrs, b.Attrs
	if d := cmp.Compare(y.LocalPref, x.LocalPref); d != 0 {
		return d, StepPref
	}
	if d := cmp.Compare(a.from.far, b.from.far); d != 0 {
		return d, StepRegion
	}
	if d := cmp.Compare(len(x.ASPath), len(y.ASPath)); d != 0 {
		return d, StepASPath
	}
	if d := cmp.Compare(x.Origin, y.Origin); d != 0 {
		return d, StepOrigin
	}
	return 0, StepNone
}

// compareMEDs marks the paths that have a worse MED than another one of the same
// neighboring AS with which they are equal in all steps before. RFC 4271 section
// 9.1.2.2 c removes these from consideration before the next steps: compared
// pair by pair, MED is no order, because it says nothing about paths of
// different ASes. A missing MED is 0.
func compareMEDs(cands []candidate) {
	differ, med, seen := false, uint32(0), false
	for i := range cands {
		if p := cands[i].path; p != nil {
			differ = differ || seen && p.Attrs.MED != med
			med, seen = p.Attrs.MED, true
		}
	}
	if !differ { // nearly always
		return
	}
	for i := range cands {
		for j := range cands {
			a, b := &cands[i], &cands[j]
			if i == j || a.path == nil || b.path == nil || a.blocked != b.blocked || a.usable() != b.usable() || a.role() != b.role() {
				continue
			}
			m, ok := a.path.neighborAS()
			n, too := b.path.neighborAS()
			if a.path.Attrs.MED <= b.path.Attrs.MED || !ok || !too || m != n {
				continue
			}
			if d, _ := degree(a.path, b.path); d == 0 {
				a.worseMED = true
				break
			}
		}
	}
}

// neighborAS is the neighboring AS of RFC 4271 section 9.1.2.2 c; for what an iBGP
// neighbor originated it is the local AS, here 0.
func (l *learned) neighborAS() (bgp.ASN, bool) {
	if p := l.Attrs.ASPath; len(p) > 0 {
		return p[0], true
	}
	return 0, l.from.ibgp()
}

func (k *candidate) role() Role {
	if k.site == nil {
		return ""
	}
	return k.site.cfg.Role
}

// breakTie orders claims of equal cost: learned ones by RFC 4271 section 9.1.2.2
// f and g, the others by name.
func breakTie(a, b *candidate) (int, Step) {
	if a.path == nil || b.path == nil {
		return cmp.Compare(a.name(), b.name()), StepName
	}
	m, n := a.path.from, b.path.from
	if m == n {
		return cmp.Compare(a.path.ID, b.path.ID), StepPathID
	}
	if d := m.seen.RouterID.Compare(n.seen.RouterID); d != 0 {
		return d, StepRouterID
	}
	if d := m.cfg.Address.Compare(n.cfg.Address); d != 0 {
		return d, StepAddress
	}
	return cmp.Compare(m.cfg.Name, n.cfg.Name), StepName
}

func (n *neighborState) ibgp() bool { return n.cfg.Kind == bgp.KindFleet }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
