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
