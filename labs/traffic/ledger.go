package traffic

import (
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
	newest     int // highest sequence number that arrived, -1: none
	duplicates int
	overtaken  int // arrived after a later packet
	errors     map[syscall.Errno]int
}

func newLedger() ledger {
	return ledger{newest: -1, errors: map[syscall.Errno]int{}, packets: make([]packet, 0, 1<<14)}
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
	if int(n) < l.newest {
		l.overtaken++
	} else {
		l.newest = int(n)
	}
}

func (l *ledger) latest() (sent time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newest < 0 {
		return 0, false
	}
	return l.packets[l.newest].sent, true
}
