package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/bgp/bfd"
	"github.com/wgbgp/wgbgp/bgp/fib"
	"github.com/wgbgp/wgbgp/bgp/speaker"
	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/tgwconnect/gre"
	"github.com/wgbgp/wgbgp/wg"
	"github.com/wgbgp/wgbgp/wg/device"
	"github.com/wgbgp/wgbgp/wg/fleet"
	"github.com/wgbgp/wgbgp/wg/probe"
)

// auditEvery is how often an edge compares what it owns with the kernel even
// if no event came.
const auditEvery = 30 * time.Second

// gateway holds the edges of one daemon.
type gateway struct {
	inbox   *inbox
	journal *journal
	log     *slog.Logger
	fatal   chan error // capacity 1: the daemon must end

	wg      *device.Manager
	fib     *fib.FIB
	speaker *speaker.Speaker
	gre     *gre.Manager
	probes  *probe.Engine
	bfd     *bfd.Engine
	fleet   *fleet.Engine
	lookout *lookout
	greeter greeter

	wgEdge, fibEdge, bgpEdge, greEdge, probeEdge, bfdEdge, fleetEdge, greetEdge *edge

	sysctl      atomic.Value // ha.SysctlMode
	sysctlWrong string       // what checkSysctls logged last; of the routes edge alone
	clamp       atomic.Bool
	refused     atomic.Pointer[map[string]string] // neighbors that could not be set, with why
}

// neighborErrors lists neighbors that could not be set, by name.
func (g *gateway) neighborErrors() map[string]string {
	if m := g.refused.Load(); m != nil {
		return *m
	}
	return nil
}

// adopt takes over the settings that the edges read directly.
func (g *gateway) adopt(cfg *ha.Config) {
	g.sysctl.Store(cfg.FIB.Sysctl)
	g.clamp.Store(cfg.FIB.MSSClamp)
}

// newGateway opens every edge. Nothing is changed in the system yet.
func newGateway(cfg *configs.Config, in *inbox, j *journal, log *slog.Logger) (*gateway, error) {
	g := &gateway{inbox: in, journal: j, log: log, fatal: make(chan error, 1)}
	g.adopt(cfg.Core)
	var err error
	if g.wg, err = device.New(device.Options{Logger: log, StateDir: filepath.Join(cfg.StateDir, "wireguard"), OnSight: g.sighted}); err != nil {
		return nil, fmt.Errorf("wireguard: %w", err)
	}
	if g.fib, err = fib.New(fib.Options{Logger: log, VRF: cfg.Core.FIB.VRF}); err != nil {
		return nil, fmt.Errorf("kernel routes: %w", err)
	}
	if g.gre, err = gre.New(gre.Options{Logger: log}); err != nil {
		return nil, fmt.Errorf("gre: %w", err)
	}
	if g.speaker, err = speaker.New(speaker.Config{
		ASN: cfg.Core.Gateway.ASN, RouterID: cfg.Core.Gateway.RouterID, ListenDevice: cfg.Core.FIB.VRF,
		Logger: log, Sink: sink{g}, OnWedged: g.wedged,
		OnLosing: func(name string) { in.put(ha.NeighborLosing{Name: name}) },
	}); err != nil {
		return nil, err
	}
	g.probes = probe.New(probe.Options{Logger: log, OnResult: func(r wg.ProbeResult) { in.put(ha.ProbeObserved{ProbeResult: r}) }})
	g.bfd = bfd.New(bfd.Options{Logger: log, OnState: func(s bgp.BFDState) { in.put(ha.BFDObserved{BFDState: s}) }})
	g.lookout = newLookout(g.wg.Watch)
	g.fleet = fleet.New(fleet.Options{Logger: log, OnRoster: g.roster})
	g.wgEdge = g.edge("wireguard", g.wg.Events(), auditEvery, g.applyWireGuard)
	g.fibEdge = g.edge("routes", g.fib.Events(), auditEvery, g.applyRoutes)
	g.bgpEdge = g.edge("bgp", nil, 0, g.applyBGP)
	g.greEdge = g.edge("gre", g.gre.Events(), auditEvery, g.applyTunnels)
	g.probeEdge = g.edge("probes", nil, 0, g.applyProbes)
	g.bfdEdge = g.edge("bfd", nil, 0, g.applyBFD)
	g.fleetEdge = g.edge("fleet", nil, 0, g.applyFleet)
	g.greetEdge = g.edge("greetings", nil, 0, g.applyGreetings)
	return g, nil
}

func (g *gateway) edge(name string, events <-chan struct{}, every time.Duration, do func(context.Context, *ha.Plan, why) string) *edge {
	return &edge{name: name, events: events, every: every, do: do, report: g.journal, kick: make(chan struct{}, 1)}
}

func (g *gateway) edges() []*edge {
	return []*edge{g.wgEdge, g.greEdge, g.fibEdge, g.bgpEdge, g.probeEdge, g.bfdEdge, g.fleetEdge, g.greetEdge}
}

func (g *gateway) applyWireGuard(ctx context.Context, p *ha.Plan, w why) string {
	var bad []string
	for i := range p.Devices {
		if w == planned {
			break
		}
		// What somebody else did to the device is seen only by reading it whole.
		if _, err := g.wg.Snapshot(ctx, p.Devices[i].Name); err != nil && !errors.Is(err, device.ErrNoDevice) {
			bad = append(bad, p.Devices[i].Name+": "+err.Error())
		}
	}
	for _, a := range g.wg.Apply(ctx, p.Gen, p.Devices, p.FIB.Complete) {
		if a.Err != "" {
			bad = append(bad, a.Device+": "+a.Err)
		}
		for _, text := range a.Problems {
			bad = append(bad, a.Device+": "+text)
		}
		g.inbox.put(ha.WireGuardApplied{Plan: p, Applied: a})
	}
	return strings.Join(bad, "; ")
}

func (g *gateway) applyRoutes(ctx context.Context, p *ha.Plan, w why) string {
	tunnels := tunnelDevices(p)
	g.checkSysctls(tunnels)
	if w == audit {
		g.fib.Resync(ctx)
	}
	clamp := tunnels
	if !g.clamp.Load() {
		clamp = nil
	}
	// A prefix is announced once its route is confirmed: by then its packets
	// must pass the source check.
	sources := g.fib.ApplySources
	if !p.FIB.Complete {
		sources = g.fib.GrowSources
	}
	err := errors.Join(g.fib.ApplyClamp(ctx, clamp), sources(ctx, p.Sources))
	r := g.fib.Apply(ctx, p.Gen, p.FIB)
	g.inbox.put(ha.RoutesApplied{Plan: p, RoutesApplied: r})
	switch {
	case r.Err != "":
		return r.Err
	case err != nil:
		return "nftables: " + err.Error()
	}
	return ""
}

// tunnelDevices lists the interfaces that traffic is forwarded between.
func tunnelDevices(p *ha.Plan) []string {
	var out []string
	for i := range p.Devices {
		out = append(out, p.Devices[i].Name)
	}
	for i := range p.Tunnels {
		out = append(out, p.Tunnels[i].Name)
	}
	slices.Sort(out)
	return out
}

// checkSysctls does what the configuration permits about kernel settings. What
// is wrong and stays so is logged when it changes, with the command that cures it.
func (g *gateway) checkSysctls(devices []string) {
	wrong := ""
	for _, p := range fib.CheckSysctls(devices, g.sysctlMode()) {
		if p.Fixed {
			g.log.Info("sysctl", "edge", "routes", "reason", "set", "detail", p.String())
		} else {
			wrong += p.String() + "\n"
		}
	}
	if wrong == g.sysctlWrong {
		return
	}
	g.sysctlWrong = wrong
	for line := range strings.Lines(wrong) {
		g.log.Warn("sysctl", "edge", "routes", "reason", "wrong", "detail", strings.TrimSuffix(line, "\n"))
	}
}

// sysctlProblems are the settings that are wrong at this moment.
func (g *gateway) sysctlProblems() []fib.SysctlProblem {
	p := g.fibEdge.latest.Load()
	if p == nil || g.sysctlMode() == fib.SysctlOff {
		return nil
	}
	return fib.CheckSysctls(tunnelDevices(p), fib.SysctlCheck)
}

func (g *gateway) sysctlMode() fib.SysctlMode {
	mode, _ := g.sysctl.Load().(ha.SysctlMode)
	return fib.SysctlMode(mode)
}

func (g *gateway) applyBGP(ctx context.Context, p *ha.Plan, _ why) string {
	a := g.speaker.Apply(ctx, p.Gen, p.Neighbors, p.Announcements)
	g.refused.Store(&a.NeighborErrors)
	g.inbox.put(ha.AnnounceApplied{Plan: p, AnnounceApplied: a})
	switch n := len(a.Failed) + len(a.NeighborErrors); {
	case g.speaker.Wedged():
		return "GoBGP does not answer"
	case n > 0: // an error makes the edge try again
		return fmt.Sprintf("%d neighbors and %d prefixes could not be set", len(a.NeighborErrors), len(a.Failed))
	}
	return ""
}

func (g *gateway) applyTunnels(ctx context.Context, p *ha.Plan, _ why) string {
	var bad []string
	for _, t := range g.gre.Apply(ctx, p.Gen, p.Tunnels, p.FIB.Complete) {
		if t.Err != "" {
			bad = append(bad, t.Name+": "+t.Err)
		}
		g.inbox.put(ha.TunnelObserved{TunnelState: t})
	}
	return strings.Join(bad, "; ")
}

func (g *gateway) applyProbes(_ context.Context, p *ha.Plan, _ why) string {
	g.probes.Set(p.Gen, p.Probes)
	return ""
}

func (g *gateway) applyBFD(_ context.Context, p *ha.Plan, _ why) string {
	g.bfd.Set(p.Gen, p.BFD)
	return ""
}

// pollEvery is the time between two readings of all interfaces: a second up to
// 2,000 peers, then proportionally longer, so that reading them stays at 1 % of a
// core (the embedded device prints 10,000 peers in 30 ms), and at most 5 s, which
// the core's times of silence and staleness are made for.
func pollEvery(peers int) time.Duration {
	return min(max(time.Second, time.Duration(peers)*time.Second/2000), 5*time.Second)
}

// observe polls the WireGuard interfaces, since WireGuard has no events.
func (g *gateway) observe(ctx context.Context) error {
	for {
		p := g.wgEdge.latest.Load()
		peers := 0
		if p != nil {
			for i := range p.Devices {
				peers += len(p.Devices[i].Peers)
				g.observeDevice(ctx, p.Devices[i].Name)
			}
		}
		wait(ctx, pollEvery(peers))
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (g *gateway) observeDevice(ctx context.Context, name string) {
	s, err := g.wg.Observe(ctx, name)
	for tries := 1; errors.Is(err, device.ErrInterrupted) && tries < 3; tries++ {
		s, err = g.wg.Observe(ctx, name) // a change overtook the dump; that is normal
	}
	f := ha.DeviceObserved{State: s}
	if err == nil {
		g.fleet.Observe(&s)
	} else {
		f = ha.DeviceObserved{State: wg.DeviceState{Name: name}, Err: err.Error(), Gone: errors.Is(err, device.ErrNoDevice)}
	}
	g.inbox.put(f)
}

// sink takes what the speaker learns.
type sink struct{ g *gateway }

func (s sink) Paths(changes []bgp.PathChange) { s.g.inbox.put(ha.PathsChanged{Changes: changes}) }
func (s sink) Neighbor(n bgp.NeighborState)   { s.g.inbox.put(ha.NeighborObserved{NeighborState: n}) }
func (s sink) Rejected(r bgp.Rejected)        { s.g.journal.rejected(r) }

// wedged ends the process when GoBGP hangs: nothing that is known can be told
// any more, the supervisor starts a fresh process, and routes and tunnels stay
// meanwhile.
func (g *gateway) wedged(call string) {
	g.journal.edge("bgp", "GoBGP does not return from "+call)
	select {
	case g.fatal <- fmt.Errorf("bgp: GoBGP does not return from %s", call):
	default:
	}
}

// close ends the edges. Whatever the kernel holds stays.
func (g *gateway) close(orderly bool) {
	if err := g.speaker.Stop(orderly); err != nil {
		g.log.Warn("stop", "edge", "bgp", "err", err)
	}
	for name, c := range map[string]func() error{"gre": g.gre.Close, "wireguard": g.wg.Close, "routes": g.fib.Close} {
		if err := c(); err != nil {
			g.log.Warn("stop", "edge", name, "err", err)
		}
	}
}
