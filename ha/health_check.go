package ha

import (
	"strconv"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// level is where rise and fall have brought a check.
type level uint8

const (
	levelUnknown level = iota // never measured, or measured something that is gone
	levelUp
	levelDown
	levelIdle // handshake checks only: nothing is said, so nothing is known
)

// Evidence is stale when it is older than staleRounds intervals, and void
// after as many more. staleMargin allows for jitter, scheduling and the time a
// result spends on its way to the core.
const (
	staleRounds = 3
	staleMargin = time.Second
	// pollStale is staleRounds times the slowest poll: 10,000 peers are read
	// every 5 s (2,000 peers per second).
	pollStale = staleRounds * 5 * time.Second
)

// Details are constants: a judgement that did not change must not look as if
// it had, and the steady state must not allocate.
const (
	detailNoDevice  = "the interface does not exist"
	detailNoPeer    = "the peer is not on the interface"
	detailBGP       = "the session is not Established"
	detailBFD       = "BFD heard nothing for its detection time"
	detailBFDTold   = "the other end does not hear our BFD packets"
	detailBFDNever  = "the BFD session has not come up yet"
	detailProbe     = "no answer through the tunnel"
	detailSilent    = "heartbeats are sent, nothing is received"
	detailNoData    = "heartbeats are sent, only handshakes are answered"
	detailStalled   = "the session stands, no probe is answered and no other packet is received"
	detailOpen      = "the peer asks for handshakes and none completes: what we send does not arrive"
	detailNoSession = "no handshake completed for 190 s"
	detailNever     = "no handshake since the peer was created"
	detailTries     = "packets are sent, no handshake completes"
	detailLate      = "heartbeats are sent, nothing was received for 20 s"
	detailStale     = "no result for three intervals"
	detailVoid      = "no result for six intervals"
	detailUnread    = "the interface can not be read"
	detailUnsent    = "heartbeats can not be sent"
	detailUnknown   = "no result yet"
	detailDamped    = "it failed too often; it must stay well until its penalty has decayed"
	detailReset     = "the peer was created anew"
)

// check is one piece of evidence and what was made of it.
type check struct {
	cfg        *Check
	rise, fall int
	sends      bool // keepalive is on: the tunnel must renew its session by itself

	level   level
	ever    bool // has been up
	neutral bool // added by a reload to a site that stood
	soft    bool // up, and close to falling (heartbeat)

	oks, fails int       // in a row
	failed     time.Time // the first of fails
	since      time.Time // of level
	fell, rose time.Time // the last down period; fell zero: it began with us
	at         time.Time // last evidence
	lastOK     time.Time
	rtt        time.Duration
	reason     Reason // why it failed last
	detail     string
	note       string // the measuring side's own word, e.g. "timeout"

	damper  damper    // of a check that names prefixes
	armed   time.Time // heartbeats have gone out without a gap since
	sentAt  time.Time // last heartbeat that went out
	needTok bool      // fell by handshake age: only a new handshake heals
}

func newCheck(s *Site, cfg Check) check {
	c := check{cfg: &cfg, rise: max(cfg.Rise, 1), fall: max(cfg.Fall, 1), sends: s.Peer.Keepalive > 0}
	if cfg.Kind == CheckBFD && !cfg.Strict {
		c.level = levelIdle // until it is up it says nothing (RFC 5882 section 3.2)
	}
	if cfg.Probe.ID == "" && (cfg.Kind == CheckProbe || cfg.Kind == CheckHeartbeat) {
		cfg.Probe.ID = s.Name + "/" + cfg.Name
	}
	return c
}

// measuresSame reports whether evidence of one is evidence of the other.
func (c *check) measuresSame(o *check) bool {
	p, q := c.cfg.Probe, o.cfg.Probe
	p.Interval, p.Timeout = q.Interval, q.Timeout
	return c.cfg.Name == o.cfg.Name && c.cfg.Kind == o.cfg.Kind && p == q
}

// round takes one probe result.
func (c *check) round(at time.Time, r wg.ProbeResult) {
	if at.Before(c.at) {
		return
	}
	c.expire(at)
	c.at, c.note = at, r.Reason
	if r.OK {
		c.fails, c.rtt, c.lastOK = 0, r.RTT, at
		c.oks++
		if c.level != levelDown || !c.ever || c.oks >= c.rise {
			c.riseTo(at)
		}
		return
	}
	c.oks = 0
	if c.fails++; c.fails == 1 {
		c.failed = at
	}
	c.reason, c.detail = ReasonProbe, detailProbe
	if r.Reason == "no-device" {
		c.reason, c.detail = ReasonNoDevice, detailNoDevice
	}
	if c.fails >= c.fall && c.level != levelDown {
		c.fallTo(at, c.reason, c.detail)
	}
}

// riseTo makes the check up. rose is kept only while it means something: a
// check that was up already did not rise.
func (c *check) riseTo(at time.Time) {
	c.soft, c.neutral = false, false
	if c.level == levelUp {
		return
	}
	c.level, c.ever, c.since, c.rose = levelUp, true, at, at
	c.fails, c.needTok = 0, false
	c.reason, c.detail = ReasonNone, ""
}

// fallTo makes the check down.
func (c *check) fallTo(at time.Time, r Reason, detail string) {
	c.reason, c.detail = r, detail
	c.soft, c.neutral = false, false
	if c.level == levelDown {
		return
	}
	if c.ever {
		c.fell = at // else it was never up, and its down period began before us
	}
	c.level, c.since, c.rose, c.oks = levelDown, at, time.Time{}, 0
}

// forget returns the check to its start: what it measured is not there any
// more. A fallen check stays down, it has to rise in any case.
func (c *check) forget(at time.Time) {
	if c.level == levelDown {
		return
	}
	c.level, c.ever, c.soft, c.neutral = levelUnknown, false, false, false
	c.since, c.fell, c.rose = at, time.Time{}, time.Time{}
	c.oks, c.fails, c.reason, c.detail = 0, 0, ReasonUnknown, detailReset
}

// stale returns when the evidence becomes stale and when it is void. Zero:
// never, because the kind of check reports changes, not rounds.
func (c *check) stale() (suspect, void time.Time) {
	if c.level != levelUp && c.level != levelIdle && !c.neutral || c.at.IsZero() {
		return time.Time{}, time.Time{}
	}
	switch c.cfg.Kind {
	case CheckProbe:
		d := staleRounds*c.cfg.Probe.Interval + c.cfg.Probe.Timeout + staleMargin
		return c.at.Add(d), c.at.Add(2 * d)
	case CheckHandshake:
		return c.at.Add(pollStale), c.at.Add(2 * pollStale)
	case CheckHeartbeat:
		suspect, void = c.at.Add(pollStale), c.at.Add(2*pollStale)
		d := staleRounds*c.cfg.Probe.Interval + staleMargin
		sent := later(c.sentAt, c.since) // before the first one went out: since we wait for it
		if s := sent.Add(d); s.Before(suspect) {
			suspect = s
		}
		if v := sent.Add(2 * d); v.Before(void) {
			void = v
		}
	}
	return suspect, void
}

// expire lets the check fall at the moment its evidence was void, before newer
// evidence is looked at: whether anybody asked in between must not matter.
func (c *check) expire(now time.Time) {
	if _, void := c.stale(); !void.IsZero() && !now.Before(void) {
		c.fallTo(void, ReasonStale, detailVoid)
	}
}

// view is a check's contribution to the rule at one moment.
type view struct {
	verdict Verdict // Up, Suspect, Down, Idle, or "" for not measured
	reason  Reason
	detail  string
	since   time.Time
}

// look reads the check without changing it.
func (c *check) look(now time.Time) view {
	suspect, void := c.stale()
	switch {
	case !void.IsZero() && !now.Before(void):
		return view{Down, ReasonStale, detailVoid, void}
	case !suspect.IsZero() && !now.Before(suspect):
		return view{Suspect, ReasonStale, detailStale, suspect}
	}
	switch c.level {
	case levelUp:
		if c.fails > 0 && c.cfg.Kind == CheckProbe || c.soft {
			return view{Suspect, c.reason, c.detail, c.lastOK}
		}
		return view{verdict: Up, since: c.rose}
	case levelDown:
		return view{Down, c.reason, c.detail, c.since}
	case levelIdle:
		return view{Idle, ReasonIdle, "", c.since}
	}
	return view{reason: ReasonUnknown, detail: detailUnknown, since: c.since}
}

// CheckState is a check as operators see it.
type CheckState struct {
	Name   string
	Kind   CheckKind
	Target string // address, with port for TCP; empty for checks without one
	OK     bool   // it stands: up, or suspect and not yet fallen
	State  Verdict
	Since  time.Time
	LastOK time.Time // zero: never
	RTT    time.Duration
	Reason Reason
	Detail string
	Note   string // what the measuring side said last, e.g. "timeout"
	Oks    int    // successes in a row, of Rise needed after a fall
	Rise   int
	Fails  int // failures in a row, of Fall needed
	Fall   int
}

// checks lists the checks in configuration order.
func (h *health) checks(now time.Time) []CheckState {
	out := make([]CheckState, len(h.list))
	for i := range h.list {
		c := &h.list[i]
		v := c.look(h.asOf(now))
		out[i] = CheckState{
			Name: c.cfg.Name, Kind: c.cfg.Kind, Target: c.target(),
			OK: v.verdict == Up || v.verdict == Suspect, State: v.verdict, Since: v.since,
			LastOK: c.lastOK, RTT: c.rtt, Reason: v.reason, Detail: h.explain(c, v), Note: c.note,
			Oks: c.oks, Rise: c.rise, Fails: c.fails, Fall: c.fall,
		}
	}
	return out
}

// explain names the cause of stale evidence where it is known.
func (h *health) explain(c *check, v view) string {
	if v.reason != ReasonStale {
		return v.detail
	}
	switch {
	case c.cfg.Kind == CheckHeartbeat && c.fails > 0:
		return detailUnsent
	case c.cfg.Kind != CheckProbe && h.readErr:
		return detailUnread
	}
	return v.detail
}

func (c *check) target() string {
	p := c.cfg.Probe
	switch {
	case !p.Target.IsValid():
		return ""
	case p.Kind == wg.ProbeTCP && p.Target.Is6():
		return "[" + p.Target.String() + "]:" + strconv.Itoa(int(p.Port))
	case p.Kind == wg.ProbeTCP:
		return p.Target.String() + ":" + strconv.Itoa(int(p.Port))
	}
	return p.Target.String()
}
