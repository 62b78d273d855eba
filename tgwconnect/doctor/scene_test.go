package doctor_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/simtest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/doctor"
	"github.com/wgbgp/wgbgp/tgwconnect/doctor/gather"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

// scene is a healthy gateway: AWS's side is labs/tgwsim, read by the product's own
// client over HTTP; host and daemon are values, as the kernel and wgbgpd would say
// it. A test spoils one thing of it.
type scene struct {
	t *testing.T
	*world.World
	*world.Names
	net    *world.Memory
	sim    *simtest.Sim
	client *ec2api.Client
	host   doctor.Host
	daemon doctor.Daemon
	// What tgwsim does not have: CloudWatch, load balancers.
	drops   float64
	targets []tgwconnect.TargetHealth
	noIMDS  bool
}

var (
	site1   = netip.MustParsePrefix("10.1.0.0/16")
	started = time.Date(2026, 11, 29, 7, 0, 0, 0, time.UTC)
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func healthy(t *testing.T) *scene {
	t.Helper()
	w, names := world.Example("us-east-1", time.Now, world.ExampleOptions{})
	s := &scene{t: t, World: w, Names: names, net: w.Network().(*world.Memory)}
	s.sim = simtest.Start(t, w, tgwsim.Options{})
	s.sim.Setenv(t, names.Instances[0])
	var err error
	s.client, err = ec2api.New(t.Context(), ec2api.Options{Attempts: 2, Backoff: func(int) time.Duration { return time.Millisecond }})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range names.Peers {
		s.net.SetSessions(p, true, true)
		s.net.Learn(p, []bgp.ASN{65001, 65101}, nil, site1)
	}
	s.targets = []tgwconnect.TargetHealth{{ID: names.Instances[0], Port: 51820, State: "healthy"}, {ID: names.Instances[1], Port: 51820, State: "healthy"}}
	s.host = doctor.Host{
		Interfaces: []doctor.Interface{
			{Name: "eth0", MTU: 9001, Up: true, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.10/24")}, Driver: "ena 2.13.0g"},
			{Name: "tgw-a", MTU: 8476, Up: true, Addresses: []netip.Prefix{netip.MustParsePrefix("169.254.100.1/29")}},
		},
		Tunnels: []doctor.Tunnel{{Name: "tgw-a", Local: addr("10.0.0.10"), Remote: addr("192.0.2.1"), MTU: 8476, Addresses: []netip.Prefix{netip.MustParsePrefix("169.254.100.1/29")}}},
		Lookups: []doctor.Lookup{
			{To: addr("169.254.169.254"), What: doctor.LookupMetadata, Device: "eth0", MTU: 9001},
			{To: addr("192.0.2.1"), What: doctor.LookupTGW, Device: "eth0", MTU: 9001},
			{To: addr("203.0.113.10"), What: "endpoint of paris", Device: "eth0", MTU: 1500},
		},
		Sysctls: map[string]string{
			"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1", "net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.tgw-a.rp_filter": "2",
			"net.netfilter.nf_conntrack_count": "100", "net.netfilter.nf_conntrack_max": "262144",
		},
		Elapsed: time.Second, Clock: &doctor.Clock{Synchronized: true, MaxError: time.Millisecond},
	}
	s.host.Before = map[string]uint64{
		"ip.FragCreates": 0, "ip.FragFails": 0, "netstat.IPReversePathFilter": 3, "eth0.pps_allowance_exceeded": 0, "eth0.bw_in_allowance_exceeded": 0,
		"eth0.conntrack_allowance_exceeded": 0, "eth0.conntrack_allowance_available": 100000,
		"tgw-a.rx_bytes": 1000, "tgw-a.rx_packets": 10, "tgw-a.tx_bytes": 1000, "tgw-a.tx_packets": 10,
	}
	s.host.After = map[string]uint64{}
	for k, v := range s.host.Before {
		s.host.After[k] = v
	}
	s.daemon = healthyDaemon()
	return s
}

func healthyDaemon() doctor.Daemon {
	session := func(n, address string) api.Neighbor {
		return api.Neighbor{Name: n, Kind: "tgw", Address: addr(address), ASN: 64512, LocalASN: 65001, State: "Established", HoldTimeSeconds: 30, AnnounceLimit: 1000, Received: 3, Announced: 1}
	}
	out := api.AdjOut{Paths: api.List[api.Path]{{Prefix: site1, NextHop: addr("169.254.100.1"), Attrs: api.Attrs{ASPath: api.List[uint32]{65001, 65101}}}}}
	peer := api.Peer{
		Name: "paris", PublicKey: "k1", Interface: "wg0", Endpoint: "203.0.113.10:51820", Configured: "203.0.113.10:51820", State: api.PeerUp, KeepaliveSeconds: 25,
		Handshake: api.At(started.Add(-30*time.Second), started), RxBytes: 5000, TxBytes: 5000, AllowedIPs: api.List[api.AllowedIP]{{Prefix: site1, InPlace: true}},
	}
	other := peer
	other.Name, other.PublicKey, other.Configured, other.AllowedIPs = "lyon", "k2", "", api.List[api.AllowedIP]{{Prefix: netip.MustParsePrefix("10.2.0.0/16"), InPlace: true}}
	before := []api.Peer{peer, other}
	peer.RxBytes, peer.TxBytes = 9000, 9000
	return doctor.Daemon{
		Status:    api.Status{ASN: 65001, Tunnels: api.List[api.Tunnel]{{Name: "tgw-a", Local: addr("10.0.0.10"), Remote: addr("192.0.2.1"), Up: true, MTU: 8476}}},
		Neighbors: []api.Neighbor{session("tgw-a/1", "169.254.100.2"), session("tgw-a/2", "169.254.100.3"), {Name: "gw-b", Kind: "fleet", Address: addr("10.0.1.11"), ASN: 65001, State: "Established"}},
		AdjOut:    map[string]api.AdjOut{"tgw-a/1": out, "tgw-a/2": out},
		AdjIn: map[string]api.AdjIn{
			"gw-b":    {Paths: api.List[api.Path]{{Prefix: site1, Attrs: api.Attrs{ASPath: api.List[uint32]{65101}}}}},
			"tgw-a/1": {Paths: api.List[api.Path]{{Prefix: netip.MustParsePrefix("10.0.0.0/16")}}},
		},
		Peers: []api.Peer{peer, other}, PeersBefore: before,
		Health: []api.Health{{Site: "paris", Checks: api.List[api.Check]{{Name: "lan", Kind: "probe", Target: "10.1.0.9", Measured: true, Up: true, OK: true}}}},
		MTU: []api.MTUChain{{Site: "paris", MTU: 1420, Limit: "wg0", MSS4: 1380, MSS6: 1360, Links: api.List[api.MTULink]{
			{Name: "tgw-a", MTU: 8476, Packet: 8476, Source: api.MTUDerived},
			{Name: "wg0", MTU: 1420, Packet: 1420, Source: api.MTUConfigured},
			{Name: "path to 203.0.113.10", MTU: 1500, Overhead: 60, Packet: 1440, Source: api.MTUFromRoute},
		}}},
		Routes: []api.Route{
			{Prefix: site1, Status: api.RouteInstalled, NextHops: api.List[api.NextHop]{{Interface: "wg0"}}},
			{Prefix: netip.MustParsePrefix("10.0.0.0/16"), Status: api.RouteInstalled, Source: addr("10.0.0.10"), NextHops: api.List[api.NextHop]{{Interface: "tgw-a"}}},
		},
		Config: &doctor.Config{
			Connect: []tgwconnect.ConnectPeer{{Name: "tgw-a", Device: "tgw-a", Local: addr("10.0.0.10"), Remote: addr("192.0.2.1"), Inside4: netip.MustParsePrefix("169.254.100.0/29"), LocalASN: 65001, TGWASN: 64512}},
			Neighbors: []doctor.NeighborConfig{
				{Name: "tgw-a/1", Address: addr("169.254.100.2"), EBGP: true, TTL: 2, HoldTime: 30 * time.Second},
				{Name: "tgw-a/2", Address: addr("169.254.100.3"), EBGP: true, TTL: 2, HoldTime: 30 * time.Second},
			},
			Sites: []doctor.SiteConfig{{Name: "paris", Device: "wg0", Endpoint: "203.0.113.10:51820", Keepalive: 25 * time.Second}, {Name: "lyon", Device: "wg0"}},
			Ports: map[string]uint16{"wg0": 51820}, SharedKeys: []string{"wg0"},
		},
	}
}

// reader is the client as the command line gives it to gather, with the metrics of
// the scene: tgwsim has no CloudWatch.
type reader struct {
	*ec2api.Client
	s *scene
}

func (r reader) TransitGatewayRoutes(ctx context.Context, table string) ([]tgwconnect.TGWRoute, error) {
	routes, err := r.SearchTransitGatewayRoutes(ctx, table, tgwconnect.Query{})
	return routes.Routes, err
}
func (r reader) Code(err error) string { return ec2api.Code(err) }
func (r reader) Denied(err error) bool { return ec2api.IsUnauthorized(err) }
func (r reader) Throttled() uint64     { return r.Stats().Throttled }
func (r reader) GetMetricData(context.Context, tgwconnect.MetricQuery) ([]tgwconnect.MetricValue, error) {
	return []tgwconnect.MetricValue{{Sum: r.s.drops}}, nil
}

// facts reads the scene.
func (s *scene) facts() *doctor.Facts {
	o := gather.Options{Now: time.Now(), Metadata: true, TargetHealth: func(context.Context) ([]tgwconnect.TargetHealth, error) { return s.targets, nil }}
	for _, i := range s.host.Interfaces {
		for _, p := range i.Addresses {
			o.Addresses = append(o.Addresses, p.Addr())
		}
	}
	if s.noIMDS {
		s.sim.IMDS(s.Instances[0]).SetDown(true)
	}
	return &doctor.Facts{Now: started, Region: "us-east-1", AWS: gather.AWS(s.t.Context(), reader{s.client, s}, o), Host: s.host, Daemon: s.daemon}
}
