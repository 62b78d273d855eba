package apitest

import (
	"net/netip"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
)

// now is when every answer of New was made.
var now = time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)

func ago(d time.Duration) api.Stamp { return api.At(now.Add(-d), now) }

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

const day = 24 * time.Hour

// New is a small gateway: site paris is up and speaks BGP, site lyon is silent,
// site nice is disabled; one TGW session is up, the other has no policy.
func New() *Backend {
	med := uint32(100)
	return &Backend{
		View: api.View{
			Status: status(), Peers: peers(), Sites: sites(), Neighbors: neighbors(),
			RIB: rib(&med), Routes: routes(), Health: health(),
		},
		In: map[string]api.AdjIn{"paris": {
			Paths: api.List[api.Path]{{
				Prefix: pfx("10.1.0.0/16"), NextHop: ip("10.255.0.2"), Neighbor: "paris", Since: ago(12*time.Minute + 15*time.Second),
				Attrs: api.Attrs{Origin: "igp", ASPath: api.List[uint32]{65010}, MED: &med, Communities: api.List[string]{"65010:1"}},
			}},
			Rejected: api.List[api.Rejected]{{Prefix: pfx("0.0.0.0/0"), Reason: "not-allowed"}},
		}},
		Out: map[string]api.AdjOut{"tgw-a/1": {Paths: api.List[api.Path]{{
			Prefix: pfx("10.1.0.0/16"), NextHop: ip("169.254.6.1"), Neighbor: "tgw-a/1", Since: ago(12 * time.Minute),
			Attrs: api.Attrs{Origin: "igp", ASPath: api.List[uint32]{64512, 65010}, MED: &med, LargeCommunities: api.List[string]{"64512:1:2"}},
		}}}},
		Found:  discovery(),
		Chains: chains(),
		Config: api.Config{
			File: "/etc/wgbgp/wgbgp.toml", Loaded: ago(3*day + 4*time.Hour), Files: api.List[string]{"/etc/wgbgp/wgbgp.toml"},
			Text: "[gateway]\nname = \"gw-a\"\n\n[wireguard.wg0]\nprivate-key = \"file:/etc/wgbgp/wg0.key\"\n",
		},
		Report: api.ConfigReport{
			File: "/etc/wgbgp/wgbgp.toml",
			Warnings: api.List[api.ConfigProblem]{{
				Code: "W-IDLE", File: "/etc/wgbgp/wgbgp.toml", Line: 7, Key: "site[lyon]", Problem: "nothing watches it", Cure: "add a probe",
			}},
			Changes: api.List[api.ConfigChange]{{Class: api.ClassLive, Object: "site lyon", Action: "changed", Keys: api.List[string]{"keepalive"}}},
		},
	}
}

func status() api.Status {
	return api.Status{
		Host: "gw-a", Version: "v1.0.0", ASN: 64512, RouterID: ip("192.0.2.1"), Region: "eu-west-3", Started: ago(3*day + 4*time.Hour), Gen: 42,
		Sites:    api.SiteCounts{Total: 3, Up: 1, Down: 1, Disabled: 1},
		Sessions: api.SessionCounts{Total: 3, Established: 2, Policy: 1},
		Prefixes: api.PrefixCounts{Learned: 2, Announced: 1, Withheld: 2, Routes: 3},
		Config:   api.ConfigStatus{File: "/etc/wgbgp/wgbgp.toml", Loaded: ago(3*day + 4*time.Hour)},
		Quotas:   api.List[api.Quota]{{Group: "tgw-a", Limit: 1000, Wanted: 2, Announced: 2}},
		Edges:    api.List[api.Edge]{{Name: "fib", Gen: 42, OK: true}, {Name: "wireguard", Gen: 42, OK: true}},
		Tunnels: api.List[api.Tunnel]{{
			Name: "tgw-a", Backend: "userspace", Local: ip("198.51.100.1"), Remote: ip("198.51.100.2"), Up: true, MTU: 8476, Rx: 10, Tx: 12,
		}},
		Sysctls: api.List[api.Sysctl]{{Name: "net.ipv4.conf.all.rp_filter", Have: "1", Want: "2", Text: "asymmetric packets are dropped"}},
	}
}

func peers() []api.Peer {
	return []api.Peer{
		{
			Name: "lyon", PublicKey: "bHlvbgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", Interface: "wg0", Backend: "userspace", Mode: "synced",
			Endpoint: "203.0.113.20:51820", Configured: "lyon.example.net:51820", KeepaliveSeconds: 25, Handshake: ago(4 * time.Minute),
			RxBytes: 1536, TxBytes: 10 << 20, State: api.PeerDown, Since: ago(90 * time.Second), Reason: "rx-stall", Detail: "nothing received for 24s",
			AllowedIPs: api.List[api.AllowedIP]{{Prefix: pfx("10.2.0.0/16"), Source: api.SourceConfigured, InPlace: true}},
			Elsewhere:  &api.Elsewhere{Host: "gw-b", Endpoint: "203.0.113.21:51820", Heard: ago(3 * time.Second), Greeting: "sighted"},
		},
		{
			Name: "nice", PublicKey: "bmljZQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", Interface: "wg0", Backend: "userspace", Mode: "synced",
			State: api.PeerDisabled, Reason: "disabled",
		},
		{
			Name: "paris", PublicKey: "cGFyaXMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", Interface: "wg0", Backend: "userspace", Mode: "synced",
			Endpoint: "203.0.113.10:51820", KeepaliveSeconds: 25, Handshake: ago(65 * time.Second), RxBytes: 5 << 20, TxBytes: 7 << 10, RTTMillis: 12.4,
			State: api.PeerUp, Since: ago(12*time.Minute + 15*time.Second), PrefixesIn: 1, PrefixesOut: 1,
			AllowedIPs: api.List[api.AllowedIP]{
				{Prefix: pfx("10.1.0.0/16"), Source: api.SourceLearned, InPlace: true},
				{Prefix: pfx("10.255.0.2/32"), Source: api.SourceConfigured, InPlace: true},
			},
		},
		{
			PublicKey: "c3RyYW5nZXIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", Interface: "wg0", Backend: "userspace", Mode: "synced", State: api.PeerForeign,
			AllowedIPs: api.List[api.AllowedIP]{{Prefix: pfx("fd00:9::/64"), Source: api.SourceForeign, InPlace: true}},
		},
	}
}

func sites() []api.Site {
	return []api.Site{
		{
			Name: "lyon", Interface: "wg0", PublicKey: "bHlvbgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", Role: "primary", Verdict: "down",
			Since: ago(90 * time.Second), Reason: "rx-stall", Detail: "nothing received for 24s",
			Prefixes: api.List[api.SitePrefix]{{Prefix: pfx("10.2.0.0/16"), Source: api.SourceConfigured, Reason: "rx-stall"}},
		},
		{
			Name: "nice", Interface: "wg0", PublicKey: "bmljZQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", Role: "backup", Group: "south", Disabled: true,
			Verdict: "idle", Reason: "disabled",
			Prefixes: api.List[api.SitePrefix]{{Prefix: pfx("fd00:3::/48"), Source: api.SourceConfigured, Reason: "disabled"}},
		},
		{
			Name: "paris", Description: "head office", Interface: "wg0", PublicKey: "cGFyaXMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", Neighbor: "paris",
			Role: "primary", Verdict: "up", Since: ago(12*time.Minute + 15*time.Second),
			Prefixes: api.List[api.SitePrefix]{{Prefix: pfx("10.1.0.0/16"), Source: api.SourceLearned, Announced: true, Rank: "direct"}},
		},
	}
}

func neighbors() []api.Neighbor {
	connectPeer := api.Origin{Source: api.OriginConnectPeer, ID: "tgw-connect-peer-0a", Parent: "tgw-attach-0c", Entry: "tgw-a"}
	return []api.Neighbor{
		{
			Name: "paris", Kind: "site", Group: "sites", Site: "paris", Address: ip("10.255.0.2"), LocalAddress: ip("10.255.0.1"), RouterID: ip("10.1.0.1"),
			ASN: 65010, LocalASN: 64512, Families: api.List[string]{"ipv4", "ipv6"}, State: "Established", Since: ago(12*time.Minute + 15*time.Second),
			LossReason: "hold-timer-expired", HoldTimeSeconds: 9, KeepaliveSeconds: 3, EndOfRIB4: true, MaxPrefixes: 100,
			BFD: "Up", Received: 2, Accepted: 1, Rejected: 1, Announced: 1, MessagesIn: 250, MessagesOut: 249, UpdatesOut: 3,
			Origin: api.Origin{Source: api.OriginConfigured},
		},
		{
			Name: "tgw-a/1", Kind: "tgw", Group: "tgw", Address: ip("169.254.6.2"), LocalAddress: ip("169.254.6.1"), RouterID: ip("169.254.6.2"),
			ASN: 64513, LocalASN: 64512, Families: api.List[string]{"ipv4", "ipv6"}, State: "Established", Since: ago(3*day + 4*time.Hour),
			HoldTimeSeconds: 30, KeepaliveSeconds: 10, EndOfRIB4: true, EndOfRIB6: true, Received: 1, Accepted: 1, Announced: 1,
			Origin: connectPeer,
		},
		{
			Name: "tgw-a/2", Kind: "tgw", Group: "tgw", Address: ip("169.254.6.3"), LocalAddress: ip("169.254.6.1"),
			ASN: 64513, LocalASN: 64512, Families: api.List[string]{"ipv4"}, State: api.StatePolicy, Since: ago(time.Hour),
			Hint: "set allow, or export, for this neighbor (RFC 8212)", HoldTimeSeconds: 30, KeepaliveSeconds: 10,
			Origin: connectPeer,
		},
	}
}

func discovery() api.Discovery {
	return api.Discovery{
		Sources: api.List[api.DiscoverySource]{
			{Name: "connect-peers", Wanted: true, Answered: ago(42 * time.Second), Found: api.List[api.Discovered]{
				{ID: "tgw-connect-peer-0a", Parent: "tgw-attach-0c", State: "available", Name: "tgw-a", Entry: "tgw-a", Local: ip("10.0.0.10"), Remote: ip("192.0.2.1")},
				{ID: "tgw-connect-peer-0b", Parent: "tgw-attach-0c", State: "available", Local: ip("10.0.1.11"), Remote: ip("192.0.2.2"), Reason: "foreign", Detail: "10.0.1.11 is not this host's"},
			}},
			{Name: "route-server-peers", Wanted: true, Error: "DescribeRouteServerPeers: UnauthorizedOperation; allow ec2:DescribeRouteServerPeers to this host's role"},
		},
	}
}

func bfd() []api.BFD {
	return []api.BFD{
		{
			Name: "core-1", Neighbor: "core-1", Address: ip("192.0.2.254"), Interface: "eth0", State: "Down", RemoteState: "Down", Since: ago(8 * time.Second),
			Failed: true, Diagnostic: "detection-time-expired", RemoteDiagnostic: "none", Multiplier: 3, Discriminator: 4711, Flaps: 2,
		},
		{
			Name: "lyon", Site: "lyon", Address: ip("10.255.0.3"), LocalAddress: ip("10.255.0.1"), Interface: "wg0", State: "Down", RemoteState: "Down",
			Diagnostic: "none", RemoteDiagnostic: "none", Multiplier: 3, Discriminator: 4712, Note: "send: the peer has no endpoint yet",
		},
		{
			Name: "paris", Site: "paris", Neighbor: "paris", Address: ip("10.255.0.2"), LocalAddress: ip("10.255.0.1"), Interface: "wg0",
			State: "Up", RemoteState: "Up", Since: ago(12*time.Minute + 15*time.Second), Diagnostic: "none", RemoteDiagnostic: "none",
			IntervalMS: 300, RemoteIntervalMS: 500, DetectMS: 1500, Multiplier: 3, RemoteMultiplier: 3, Discriminator: 4713, RemoteDiscriminator: 99,
		},
	}
}

func rib(med *uint32) []api.RIBEntry {
	return []api.RIBEntry{
		{
			Prefix: pfx("10.0.0.0/8"), AnnouncedTo: api.List[string]{"tgw-a/1", "tgw-a/2"}, Rank: "direct",
			Paths: api.List[api.RIBPath]{{Source: api.SourceAggregate, Best: true, Usable: true, Detail: "1 contributor"}},
		},
		{
			Prefix: pfx("10.1.0.0/16"), AnnouncedTo: api.List[string]{"tgw-a/1", "tgw-a/2"}, Rank: "direct",
			Paths: api.List[api.RIBPath]{
				{
					Source: api.SourceLearned, Site: "paris", Neighbor: "paris", NextHop: ip("10.255.0.2"), Best: true, Usable: true, Reason: "only usable path",
					Asked: "65010:80: not to routers",
					Attrs: api.Attrs{Origin: "igp", ASPath: api.List[uint32]{65010}, MED: med}, Since: ago(12*time.Minute + 15*time.Second),
				},
				{Source: api.SourceConfigured, Site: "lyon", Reason: "rx-stall", Detail: "nothing received for 24s"},
			},
			HeldBack: api.List[api.HeldBack]{{Group: "routers", Reason: "community", Detail: "65010:80: not to routers"}},
		},
		{
			Prefix: pfx("10.2.0.0/16"), Reason: "rx-stall", Detail: "nothing received for 24s",
			Paths: api.List[api.RIBPath]{{Source: api.SourceConfigured, Site: "lyon", Reason: "rx-stall", Detail: "nothing received for 24s"}},
		},
		{
			Prefix: pfx("172.16.0.0/12"), AnnouncedTo: api.List[string]{"paris"}, Rank: "direct",
			Paths: api.List[api.RIBPath]{{
				Source: api.SourceLearned, Neighbor: "tgw-a/1", NextHop: ip("169.254.6.2"), Best: true, Usable: true, Reason: "only path",
				Attrs: api.Attrs{Origin: "igp", ASPath: api.List[uint32]{64513}}, Since: ago(3*day + 4*time.Hour),
			}},
		},
	}
}

func routes() []api.Route {
	return []api.Route{
		{Prefix: pfx("10.0.0.0/8"), Table: 186, Type: api.RouteBlackhole, Metric: 65535, Protocol: 186, Status: api.RouteInstalled},
		{
			Prefix: pfx("10.1.0.0/16"), Table: 186, Type: api.RouteUnicast, Metric: 100, Protocol: 186, Site: "paris", Status: api.RouteInstalled,
			NextHops: api.List[api.NextHop]{{Interface: "wg0", Site: "paris"}},
		},
		{Prefix: pfx("10.2.0.0/16"), Table: 186, Type: api.RouteBlackhole, Metric: 4000000000, Protocol: 186, Site: "lyon", Status: api.RouteInstalled},
		{
			Prefix: pfx("172.16.0.0/12"), Table: 186, Type: api.RouteUnicast, Metric: 100, Protocol: 186, Status: api.RouteInstalled,
			NextHops: api.List[api.NextHop]{{Gateway: ip("169.254.6.2"), Interface: "tgw-a", Weight: 1}},
		},
	}
}

func health() []api.Health {
	return []api.Health{
		{
			Site: "lyon", Verdict: "down", Since: ago(90 * time.Second), Reason: "rx-stall", Detail: "nothing received for 24s", Rule: "any",
			Checks: api.List[api.Check]{{
				Name: "heartbeat", Kind: "heartbeat", IntervalSeconds: 5, Measured: true, Last: ago(2 * time.Second), Reason: "rx-stall",
				Rise: 1, Fall: 1, Failures: 3, Counts: true,
			}},
		},
		{Site: "nice", Verdict: "idle", Reason: "disabled", Rule: "any"},
		{
			Site: "paris", Verdict: "up", Since: ago(12*time.Minute + 15*time.Second), Rule: "all",
			Checks: api.List[api.Check]{
				{Name: "bfd", Kind: "bfd", Target: "10.255.0.2", IntervalSeconds: 0.3, Up: true, Measured: true, OK: true, Last: ago(12 * time.Minute), Rise: 1, Fall: 1, Successes: 1, Counts: true},
				{Name: "bgp", Kind: "bgp", Target: "10.255.0.2", Up: true, Measured: true, OK: true, Last: ago(12 * time.Minute), Rise: 1, Fall: 1, Successes: 1, Counts: true},
				{
					Name: "lan", Kind: "probe", Method: "icmp", Target: "10.1.0.9", IntervalSeconds: 1, Up: true, Measured: true, OK: true, Last: ago(time.Second),
					RTTMillis: 12.4, Rise: 3, Fall: 3, Successes: 250, Prefixes: api.List[netip.Prefix]{pfx("10.1.0.0/16")},
				},
			},
		},
	}
}

func chains() []api.MTUChain {
	toTGW := []api.MTULink{
		{Name: "tgw", MTU: 8500, Overhead: 24, Packet: 8476, Source: api.MTUFromAWS},
		{Name: "path to 198.51.100.2", MTU: 9001, Overhead: 24, Packet: 8977, Source: api.MTUFromRoute},
		{Name: "tgw-a", MTU: 8476, Packet: 8476, Source: api.MTUDerived},
		{Name: "wg0", MTU: 1420, Packet: 1420, Source: api.MTUConfigured},
	}
	path := func(to string, mtu, around int) []api.MTULink {
		l := api.MTULink{Name: "path to " + to, MTU: mtu, Overhead: around, Source: api.MTUFromRoute}
		l.Packet = max(0, mtu-around)
		return append(toTGW[:len(toTGW):len(toTGW)], l)
	}
	return []api.MTUChain{
		{
			Site: "lyon", Links: path("203.0.113.20", 1400, 60), MTU: 1340, Limit: "path to 203.0.113.20", MSS4: 1380, MSS6: 1360,
			Notes: api.List[string]{"packets above 1340 bytes are sent to 203.0.113.20 in fragments: lower mtu of [wireguard.wg0] to 1340"},
		},
		{Site: "nice", Links: toTGW, MTU: 1420, Limit: "wg0", MSS4: 1380, MSS6: 1360, Notes: api.List[string]{"the site's endpoint is not known yet"}},
		{Site: "paris", Links: path("203.0.113.10", 1500, 60), MTU: 1420, Limit: "wg0", MSS4: 1380, MSS6: 1360},
	}
}
