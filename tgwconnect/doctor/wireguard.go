package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
)

// fresh is the age up to which a handshake says that a session lives: it is
// renewed after 120 s of traffic and ends after 180 s (WireGuard, section 6.1).
const fresh = 180 * time.Second

// moved is how far a peer's counters moved between both readings.
func (f *Facts) moved(p api.Peer) (rx, tx uint64, twice bool) {
	i := slices.IndexFunc(f.Daemon.PeersBefore, func(o api.Peer) bool { return o.PublicKey == p.PublicKey && o.Interface == p.Interface })
	if i < 0 || f.Daemon.PeersBefore[i].RxBytes > p.RxBytes || f.Daemon.PeersBefore[i].TxBytes > p.TxBytes {
		return 0, 0, false
	}
	return p.RxBytes - f.Daemon.PeersBefore[i].RxBytes, p.TxBytes - f.Daemon.PeersBefore[i].TxBytes, true
}

// Row 37.
func forwardingDead(f *Facts, t *tally) {
	if t.lacks(f.daemonGap()) {
		return
	}
	for _, p := range f.Daemon.Peers {
		if p.Handshake.IsZero() || p.Handshake.Age() > fresh || p.State == api.PeerDisabled || p.State == api.PeerForeign {
			continue
		}
		h := find(f.Daemon.Health, func(h api.Health) bool { return h.Site == p.Name })
		failed := find(h.Checks, func(c api.Check) bool { return c.Kind == "probe" && c.Measured && !c.Up })
		answered := slices.ContainsFunc(h.Checks, func(c api.Check) bool { return c.Kind == "probe" && c.Measured && c.Up })
		rx, tx, twice := f.moved(p)
		switch {
		case failed.Name != "":
			t.bad("wgbgp health "+p.Name+"; firewall and routes at the site", "%s: handshake %s ago, yet probe %s to %s fails: %s", name(p), p.Handshake.Age().Round(time.Second), failed.Name, failed.Target, failed.Reason)
		case twice && tx > 1000 && rx == 0 && !answered:
			t.warn("wgbgp health "+p.Name+"; firewall and routes at the site", "%s: handshake %s ago, %d bytes sent and none received within %s", name(p), p.Handshake.Age().Round(time.Second), tx, f.Host.Elapsed)
		default:
			t.good("%s: handshake %s ago", name(p), p.Handshake.Age().Round(time.Second))
		}
	}
	t.none("no peer has a fresh handshake")
}

// Row 38: the kernel gives an allowed IP to the peer that was set last.
func allowedIPsOverlap(f *Facts, t *tally) {
	if t.lacks(f.daemonGap()) {
		return
	}
	type claim struct{ device, prefix string }
	who := map[claim][]string{}
	for _, p := range f.Daemon.Peers {
		for _, a := range p.AllowedIPs {
			c := claim{p.Interface, a.Prefix.String()}
			if a.InPlace {
				who[c] = append(who[c], name(p))
			}
			if !a.InPlace && (a.Reason == "overlap" || a.Reason == "conflict") {
				t.bad("take it from one of the sites: wgbgp peer "+p.Name, "%s: %s is another's: %s", name(p), a.Prefix, a.Detail)
			}
		}
	}
	var twice []string
	for c, names := range who {
		if len(names) > 1 {
			slices.Sort(names)
			twice = append(twice, fmt.Sprintf("%s: %s is an allowed IP of %v", c.device, c.prefix, names))
		}
	}
	slices.Sort(twice)
	for _, text := range twice {
		t.bad("take it from one of the sites: wgbgp peer", "%s", text)
	}
	if len(f.Daemon.Peers) > 0 {
		t.good("%d peers were compared", len(f.Daemon.Peers))
	}
	t.none("there are no peers")
}

// Row 39.
func nothingBehind(f *Facts, t *tally) {
	if t.lacks(f.daemonGap()) {
		return
	}
	live := func(p api.Peer) bool {
		return p.State == api.PeerUp || p.State == api.PeerIdle || !p.Handshake.IsZero() && p.Handshake.Age() <= fresh
	}
	all := f.announced()
	for _, prefix := range sortedPrefixes(all) {
		var behind []string
		alive := false
		for _, p := range f.Daemon.Peers {
			if slices.ContainsFunc(p.AllowedIPs, func(a api.AllowedIP) bool {
				return a.Prefix.Bits() <= prefix.Bits() && a.Prefix.Overlaps(prefix)
			}) {
				behind = append(behind, name(p))
				alive = alive || live(p)
			}
		}
		switch {
		case len(behind) > 0 && !alive:
			t.bad("wgbgp explain "+prefix.String(), "%s is announced, and none of %v is alive", prefix, behind)
		case len(behind) > 0:
			t.good("%s: %v", prefix, behind)
		default:
			t.good("%s has no peer of its own (an aggregate, or another host's)", prefix)
		}
	}
	t.none("nothing is announced to a Transit Gateway")
}

// Row 42: targets of one load balancer must be one WireGuard peer to the client.
func lbKeys(f *Facts, t *tally) {
	if !f.AWS.Targets.Read {
		t.unknown("%s", noTargets)
		return
	}
	if t.lacks(f.configGap()) {
		return
	}
	most := f.hostsOfAGroup()
	if most < 2 {
		t.good("no target group has more than one host")
		return
	}
	for device := range f.Daemon.Config.Ports {
		dialled := slices.ContainsFunc(f.Daemon.Config.Sites, func(s SiteConfig) bool { return s.Device == device && s.Endpoint == "" })
		switch {
		case !dialled:
		case slices.Contains(f.Daemon.Config.SharedKeys, device):
			t.good("%s: shared-key = true, other hosts have the same key", device)
		default:
			t.bad("give all hosts the same private-key and set shared-key = true under [wireguard."+device+"]", "%s: %d hosts are behind one load balancer, and %s has a key of its own", device, most, device)
		}
	}
	t.none("no site dials this host")
}

// hostsOfAGroup is how many hosts share the largest target group.
func (f *Facts) hostsOfAGroup() (most int) {
	for _, g := range f.targetGroups() {
		hosts := map[string]bool{}
		for _, x := range f.AWS.Targets.Values {
			if x.Group == g {
				hosts[x.ID] = true
			}
		}
		most = max(most, len(hosts))
	}
	return most
}

// Timeouts of what tracks a flow.
const (
	groupUDP       = 30 * time.Second  // security group, one direction [SGTRACK]
	groupUDPStream = 180 * time.Second // both directions
	balancerUDP    = 120 * time.Second // NLB [NLB-LB]
)

// Row 43. A site that dials keeps its flow open itself; its keepalive is not known
// here.
func keepalive(f *Facts, t *tally) {
	if t.lacks(f.configGap()) {
		return
	}
	limit, why := groupUDPStream, "the security group forgets a flow"
	for _, i := range f.interfaces() {
		if i.UDPStreamTimeout > 0 && i.UDPStreamTimeout < limit {
			limit, why = i.UDPStreamTimeout, i.ID+" (ConnectionTrackingConfiguration) forgets a flow"
		}
	}
	if f.AWS.Targets.Read && limit > balancerUDP {
		limit, why = balancerUDP, "the load balancer forgets a flow"
	}
	for _, s := range f.Daemon.Config.Sites {
		switch {
		case s.Endpoint == "":
		case s.Keepalive == 0:
			t.warn(fmt.Sprintf("set keepalive = \"25s\" for site %s", s.Name), "%s: no keepalive; %s after %s", s.Name, why, limit)
		case s.Keepalive > limit:
			t.bad(fmt.Sprintf("set keepalive = \"25s\" for site %s", s.Name), "%s: keepalive %s, %s after %s", s.Name, s.Keepalive, why, limit)
		default:
			t.good("%s: keepalive %s, %s after %s", s.Name, s.Keepalive, why, limit)
		}
	}
	t.none("this host dials no site")
}

// Row 44 [GA][NLB]: what pins a flow goes by the source port; a new one is chosen
// when the interface gets another listening port.
func deadEndpoint(f *Facts, t *tally) {
	if t.lacks(f.daemonGap()) {
		return
	}
	others := func(p api.Peer) bool {
		return slices.ContainsFunc(f.Daemon.Peers, func(o api.Peer) bool {
			return o.PublicKey != p.PublicKey && o.Interface == p.Interface && !o.Handshake.IsZero() && o.Handshake.Age() <= fresh
		})
	}
	for _, p := range f.Daemon.Peers {
		if p.Configured == "" || p.State == api.PeerDisabled {
			continue
		}
		_, tx, twice := f.moved(p)
		silent := p.Handshake.IsZero() || p.Handshake.Age() > fresh
		trying := !twice || tx > 0 || p.KeepaliveSeconds > 0
		cure := fmt.Sprintf("wg set %s listen-port 0 makes a new source port; look whether %s still answers", p.Interface, p.Configured)
		switch {
		case silent && trying && others(p):
			t.bad(cure, "%s: no handshake with %s, while other peers of %s have some", name(p), endpoint(p), p.Interface)
		case silent && trying:
			t.warn(cure, "%s: no handshake with %s, and nobody else to compare with", name(p), endpoint(p))
		default:
			t.good("%s: %s answers", name(p), endpoint(p))
		}
	}
	t.none("this host dials nobody")
}

func endpoint(p api.Peer) string {
	if _, err := netip.ParseAddrPort(p.Endpoint); err == nil && p.Endpoint != p.Configured {
		return p.Endpoint + " (" + p.Configured + ")"
	}
	return p.Configured
}
