package bfd

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// pair is two hosts with an engine each, and a session over each family.
func pair(t *testing.T) (near, far *watched, b *nstest.NS) {
	b = nstest.New(t, "b")
	nstest.Veth(t, nil, "v0", []string{"10.0.0.1/24", "fd00:1::1/64"}, b, "v0", []string{"10.0.0.2/24", "fd00:1::2/64"})
	near, far = watch(t, nil), watch(t, b.Host())
	near.Set(1, nearSessions())
	far.Set(1, []bgp.BFDSession{session1("four", "10.0.0.2", "10.0.0.1", "v0"), session1("six", "fd00:1::2", "fd00:1::1", "v0")})
	return near, far, b
}

func nearSessions() []bgp.BFDSession {
	return []bgp.BFDSession{session1("four", "10.0.0.1", "10.0.0.2", "v0"), session1("six", "fd00:1::1", "fd00:1::2", "v0")}
}

func TestTwoEnginesInBothFamilies(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	near, far, b := pair(t)
	for _, name := range []string{"four", "six"} {
		s := near.is(t, name, bgp.BFDUp)
		far.is(t, name, bgp.BFDUp)
		s = near.becomes(t, name, func(s bgp.BFDState) bool { return s.DetectTime == 300*time.Millisecond })
		if s.Interval != 100*time.Millisecond || s.RemoteMultiplier != 3 || s.Note != "" || s.RemoteDiscr != far.get(name).LocalDiscr {
			t.Errorf("%+v", s)
		}
	}
	// Other intervals without a flap, on one of them.
	want := nearSessions()
	want[0].Interval = 250 * time.Millisecond
	near.Set(2, want)
	far.becomes(t, "four", func(s bgp.BFDState) bool { return s.Interval == 250*time.Millisecond })
	near.becomes(t, "four", func(s bgp.BFDState) bool { return s.DetectTime == 750*time.Millisecond })

	// A session that is not wanted any more leaves on purpose.
	near.Set(3, want[1:])
	s := far.becomes(t, "four", func(s bgp.BFDState) bool { return s.State == bgp.BFDDown })
	if s.Failed || s.RemoteState != bgp.BFDAdminDown || s.RemoteDiag != bgp.BFDDiagAdminDown {
		t.Errorf("after its end: %+v", s)
	}
	near.Set(2, nil) // older than the last
	// It is wanted again before its leave has ended.
	near.Set(4, want)
	near.is(t, "four", bgp.BFDUp)

	// The link goes silently.
	cut(t, b)
	for _, name := range []string{"four", "six"} {
		s := far.is(t, name, bgp.BFDDown)
		if !s.Failed || s.Diag != bgp.BFDDiagDetectExpired {
			t.Errorf("%s: %+v", name, s)
		}
		if s = near.is(t, name, bgp.BFDDown); !s.Failed || s.Diag != bgp.BFDDiagNeighborDown {
			t.Errorf("%s was told: %+v", name, s)
		}
	}
	heal(t, b)
	for _, name := range []string{"four", "six"} {
		if s := near.is(t, name, bgp.BFDUp); s.Failed || s.Flaps != 1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if st := near.Stats(); st.Invalid+st.TTL+st.Foreign != 0 || st.Sessions != 2 {
		t.Errorf("stats %+v", st)
	}
}

func TestInterfaceThatComesLateAndComesAgain(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	b := nstest.New(t, "b")
	near, far := watch(t, nil), watch(t, b.Host())
	near.Set(1, []bgp.BFDSession{session1("x", "10.0.0.1", "10.0.0.2", "v0")})
	far.Set(1, []bgp.BFDSession{session1("x", "", "10.0.0.1", "")}) // bound to nothing
	near.becomes(t, "x", func(s bgp.BFDState) bool { return s.Note == "no-device" })
	for range 2 {
		nstest.Veth(t, nil, "v0", []string{"10.0.0.1/24"}, b, "v0", []string{"10.0.0.2/24"})
		if s := near.is(t, "x", bgp.BFDUp); s.Note != "" {
			t.Errorf("note %q while up", s.Note)
		}
		nstest.Run(t, "ip", "link", "del", "v0")
		near.is(t, "x", bgp.BFDDown)
	}
}

func TestLocalAddressThatComesLate(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	b := nstest.New(t, "b")
	nstest.Veth(t, nil, "v0", []string{"10.0.0.1/24"}, b, "v0", []string{"10.0.0.2/24"})
	near, far := watch(t, nil), watch(t, b.Host())
	near.Set(1, []bgp.BFDSession{session1("x", "10.0.0.9", "10.0.0.2", "v0")})
	far.Set(1, []bgp.BFDSession{session1("x", "", "10.0.0.9", "v0")})
	near.becomes(t, "x", func(s bgp.BFDState) bool { return s.Note == "send: the local address does not exist" })
	nstest.Run(t, "ip", "addr", "add", "10.0.0.9/24", "dev", "v0")
	near.is(t, "x", bgp.BFDUp)
}

func TestRenamedSessionTakesThePlaceOfTheOldOne(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	near, _, _ := pair(t)
	near.is(t, "four", bgp.BFDUp)
	want := nearSessions()
	want[0].Name = "vier"
	near.Set(2, want)
	near.is(t, "vier", bgp.BFDUp)
	twice := append(want, session1("again", "10.0.0.1", "10.0.0.2", "v0"), session1("mixed", "10.0.0.1", "fd00:1::9", "v0"))
	near.Set(3, twice)
	twice[0].Interval = 200 * time.Millisecond
	near.Set(4, twice)
	near.becomes(t, "vier", func(s bgp.BFDState) bool { return s.RemoteInterval == 200*time.Millisecond })
	if s, ok := near.all()["again"]; ok {
		t.Errorf("two sessions of one neighbor: %+v", s)
	}
}

func TestAdminDownFromTheStartAndBack(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	near, far, _ := pair(t)
	near.is(t, "six", bgp.BFDUp)
	want := nearSessions()
	want[1].AdminDown = true
	near.Set(2, want)
	near.is(t, "six", bgp.BFDAdminDown)
	if s := far.is(t, "six", bgp.BFDDown); s.Failed {
		t.Errorf("AdminDown is a failure: %+v", s)
	}
	near.Set(3, nearSessions())
	near.is(t, "six", bgp.BFDUp)
	far.is(t, "six", bgp.BFDUp)
}

// Packets from afar, with a wrong address or not fit to be read change nothing
// (RFC 5881 section 5, RFC 5880 section 6.8.6).
func TestForgedPacketsAreIgnored(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	near, _, b := pair(t)
	b.Run(t, "ip", "addr", "add", "10.0.0.66/24", "dev", "v0")
	for _, name := range []string{"four", "six"} {
		near.is(t, name, bgp.BFDUp)
	}
	down := packet{state: down, mult: 3, my: 5, minTx: time.Second, minRx: time.Second}
	for _, c := range []struct {
		name, from, to string
		ttl            int
		your           string
		edit           func([]byte)
		count          func(Stats) uint64
	}{
		{"TTL 254", "10.0.0.2", "10.0.0.1", 254, "four", nil, func(s Stats) uint64 { return s.TTL }},
		{"hop limit 254", "fd00:1::2", "fd00:1::1", 254, "six", nil, func(s Stats) uint64 { return s.TTL }},
		{"hop limit 1", "fd00:1::2", "fd00:1::1", 1, "six", nil, func(s Stats) uint64 { return s.TTL }},
		{"another's address", "10.0.0.66", "10.0.0.1", 255, "four", nil, func(s Stats) uint64 { return s.Foreign }},
		{"unknown address", "10.0.0.66", "10.0.0.1", 255, "", nil, func(s Stats) uint64 { return s.Foreign }},
		{"authenticated", "10.0.0.2", "10.0.0.1", 255, "four", func(p []byte) { p[1] |= bitAuth }, func(s Stats) uint64 { return s.Invalid }},
		{"version 2", "10.0.0.2", "10.0.0.1", 255, "four", func(p []byte) { p[0] = 2 << 5 }, func(s Stats) uint64 { return s.Invalid }},
	} {
		p := down
		p.your = near.get(c.your).LocalDiscr
		var raw [packetLen]byte
		p.put(raw[:])
		if c.edit != nil {
			c.edit(raw[:])
		}
		before := c.count(near.Stats())
		b.Do(t, func() { sendRaw(t, c.from, c.to, c.ttl, raw[:]) })
		nstest.Eventually(t, 10*time.Second, func() error {
			if c.count(near.Stats()) == before {
				return errors.New(c.name + ": not counted")
			}
			return nil
		})
	}
	for _, name := range []string{"four", "six"} {
		if s := near.get(name); s.State != bgp.BFDUp || s.Flaps != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	// The same packet, as it should be, is believed.
	p := down
	p.your = near.get("four").LocalDiscr
	var raw [packetLen]byte
	p.put(raw[:])
	b.Do(t, func() { sendRaw(t, "10.0.0.2", "10.0.0.1", 255, raw[:]) })
	near.becomes(t, "four", func(s bgp.BFDState) bool { return s.Flaps == 1 })
}

func sendRaw(t *testing.T, from, to string, ttl int, b []byte) {
	src, dst := netip.MustParseAddr(from), netip.MustParseAddr(to)
	family, level, option := unix.AF_INET, unix.IPPROTO_IP, unix.IP_TTL
	if src.Is6() {
		family, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err == nil {
		defer func() { _ = unix.Close(fd) }()
		err = errors.Join(
			unix.SetsockoptInt(fd, level, option, ttl),
			unix.Bind(fd, address(src.Is6(), src, 0)),
			unix.Sendto(fd, b, 0, address(dst.Is6(), dst, controlPort)),
		)
	}
	if err != nil {
		t.Fatalf("send from %s to %s: %v", from, to, err)
	}
}
