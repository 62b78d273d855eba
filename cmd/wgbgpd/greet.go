package main

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/wg"
	"github.com/wgbgp/wgbgp/wg/fleet"
)

// applyFleet tells the fleet edge whom to speak with, and about what.
func (g *gateway) applyFleet(_ context.Context, p *ha.Plan, _ why) string {
	var partners []fleet.Partner
	for i := range p.Neighbors {
		n := &p.Neighbors[i]
		if n.Kind != bgp.KindFleet || !n.Address.IsValid() {
			continue
		}
		x := fleet.Partner{Name: n.Name, Address: n.Address, Local: n.LocalAddress, Device: p.FIB.VRF}
		if n.BindDevice {
			x.Device = n.Device
		}
		partners = append(partners, x)
	}
	var interfaces []fleet.Interface
	for i := range p.Devices {
		if d := &p.Devices[i]; d.SharedKey {
			interfaces = append(interfaces, fleet.Interface{Name: d.Name, Key: d.PrivateKey})
		}
	}
	if err := g.fleet.Set(p.Gen, partners, interfaces); err != nil {
		return err.Error()
	}
	return ""
}

// roster takes what another host says about peers.
func (g *gateway) roster(r wg.Roster) {
	g.inbox.put(ha.RosterHeard{Roster: &r})
	g.lookout.add(r)
}

// sighted takes the sight of a peer that had a session with another host.
func (g *gateway) sighted(device string, k wg.Key, from netip.AddrPort) {
	g.inbox.put(ha.PeerSighted{Device: device, Key: k, From: netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())})
}

type rosterKey struct{ device, host string }

// lookout tells the WireGuard edge, beside the conversation with the fleet, from
// where peers of other hosts may come: it may have to wait for the interface.
type lookout struct {
	watch func(device string, peers map[netip.AddrPort]wg.Key)
	kick  chan struct{}

	mu      sync.Mutex
	rosters map[rosterKey]wg.Roster
	changed map[string]bool // devices
}

func newLookout(watch func(string, map[netip.AddrPort]wg.Key)) *lookout {
	return &lookout{watch: watch, kick: make(chan struct{}, 1), rosters: map[rosterKey]wg.Roster{}, changed: map[string]bool{}}
}

func (l *lookout) add(r wg.Roster) {
	k := rosterKey{r.Device, r.Host}
	l.mu.Lock()
	was, known := l.rosters[k]
	l.rosters[k] = r
	same := known && slices.EqualFunc(was.Peers, r.Peers, func(a, b wg.Whereabouts) bool { return a.Key == b.Key && a.Endpoint == b.Endpoint })
	if !same {
		l.changed[r.Device] = true
	}
	l.mu.Unlock()
	if same {
		return
	}
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

func (l *lookout) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.kick:
		}
		for device, peers := range l.take() {
			l.watch(device, peers)
		}
	}
}

// take is whom to look out for on the devices of which there is news. Of two peers
// that were at one address, it is the one heard there last.
func (l *lookout) take() map[string]map[netip.AddrPort]wg.Key {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]map[netip.AddrPort]wg.Key{}
	for device := range l.changed {
		last := map[netip.AddrPort]wg.Whereabouts{}
		for k, r := range l.rosters {
			for i := range r.Peers {
				if w := r.Peers[i]; k.device == device && !w.Heard.Before(last[w.Endpoint].Heard) {
					last[w.Endpoint] = w
				}
			}
		}
		peers := make(map[netip.AddrPort]wg.Key, len(last))
		for at, w := range last {
			peers[at] = w.Key
		}
		out[device] = peers
	}
	clear(l.changed)
	return out
}

const (
	// greetBatch is how many peers are greeted in one go, and greetPause the time
	// until the next ones: 1,000 a second, a fifth of a core for the handshakes.
	greetBatch = 16
	greetPause = 16 * time.Millisecond
)

// greeter remembers which orders it has carried out.
type greeter struct {
	done              map[greetKey]uint64 // tries; of the edge's goroutine alone
	takeover, sighted atomic.Uint64       // initiations by reason
}

type greetKey struct {
	device string
	peer   wg.Key
}

// applyGreetings carries out the greetings of the latest plan in its order, at a
// limited pace.
func (g *gateway) applyGreetings(ctx context.Context, p *ha.Plan, _ why) string {
	failed := ""
	for {
		next := g.greeter.next(p)
		if len(next) == 0 {
			return failed
		}
		for device, list := range byDevice(next) {
			if err := g.wg.Greet(ctx, p.Gen, device, list); err != nil {
				failed = device + ": " + err.Error()
			}
		}
		wait(ctx, greetPause)
		if ctx.Err() != nil {
			return failed
		}
		p = g.greetEdge.latest.Load()
	}
}

// next takes a batch of those not carried out.
func (r *greeter) next(p *ha.Plan) []wg.Greeting {
	if len(p.Greetings) == 0 {
		r.done = nil
		return nil
	}
	if r.done == nil {
		r.done = map[greetKey]uint64{}
	}
	var out []wg.Greeting
	for i := range p.Greetings {
		w := &p.Greetings[i]
		k := greetKey{w.Device, w.Key}
		if r.done[k] == w.Try {
			continue
		}
		r.done[k] = w.Try
		if w.Why == ha.GreetTakeover {
			r.takeover.Add(1)
		} else {
			r.sighted.Add(1)
		}
		if out = append(out, *w); len(out) == greetBatch {
			break
		}
	}
	return out
}

func byDevice(list []wg.Greeting) map[string][]wg.Greeting {
	out := map[string][]wg.Greeting{}
	for _, w := range list {
		out[w.Device] = append(out[w.Device], w)
	}
	return out
}
