package ha

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

var parisAt = netip.MustParseAddrPort("198.51.100.7:4711")

// heir is host b of a fleet with one private key; a has the sites.
type heir struct {
	*world
	keys    []wg.Key
	heard   map[wg.Key]time.Time // by a
	polled  time.Time
	backend wg.Backend
	rx      map[wg.Key]uint64 // at b
}

func newHeir(t *testing.T, sites int, others ...string) *heir {
	h := &heir{heard: map[wg.Key]time.Time{}, rx: map[wg.Key]uint64{}, backend: wg.BackendUserspace}
	var all []Site
	for i := range sites {
		s := site(fmt.Sprintf("s%03d", i), i+1, fmt.Sprintf("10.%d.0.0/16", i+1))
		s.Roams, s.Neighbor = true, ""
		s.Checks = []Check{{Name: "probe", Kind: CheckProbe, Rise: 1, Fall: 1, Probe: wg.Probe{ID: s.Name + "/probe", Kind: wg.ProbeICMP, Interval: time.Second}}}
		all, h.keys = append(all, s), append(h.keys, s.Peer.Key)
	}
	cfg := config(all...)
	cfg.Devices[0].SharedKey = true
	for _, n := range append([]string{"a"}, others...) {
		cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{Name: n, Kind: bgp.KindFleet, Group: "fleet", IPv4: true, Export: true})
		cfg.BFD = append(cfg.BFD, bgp.BFDSession{Name: n})
	}
	h.world = newWorld(t, cfg)
	for _, n := range append([]string{"a"}, others...) {
		h.session(n, true)
		h.bfd(n, bfdUp)
	}
	for i, k := range h.keys {
		h.heard[k] = h.now.Add(-time.Duration(i) * time.Second)
	}
	h.polled = h.now
	h.say("a", false)
	h.look()
	return h
}

func where(i int) netip.AddrPort {
	return netip.AddrPortFrom(parisAt.Addr(), parisAt.Port()+uint16(i))
}

// say is what another host tells.
func (h *heir) say(host string, silent bool) {
	r := wg.Roster{Host: host, Device: "wg0", Polled: h.polled, Silent: silent}
	if host == "a" {
		for i, k := range h.keys {
			r.Peers = append(r.Peers, wg.Whereabouts{Key: k, Endpoint: where(i), Heard: h.heard[k]})
		}
	}
	slices.SortFunc(r.Peers, func(x, y wg.Whereabouts) int { return x.Key.Compare(y.Key) })
	h.step(RosterHeard{&r})
}

// look reads b's own interface.
func (h *heir) look() {
	s := wg.DeviceState{Name: "wg0", Up: true, Backend: h.backend, At: h.now}
	for _, k := range h.keys {
		p := wg.PeerState{Key: k, Rx: h.rx[k]}
		if h.rx[k] > 0 {
			p.Handshake = 1
		}
		s.Peers = append(s.Peers, p)
	}
	slices.SortFunc(s.Peers, func(x, y wg.PeerState) int { return x.Key.Compare(y.Key) })
	h.step(DeviceObserved{State: s})
}

func (h *heir) sight(i int, from netip.AddrPort) {
	h.step(PeerSighted{Device: "wg0", Key: h.keys[i], From: from})
}

// greeted is whom the plan greets, with the endpoint's port.
func (h *heir) greeted() []wg.Greeting { return h.c.Plan(h.now).Greetings }

func (h *heir) want(what string, n int) []wg.Greeting {
	h.t.Helper()
	got := h.greeted()
	if len(got) != n {
		h.t.Errorf("%s: %d greetings, want %d: %+v", what, len(got), n, got)
	}
	return got
}

func TestPeersOfADeadHostAreGreetedThoseHeardLastFirst(t *testing.T) {
	h := newHeir(t, 3)
	h.want("before", 0)
	h.bfd("a", bfdFailed)
	if !h.c.Urgent() {
		t.Error("the death of a host is not urgent")
	}
	for i, g := range h.want("after the death of a", 3) {
		want := wg.Greeting{Device: "wg0", Key: h.keys[i], Endpoint: where(i), Why: GreetTakeover, Try: 1}
		if g != want {
			t.Errorf("greeting %d: got %+v, want %+v", i, g, want)
		}
	}
}

func TestGreetingIsTriedAgainMoreAndMoreRarelyAndEnds(t *testing.T) {
	h := newHeir(t, 1)
	h.bfd("a", bfdFailed)
	died := h.now
	var tries []time.Duration
	last := uint64(0)
	for h.now.Sub(died) < 20*time.Second {
		for _, g := range h.greeted() {
			if g.Try != last {
				last = g.Try
				tries = append(tries, h.now.Sub(died))
			}
		}
		h.now = h.now.Add(50 * time.Millisecond)
	}
	want := []time.Duration{0, 250, 750, 1750, 3750, 7750}
	for i := range want {
		want[i] *= time.Millisecond
	}
	if !slices.Equal(tries, want) {
		t.Errorf("tries: got %v, want %v", tries, want)
	}
	h.want("after 20 s", 0)
}

func TestPeerThatIsHeardIsGreetedNoMore(t *testing.T) {
	h := newHeir(t, 2)
	h.bfd("a", bfdFailed)
	h.want("dead", 2)
	h.now = h.now.Add(time.Second)
	h.rx[h.keys[0]] = 100
	h.look()
	if g := h.want("the first answered", 1); len(g) == 1 && g[0].Key != h.keys[1] {
		t.Errorf("greeted is the one that answered")
	}
}

func TestPeerThatHasASessionHereIsNotGreeted(t *testing.T) {
	h := newHeir(t, 1)
	h.now = h.now.Add(5 * time.Second)
	h.rx[h.keys[0]] = 100
	h.look()
	h.bfd("a", bfdFailed)
	h.want("heard here later than by the dead host", 0)
	h.sight(0, where(0))
	h.want("its packets", 0)
}

// Several hosts that greet would take the peer from each other.
func TestOfSeveralHeirsNoneGreetsBeforePacketsArrive(t *testing.T) {
	h := newHeir(t, 1, "c")
	h.say("c", false)
	h.bfd("a", bfdFailed)
	h.want("c may follow too", 0)
	h.sight(0, where(0))
	if g := h.want("its packets arrive here", 1); len(g) == 1 && g[0].Why != GreetSighted {
		t.Errorf("reason: got %s", g[0].Why)
	}
}

func TestHostWhoseOtherHeirIsSilentGreets(t *testing.T) {
	h := newHeir(t, 1, "c")
	h.say("c", true)
	h.bfd("a", bfdFailed)
	h.want("c is silent", 1)
}

func TestPacketsOfAPeerWhoseHostFellSilentAreEnough(t *testing.T) {
	h := newHeir(t, 1)
	h.say("a", true) // BFD and BGP know nothing yet
	h.want("silent", 0)
	h.sight(0, where(0))
	h.want("its packets arrive", 1)
}

func TestSpoofedPacketWinsNothingWhileTheHostHearsThePeer(t *testing.T) {
	h := newHeir(t, 1)
	for range 40 {
		h.now = h.now.Add(250 * time.Millisecond)
		if h.now.Nanosecond() == 0 {
			h.heard[h.keys[0]], h.polled = h.now, h.now
			h.say("a", false)
		}
		h.sight(0, where(0))
		h.want("a hears it at each poll", 0)
		if t.Failed() {
			return
		}
	}
}

func TestPeerThatLeftALivingHostIsGreetedWhenThatHearsItNoMore(t *testing.T) {
	h := newHeir(t, 1)
	h.heard[h.keys[0]] = h.now
	var took time.Duration
	for moved := h.now; ; h.now = h.now.Add(250 * time.Millisecond) {
		if (h.now.Sub(moved)+500*time.Millisecond)%time.Second == 0 { // the first poll still heard it
			h.polled = h.now
			if h.now.Sub(moved) < time.Second {
				h.heard[h.keys[0]] = h.now
			}
			h.say("a", false)
		}
		h.sight(0, where(0))
		if took = h.now.Sub(moved); len(h.greeted()) > 0 || took > 10*time.Second {
			break
		}
	}
	if took < time.Second || took > 2500*time.Millisecond {
		t.Errorf("greeted %v after it moved, want after a poll that did not hear it", took)
	}
}

func TestPacketsFromElsewhereOrOfStrangersAreNothing(t *testing.T) {
	h := newHeir(t, 2)
	h.say("a", true)
	h.sight(0, where(1))
	h.sight(0, netip.MustParseAddrPort("203.0.113.9:4711"))
	h.step(PeerSighted{Device: "wg0", Key: wg.Key{99}, From: where(0)})
	h.step(PeerSighted{Device: "wg9", Key: h.keys[0], From: where(0)})
	h.want("none of them", 0)
}

func TestKernelIsNotAskedBeforeTheAddressMayHaveMoved(t *testing.T) {
	h := newHeir(t, 1)
	h.backend = wg.BackendKernel
	h.look()
	h.bfd("a", bfdFailed)
	h.want("at once", 0)
	due := h.c.Due()
	if due.Sub(h.now) != kernelPatience {
		t.Errorf("due in %v, want %v", due.Sub(h.now), kernelPatience)
	}
	h.sight(0, where(0))
	h.want("its packets arrive", 1)
}

func TestDrainingHostGreetsNobody(t *testing.T) {
	h := newHeir(t, 1)
	h.step(Draining{DrainPrefer})
	h.say("a", true)
	h.sight(0, where(0))
	h.want("draining", 0)
}

func TestWhatWasKnownSurvivesAReload(t *testing.T) {
	h := newHeir(t, 1)
	h.c.Reconfigure(h.now, h.c.Config())
	h.look()
	h.bfd("a", bfdFailed)
	h.want("after the reload", 1)
	h.c.Reconfigure(h.now, h.c.Config())
	h.want("after a reload in between", 1)
}

func TestParkedPeerIsTakenFromTheParkForItsGreeting(t *testing.T) {
	r := newRoamer(t, true)
	r.c.cfg.Devices[0].SharedKey = true
	r.pass(30, true)
	if p := r.pass(20, false); p.Endpoint != parked {
		t.Fatal("it was not let go")
	}
	r.step(RosterHeard{&wg.Roster{Host: "a", Device: "wg0", Silent: true, Peers: []wg.Whereabouts{{Key: r.peer.Key, Endpoint: parisAt, Heard: r.now}}}})
	r.step(PeerSighted{Device: "wg0", Key: r.peer.Key, From: parisAt})
	p := r.settle()
	if len(p.Greetings) != 1 || p.Devices[0].Peers[0].Endpoint == parked {
		t.Errorf("greetings %+v, endpoint %v: want one, and not that of the park", p.Greetings, p.Devices[0].Peers[0].Endpoint)
	}
	r.peer.Endpoint = parisAt
	r.want("silent while it is greeted", r.pass(8, false), false)
}
