package world

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/labs/tgwsim/routing"
)

// Memory is a Network without packets: a test says which sessions are up and what
// they brought. What the tables make of it is decided as in the real network.
type Memory struct {
	world *World

	mu           sync.Mutex
	up           map[string][2]bool // by Connect peer
	paths        []routing.Path
	routeServers map[string][]RouteServerRoute
	serverPeers  map[string][2]bool // BGP, BFD
}

// SetSessions sets the states of a Connect peer's two BGP sessions.
func (m *Memory) SetSessions(connectPeerID string, first, second bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	makeMap(&m.up)
	m.up[connectPeerID] = [2]bool{first, second}
}

// Learn sets what a Connect peer's sessions have announced, with an AS_PATH; it
// replaces what they had announced before. Without a session up it is nothing.
func (m *Memory) Learn(connectPeerID string, asPath []bgp.ASN, med *uint32, prefixes ...netip.Prefix) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paths = slices.DeleteFunc(m.paths, func(p routing.Path) bool { return p.Peer == connectPeerID })
	attrs := &bgp.Attrs{ASPath: asPath}
	if med != nil {
		attrs.HasMED, attrs.MED = true, *med
	}
	for _, p := range prefixes {
		m.paths = append(m.paths, routing.Path{Peer: connectPeerID, Session: 1, Prefix: p, Attrs: attrs})
	}
}

// SetRouteServer sets what a VPC Route Server knows.
func (m *Memory) SetRouteServer(id string, routes []RouteServerRoute) {
	m.mu.Lock()
	defer m.mu.Unlock()
	makeMap(&m.routeServers)
	m.routeServers[id] = slices.Clone(routes)
}

// SetRouteServerPeer sets the states of a Route Server peer's BGP and BFD sessions.
func (m *Memory) SetRouteServerPeer(id string, bgp, bfd bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	makeMap(&m.serverPeers)
	m.serverPeers[id] = [2]bool{bgp, bfd}
}

// Changed does nothing: everything is decided when it is asked for.
func (m *Memory) Changed() {}

// SessionUp implements Network.
func (m *Memory) SessionUp(peerID string, speaker netip.Addr) bool {
	var second bool
	m.world.View(func(s *State) {
		if p := s.ConnectPeers[peerID]; p != nil {
			second = p.Speakers()[1] == speaker
		}
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if second {
		return m.up[peerID][1]
	}
	return m.up[peerID][0]
}

// Routes implements Network.
func (m *Memory) Routes(tableID string) []Route {
	var t *routing.TGW
	m.world.View(func(s *State) {
		if table := s.Tables[tableID]; table != nil {
			t = s.Routing(table.TransitGatewayID)
		}
	})
	if t == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var paths []routing.Path
	for _, p := range m.paths {
		if m.up[p.Peer] != [2]bool{} {
			paths = append(paths, p)
		}
	}
	return FromDecision(routing.Decide(t, paths).Table(tableID))
}

// RouteServerDatabase implements Network.
func (m *Memory) RouteServerDatabase(id string) []RouteServerRoute {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.routeServers[id])
}

// RouteServerSessionUp implements Network.
func (m *Memory) RouteServerSessionUp(id string) (bgp, bfd bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.serverPeers[id][0], m.serverPeers[id][1]
}
