package probe

import (
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

// TestStrangersCanNotAnswer hands an open round replies that are wrong in one
// respect each, and then the right one.
func TestStrangersCanNotAnswer(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	far(t)
	var got []wg.ProbeResult
	e := New(Options{OnResult: func(r wg.ProbeResult) { got = append(got, r) }})
	l, err := newLoop(e)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	other := ping("other", "lo", "127.0.0.1")
	p := ping("p", "wg0", "10.7.0.77") // nobody is there
	p.Interval, p.Timeout = time.Hour, time.Hour
	l.set([]wg.Probe{other, p})
	o := l.byID["p"]
	l.begin(o, l.now())
	right := echo{o.slot, o.round, l.cookie(o.slot, o.round)}
	from := netip.MustParseAddr("10.7.0.77")
	reply := func(e echo) []byte {
		b := make([]byte, echoLen)
		putEcho(b, false, l.id, e)
		b[0] = icmp4EchoReply
		return ip4(1, from, b)
	}
	for _, c := range []struct {
		name string
		path *path
		from string
		e    echo
	}{
		{"other source", o.path, "10.7.0.2", right},
		{"other interface", l.byID["other"].path, "10.7.0.77", right},
		{"wrong cookie", o.path, "10.7.0.77", echo{right.slot, right.round, right.cookie + 1}},
		{"earlier round", o.path, "10.7.0.77", echo{right.slot, right.round - 1, l.cookie(right.slot, right.round-1)}},
		{"other probe", o.path, "10.7.0.77", echo{l.byID["other"].slot, right.round, right.cookie}},
		{"no such probe", o.path, "10.7.0.77", echo{999, right.round, right.cookie}},
	} {
		l.answered(c.path, reply(c.e), netip.MustParseAddr(c.from), l.now())
		if len(got) != 0 {
			t.Errorf("%s: got %+v, want the packet ignored", c.name, got)
			got = nil
		}
	}
	l.answered(o.path, reply(right), from, l.now())
	l.answered(o.path, reply(right), from, l.now()) // a duplicate
	if len(got) != 1 || !got[0].OK {
		t.Errorf("got %+v, want one answer", got)
	}
}

// TestStalledProcessDoesNotInventLoss lets the process miss the deadline of a
// round whose answer is there in time.
func TestStalledProcessDoesNotInventLoss(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	far(t)
	var got []wg.ProbeResult
	e := New(Options{OnResult: func(r wg.ProbeResult) { got = append(got, r) }})
	l, err := newLoop(e)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	p := ping("p", "wg0", "10.7.0.2")
	p.Interval = time.Hour
	l.set([]wg.Probe{p})
	o := l.byID["p"]
	for range 5 { // on a busy machine the far end may be late indeed
		got = nil
		l.begin(o, l.now())
		l.flush()
		time.Sleep(2 * allowed) // the stall
		if err := l.expire(); err != nil {
			t.Fatal(err)
		}
		if len(got) == 1 && got[0].OK {
			break
		}
	}
	if len(got) != 1 || !got[0].OK || got[0].RTT > allowed/2 {
		t.Errorf("got %+v, want an answer with the time it took", got)
	}
	if age := time.Since(got[0].At); age < 2*allowed-allowed/2 {
		t.Errorf("the result is dated %s ago, want when the answer arrived: %s ago", age, 2*allowed)
	}

	// An answer that is late is late even if we are later.
	got = nil
	l.begin(o, l.now())
	l.flush()
	b := make([]byte, echoLen)
	putEcho(b, false, l.id, echo{o.slot, o.round, l.cookie(o.slot, o.round)})
	b[0] = icmp4EchoReply
	l.answered(o.path, ip4(1, p.Target, b), p.Target, o.sent+allowed+1)
	if len(got) != 1 || got[0].OK || got[0].Reason != reasonTimeout {
		t.Errorf("got %+v, want a timeout", got)
	}
}
