package simtest

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Clock is the time of everybody in a race.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock begins at a time.
func NewClock(at time.Time) *Clock { return &Clock{now: at} }

// Now is the time of the race.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *Clock) to(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.now) {
		c.now = t
	}
}

// Player works in turns, and every call that it makes waits for its time: it must
// call Gate before.
type Player struct {
	turn        func(ctx context.Context, now time.Time) time.Time
	ask, permit chan struct{}
	done        chan time.Time
	ctx         context.Context
	stop        context.CancelFunc

	next    time.Time // of the next turn
	busy    bool
	waiting bool // before a call
}

// NewPlayer begins at a time with a turn, which says when the next one is due.
func NewPlayer(at time.Time, turn func(ctx context.Context, now time.Time) time.Time) *Player {
	p := &Player{turn: turn, ask: make(chan struct{}), permit: make(chan struct{}), done: make(chan time.Time), next: at}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// Gate waits until it is this player's time.
func (p *Player) Gate() {
	p.ask <- struct{}{}
	<-p.permit
}

// Wake makes the next turn begin at a time, if it is not due before.
func (p *Player) Wake(at time.Time) {
	if at.Before(p.next) {
		p.next = at
	}
}

// Kill ends the player: the call that it is about to make fails, and every other.
func (p *Player) Kill() {
	p.stop()
	for p.busy {
		if p.waiting {
			p.waiting = false
			p.permit <- struct{}{}
		}
		p.listen()
	}
}

// listen waits until the player asks for a call or ends its turn.
func (p *Player) listen() {
	select {
	case <-p.ask:
		p.waiting = true
	case p.next = <-p.done:
		p.busy = false
	}
}

// Play lets players work for a time, call by call in a random order. A call takes up
// to 200 ms.
func Play(c *Clock, rng *rand.Rand, d time.Duration, players ...*Player) {
	end := c.Now().Add(d)
	for {
		var able []*Player
		first := end
		for _, p := range players {
			switch {
			case p.waiting || !p.busy && !p.next.After(c.Now()):
				able = append(able, p)
			case !p.busy && p.next.Before(first):
				first = p.next
			}
		}
		if len(able) == 0 {
			if c.to(first); !first.Before(end) {
				return
			}
			continue
		}
		p := able[rng.IntN(len(able))]
		if p.waiting {
			p.waiting = false
			p.permit <- struct{}{}
		} else {
			p.busy = true
			go func() { p.done <- p.turn(p.ctx, c.Now()) }()
		}
		p.listen()
		c.to(c.Now().Add(time.Duration(rng.IntN(200)) * time.Millisecond))
	}
}
