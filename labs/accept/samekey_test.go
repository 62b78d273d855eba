package accept

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/labs/swarm"
	"github.com/wgbgp/wgbgp/wg"
)

// Two hosts have one private key and one address that clients dial:
//
//	clients --- net ---+--- gw1  192.0.2.1 --.
//	                   |                     fleet link
//	                   '--- gw2  192.0.2.1 --'
//
// The net sends packets for 192.0.2.1 to one of them.
type sameKey struct {
	t       *testing.T
	lab     *netlab.Lab
	net     *netlab.Host
	clients *netlab.Host
	hosts   [2]*sameKeyHost
	sites   int
	active  int // index of the host that has the address
}

type sameKeyHost struct {
	*netlab.Host
	via     string // its address on the net
	config  string
	process *netlab.Process
}

var (
	sharedAddress = netip.MustParseAddr("192.0.2.1")
	gatewayInside = netip.MustParseAddr("10.255.0.1")
)

func clientKey(i int) wg.PrivateKey {
	return wg.NewPrivateKey([wg.KeyLen]byte{0x40, byte(i >> 8), byte(i), 7})
}

func clientInside(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 255, byte(1 + i>>8), byte(i)})
}

// newSameKey starts both hosts with so many sites. Without a fleet neither knows
// of the other, and WireGuard is alone.
func newSameKey(t *testing.T, sites int, fleet string) *sameKey {
	t.Helper()
	nstest.Need(t, "nft", "ip")
	lab, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	s := &sameKey{t: t, lab: lab, sites: sites}
	t.Cleanup(func() {
		for _, h := range s.hosts {
			if t.Failed() && h != nil && h.process != nil {
				t.Logf("%s, end of log:\n%s", h.Name(), h.process.Tail(40))
			}
		}
		if err := lab.Close(false); err != nil {
			t.Error(err)
		}
	})
	host := func(name string) *netlab.Host {
		h, err := lab.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	s.net, s.clients = host("net"), host("clients")
	s.must(s.net.Forwarding())
	s.must(netlab.Link(netlab.End{Host: s.net, Device: "clients", Addresses: []string{"198.19.0.1/16"}},
		netlab.End{Host: s.clients, Device: "eth0", Addresses: []string{"198.19.0.2/16"}}))
	s.must(s.clients.RunAll("ip route add default via 198.19.0.1"))
	for i := range s.hosts {
		h := &sameKeyHost{Host: host(fmt.Sprintf("gw%d", i+1)), via: fmt.Sprintf("198.18.%d.2", i+1)}
		s.hosts[i] = h
		s.must(netlab.Link(netlab.End{Host: s.net, Device: h.Name(), Addresses: []string{fmt.Sprintf("198.18.%d.1/24", i+1)}},
			netlab.End{Host: h.Host, Device: "eth0", Addresses: []string{h.via + "/24"}}))
		s.must(h.RunAll("ip addr add "+sharedAddress.String()+"/32 dev lo",
			fmt.Sprintf("ip route add default via 198.18.%d.1 src %s", i+1, sharedAddress)))
	}
	s.must(netlab.Link(netlab.End{Host: s.hosts[0].Host, Device: "fleet0", Addresses: []string{"172.30.0.1/24"}},
		netlab.End{Host: s.hosts[1].Host, Device: "fleet0", Addresses: []string{"172.30.0.2/24"}}))
	for i, h := range s.hosts {
		s.configure(h, i, fleet)
		s.start(h)
	}
	s.give(0)
	return s
}

func (s *sameKey) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *sameKey) configure(h *sameKeyHost, i int, fleet string) {
	s.t.Helper()
	key := private(gatewaySeed).Reveal()
	file, err := h.File("wg0.key", base64.StdEncoding.EncodeToString(key[:])+"\n")
	s.must(err)
	var b strings.Builder
	fmt.Fprintf(&b, "[gateway]\nname = %q\nasn = 65010\nrouter-id = %q\n\n[wireguard.wg0]\nprivate-key = \"file:%s\"\nshared-key = true\naddress = [\"%s/16\"]\n",
		h.Name(), h.via, file, gatewayInside)
	if fleet != "" {
		b.WriteString("\n" + fleetTOML(fmt.Sprintf("172.30.0.%d", 2-i)) + fleet)
	}
	for n := range s.sites {
		fmt.Fprintf(&b, "\n[[site]]\nname = \"client-%03d\"\npublic-key = %q\naddress = [%q]\n", n, clientKey(n).Public(), clientInside(n))
	}
	h.config, err = h.File("wgbgpd.toml", b.String())
	s.must(err)
}

const gatewaySeed = 77

func private(n byte) wg.PrivateKey { return wg.NewPrivateKey([wg.KeyLen]byte{n, 1, 31: n}) }

func (s *sameKey) start(h *sameKeyHost) {
	s.t.Helper()
	var err error
	h.process, err = h.Start("wgbgpd", daemon, "-f", h.config)
	s.must(err)
	nstest.Eventually(s.t, 10*time.Second, func() error {
		_, err := askHost[api.Status](h, "status")
		return err
	})
}

func askHost[T any](h *sameKeyHost, args ...string) (v T, err error) {
	out, stderr, code, err := h.Output(append([]string{cli, "-j"}, args...)...)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s: wgbgp %v: exit code %d: %s", h.Name(), args, code, stderr)
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &v)
	}
	return v, err
}

// give lets a host have the address.
func (s *sameKey) give(i int) {
	s.t.Helper()
	_, err := s.net.Run("ip", "route", "replace", sharedAddress.String()+"/32", "via", s.hosts[i].via)
	s.must(err)
	s.active = i
}

// cut takes the power from the host that has the address, without a word to
// anybody, and moves the address some time later. It returns the time of the cut.
func (s *sameKey) cut(later time.Duration) time.Time {
	s.t.Helper()
	h := s.hosts[s.active]
	s.must(h.RunAll("nft add table inet power { chain in { type filter hook prerouting priority -400 ; policy drop ; } ; chain out { type filter hook output priority -400 ; policy drop ; } ; }"))
	at := time.Now() // some ms late: what was sent between them has an answer
	s.must(h.process.Kill())
	<-time.After(time.Until(at.Add(later)))
	s.give(1 - s.active)
	return at
}

// mend gives the other host its power back.
func (s *sameKey) mend() {
	s.t.Helper()
	h := s.hosts[1-s.active]
	s.must(h.RunAll("nft delete table inet power"))
	s.start(h)
}

// known waits until the host without the address has heard from the other one, in
// its last polls, where all clients are, and sees it by BFD.
func (s *sameKey) known() {
	s.t.Helper()
	h := s.hosts[1-s.active]
	nstest.Eventually(s.t, 60*time.Second, func() error {
		list, err := askHost[api.HAList](h, "ha", "status")
		if err != nil {
			return err
		}
		for _, x := range list.Sites {
			if e := x.Elsewhere; e == nil || e.Host != "hub" || e.Heard.AgeSeconds > 3 || e.Greeting != "" {
				return fmt.Errorf("%s on %s: heard elsewhere: %+v", x.Site, h.Name(), e)
			}
		}
		for _, h := range s.hosts {
			n, err := askHost[api.NeighborList](h, "neighbor", "hub")
			if err != nil || len(n.Neighbors) != 1 || n.Neighbors[0].State != "Established" || n.Neighbors[0].BFD == "Down" {
				return errors.Join(err, fmt.Errorf("%s: neighbor %+v", h.Name(), n.Neighbors))
			}
		}
		return nil
	})
}

// dial starts a client: wireguard-go as it is, that sends to the gateways.
func (s *sameKey) dial(i int, every time.Duration) *swarm.Talker {
	s.t.Helper()
	raw := clientKey(i).Reveal()
	gateway := private(gatewaySeed).Public()
	t := swarm.NewTalker(clientInside(i), gatewayInside, every)
	dev, err := swarm.StartOn(t, func(port uint16) (c *net.UDPConn, err error) {
		err = s.clients.Do(func() error {
			c, err = net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
			return err
		})
		return c, err
	}, base64.StdEncoding.EncodeToString(raw[:]), gateway.String(), uint16(20000+i))
	s.must(err)
	s.t.Cleanup(dev.Close)
	s.must(dev.IpcSet(fmt.Sprintf("public_key=%x\nendpoint=%s\n", gateway[:], netip.AddrPortFrom(sharedAddress, 51820))))
	return t
}

// debian starts a client that is Debian's wireguard-go, and sends from outside of it.
func (s *sameKey) debian(every time.Duration) *swarm.Echoes {
	s.t.Helper()
	raw := clientKey(0).Reveal()
	_, err := daemons.StartWireGuard(s.clients, "wg0", daemons.WireGuardConfig(base64.StdEncoding.EncodeToString(raw[:]), 0, daemons.WireGuardPeer{
		PublicKey: private(gatewaySeed).Public().String(), Endpoint: netip.AddrPortFrom(sharedAddress, 51820).String(),
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(gatewayInside, 32)},
	}), 0, clientInside(0).String()+"/16")
	s.must(err)
	var c net.PacketConn
	s.must(s.clients.Do(func() error {
		c, err = net.ListenPacket("ip4:icmp", clientInside(0).String())
		return err
	}))
	e := &swarm.Echoes{}
	ended := make(chan struct{})
	go func() { // ends with the socket
		b := make([]byte, 200)
		for {
			n, _, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			e.Answer(b[:n])
		}
	}()
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				_, _ = c.WriteTo(e.Request(), &net.IPAddr{IP: gatewayInside.AsSlice()})
			}
		}
	}()
	s.t.Cleanup(func() { close(ended); _ = c.Close() })
	return e
}

// answered waits until every client has an answer to what it sent after a time, and
// returns how long after that it came, sorted.
func (s *sameKey) answered(within time.Duration, after time.Time, clients ...*swarm.Echoes) []time.Duration {
	s.t.Helper()
	out := make([]time.Duration, len(clients))
	nstest.Eventually(s.t, within, func() error {
		for i, c := range clients {
			at, _, ok := c.Answered(after)
			if !ok {
				return fmt.Errorf("client %d of %d has no answer", i, len(clients))
			}
			out[i] = at.Sub(after)
		}
		return nil
	})
	slices.Sort(out)
	return out
}

// sameKeyRuns is how often the address moves: a few times, or a share of WGBGP_RUNS.
func sameKeyRuns(t *testing.T, few, share int) int {
	t.Helper()
	v := os.Getenv("WGBGP_RUNS")
	if v == "" {
		return few
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("WGBGP_RUNS=%q: want a number", v)
	}
	return (n + share - 1) / share
}

// spread is a row of the table.
func spread(t *testing.T, what string, all []time.Duration) (median, longest time.Duration) {
	t.Helper()
	slices.Sort(all)
	median, longest = all[len(all)/2], all[len(all)-1]
	t.Logf("figure: same key, %-58s %3d runs: median %6.3f s, shortest %6.3f s, longest %6.3f s", what, len(all), median.Seconds(), all[0].Seconds(), longest.Seconds())
	return median, longest
}

func TestSameKeyClientIsBackSoonAfterItsHostLostPower(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "wireguard-go")
	for _, c := range []struct {
		name, fleet string
		later       time.Duration // the address moves
		few, share  int           // runs, and of WGBGP_RUNS one in so many: all take a test's nine minutes
		median      time.Duration
	}{
		{"BFD 100 ms x 3 between the hosts", "bfd = true\nbfd-interval = \"100ms\"\n", 0, 3, 1, time.Second},
		{"the same, the address moves 600 ms later", "bfd = true\nbfd-interval = \"100ms\"\n", 600 * time.Millisecond, 2, 2, 2 * time.Second},
		{"no BFD, its packets alone", "", 0, 2, 3, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSameKey(t, 1, c.fleet+"hold-time = \"30s\"\n")
			e := s.debian(time.Millisecond)
			s.answered(20*time.Second, time.Now(), e)
			var all []time.Duration
			for range sameKeyRuns(t, c.few, c.share) {
				favor(t)
				s.known()
				e.Forget()
				at := s.cut(c.later)
				all = append(all, s.answered(30*time.Second, at, e)...)
				s.mend()
			}
			if m, _ := spread(t, c.name, all); m > c.median {
				t.Errorf("median %v, want at most %v", m, c.median)
			}
		})
	}
	t.Run("without the fleet", func(t *testing.T) {
		s := newSameKey(t, 1, "")
		e := s.debian(time.Millisecond)
		s.answered(20*time.Second, time.Now(), e)
		var all []time.Duration
		for range sameKeyRuns(t, 1, 8) {
			e.Forget()
			at := s.cut(0)
			all = append(all, s.answered(30*time.Second, at, e)...)
			s.mend()
		}
		if m, _ := spread(t, "no fleet session: WireGuard alone", all); m < 10*time.Second {
			t.Errorf("median %v, want what WireGuard needs: the comparison is none", m)
		}
	})
}

func TestSameKeyTwoHundredClientsAreBackSoon(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	const clients = 200
	s := newSameKey(t, clients, "bfd = true\nbfd-interval = \"200ms\"\n")
	var talkers []*swarm.Echoes
	for i := range clients {
		talkers = append(talkers, &s.dial(i, 100*time.Millisecond).Echoes)
	}
	s.answered(60*time.Second, time.Now(), talkers...)
	var last, middle []time.Duration
	for range sameKeyRuns(t, 2, 1) {
		favor(t)
		s.known()
		for _, e := range talkers {
			e.Forget()
		}
		at := s.cut(0)
		all := s.answered(60*time.Second, at, talkers...)
		middle, last = append(middle, all[len(all)/2]), append(last, all[len(all)-1])
		s.mend()
	}
	spread(t, "200 clients, the one in the middle", middle)
	if _, longest := spread(t, "200 clients, the last one", last); longest > 3*time.Second {
		t.Errorf("the last client was back after %v, want at most 3 s", longest)
	}
}
