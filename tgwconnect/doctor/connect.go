package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// eachPeer calls judge for every Connect peer of this host.
func (f *Facts) eachPeer(t *tally, judge func(tgwconnect.Peer)) {
	if !t.needs(f.AWS.Peers) {
		return
	}
	ps := f.peers()
	if len(ps) == 0 {
		t.none("this host has no Connect peer in %s", f.Region)
	}
	for _, p := range ps {
		judge(p)
	}
}

// remake is the cure for what can not be changed: only tags of a Connect peer can.
func remake(p tgwconnect.Peer, what string) string {
	return fmt.Sprintf("delete and create Connect peer %s again %s: a Connect peer can not be changed (aws ec2 delete-transit-gateway-connect-peer --transit-gateway-connect-peer-id %s; wgbgp tgw apply)", p.ID, what, p.ID)
}

func peerASNs(p tgwconnect.Peer) (gateway, peer uint32) {
	for _, s := range p.Sessions {
		if s.PeerASN != 0 {
			return s.TransitGatewayASN, s.PeerASN
		}
	}
	return 0, 0
}

// Row 1 [CONNECT][API]: an omitted PeerAsn is the TGW's own.
func ibgpTrap(f *Facts, t *tally) {
	f.eachPeer(t, func(p tgwconnect.Peer) {
		gateway, peer := peerASNs(p)
		switch {
		case peer == 0:
			t.unknown("%s: the API shows no BGP configuration yet", p.ID)
		case gateway == peer:
			t.bad(remake(p, "with --bgp-options PeerAsn=ASN of the gateway"), "%s: PeerAsn %d = TransitGatewayAsn", p.ID, peer)
		default:
			t.good("%s: PeerAsn %d, TransitGatewayAsn %d", p.ID, peer, gateway)
		}
	})
}

// Row 2.
func localASN(f *Facts, t *tally) {
	if t.lacks(f.daemonGap()) {
		return
	}
	f.eachPeer(t, func(p tgwconnect.Peer) {
		gateway, peer := peerASNs(p)
		for _, n := range f.sessions(p) {
			local := n.LocalASN
			if local == 0 {
				local = f.Daemon.Status.ASN
			}
			switch {
			case local != peer:
				t.bad(fmt.Sprintf("set asn = %d under [gateway], or %s", peer, remake(p, fmt.Sprintf("with PeerAsn %d", local))),
					"%s: local ASN %d, PeerAsn of %s is %d", n.Name, local, p.ID, peer)
			case n.ASN != gateway:
				t.bad(fmt.Sprintf("set tgw-asn = %d under its [[tgw-connect]]", gateway), "%s: expects ASN %d, the TGW has %d", n.Name, n.ASN, gateway)
			case n.LossReason == "bad-peer-asn":
				t.bad("compare asn and tgw-asn with the Connect peer", "%s: the last session ended as bad peer AS", n.Name)
			default:
				t.good("%s: local %d, remote %d", n.Name, local, n.ASN)
			}
		}
	})
	t.none("the daemon has no session with a Connect peer")
}

// Row 3 [CONNECT]: both sessions are for AWS's maintenance of one of them.
func secondSession(f *Facts, t *tally) {
	f.eachPeer(t, func(p tgwconnect.Peer) {
		up := 0
		var down []string
		for _, s := range p.Sessions {
			if s.Up {
				up++
			} else {
				down = append(down, s.TransitGatewayAddress.String())
			}
		}
		own, configured := map[netip.Addr]string{}, 0
		for _, n := range f.sessions(p) {
			own[n.Address] = n.State
			configured++
		}
		two, three := tgwconnect.Host(p.Inside4, 2).Addr(), tgwconnect.Host(p.Inside4, 3).Addr()
		cure := "wgbgp neighbor; the rows of GRE, routes and security groups above say what is in the way"
		switch {
		case f.Daemon.Gap == "" && configured > 0 && (own[two] == "" || own[three] == ""):
			missing := two
			if own[two] != "" {
				missing = three
			}
			t.bad(fmt.Sprintf("configure a second neighbor %s beside the first: [[tgw-connect]] makes both", missing), "%s: no session with %s is configured", p.ID, missing)
		case up < 2:
			text := fmt.Sprintf("%s: AWS says %d of 2 sessions are up, down: %s", p.ID, up, strings.Join(down, ", "))
			for _, a := range []netip.Addr{two, three} {
				if s := own[a]; s != "" {
					text += fmt.Sprintf("; the daemon says %s for %s", s, a)
				}
			}
			t.bad(cure, "%s", text)
		case own[two] != "" && (own[two] != "Established" || own[three] != "Established"):
			t.bad(cure, "%s: AWS says both are up, the daemon says %s and %s", p.ID, own[two], own[three])
		default:
			t.good("%s: both sessions are up", p.ID)
		}
	})
}

// Row 4 [CONNECT]: eBGP multihop with TTL 2.
func multihopTTL(f *Facts, t *tally) {
	if t.lacks(f.daemonGap()) {
		return
	}
	tgw := map[netip.Addr]bool{}
	for _, n := range f.tgwSessions() {
		tgw[n.Address] = true
	}
	for _, p := range f.AWS.Peers.Values {
		if live(p.State) {
			tgw[tgwconnect.Host(p.Inside4, 2).Addr()], tgw[tgwconnect.Host(p.Inside4, 3).Addr()] = true, true
		}
	}
	for _, n := range f.Daemon.Neighbors {
		if !tgw[n.Address] {
			continue
		}
		ttl, known := uint8(0), false
		if f.Daemon.Config != nil {
			c := find(f.Daemon.Config.Neighbors, func(c NeighborConfig) bool { return c.Name == n.Name })
			ttl, known = c.TTL, c.Name != "" && c.EBGP
		}
		dial := find(f.Host.Dials, func(d Dial) bool { return d.To == n.Address })
		switch {
		case known && ttl < 2:
			t.bad(fmt.Sprintf("set multihop-ttl = 2 for neighbor %s", n.Name), "%s: TTL %d", n.Name, max(1, ttl))
		case n.State != "Established" && dial.Opened:
			t.bad("look for another speaker or a filter on the way: wgbgp neighbor "+n.Name, "%s: TCP to %s:179 opens, yet the session is in state %s", n.Name, n.Address, n.State)
		case known || n.State == "Established":
			t.good("%s: TTL %d, state %s", n.Name, ttl, n.State)
		default:
			t.unknown("%s: %s", n.Name, f.configGap())
		}
	}
	t.none("the daemon has no session with a Connect peer")
}

// tunnelOf finds the tunnel that belongs to a Connect peer: by the outer pair, by
// the pair swapped, by an inside address, by the far end, in this order.
func (f *Facts) tunnelOf(p tgwconnect.Peer) (Tunnel, bool) {
	for _, ok := range []func(Tunnel) bool{
		func(t Tunnel) bool { return t.Local == p.PeerAddress && t.Remote == p.TransitGatewayAddress },
		func(t Tunnel) bool { return t.Local == p.TransitGatewayAddress && t.Remote == p.PeerAddress },
		func(t Tunnel) bool {
			return slices.ContainsFunc(t.Addresses, func(a netip.Prefix) bool { return covers(p.Inside4, a.Addr()) })
		},
		func(t Tunnel) bool { return t.Remote == p.TransitGatewayAddress },
	} {
		if i := slices.IndexFunc(f.tunnels(), ok); i >= 0 {
			return f.tunnels()[i], true
		}
	}
	return Tunnel{}, false
}

// Row 5 [TF-PEER].
func insideHost1(f *Facts, t *tally) {
	if t.lacks(f.tunnelsGap()) {
		return
	}
	f.eachPeer(t, func(p tgwconnect.Peer) {
		tun, found := f.tunnelOf(p)
		if !found {
			return // row 6 says so
		}
		for _, block := range []netip.Prefix{p.Inside4, p.Inside6} {
			if !block.IsValid() {
				continue
			}
			want := tgwconnect.Host(block, 1).Addr()
			var have []string
			right := false
			for _, a := range tun.Addresses {
				if block.Contains(a.Addr()) {
					have, right = append(have, a.String()), right || a.Addr() == want
				}
			}
			if right {
				t.good("%s: %s has %s", p.ID, tun.Name, want)
				continue
			}
			t.bad(fmt.Sprintf("set inside = [%q] in the [[tgw-connect]] of %s; by hand: ip address add %s/%d dev %s", block, tun.Name, want, block.Bits(), tun.Name),
				"%s: host 1 of %s is %s, %s has %s", p.ID, block, want, tun.Name, listOr(have, "no address of the block"))
		}
	})
	t.none("there is no tunnel for the Connect peers")
}

func listOr(l []string, none string) string {
	if len(l) == 0 {
		return none
	}
	return strings.Join(l, ", ")
}

// Row 6: a wrong outer address is no error anywhere, AWS routes the packets as
// plain traffic of the VPC attachment [CONNECT].
func outerAddresses(f *Facts, t *tally) {
	if t.lacks(f.tunnelsGap()) {
		return
	}
	f.eachPeer(t, func(p tgwconnect.Peer) {
		if !f.knowsHost() || f.Host.Gap != "" {
			t.unknown("%s: it is not known which host this is", p.ID)
			return
		}
		cure := fmt.Sprintf("set local = %q and remote = %q in the [[tgw-connect]]", p.PeerAddress, p.TransitGatewayAddress)
		tun, found := f.tunnelOf(p)
		switch {
		case !found:
			t.bad(cure, "%s: this host has no tunnel from %s to %s", p.ID, p.PeerAddress, p.TransitGatewayAddress)
		case tun.Local == p.TransitGatewayAddress && tun.Remote == p.PeerAddress:
			t.bad(cure, "%s: local and remote of %s are swapped", p.ID, tun.Name)
		case tun.Local != p.PeerAddress || tun.Remote != p.TransitGatewayAddress:
			t.bad(cure, "%s: %s goes from %s to %s, the Connect peer from %s to %s", p.ID, tun.Name, tun.Local, tun.Remote, p.PeerAddress, p.TransitGatewayAddress)
		default:
			t.good("%s: %s from %s to %s", p.ID, tun.Name, tun.Local, tun.Remote)
		}
	})
}

// Row 7.
func peerAddressElsewhere(f *Facts, t *tally) {
	addrs := f.addresses()
	if len(addrs) == 0 {
		t.unknown("own addresses are not known: %s", listOr(nonEmpty(f.hostGap()), "neither the kernel nor the metadata service was read"))
		return
	}
	f.eachPeer(t, func(p tgwconnect.Peer) {
		if slices.Contains(addrs, p.PeerAddress) {
			t.good("%s: %s is on this host", p.ID, p.PeerAddress)
			return
		}
		c := f.configured(p)
		t.bad(remake(p, "with an address of this host"), "%s: PeerAddress %s is not on this host, and [[tgw-connect]] %s means it", p.ID, p.PeerAddress, c.Name)
	})
	if f.Daemon.Config == nil || f.AWS.Peers.Read && t.verdict == Problem {
		return
	}
	for _, c := range f.Daemon.Config.Connect {
		if c.Local.IsValid() && !slices.Contains(addrs, c.Local) {
			t.bad(fmt.Sprintf("set local of [[tgw-connect]] %s to an address of this host", c.Name), "[[tgw-connect]] %s: local %s is not on this host", c.Name, c.Local)
		}
	}
}

func nonEmpty(s ...string) []string {
	return slices.DeleteFunc(s, func(v string) bool { return v == "" })
}

// Row 8 [CONNECT]: the header is bare.
func greOptions(f *Facts, t *tally) {
	if t.lacks(f.hostGap()) {
		return
	}
	if f.Host.TunnelsGap != "" && len(f.Daemon.Status.Tunnels) == 0 {
		t.unknown("tunnels: %s", f.Host.TunnelsGap)
		return
	}
	for _, tun := range f.tunnels() {
		if !f.towardTGW(tun) {
			continue
		}
		var on []string
		for _, o := range []struct {
			bit  uint16
			name string
		}{{0x8000, "checksum"}, {0x2000, "key"}, {0x1000, "sequence"}} {
			if (tun.InFlags|tun.OutFlags)&o.bit != 0 {
				on = append(on, o.name)
			}
		}
		if len(on) > 0 {
			t.bad("let wgbgpd make the tunnel ([[tgw-connect]]), or: ip tunnel add "+tun.Name+" mode gre without key, csum and seq", "%s has %s", tun.Name, strings.Join(on, ", "))
			continue
		}
		t.good("%s: no key, checksum or sequence", tun.Name)
	}
	t.none("there is no GRE tunnel")
}

// towardTGW leaves tunnels of others alone.
func (f *Facts) towardTGW(tun Tunnel) bool {
	for _, s := range f.Daemon.Status.Tunnels {
		if s.Name == tun.Name {
			return true
		}
	}
	for _, p := range f.AWS.Peers.Values {
		if tun.Remote == p.TransitGatewayAddress || tun.Local == p.TransitGatewayAddress {
			return true
		}
	}
	if f.Daemon.Config != nil {
		for _, c := range f.Daemon.Config.Connect {
			if c.Device == tun.Name || c.Remote == tun.Remote {
				return true
			}
		}
	}
	return false
}

// Row 24.
func notAvailable(f *Facts, t *tally) {
	f.eachPeer(t, func(p tgwconnect.Peer) {
		cure := "AWS console: VPC > Transit gateway attachments; wait, or delete and create again"
		if p.State != "available" {
			t.bad(cure, "Connect peer %s is %s", p.ID, p.State)
		} else {
			t.good("Connect peer %s is available", p.ID)
		}
	})
	for _, c := range f.connects() {
		for _, id := range []string{c.ID, c.TransportID} {
			a := find(f.AWS.Attachments.Values, func(a tgwconnect.Attachment) bool { return a.ID == id })
			switch a.State {
			case "", "available":
			case "pending", "modifying", "initiating", "initiatingRequest":
				t.warn("wait", "%s attachment %s is %s", a.ResourceType, a.ID, a.State)
			default:
				t.bad("AWS console: VPC > Transit gateway attachments > "+a.ID, "%s attachment %s is %s", a.ResourceType, a.ID, a.State)
			}
		}
	}
}

// Row 34 [CONNECT].
func insideReserved(f *Facts, t *tally) {
	seen := map[netip.Prefix]bool{}
	check := func(who string, p netip.Prefix) {
		if !p.IsValid() || seen[p] {
			return
		}
		seen[p] = true
		if err := tgwconnect.CheckInside4(p); err != nil {
			t.bad("create the Connect peer with another /29, such as 169.254.100.0/29", "%s: %v", who, err)
			return
		}
		t.good("%s: %s", who, p)
	}
	for _, p := range f.peers() {
		check(p.ID, p.Inside4)
	}
	if f.Daemon.Config != nil {
		for _, c := range f.Daemon.Config.Connect {
			check("[[tgw-connect]] "+c.Name, c.Inside4)
		}
	}
	if t.verdict == "" {
		t.needs(f.AWS.Peers)
	}
}

// Row 50 [CONNECT]: AWS proposes 30 s.
func holdTime(f *Facts, t *tally) {
	if t.lacks(f.daemonGap()) {
		return
	}
	for _, n := range f.tgwSessions() {
		if n.State != "Established" && n.State != api.StatePolicy {
			continue
		}
		want := 30
		if f.Daemon.Config != nil {
			if c := find(f.Daemon.Config.Neighbors, func(c NeighborConfig) bool { return c.Name == n.Name }); c.HoldTime > 0 {
				want = int(c.HoldTime.Seconds())
			}
		}
		if n.HoldTimeSeconds != want {
			t.warn(fmt.Sprintf("set hold-time = %q, or accept that a dead neighbor is noticed after %d s", fmt.Sprint(n.HoldTimeSeconds, "s"), n.HoldTimeSeconds),
				"%s: negotiated %d s, configured %d s", n.Name, n.HoldTimeSeconds, want)
			continue
		}
		t.good("%s: %d s", n.Name, n.HoldTimeSeconds)
	}
	t.none("no session with a Transit Gateway is established")
}
