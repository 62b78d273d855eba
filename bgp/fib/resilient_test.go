package fib

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// flows sends packets of many UDP flows from the gateway and remembers at which
// host each flow arrived.
type flows struct {
	senders  []*net.UDPConn
	from, to *net.UDPAddr
	round    byte

	mu sync.Mutex
	at map[uint16]int // host by source port, in this round
}

const flowCount = 200

// newFlows gives all three hosts the same address and listens there.
func newFlows(t *testing.T, l *lab, six bool) *flows {
	t.Helper()
	to, from := "10.2.0.1", "10.255.0.1"
	if six {
		to, from = "2001:db8:2::1", "fd00:ff:0::1"
	}
	f := &flows{to: &net.UDPAddr{IP: net.ParseIP(to), Port: 9000}}
	for i, n := range []*nstest.NS{l.a, l.b, l.c} {
		addr := netip.MustParseAddr(to)
		n.Run(t, "ip", "addr", "add", netip.PrefixFrom(addr, addr.BitLen()).String(), "dev", "lo", "nodad")
		n.Do(t, func() {
			sink, err := net.ListenUDP("udp", f.to)
			if err != nil {
				t.Error(err)
				return
			}
			var ended sync.WaitGroup
			ended.Go(func() { f.receive(i, sink) })
			t.Cleanup(func() { _ = sink.Close(); ended.Wait() })
		})
	}
	f.from = &net.UDPAddr{IP: net.ParseIP(from)}
	return f
}

// renew makes all flows new ones.
func (f *flows) renew(t *testing.T) {
	t.Helper()
	f.senders = f.senders[:0]
	for range flowCount {
		c, err := net.ListenUDP("udp", f.from) // not connected: each packet asks for its way
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		f.senders = append(f.senders, c)
	}
}

func (f *flows) receive(host int, sink *net.UDPConn) {
	b := make([]byte, 16)
	for {
		n, from, err := sink.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		f.mu.Lock()
		if err == nil && n == 1 && b[0] == f.round {
			f.at[from.Port()] = host
		}
		f.mu.Unlock()
	}
}

// ways sends a packet of every flow and returns where each arrived.
func (f *flows) ways(t *testing.T) map[uint16]int {
	t.Helper()
	f.mu.Lock()
	f.round++
	round := f.round
	f.at = map[uint16]int{}
	f.mu.Unlock()
	for _, c := range f.senders {
		if _, err := c.WriteTo([]byte{round}, f.to); err != nil {
			t.Fatal(err)
		}
	}
	var got map[uint16]int
	nstest.Eventually(t, 5*time.Second, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.at) < flowCount {
			return fmt.Errorf("%d of %d flows arrived", len(f.at), flowCount)
		}
		got = f.at
		return nil
	})
	return got
}

// shares counts the flows at each host.
func shares(ways map[uint16]int) (n [3]int) {
	for _, host := range ways {
		n[host]++
	}
	return n
}

// moved counts flows that changed hosts although the one they were at stayed.
func moved(before, after map[uint16]int, lost int) (n int) {
	for port, host := range before {
		if host != lost && after[port] != host {
			n++
		}
	}
	return n
}

// ecmp is the wanted set with one route by the given devices, and another that
// keeps the first device's next hop in use when so told.
func ecmp(six, kept bool, devices ...int) bgp.FIB {
	to, other := "10.2.0.0/16", "10.3.0.0/16"
	if six {
		to, other = "2001:db8:2::/48", "2001:db8:3::/48"
	}
	var hops []bgp.NextHop
	for _, d := range devices {
		hops = append(hops, gw(d, six))
	}
	routes := []bgp.Route{route(to, hops...)}
	if kept {
		routes = append(routes, route(other, gw(0, six)))
	}
	return wanted(routes...)
}

// TestFlowsOnTheNextHopsThatStayDoNotMove is AC-25: one of three goes, whether
// its object is deleted or, being in use elsewhere, leaves the group by a
// replacement. That hash-threshold groups move flows shows that the flows of the
// test would be seen to move.
func TestFlowsOnTheNextHopsThatStayDoNotMove(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	for _, six := range []bool{false, true} {
		fl := newFlows(t, l, six)
		for _, kept := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/kept=%v", familyName(six), kept), func(t *testing.T) {
				fl.renew(t)
				lose := func(f *FIB) int {
					mustApply(t, f, ecmp(six, kept, 0, 1, 2))
					before := fl.ways(t)
					if n := shares(before); slices.Min(n[:]) < flowCount/8 {
						t.Errorf("of %d flows by three: %v", flowCount, n)
					}
					if n := writesDuring(f, func() { mustApply(t, f, ecmp(six, kept, 1, 2)) }); n != 1 {
						t.Errorf("got %d writes, want 1", n)
					}
					after := fl.ways(t)
					if n := shares(after); n[0] != 0 || min(n[1], n[2]) < flowCount/4 {
						t.Errorf("of %d flows by the two that stay: %v", flowCount, n)
					}
					return moved(before, after, 0)
				}
				f := newFIB(t, Options{})
				if n := lose(f); n != 0 {
					t.Errorf("%d flows moved between next hops that stayed", n)
				}
				// It comes back, and gets its share of the buckets that rest, by which new flows go.
				mustApply(t, f, ecmp(six, kept, 0, 1, 2))
				nstest.Eventually(t, 10*time.Second, func() error { return evenBuckets(t) })
				fl.renew(t)
				if n := shares(fl.ways(t)); slices.Min(n[:]) < flowCount/8 {
					t.Errorf("back, of %d new flows: %v", flowCount, n)
				}
				mustApply(t, f, wanted())

				old := newFIB(t, Options{})
				old.buckets = 0
				if n := lose(old); n == 0 {
					t.Error("no flow moved in a hash-threshold group: the test shows nothing")
				}
				mustApply(t, old, wanted())
			})
		}
	}
}

// evenBuckets says whether each group shares its buckets equally among its
// members, as ip(8) sees them.
func evenBuckets(t *testing.T) error {
	buckets := map[string]map[string]int{} // of each group, of each member
	for line := range strings.Lines(nstest.Run(t, "ip", "nexthop", "bucket", "show")) {
		w := strings.Fields(line)
		i := slices.Index(w, "nhid")
		if i < 0 || w[0] != "id" {
			return fmt.Errorf("not understood: %s", line)
		}
		if buckets[w[1]] == nil {
			buckets[w[1]] = map[string]int{}
		}
		buckets[w[1]][w[i+1]]++
	}
	members := 0
	for group, of := range buckets {
		members = max(members, len(of))
		for member, n := range of {
			if n < groupBuckets/len(of)-1 || n > groupBuckets/len(of)+1 {
				return fmt.Errorf("group %s: %d buckets of member %s, among %d", group, n, member, len(of))
			}
		}
	}
	if members != 3 {
		return fmt.Errorf("the largest group uses %d members, want 3", members)
	}
	return nil
}

// TestGroupsOfAnotherKindAreReplaced is the upgrade: an earlier version, or an
// earlier kernel, left hash-threshold groups, which can not be made resilient.
// The other way round is a kernel without them, where nothing but our memory of
// what it can do says so.
func TestGroupsOfAnotherKindAreReplaced(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	newLab(t)
	w := wanted(append(many(300, true, via01), basicRoutes()...)...)
	for _, to := range []uint16{0, groupBuckets, groupBuckets / 2, 0, groupBuckets} {
		f := newFIB(t, Options{})
		f.buckets = to
		half := wanted(slices.Clone(w.Routes[:len(w.Routes)/2])...)
		half.Complete = false
		if a := f.Apply(context.Background(), 1, half); a.Err != "" || len(a.Reports) > 0 {
			t.Fatalf("to %d buckets, not complete: %+v", to, a)
		}
		mustApply(t, f, w)
		if n := writesDuring(f, func() { f.Resync(context.Background()) }); n != 0 {
			t.Errorf("to %d buckets: got %d writes by another look, want 0", to, n)
		}
		if diff, err := f.Check(context.Background()); err != nil || len(diff) > 0 {
			t.Errorf("to %d buckets: %v %v", to, diff, err)
		}
		out := nstest.Run(t, "ip", "nexthop", "show")
		want := 0
		if to > 0 {
			want = strings.Count(out, " group ")
		}
		if n := strings.Count(out, fmt.Sprintf(" resilient buckets %d idle_timer 1 unbalanced_timer 120 ", to)); n != want || strings.Count(out, "resilient") != want {
			t.Errorf("to %d buckets: %d of %d groups\n%s", to, n, want, out)
		}
		_ = f.Close()
	}
}

func TestResilientGroupOnTheWire(t *testing.T) {
	var m messages
	members := []member{{9, 1}, {11, 5}}
	m.setGroup(4, 10, 186, 256, members)
	// As `strace ip nexthop replace id 10 group 9/11,5 type resilient buckets 256
	// idle_timer 1 unbalanced_timer 120` has it, the order of attributes apart.
	want, err := hex.DecodeString(strings.ReplaceAll("5800000068000105 0400000000000000 0000ba00 00000000 08000100 0a000000"+
		"14000200 09000000 00000000 0b000000 04000000 06000300 01000000 1c000c80 06000100 00010000 08000200 64000000 08000300 e02e0000", " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.b, want) {
		t.Errorf("\ngot  %x\nwant %x", m.b, want)
	}
	n, err := parseNextHop(m.b[sizeofNlMsghdr:])
	if err != nil || n.id != 10 || n.special || n.buckets != 256 || !slices.Equal(n.group, members) {
		t.Errorf("read again: %+v %v", n, err)
	}
	m.reset()
	m.begin(unix.RTM_NEWNEXTHOP, 0, 1)
	m.nhmsg(unix.AF_UNSPEC, 186, 0)
	m.u16(unix.NHA_GROUP_TYPE, 2)
	m.end()
	if n, err := parseNextHop(m.b[sizeofNlMsghdr:]); err != nil || !n.special {
		t.Errorf("a kind of group we do not know: %+v %v", n, err)
	}
}

func TestProbeTellsWhatTheKernelDoesNotHave(t *testing.T) {
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if known, err := c.knows(unix.RTM_GETNEXTHOP); !known || err != nil {
		t.Errorf("next hops: got %v %v", known, err)
	}
	if known, err := c.knows(0xfe); known || err != nil { // a GET beyond RTM_MAX, as buckets are for Linux 5.12
		t.Errorf("a request of the future: got %v %v", known, err)
	}
}
