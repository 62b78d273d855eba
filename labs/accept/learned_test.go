package accept

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/traffic"
)

// 500 prefixes come from a site at 100/s and leave at 100/s, which is 1,000
// single changes of the allowed IPs of a peer that carries 10,000 packets per
// second for another prefix.
func TestAC02_AC05_ThousandChangesOfAllowedIPsLoseNothing(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	const count, pace = 500, 10 * time.Millisecond
	l := start(t, gwlab.Spec{
		Gateways: []gwlab.Gateway{{Name: "gw1"}},
		Sites: []gwlab.Site{{
			Name: "routed", BGP: gwlab.BGPRouter,
			TOML: "max-prefixes = 1000\n",
		}},
	})
	g, s := l.Gateways[0], l.Site("routed")
	rewrite(t, g, func(c string) string { return allowMore(c, "routed", "10.200.0.0/15 le 24") })
	reload(t, l, g)
	if err := s.Host.RunAll("ip route add local 10.200.0.0/15 dev lo"); err != nil {
		t.Fatal(err)
	}
	reach(t, l, "routed")
	atTGW(t, l, 20*time.Second, s.Net4, "gw1")

	var learned []netip.Prefix
	for i := range count {
		learned = append(learned, netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/24", 200+i/256, i%256)))
	}
	favor(t)
	// A packet that a full queue drops because a process had no processor for
	// 200 ms says nothing about allowed IPs: such a run is measured again. It
	// never counts as success.
	for try := 1; ; try++ {
		m := measureChanges(t, l, g, s, learned, pace)
		t.Logf("figure: AC-2 ENOKEY or silent drop of a packet that had a route: %d of %d (limit 0); errors without a route: %v",
			max(0, m.probesLost+m.flow.Lost-m.full), m.probes, m.refused)
		t.Logf("figure: AC-2 routes without their allowed IP: %d in %d samples (limit 0)", len(m.torn), m.samples)
		t.Logf("figure: AC-5 lost during %d changes: %d of %d (limit 0), dropped by full queues of a busy machine: %d", 2*count, m.flow.Lost, m.flow.Sent, m.full)
		if m.probesLost+m.flow.Lost > m.full || m.refused[syscall.ENOKEY] > 0 {
			t.Errorf("AC-2: %d packets that the kernel had a route for did not arrive, %d of them dropped by full queues:\n%s\nrefused: %v, %s",
				m.probesLost+m.flow.Lost, m.full, m.where, m.refused, m.flow)
		}
		if len(m.torn) > 0 {
			t.Errorf("AC-2: routes into wg0 without their allowed IP: %v", m.torn[:min(5, len(m.torn))])
		}
		if m.probes < 5000 || m.samples < 20 {
			t.Errorf("AC-2: too little was measured: %d packets, %d samples", m.probes, m.samples)
		}
		if m.flow.Lost == 0 || t.Failed() {
			return
		}
		if try == 3 {
			t.Fatalf("AC-5: %s, dropped by full queues:\n%s", m.flow, m.where)
		}
	}
}

// changes is the account of one run.
type changes struct {
	flow               traffic.Report
	probes, probesLost int
	refused            map[syscall.Errno]int
	samples            int
	torn               []netip.Prefix
	full               int // packets dropped by full queues
	where              string
}

// measureChanges lets the prefixes come and go under load.
func measureChanges(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost, s *gwlab.SiteHost, learned []netip.Prefix, pace time.Duration) (m changes) {
	t.Helper()
	count := len(learned)
	full, _ := drops(l)
	flow, err := gwlab.Stream(l.VPCWorkload(), s.Workload(), 10000, 4)
	if err != nil {
		t.Fatal(err)
	}
	probes := startProbes(t, g, s, learned, 1000)
	watch := startPairWatch(g, learned)
	base := []netip.Prefix{s.Net4, s.Net6}
	began := time.Now()
	for i := range 2 * count {
		n := i + 1 // prefixes announced after this step
		if i >= count {
			n = 2*count - i - 1
		}
		if err := l.SetSiteNetworks(s, append(slices.Clone(base), learned[:n]...)...); err != nil {
			t.Fatal(err)
		}
		if i == count-1 {
			nstest.Eventually(t, 20*time.Second, func() error { return bothHold(g, learned, count) })
			t.Logf("figure: AC-2 %d prefixes at 100/s in kernel and allowed IPs %.1f s after the first", count, time.Since(began).Seconds())
		}
		time.Sleep(time.Until(began.Add(time.Duration(i+1) * pace))) // the pace of the announcements
	}
	nstest.Eventually(t, 20*time.Second, func() error { return bothHold(g, learned, 0) })
	m.probes, m.probesLost, m.refused = probes.stop()
	m.samples, m.torn = watch.stop()
	m.flow = flow.Stop(500 * time.Millisecond)
	m.full, m.where = drops(l)
	m.full -= full
	return m
}

// bothHold reports whether exactly n of the prefixes have a route, and an
// allowed IP.
func bothHold(g *gwlab.GatewayHost, prefixes []netip.Prefix, n int) error {
	routes, err := ourRoutes(g)
	if err != nil {
		return err
	}
	ips, err := g.Host.Run("wg", "show", "wg0", "allowed-ips")
	if err != nil {
		return err
	}
	own := owners(ips)
	haveRoutes, haveIPs := 0, 0
	for _, p := range prefixes {
		if _, ok := slices.BinarySearchFunc(routes, p, netip.Prefix.Compare); ok {
			haveRoutes++
		}
		if own[p] != "" {
			haveIPs++
		}
	}
	if haveRoutes != n || haveIPs != n {
		return fmt.Errorf("want %d routes and allowed IPs, got %d and %d", n, haveRoutes, haveIPs)
	}
	return nil
}

// pairWatch looks for routes into wg0 whose prefix nobody owns.
type pairWatch struct {
	done    chan struct{}
	wg      sync.WaitGroup
	samples int
	torn    []netip.Prefix
}

// startPairWatch samples routes, allowed IPs and routes again, in this order: a
// prefix that had its route before and after had it in between.
func startPairWatch(g *gwlab.GatewayHost, prefixes []netip.Prefix) *pairWatch {
	w := &pairWatch{done: make(chan struct{})}
	w.wg.Go(func() {
		for {
			select {
			case <-w.done:
				return
			case <-time.After(100 * time.Millisecond):
			}
			before, err1 := ourRoutes(g)
			ips, err2 := g.Host.Run("wg", "show", "wg0", "allowed-ips")
			after, err3 := ourRoutes(g)
			if errors.Join(err1, err2, err3) != nil {
				continue
			}
			w.samples++
			own := owners(ips)
			for _, p := range prefixes {
				_, was := slices.BinarySearchFunc(before, p, netip.Prefix.Compare)
				_, is := slices.BinarySearchFunc(after, p, netip.Prefix.Compare)
				if was && is && own[p] == "" {
					w.torn = append(w.torn, p)
				}
			}
		}
	})
	return w
}

func (w *pairWatch) stop() (samples int, torn []netip.Prefix) {
	close(w.done)
	w.wg.Wait()
	return w.samples, w.torn
}

// probes sends one packet after the other to the prefixes in turn, from the
// gateway itself, and has the site count them. Where the kernel's WireGuard
// answers ENOKEY, the userspace device takes the packet and drops it; so a
// packet that sendto accepted, because there was a route, has to arrive.
type probes struct {
	done     chan struct{}
	sender   sync.WaitGroup
	receiver sync.WaitGroup
	out, in  *net.UDPConn
	sent     []bool // by sequence number
	arrived  map[uint32]bool
	refused  map[syscall.Errno]int
}

func startProbes(t *testing.T, g *gwlab.GatewayHost, s *gwlab.SiteHost, prefixes []netip.Prefix, rate int) *probes {
	t.Helper()
	p := &probes{done: make(chan struct{}), arrived: map[uint32]bool{}, refused: map[syscall.Errno]int{}}
	open := func(addr string) func() (*net.UDPConn, error) {
		return func() (*net.UDPConn, error) {
			return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		}
	}
	var err1, err2 error
	_ = s.Host.Do(func() error { p.in, err1 = open("0.0.0.0:0")(); return err1 })
	_ = g.Host.Do(func() error { p.out, err2 = open("172.20.1.1:0")(); return err2 })
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	_ = p.in.SetReadBuffer(4 << 20)
	port := p.in.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	p.receiver.Go(func() {
		b := make([]byte, 64)
		for {
			n, _, err := p.in.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if n == 4 {
				p.arrived[binary.BigEndian.Uint32(b)] = true
			}
		}
	})
	p.sender.Go(func() {
		began := time.Now()
		for n := 0; ; n++ {
			select {
			case <-p.done:
				return
			case <-time.After(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(rate)))):
			}
			// A step that has no common factor with 500 visits all of them.
			to := prefixes[n*197%len(prefixes)].Addr().Next()
			_, err := p.out.WriteToUDPAddrPort(binary.BigEndian.AppendUint32(nil, uint32(n)), netip.AddrPortFrom(to, port))
			var no syscall.Errno
			if errors.As(err, &no) {
				p.refused[no]++
			}
			p.sent = append(p.sent, err == nil)
		}
	})
	return p
}

// stop returns how many packets the kernel took, how many of these are lost, and
// what it answered to the others.
func (p *probes) stop() (sent, lost int, refused map[syscall.Errno]int) {
	close(p.done)
	p.sender.Wait()
	time.Sleep(300 * time.Millisecond) // packets under way
	_, _ = p.in.Close(), p.out.Close()
	p.receiver.Wait()
	for n, ok := range p.sent {
		if !ok {
			continue
		}
		sent++
		if !p.arrived[uint32(n)] {
			lost++
		}
	}
	return sent, lost, p.refused
}
