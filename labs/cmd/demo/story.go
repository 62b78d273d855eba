package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/traffic"
)

// story is the demo in four acts.
type story struct {
	out         io.Writer
	daemon, cli string

	start       time.Time
	lab         *gwlab.Lab
	gw1, gw2    *gwlab.GatewayHost
	paris       *gwlab.SiteHost // static
	berlin      *gwlab.SiteHost // BGP
	streams     []*traffic.Stream
	names       []string
	checks      int
	failed      int
	interrupted context.Context
}

// Names of the streams, in the order of story.streams.
const (
	vpcToParis = iota
	parisToVPC
	vpcToBerlin
	berlinToVPC
)

const picture = `
                 .-- gre -- gw1 --.              .-- paris --- 10.101.0.0/16  static prefixes
  vpc --- tgw ---|                |-- internet --|
  10.0.0.0/16    '-- gre -- gw2 --'              '-- berlin -- 10.102.0.0/16  speaks BGP

  BGP and GRE to the left of the gateways; to the right each site has a WireGuard
  tunnel to each gateway.
`

const (
	// Packets per second of each stream; two go each way, so that 1000 a second
	// leave the VPC and 1000 come back.
	rate  = 500
	flows = 16 // per stream, so that ECMP has something to spread
)

var errInterrupted = errors.New("interrupted")

func (s *story) tell() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s.interrupted = ctx
	s.start = time.Now()
	fmt.Fprint(s.out, picture)
	for _, act := range []func() error{s.build, s.everywhere, s.cut, s.heal, s.leave} {
		if err := act(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return errInterrupted
		}
	}
	s.account()
	return nil
}

// probe is what the gateways measure of each site: the workload behind it.
const probe = `[[site.probe]]
name = "lan"
target = "%s"
interval = "500ms"
timeout = "500ms"
`

func (s *story) build() error {
	s.act("Two gateways, a Transit Gateway and two sites start")
	lab, err := gwlab.Start(gwlab.Spec{
		Daemon: s.daemon, CLI: s.cli,
		Gateways: []gwlab.Gateway{{Name: "gw1"}, {Name: "gw2"}},
		Sites: []gwlab.Site{
			{
				Name: "paris", Keepalive: 5, PSK: true, ReturnBy: []string{"gw2"},
				TOML: "hold-down = \"2s\"\n", Tables: fmt.Sprintf(probe, "10.101.0.10"),
			},
			{
				Name: "berlin", Keepalive: 5, BGP: gwlab.BGPRouter,
				TOML: "hold-down = \"2s\"\n", Tables: fmt.Sprintf(probe, "10.102.0.10"),
			},
		},
	})
	if err != nil {
		return err
	}
	s.lab, s.gw1, s.gw2 = lab, lab.Gateway("gw1"), lab.Gateway("gw2")
	s.paris, s.berlin = lab.Site("paris"), lab.Site("berlin")
	s.say("daemons run on gw1 and gw2; WireGuard and GRE are the embedded userspace ones where the kernel has none")
	return nil
}

// everywhere is act 1: routes appear on all sides and packets flow.
func (s *story) everywhere() error {
	s.act("1. Routes everywhere")
	var lines timeline
	for _, site := range []*gwlab.SiteHost{s.paris, s.berlin} {
		for _, p := range []any{site.Net4, site.Net6} {
			at, err := s.tgwRoute(30*time.Second, s.start, fmt.Sprint(p), "gw1", "gw2")
			if err != nil {
				return err
			}
			lines.add(at, "the Transit Gateway reaches %v (%s) by gw1 and gw2", p, site.Name)
		}
	}
	at, err := s.berlinRoute(10*time.Second, s.start, "gw1", "gw2")
	if err != nil {
		return err
	}
	lines.add(at, "berlin reaches 10.0.0.0/16, which it learned by BGP, by gw1 and gw2")
	s.tellInOrder(lines)

	vpc := s.lab.VPCWorkload()
	for _, ends := range [][2]gwlab.Workload{
		vpcToParis:  {vpc, s.paris.Workload()},
		parisToVPC:  {s.paris.Workload(), vpc},
		vpcToBerlin: {vpc, s.berlin.Workload()},
		berlinToVPC: {s.berlin.Workload(), vpc},
	} {
		st, err := gwlab.Stream(ends[0], ends[1], rate, flows)
		if err != nil {
			return err
		}
		s.streams, s.names = append(s.streams, st), append(s.names, fmt.Sprintf("%s to %s", ends[0].Name, ends[1].Name))
	}
	if err := gwlab.Eventually(10*time.Second, s.flowing); err != nil {
		return err
	}
	began := time.Now()
	s.say("packets flow: %d a second from the VPC to the sites and as many back, in %d flows", 2*rate, flows*len(s.streams))
	for _, noun := range []string{"neighbor", "rib"} {
		if err := s.command(s.gw1, 0, 20, noun); err != nil {
			return err
		}
	}
	s.pause(3 * time.Second)
	s.expectLoss(began, s.settle(), 0, vpcToParis, parisToVPC, vpcToBerlin, berlinToVPC)
	return nil
}

// cut is act 2: the tunnel between gw1 and paris dies silently.
func (s *story) cut() error {
	s.act("2. The tunnel between gw1 and paris is cut, silently")
	began := time.Now()
	if err := s.lab.Cut(s.gw1, s.paris); err != nil {
		return err
	}
	s.sayAt(began, "the internet drops every packet between gw1 and paris")
	at, err := s.tgwRoute(20*time.Second, began, s.paris.Net4.String(), "gw2")
	if err != nil {
		return err
	}
	s.sayAt(at, "gw1 has withdrawn paris: the Transit Gateway uses gw2 alone, %s after the cut", ms(at.Sub(began)))
	// AC-9: ICMP probes. Here 3 of 500 ms each, so 2 s and a bit.
	s.expect("withdrawn within 2.5 s of the cut", at.Sub(began) <= 2500*time.Millisecond)
	if err := s.command(s.gw1, 5, 30, "explain", s.paris.LAN4.String()); err != nil {
		return err
	}
	ended := s.settle()
	s.loss(began, ended, vpcToParis)
	s.expectGap(began, ended, at.Sub(began)+100*time.Millisecond, vpcToParis)
	s.expectLoss(began, ended, 0, parisToVPC, vpcToBerlin, berlinToVPC)
	return nil
}

// heal is act 3: the tunnel comes back.
func (s *story) heal() error {
	s.act("3. The tunnel comes back")
	began := time.Now()
	if err := s.lab.Heal(s.gw1, s.paris); err != nil {
		return err
	}
	s.sayAt(began, "packets between gw1 and paris pass again")
	at, err := s.tgwRoute(40*time.Second, began, s.paris.Net4.String(), "gw1", "gw2")
	if err != nil {
		return err
	}
	s.sayAt(at, "gw1 has announced paris again: the Transit Gateway spreads over both, %s after the repair", ms(at.Sub(began)))
	if err := s.command(s.gw1, 0, 30, "explain", s.paris.LAN4.String()); err != nil {
		return err
	}
	s.expectLoss(began, s.settle(), 0, vpcToParis, parisToVPC, vpcToBerlin, berlinToVPC)
	return nil
}

// leave is act 4: gw1 stops in an orderly way.
func (s *story) leave() error {
	s.act("4. gw1 is stopped in an orderly way (SIGTERM)")
	began := time.Now()
	if err := s.gw1.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	s.sayAt(began, "systemctl stop wgbgpd, as it were")
	var lines timeline
	for _, site := range []*gwlab.SiteHost{s.paris, s.berlin} {
		at, err := s.tgwRoute(20*time.Second, began, site.Net4.String(), "gw2")
		if err != nil {
			return err
		}
		lines.add(at, "the Transit Gateway uses gw2 alone for %s, %s after the signal", site.Name, ms(at.Sub(began)))
	}
	at, err := s.berlinRoute(20*time.Second, began, "gw2")
	if err != nil {
		return err
	}
	lines.add(at, "berlin uses gw2 alone, %s after the signal", ms(at.Sub(began)))
	s.tellInOrder(lines)
	select {
	case <-s.gw1.Process.Done():
	case <-time.After(20 * time.Second):
		return errors.New("gw1 does not end")
	}
	s.say("wgbgpd on gw1 has ended, %s after the signal", ms(time.Since(began)))
	s.expect("it ended with exit code 0", s.gw1.Process.Err() == nil)
	s.pause(2 * time.Second)
	s.expectLoss(began, s.settle(), 0, vpcToParis, parisToVPC, vpcToBerlin, berlinToVPC)
	return nil
}

// flowing says which stream has not delivered anything lately.
func (s *story) flowing() error {
	for n, st := range s.streams {
		if !st.Flowing(50 * time.Millisecond) {
			return fmt.Errorf("no packets arrive from %s", s.names[n])
		}
	}
	return nil
}

// tgwRoute waits until the Transit Gateway has a prefix by exactly these
// gateways, and returns when it got there.
func (s *story) tgwRoute(within time.Duration, since time.Time, prefix string, via ...string) (time.Time, error) {
	return s.waitRoute(within, since, prefix, via, s.lab.TGWEvents)
}

func (s *story) berlinRoute(within time.Duration, since time.Time, via ...string) (time.Time, error) {
	return s.waitRoute(within, since, "10.0.0.0/16", via, func() (events, error) { return s.lab.SiteEvents(s.berlin) })
}

// command shows a command of the real command line, its output shortened to
// some lines.
func (s *story) command(g *gwlab.GatewayHost, code, lines int, args ...string) error {
	stdout, stderr, got, err := s.lab.CLI(g, args...)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\n    %s$ wgbgp %s\n", g.Name, strings.Join(args, " "))
	all := strings.Split(strings.TrimRight(stdout+stderr, "\n"), "\n")
	for _, l := range all[:min(lines, len(all))] {
		fmt.Fprintf(s.out, "    %s\n", l)
	}
	if len(all) > lines {
		fmt.Fprintf(s.out, "    ... %d more lines\n", len(all)-lines)
	}
	fmt.Fprintln(s.out)
	s.expect(fmt.Sprintf("wgbgp %s ends with exit code %d", args[0], code), got == code)
	return nil
}

// account prints what became of all packets.
func (s *story) account() {
	s.act("All packets")
	reports := make([]traffic.Report, len(s.streams))
	var all sync.WaitGroup
	for n, st := range s.streams {
		all.Go(func() { reports[n] = st.Stop(200 * time.Millisecond) })
	}
	all.Wait()
	drops := 0
	for n, r := range reports {
		s.say("%-14s  %5d sent, %4d lost, %d out of order, delay %s in the median and %s at most",
			s.names[n], r.Sent, r.Lost, r.Overtaken, ms(r.DelayMedian), ms(r.DelayMax))
		drops += r.SinkDrops
	}
	s.expect("the measurement itself lost nothing", drops == 0)
	word := "all as expected"
	if s.failed > 0 {
		word = fmt.Sprintf("%d NOT as expected", s.failed)
	}
	fmt.Fprintf(s.out, "\n%d expectations, %s; %s\n", s.checks, word, time.Since(s.start).Round(time.Second))
}

// showLogs prints what the programs said last.
func (s *story) showLogs() {
	for _, g := range []*gwlab.GatewayHost{s.gw1, s.gw2} {
		if g != nil && g.Process != nil {
			fmt.Fprintf(s.out, "\n%s, end of its log:\n%s\n", g.Name, g.Process.Tail(15))
		}
	}
	if p := s.lab.TGWProcess; p != nil {
		fmt.Fprintf(s.out, "\ntgw, end of its log:\n%s\n", p.Tail(15))
	}
}
