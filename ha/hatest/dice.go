package hatest

import "time"

// dice are a source of chance that belongs to one thing of the world, so that
// leaving a fault out changes the luck of nothing that it does not touch.
type dice struct{ state uint64 }

// dice for the n-th thing of a kind.
func (s *Scenario) dice(kind string, n int) dice {
	d := dice{s.Seed}
	for i := range len(kind) {
		d.state = d.next() ^ uint64(kind[i])
	}
	d.state = d.next() ^ uint64(n)
	return d
}

// next is SplitMix64 (Steele, Lea, Flood 2014).
func (d *dice) next() uint64 {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below is a number from 0 to n-1.
func (d *dice) below(n int) int { return int(d.next() % uint64(n)) }

func (d *dice) oneIn(n int) bool { return d.below(n) == 0 }

// between is a time from a to just under b.
func (d *dice) between(a, b time.Duration) time.Duration {
	return a + time.Duration(d.next()%uint64(b-a))
}
