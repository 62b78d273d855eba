package ha

import (
	"net/netip"
	"slices"
	"time"
)

// severity orders reasons by how close they are to the root of the trouble: a
// dead tunnel takes probes and sessions with it, so it is named first.
func severity(r Reason) int {
	switch r {
	case ReasonNoDevice:
		return 7
	case ReasonRxStall, ReasonHandshake:
		return 6
	case ReasonProbe, ReasonBFD:
		return 5
	case ReasonBGP:
		return 4
	case ReasonStale:
		return 3
	}
	return 0
}

// counts reports whether the i-th check takes part in the site's rule.
func (h *health) counts(i int) bool {
	if of := h.site.Rules.Of; len(of) > 0 {
		return slices.Contains(of, h.list[i].cfg.Name)
	}
	return len(h.list[i].cfg.Prefixes) == 0
}

// combine applies the site's rule to its checks. An idle check is neither for
// nor against as long as another one speaks. The verdict "" does not occur:
// what was never measured is Down with ReasonUnknown.
func (h *health) combine(now time.Time) view {
	var up, suspect, down, idle, unknown, neutral int
	var worst, doubt view
	var upFirst, upLast time.Time
	for i := range h.list {
		if !h.counts(i) {
			continue
		}
		c := &h.list[i]
		v := c.look(h.asOf(now))
		if v.verdict == Down && v.reason == ReasonProbe {
			v.reason, v.detail = h.tunnel.whyUnanswered(c)
		}
		switch v.verdict {
		case Up:
			up++
			upLast = later(upLast, v.since)
			if upFirst.IsZero() || v.since.Before(upFirst) {
				upFirst = v.since
			}
		case Suspect:
			suspect++
			if doubt.verdict == "" || severity(v.reason) > severity(doubt.reason) {
				doubt = v
			}
		case Down:
			down++
			if worst.verdict == "" || severity(v.reason) > severity(worst.reason) {
				worst = v
			}
		case Idle:
			idle++
		default:
			if c.neutral {
				neutral++
			} else {
				unknown++
			}
		}
	}
	waiting := view{verdict: Down, reason: ReasonUnknown, detail: detailUnknown}
	if h.site.Rules.Any {
		switch {
		case up > 0:
			return view{verdict: Up, since: upFirst}
		case suspect > 0:
			return doubt
		case neutral > 0:
			return view{verdict: Suspect, reason: ReasonUnknown, detail: detailUnknown}
		case down > 0:
			return worst
		case idle > 0:
			return view{verdict: Idle, reason: ReasonIdle}
		case unknown > 0:
			return waiting
		}
		return view{verdict: Idle, reason: ReasonIdle}
	}
	switch {
	case down > 0:
		return worst
	case unknown > 0:
		return waiting
	case suspect > 0:
		return doubt
	case up > 0:
		return view{verdict: Up, since: upLast}
	case neutral > 0:
		return view{verdict: Suspect, reason: ReasonUnknown, detail: detailUnknown}
	}
	return view{verdict: Idle, reason: ReasonIdle}
}

// settle works out, after levels may have changed, until when a recovered site
// is not trusted. It uses the last down period of every check, so the order in
// which different checks reported does not matter.
func (h *health) settle() {
	var fell, rose time.Time // of the site, by its rule
	first := true
	for i := range h.list {
		if !h.counts(i) {
			continue
		}
		c := &h.list[i]
		up := c.level == levelUp
		if h.site.Rules.Any {
			// The site was down while all of its checks were.
			if first || fell.Before(c.fell) {
				fell = c.fell
			}
			if up && (rose.IsZero() || c.rose.Before(rose)) {
				rose = c.rose
			}
		} else if up && !c.fell.IsZero() {
			// The site was down until the last of its checks was up again.
			fell, rose = c.fell, later(rose, c.rose)
		}
		first = false
	}
	if !fell.IsZero() && !rose.IsZero() && fell.Before(rose) {
		h.hold = later(h.hold, rose.Add(h.site.HoldDown))
	}
}

// asOf is what evidence ages by, see Core.asOf.
func (h *health) asOf(now time.Time) time.Time { return knownAt(h.whole, now) }

// judge says what follows from the evidence now. It costs a few comparisons
// per check and allocates only when the set of failed prefixes changes.
func (h *health) judge(now time.Time) Judgement {
	if h.reloaded {
		// From here on the new checks are waited for.
		h.reloaded = false
		for i := range h.list {
			if c := &h.list[i]; c.neutral && c.at.IsZero() {
				c.at, c.since = now, now
			}
		}
	}
	v := h.damped(now, h.decide(now))
	if v.verdict != h.verdict {
		if v.since.IsZero() || v.since.After(now) || v.since.Before(h.since) {
			v.since = now
		}
		h.verdict, h.since = v.verdict, v.since
	}
	return Judgement{
		Verdict: v.verdict, Reason: v.reason, Detail: v.detail, Since: h.since,
		PeerState: peerState(v), FailedPrefixes: h.failedPrefixes(now),
	}
}

// damped withholds what stands but has failed too often. Neither an operator's
// order nor what was never measured is a failure; a site in its hold-down stands
// neither: it failed when that began.
func (h *health) damped(now time.Time, v view) view {
	d := &h.site.Damping
	stands := Judgement{Verdict: v.verdict}.announceable(h.site.IdlePolicy)
	if v.reason == ReasonDisabled {
		h.damper.stood = false
	}
	h.damper.excused = h.damper.excused && now.Before(h.excusedUntil)
	if h.damper.look(now, stands, d) && stands {
		return view{verdict: Suppressed, reason: ReasonDamped, detail: detailDamped}
	}
	return v
}

func (h *health) decide(now time.Time) view {
	switch {
	case h.site.Disabled && !h.enabled:
		return view{verdict: Down, reason: ReasonDisabled}
	case !h.gone.IsZero():
		return view{Down, ReasonNoDevice, detailNoDevice, h.gone}
	case !h.missing.IsZero():
		v := view{Down, ReasonHandshake, detailNoPeer, h.missing}
		if !h.trusted {
			v.reason = ReasonUnknown // it is only about to be created
		}
		return v
	}
	v := h.combine(now)
	if v.verdict != Up && v.verdict != Suspect {
		return v
	}
	if now.Before(h.hold) {
		return view{Down, ReasonHoldDown, "", time.Time{}}
	}
	if v.verdict == Up {
		v.since = later(v.since, h.hold)
	}
	return v
}

// peerState is the operator's word for a verdict.
func peerState(v view) string {
	switch {
	case v.verdict == Up || v.verdict == Suspect:
		return "up"
	case v.verdict == Idle:
		return "idle"
	case v.verdict == Suppressed:
		return "suppressed"
	case v.reason == ReasonDisabled:
		return "disabled"
	case v.reason == ReasonRxStall:
		return "stalled"
	case v.reason == ReasonUnknown:
		return "unknown"
	}
	return "down"
}

// bound says why the prefixes of a check that names some may not be announced;
// ReasonNone when they may.
func (h *health) bound(c *check, now time.Time) (Reason, string) {
	v := c.look(h.asOf(now))
	damped := c.damper.look(now, v.verdict == Up || v.verdict == Suspect, &h.site.Damping)
	switch {
	case v.verdict == Down:
		return v.reason, v.detail
	case v.verdict == "" && !c.neutral:
		return ReasonUnknown, detailUnknown
	case (v.verdict == Up || v.verdict == Suspect) && !c.fell.IsZero() && now.Before(c.rose.Add(h.site.HoldDown)):
		return ReasonHoldDown, ""
	case damped:
		return ReasonDamped, detailDamped
	}
	return ReasonNone, ""
}

// failedPrefixes lists what checks that name prefixes take away. The list is
// made anew only when a check changed sides.
func (h *health) failedPrefixes(now time.Time) []netip.Prefix {
	var set uint64
	for i := range h.list {
		if c := &h.list[i]; len(c.cfg.Prefixes) > 0 && i < 64 {
			if r, _ := h.bound(c, now); r != ReasonNone {
				set |= 1 << i
			}
		}
	}
	if set == h.failedSet {
		return h.failed
	}
	h.failedSet, h.failed = set, nil
	for i := range h.list {
		if set&(1<<i) != 0 {
			h.failed = append(h.failed, h.list[i].cfg.Prefixes...)
		}
	}
	slices.SortFunc(h.failed, netip.Prefix.Compare)
	h.failed = slices.Compact(h.failed)
	return h.failed
}

// prefixReason says why a prefix is in FailedPrefixes.
func (h *health) prefixReason(now time.Time, p netip.Prefix) (Reason, string) {
	var reason Reason
	var detail string
	for i := range h.list {
		c := &h.list[i]
		if !slices.Contains(c.cfg.Prefixes, p) {
			continue
		}
		if r, d := h.bound(c, now); r != ReasonNone && (reason == ReasonNone || severity(r) > severity(reason)) {
			reason, detail = r, d
		}
	}
	return reason, detail
}

// next returns the next moment at which judge could answer differently without
// a new fact: a hold-down ends, or evidence becomes stale or void. Zero: never.
func (h *health) next(now time.Time) time.Time {
	var n time.Time
	consider := func(t time.Time) {
		if t.After(now) && (n.IsZero() || t.Before(n)) {
			n = t
		}
	}
	consider(h.hold)
	consider(h.damper.reuse(&h.site.Damping))
	asOf := h.asOf(now)
	for i := range h.list {
		c := &h.list[i]
		suspect, void := c.stale()
		for _, t := range []time.Time{suspect, void} {
			if t.After(asOf) && (n.IsZero() || t.Before(n)) {
				n = t // may have passed: then it is judged by the next plan
			}
		}
		if len(c.cfg.Prefixes) > 0 && !c.fell.IsZero() && c.level == levelUp {
			consider(c.rose.Add(h.site.HoldDown))
		}
		consider(c.damper.reuse(&h.site.Damping))
	}
	return n
}

// silence is how long nothing at all was heard from the peer, up to the last
// poll. Under the heartbeat a living one is heard at least every 10 s, whatever
// becomes of probes.
func (h *health) silence() time.Duration {
	t := &h.tunnel
	if !t.seen {
		return 0
	}
	return t.at.Sub(later(later(t.rxAt, t.tokenAt), t.first))
}
