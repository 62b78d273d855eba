package accept

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/wg"
)

// crowd is a gateway with 200 peers on one interface, each with ten prefixes.
type crowd struct {
	l        *gwlab.Lab
	g        *gwlab.GatewayHost
	peers    []*echoPeer
	prefixes []netip.Prefix
}

const (
	crowdPeers    = 200
	crowdPrefixes = 10
)

// crowdPrefix is prefix j of peer i.
func crowdPrefix(i, j int) netip.Prefix {
	n := i*crowdPrefixes + j
	return netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/24", 120+n/256, n%256))
}

func crowdAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{172, 20, 1, byte(20 + i)}) }

func TestAC34_ChangesOfOnePeerLeaveTwoHundredAlone(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := start(t, gwlab.Spec{
		Gateways: []gwlab.Gateway{{Name: "gw1", NotStarted: true}}, Sites: []gwlab.Site{{Name: "paris"}},
		TGWTakes: 2 * crowdPeers * crowdPrefixes,
	})
	c := &crowd{l: l, g: l.Gateways[0]}
	var more strings.Builder
	for i := range crowdPeers {
		p := c.peer(t, i)
		c.peers = append(c.peers, p)
		var own []netip.Prefix
		for j := range crowdPrefixes {
			own = append(own, crowdPrefix(i, j))
		}
		c.prefixes = append(c.prefixes, own...)
		more.WriteString(p.siteTOML(fmt.Sprintf("site%03d", i), crowdAddress(i), "", own...))
	}
	// Twice as many prefixes as AWS takes without asking.
	rewrite(t, c.g, func(text string) string {
		return strings.Replace(text, "[[tgw-connect]]\n", "[[tgw-connect]]\nannounce-limit = 0\n", 1) + more.String()
	})
	if err := l.StartGateway(c.g); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 30*time.Second, func() error { return bothHold(c.g, c.prefixes, len(c.prefixes)) })
	c.changesOfOne(t)
}

// peer starts the peer with this number at the site.
func (c *crowd) peer(t *testing.T, i int) *echoPeer {
	t.Helper()
	return newEchoPeer(t, c.l.Site("paris").Host, i+1, 40000+i, c.gatewayKey(t))
}

// gatewayKey is the public key of wg0.
func (c *crowd) gatewayKey(t *testing.T) wg.Key {
	t.Helper()
	b, err := os.ReadFile(c.g.Host.Dir() + "/wg0.key")
	if err != nil {
		t.Fatal(err)
	}
	k, err := wg.ParsePrivateKey(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

// changesOfOne adds, changes and removes one peer by reload while packets go to
// all the others and back.
func (c *crowd) changesOfOne(t *testing.T) {
	var targets []netip.Addr
	for i := range c.peers {
		targets = append(targets, crowdPrefix(i, 1).Addr().Next())
	}
	load := startEchoes(t, c.l.VPCWorkload(), targets, 2000)
	nstest.Eventually(t, 20*time.Second, func() error {
		if n := load.answered(); n < len(targets) {
			return fmt.Errorf("%d of %d peers answer", n, len(targets))
		}
		return nil
	})
	// When both ends of a new tunnel want to send at the same time, WireGuard may
	// repeat the handshake within 5 s (RekeyTimeout).
	nstest.Eventually(t, 30*time.Second, func() error {
		for k, p := range c.peersNow(t) {
			if at, err := strconv.ParseInt(p.handshake, 10, 64); err == nil && p.loaded && time.Since(time.Unix(at, 0)) < 8*time.Second {
				return fmt.Errorf("peer %s: handshake at %d is fresh", k, at)
			}
		}
		return nil
	})
	favor(t)
	load.mark()
	before := c.peersNow(t)
	if len(before) < crowdPeers {
		t.Fatalf("got %d peers, want at least %d", len(before), crowdPeers)
	}

	const name = "newcomer"
	p := c.peer(t, crowdPeers)
	address := netip.MustParseAddr("172.20.1.250")
	x, y := netip.MustParsePrefix("10.199.1.0/24"), netip.MustParsePrefix("10.199.2.0/24")
	b, err := os.ReadFile(c.g.Config)
	if err != nil {
		t.Fatal(err)
	}
	without := string(b)
	apply := func(text string) {
		t.Helper()
		if err := os.WriteFile(c.g.Config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		reload(t, c.l, c.g)
	}
	apply(without + p.siteTOML(name, address, "", x))
	nstest.Eventually(t, 10*time.Second, func() error { return bothHold(c.g, []netip.Prefix{x}, 1) })
	atTGW(t, c.l, 20*time.Second, x, "gw1")

	psk := wg.NewPresharedKey([wg.KeyLen]byte{1, 2, 3})
	if _, err := c.g.Host.File("newcomer.psk", "AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"); err != nil {
		t.Fatal(err)
	}
	raw := psk.Reveal()
	gateway := c.gatewayKey(t)
	p.set(t, fmt.Sprintf("public_key=%x\npreshared_key=%x\n", gateway[:], raw[:]))
	apply(without + p.siteTOML(name, address, fmt.Sprintf("keepalive = \"3s\"\npreshared-key = \"file:%s/newcomer.psk\"\n", c.g.Host.Dir()), y))
	nstest.Eventually(t, 10*time.Second, func() error {
		return errors.Join(bothHold(c.g, []netip.Prefix{y}, 1), bothHold(c.g, []netip.Prefix{x}, 0))
	})

	apply(without)
	nstest.Eventually(t, 10*time.Second, func() error {
		if now := c.peersNow(t); len(now) != len(before) {
			return fmt.Errorf("%d peers, want %d", len(now), len(before))
		}
		return bothHold(c.g, []netip.Prefix{x, y}, 0)
	})

	sent, lost, worst := load.stop()
	after := c.peersNow(t)
	for _, k := range slices.Sorted(maps.Keys(before)) {
		b, a := before[k], after[k]
		if a.endpoint != b.endpoint || a.handshake != b.handshake || a.keepalive != b.keepalive || a.allowed != b.allowed {
			t.Errorf("peer %s: got %+v, want %+v", k, a, b)
		}
		if a.rx < b.rx || a.tx < b.tx || (b.loaded && a.rx == b.rx) {
			t.Errorf("peer %s: counters went from %d and %d to %d and %d", k, b.rx, b.tx, a.rx, a.tx)
		}
	}
	t.Logf("figure: AC-34 peer %d added, changed and removed under load on %d others: lost %d of %d echoes (limit 0), endpoints, handshakes and counters untouched: %v",
		crowdPeers+1, crowdPeers, lost, sent, !t.Failed())
	if lost > 0 || sent < 2*crowdPeers {
		t.Errorf("lost %d of %d echoes, most to %s, want none", lost, sent, worst)
	}
	peers := ask[api.PeerList](t, c.l, c.g, "peer")
	if slices.ContainsFunc(peers.Peers, func(p api.Peer) bool { return p.Name == name || p.State == api.PeerForeign }) {
		t.Errorf("wgbgp peer still lists the removed peer")
	}
}

// peerNow is what `wg show wg0 dump` says about a peer.
type peerNow struct {
	endpoint, allowed, handshake, keepalive string
	rx, tx                                  uint64
	loaded                                  bool
}

func (c *crowd) peersNow(t *testing.T) map[string]peerNow {
	t.Helper()
	m := dumpPeers(t, c.g)
	for _, p := range c.peers {
		if now, ok := m[p.key.String()]; ok {
			now.loaded = true
			m[p.key.String()] = now
		}
	}
	return m
}

func dumpPeers(t *testing.T, g *gwlab.GatewayHost) map[string]peerNow {
	t.Helper()
	out, err := g.Host.Run("wg", "show", "wg0", "dump")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]peerNow{}
	for l := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(l), "\t")
		if len(f) != 8 {
			continue // the interface itself
		}
		rx, err1 := strconv.ParseUint(f[5], 10, 64)
		tx, err2 := strconv.ParseUint(f[6], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		m[f[0]] = peerNow{f[2], f[3], f[4], f[7], rx, tx, false}
	}
	return m
}

// echoes sends packets to many echoing peers in turn and counts what returns.
type echoes struct {
	targets  []netip.Addr
	c        *net.UDPConn
	done     chan struct{}
	sender   sync.WaitGroup
	receiver sync.WaitGroup

	mu      sync.Mutex
	sent    uint32
	from    uint32 // first packet that counts
	arrived map[uint32]bool
}

func startEchoes(t *testing.T, from gwlab.Workload, targets []netip.Addr, rate int) *echoes {
	t.Helper()
	e := &echoes{targets: targets, done: make(chan struct{}), arrived: map[uint32]bool{}}
	err := from.Host.Do(func() error {
		var err error
		e.c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from.A4, 0)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = e.c.SetReadBuffer(4 << 20)
	e.receiver.Go(func() {
		b := make([]byte, 64)
		for {
			n, _, err := e.c.ReadFromUDPAddrPort(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil && n == 4 {
				e.mu.Lock()
				e.arrived[binary.BigEndian.Uint32(b)] = true
				e.mu.Unlock()
			}
		}
	})
	e.sender.Go(func() {
		began := time.Now()
		for n := 0; ; n++ {
			select {
			case <-e.done:
				return
			case <-time.After(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(rate)))):
			}
			to := netip.AddrPortFrom(targets[n%len(targets)], 7) // the port of echo (RFC 862)
			_, _ = e.c.WriteToUDPAddrPort(binary.BigEndian.AppendUint32(nil, uint32(n)), to)
			e.mu.Lock()
			e.sent++
			e.mu.Unlock()
		}
	})
	return e
}

// answered is how many targets have answered so far.
func (e *echoes) answered() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := map[int]bool{}
	for n := range e.arrived {
		seen[int(n)%len(e.targets)] = true
	}
	return len(seen)
}

// mark makes the account begin now.
func (e *echoes) mark() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.from = e.sent
}

// stop gives the account, with the target that lost most.
func (e *echoes) stop() (sent, lost int, worst netip.Addr) {
	close(e.done)
	e.sender.Wait()
	time.Sleep(500 * time.Millisecond) // packets under way
	_ = e.c.Close()
	e.receiver.Wait()
	by := map[netip.Addr]int{}
	for n := e.from; n < e.sent; n++ {
		sent++
		if !e.arrived[n] {
			lost++
			to := e.targets[int(n)%len(e.targets)]
			if by[to]++; by[to] > by[worst] {
				worst = to
			}
		}
	}
	return sent, lost, worst
}
