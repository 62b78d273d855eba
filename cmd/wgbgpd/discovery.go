package main

import (
	"context"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

// awsPeers is what discovery asks of AWS.
type awsPeers interface {
	DescribeTransitGatewayConnectPeers(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.Peer, error)
	DescribeRouteServerPeers(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.RouteServerPeer, error)
	DescribeRouteServers(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.RouteServer, error)
	Self(ctx context.Context) (tgwconnect.Self, error)
}

// discovery learns from AWS which Connect peers and Route Server peers are this
// host's, and tells the core. Package tgwconnect decides what is used and when to
// ask again; a question that fails changes nothing. Without an entry that wants it
// nothing is asked.
type discovery struct {
	put       func(ha.Fact)
	event     func(slog.Level, api.Event)
	open      func(ctx context.Context, region string) (awsPeers, error)
	addresses func() ([]netip.Addr, error)
	changes   <-chan struct{} // an interface or address of the host may have changed
	kick      chan struct{}   // the configuration has changed
	sources   []awsSource

	mu  sync.Mutex // guards what follows, and what a source's view shows
	aws configs.AWS

	// Of run alone.
	client awsPeers
	region string // that client asks
	local  tgwconnect.Local
	asked  time.Time // the metadata service, last
	call   time.Time // any question, last
}

// awsSource is one kind of what AWS is asked for.
type awsSource interface {
	adopt(cfg *configs.Config)
	wanted() bool
	recall(log *slog.Logger)
	moved(at time.Time)
	due() (at time.Time, calm bool)
	ask(ctx context.Context, now time.Time, every time.Duration)
	decide()
	failure() string
	view(now time.Time) api.DiscoverySource
}

func newDiscovery(cfg *configs.Config, in *inbox, j *journal, changes <-chan struct{}, counters *ec2api.Counters, log *slog.Logger) *discovery {
	h := fnv.New64a()
	_, _ = h.Write([]byte(cfg.Core.Gateway.Name + cfg.Core.Gateway.RouterID.String()))
	d := &discovery{
		put: func(f ha.Fact) { in.put(f) }, event: j.event, addresses: kernelAddresses, changes: changes,
		open: func(ctx context.Context, region string) (awsPeers, error) {
			return ec2api.New(ctx, ec2api.Options{Region: region, Logger: log, Counters: counters})
		},
	}
	d.begin(cfg, log, rand.New(rand.NewPCG(h.Sum64(), 0)).Float64) // hosts must differ, nothing more
	return d
}

// begin takes over the first configuration and what an earlier daemon knew.
func (d *discovery) begin(cfg *configs.Config, log *slog.Logger, random func() float64) {
	d.kick = make(chan struct{}, 1)
	d.sources = []awsSource{connectPeers(d, cfg.StateDir, random), routeServers(d, cfg.StateDir, random)}
	d.adopt(cfg)
	if d.wanted() {
		d.look(time.Time{})
	}
	for _, s := range d.sources {
		s.recall(log)
	}
}

// adopt takes over a configuration.
func (d *discovery) adopt(cfg *configs.Config) {
	d.mu.Lock()
	d.aws = cfg.AWS
	for _, s := range d.sources {
		s.adopt(cfg)
	}
	d.mu.Unlock()
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

const (
	// lookEvery is how often the kernel is asked for its addresses without being
	// told that one has changed.
	lookEvery = 30 * time.Second
	// afterMove: AWS may know an address a little later than the kernel.
	afterMove = 2 * time.Second
)

// run asks until ctx ends.
func (d *discovery) run(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		fresh := false
		select {
		case <-ctx.Done():
			return nil
		case <-d.kick:
			fresh = true
		case <-d.changes:
		case <-t.C:
		}
		t.Reset(d.turn(ctx, time.Now(), fresh))
	}
}

// turn does what is due and returns how long nothing will be. With a fresh
// configuration everything is due.
func (d *discovery) turn(ctx context.Context, now time.Time, fresh bool) time.Duration {
	d.mu.Lock()
	every := d.aws.PollInterval
	var wanted []awsSource
	for _, s := range d.sources {
		if s.wanted() {
			wanted = append(wanted, s)
		}
	}
	d.mu.Unlock()
	if len(wanted) == 0 {
		return lookEvery
	}
	moved := d.look(now.Add(afterMove))
	wait := lookEvery
	for _, s := range wanted {
		if moved || fresh {
			s.decide()
		}
		at, calm := s.due()
		if spaced := d.call.Add(every); calm && at.Before(spaced) {
			at = spaced // the questions of all kinds share what a host may ask
		}
		if fresh || !now.Before(at) {
			d.call = now
			s.ask(ctx, now, every*time.Duration(len(wanted)))
			at, _ = s.due()
		}
		wait = min(wait, max(at.Sub(now), time.Millisecond))
	}
	return wait
}

func (d *discovery) wanted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.sources, awsSource.wanted)
}

// look reads the kernel's addresses and says whether they have changed; then AWS
// is asked at the time given.
func (d *discovery) look(at time.Time) bool {
	now, err := d.addresses()
	if err != nil || slices.Equal(now, d.local.Kernel) {
		return false
	}
	d.local.Kernel = now
	d.asked = time.Time{}
	for _, s := range d.sources {
		s.moved(at)
	}
	return true
}

// connect returns the client of the region that the configuration names.
func (d *discovery) connect(ctx context.Context) (awsPeers, error) {
	d.mu.Lock()
	region := d.aws.Region
	d.mu.Unlock()
	if d.client != nil && d.region == region {
		return d.client, nil
	}
	c, err := d.open(ctx, region)
	if err != nil {
		return nil, err
	}
	d.client, d.region = c, region
	return c, nil
}

// metadataEvery bounds how often the metadata service is tried in vain.
const metadataEvery = 10 * time.Minute

// metadata reads the addresses that the instance has in AWS, when they may have
// changed, and says whether they have. Without them discovery works as well.
func (d *discovery) metadata(ctx context.Context, now time.Time) bool {
	if now.Sub(d.asked) < metadataEvery {
		return false
	}
	d.asked = now
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	self, err := d.client.Self(ctx)
	if err != nil {
		return false
	}
	var all []netip.Addr
	for _, n := range self.Interfaces {
		all = append(all, n.Addresses...)
	}
	changed := !slices.Equal(all, d.local.Metadata)
	d.local.Metadata = all
	return changed
}

// kernelAddresses are those of all interfaces that can be a tunnel's source.
func kernelAddresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range list {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if ip, ok := netip.AddrFromSlice(n.IP); ok && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
			out = append(out, ip.Unmap())
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

// connectPeers asks for TGW Connect peers.
func connectPeers(d *discovery, dir string, random func() float64) awsSource {
	var want []tgwconnect.Entry // guarded by d.mu, as all that adopt sets
	var static []tgwconnect.ConnectPeer
	return &finder[tgwconnect.Peer]{
		d: d, name: "connect-peers", kind: api.EventTunnel, file: filepath.Join(dir, "connect-peers.json"), poll: tgwconnect.Poller{Rand: random},
		take: func(cfg *configs.Config) bool {
			static, want = cfg.Core.Connect, nil
			for _, e := range cfg.Core.Discover {
				want = append(want, e.Entry)
			}
			return len(want) > 0
		},
		question: func(ctx context.Context, c awsPeers) ([]tgwconnect.Peer, error) {
			q := tgwconnect.Where("state", "pending", "available", "deleting")
			d.mu.Lock()
			if !slices.ContainsFunc(want, func(e tgwconnect.Entry) bool { return e.PeerID == "" }) {
				ids := make([]string, 0, len(want))
				for _, e := range want {
					ids = append(ids, e.PeerID)
				}
				q = q.And("transit-gateway-connect-peer-id", ids...) // a filter, since an unknown ID would be an error
			}
			d.mu.Unlock()
			return c.DescribeTransitGatewayConnectPeers(ctx, q)
		},
		judge: func(peers []tgwconnect.Peer) []tgwconnect.Candidate {
			return tgwconnect.Discover(want, static, d.local, peers)
		},
		fact: func(found []tgwconnect.Candidate) ha.Fact { return ha.PeersDiscovered{Candidates: found} },
		show: func(p *tgwconnect.Peer) api.Discovered {
			return api.Discovered{ID: p.ID, Parent: p.AttachmentID, State: p.State, Local: p.PeerAddress, Remote: p.TransitGatewayAddress}
		},
		same: sameTunnel,
	}
}

// sameTunnel leaves aside what changes without consequence, as BgpStatus.
func sameTunnel(a, b *tgwconnect.Peer) bool {
	at, ao := a.ASNs()
	bt, bo := b.ASNs()
	return a.ID == b.ID && at == bt && ao == bo && a.PeerAddress == b.PeerAddress && a.TransitGatewayAddress == b.TransitGatewayAddress &&
		a.Inside4 == b.Inside4 && a.Inside6 == b.Inside6
}

// routeServers asks for peers of VPC Route Servers. Their number of AS is the
// server's and never changes, so that a server is asked for once.
func routeServers(d *discovery, dir string, random func() float64) awsSource {
	var want []tgwconnect.ServerEntry
	var configured []netip.Addr
	f := &finder[tgwconnect.RouteServerPeer]{
		d: d, name: "route-server-peers", kind: api.EventSession, file: filepath.Join(dir, "route-server-peers.json"), poll: tgwconnect.Poller{Rand: random},
		take: func(cfg *configs.Config) bool {
			want, configured = nil, nil
			for _, e := range cfg.Core.Servers {
				want = append(want, e.Entry)
			}
			for i := range cfg.Core.Neighbors {
				configured = append(configured, cfg.Core.Neighbors[i].Address)
			}
			return len(want) > 0
		},
		judge: func(peers []tgwconnect.RouteServerPeer) []tgwconnect.ServerCandidate {
			return tgwconnect.DiscoverServers(want, configured, d.local, peers)
		},
		fact: func(found []tgwconnect.ServerCandidate) ha.Fact { return ha.ServersDiscovered{Candidates: found} },
		show: func(p *tgwconnect.RouteServerPeer) api.Discovered {
			return api.Discovered{ID: p.ID, Parent: p.ServerID, State: p.State, Local: p.PeerAddress, Remote: p.EndpointAddress}
		},
		same: func(a, b *tgwconnect.RouteServerPeer) bool {
			return a.ID == b.ID && a.ServerID == b.ServerID && a.EndpointAddress == b.EndpointAddress && a.PeerAddress == b.PeerAddress &&
				a.ServerASN == b.ServerASN && a.PeerASN == b.PeerASN && a.Liveness == b.Liveness
		},
	}
	f.question = func(ctx context.Context, c awsPeers) ([]tgwconnect.RouteServerPeer, error) {
		peers, err := c.DescribeRouteServerPeers(ctx, tgwconnect.Query{})
		if err != nil {
			return nil, err
		}
		known := map[string]uint32{}
		d.mu.Lock()
		for i := range f.seen.Peers {
			p := &f.seen.Peers[i]
			known[p.ServerID] = max(known[p.ServerID], p.ServerASN)
		}
		d.mu.Unlock()
		return peers, withASN(ctx, c, peers, d.local, known)
	}
	return f
}

// withASN fills in the servers' ASNs where a peer may be this host.
func withASN(ctx context.Context, c awsPeers, peers []tgwconnect.RouteServerPeer, local tgwconnect.Local, known map[string]uint32) error {
	var ask []string
	for i := range peers {
		p := &peers[i]
		if local.Has(p.PeerAddress) && known[p.ServerID] == 0 && !slices.Contains(ask, p.ServerID) {
			ask = append(ask, p.ServerID)
		}
	}
	if len(ask) > 0 {
		servers, err := c.DescribeRouteServers(ctx, tgwconnect.ByID(ask...))
		if err != nil {
			return err
		}
		for i := range servers {
			known[servers[i].ID] = servers[i].ASN
		}
	}
	for i := range peers {
		peers[i].ServerASN = known[peers[i].ServerID]
	}
	return nil
}
