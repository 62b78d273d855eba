package bfd

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

const ms = time.Millisecond

// wire joins two machines on a virtual clock.
type wire struct {
	now   time.Duration
	end   [2]*machine
	cut   [2]bool // packets from that end are lost
	loss  func() bool
	delay time.Duration
	air   []flying
	log   [2][]packet
	when  [2][]time.Duration
}

type flying struct {
	at time.Duration
	to int
	p  packet
}

func newWire(a, b time.Duration, mult uint8) *wire {
	w := &wire{delay: ms, loss: func() bool { return false }}
	rnd := rand.New(rand.NewPCG(uint64(a), uint64(b)))
	for i, interval := range []time.Duration{a, b} {
		w.end[i] = &machine{interval: interval, mult: mult}
		w.end[i].start(0, uint32(i+1), rnd.Uint32)
	}
	return w
}

func (w *wire) send(from int, p packet) {
	w.log[from], w.when[from] = append(w.log[from], p), append(w.when[from], w.now)
	if !w.cut[from] && !w.loss() {
		w.air = append(w.air, flying{w.now + w.delay, 1 - from, p})
	}
}

func (w *wire) follow(i int, e effect) {
	if e&sendFinal != 0 {
		w.send(i, w.end[i].answer())
	}
	if e&sendNow != 0 && w.end[i].txAt() != never {
		w.send(i, w.end[i].transmit(w.now))
	}
}

// run lets time pass.
func (w *wire) run(d time.Duration) {
	for end := w.now + d; w.now < end; w.now += ms {
		var left []flying
		arrived := w.air
		w.air = nil
		for _, f := range arrived {
			if f.at > w.now {
				left = append(left, f)
				continue
			}
			w.follow(f.to, w.end[f.to].receive(w.now, &f.p))
		}
		w.air = append(w.air, left...)
		for i, m := range w.end {
			w.follow(i, m.expire(w.now))
			if m.txAt() <= w.now {
				w.send(i, m.transmit(w.now))
			}
		}
	}
}

func (w *wire) states(t *testing.T, a, b state) {
	t.Helper()
	if w.end[0].state != a || w.end[1].state != b {
		t.Fatalf("at %s: states %s, %s, want %s, %s", w.now, w.end[0].state.word(), w.end[1].state.word(), a.word(), b.word())
	}
}

func TestTwoMachinesComeUpAndAgreeOnTimers(t *testing.T) {
	w := newWire(300*ms, 500*ms, 3)
	w.run(5 * time.Second)
	w.states(t, up, up)
	a, b := w.end[0], w.end[1]
	// Each sends as seldom as the other wants, and expects what the other sends.
	if a.txInterval() != 500*ms || b.txInterval() != 500*ms || a.detectTime() != 1500*ms || b.detectTime() != 1500*ms {
		t.Errorf("intervals %s, %s, detection %s, %s", a.txInterval(), b.txInterval(), a.detectTime(), b.detectTime())
	}
	if a.poll || b.poll {
		t.Error("a poll sequence never ended")
	}
}

func TestNothingIsSentFasterThanASecondBeforeUp(t *testing.T) {
	w := newWire(50*ms, 50*ms, 3)
	w.cut[0], w.cut[1] = true, true
	w.run(20 * time.Second)
	w.states(t, down, down)
	for i := range w.end {
		if n := len(w.log[i]); n < 20 || n > 28 {
			t.Errorf("end %d sent %d packets in 20 s", i, n)
		}
		for _, p := range w.log[i] {
			if p.minTx != slow || p.minRx != 50*ms || p.your != 0 || p.state != down {
				t.Fatalf("sent %+v", p)
			}
		}
	}
}

func TestSilenceIsNoticedAfterTheDetectionTimeAndNotBefore(t *testing.T) {
	w := newWire(100*ms, 100*ms, 3)
	w.run(5 * time.Second)
	w.states(t, up, up)
	w.cut[1] = true
	at := w.end[0].detectAt()
	for w.end[0].state == up {
		if w.now > at+10*time.Second {
			t.Fatal("never noticed")
		}
		at = w.end[0].detectAt() // what was in flight still counts
		w.run(ms)
	}
	a := w.end[0]
	if a.since != at || a.diag != bgp.BFDDiagDetectExpired || !a.failed || a.flaps != 1 || a.remote != 0 {
		t.Errorf("down at %s, want %s; diag %s, failed %t, flaps %d, discriminator %d", a.since, at, a.diag, a.failed, a.flaps, a.remote)
	}
	w.run(100 * ms)
	b := w.end[1]
	if b.state != down || b.diag != bgp.BFDDiagNeighborDown || !b.failed {
		t.Errorf("the other end: %s, %s, failed %t; it must have been told", b.state.word(), b.diag, b.failed)
	}
	w.cut[1] = false
	w.run(5 * time.Second)
	w.states(t, up, up)
	if a.failed || b.failed || a.diag != bgp.BFDDiagNone {
		t.Errorf("up again: failed %t, %t, diag %s", a.failed, b.failed, a.diag)
	}
}

func TestStateTable(t *testing.T) {
	for _, c := range []struct{ have, hear, want state }{
		{down, adminDown, down},
		{down, down, initial},
		{down, initial, up},
		{down, up, down},
		{initial, adminDown, down},
		{initial, down, initial},
		{initial, initial, up},
		{initial, up, up},
		{up, adminDown, down},
		{up, down, down},
		{up, initial, up},
		{up, up, up},
		{adminDown, adminDown, adminDown},
		{adminDown, down, adminDown},
		{adminDown, initial, adminDown},
		{adminDown, up, adminDown},
	} {
		m := machine{interval: 300 * ms, mult: 3}
		m.start(0, 1, func() uint32 { return 0 })
		m.enter(0, c.have, 0)
		e := m.receive(ms, &packet{state: c.hear, mult: 3, my: 9, your: 1, minTx: slow, minRx: ms})
		if m.state != c.want {
			t.Errorf("%s hears %s: %s, want %s", c.have.word(), c.hear.word(), m.state.word(), c.want.word())
		}
		if (e&sendNow != 0) != (c.have != c.want) {
			t.Errorf("%s hears %s: tells it at once: %t", c.have.word(), c.hear.word(), e&sendNow != 0)
		}
		if wantFailed := c.have == up && c.hear == down; m.failed != wantFailed {
			t.Errorf("%s hears %s: failed %t, want %t", c.have.word(), c.hear.word(), m.failed, wantFailed)
		}
	}
}

func TestAdminDownIsNoFailureAtEitherEnd(t *testing.T) {
	w := newWire(100*ms, 100*ms, 3)
	w.run(5 * time.Second)
	a, b := w.end[0], w.end[1]
	w.follow(0, a.configure(w.now, a.interval, a.mult, true))
	w.run(50 * ms)
	w.states(t, adminDown, down)
	if a.failed || b.failed || a.diag != bgp.BFDDiagAdminDown || b.diag != bgp.BFDDiagNeighborDown || b.remoteState != adminDown {
		t.Errorf("failed %t, %t; diag %s, %s; remote state %s", a.failed, b.failed, a.diag, b.diag, b.remoteState.word())
	}
	w.cut[0] = true // the other end stops after it has taken its leave
	w.run(10 * time.Second)
	if b.failed || b.remoteState != adminDown {
		t.Errorf("its silence is taken for a failure: failed %t, remote state %s", b.failed, b.remoteState.word())
	}
	w.cut[0] = false
	w.follow(0, a.configure(w.now, a.interval, a.mult, false))
	w.run(5 * time.Second)
	w.states(t, up, up)
}

func TestFailedNeighborThatThenLeavesOnPurposeIsNoFailureAnyMore(t *testing.T) {
	m := machine{interval: 100 * ms, mult: 3}
	m.start(0, 1, func() uint32 { return 0 })
	m.enter(0, up, 0)
	p := packet{state: down, mult: 3, my: 9, your: 1, minTx: slow, minRx: ms}
	m.receive(ms, &p)
	if !m.failed {
		t.Fatal("a neighbor's Down is no failure")
	}
	p.state = adminDown
	m.receive(2*ms, &p)
	if m.failed {
		t.Error("still a failure after AdminDown")
	}
}

func TestOtherIntervalsAreNegotiatedWithoutLoss(t *testing.T) {
	w := newWire(100*ms, 100*ms, 3)
	w.run(5 * time.Second)
	a, b := w.end[0], w.end[1]
	for _, interval := range []time.Duration{700 * ms, 60 * ms, 2 * time.Second, 100 * ms} {
		w.loss = func() bool { return true } // the poll may get lost
		w.follow(0, a.configure(w.now, interval, 3, false))
		if a.useTx > interval || a.useRx < interval {
			t.Errorf("before the other end knows %s: transmit every %s, detect by %s", interval, a.useTx, a.useRx)
		}
		w.loss = func() bool { return false }
		w.run(10 * time.Second)
		w.states(t, up, up)
		if a.poll || a.useTx != interval || a.useRx != interval || b.txInterval() != max(interval, 100*ms) {
			t.Errorf("%s: poll %t, uses %s, %s; the other end sends every %s", interval, a.poll, a.useTx, a.useRx, b.txInterval())
		}
	}
	if a.flaps+b.flaps != 0 {
		t.Errorf("flaps %d, %d", a.flaps, b.flaps)
	}
}

func TestSecondChangeWaitsForItsOwnPollSequence(t *testing.T) {
	m := machine{interval: slow, mult: 3}
	m.start(0, 1, func() uint32 { return 0 })
	m.enter(0, up, 0)
	m.configure(0, 2*slow, 3, false)
	m.configure(0, 3*slow, 3, false)
	final := packet{state: up, final: true, mult: 3, my: 9, your: 1, minTx: slow, minRx: ms}
	m.receive(ms, &final)
	if !m.poll || m.useTx != slow {
		t.Errorf("after one answer: poll %t, transmit every %s; that answer may be to the first change", m.poll, m.useTx)
	}
	m.receive(2*ms, &final)
	if m.poll || m.useTx != 3*slow {
		t.Errorf("after both answers: poll %t, transmit every %s", m.poll, m.useTx)
	}
}

func TestPollIsAnsweredAtOnceAndOnlyWithFinal(t *testing.T) {
	m := machine{interval: 100 * ms, mult: 3}
	m.start(0, 1, func() uint32 { return 0 })
	m.enter(0, up, 0)
	before := m.txAt()
	if e := m.receive(ms, &packet{state: up, poll: true, mult: 3, my: 9, your: 1, minTx: ms, minRx: ms}); e&sendFinal == 0 {
		t.Fatal("no answer")
	}
	if p := m.answer(); !p.final || p.poll {
		t.Errorf("answered with poll %t, final %t", p.poll, p.final)
	}
	if m.txAt() != before {
		t.Errorf("the answer moved the next periodic packet from %s to %s", before, m.txAt())
	}
}

func TestDemandIsNeverAskedForAndObeyed(t *testing.T) {
	m := machine{interval: slow, mult: 3}
	m.start(0, 1, func() uint32 { return 0 })
	m.enter(0, up, 0)
	p := packet{state: up, demand: true, mult: 3, my: 9, your: 1, minTx: 100 * ms, minRx: ms}
	m.receive(ms, &p)
	if m.txAt() != never {
		t.Error("periodic packets in demand mode")
	}
	if out := m.transmit(ms); out.demand {
		t.Error("demand bit set")
	}
	p.poll = true
	if e := m.receive(2*ms, &p); e&sendFinal == 0 {
		t.Error("a poll is not answered")
	}
	if e := m.expire(2*ms + m.detectTime()); e&changed == 0 || m.state != down || m.txAt() == never {
		t.Error("silence of the other end is not noticed in demand mode")
	}
}

func TestNeighborThatWantsNoPacketsGetsNone(t *testing.T) {
	m := machine{interval: 100 * ms, mult: 3}
	m.start(0, 1, func() uint32 { return 0 })
	m.receive(ms, &packet{state: down, mult: 3, my: 9, minTx: slow})
	if m.txAt() != never {
		t.Error("Required Min RX Interval 0 is ignored")
	}
}

func TestShorterWishOfTheNeighborHoldsAtOnce(t *testing.T) {
	m := machine{interval: 100 * ms, mult: 3}
	m.start(0, 1, func() uint32 { return 1 << 20 })
	m.enter(0, up, 0)
	p := packet{state: up, mult: 3, my: 9, your: 1, minTx: ms, minRx: 10 * time.Second}
	m.receive(0, &p)
	m.transmit(0)
	p.minRx = 100 * ms
	m.receive(ms, &p)
	if at := m.txAt(); at > 100*ms {
		t.Errorf("next packet at %s", at)
	}
}

func TestJitterKeepsItsBounds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	for _, c := range []struct {
		mult     uint8
		min, max time.Duration
	}{{3, 75 * ms, 95 * ms}, {1, 75 * ms, 85 * ms}} {
		m := machine{interval: 100 * ms, mult: c.mult, grain: 5 * ms}
		m.start(0, 1, rnd.Uint32)
		m.enter(0, up, 0)
		least, most := time.Hour, time.Duration(0)
		for range 2000 {
			m.transmit(0)
			least, most = min(least, m.txAt()), max(most, m.txAt())
		}
		// What the wheel adds, one tick, is left free below the upper bound.
		if least < c.min || most > c.max || most-least < (c.max-c.min)*9/10 {
			t.Errorf("multiplier %d: %s to %s, want %s to %s", c.mult, least, most, c.min, c.max)
		}
	}
}

func TestRestartedNeighborIsNoticedAndComesBack(t *testing.T) {
	w := newWire(100*ms, 100*ms, 3)
	w.run(5 * time.Second)
	b := &machine{interval: 100 * ms, mult: 3}
	b.start(w.now, 77, func() uint32 { return 0 })
	w.end[1] = b
	w.run(5 * time.Second)
	w.states(t, up, up)
	if a := w.end[0]; a.flaps != 1 || a.remote != 77 {
		t.Errorf("flaps %d, discriminator %d", a.flaps, a.remote)
	}
}

// Whatever is lost, the two ends never disagree for longer than it takes.
func TestLossyWireSettles(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		w := newWire(time.Duration(50+rnd.IntN(1000))*ms, time.Duration(50+rnd.IntN(1000))*ms, uint8(1+rnd.IntN(5)))
		share := rnd.IntN(90)
		w.loss = func() bool { return rnd.IntN(100) < share }
		for range 5 {
			w.run(time.Duration(rnd.IntN(4000)) * ms)
			i := rnd.IntN(2)
			w.follow(i, w.end[i].configure(w.now, time.Duration(50+rnd.IntN(1000))*ms, uint8(2+rnd.IntN(3)), rnd.IntN(4) == 0))
		}
		w.loss = func() bool { return false }
		for i, m := range w.end {
			w.follow(i, m.configure(w.now, m.interval, m.mult, false))
		}
		w.run(30 * time.Second)
		w.states(t, up, up)
		if w.end[0].poll || w.end[1].poll || w.end[0].failed || w.end[1].failed {
			t.Fatalf("seed %d: not settled: %+v %+v", seed, *w.end[0], *w.end[1])
		}
	}
}

// Packets of any content, from anyone who knows the discriminator, break nothing.
func TestHostilePacketsLeaveAMachineWithSense(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	m := machine{interval: 300 * ms, mult: 3}
	m.start(0, 1, rnd.Uint32)
	var now time.Duration
	for range 200000 {
		now += time.Duration(rnd.IntN(2000)) * ms
		var b [packetLen]byte
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		b[0], b[3] = b[0]&0x1f|0x20, packetLen
		p, err := parse(b[:])
		if err != nil {
			continue
		}
		m.receive(now, &p)
		// Nothing it sends makes us send faster than we wish, or twice within a grain.
		if m.txInterval() < m.interval || m.detectTime() < m.interval || m.state > up || m.failed && m.state == up {
			t.Fatalf("after %+v at %s: sends every %s, detects by %s, state %d, failed %t", p, now, m.txInterval(), m.detectTime(), m.state, m.failed)
		}
		if m.txAt() <= now {
			m.transmit(now)
		}
	}
}
