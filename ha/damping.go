package ha

import (
	"math"
	"time"
)

// Damping bounds how often a site that keeps failing is announced and withdrawn
// (RFC 2439). Every failure of something that stood adds Penalty, which halves
// every HalfLife. At Suppress the site is withheld although it is well, until
// the penalty has decayed to Reuse. Max bounds how long that takes after the
// last failure: the penalty never exceeds Reuse × 2^(Max/HalfLife).
// The zero value damps nothing.
type Damping struct {
	Penalty, Suppress, Reuse float64
	HalfLife, Max            time.Duration
}

// ceiling is the largest penalty that decays to Reuse within Max.
func (d *Damping) ceiling() float64 {
	return d.Reuse * math.Exp2(d.Max.Seconds()/d.HalfLife.Seconds())
}

// damper is what one site, or one check that names prefixes, has collected.
type damper struct {
	penalty    float64
	at         time.Time // of penalty
	suppressed bool
	stood      bool // the evidence was good when last looked at
	excused    bool // its next failure is our doing
	flaps      uint64
}

// decayed is the penalty at now.
func (p *damper) decayed(now time.Time, d *Damping) float64 {
	if p.penalty == 0 || d.HalfLife <= 0 || !now.After(p.at) {
		return p.penalty
	}
	return p.penalty * math.Exp2(-now.Sub(p.at).Seconds()/d.HalfLife.Seconds())
}

// look takes whether the evidence stands now and reports whether the site must
// be withheld although it does.
func (p *damper) look(now time.Time, stands bool, d *Damping) bool {
	if d.Penalty <= 0 {
		*p = damper{stood: stands}
		return false
	}
	if p.stood && !stands && p.excused {
		p.excused = false
	} else if p.stood && !stands {
		p.penalty = min(p.decayed(now, d)+d.Penalty, d.ceiling())
		p.at = now
		p.flaps++
	}
	p.stood = stands
	switch v := p.decayed(now, d); {
	case p.suppressed:
		p.suppressed = v > d.Reuse && now.Before(p.reuse(d))
	case v >= d.Suppress:
		p.suppressed = true
	}
	return p.suppressed
}

// reuse is when a suppressed site that does not fail again is trusted again;
// zero when it is not suppressed.
func (p *damper) reuse(d *Damping) time.Time {
	if !p.suppressed || d.HalfLife <= 0 || p.penalty <= d.Reuse {
		return time.Time{}
	}
	return p.at.Add(time.Duration(math.Log2(p.penalty/d.Reuse) * float64(d.HalfLife)))
}

// excuse says that the site will fail because of what we do, such as a reload that
// gives its session other settings. That is no flap of the site's, if it comes
// before excusedFor has passed.
func (h *health) excuse(now time.Time) {
	h.damper.excused, h.excusedUntil = h.damper.stood, now.Add(excusedFor)
}

// excusedFor is longer than a session takes to end.
const excusedFor = 10 * time.Second

// DampingState is what an operator sees of it.
type DampingState struct {
	Penalty    float64
	Flaps      uint64 // failures counted since the site is known
	Suppressed bool
	Reuse      time.Time // when it is announced again if it stays well; zero: not suppressed
}

// damping describes the site's own damper, not those of its checks.
func (h *health) damping(now time.Time) DampingState {
	d := &h.site.Damping
	return DampingState{Penalty: h.damper.decayed(now, d), Flaps: h.damper.flaps, Suppressed: h.damper.suppressed, Reuse: h.damper.reuse(d)}
}

// forgive forgets the penalties, by an operator's order.
func (h *health) forgive() {
	h.damper = damper{stood: h.damper.stood, flaps: h.damper.flaps}
	for i := range h.list {
		d := &h.list[i].damper
		*d = damper{stood: d.stood, flaps: d.flaps}
	}
}
