package hatest

import (
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
)

// wire is what joins two hosts of the fleet: the addresses that they reach each
// other by, in a VPC or through a tunnel between regions.
type wire struct {
	w    *world
	ends [2]*host
	cut  [2]int // faults that lose what that end sends
	luck dice

	works bool
	since time.Duration
	bgp   *session
	bfdUp [2]bool
	flaps [2]uint32
	watch [2]time.Duration // when it began to be so that BFD should change its mind
}

func newWire(w *world, a, b *host) *wire {
	x := &wire{w: w, ends: [2]*host{a, b}, luck: w.s.dice("wire", a.id<<8|b.id)}
	x.bgp = newSession(w, w.s.dice("fleet", a.id<<8|b.id), holdFleet, func() bool { return x.works })
	x.bgp.ends[0], x.bgp.ends[1] = end{host: a}, end{host: b}
	a.wires[b.id], b.wires[a.id] = x, x
	return x
}

func (x *wire) of(h *host) int {
	if x.ends[0] == h {
		return 0
	}
	return 1
}

// other is the host at the other end.
func (x *wire) other(h *host) *host { return x.ends[1-x.of(h)] }

// update works out what follows from a change at either end or between them.
func (x *wire) update() {
	works := x.ends[0].up && x.ends[1].up && x.cut[0] == 0 && x.cut[1] == 0
	if works != x.works {
		x.works, x.since = works, x.w.now
		x.bgp.pathChanged()
		x.w.check.all()
	}
	alive := works && x.ends[0].proc != nil && x.ends[1].proc != nil
	for i := range x.ends {
		x.follow(i, alive)
	}
	x.bgp.seek()
}

// follow lets the BFD session of one end follow.
func (x *wire) follow(i int, alive bool) {
	p := x.ends[i].proc
	if p == nil || x.bfdUp[i] == alive {
		return
	}
	d := bfdDetect - x.luck.between(0, bfdDetect/3)
	if alive {
		d = x.luck.between(time.Second, 3*time.Second)
	}
	x.watch[i]++
	watch := x.watch[i]
	x.w.after(d, func() {
		now := x.works && x.ends[0].proc != nil && x.ends[1].proc != nil
		if x.ends[i].proc != p || x.watch[i] != watch || now != alive || x.bfdUp[i] == alive {
			return
		}
		x.bfdUp[i] = alive
		st := bgp.BFDState{Name: neighborName(x.ends[1-i]), State: bgp.BFDUp, RemoteState: bgp.BFDUp, Since: x.w.time(), LocalDiscr: p.discr}
		if !alive {
			x.flaps[i]++
			st.State, st.RemoteState, st.Failed, st.Diag = bgp.BFDDown, bgp.BFDDown, true, bgp.BFDDiagDetectExpired
		}
		st.Flaps = x.flaps[i]
		x.ends[i].put(ha.BFDObserved{BFDState: st})
	})
}

// died forgets what the process at one end knew.
func (x *wire) died(h *host) {
	i := x.of(h)
	x.bfdUp[i], x.flaps[i] = false, 0
	x.bgp.died(i)
	x.update()
}
