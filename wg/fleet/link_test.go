package fleet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// end is one of two hosts that talk.
type end struct {
	*link
	book book
	rx   map[wg.Key]uint64
	at   map[wg.Key]netip.AddrPort
	n    uint64
}

func newEnd(now time.Time) *end {
	return &end{link: newLink(now), rx: map[wg.Key]uint64{}, at: map[wg.Key]netip.AddrPort{}}
}

// poll lets the host look at its peers.
func (e *end) poll(now time.Time) {
	s := wg.DeviceState{Name: "wg0", At: now}
	for k, at := range e.at {
		s.Peers = append(s.Peers, wg.PeerState{Key: k, Endpoint: at, Handshake: 1, Rx: e.rx[k]})
	}
	slices.SortFunc(s.Peers, func(a, b wg.PeerState) int { return a.Key.Compare(b.Key) })
	e.n++
	e.book.observe(&s, e.n)
}

// hear lets a peer send from an address.
func (e *end) hear(k wg.Key, at string) {
	e.at[k] = netip.MustParseAddrPort(at)
	e.rx[k] += 100
}

func key(i int) (k wg.Key) {
	binary.BigEndian.PutUint32(k[:], uint32(i)+1)
	return k
}

// world is two hosts and what is between them.
type world struct {
	t    *testing.T
	now  time.Time
	a, b *end
	drop func(packet int) bool
	sent int
	log  [][]byte // what a sent
}

func newWorld(t *testing.T) *world {
	return &world{t: t, now: start, a: newEnd(start), b: newEnd(start.Add(time.Millisecond)), drop: func(int) bool { return false }}
}

// run passes time; the hosts poll once a second.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(beatEvery) {
		if w.now.Sub(start)%time.Second == 0 {
			w.a.poll(w.now)
			w.b.poll(w.now)
		}
		ab := w.a.tick(w.now, &w.a.book)
		w.log = append(w.log, ab...)
		w.carry(w.b, ab)
		w.carry(w.a, w.b.tick(w.now, &w.b.book))
	}
}

func (w *world) carry(to *end, packets [][]byte) {
	w.t.Helper()
	for _, p := range packets {
		if len(p) > headerLen+maxBody {
			w.t.Errorf("a message of %d bytes", len(p))
		}
		if w.sent++; w.drop(w.sent) {
			continue
		}
		if err := to.receive(w.now.Add(2*time.Millisecond), p, to.book.version); err != nil {
			w.t.Errorf("receive: %v", err)
		}
	}
}

func (w *world) knows(k wg.Key, want string) {
	w.t.Helper()
	r := w.b.roster(w.now, "a", "wg0")
	got := r.Find(k).Endpoint
	if want == "" && got.IsValid() || want != "" && got != netip.MustParseAddrPort(want) {
		w.t.Errorf("where peer %d is: got %v, want %q", k[3], got, want)
	}
}

func TestTheOtherHostLearnsWhereAPeerWasHeard(t *testing.T) {
	w := newWorld(t)
	for i, at := range []string{"192.0.2.1:1000", "[2001:db8::1]:2000"} {
		k := key(i)
		w.a.hear(k, at)
		w.run(2 * time.Second)
		w.knows(k, "") // a counter that did not grow while we look is no sign of life
		w.a.hear(k, at)
		w.run(2 * time.Second)
		w.knows(k, at)
	}
	w.a.hear(key(0), "192.0.2.9:9000")
	w.run(2 * time.Second)
	w.knows(key(0), "192.0.2.9:9000")
}

func TestParkedAndSilentPeersStayWhereTheyWere(t *testing.T) {
	w := newWorld(t)
	k := key(1)
	for range 2 {
		w.a.hear(k, "192.0.2.1:1000")
		w.run(time.Second)
	}
	heard := w.now
	w.a.at[k] = wg.Parked
	w.run(20 * time.Second)
	w.knows(k, "192.0.2.1:1000")
	r := w.b.roster(w.now, "a", "wg0")
	if got := r.Find(k).Heard; heard.Sub(got) > 2*time.Second || got.After(heard) {
		t.Errorf("heard: got %v before the peer fell silent, want at most a poll", heard.Sub(got))
	}
	if age := w.now.Sub(r.Polled); age > 1500*time.Millisecond {
		t.Errorf("polled %v ago, want at most a poll and a beat", age)
	}
	delete(w.a.at, k)
	w.run(2 * time.Second)
	w.knows(k, "")
}

func TestEachPollTellsWhoWasHeard(t *testing.T) {
	w := newWorld(t)
	talks, rests := key(1), key(2)
	for range 6 {
		w.a.hear(talks, "192.0.2.1:1000")
		if w.now.Sub(start) < 2*time.Second {
			w.a.hear(rests, "192.0.2.2:1000")
		}
		w.run(time.Second)
	}
	r := w.b.roster(w.now, "a", "wg0")
	if gap := r.Polled.Sub(r.Find(talks).Heard); gap > beatEvery {
		t.Errorf("a peer that sends: heard %v before the last poll, want in it", gap)
	}
	if gap := r.Polled.Sub(r.Find(rests).Heard); gap < 3*time.Second {
		t.Errorf("a peer that rests since 4 s: heard %v before the last poll, want longer", gap)
	}
}

func TestLostPacketsAreToldAgain(t *testing.T) {
	for _, n := range []int{2, 3, 7} {
		t.Run(fmt.Sprintf("one in %d arrives", n), func(t *testing.T) {
			w := newWorld(t)
			w.drop = func(i int) bool { return i%n != 0 }
			const peers = 300
			for range 2 {
				for i := range peers {
					w.a.hear(key(i), fmt.Sprintf("192.0.2.%d:%d", 1+i%200, 1000+i))
				}
				w.run(time.Second)
			}
			w.run(40 * time.Second)
			w.drop = func(int) bool { return false }
			w.run(2 * time.Second)
			for i := range peers {
				w.knows(key(i), fmt.Sprintf("192.0.2.%d:%d", 1+i%200, 1000+i))
			}
		})
	}
}

func TestTenThousandPeersAreToldWithinFourSeconds(t *testing.T) {
	w := newWorld(t)
	const peers = 10000
	for range 2 {
		for i := range peers {
			w.a.hear(key(i), fmt.Sprintf("[2001:db8::%x]:%d", i, 1000+i))
		}
		w.run(time.Second)
	}
	w.run(4 * time.Second)
	if got := len(w.b.known); got != peers {
		t.Errorf("known: got %d, want %d", got, peers)
	}
	before := 0
	for _, p := range w.log {
		before += len(p)
	}
	w.log = nil
	w.run(10 * time.Second)
	idle := 0
	for _, p := range w.log {
		idle += len(p)
	}
	t.Logf("figure: kick 10,000 peers: %d KB to tell them all, then %.1f KB/s", before>>10, float64(idle)/10/1024)
	if before > 1<<20 || idle > 100<<10 {
		t.Errorf("%d bytes to tell them, %d in ten seconds after: want at most 1 MB and 100 KB", before, idle)
	}
}

func TestAHostThatRestartsIsToldEverythingAgain(t *testing.T) {
	w := newWorld(t)
	k := key(1)
	for range 2 {
		w.a.hear(k, "192.0.2.1:1000")
		w.run(time.Second)
	}
	w.run(2 * time.Second)
	w.b = newEnd(w.now)
	w.run(2 * time.Second)
	w.knows(k, "192.0.2.1:1000")
}

func TestWhatAHostSaidBeforeItsRestartIsKeptUntilItSaysOtherwise(t *testing.T) {
	w := newWorld(t)
	old, other := key(1), key(2)
	for range 2 {
		w.a.hear(old, "192.0.2.1:1000")
		w.run(time.Second)
	}
	w.run(time.Second)
	w.a = newEnd(w.now) // and numbers its peers anew
	for range 2 {
		w.a.hear(other, "192.0.2.2:2000")
		w.run(time.Second)
	}
	w.run(time.Second)
	w.knows(old, "192.0.2.1:1000")
	w.knows(other, "192.0.2.2:2000")
}

func TestRecordedMessagesChangeNothing(t *testing.T) {
	w := newWorld(t)
	k := key(1)
	hear := func(at string) {
		for range 2 {
			w.a.hear(k, at)
			w.run(time.Second)
		}
		w.run(time.Second)
	}
	hear("192.0.2.1:1000")
	recorded := slices.Clone(w.log)
	replay := func() {
		t.Helper()
		for _, p := range recorded {
			if err := w.b.receive(w.now, p, w.b.book.version); err != nil {
				t.Fatal(err)
			}
		}
	}
	hear("192.0.2.2:2000")
	replay()
	w.knows(k, "192.0.2.2:2000")

	w.a = newEnd(w.now)
	hear("192.0.2.3:3000")
	replay()
	w.knows(k, "192.0.2.3:3000")

	w.b = newEnd(w.now)
	replay() // to a host that knows nothing yet
	w.knows(k, "")
	for _, p := range w.log {
		if err := w.a.receive(w.now, p, w.a.book.version); err == nil {
			h, _, _ := parseHeader(p)
			if h.me == w.a.me {
				t.Fatal("a host believed its own message")
			}
		}
	}
}

func TestAHostWithoutPowerIsSilentWithinASecondAndAQuarter(t *testing.T) {
	w := newWorld(t)
	w.run(2 * time.Second)
	if w.b.silent(w.now) {
		t.Fatal("silent while it speaks")
	}
	last := w.now
	w.drop = func(int) bool { return true }
	for !w.b.silent(w.now) {
		w.run(beatEvery)
		if w.now.Sub(last) > 5*time.Second {
			t.Fatal("never silent")
		}
	}
	if d := w.now.Sub(last); d > silentAfter+beatEvery {
		t.Errorf("silent after %v, want at most %v", d, silentAfter+beatEvery)
	}
}

func TestSlotsOfPeersThatAreGoneAreUsedAgain(t *testing.T) {
	w := newWorld(t)
	for round := range 50 {
		w.a.at = map[wg.Key]netip.AddrPort{}
		for range 2 {
			for i := range 20 {
				w.a.hear(key(20*round+i), fmt.Sprintf("192.0.2.%d:%d", 1+i, 1000+round))
			}
			w.run(time.Second)
		}
	}
	w.run(time.Second)
	if n := len(w.a.book.slots); n > 40 {
		t.Errorf("%d slots for 20 peers at a time, want at most 40", n)
	}
	if n := len(w.b.known); n != 20 {
		t.Errorf("the other host knows %d peers, want 20", n)
	}
}
