package ha

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

func (r *roamer) wantBeat(when string, want time.Duration) {
	r.t.Helper()
	if got := r.beatEvery(); got != want {
		r.t.Errorf("%s: heartbeat every %s, want %s (0: none)", when, got, want)
	}
}

func (r *roamer) verdict() Judgement { return r.c.siteByName["a"].judged }

func TestPeerOfUnknownAddressGetsNoHeartbeat(t *testing.T) {
	r := newRoamer(t, false)
	r.wantBeat("nothing is known yet", 0)
	known := r.peer
	r.peer = wg.PeerState{Key: known.Key}
	r.pass(60, false)
	r.wantBeat("never heard of", 0)
	if j := r.verdict(); j.Verdict != Down || j.Reason != ReasonHandshake {
		t.Errorf("never heard of: got %s %s, want down for want of a handshake", j.Verdict, j.Reason)
	}
	r.peer = known
	r.peer.Handshake = 2
	r.pass(1, true)
	r.wantBeat("dialled us", 5*time.Second)
	if j := r.verdict(); j.Verdict != Up {
		t.Errorf("dialled us: got %s %s %s, want up", j.Verdict, j.Reason, j.Detail)
	}
}

func TestConfiguredEndpointIsAskedFromTheStart(t *testing.T) {
	r := newRoamer(t, false)
	r.peer = wg.PeerState{Key: r.peer.Key, Endpoint: r.peer.Endpoint}
	r.pass(1, false)
	r.wantBeat("never heard, endpoint configured", 5*time.Second)
	r.pass(60, false)
	r.wantBeat("never heard for a minute", deadEvery)
}

// TestDeadPeerGetsFewHeartbeats also shows that the pace changes neither the
// time after which silence is a death nor the word for it.
func TestDeadPeerGetsFewHeartbeats(t *testing.T) {
	r := newRoamer(t, false)
	r.pass(30, true)
	r.wantBeat("heard", 5*time.Second)
	for s := 1; ; s++ {
		r.pass(1, false)
		if j := r.verdict(); j.Verdict == Down {
			if s < 22 || s > 23 || j.Reason != ReasonRxStall {
				t.Errorf("silent: %s %s after %d s, want %s after 22", j.Verdict, j.Reason, s, ReasonRxStall)
			}
			break
		}
		r.wantBeat(fmt.Sprintf("silent for %d s", s), 5*time.Second)
	}
	r.wantBeat("dead", deadEvery)
	before := len(r.beats)
	r.pass(1200, false)
	if n := len(r.beats) - before; n < 9 || n > 11 {
		t.Errorf("dead for 20 minutes: %d heartbeats, want 10", n)
	}
	r.peer.Handshake++
	r.pass(1, true)
	r.wantBeat("back", 5*time.Second)
	if j := r.verdict(); j.Verdict != Up {
		t.Errorf("back: got %s %s, want up at once", j.Verdict, j.Reason)
	}
	r.pass(7, true)
	if last := r.beats[len(r.beats)-1]; r.now.Sub(last) > 5*time.Second {
		t.Errorf("back for 8 s: last heartbeat %s ago", r.now.Sub(last))
	}
}

// TestSiteThatIsDownButNotSilentIsAskedOn is one whose death is concluded from
// something else: its heartbeat check must be able to fall by what it asked.
func TestSiteThatIsDownButNotSilentIsAskedOn(t *testing.T) {
	r := newRoamer(t, false)
	r.c.siteByName["a"].health.list = append(r.c.siteByName["a"].health.list,
		newCheck(r.c.siteByName["a"].cfg, Check{Name: "bgp", Kind: CheckBGP, Rise: 1, Fall: 1}))
	r.pass(30, true)
	if j := r.verdict(); j.Verdict != Down {
		t.Fatalf("no session: got %s, want down", j.Verdict)
	}
	for s := range 21 {
		r.pass(1, false)
		r.wantBeat(fmt.Sprintf("down, silent for %d s", s+1), 5*time.Second)
	}
	r.pass(2, false)
	r.wantBeat("down, silent for 23 s", deadEvery)
	if j := r.verdict(); j.Reason != ReasonRxStall {
		t.Errorf("silent: got %s, want %s", j.Reason, ReasonRxStall)
	}
}

func TestParkedPeerGetsNoHeartbeatAndStaysParked(t *testing.T) {
	r := newRoamer(t, true)
	r.pass(30, true)
	r.want("silent for an hour", r.pass(3600, false), true)
	r.wantBeat("silent for an hour", 0)
	r.want("heard again", r.pass(1, true), false)
	r.wantBeat("heard again", 5*time.Second)
}

func TestHeartbeatsToManyDeadPeersAreBounded(t *testing.T) {
	for _, n := range []int{10, 2400, 3000, 10000} {
		var sites []Site
		st := wg.DeviceState{Name: "wg0", Up: true}
		for i := range n {
			s := site(fmt.Sprintf("site%05d", i), i+1)
			s.Neighbor = ""
			s.Checks = []Check{{Name: "heartbeat", Kind: CheckHeartbeat, Rise: 1, Fall: 1, Probe: wg.Probe{ID: s.Name + "/heartbeat", Kind: wg.ProbeHeartbeat, Interval: 5 * time.Second}}}
			sites = append(sites, s)
		}
		w := newWorld(t, config(sites...))
		for _, s := range w.c.devices["wg0"].sites {
			st.Peers = append(st.Peers, wg.PeerState{Key: s.cfg.Peer.Key, Endpoint: netip.MustParseAddrPort("192.0.2.1:1")})
		}
		for range 30 {
			w.now = w.now.Add(time.Second)
			w.step(DeviceObserved{State: st})
		}
		rate, probes := 0.0, w.c.Plan(w.now).Probes
		for _, p := range probes {
			rate += 1 / p.Interval.Seconds()
		}
		if len(probes) != n || rate > deadPerSecond+.001 || probes[0].Interval < deadEvery {
			t.Errorf("%d dead: %d probes, %.1f per second, every %s; want all, at most %d per second and each at most every %s",
				n, len(probes), rate, probes[0].Interval, deadPerSecond, deadEvery)
		}
	}
}
