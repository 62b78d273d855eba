package doctor

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Row 25 [QUOTA]: 8,500 bytes, GRE and its IP header included.
func greMTU(f *Facts, t *tally) {
	if t.lacks(f.hostGap()) {
		return
	}
	for _, tun := range f.tunnels() {
		if !f.towardTGW(tun) || tun.MTU == 0 {
			continue
		}
		around := tgwconnect.Tunnel{Remote: tun.Remote}.Overhead()
		most := tgwconnect.MTU - around
		path := find(f.Host.Lookups, func(l Lookup) bool { return l.To == tun.Remote }).MTU
		switch {
		case tun.MTU > most:
			t.bad("leave mtu out of the [[tgw-connect]], or: ip link set "+tun.Name+" mtu "+strconv.Itoa(most), "%s: MTU %d, the TGW carries %d", tun.Name, tun.MTU, most)
		case path > 0 && tun.MTU > path-around:
			t.bad("leave mtu out of the [[tgw-connect]], or: ip link set "+tun.Name+" mtu "+strconv.Itoa(path-around), "%s: MTU %d, the path to %s takes %d", tun.Name, tun.MTU, tun.Remote, path-around)
		default:
			t.good("%s: MTU %d", tun.Name, tun.MTU)
		}
	}
	t.none("there is no GRE tunnel")
}

// Row 26: WireGuard puts 60 bytes around a packet over IPv4, 80 over IPv6.
func wireguardMTU(f *Facts, t *tally) {
	if t.lacks(f.daemonGap()) {
		return
	}
	for _, c := range f.Daemon.MTU {
		if len(c.Links) < 2 {
			continue
		}
		path, wg := c.Links[len(c.Links)-1], c.Links[len(c.Links)-2]
		if path.Overhead == 0 || path.MTU == 0 || wg.MTU == 0 {
			t.unknown("%s: the path to the site is not known yet", c.Site)
			continue
		}
		if wg.MTU > path.Packet {
			t.bad("set mtu = "+strconv.Itoa(path.Packet)+" under [wireguard."+wg.Name+"], or less than that", "%s: MTU of %s is %d, %s takes %d", c.Site, wg.Name, wg.MTU, path.Name, path.Packet)
			continue
		}
		t.good("%s: MTU of %s is %d, %s takes %d", c.Site, wg.Name, wg.MTU, path.Name, path.Packet)
	}
	t.none("there is no site with a path")
}

// counter judges one counter that should stand still.
func (f *Facts) counter(t *tally, name, what, cure string) {
	moved, since, read := f.Host.delta(name)
	switch {
	case !read:
	case moved > 0:
		t.bad(cure, "%s: %d more within %s, %d in all", what, moved, f.Host.Elapsed, since)
	case since > 0:
		t.warn(cure, "%s: %d since boot, none within %s", what, since, f.Host.Elapsed)
	default:
		t.good("%s: 0", what)
	}
}

// Row 27 [EC2-MTU]: 1,024 fragments a second pass an interface.
func fragments(f *Facts, t *tally) {
	if t.lacks(f.hostGap()) {
		return
	}
	cure := "lower mtu under [wireguard]: wgbgp mtu says to what"
	f.counter(t, "ip.FragCreates", "IPv4 fragments made", cure)
	f.counter(t, "ip.FragFails", "IPv4 packets too large", cure)
	f.counter(t, "ip6.Ip6FragCreates", "IPv6 fragments made", cure)
	f.counter(t, "ip6.Ip6FragFails", "IPv6 packets too large", cure)
	f.ena(t, "pps_allowance_exceeded", "packets beyond the rate allowance", "a larger instance type, fewer fragments")
	for _, i := range f.Host.Interfaces {
		if i.Driver != "" {
			t.good("%s: driver %s", i.Name, i.Driver)
		}
	}
	if t.verdict == "" {
		t.unknown("this kernel shows none of the counters")
	}
}

// ena judges a counter of every network interface that has it (ENA only).
func (f *Facts) ena(t *tally, name, what, cure string) (found bool) {
	var all []string
	for k := range f.Host.After {
		if strings.HasSuffix(k, "."+name) {
			all = append(all, k)
		}
	}
	slices.Sort(all)
	for _, k := range all {
		f.counter(t, k, strings.TrimSuffix(k, "."+name)+" "+what, cure)
	}
	return len(all) > 0
}

// Row 28.
func noMSSClamp(f *Facts, t *tally) {
	if t.lacks(f.daemonGap()) {
		return
	}
	for _, p := range f.Daemon.Kernel {
		if p.Object == "kernel filter" {
			t.bad("wgbgp check --kernel; the daemon repairs it at its next comparison", "%s", p.Text)
		}
	}
	for _, c := range f.Daemon.MTU {
		differ := false
		for _, l := range c.Links {
			differ = differ || l.Source != api.MTUFromAWS && l.Packet > c.MTU
		}
		switch {
		case c.MSS4 > 0:
			t.good("%s: clamped to %d and %d", c.Site, c.MSS4, c.MSS6)
		case differ:
			t.warn("set mss-clamp = true under [fib]", "%s: no clamp, and MTUs differ: %s limits to %d", c.Site, c.Limit, c.MTU)
		default:
			t.good("%s: no clamp, and all MTUs are equal", c.Site)
		}
	}
	t.none("there is no site")
}

// Row 33: 169.254.169.254 must leave by the network interface. fd00:ec2::254 lies
// in the range of inside IPv6 blocks (facts 2.6).
func metadataHidden(f *Facts, t *tally) {
	if t.lacks(f.hostGap()) {
		return
	}
	for _, l := range f.Host.Lookups {
		if l.What != LookupMetadata {
			continue
		}
		tunnel := slices.ContainsFunc(f.tunnels(), func(x Tunnel) bool { return x.Name == l.Device }) ||
			slices.ContainsFunc(f.Daemon.Peers, func(p api.Peer) bool { return p.Interface == l.Device })
		switch {
		case l.Device != "" && tunnel:
			t.bad("remove the covering route: ip route get "+l.To.String()+"; keep it out with allow of the neighbor", "%s is routed into %s", l.To, l.Device)
		case l.Device != "":
			t.good("%s leaves by %s", l.To, l.Device)
		default:
			t.good("%s: %s", l.To, l.Err)
		}
	}
	for _, r := range f.Daemon.Routes {
		if r.Status == api.RouteInstalled && (r.Prefix.Contains(netip.MustParseAddr("169.254.169.254")) || r.Prefix.Contains(netip.MustParseAddr("fd00:ec2::254"))) && r.Prefix.Bits() > 0 {
			t.bad("keep the prefix out with allow of the neighbor that sends it", "the route %s covers the metadata service", r.Prefix)
		}
	}
	if t.verdict == "" {
		t.unknown("the way to 169.254.169.254 was not looked up")
	}
}
