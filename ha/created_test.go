package ha

import (
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// Polls are a second apart and a handshake takes milliseconds: the first poll
// of a new peer finds it done. It must not have to wait for the next one.
func TestHandshakeOfAPeerThatWasJustMadeIsNew(t *testing.T) {
	s := site("a", 1, "10.1.0.0/16")
	s.Checks = heartbeatSite().Checks
	for _, made := range []bool{true, false} {
		w := &world{t: t, now: epoch, c: New(epoch, config(s))}
		p := w.c.Plan(w.now)
		a := wg.Applied{Device: "wg0", Gen: p.Gen, Index: 7}
		if made {
			a.Added = []wg.Key{s.Peer.Key}
		}
		w.step(WireGuardApplied{p, a})
		w.now = w.now.Add(time.Second)
		w.step(DeviceObserved{State: wg.DeviceState{Name: "wg0", Up: true, At: w.now, Peers: []wg.PeerState{
			{Key: s.Peer.Key, Handshake: 1, Rx: 124, Tx: 180},
		}}})
		want := Up
		if !made { // it may have happened at any time before we looked
			want = Down
		}
		if got := w.c.Sites(w.now, "a")[0].Judged; got.Verdict != want {
			t.Errorf("peer made by us %t: got %s %s, want %s", made, got.Verdict, got.Reason, want)
		}
	}
}
