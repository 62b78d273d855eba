package speaker

import (
	"fmt"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// watchful is a recorder that notes whether the session still counted as up when
// the withdrawal of a path was told.
type watchful struct {
	*recorder
	s       *Speaker
	whileUp chan bool
}

func (w *watchful) Paths(cs []bgp.PathChange) {
	if cs[0].Withdrawn {
		w.s.mu.Lock()
		up := w.s.byName[cs[0].Path.Neighbor].up
		w.s.mu.Unlock()
		select {
		case w.whileUp <- up:
		default:
		}
	}
	w.recorder.Paths(cs)
}

// GoBGP drops a table path by path before it says that its session ended; that
// must not be waited for. This is also the proof that it logs what losing goes by.
func TestPathsOfALostSessionAreTakenBackBeforeGoBGPHasDroppedThem(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	const paths = 20_000
	w := &watchful{recorder: newRecorder(), whileUp: make(chan bool, 1)}
	s, _ := start(t, Config{Sink: w})
	w.s = s
	apply(t, s, []bgp.Neighbor{neighbor("n", "127.0.0.2", 65101, "")}, nil)
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
	var batch []string
	for i := range paths {
		batch = append(batch, fmt.Sprintf("20.%d.%d.0/24", i>>8, i&255))
		if len(batch) == 500 {
			p.update(t, []uint32{65101}, "127.0.0.2", batch...)
			batch = batch[:0]
		}
	}
	nstest.Eventually(t, 20*time.Second, func() error {
		if in, _ := s.AdjIn("n"); len(in) != paths {
			return fmt.Errorf("learned %d of %d", len(in), paths)
		}
		return nil
	})
	_ = p.conn.Close()
	select {
	case up := <-w.whileUp:
		if !up {
			t.Error("the paths were taken back only when GoBGP had told the end of the session")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the paths were not taken back")
	}
	nstest.Eventually(t, 20*time.Second, func() error {
		if st := w.state("n"); st.Reason != "connection-lost" || st.State == bgp.StateEstablished || st.Accepted != 0 {
			return fmt.Errorf("got %s with %d paths, reason %q, want down for connection-lost", st.State, st.Accepted, st.Reason)
		}
		return nil
	})
	w.has(t)
	again := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
	again.update(t, []uint32{65101}, "127.0.0.2", "192.168.0.0/24")
	w.has(t, "n 192.168.0.0/24")
}
