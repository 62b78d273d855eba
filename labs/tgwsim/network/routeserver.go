package network

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/bgp/bfd"
	"github.com/wgbgp/wgbgp/bgp/speaker"
	"github.com/wgbgp/wgbgp/labs/tgwsim/routing"
)

// RouteServerLimit is how many routes a peer, and a server in all, may bring
// [VPC-QUOTA].
const RouteServerLimit = 100

// Route Servers find a dead peer by BFD at 300 ms x 3 (assumed: AWS says "sub-second
// failure detection" and no figure).
const (
	bfdInterval   = 300 * time.Millisecond
	bfdMultiplier = 3
)

// endpoint is one of a Route Server's: a speaker that waits for its peers to
// dial [RS-PEER].
type endpoint struct {
	id      string
	server  string
	key     string
	speaker *speaker.Speaker
	started bool

	// Guarded by Network.mu; by peer ID.
	states map[string]bgp.SessionState
	paths  map[string]map[netip.Prefix]bgp.Path
}

// PeerStatus is what DescribeRouteServerPeers says of a peer, and after how much
// silence BFD finds it dead.
type PeerStatus struct {
	BGPUp, BFDUp bool
	Detect       time.Duration
}

// syncServers begins and ends endpoints, and tells their speakers who may dial.
func (n *Network) syncServers(ctx context.Context, spec *Spec) {
	want := map[string]bool{}
	var watched []bgp.BFDSession
	for _, rs := range spec.RouteServers {
		for _, ep := range rs.Endpoints {
			want[ep.ID] = true
			key := fmt.Sprint(rs.ASN, ep.Address)
			e := n.servers[ep.ID]
			if e != nil && e.key != key {
				n.endServer(e)
				e = nil
			}
			if e == nil {
				e = &endpoint{id: ep.ID, server: rs.ID, key: key, states: map[string]bgp.SessionState{}, paths: map[string]map[netip.Prefix]bgp.Path{}}
				sp, err := newSpeaker(rs.ASN, ep.Address, n.log, endpointSink{n, e})
				if err == nil {
					err = sp.Start(ctx)
				}
				n.complain("route server endpoint "+ep.ID, err)
				if err != nil {
					if sp != nil {
						_ = sp.Stop(true)
					}
					continue
				}
				e.speaker, e.started = sp, true
				n.mu.Lock()
				n.servers[ep.ID] = e
				n.mu.Unlock()
			}
			var set []bgp.Neighbor
			for _, p := range ep.Peers {
				set = append(set, bgp.Neighbor{
					Name: p.ID, Group: p.ID, Kind: bgp.KindRouter, Address: p.Address, LocalAddress: ep.Address, Device: ep.Device, RemoteASN: p.ASN,
					Passive: true, HoldTime: defaultHold, Keepalive: defaultHold / 3, ConnectRetry: time.Second,
					IPv4: true, Export: true, Import: &bgp.ImportPolicy{Allow: everything, LocalPref: 100},
					Flush: n.bfd.failures(p.ID),
				})
				if p.BFD {
					watched = append(watched, bgp.BFDSession{
						Name: p.ID, Address: p.Address, LocalAddress: ep.Address, Device: ep.Device, Interval: bfdInterval, Multiplier: bfdMultiplier,
					})
				}
			}
			slices.SortFunc(set, func(a, b bgp.Neighbor) int { return compareNames(a.Name, b.Name) })
			a := e.speaker.Apply(ctx, n.gen, set, nil)
			var err error
			if len(a.NeighborErrors) > 0 {
				err = fmt.Errorf("%v", a.NeighborErrors)
			}
			n.complain("route server peers of "+ep.ID, err)
		}
	}
	for id, e := range n.servers {
		if !want[id] {
			n.endServer(e)
		}
	}
	n.bfd.set(n.gen, watched)
}

func compareNames(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (n *Network) endServer(e *endpoint) {
	n.mu.Lock()
	delete(n.servers, e.id)
	n.mu.Unlock()
	_ = e.speaker.Stop(true)
}

// served is what Route Servers write into VPC route tables. The caller holds mu.
func (n *Network) served(spec *Spec) map[string][]VPCRoute {
	out := map[string][]VPCRoute{}
	for _, rs := range spec.RouteServers {
		_, chosen := n.routeServerRoutes(&rs)
		for _, r := range chosen {
			for _, table := range rs.Tables {
				out[table] = append(out[table], VPCRoute{Prefix: r.Prefix, Interface: r.NextHop})
			}
		}
	}
	return out
}

func (n *Network) routeServerRoutes(rs *RouteServer) (paths, chosen []routing.RouteServerPath) {
	for _, ep := range rs.Endpoints {
		e := n.servers[ep.ID]
		if e == nil {
			continue
		}
		for _, p := range ep.Peers {
			if p.BFD && !n.bfd.up(p.ID) {
				continue // RS-HOW: a BFD failure withdraws at once
			}
			for _, path := range e.paths[p.ID] {
				paths = append(paths, routing.RouteServerPath{Peer: p.ID, Prefix: path.Prefix, NextHop: path.NextHop, Attrs: path.Attrs})
			}
		}
	}
	return paths, routing.RouteServerRoutes(paths, RouteServerLimit)
}

// RouteServerRoutes are the paths that a Route Server has learned from peers that
// are alive, and those of them that it has chosen.
func (n *Network) RouteServerRoutes(id string) (paths, chosen []routing.RouteServerPath) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, rs := range n.spec.RouteServers {
		if rs.ID == id {
			return n.routeServerRoutes(&rs)
		}
	}
	return nil, nil
}

// RouteServerPeer says how a peer is.
func (n *Network) RouteServerPeer(id string) (s PeerStatus) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.servers {
		s.BGPUp = s.BGPUp || e.states[id] == bgp.StateEstablished
	}
	s.BFDUp = n.bfd.up(id)
	s.Detect = n.bfd.detect(id)
	return s
}

type endpointSink struct {
	n *Network
	e *endpoint
}

func (k endpointSink) Paths(changes []bgp.PathChange) {
	k.n.mu.Lock()
	for _, c := range changes {
		of := k.e.paths[c.Path.Neighbor]
		if of == nil {
			of = map[netip.Prefix]bgp.Path{}
			k.e.paths[c.Path.Neighbor] = of
		}
		if c.Withdrawn {
			delete(of, c.Path.Prefix)
		} else {
			of[c.Path.Prefix] = c.Path
		}
	}
	k.n.mu.Unlock()
	k.n.signal()
}

func (k endpointSink) Neighbor(st bgp.NeighborState) {
	k.n.mu.Lock()
	defer k.n.mu.Unlock()
	was := k.e.states[st.Name]
	k.e.states[st.Name] = st.State
	if was != st.State && (st.State == bgp.StateEstablished || was == bgp.StateEstablished) {
		k.n.pending = append(k.n.pending, Event{At: time.Now(), Neighbor: st.Name, State: string(st.State), Reason: st.Reason})
		k.n.signal()
	}
}

func (endpointSink) Rejected(bgp.Rejected) {}

// liveness watches Route Server peers by BFD. The engine runs only where there is
// something to watch.
type liveness struct {
	n      *Network
	ctx    context.Context
	engine *bfd.Engine
	ended  chan struct{}
	cancel context.CancelFunc

	mu     sync.Mutex
	states map[string]bgp.BFDState
}

func (l *liveness) set(gen uint64, want []bgp.BFDSession) {
	if l.engine == nil {
		if len(want) == 0 {
			return
		}
		var ctx context.Context
		ctx, l.cancel = context.WithCancel(l.ctx)
		l.engine, l.ended = bfd.New(bfd.Options{Logger: l.n.log, OnState: l.state}), make(chan struct{})
		go func() {
			defer close(l.ended)
			if err := l.engine.Run(ctx); err != nil {
				l.n.log.Error("bfd", "err", err)
			}
		}()
	}
	l.engine.Set(gen, want)
}

func (l *liveness) state(s bgp.BFDState) {
	l.mu.Lock()
	l.states[s.Name] = s
	l.mu.Unlock()
	l.n.signal()
}

// failures counts how often a peer was found dead: each costs its BGP session.
func (l *liveness) failures(name string) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.states[name].Flaps
}

func (l *liveness) up(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.states[name].State == bgp.BFDUp
}

func (l *liveness) detect(name string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.states[name].DetectTime
}

func (l *liveness) stop() {
	if l.engine != nil {
		l.cancel()
		<-l.ended
	}
}
