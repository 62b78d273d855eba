package hatest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// Times of the simulated gateways. Those that a file would have by default are
// the defaults of package configs.
const (
	holdTGW      = 30 * time.Second
	holdSite     = 9 * time.Second
	holdFleet    = 9 * time.Second
	bfdDetect    = 900 * time.Millisecond
	holdDown     = 5 * time.Second
	endOfRIBWait = 30 * time.Second
	beatEvery    = 5 * time.Second
	probeEvery   = time.Second
	siteKeeps    = 25 * time.Second // persistent keepalive of the sites
)

// ourASN is that of all hosts.
const ourASN = 65000

var damping = ha.Damping{Penalty: 1000, Suppress: 2000, Reuse: 750, HalfLife: 15 * time.Minute, Max: time.Hour}

func neighborName(h *host) string { return fmt.Sprintf("h%02d", h.id) }

func (h *host) address() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(h.id + 1)}) }

// outer is the underlay address of a site.
func (s *site) outer() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, byte(s.id >> 16), byte(s.id >> 8), byte(s.id)}), 51820)
}

func (s *site) key() (k wg.Key) {
	k[0], k[1], k[2], k[31] = byte((s.id+1)>>16), byte((s.id+1)>>8), byte(s.id+1), 1
	return k
}

// config is what the operator of the host wants.
func (h *host) config() *ha.Config {
	w := h.w
	cfg := &ha.Config{
		Gateway: ha.Gateway{
			Name: neighborName(h), ASN: ourASN, RouterID: h.address(), Region: fmt.Sprintf("r%d", h.region.id),
			CoalesceDelay: 20 * time.Millisecond, EndOfRIBWait: endOfRIBWait, Linger: 3 * time.Second, DrainLimit: 15 * time.Second,
		},
		Devices: []wg.Device{{Name: "wg0", Mode: wg.ModeSynced, Addresses: []netip.Prefix{netip.MustParsePrefix("10.255.255.254/9")}}},
		Connect: []tgwconnect.ConnectPeer{{
			Name: "tgw", Device: "gre0", Inside4: netip.MustParsePrefix("169.254.100.0/29"), Remote: netip.AddrFrom4([4]byte{198, 51, 100, byte(h.region.id)}),
		}},
		FIB:   ha.FIB{Table: 100, Protocol: 186, Metric: 20, SinkMetric: 4000, MaxECMP: 8},
		Ranks: ha.DefaultRanks(),
	}
	if w.s.Large { // the daemon spends a third of its time on planning at most
		cfg.Gateway.CoalesceDelay = time.Second
	}
	everything := []bgp.PrefixRule{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), LE: 32}, {Prefix: netip.MustParsePrefix("::/0"), LE: 128}}
	for n := range 2 {
		cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{
			Name: tgwSession(n), Kind: bgp.KindTGW, Group: "tgw", Device: "gre0", RemoteASN: bgp.ASN(64512 + h.region.id),
			Address: netip.AddrFrom4([4]byte{169, 254, 100, byte(2 + n)}), HoldTime: holdTGW, IPv4: true, IPv6: true, Export: true,
			Import: &bgp.ImportPolicy{Allow: everything, LocalPref: 100},
		})
	}
	for _, o := range w.hosts {
		if o == h {
			continue
		}
		cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{
			Name: neighborName(o), Kind: bgp.KindFleet, Group: "fleet", Device: "eth0", RemoteASN: ourASN, Address: o.address(),
			Region: o.regionSeenFrom(h), HoldTime: holdFleet, IPv4: true, IPv6: true, Export: true, Import: &bgp.ImportPolicy{Allow: everything, LocalPref: 100},
		})
		cfg.BFD = append(cfg.BFD, bgp.BFDSession{
			Name: neighborName(o), Address: o.address(), Device: "eth0", Interval: bfdDetect / 3, Multiplier: 3,
		})
	}
	for _, l := range h.links {
		h.configSite(cfg, l)
	}
	slices.SortFunc(cfg.Neighbors, func(a, b bgp.Neighbor) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(cfg.BFD, func(a, b bgp.BFDSession) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(cfg.Watched, bgp.ComparePrefix)
	cfg.Watched = slices.Compact(cfg.Watched)
	return cfg
}

func (h *host) configSite(cfg *ha.Config, l *link) {
	s := l.site
	c := ha.Site{
		Name: s.name, Device: "wg0", Mode: wg.ModeSynced, Peer: wg.Peer{Name: s.name, Key: s.key()},
		Address4: s.inner(), Role: ha.RolePrimary, IdlePolicy: ha.IdleWithhold, HoldDown: holdDown, Damping: damping,
		Preempt: s.id%5 != 0, Roams: s.kind == kindRoam, Group: s.group,
	}
	if l.backup {
		c.Role = ha.RoleBackup
	}
	if s.kind != kindRoam {
		c.Peer.Endpoint = wg.Endpoint{Host: s.outer().Addr().String(), Port: s.outer().Port()}
	}
	if s.kind != kindBGP {
		for _, p := range s.prefixes {
			c.Prefixes = append(c.Prefixes, h.w.prefixes[p])
		}
	}
	if !h.w.s.Large {
		for _, p := range s.prefixes {
			cfg.Watched = append(cfg.Watched, h.w.prefixes[p])
		}
	}
	beat := ha.Check{Name: "beat", Kind: ha.CheckHeartbeat, Rise: 2, Fall: 3, Probe: wg.Probe{
		ID: s.name + "/beat", Kind: wg.ProbeHeartbeat, Device: "wg0", Target: s.inner(), Interval: beatEvery,
	}}
	bfd := bgp.BFDSession{Name: s.name, Address: s.inner(), Device: "wg0", Interval: bfdDetect / 3, Multiplier: 3}
	switch s.kind {
	case kindBeat, kindRoam:
		c.Checks = []ha.Check{beat}
	case kindBFD:
		c.Checks = []ha.Check{{Name: "bfd", Kind: ha.CheckBFD, Rise: 1, Fall: 1, Strict: true}}
		bfd.Strict = true
		cfg.BFD = append(cfg.BFD, bfd)
	case kindBGP:
		c.Neighbor = s.name
		c.Checks = []ha.Check{{Name: "bgp", Kind: ha.CheckBGP, Rise: 1, Fall: 1}, {Name: "bfd", Kind: ha.CheckBFD, Rise: 1, Fall: 1}}
		cfg.BFD = append(cfg.BFD, bfd)
		cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{
			Name: s.name, Kind: bgp.KindSite, Site: s.name, Group: "sites", Device: "wg0", RemoteASN: bgp.ASN(4200000000 + s.id),
			Address: s.inner(), HoldTime: holdSite, IPv4: true, IPv6: true, Export: true,
			Import: &bgp.ImportPolicy{LocalPref: 200},
		})
	case kindProbe:
		c.Checks = []ha.Check{{Name: "echo", Kind: ha.CheckProbe, Rise: 2, Fall: 3, Probe: wg.Probe{
			ID: s.name + "/echo", Kind: wg.ProbeICMP, Device: "wg0", Target: s.inner(), Interval: probeEvery, Timeout: probeEvery,
		}}}
	}
	cfg.Sites = append(cfg.Sites, c)
}

// regionSeenFrom is empty for a host of the same region.
func (h *host) regionSeenFrom(o *host) string {
	if h.region == o.region {
		return ""
	}
	return fmt.Sprintf("r%d", h.region.id)
}

func tgwSession(n int) string { return fmt.Sprintf("tgw/%d", n+1) }
