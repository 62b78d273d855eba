package traffic

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Report is the account of a stream, or of the packets it sent in some period.
type Report struct {
	Name     string
	Sent     int // attempts, refused ones included
	Received int
	Lost     int // Sent - Received
	// Duplicates, Overtaken, Errors and SinkDrops are of the whole stream.
	Duplicates int
	Overtaken  int
	// Errors counts what the sender's kernel answered instead of sending, by
	// error number: ENOKEY (no allowed IP), EHOSTUNREACH, ENETUNREACH, ...
	Errors map[syscall.Errno]int
	// SinkDrops counts packets that reached the receiver and found no room in
	// its buffer. They are among the lost; if it is not 0, the measurement and
	// not the network lost them. Known after Stop.
	SinkDrops int
	Outages   []Outage // by first loss, then flow
	// SendPause is the longest time between two packets at the sender. If it is
	// much longer than the interval, the machine and not the network paused.
	SendPause time.Duration
	// Delay is the time from sending to reading, of those that arrived.
	DelayMedian, Delay99, DelayMax time.Duration
}

// Outage is a run of packets of one flow of which none arrived.
type Outage struct {
	Flow        int
	First, Last uint64    // sequence numbers
	From, To    time.Time // when First and Last were sent
	Lost        int
	// Gap is the time between the sending of the last packet before and of the
	// first one after that arrived: what a user calls the outage. An outage
	// that has not ended counts to the last packet sent.
	Gap   time.Duration
	Ended bool
}

// Report accounts for the packets sent from from until before to; zero times
// mean the whole stream. Packets still under way count as lost: ask a moment
// after to.
func (s *Stream) Report(from, to time.Time) Report {
	s.log.mu.Lock()
	packets := slices.Clone(s.log.packets)
	r := Report{
		Name: s.cfg.Name, Duplicates: s.log.duplicates, Overtaken: s.log.overtaken,
		Errors: maps.Clone(s.log.errors), SinkDrops: int(s.drops),
	}
	s.log.mu.Unlock()

	lo := 0
	if !from.IsZero() {
		lo, _ = slices.BinarySearchFunc(packets, from.Sub(s.start), bySent)
	}
	hi := len(packets)
	if !to.IsZero() {
		hi, _ = slices.BinarySearchFunc(packets, to.Sub(s.start), bySent)
	}
	hi = max(hi, lo)

	var delays []time.Duration
	for n, p := range packets[lo:hi] {
		r.Sent++
		if n > 0 {
			r.SendPause = max(r.SendPause, p.sent-packets[lo+n-1].sent)
		}
		if p.arrived != never {
			r.Received++
			delays = append(delays, p.arrived-p.sent)
		}
	}
	r.Lost = r.Sent - r.Received
	if len(delays) > 0 {
		slices.Sort(delays)
		r.DelayMedian, r.Delay99, r.DelayMax = delays[len(delays)/2], delays[len(delays)*99/100], delays[len(delays)-1]
	}
	for flow := range s.cfg.Flows {
		r.Outages = append(r.Outages, outages(packets, lo, hi, flow, s.cfg.Flows, s.start)...)
	}
	slices.SortFunc(r.Outages, func(a, b Outage) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Flow, b.Flow))
	})
	return r
}

func bySent(p packet, at time.Duration) int { return cmp.Compare(p.sent, at) }

// outages finds the runs of losses of one flow among packets[lo:hi]. An outage
// is followed to its end beyond hi, so that its gap is true.
func outages(packets []packet, lo, hi, flow, flows int, start time.Time) []Outage {
	var found []Outage
	first := lo + (flow-lo%flows+flows)%flows
	before := packet{arrived: never} // the last one that arrived
	if first-flows >= 0 {
		before = packets[first-flows]
	}
	for n := first; n < hi; n += flows {
		if packets[n].arrived != never {
			before = packets[n]
			continue
		}
		o := Outage{Flow: flow, First: uint64(n), From: start.Add(packets[n].sent)}
		began := packets[n].sent
		if before.arrived != never {
			began = before.sent
		}
		end := packets[n].sent
		for ; n < len(packets) && packets[n].arrived == never; n += flows {
			end = packets[n].sent
			if n < hi {
				o.Last, o.To = uint64(n), start.Add(packets[n].sent)
				o.Lost++
			}
		}
		if n < len(packets) {
			end, o.Ended, before = packets[n].sent, true, packets[n]
		}
		o.Gap = end - began
		found = append(found, o)
	}
	return found
}

// Longest is the outage with the longest gap, of any flow; false without one.
func (r Report) Longest() (Outage, bool) {
	if len(r.Outages) == 0 {
		return Outage{}, false
	}
	return slices.MaxFunc(r.Outages, func(a, b Outage) int { return cmp.Compare(a.Gap, b.Gap) }), true
}

// String is the account in one line.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: sent %d, lost %d", r.Name, r.Sent, r.Lost)
	if o, ok := r.Longest(); ok {
		fmt.Fprintf(&b, ", longest gap %s", o.Gap.Round(time.Millisecond))
	}
	if r.Duplicates > 0 {
		fmt.Fprintf(&b, ", %d duplicates", r.Duplicates)
	}
	for _, no := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(&b, ", %d times %s", r.Errors[no], no.Error())
	}
	if r.SinkDrops > 0 {
		fmt.Fprintf(&b, ", %d dropped by the receiver itself", r.SinkDrops)
	}
	return b.String()
}
