package ha

import (
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// What WireGuard's own state can prove (kernel drivers/net/wireguard/timers.c,
// receive.c and messages.h; the same figures hold in wireguard-go):
//
// Any non-empty inner packet that decrypts at the far end starts its 10 s
// passive keepalive, before its allowed IPs are looked at. So while we send a
// heartbeat at least every 5 s, a living far end with nothing but WireGuard is
// heard at least every 10 s; if its answer is lost, our own 15 s timer starts a
// handshake and repeats it every 5 s, and each response is heard too. Silence of
// heartbeatDeath means that several independent packets were lost in a row.
//
// A cut in the direction from us to the site alone takes up to 20 s longer: the
// far end still owes two passive keepalives for what it received before.
//
// Without heartbeats nothing follows from silence: healthy links were seen
// silent for 42 s (keepalive 25 s on both sides), 19 s (5 s) and for ever (only
// the other side has a keepalive).
const (
	// heartbeatLate is the 15 s new-handshake timer and one 5 s retry.
	heartbeatLate = 20 * time.Second
	// heartbeatDeath leaves the retry's answer 2 s to arrive and to be polled.
	heartbeatDeath = 22 * time.Second
	// heartbeatEvery is the longest heartbeat interval the two above are made
	// for; a longer one is added to them.
	heartbeatEvery = 5 * time.Second
	// handshakeOnlyDeath: handshakes are answered and data is not. Three rounds
	// of the 15 s new-handshake timer in which every packet was lost.
	handshakeOnlyDeath = 45 * time.Second
	// sessionLife is REJECT_AFTER_TIME: after it no session is left.
	sessionLife = 180 * time.Second
	// sessionDeath allows for the retries of a renewal that began in time.
	sessionDeath = sessionLife + 10*time.Second
	// triesDeath: with a session gone and packets waiting, initiations go out
	// every 5 s; this is three of them without success.
	triesDeath = 15 * time.Second

	// Sizes on the wire, as rx_bytes counts them (messages.h). Data messages
	// are 32 bytes and padded to multiples of 16, up to the MTU.
	sizeInitiation = 148
	sizeResponse   = 92
	sizeKeepalive  = 32
)

// tunnel is what was seen of one peer. Handshake times are tokens: only that
// they differ is used, never what they say.
type tunnel struct {
	seen   bool
	at     time.Time // last readable observation
	first  time.Time // first one since the peer was (re)created, or since we look
	rx, tx uint64
	token  int64
	before int64 // token of the peer's earlier life, to know a new one

	tokenAt time.Time // token seen to change
	rxAt    time.Time // heard at all
	dataAt  time.Time // heard something that is not a handshake
	innerAt time.Time // heard something that is not a keepalive either
	tries   time.Time // something moved although no session is left: since
	tryAt   time.Time // ... and last
}

// step is what one observation added.
type step struct{ reset, token, data bool }

// observe takes one observation. It returns false for one that is older than
// what is known already.
func (t *tunnel) observe(now time.Time, p *wg.PeerState) (step, bool) {
	if now.Before(t.at) {
		return step{}, false
	}
	var s step
	if t.seen && (p.Rx < t.rx || p.Tx < t.tx || p.Handshake == 0 && t.token != 0) {
		// Counters never go backwards: this is another peer of the same key.
		s.reset = true
		*t = t.lost()
	}
	if !t.seen {
		t.seen, t.first = true, now
		if t.before != 0 && p.Handshake != 0 && p.Handshake != t.before {
			s.token = true
		}
		t.rx, t.tx = p.Rx, p.Tx
	} else if p.Handshake != t.token {
		s.token = true
	}
	grew, sent := p.Rx-t.rx, p.Tx-t.tx
	t.at, t.rx, t.tx, t.token = now, p.Rx, p.Tx, p.Handshake
	if s.token {
		t.tokenAt, t.tries = now, time.Time{}
	}
	// Without any session a growing counter proves nothing: a recorded
	// initiation can be replayed to a peer that was just created.
	if grew > 0 && p.Handshake != 0 {
		t.rxAt = now
		if !handshakeOnly(grew, s.token) {
			s.data, t.dataAt = true, now
			if grew != sizeKeepalive && (grew < sizeKeepalive || !handshakeOnly(grew-sizeKeepalive, s.token)) {
				t.innerAt = now
			}
		}
	}
	if (grew > 0 || sent > 0) && (t.token == 0 || t.age() >= sessionLife) {
		if t.tries.IsZero() {
			t.tries = now
		}
		t.tryAt = now
	}
	return s, true
}

// lost is the state after the peer ceased to exist.
func (t *tunnel) lost() tunnel {
	n := tunnel{before: t.before}
	if t.token != 0 {
		n.before = t.token
	}
	return n
}

// age is the time since the last handshake was seen to complete, as of the last
// observation. For a session that was there before us it is the time we know it,
// which is less than the truth.
func (t *tunnel) age() time.Duration { return t.at.Sub(later(t.tokenAt, t.first)) }

// handshakeOnly reports whether n received bytes are handshake messages and
// nothing else. One initiation or response has a size that no data message has
// (data is a multiple of 16, except at the MTU). Sums of several are believed
// only if a handshake did complete, because 148+92 could be data as well.
func handshakeOnly(n uint64, completed bool) bool {
	if n == sizeInitiation || n == sizeResponse || n == 2*sizeInitiation || n == 2*sizeResponse {
		return true
	}
	return completed && (n == sizeInitiation+sizeResponse || n == 2*sizeInitiation+sizeResponse || n == sizeInitiation+2*sizeResponse)
}

// sent takes the news that a heartbeat went out, or could not.
func (c *check) sent(at time.Time, r wg.ProbeResult) {
	if at.Before(c.sentAt) {
		return
	}
	c.expire(at)
	c.note = r.Reason
	if r.OK {
		if !c.armedAt(at) {
			c.armed = at
		}
		c.sentAt, c.fails = at, 0
		return
	}
	// A heartbeat that does not go out says nothing about the far end, except
	// when there is no interface to send it through.
	c.fails++
	if r.Reason == "no-device" && c.fails >= c.fall && c.level != levelDown {
		c.fallTo(at, ReasonNoDevice, detailNoDevice)
	}
}

// armedAt reports whether heartbeats were going out at the given time: the far
// end had reason to speak. One missing heartbeat is tolerated.
func (c *check) armedAt(at time.Time) bool {
	return !c.sentAt.IsZero() && at.Sub(c.sentAt) <= 2*c.cfg.Probe.Interval+staleMargin
}

// slack is by how much the heartbeat is slower than the figures assume.
func (c *check) slack() time.Duration { return max(0, c.cfg.Probe.Interval-heartbeatEvery) }

// heartbeat judges the counters under the protocol heartbeat.
func (c *check) heartbeat(t *tunnel, s step) {
	now := t.at
	c.expire(now)
	c.at = now
	if s.reset {
		c.forget(now)
		c.armed = now // what was sent before went to another life
	}
	if s.token || s.data {
		c.lastOK = now
	}
	switch c.level {
	case levelDown:
		c.heartbeatHeals(t, s)
	default:
		if c.level == levelUnknown && t.token != 0 && (s.token || s.data) {
			c.riseTo(now)
		}
		c.heartbeatFalls(t)
	}
}

// heartbeatHeals raises a fallen check. Handshakes alone do not: they are what a
// stalled tunnel still does. Received data does, Rise times, or once if a new
// handshake shows that the other direction works as well.
func (c *check) heartbeatHeals(t *tunnel, s step) {
	if t.tokenAt.After(c.since) {
		c.needTok = false
	}
	if s.data {
		c.oks++
	}
	proven := c.oks >= c.rise || c.oks > 0 && t.tokenAt.After(c.since) || !c.ever && (s.data || s.token)
	if proven && !c.needTok && t.token != 0 {
		c.riseTo(t.at)
		return
	}
	// The cause may become clearer while it lasts.
	if c.reason == ReasonRxStall || c.reason == ReasonHandshake {
		c.blame(t)
	}
}

// heartbeatFalls lowers a check that stands.
func (c *check) heartbeatFalls(t *tunnel) {
	now := t.at
	c.soft = false
	if t.token == 0 {
		if now.Sub(t.first) >= heartbeatDeath+c.slack() {
			c.fallTo(now, ReasonHandshake, detailNever)
		}
		return
	}
	if !c.armedAt(now) {
		return // we did not ask, so silence is no answer
	}
	heard := later(later(t.rxAt, t.tokenAt), c.armed)
	data := later(later(t.dataAt, t.first), c.armed)
	session := later(later(t.tokenAt, t.first), c.armed)
	switch {
	case now.Sub(session) >= sessionDeath:
		// We hear the peer, or do not even do that: either way our packets do
		// not arrive there.
		c.needTok = true
		c.fallTo(now, ReasonHandshake, detailNoSession)
	case now.Sub(heard) >= heartbeatDeath+c.slack(), now.Sub(data) >= handshakeOnlyDeath+c.slack():
		c.fallTo(now, ReasonRxStall, detailSilent)
		c.blame(t)
	case now.Sub(heard) >= heartbeatLate+c.slack():
		c.soft, c.reason, c.detail = true, ReasonRxStall, detailLate
	}
}

// blame tells a stalled tunnel, whose session stands and carries nothing, from
// one without a session.
func (c *check) blame(t *tunnel) {
	switch {
	case t.token == 0:
		c.reason, c.detail = ReasonHandshake, detailNever
	case c.needTok || t.age() >= sessionLife:
		c.reason, c.detail = ReasonHandshake, detailNoSession
	case t.tokenAt.After(t.dataAt):
		c.reason, c.detail = ReasonRxStall, detailNoData
	case t.rxAt.After(t.dataAt):
		c.reason, c.detail = ReasonHandshake, detailOpen
	default:
		c.reason, c.detail = ReasonRxStall, detailSilent
	}
}

// handshake judges by handshakes alone, for sites without a heartbeat. sends
// says that something makes WireGuard speak by itself, so that a session must
// be renewed in time; otherwise an old handshake is an idle tunnel, not a dead
// one. Rise and Fall are not applied: one handshake proves both directions, and
// its absence is measured in time.
func (c *check) handshake(t *tunnel, s step, sends bool) {
	now := t.at
	c.expire(now)
	c.at = now
	if s.reset {
		c.forget(now)
	}
	if s.token || s.data {
		c.lastOK = now
	}
	if s.token || s.data && c.level != levelDown {
		c.riseTo(now)
		return
	}
	if !sends {
		c.silent(t)
		return
	}
	switch {
	case t.token == 0:
		if now.Sub(t.first) >= heartbeatDeath {
			c.fallTo(now, ReasonHandshake, detailNever)
		} else if c.level == levelIdle {
			c.forget(now)
		}
	case t.age() >= sessionDeath:
		c.fallTo(now, ReasonHandshake, detailNoSession)
	case c.level == levelIdle:
		c.forget(now)
	}
}

// silent judges a peer that has no reason to speak. Only unanswered tries to
// set up a session are evidence against it, and only while they last: when
// nobody tries any more, nothing is known again.
func (c *check) silent(t *tunnel) {
	now := t.at
	switch {
	case !t.tries.IsZero() && t.tryAt.Sub(t.tries) >= triesDeath && now.Sub(t.tryAt) < sessionDeath:
		c.fallTo(now, ReasonHandshake, detailTries)
	case c.level == levelUp && t.age() < sessionDeath:
	case c.level == levelIdle:
	case !t.tries.IsZero() && now.Sub(t.tryAt) < sessionDeath && c.level == levelUp:
		// The first tries of a tunnel that wakes up.
	default:
		c.idleAt(now)
	}
	if !t.tries.IsZero() && now.Sub(t.tryAt) >= sessionDeath {
		t.tries = time.Time{}
	}
}

func (c *check) idleAt(at time.Time) {
	c.level, c.since, c.rose, c.soft, c.neutral = levelIdle, at, time.Time{}, false, false
	c.reason, c.detail, c.fails, c.oks = ReasonNone, "", 0, 0
}

// whyUnanswered names the cause of a fallen probe from what the tunnel shows. If
// inner packets keep coming the target is dead or filters; if not, the tunnel is
// what fails: with a fresh session it is stalled ("green handshake, no data").
func (t *tunnel) whyUnanswered(c *check) (Reason, string) {
	switch {
	case !t.seen || !t.at.After(c.failed) || t.innerAt.After(c.failed):
		return ReasonProbe, detailProbe
	case t.token == 0:
		return ReasonHandshake, detailNever
	case t.age() < sessionLife:
		return ReasonRxStall, detailStalled
	}
	return ReasonHandshake, detailNoSession
}
