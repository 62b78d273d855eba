package ha

import (
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// roamer is a core with one site whose key other hosts have too. It reads the
// interface once a second and sends heartbeats as the plan says.
type roamer struct {
	*world
	peer  wg.PeerState
	beats []time.Time
	quiet bool // no heartbeat is sent
}

func newRoamer(t *testing.T, roams bool) *roamer {
	s := site("a", 1, "10.1.0.0/16")
	s.Neighbor, s.Roams = "", roams
	s.Checks = []Check{{Name: "heartbeat", Kind: CheckHeartbeat, Rise: 1, Fall: 1, Probe: wg.Probe{ID: "a/heartbeat", Kind: wg.ProbeHeartbeat, Interval: 5 * time.Second}}}
	r := &roamer{world: newWorld(t, config(s))}
	r.peer = wg.PeerState{Key: s.Peer.Key, Endpoint: netip.MustParseAddrPort("198.51.100.7:4711"), Handshake: 1, Rx: 1000, Tx: 1000}
	return r
}

// pass lets seconds go by; every second of which the peer is heard or is not.
// What the plan says of the peer's endpoint is done, as WireGuard would.
func (r *roamer) pass(seconds int, heard bool) wg.Peer {
	r.t.Helper()
	var p wg.Peer
	for range seconds {
		r.now = r.now.Add(time.Second)
		if every := r.beatEvery(); every > 0 && !r.quiet && (len(r.beats) == 0 || r.now.Sub(r.beats[len(r.beats)-1]) >= every) {
			r.beats = append(r.beats, r.now)
			r.step(ProbeObserved{wg.ProbeResult{ID: "a/heartbeat", At: r.now, OK: true}})
		}
		r.peer.Tx += 100
		if heard {
			r.peer.Rx += 100
			r.peer.Endpoint = netip.MustParseAddrPort("198.51.100.7:4711")
		}
		r.step(DeviceObserved{State: wg.DeviceState{Name: "wg0", Up: true, At: r.now, Peers: []wg.PeerState{r.peer}}})
		p = r.settle().Devices[0].Peers[0]
		if p.Endpoint == parked && p.Dead {
			r.peer.Endpoint = wg.Parked
		}
	}
	return p
}

// beatEvery is the interval of the heartbeat in the plan, 0: none.
func (r *roamer) beatEvery() time.Duration {
	for _, p := range r.c.Plan(r.now).Probes {
		if p.Kind == wg.ProbeHeartbeat {
			return p.Interval
		}
	}
	return 0
}

func (r *roamer) want(what string, p wg.Peer, let bool) {
	r.t.Helper()
	if got := p.Endpoint == parked; got != let || (let && !p.Dead) {
		r.t.Errorf("%s: let go: got %v (endpoint %v, dead %v), want %v", what, got, p.Endpoint, p.Dead, let)
	}
}

func TestRoamingSiteThatIsSilentIsLetGoInTime(t *testing.T) {
	r := newRoamer(t, true)
	r.want("heard", r.pass(30, true), false)
	r.want("silent for 11 s, as under the heartbeat", r.pass(11, false), false)
	r.want("silent for 14 s, a second before WireGuard asks", r.pass(3, false), true)
	r.want("silent for a minute", r.pass(60, false), true)
	r.want("heard again", r.pass(1, true), false)
}

func TestRoamingSiteIsNotLetGoWithoutHeartbeats(t *testing.T) {
	r := newRoamer(t, true)
	r.pass(30, true)
	r.quiet = true
	r.want("nothing was sent for a minute, so silence is no answer", r.pass(60, false), false)
}

func TestOrdinarySiteIsNeverLetGo(t *testing.T) {
	r := newRoamer(t, false)
	r.pass(30, true)
	p := r.pass(60, false)
	r.want("silent for a minute", p, false)
	if !p.Dead {
		t.Error("silent for a minute: the peer is not dead, so that its endpoint is never resolved again")
	}
}
