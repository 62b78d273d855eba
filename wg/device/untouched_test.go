package device

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

// recording remembers what is written to a device.
type recording struct {
	backend
	calls [][]wg.Op
}

func (r *recording) apply(ops []wg.Op) error {
	r.calls = append(r.calls, slices.Clone(ops))
	return r.backend.apply(ops)
}

func (l *lab) record() *recording {
	d := l.m.existing("gw0")
	d.lock()
	defer d.unlock()
	r := &recording{backend: d.be}
	d.be = r
	return r
}

// TestOneOfManyPeersTouchesNoOther adds and removes one peer among a thousand,
// one of which is in use, and looks at what was written and at everybody else.
func TestOneOfManyPeersTouchesNoOther(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	s := l.newSite(1)
	many := manyPeers(1001)
	for i := range many {
		many[i].Endpoint = wg.Endpoint{} // else each tries to find its peer meanwhile
	}
	extra := many[300]
	others := append(slices.Delete(slices.Clone(many), 300, 301), s.peer)
	l.must(true, others...)
	l.up(s)
	r := l.record()
	before := l.observe().Peers
	check := func(what string, want [][]wg.Op) {
		t.Helper()
		if fmt.Sprint(r.calls) != fmt.Sprint(want) {
			t.Errorf("%s: got written %v, want %v", what, r.calls, want)
		}
		r.calls = nil
		after := slices.DeleteFunc(l.observe().Peers, func(p wg.PeerState) bool { return p.Key == extra.Key })
		if !slices.EqualFunc(before, after, func(a, b wg.PeerState) bool {
			return a.Key == b.Key && a.Endpoint == b.Endpoint && a.Handshake == b.Handshake && a.Rx == b.Rx && a.Tx == b.Tx
		}) {
			t.Errorf("%s: another peer changed", what)
		}
	}
	l.must(true, append(others, extra)...)
	check("one more", [][]wg.Op{{{Kind: wg.OpAddPeer, Peer: extra.Key}, {Kind: wg.OpMovePrefix, Peer: extra.Key, Prefix: extra.AllowedIPs[0]}}})
	l.must(true, append(others, extra)...)
	check("the same again", nil)
	l.must(true, others...)
	check("one less", [][]wg.Op{{{Kind: wg.OpDelPeer, Peer: extra.Key}}})
	l.up(s)
}

// TestObservingAllocatesLittle counts allocations of one reading, where time
// would say nothing on a busy machine. Most are wireguard-go's own, which prints
// its answer; the kernel's dump is read into one growing slice.
func TestObservingAllocatesLittle(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	const n = 1000
	l.must(true, manyPeers(n)...)
	got := testing.AllocsPerRun(10, func() {
		if _, err := l.m.Observe(context.Background(), "gw0"); err != nil {
			t.Fatal(err)
		}
	})
	limit := 6.0 * n
	if forced() == wg.BackendKernel {
		limit = .2 * n
	}
	t.Logf("%.0f allocations for %d peers", got, n)
	if got > limit {
		t.Errorf("want at most %.0f", limit)
	}
}
