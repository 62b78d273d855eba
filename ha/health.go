package ha

import (
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// health is what is believed about one site. It is the only type of the core
// whose answer depends on the path to the present facts: rise and fall count,
// hold-down waits. Everything it knows arrives through peer, noDevice,
// unreadable, probe and session; judge says what follows.
//
// Time is whatever clock the caller passes in, and only differences are used.
// With monotonic readings a step of the wall clock changes nothing. A fact
// carries the time of its observation; facts about different checks may arrive
// in any order, an older fact about the same thing is ignored.
//
// What each kind of check may conclude:
//
//   - heartbeat and handshake: health_tunnel.go;
//   - probe: Fall results in a row without an answer are down, Rise answers in
//     a row are up again;
//   - bgp: the session's own state; BGP has its own detection times, so Rise and
//     Fall are not applied on top of them;
//   - bfd: likewise. A session that was up and failed is down; one that has not
//     come up yet, or that either end holds down on purpose, says nothing.
//
// Until a check has been up once, one success is enough and no hold-down
// applies: at start the gateway must speak as soon as it knows. A check that is
// not measured any more keeps its word for three intervals, is suspect for
// three more, and is then down with ReasonStale.
type health struct {
	site     *Site
	list     []check // in the order of Site.Checks
	counters bool    // a check reads what WireGuard counts
	tunnel   tunnel

	gone     time.Time // the device is missing since; zero: it is there
	missing  time.Time // the peer is not on the device since; zero: it is
	trusted  bool      // the rule passed when gone or missing began
	hold     time.Time // not trusted before
	readErr  bool      // the last dump failed
	reloaded bool      // checks were added since the last judge
	enabled  bool      // by an order, against the configuration
	whole    time.Time // see asOf; zero: now

	verdict Verdict
	since   time.Time // of verdict
	damper  damper

	excusedUntil time.Time // of damper.excused

	failed    []netip.Prefix // cache of Judgement.FailedPrefixes
	failedSet uint64         // the checks failed was made from, as bits
}

// Judgement is what follows from the evidence about one site.
type Judgement struct {
	Verdict Verdict
	Reason  Reason // why it is not Up; none when it is
	Detail  string // for people; stable while the reason stands
	// Since is when Verdict began. Reasons may change under the same verdict.
	Since time.Time
	// PeerState is the word operators see: up, idle, stalled, down, disabled,
	// suppressed or unknown.
	PeerState string
	// FailedPrefixes are the prefixes bound to checks that do not stand, sorted
	// and without duplicates. Shared: not to be changed.
	FailedPrefixes []netip.Prefix
}

// announceable reports whether the site's prefixes may be announced, apart
// from those in FailedPrefixes.
func (j Judgement) announceable(p IdlePolicy) bool {
	switch j.Verdict {
	case Up, Suspect:
		return true
	case Idle:
		return p == IdleAnnounce
	}
	return false
}

// newHealth starts without any evidence: the site must prove itself.
func newHealth(s *Site) *health {
	h := &health{site: s, list: make([]check, len(s.Checks))}
	for i := range s.Checks {
		h.list[i] = newCheck(s, s.Checks[i])
	}
	h.counters = readsCounters(s)
	return h
}

func readsCounters(s *Site) bool {
	return slices.ContainsFunc(s.Checks, func(k Check) bool { return k.Kind == CheckHeartbeat || k.Kind == CheckHandshake })
}

// reconfigure takes a site's new configuration. Evidence of a check that
// measures the same thing as before is kept, also when its rise, fall or
// prefixes changed. A check added to a site that is announced is neutral until
// it was measured, so that a reload as such withdraws nothing.
func (h *health) reconfigure(s *Site) {
	old, before := h.list, h.site
	otherPeer := s.Peer.Key != before.Peer.Key || s.Device != before.Device
	standing := !otherPeer && (h.verdict == Up || h.verdict == Suspect)
	h.enabled = false
	h.site, h.list, h.failedSet, h.failed = s, make([]check, len(s.Checks)), 0, nil
	for i := range s.Checks {
		c := newCheck(s, s.Checks[i])
		c.neutral = standing
		for j := range old {
			if old[j].measuresSame(&c) && !otherPeer {
				fresh := c
				c = old[j]
				c.cfg, c.rise, c.fall, c.sends = fresh.cfg, fresh.rise, fresh.fall, fresh.sends
			}
		}
		h.list[i] = c
	}
	if otherPeer {
		h.tunnel, h.gone, h.missing, h.hold, h.damper = tunnel{}, time.Time{}, time.Time{}, time.Time{}, damper{}
	}
	h.reloaded, h.counters = true, readsCounters(s)
}

// peer takes one observation of the site's peer, nil when the device is there
// and the peer is not on it. It returns false if no check changed sides by it:
// then a site that was Up still is, until the time that next named.
func (h *health) peer(now time.Time, p *wg.PeerState) (moved bool) {
	h.readErr = false
	h.back(now, &h.gone)
	if p == nil {
		h.lost(now, &h.missing, ReasonHandshake, detailNoPeer)
		return true
	}
	h.back(now, &h.missing)
	step, ok := h.tunnel.observe(now, p)
	if !ok || !h.counters {
		return false
	}
	for i := range h.list {
		c := &h.list[i]
		level, soft := c.level, c.soft
		switch c.cfg.Kind {
		case CheckHeartbeat:
			c.heartbeat(&h.tunnel, step)
		case CheckHandshake:
			c.handshake(&h.tunnel, step, c.sends || h.armed(now))
		default:
			continue
		}
		moved = moved || c.level != level || c.soft != soft
	}
	h.settle()
	return moved
}

// created says that the peer began to exist just now. A handshake that the first
// poll finds is then known to be new, and proves both directions at once.
func (h *health) created(now time.Time, k wg.Key) {
	if !h.tunnel.seen {
		h.peer(now, &wg.PeerState{Key: k})
	}
}

// armed reports whether any heartbeat check of the site is being sent.
func (h *health) armed(now time.Time) bool {
	for i := range h.list {
		if c := &h.list[i]; c.cfg.Kind == CheckHeartbeat && c.armedAt(now) {
			return true
		}
	}
	return false
}

// noDevice says that the site's interface does not exist. Nothing can be
// forwarded, so no rule is asked and nothing waits.
func (h *health) noDevice(now time.Time) {
	h.readErr = false
	h.lost(now, &h.gone, ReasonNoDevice, detailNoDevice)
}

// lost notes that the device or the peer is not there: what the counters said
// is void, and a site that stood must earn its trust again.
func (h *health) lost(now time.Time, since *time.Time, r Reason, detail string) {
	if !since.IsZero() || now.Before(h.tunnel.at) {
		return
	}
	if h.gone.IsZero() && h.missing.IsZero() {
		base := h.combine(now)
		h.trusted = base.verdict == Up || base.verdict == Suspect
	}
	*since = now
	h.tunnel = tunnel{}
	for i := range h.list {
		c := &h.list[i]
		if k := c.cfg.Kind; (k == CheckHeartbeat || k == CheckHandshake) && c.level != levelUnknown {
			c.fallTo(now, r, detail)
		}
	}
	h.settle()
}

// back ends what lost began.
func (h *health) back(now time.Time, since *time.Time) {
	if since.IsZero() || now.Before(*since) {
		return
	}
	*since = time.Time{}
	if h.trusted {
		h.hold = later(h.hold, now.Add(h.site.HoldDown))
	}
}

// unreadable says that the interface could not be read. That is no evidence
// about the peer: the last one ages until it is stale.
func (h *health) unreadable(time.Time) { h.readErr = true }

// probe takes the outcome of one round. Results of probes the site does not
// have are ignored.
func (h *health) probe(now time.Time, r wg.ProbeResult) {
	at := r.At
	if at.IsZero() || at.After(now) {
		at = now
	}
	for i := range h.list {
		c := &h.list[i]
		if c.cfg.Probe.ID != r.ID || r.ID == "" {
			continue
		}
		switch c.cfg.Kind {
		case CheckHeartbeat:
			c.sent(at, r)
		case CheckProbe:
			c.round(at, r)
		default:
			continue
		}
		h.settle()
		return
	}
}

// unheard reports whether a check waits for the state of the BGP session.
func (h *health) unheard() bool {
	for i := range h.list {
		if c := &h.list[i]; c.cfg.Kind == CheckBGP && c.level == levelUnknown {
			return true
		}
	}
	return false
}

// session takes the state of the site's BGP session.
func (h *health) session(now time.Time, s bgp.NeighborState) {
	for i := range h.list {
		c := &h.list[i]
		if c.cfg.Kind != CheckBGP || now.Before(c.at) {
			continue
		}
		c.at = now
		if s.State == bgp.StateEstablished {
			c.lastOK, c.note = now, ""
			c.riseTo(now)
		} else {
			c.note = s.Reason
			if c.level != levelDown {
				c.fallTo(now, ReasonBGP, detailBGP)
			}
		}
	}
	h.settle()
}

// bfd takes the state of the site's BFD session.
func (h *health) bfd(now time.Time, s bgp.BFDState) {
	for i := range h.list {
		c := &h.list[i]
		if c.cfg.Kind != CheckBFD || now.Before(c.at) {
			continue
		}
		c.at, c.note = now, s.Note
		switch {
		case s.State == bgp.BFDUp:
			c.lastOK = now
			c.riseTo(now)
		case s.Failed && c.level == levelDown: // on its way back
		case s.Failed:
			c.note = s.Diag.String()
			c.fallTo(now, ReasonBFD, bfdDetail(&s))
		case s.State == bgp.BFDAdminDown || s.RemoteState == bgp.BFDAdminDown:
			c.note = bgp.BFDDiagAdminDown.String()
			c.idleAt(now)
		case c.level != levelUp && c.level != levelDown:
		case c.cfg.Strict: // its session was made anew
			c.forget(now)
		default:
			c.idleAt(now)
		}
	}
	h.settle()
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
