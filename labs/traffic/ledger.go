package traffic

import (
	"slices"
	"sync"
	"syscall"
	"time"
)

// never marks a packet that has not arrived.
const never = time.Duration(-1)

// packet is what is known of one packet, as times since the stream's start.
type packet struct{ sent, arrived time.Duration }

// ledger holds every packet by its sequence number.
type ledger struct {
	mu         sync.Mutex
	packets    []packet
	newest     []int // by flow, highest sequence number that arrived, -1: none
	duplicates int
	overtaken  int // arrived after a later packet of their flow
	errors     map[syscall.Errno]int
}

func newLedger(flows int) ledger {
	return ledger{newest: slices.Repeat([]int{-1}, flows), errors: map[syscall.Errno]int{}, packets: make([]packet, 0, 1<<14)}
}

func (l *ledger) sent(at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.packets = append(l.packets, packet{at, never})
}

func (l *ledger) refused(no syscall.Errno) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors[no]++
}

func (l *ledger) received(n uint64, at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n >= uint64(len(l.packets)) {
		return // not ours
	}
	p := &l.packets[n]
	if p.arrived != never {
		l.duplicates++
		return
	}
	p.arrived = at
	newest := &l.newest[int(n)%len(l.newest)]
	if int(n) < *newest {
		l.overtaken++
	} else {
		*newest = int(n)
	}
}

func (l *ledger) latest() (sent time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest := slices.Max(l.newest)
	if newest < 0 {
		return 0, false
	}
	return l.packets[newest].sent, true
}
