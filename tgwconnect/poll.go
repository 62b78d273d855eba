package tgwconnect

import "time"

// Poller says when to ask AWS again. In quiet it asks once per Every, and a bit
// later by chance, so that the hosts of an account, which share one bucket of
// requests, spread. It is not safe for concurrent use.
type Poller struct {
	Every time.Duration  // at least a minute
	Rand  func() float64 // in [0,1), seeded by the host's name

	fails int
	quick int // fast questions asked in a row
}

// Outcome is what became of a question to AWS.
type Outcome struct {
	Failed bool // throttled, unreachable, unauthorized
	// Unsettled: one of our Connect peers is pending or deleting, or a local
	// address has changed since the last question.
	Unsettled bool
}

const (
	firstRetry = 2 * time.Second // after a failure, doubled each time up to Every
	firstQuick = 2 * time.Second // while something is about to change
	mostQuick  = 30              // then it is quiet: creating a peer takes minutes, not hours
	slowQuick  = 20 * time.Second
)

// Next is how long to wait after a question.
func (p *Poller) Next(o Outcome) time.Duration {
	if o.Failed {
		p.fails++
		wait := p.Every
		if p.fails < 12 {
			wait = min(firstRetry<<(p.fails-1), p.Every)
		}
		return wait/2 + p.jitter(wait) // from half to one and a half
	}
	p.fails = 0
	if o.Unsettled && p.quick < mostQuick {
		p.quick++
		wait := min(time.Duration(p.quick)*firstQuick, slowQuick)
		return wait + p.jitter(wait/4)
	}
	if !o.Unsettled {
		p.quick = 0
	}
	return p.Every + p.jitter(p.Every/5)
}

func (p *Poller) jitter(most time.Duration) time.Duration {
	return time.Duration(p.Rand() * float64(most))
}
