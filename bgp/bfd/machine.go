package bfd

import (
	"math"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

const (
	// slow is the least Desired Min TX Interval of a session that is not up
	// (RFC 5880 section 6.8.3).
	slow = time.Second
	// never is a moment that does not come.
	never = time.Duration(math.MaxInt64)
)

// machine is the protocol of one session (RFC 5880 section 6). It has no clock:
// moments are durations since any fixed instant, and what it decides comes back
// as an effect. Fields named in comments are the state variables of section
// 6.8.1.
type machine struct {
	interval time.Duration // wanted
	mult     uint8         // DetectMult
	jitter   func() uint32 // any source of uniform bits
	grain    time.Duration // by how much a packet may leave late

	state       state       // SessionState
	remoteState state       // RemoteSessionState
	diag        bgp.BFDDiag // LocalDiag
	remoteDiag  bgp.BFDDiag
	local       uint32        // LocalDiscr
	remote      uint32        // RemoteDiscr
	remoteTx    time.Duration // its Desired Min TX Interval
	remoteRx    time.Duration // RemoteMinRxInterval
	remoteMult  uint8
	demand      bool // RemoteDemandMode

	// useTx and useRx are the intervals in force; they trail what is advertised
	// while a poll sequence is on its way (section 6.8.3).
	useTx, useRx time.Duration
	poll         bool // a poll sequence is on its way
	again        bool // and another one must follow it

	failed bool // see bgp.BFDState
	flaps  uint32

	since   time.Duration // of state
	heard   time.Duration // last valid packet, never: none within the detection time
	sent    time.Duration // last periodic packet
	portion int64         // of the interval until the next one, in 1024ths
}

// effect is what follows from an input, besides the new state.
type effect uint8

const (
	changed   effect = 1 << iota // there is something to report
	sendNow                      // what is told has changed: do not wait (section 6.8.7)
	sendFinal                    // a poll wants its answer
)

// start makes the session Down, about to send its first packet.
func (m *machine) start(now time.Duration, discr uint32, jitter func() uint32) {
	m.local, m.jitter = discr, jitter
	m.state, m.remoteState, m.since = down, down, now
	m.remoteRx = time.Microsecond
	m.heard = never
	m.useTx, m.useRx = m.desiredTx(), m.interval
	m.sent = now - m.useTx
	m.draw()
}

// configure takes new wishes. The session stays up: a change of intervals is
// negotiated by a poll sequence.
func (m *machine) configure(now time.Duration, interval time.Duration, mult uint8, admin bool) (e effect) {
	if mult != m.mult || interval != m.interval {
		e |= changed | sendNow
	}
	m.mult = mult
	if interval != m.interval {
		m.interval = interval
		if m.state == up {
			// A longer transmit interval waits for the end of the poll sequence,
			// and so does a shorter detection time (section 6.8.3).
			m.useTx, m.useRx = min(m.useTx, interval), max(m.useRx, interval)
			m.startPoll()
		} else {
			m.useTx, m.useRx = m.desiredTx(), interval
		}
	}
	switch {
	case admin && m.state != adminDown:
		m.enter(now, adminDown, bgp.BFDDiagAdminDown)
		e |= changed | sendNow
	case !admin && m.state == adminDown:
		m.enter(now, down, bgp.BFDDiagNone)
		e |= changed | sendNow
	}
	return e
}

// receive takes a packet that passed parse and belongs to this session; at is
// when it arrived (section 6.8.6).
func (m *machine) receive(at time.Duration, p *packet) (e effect) {
	e = m.expire(at) // in the order in which things happened
	if m.remote != p.my || m.remoteState != p.state || m.remoteDiag != p.diag ||
		m.remoteTx != p.minTx || m.remoteRx != p.minRx || m.remoteMult != p.mult {
		e |= changed
	}
	m.remote, m.remoteState, m.remoteDiag = p.my, p.state, p.diag
	m.remoteTx, m.remoteRx, m.remoteMult = p.minTx, p.minRx, p.mult
	m.demand = p.demand
	m.heard = at
	if p.final && m.poll {
		m.endPoll()
		e |= changed
	}
	if p.poll {
		e |= sendFinal
	}
	if m.state == adminDown {
		return e &^ sendFinal
	}
	was := m.state
	switch {
	case p.state == adminDown:
		m.failed = false
		if m.state != down {
			m.enter(at, down, bgp.BFDDiagNeighborDown)
		}
	case m.state == down && p.state == down:
		m.enter(at, initial, bgp.BFDDiagNone)
	case m.state == down && p.state == initial, m.state == initial && p.state >= initial:
		m.enter(at, up, bgp.BFDDiagNone)
	case m.state == up && p.state == down:
		m.enter(at, down, bgp.BFDDiagNeighborDown)
		m.fail()
	}
	if m.state != was {
		e |= changed | sendNow
	}
	return e
}

// expire ends a session whose other end was silent for the detection time
// (section 6.8.4). The caller has read everything that arrived before now.
func (m *machine) expire(now time.Duration) (e effect) {
	if now < m.detectAt() {
		return 0
	}
	if m.state == initial || m.state == up {
		was := m.state
		m.enter(now, down, bgp.BFDDiagDetectExpired)
		if was == up {
			m.fail()
		}
		e |= sendNow
	}
	// What is known about the other end is void (section 6.8.1, RemoteDiscr),
	// except that it left on purpose: its silence is no news then.
	m.heard, m.remote, m.remoteRx, m.demand = never, 0, time.Microsecond, false
	if m.remoteState != adminDown {
		m.remoteState = down
	}
	return e | changed
}

// fail remembers that the session did not end on purpose.
func (m *machine) fail() {
	m.failed = true
	m.flaps++
}

// enter changes the state.
func (m *machine) enter(now time.Duration, s state, d bgp.BFDDiag) {
	if s == up || s == adminDown {
		m.failed = false
	}
	m.state, m.diag, m.since = s, d, now
	m.poll, m.again = false, false
	m.useRx = m.interval
	if s != up {
		m.useTx = m.desiredTx()
		return
	}
	if m.useTx != m.interval {
		// Faster than a second is permitted from now on, and has to be told by a
		// poll sequence.
		m.useTx = m.interval
		m.startPoll()
	}
}

func (m *machine) startPoll() {
	if m.poll {
		m.again = true
	}
	m.poll = true
}

// endPoll: the other end has seen what we advertise.
func (m *machine) endPoll() {
	m.poll = m.again
	m.again = false
	if !m.poll {
		m.useTx, m.useRx = m.desiredTx(), m.interval
	}
}

// desiredTx is DesiredMinTxInterval.
func (m *machine) desiredTx() time.Duration {
	if m.state == up {
		return m.interval
	}
	return max(slow, m.interval)
}

// txInterval is the negotiated transmit interval before jitter.
func (m *machine) txInterval() time.Duration { return max(m.useTx, m.remoteRx) }

// rxInterval is how often the other end sends at least.
func (m *machine) rxInterval() time.Duration { return max(m.useRx, m.remoteTx) }

// detectTime is the silence after which the session is down.
func (m *machine) detectTime() time.Duration {
	return time.Duration(m.remoteMult) * m.rxInterval()
}

// detectAt is when the session expires if nothing is heard until then.
func (m *machine) detectAt() time.Duration {
	if m.heard == never {
		return never
	}
	return m.heard + m.detectTime()
}

// txAt is when the next periodic packet is due. Demand mode is never asked for,
// but who asks us is obeyed as far as section 6.8.7 says must: no periodic
// packets while both ends are up, polls are answered.
func (m *machine) txAt() time.Duration {
	if m.remoteRx == 0 || m.demand && m.state == up && m.remoteState == up && !m.poll {
		return never
	}
	i, longest := m.txInterval(), int64(1024)
	if m.mult == 1 {
		longest = 921
	}
	latest := max(i*time.Duration(longest)/1024-m.grain, i*3/4)
	return m.sent + min(i*time.Duration(m.portion)/1024, latest)
}

// transmit returns the periodic packet and starts the wait for the next one.
func (m *machine) transmit(now time.Duration) packet {
	m.sent = now
	m.draw()
	p := m.compose()
	p.poll = m.poll
	return p
}

// answer returns the packet that answers a poll. It may not wait for, and does
// not delay, the periodic ones.
func (m *machine) answer() packet {
	p := m.compose()
	p.final = true
	return p
}

func (m *machine) compose() packet {
	return packet{
		diag: m.diag, state: m.state, mult: m.mult, my: m.local, your: m.remote,
		minTx: m.desiredTx(), minRx: m.interval,
	}
}

// draw chooses the jitter of one interval: 75 to 100 % of it. If one lost packet
// is a failure then txAt cuts it to 90 % (section 6.8.7).
func (m *machine) draw() { m.portion = 768 + int64(m.jitter()%257) }
