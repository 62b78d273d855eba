package ha

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Discovery is a tgw-connect entry whose addresses AWS knows. Connect and Neighbor
// are what each Connect peer found gets besides: Connect.Device is empty unless
// the entry names one peer.
type Discovery struct {
	Entry    tgwconnect.Entry
	Connect  tgwconnect.ConnectPeer
	Neighbor bgp.Neighbor
}

// PeersDiscovered is the latest that AWS said about Connect peers, or what it had
// said before the daemon began. It replaces the former one.
type PeersDiscovered struct{ Candidates []tgwconnect.Candidate }

func (PeersDiscovered) fact() {}

// ServerDiscovery is a neighbor entry whose sessions AWS knows: one with each
// endpoint of a VPC Route Server that has this host as a peer. Neighbor is what
// each of them gets besides, BFD where AWS expects it.
type ServerDiscovery struct {
	Entry    tgwconnect.ServerEntry
	Neighbor bgp.Neighbor
	BFD      bgp.BFDSession
}

// ServersDiscovered is what PeersDiscovered is, for peers of Route Servers.
type ServersDiscovered struct{ Candidates []tgwconnect.ServerCandidate }

func (ServersDiscovered) fact() {}

// stepDiscovered takes what was discovered into the configuration in force. All
// that is unchanged keeps its evidence, as with a reload.
func (c *Core) stepDiscovered(now time.Time, f PeersDiscovered) {
	c.discovered, c.found = true, f.Candidates
	c.Reconfigure(now, c.base)
}

func (c *Core) stepServers(now time.Time, f ServersDiscovered) {
	c.serversSeen, c.servers = true, f.Candidates
	c.Reconfigure(now, c.base)
}

// withDiscovered is cfg with tunnels and sessions of what was found.
func withDiscovered(cfg *Config, found []tgwconnect.Candidate, servers []tgwconnect.ServerCandidate) *Config {
	if len(cfg.Discover)+len(cfg.Servers) == 0 {
		return cfg
	}
	out := *cfg
	out.Connect, out.Neighbors, out.BFD = slices.Clone(cfg.Connect), slices.Clone(cfg.Neighbors), slices.Clone(cfg.BFD)
	for i := range found {
		f := &found[i]
		at := cfg.discovery(f.Entry)
		if !f.Used() || at < 0 {
			continue
		}
		out.Connect = append(out.Connect, cfg.Discover[at].peer(f))
		out.Neighbors = append(out.Neighbors, cfg.Discover[at].sessions(f)...)
	}
	for i := range servers {
		f := &servers[i]
		at := cfg.servers(f.Entry)
		if !f.Used() || at < 0 {
			continue
		}
		n, b, watched := cfg.Servers[at].session(f)
		out.Neighbors = append(out.Neighbors, n)
		if watched {
			out.BFD = append(out.BFD, b)
		}
	}
	slices.SortFunc(out.BFD, func(a, b bgp.BFDSession) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(out.Connect, func(a, b tgwconnect.ConnectPeer) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(out.Neighbors, func(a, b bgp.Neighbor) int { return cmp.Compare(a.Name, b.Name) })
	return &out
}

// discovery and servers are where an entry is that wants to be discovered; -1: it
// does not any more.
func (c *Config) discovery(entry string) int {
	return slices.IndexFunc(c.Discover, func(d Discovery) bool { return d.Entry.Name == entry })
}

func (c *Config) servers(entry string) int {
	return slices.IndexFunc(c.Servers, func(d ServerDiscovery) bool { return d.Entry.Name == entry })
}

func (d *Discovery) peer(f *tgwconnect.Candidate) tgwconnect.ConnectPeer {
	p := d.Connect
	p.Name, p.Local, p.Remote = f.Name, f.Peer.PeerAddress, f.Peer.TransitGatewayAddress
	p.Inside4, p.Inside6 = f.Peer.Inside4, f.Peer.Inside6
	p.TGWASN, _ = f.Peer.ASNs()
	if p.Device == "" {
		p.Device = f.Peer.Device()
	}
	return p
}

// sessions are both of a Connect peer: with hosts 2 and 3 of the inside block.
func (d *Discovery) sessions(f *tgwconnect.Candidate) []bgp.Neighbor {
	p := d.peer(f)
	var out []bgp.Neighbor
	for i := 1; i <= 2; i++ {
		n := d.Neighbor
		n.Name = f.Name + "/" + strconv.Itoa(i)
		n.Address, n.LocalAddress = tgwconnect.Host(p.Inside4, i+1).Addr(), tgwconnect.Host(p.Inside4, 1).Addr()
		n.Device, n.RemoteASN = p.Device, bgp.ASN(p.TGWASN)
		if p.Inside6.IsValid() {
			n.IPv6, n.NextHop6 = true, tgwconnect.Host(p.Inside6, 1).Addr()
		}
		out = append(out, n)
	}
	return out
}

// session is that with the endpoint of a Route Server, and BFD for it.
func (d *ServerDiscovery) session(f *tgwconnect.ServerCandidate) (n bgp.Neighbor, b bgp.BFDSession, watched bool) {
	n, b = d.Neighbor, d.BFD
	n.Name, n.Address, n.LocalAddress, n.RemoteASN = f.Name, f.Peer.EndpointAddress, f.Peer.PeerAddress, bgp.ASN(f.Peer.ServerASN)
	b.Name, b.Address, b.LocalAddress = n.Name, n.Address, n.LocalAddress
	return n, b, f.Peer.Liveness == tgwconnect.LivenessBFD
}

// Origin is where a neighbor comes from.
type Origin struct {
	Entry  string // [[tgw-connect]] or [[neighbor]] that it is of
	ID     string // AWS's, of the Connect peer or Route Server peer; empty: it is configured
	Parent string // the Connect attachment, or the Route Server
	Server bool   // it is a Route Server's
}

// Origins says of the neighbors that AWS named where they come from, by name.
func (c *Core) Origins() map[string]Origin {
	out := map[string]Origin{}
	for i := range c.found {
		if f := &c.found[i]; f.Used() && c.cfg.discovery(f.Entry) >= 0 {
			o := Origin{Entry: f.Entry, ID: f.Peer.ID, Parent: f.Peer.AttachmentID}
			out[f.Name+"/1"], out[f.Name+"/2"] = o, o
		}
	}
	for i := range c.servers {
		if f := &c.servers[i]; f.Used() && c.cfg.servers(f.Entry) >= 0 {
			out[f.Name] = Origin{Entry: f.Entry, ID: f.Peer.ID, Parent: f.Peer.ServerID, Server: true}
		}
	}
	return out
}

// undiscovered reports whether discovery is still to answer: until it has answered, tunnels and routes of an
// earlier process must not be swept (see settle).
func (c *Core) undiscovered() bool {
	return len(c.cfg.Discover) > 0 && !c.discovered || len(c.cfg.Servers) > 0 && !c.serversSeen
}
