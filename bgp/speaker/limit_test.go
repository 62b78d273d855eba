package speaker

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// numbered returns count host prefixes of 30.0.0.0/8 from the given one on.
func numbered(from, count int) []string {
	out := make([]string, count)
	for i := range out {
		k := from + i
		out[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{30, byte(k >> 16), byte(k >> 8), byte(k)}), 32).String()
	}
	return out
}

// flood sends prefixes in messages of at most 4096 octets until the session
// ends (RFC 4271 section 4).
func (p *rawPeer) flood(t testing.TB, as []uint32, nextHop string, prefixes []string) {
	t.Helper()
	for len(prefixes) > 0 && p.closed() == nil {
		n := min(len(prefixes), 700)
		p.update(t, as, nextHop, prefixes[:n]...)
		prefixes = prefixes[n:]
	}
}

func (p *rawPeer) ceased(t testing.TB, subcode uint8) {
	t.Helper()
	p.ceasedWithin(t, 10*time.Second, subcode)
}

func (p *rawPeer) ceasedWithin(t testing.TB, limit time.Duration, subcode uint8) {
	t.Helper()
	nstest.Eventually(t, limit, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.notif == nil || p.notif.ErrorCode != packet.BGP_ERROR_CEASE || p.notif.ErrorSubcode != subcode {
			return fmt.Errorf("notification: got %+v, want 6/%d (connection: %v)", p.notif, subcode, p.err)
		}
		return nil
	})
}

// counts reports the prefixes that the neighbor's session holds.
func (s *Speaker) counts(name string) (accepted, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byName[name].adjIn), len(s.byName[name].refused)
}

// FRR sends back what it was told (no sender-as-path-loop-detection by default).
func TestMaxPrefixDoesNotCountWhatFRRSendsBack(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, bgpd, "vtysh")
	ns := nstest.New(t, "frr")
	nstest.Veth(t, nil, "wg1", []string{"10.0.1.1/24", "fd00:9::1/64"}, ns, "eth0", []string{"10.0.1.2/24", "fd00:9::2/64"})
	startFRR(t, ns, `
router bgp 65101
 bgp router-id 10.0.1.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 10.0.1.1 remote-as 65000
 neighbor 10.0.1.1 timers connect 1
 neighbor 10.0.1.1 advertisement-interval 0
 address-family ipv4 unicast
  network 10.9.0.0/16
 exit-address-family
 address-family ipv6 unicast
  neighbor 10.0.1.1 activate
 exit-address-family
`)
	s, rec := start(t, Config{ListenPort: 179})
	n := neighbor("site", "10.0.1.2", 65101, "sites")
	n.LocalAddress, n.MaxPrefixes = netip.MustParseAddr("10.0.1.1"), 100
	n.Import = &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: pfx("10.9.0.0/16")}}, EnforceFirstAS: true}
	const told = 150
	var ann []bgp.Announcement
	for i := range told {
		ann = append(ann, announcement(fmt.Sprintf("10.200.%d.0/24", i), []bgp.ASN{64512}, bgp.Export{Group: "sites"}))
		ann = append(ann, announcement(fmt.Sprintf("fd00:200:%x::/48", i), []bgp.ASN{64512}, bgp.Export{Group: "sites"}))
	}
	apply(t, s, []bgp.Neighbor{n}, ann)
	nstest.Eventually(t, 20*time.Second, func() error {
		if st := rec.state("site"); st.Reason != "" {
			t.Fatalf("session was lost: %s", st.Reason)
		}
		if acc, ref := s.counts("site"); acc != 1 || ref != 2*told {
			return fmt.Errorf("got %d accepted and %d sent back, want 1 and %d", acc, ref, 2*told)
		}
		return nil
	})
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // watch for the whole time
		if st := rec.state("site"); st.State != bgp.StateEstablished || st.Reason != "" {
			t.Fatalf("got %s, reason %q, want Established without a loss", st.State, st.Reason)
		}
	}
}

func TestMaxPrefixCountsOwnRoutesBesideThoseSentBack(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{MaxPrefixRetry: time.Minute})
	n, other := neighbor("n", "127.0.0.2", 65101, "g"), neighbor("other", "127.0.0.3", 65102, "g")
	n.MaxPrefixes = 3
	n.Import = &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: pfx("192.168.0.0/16"), LE: 32}}}
	apply(t, s, []bgp.Neighbor{n, other}, nil)
	o := dialRaw(t, rawConf{local: "127.0.0.3", asn: 65102})
	o.update(t, []uint32{65102}, "127.0.0.3", "172.16.0.0/24")
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
	p.flood(t, []uint32{65101, 65000, 64512}, "127.0.0.2", numbered(0, 50))
	// One that is not allowed counts as much as those that are.
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.0.0/24", "192.168.1.0/24", "10.0.0.0/8")
	rec.has(t, "other 172.16.0.0/24", "n 192.168.0.0/24", "n 192.168.1.0/24")
	// Neither the same again nor one for another exceeds the limit.
	p.update(t, []uint32{65101, 65300}, "127.0.0.2", "192.168.0.0/24")
	p.withdraw(t, "10.0.0.0/8")
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.2.0/24")
	rec.has(t, "other 172.16.0.0/24", "n 192.168.0.0/24", "n 192.168.1.0/24", "n 192.168.2.0/24")
	if err := p.closed(); err != nil {
		t.Fatalf("session at its limit ended: %v", err)
	}
	// A route that was ours becomes one of the neighbor's.
	p.update(t, []uint32{65101}, "127.0.0.2", numbered(7, 1)...)
	p.ceased(t, packet.BGP_ERROR_SUB_MAXIMUM_NUMBER_OF_PREFIXES_REACHED)
	rec.has(t, "other 172.16.0.0/24")
	nstest.Eventually(t, 3*time.Second, func() error {
		if st := rec.state("n"); st.Reason != "max-prefix" || time.Until(st.IdleUntil) < 50*time.Second {
			return fmt.Errorf("got reason %q idle until %v, want max-prefix and a minute", st.Reason, st.IdleUntil)
		}
		return nil
	})
	if err := o.closed(); err != nil {
		t.Errorf("other session ended: %v", err)
	}
}

func TestFloodEndsAtTheLimitAndTeachesNothingBeyondIt(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{MaxPrefixRetry: time.Minute})
	n, other := neighbor("n", "127.0.0.2", 65101, "g"), neighbor("other", "127.0.0.3", 65102, "g")
	n.MaxPrefixes = 100
	apply(t, s, []bgp.Neighbor{n, other}, nil)
	o := dialRaw(t, rawConf{local: "127.0.0.3", asn: 65102})
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
	p.flood(t, []uint32{65101}, "127.0.0.2", numbered(0, 60000))
	p.ceased(t, packet.BGP_ERROR_SUB_MAXIMUM_NUMBER_OF_PREFIXES_REACHED)
	rec.has(t)
	rec.mu.Lock()
	got := rec.changes
	rec.mu.Unlock()
	if got > 200 {
		t.Errorf("changes at the sink: got %d, want at most 100 paths and their withdrawal", got)
	}
	if err := o.closed(); err != nil {
		t.Errorf("other session ended: %v", err)
	}
}

// Nobody can send back more than it was told, so that a neighbor that puts our
// ASN into the paths of a flood does not escape.
func TestFloodWithOurASNEndsTheSession(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{MaxPrefixRetry: time.Minute})
	n := neighbor("n", "127.0.0.2", 65101, "g")
	n.MaxPrefixes = 100
	apply(t, s, []bgp.Neighbor{n}, nil)
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
	p.flood(t, []uint32{65101, 65000}, "127.0.0.2", numbered(0, echoSlack+100+1))
	p.ceased(t, packet.BGP_ERROR_SUB_MAXIMUM_NUMBER_OF_PREFIXES_REACHED)
	nstest.Eventually(t, 3*time.Second, func() error {
		if st := rec.state("n"); st.Reason != "max-prefix" {
			return fmt.Errorf("reason: got %q, want max-prefix", st.Reason)
		}
		return nil
	})
}

// While this package can not act, GoBGP's own limit bounds the memory.
func TestFloodIsBoundedWhileTheSpeakerIsBusy(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{MaxPrefixRetry: time.Minute})
	n := neighbor("n", "127.0.0.2", 65101, "g")
	n.MaxPrefixes = 100
	apply(t, s, []bgp.Neighbor{n}, nil)
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
	s.op.Lock() // as a long Apply does
	defer s.op.Unlock()
	p.flood(t, []uint32{65101}, "127.0.0.2", numbered(0, hardLeast+5000))
	// GoBGP needs two seconds of a core for so many, and this package has them all
	// to read before it hears of the end.
	p.ceasedWithin(t, time.Minute, packet.BGP_ERROR_SUB_MAXIMUM_NUMBER_OF_PREFIXES_REACHED)
	nstest.Eventually(t, time.Minute, func() error {
		if st := rec.state("n"); st.Reason != "max-prefix" || st.State == bgp.StateEstablished {
			return fmt.Errorf("got %s, reason %q, want down for max-prefix", st.State, st.Reason)
		}
		return nil
	})
}

// A neighbor that takes back what was too much before GoBGP looks is ended in
// the other way: paths beyond the limit were not kept and would be missing.
func TestMaxPrefixHoldsWhenTheNeighborTookItBack(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{MaxPrefixRetry: time.Minute})
	n := neighbor("n", "127.0.0.2", 65101, "g")
	n.MaxPrefixes = 1
	apply(t, s, []bgp.Neighbor{n}, nil)
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
	s.op.Lock()
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.0.0/24", "192.168.1.0/24")
	rec.has(t, "n 192.168.0.0/24")
	p.withdraw(t, "192.168.0.0/24")
	rec.has(t)
	s.op.Unlock()
	p.ceased(t, packet.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN)
	nstest.Eventually(t, 3*time.Second, func() error {
		if st := rec.state("n"); st.Reason != "max-prefix" || st.IdleUntil.IsZero() {
			return fmt.Errorf("got reason %q idle until %v, want max-prefix with a time", st.Reason, st.IdleUntil)
		}
		return nil
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if text := string(p.notif.Data); !strings.Contains(text, "prefixes") {
		t.Errorf("shutdown communication: got %q, want it to say why (RFC 9003)", text)
	}
}

// Graceful restart must not keep what was too much.
func TestMaxPrefixDropsPathsInSpiteOfGracefulRestart(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{MaxPrefixRetry: time.Minute})
	n := neighbor("n", "127.0.0.2", 65101, "g")
	n.MaxPrefixes, n.GracefulRestart, n.IPv6 = 2, true, false
	apply(t, s, []bgp.Neighbor{n}, nil)
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101, caps: []packet.ParameterCapabilityInterface{
		packet.NewCapMultiProtocol(packet.RF_IPv4_UC), packet.NewCapFourOctetASNumber(65101),
		packet.NewCapGracefulRestart(false, false, 60, []*packet.CapGracefulRestartTuple{packet.NewCapGracefulRestartTuple(packet.RF_IPv4_UC, true)}),
	}})
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.0.0/24", "192.168.1.0/24")
	rec.has(t, "n 192.168.0.0/24", "n 192.168.1.0/24")
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.2.0/24")
	p.ceased(t, packet.BGP_ERROR_SUB_MAXIMUM_NUMBER_OF_PREFIXES_REACHED)
	rec.has(t)
	nstest.Eventually(t, 3*time.Second, func() error {
		if st := rec.state("n"); st.Reason != "max-prefix" || st.IdleUntil.IsZero() {
			return fmt.Errorf("got reason %q idle until %v, want max-prefix with a time", st.Reason, st.IdleUntil)
		}
		return nil
	})
}
