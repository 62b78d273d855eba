package speaker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// All speakers of one test process have the same global options, because
// GoBGP keeps some of them in package variables.
const testPort = 1790

// rawPeer is a BGP neighbor made of a TCP connection and nothing else: it keeps
// every UPDATE it is sent, as sent.
type rawPeer struct {
	conn net.Conn
	up   time.Time // when it saw our KEEPALIVE, i.e. Established on both ends

	mu      sync.Mutex
	open    *packet.BGPOpen // the speaker's
	updates []*packet.BGPUpdate
	when    []time.Time
	notif   *packet.BGPNotification
	err     error
	gotKeep chan struct{}
}

type rawConf struct {
	local  string // address to dial from
	asn    uint32
	hold   uint16
	caps   []packet.ParameterCapabilityInterface
	port   int
	remote string
	mute   bool // no KEEPALIVE after the first
}

// dialRaw opens a session to the speaker, trying until it is let in.
func dialRaw(t testing.TB, c rawConf) *rawPeer {
	t.Helper()
	var p *rawPeer
	nstest.Eventually(t, 15*time.Second, func() error {
		var err error
		p, err = tryRaw(c)
		return err
	})
	t.Cleanup(func() { _ = p.conn.Close() })
	return p
}

func tryRaw(c rawConf) (*rawPeer, error) {
	if c.port == 0 {
		c.port = testPort
	}
	if c.remote == "" {
		c.remote = "127.0.0.1"
	}
	if c.hold == 0 {
		c.hold = 90
	}
	d := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.local)}}
	d.SetMultipathTCP(false)
	conn, err := d.Dial("tcp", net.JoinHostPort(c.remote, fmt.Sprint(c.port)))
	if err != nil {
		return nil, err
	}
	caps := c.caps
	if caps == nil {
		caps = []packet.ParameterCapabilityInterface{
			packet.NewCapMultiProtocol(packet.RF_IPv4_UC), packet.NewCapMultiProtocol(packet.RF_IPv6_UC),
			packet.NewCapRouteRefresh(), packet.NewCapFourOctetASNumber(c.asn),
		}
	}
	as2 := uint16(23456)
	if c.asn < 65536 {
		as2 = uint16(c.asn)
	}
	id := netip.MustParseAddr("192.0.2.9")
	if v4 := net.ParseIP(c.local).To4(); v4 != nil {
		id = netip.AddrFrom4([4]byte(v4))
	}
	open, err := packet.NewBGPOpenMessage(as2, c.hold, id, []packet.OptionParameterInterface{packet.NewOptionParameterCapability(caps)})
	if err != nil {
		return nil, err
	}
	p := &rawPeer{conn: conn, gotKeep: make(chan struct{})}
	for _, m := range []*packet.BGPMessage{open, packet.NewBGPKeepAliveMessage()} {
		if err := p.send(m); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	go p.read()
	select {
	case <-p.gotKeep:
	case <-time.After(3 * time.Second):
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.up.IsZero() {
		_ = conn.Close()
		return nil, fmt.Errorf("no session: %v, notification %v", p.err, p.notif)
	}
	if c.mute {
		return p, nil
	}
	go func() {
		for p.send(packet.NewBGPKeepAliveMessage()) == nil {
			time.Sleep(time.Second) // keepalive interval
		}
	}()
	return p, nil
}

func (p *rawPeer) send(m *packet.BGPMessage) error {
	b, err := m.Serialize()
	if err != nil {
		return err
	}
	_, err = p.conn.Write(b)
	return err
}

func (p *rawPeer) read() {
	fail := func(err error) {
		p.mu.Lock()
		p.err = err
		if p.up.IsZero() {
			select {
			case <-p.gotKeep:
			default:
				close(p.gotKeep)
			}
		}
		p.mu.Unlock()
	}
	for {
		head := make([]byte, 19)
		if _, err := io.ReadFull(p.conn, head); err != nil {
			fail(err)
			return
		}
		body := make([]byte, int(head[16])<<8+int(head[17])-19)
		if _, err := io.ReadFull(p.conn, body); err != nil {
			fail(err)
			return
		}
		m, err := packet.ParseBGPMessage(append(head, body...))
		if err != nil {
			fail(err)
			return
		}
		p.mu.Lock()
		switch b := m.Body.(type) {
		case *packet.BGPOpen:
			p.open = b
		case *packet.BGPKeepAlive:
			if p.up.IsZero() {
				p.up = time.Now()
				close(p.gotKeep)
			}
		case *packet.BGPUpdate:
			p.updates = append(p.updates, b)
			p.when = append(p.when, time.Now())
		case *packet.BGPNotification:
			p.notif = b
		}
		p.mu.Unlock()
	}
}

// closed returns why the session ended, nil while it stands.
func (p *rawPeer) closed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *rawPeer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.updates)
}

// ends counts the End-of-RIB markers of IPv4 (RFC 4724 section 2).
func (p *rawPeer) ends() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.updates {
		if is, f := u.IsEndOfRib(); is && f == packet.RF_IPv4_UC {
			n++
		}
	}
	return n
}

// seen is one prefix as the raw peer's table has it.
type seen struct {
	nextHop     string
	as          []uint32
	med         int64 // -1: none
	localPref   int64
	communities []uint32
	large       []string
}

func (v seen) String() string {
	return fmt.Sprintf("nh %s as %v med %d lp %d comm %x large %v", v.nextHop, v.as, v.med, v.localPref, v.communities, v.large)
}

// table replays all UPDATEs.
func (p *rawPeer) table() map[string]seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]seen{}
	for _, u := range p.updates {
		for _, w := range u.WithdrawnRoutes {
			delete(out, w.NLRI.String())
		}
		v := seen{med: -1, localPref: -1}
		prefixes := u.NLRI
		for _, a := range u.PathAttributes {
			switch a := a.(type) {
			case *packet.PathAttributeNextHop:
				v.nextHop = a.Value.String()
			case *packet.PathAttributeAsPath:
				for _, s := range a.Value {
					v.as = append(v.as, s.GetAS()...)
				}
			case *packet.PathAttributeMultiExitDisc:
				v.med = int64(a.Value)
			case *packet.PathAttributeLocalPref:
				v.localPref = int64(a.Value)
			case *packet.PathAttributeCommunities:
				v.communities = slices.Sorted(slices.Values(a.Value))
			case *packet.PathAttributeLargeCommunities:
				for _, c := range a.Values {
					v.large = append(v.large, c.String())
				}
			case *packet.PathAttributeMpReachNLRI:
				v.nextHop = a.Nexthop.String()
				prefixes = append(prefixes, a.Value...)
			case *packet.PathAttributeMpUnreachNLRI:
				for _, w := range a.Value {
					delete(out, w.NLRI.String())
				}
			}
		}
		for _, n := range prefixes {
			out[n.NLRI.String()] = v
		}
	}
	return out
}

func (p *rawPeer) expect(t testing.TB, want map[string]string) {
	t.Helper()
	nstest.Eventually(t, 5*time.Second, func() error {
		got := map[string]string{}
		for k, v := range p.table() {
			got[k] = v.String()
		}
		for k, w := range want {
			if got[k] != w {
				return fmt.Errorf("%s: got %q, want %q", k, got[k], w)
			}
		}
		for k := range got {
			if _, ok := want[k]; !ok {
				return fmt.Errorf("%s: got %q, want nothing", k, got[k])
			}
		}
		return nil
	})
}

// update sends IPv4 prefixes with an AS_PATH.
func (p *rawPeer) update(t testing.TB, as []uint32, nextHop string, prefixes ...string) {
	t.Helper()
	nh, _ := packet.NewPathAttributeNextHop(netip.MustParseAddr(nextHop))
	attrs := []packet.PathAttributeInterface{
		packet.NewPathAttributeOrigin(0),
		packet.NewPathAttributeAsPath([]packet.AsPathParamInterface{packet.NewAs4PathParam(2, as)}),
		nh, packet.NewPathAttributeMultiExitDisc(7), packet.NewPathAttributeCommunities([]uint32{65001<<16 | 5}),
	}
	if err := p.send(packet.NewBGPUpdateMessage(nil, attrs, nlris(prefixes))); err != nil && p.closed() == nil {
		t.Logf("send UPDATE: %v", err) // the session may just be ending; what was to follow is awaited by the caller
	}
}

func (p *rawPeer) withdraw(t testing.TB, prefixes ...string) {
	t.Helper()
	if err := p.send(packet.NewBGPUpdateMessage(nlris(prefixes), nil, nil)); err != nil {
		t.Fatal(err)
	}
}

func nlris(prefixes []string) []packet.PathNLRI {
	var out []packet.PathNLRI
	for _, s := range prefixes {
		n, _ := packet.NewIPAddrPrefix(netip.MustParsePrefix(s))
		out = append(out, packet.PathNLRI{NLRI: n})
	}
	return out
}

// recorder is a sink that keeps everything.
type recorder struct {
	mu       sync.Mutex
	paths    map[string]bgp.Path // neighbor + " " + prefix
	rejected []bgp.Rejected
	states   map[string]bgp.NeighborState
	changes  int
}

func newRecorder() *recorder {
	return &recorder{paths: map[string]bgp.Path{}, states: map[string]bgp.NeighborState{}}
}

func (r *recorder) Paths(cs []bgp.PathChange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range cs {
		r.changes++
		k := c.Path.Neighbor + " " + c.Path.Prefix.String()
		if c.Withdrawn {
			delete(r.paths, k)
		} else {
			r.paths[k] = c.Path
		}
	}
}

func (r *recorder) Rejected(x bgp.Rejected) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rejected = append(r.rejected, x)
}

func (r *recorder) Neighbor(s bgp.NeighborState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states[s.Name] = s
}

func (r *recorder) state(name string) bgp.NeighborState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.states[name]
}

// has waits until exactly these "neighbor prefix" keys are known.
func (r *recorder) has(t testing.TB, want ...string) {
	t.Helper()
	slices.Sort(want)
	nstest.Eventually(t, 5*time.Second, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		got := []string{}
		for k := range r.paths {
			got = append(got, k)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("paths at the sink: got %v, want %v", got, want)
		}
		return nil
	})
}

func (r *recorder) refused(want string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var got []string
	for _, x := range r.rejected {
		s := x.Neighbor + " " + x.Prefix.String() + " " + x.Reason
		if s == want {
			return nil
		}
		got = append(got, s)
	}
	return fmt.Errorf("refused: got %q, want %q", strings.Join(got, "; "), want)
}

// start runs a speaker for the test.
func start(t testing.TB, cfg Config) (*Speaker, *recorder) {
	t.Helper()
	rec := newRecorder()
	if cfg.ASN == 0 {
		cfg.ASN = 65000
	}
	if !cfg.RouterID.IsValid() {
		cfg.RouterID = netip.MustParseAddr("10.255.0.1")
	}
	if cfg.ListenPort == 0 {
		cfg.ListenPort = testPort
	}
	if cfg.Sink == nil {
		cfg.Sink = rec
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(true) })
	return s, rec
}

func apply(t testing.TB, s *Speaker, ns []bgp.Neighbor, ann []bgp.Announcement) {
	t.Helper()
	slices.SortFunc(ns, func(a, b bgp.Neighbor) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(ann, func(a, b bgp.Announcement) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
	r := s.Apply(context.Background(), 1, ns, ann)
	if len(r.Failed) > 0 || len(r.NeighborErrors) > 0 {
		t.Fatalf("apply: failed %v, neighbor errors %v", r.Failed, r.NeighborErrors)
	}
}

// neighbor is a passive neighbor on loopback with everything allowed.
func neighbor(name, addr string, asn bgp.ASN, group string) bgp.Neighbor {
	return bgp.Neighbor{
		Name: name, Group: group, Address: netip.MustParseAddr(addr), RemoteASN: asn, Passive: true,
		IPv4: true, IPv6: true, Export: group != "", HoldTime: 90 * time.Second, Keepalive: 30 * time.Second,
		NextHop6: netip.MustParseAddr("fd00:9::1"),
		Import:   &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: pfx("0.0.0.0/0"), LE: 32}, {Prefix: pfx("::/0"), LE: 128}}},
	}
}

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// announcement is addressed to groups with a MED each.
func announcement(prefix string, as []bgp.ASN, to ...bgp.Export) bgp.Announcement {
	return bgp.Announcement{Prefix: pfx(prefix), Attrs: &bgp.Attrs{ASPath: as}, To: to}
}

func established(t testing.TB, s *Speaker, names ...string) {
	t.Helper()
	nstest.Eventually(t, 20*time.Second, func() error {
		var errs []error
		for _, name := range names {
			i := slices.IndexFunc(s.States(), func(st bgp.NeighborState) bool { return st.Name == name })
			if i < 0 {
				return fmt.Errorf("%s is not configured", name)
			}
			if st := s.States()[i]; st.State != bgp.StateEstablished {
				errs = append(errs, fmt.Errorf("%s is %s (%s)", name, st.State, st.Reason))
			}
		}
		return errors.Join(errs...)
	})
}
