package device

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

// seen is one report of a peer of another host.
type seen struct {
	device string
	key    wg.Key
	from   netip.AddrPort
	at     time.Time
}

// abandoned is a lab whose gateway has lost the session that its site still uses,
// as the host has to which an address has moved. The site sends all the time.
func abandoned(t *testing.T, outer string) (*lab, *site, netip.AddrPort, chan seen) {
	l := newLab(t)
	reports := make(chan seen, 1000)
	l.sight = func(device string, k wg.Key, from netip.AddrPort) { reports <- seen{device, k, from, time.Now()} }
	s := l.newSite(1)
	s.peer.Endpoint = wg.Endpoint{}
	l.must(true, s.peer)
	at, dial := netip.MustParseAddrPort("10.99.1.2:51821"), "10.99.1.1:51820"
	if outer == "IPv6" {
		at, dial = netip.MustParseAddrPort("[fd00:99:1::2]:51821"), "[fd00:99:1::1]:51820"
	}
	s.set(t, "peer", private(1).Public().String(), "endpoint", dial)
	cmd := s.ns.Cmd("ping", "-i", "0.02", "10.200.0.1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	nstest.Eventually(t, 10*time.Second, func() error {
		if p := l.peer(s.peer.Key); p.Handshake == 0 || p.Rx < 1000 {
			return fmt.Errorf("no session: %+v", p)
		}
		return nil
	})
	l.must(true)
	l.must(true, s.peer)
	if p := l.peer(s.peer.Key); p.Endpoint.IsValid() || p.Handshake != 0 {
		t.Fatalf("the gateway still knows its peer: %+v", p)
	}
	return l, s, at, reports
}

func TestPeerOfAnotherHostIsSightedAndWonByAGreeting(t *testing.T) {
	if nstest.Isolate(t) {
		sightAndGreet(t, "IPv4")
	}
}

func TestPeerOfAnotherHostIsSightedAndWonOverIPv6(t *testing.T) {
	if nstest.Isolate(t) {
		sightAndGreet(t, "IPv6")
	}
}

func sightAndGreet(t *testing.T, outer string) {
	t.Helper()
	l, s, at, reports := abandoned(t, outer)
	stranger := netip.AddrPortFrom(at.Addr(), at.Port()+1)
	l.m.Watch("gw0", map[netip.AddrPort]wg.Key{at: s.peer.Key, stranger: {1}})
	began := time.Now()
	const reportsWanted = 4
	for i := range reportsWanted {
		select {
		case r := <-reports:
			if r.device != "gw0" || r.key != s.peer.Key || r.from != at {
				t.Fatalf("report %d: got %+v, want the site at %v", i, r, at)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("report %d did not come", i)
		}
	}
	if d := time.Since(began); d < (reportsWanted-2)*sightEvery {
		t.Errorf("%d reports in %v, want one in %v", reportsWanted, d, sightEvery)
	}
	if p := l.peer(s.peer.Key); p.Handshake != 0 {
		t.Fatal("there is a session before the greeting: the site asked by itself")
	}
	began = time.Now()
	if err := l.m.Greet(context.Background(), l.gen, "gw0", []wg.Greeting{{Key: s.peer.Key, Endpoint: at}}); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 10*time.Second, func() error {
		if p := l.peer(s.peer.Key); p.Handshake == 0 || p.Endpoint != at {
			return fmt.Errorf("no session: %+v", p)
		}
		return nil
	})
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("the session took %v, want at most 2 s", d)
	}
	l.up(s)
	// The plan is as it was, and so is the peer.
	l.must(true, s.peer)
	if p := l.peer(s.peer.Key); p.Endpoint != at {
		t.Errorf("after another plan the endpoint is %v, want %v", p.Endpoint, at)
	}
}

// The first initiation came before the address had moved. WireGuard would wait 5 s.
func TestLostGreetingIsFollowedByAnotherAtOnce(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	if forced() == wg.BackendKernel {
		t.Skip("needs the userspace device: the kernel sends one initiation in 5 s")
	}
	nstest.Need(t, "nft")
	l, s, at, _ := abandoned(t, "IPv4")
	greet := func() {
		t.Helper()
		if err := l.m.Greet(context.Background(), l.gen, "gw0", []wg.Greeting{{Key: s.peer.Key, Endpoint: at}}); err != nil {
			t.Fatal(err)
		}
	}
	s.ns.Run(t, "nft", "add table ip t; add chain ip t in { type filter hook input priority 0; }; add rule ip t in udp dport 51821 drop")
	greet()
	nstest.Eventually(t, 5*time.Second, func() error {
		if p := l.peer(s.peer.Key); p.Tx == 0 {
			return errors.New("nothing was sent")
		}
		return nil
	})
	s.ns.Run(t, "nft", "delete table ip t")
	began := time.Now()
	greet()
	l.up(s)
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("the second greeting took %v, want at most 2 s", d)
	}
}

// A peer that has just answered keeps the session it has by that.
func TestPeerThatAnsweredIsNotGreetedAgain(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	if forced() == wg.BackendKernel {
		t.Skip("needs the userspace device: a second greeting of the kernel's is a keepalive")
	}
	l, s, at, _ := abandoned(t, "IPv4")
	l.m.Watch("gw0", map[netip.AddrPort]wg.Key{at: s.peer.Key})
	var first int64
	for i := range 5 {
		if err := l.m.Greet(context.Background(), l.gen, "gw0", []wg.Greeting{{Key: s.peer.Key, Endpoint: at}}); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 5*time.Second, func() error {
			if p := l.peer(s.peer.Key); p.Handshake == 0 {
				return errors.New("no session")
			}
			return nil
		})
		if now := l.peer(s.peer.Key).Handshake; i == 0 {
			first = now
		} else if now != first {
			t.Fatalf("greeting %d cost the session that the first one had won", i+1)
		}
	}
}

// The tap of kernel devices, on any kernel that has eBPF.
func TestTapPassesDataOfWatchedPeersOnly(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	for _, family := range []string{"udp4", "udp6"} {
		t.Run(family, func(t *testing.T) {
			loop := "127.0.0.1"
			if family == "udp6" {
				loop = "::1"
			}
			to, err := net.ListenPacket(family, net.JoinHostPort(loop, "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer to.Close()
			other, err := net.ListenPacket(family, net.JoinHostPort(loop, "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			var from [3]*net.UDPConn
			for i := range from {
				c, err := net.DialUDP(family, nil, to.LocalAddr().(*net.UDPAddr))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				from[i] = c
			}
			address := func(i int) netip.AddrPort { return from[i].LocalAddr().(*net.UDPAddr).AddrPort() }
			reports := make(chan seen, 100)
			w := newWatcher("wg0", func(device string, k wg.Key, from netip.AddrPort) { reports <- seen{device, k, from, time.Now()} })
			w.set(map[netip.AddrPort]wg.Key{address(0): {1}, address(1): {2}})
			tap, err := openTap(uint16(to.LocalAddr().(*net.UDPAddr).Port), w)
			if errors.Is(err, unix.EPERM) {
				t.Skip("needs the right to load eBPF programs")
			}
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan struct{})
			go func() { defer close(ended); tap.run(ctx) }()
			if err := tap.set(*w.peers.Load()); err != nil {
				t.Fatal(err)
			}
			data := func(kind byte) []byte { return append([]byte{kind, 0, 0, 0}, make([]byte, 60)...) }
			send := func(c *net.UDPConn, b []byte) {
				t.Helper()
				if _, err := c.Write(b); err != nil {
					t.Fatal(err)
				}
			}
			for range 50 {
				send(from[2], data(typeData)) // nobody knows it
				send(from[1], data(1))        // a handshake
				send(from[1], data(typeData)[:8])
				if _, err := from[1].WriteTo(data(typeData), other.LocalAddr()); err == nil {
					t.Fatal("a connected socket sent elsewhere")
				}
				send(from[0], data(typeData))
			}
			send(from[1], data(typeData))
			got := map[wg.Key]int{}
			first := map[wg.Key]seen{}
			for len(got) < 2 {
				select {
				case r := <-reports:
					if got[r.key]++; got[r.key] == 1 {
						first[r.key] = r
					}
				case <-time.After(5 * time.Second):
					t.Fatalf("reports: %v, want one of each peer", got)
				}
			}
			for i := range 2 {
				if k := (wg.Key{byte(i + 1)}); got[k] != 1 || first[k].from != address(i) {
					t.Errorf("peer %d: %d reports, the first %+v; want one from %v", i, got[k], first[k], address(i))
				}
			}
			nstest.Eventually(t, 5*time.Second, func() error { // it is armed again
				send(from[0], data(typeData))
				select {
				case <-reports:
					return nil
				default:
					return errors.New("no second report")
				}
			})
			if err := tap.set(nil); err != nil {
				t.Fatal(err)
			}
			stop()
			select {
			case <-ended:
			case <-time.After(5 * time.Second):
				t.Error("the tap does not end")
			}
			tap.close()
		})
	}
}
