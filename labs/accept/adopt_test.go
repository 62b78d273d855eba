package accept

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// adoption is a gateway whose site paris has an endpoint with a name, and whose
// site routed speaks BGP and has an allowed IP that somebody added by hand.
type adoption struct {
	l             *gwlab.Lab
	g             *gwlab.GatewayHost
	paris, routed *gwlab.SiteHost
	names         *nameServer
}

const (
	parisName = "paris.example.test"
	recordTTL = 5 // seconds
)

var byHand = netip.MustParsePrefix("10.77.0.0/24")

func TestAC07_AC33_WhatOthersDecidedIsKept(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	a := newAdoption(t)
	a.addByHand(t)
	t.Run("AC33_DeadEndpointIsResolvedAgain", a.resolvedAgain)
	t.Run("AC07_ForeignAllowedIPSurvives", a.foreignSurvives)
}

func newAdoption(t *testing.T) *adoption {
	t.Helper()
	l := start(t, gwlab.Spec{
		Gateways: []gwlab.Gateway{{Name: "gw1", NotStarted: true}},
		Sites: []gwlab.Site{
			{Name: "paris", Tables: "[[site.probe]]\nname = \"ping\"\n"},
			{Name: "routed", BGP: gwlab.BGPRouter},
		},
	})
	a := &adoption{l: l, g: l.Gateways[0], paris: l.Site("paris"), routed: l.Site("routed")}
	a.names = startNames(t, a.g, parisName+".", netip.MustParseAddr("198.19.1.2"))
	resolv, err := a.g.Host.File("resolv.conf", "nameserver 127.0.0.1\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.g.Host.RunAll("mount --bind " + resolv + " /etc/resolv.conf"); err != nil {
		t.Fatal(err)
	}
	rewrite(t, a.g, func(c string) string {
		return strings.Replace(c, `endpoint = "198.19.1.2:`, `endpoint = "`+parisName+":", 1)
	})
	if err := l.StartGateway(a.g); err != nil {
		t.Fatal(err)
	}
	reach(t, l, "paris")
	reach(t, l, "routed")
	atTGW(t, l, 20*time.Second, a.paris.Net4, "gw1")
	return a
}

// addByHand gives routed's peer an allowed IP as an administrator does. wg(8)
// can only replace the list, so the others are repeated.
func (a *adoption) addByHand(t *testing.T) {
	t.Helper()
	key := siteKey(t, a.g, "routed")
	list := []string{byHand.String()}
	for p, k := range owners(allowedIPs(t, a.g, "wg0")) {
		if k == key {
			list = append(list, p.String())
		}
	}
	if _, err := a.g.Host.Run("wg", "set", "wg0", "peer", key, "allowed-ips", strings.Join(list, ",")); err != nil {
		t.Fatal(err)
	}
}

// heldByHand checks that the entry is in place, and waits until it is listed as
// foreign.
func (a *adoption) heldByHand(t *testing.T, when string) {
	t.Helper()
	key := siteKey(t, a.g, "routed")
	if own := owners(allowedIPs(t, a.g, "wg0")); own[byHand] != key {
		t.Errorf("%s: owner of %s: got %q, want %s", when, byHand, own[byHand], key)
	}
	nstest.Eventually(t, 40*time.Second, func() error {
		p, err := tryAsk[api.PeerList](a.l, a.g, "peer", "routed")
		if err != nil {
			return err
		}
		i := slices.IndexFunc(p.Peers[0].AllowedIPs, func(x api.AllowedIP) bool { return x.Prefix == byHand })
		if i < 0 || p.Peers[0].AllowedIPs[i].Source != api.SourceForeign {
			return fmt.Errorf("%s: wgbgp peer routed: %s is not listed as foreign: %+v", when, byHand, p.Peers[0].AllowedIPs)
		}
		return nil
	})
}

func (a *adoption) foreignSurvives(t *testing.T) {
	began := time.Now()
	a.heldByHand(t, "at first")
	t.Logf("AC-7: listed as foreign after another %.1f s", time.Since(began).Seconds())

	more := netip.MustParsePrefix("10.102.9.0/24")
	if err := a.l.SetSiteNetworks(a.routed, a.routed.Net4, a.routed.Net6, more); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 10*time.Second, func() error { return bothHold(a.g, []netip.Prefix{more}, 1) })
	if err := a.l.SetSiteNetworks(a.routed, a.routed.Net6); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 15*time.Second, func() error { return bothHold(a.g, []netip.Prefix{more, a.routed.Net4}, 0) })
	a.heldByHand(t, "after withdrawals")

	rewrite(t, a.g, func(c string) string {
		return strings.Replace(c, "\n[gateway]", "\n[fib]\nmax-ecmp = 4\n\n[gateway]", 1) + "\n"
	})
	reload(t, a.l, a.g)
	a.heldByHand(t, "after a reload")

	restart(t, a.l, a.g, syscall.SIGTERM)
	nstest.Eventually(t, 10*time.Second, func() error { return a.owns() })
	a.heldByHand(t, "after a restart")

	restart(t, a.l, a.g, syscall.SIGKILL)
	nstest.Eventually(t, 10*time.Second, func() error { return a.owns() })
	a.heldByHand(t, "after kill -9")
	reach(t, a.l, "paris")
	a.heldByHand(t, "with everything running again")
	t.Log("figure: AC-7 (w03) foreign allowed IP kept over withdrawal, reload, restart and kill -9, and listed as foreign each time")
}

func (a *adoption) owns() error {
	out, err := a.g.Host.Run("wg", "show", "wg0", "allowed-ips")
	if err == nil && owners(out)[byHand] == "" {
		err = fmt.Errorf("nobody owns %s", byHand)
	}
	return err
}

func (a *adoption) resolvedAgain(t *testing.T) {
	// The site starts anew at another address and knows none of the gateway's: it
	// can not call, so that only the name leads to it.
	device := "wg-gw1"
	gateway, err := a.paris.Host.Run("wg", "show", device, "peers")
	if err != nil {
		t.Fatal(err)
	}
	peer := "wg set " + device + " peer " + strings.TrimSpace(gateway)
	before := a.parisNow(t)
	if err := errors.Join(a.paris.Host.RunAll(peer+" remove", peer+" allowed-ips 0.0.0.0/0,::/0"), a.move("198.19.1.3")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	a.names.set(netip.MustParseAddr("198.19.1.3"))
	nstest.Eventually(t, 30*time.Second, func() error {
		h, err := tryAsk[api.HealthList](a.l, a.g, "health", "paris")
		if err == nil && h.Health[0].Verdict != "down" {
			err = fmt.Errorf("verdict %s", h.Health[0].Verdict)
		}
		return err
	})
	dead := time.Now()
	nstest.Eventually(t, 30*time.Second, func() error {
		if now := a.parisNow(t); now.endpoint != "198.19.1.3:51821" {
			return fmt.Errorf("endpoint %s", now.endpoint)
		}
		return nil
	})
	resolved := time.Now()
	nstest.Eventually(t, 30*time.Second, func() error {
		if now := a.parisNow(t); now.handshake == before.handshake {
			return errors.New("no new handshake")
		}
		return nil
	})
	shook := time.Since(dead)
	limit := (recordTTL + 10) * time.Second
	t.Logf("figure: AC-33 (w07) record and site move: dead after %.1f s, endpoint set %.1f s and handshake %.1f s after that (limit %.0f)",
		dead.Sub(began).Seconds(), resolved.Sub(dead).Seconds(), shook.Seconds(), limit.Seconds())
	if shook > limit {
		t.Errorf("handshake %s after death, want at most %s", shook, limit)
	}
	reach(t, a.l, "paris")
	atTGW(t, a.l, 20*time.Second, a.paris.Net4, "gw1")

	// The site roams; what its name says is out of date now, and it lives.
	if err := a.move("198.19.1.4"); err != nil {
		t.Fatal(err)
	}
	const roamed = "198.19.1.4:51821"
	nstest.Eventually(t, 10*time.Second, func() error {
		_ = ping(a.paris.Workload(), a.l.VPCWorkload().A4)
		if now := a.parisNow(t); now.endpoint != roamed {
			return fmt.Errorf("endpoint %s, want %s", now.endpoint, roamed)
		}
		return nil
	})
	reload(t, a.l, a.g)
	asked := a.names.questions()
	const watch = 12 * time.Second // longer than the 10 s between lookups
	since := time.Now()
	nstest.Eventually(t, watch+5*time.Second, func() error {
		if now := a.parisNow(t); now.endpoint != roamed {
			t.Fatalf("endpoint %s, want it left at %s", now.endpoint, roamed)
		}
		if left := watch - time.Since(since); left > 0 {
			return fmt.Errorf("watching for another %s", left)
		}
		return nil
	})
	restart(t, a.l, a.g, syscall.SIGTERM)
	reach(t, a.l, "paris")
	if now := a.parisNow(t); now.endpoint != roamed {
		t.Errorf("after a restart: endpoint %s, want %s", now.endpoint, roamed)
	}
	t.Logf("figure: AC-33 (w08) healthy roamed endpoint kept over a reload, %s and a restart; lookups meanwhile: %d", watch, a.names.questions()-asked)
}

// move gives the site another address in the underlay, and nothing else.
func (a *adoption) move(to string) error {
	return a.paris.Host.RunAll("ip -4 addr flush dev eth0 scope global", "ip addr add "+to+"/24 dev eth0", "ip route replace 198.18.0.0/16 via 198.19.1.1")
}

// parisNow is what WireGuard on the gateway says about paris.
func (a *adoption) parisNow(t *testing.T) peerNow {
	t.Helper()
	return dumpPeers(t, a.g)[siteKey(t, a.g, "paris")]
}

// nameServer answers for one name on the gateway's loopback address.
type nameServer struct {
	name string
	mu   sync.Mutex
	addr netip.Addr
	n    int
}

func startNames(t *testing.T, g *gwlab.GatewayHost, name string, addr netip.Addr) *nameServer {
	t.Helper()
	s := &nameServer{name: name, addr: addr}
	var c *net.UDPConn
	err := g.Host.Do(func() error {
		var err error
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:53")))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() { s.serve(c) })
	t.Cleanup(func() {
		_ = c.Close()
		done.Wait()
	})
	return s
}

func (s *nameServer) set(a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addr = a
}

// questions is how many were asked so far.
func (s *nameServer) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *nameServer) serve(c *net.UDPConn) {
	b := make([]byte, 1500)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if out, err := s.answer(b[:n]); err == nil {
			_, _ = c.WriteToUDPAddrPort(out, from)
		}
	}
}

func (s *nameServer) answer(query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.n++
	addr := s.addr
	s.mu.Unlock()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	switch {
	case q.Name.String() != s.name:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: recordTTL},
			Body:   &dnsmessage.AResource{A: addr.As4()},
		}}
	}
	return m.Pack()
}
