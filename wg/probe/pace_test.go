package probe

import (
	"fmt"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// TestRhythmOfThousandsMayChangeAtOnce changes only the interval: nothing is
// started anew, and neither direction makes a burst.
func TestRhythmOfThousandsMayChangeAtOnce(t *testing.T) {
	l, err := newLoop(New(Options{}))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	const n = 5000
	set := func(interval time.Duration) {
		var probes []wg.Probe
		for i := range n {
			p := heartbeat(fmt.Sprintf("site%04d/heartbeat", i), "wg0", "10.7.0.2")
			p.Site, p.Interval, p.Timeout = fmt.Sprintf("site%04d", i), interval, 5*time.Second
			probes = append(probes, p)
		}
		l.set(probes)
	}
	// due counts the rounds that begin between two moments from now on.
	due := func(from, to time.Duration) (k int) {
		now := l.now()
		for _, x := range l.timers {
			if x.when > now+from && x.when <= now+to {
				k++
			}
		}
		return k
	}
	set(5 * time.Second)
	first := l.byID["site0000/heartbeat"]
	set(120 * time.Second)
	if k := due(0, 12*time.Second); k < n/20 || k > n/5 {
		t.Errorf("every 120 s: %d of %d begin within 12 s, want about a tenth", k, n)
	}
	if k := due(-time.Minute, 121*time.Second); k != n {
		t.Errorf("every 120 s: %d of %d begin within 121 s, want all", k, n)
	}
	set(5 * time.Second)
	if k := due(-time.Minute, firstWithin+2*tick); k != n {
		t.Errorf("every 5 s again: %d of %d begin within %s, want all", k, n, firstWithin)
	}
	if k := due(0, firstWithin/5); k > n/3 {
		t.Errorf("every 5 s again: %d of %d begin within %s, want them spread", k, n, firstWithin/5)
	}
	if l.byID["site0000/heartbeat"] != first || len(l.byID) != n || len(l.timers) != n {
		t.Errorf("a probe was started anew: %d probes, %d timers, want %d", len(l.byID), len(l.timers), n)
	}
}
