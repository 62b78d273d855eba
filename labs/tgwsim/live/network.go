package live

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim/network"
	"github.com/wgbgp/wgbgp/labs/tgwsim/routing"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// Network is the world.Network that really runs.
type Network struct {
	world   *world.World
	network *network.Network
	kick    chan struct{}

	mu    sync.Mutex
	place Place
}

var _ world.Network = (*Network)(nil)

// New puts a network behind a world.
func New(w *world.World, n *network.Network, place Place) *Network {
	l := &Network{world: w, network: n, place: place, kick: make(chan struct{}, 1)}
	w.SetNetwork(l)
	return l
}

// Run follows the world until ctx ends. It is the only one to Set the network.
func (l *Network) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- l.network.Run(ctx) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-l.kick:
			s := l.world.Snapshot()
			l.mu.Lock()
			spec := Spec(s, &l.place)
			l.mu.Unlock()
			l.network.Set(spec)
		}
	}
}

// Changed makes the network follow.
func (l *Network) Changed() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// Close keeps a session of a Connect peer down, or lets it come up again: AWS's
// own maintenance, of which no API tells.
func (l *Network) Close(peer string, session int, down bool) {
	l.mu.Lock()
	closed := map[string][2]bool{}
	for id, c := range l.place.Closed {
		closed[id] = c
	}
	c := closed[peer]
	c[session-1] = down
	closed[peer] = c
	l.place.Closed = closed
	l.mu.Unlock()
	l.Changed()
}

// Rebuild makes the world anew as a file describes it; what the API or a scenario
// changed since is gone.
func (l *Network) Rebuild(f *File) error {
	fresh := world.New(f.Region, time.Now).Snapshot()
	fresh.LastID = l.world.Snapshot().LastID
	place, err := f.Build(fresh, time.Now())
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.place = place
	l.mu.Unlock()
	l.world.Do(func(s *world.State) { *s = *fresh })
	return nil
}

// SessionUp says whether a session is Established.
func (l *Network) SessionUp(peer string, speaker netip.Addr) bool {
	var speakers [2]netip.Addr
	l.world.View(func(s *world.State) {
		if p := s.ConnectPeers[peer]; p != nil {
			speakers = p.Speakers()
		}
	})
	for i, up := range l.network.Sessions(peer) {
		if up && speakers[i] == speaker {
			return true
		}
	}
	return false
}

// Routes are those that packets are led by now.
func (l *Network) Routes(table string) []world.Route {
	return world.FromDecision(l.network.Table(table))
}

// RouteServerDatabase is what a Route Server has learned, chosen and written.
func (l *Network) RouteServerDatabase(server string) (out []world.RouteServerRoute) {
	var tables []string
	l.world.View(func(s *world.State) {
		if rs := s.RouteServers[server]; rs != nil {
			tables = append(tables, rs.PropagatesTo...)
		}
	})
	all, chosen := l.network.RouteServerRoutes(server)
	for _, r := range all {
		w := world.RouteServerRoute{Prefix: r.Prefix, PeerID: r.Peer, NextHop: r.NextHop, MED: r.Attrs.MED}
		for _, asn := range r.Attrs.ASPath {
			w.ASPath = append(w.ASPath, uint32(asn))
		}
		if w.InFIB = contains(chosen, r); w.InFIB {
			for _, t := range tables {
				w.Installed = append(w.Installed, world.Installation{RouteTableID: t, Installed: true})
			}
		}
		out = append(out, w)
	}
	return out
}

func contains(chosen []routing.RouteServerPath, r routing.RouteServerPath) bool {
	for _, c := range chosen {
		if c.Prefix == r.Prefix && c.Peer == r.Peer {
			return true
		}
	}
	return false
}

// RouteServerSessionUp says how a peer of a Route Server is.
func (l *Network) RouteServerSessionUp(peer string) (bgp, bfd bool) {
	s := l.network.RouteServerPeer(peer)
	return s.BGPUp, s.BFDUp
}
