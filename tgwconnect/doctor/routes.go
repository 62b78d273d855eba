package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// eachAnnounced calls judge for every prefix that Transit Gateways are sent.
func (f *Facts) eachAnnounced(t *tally, judge func(netip.Prefix, []api.Path)) {
	if t.lacks(f.daemonGap()) || !t.needs(f.AWS.Routes) {
		return
	}
	all := f.announced()
	for _, p := range sortedPrefixes(all) {
		judge(p, all[p])
	}
	t.none("nothing is announced to a Transit Gateway")
}

// through says whether a route is BGP's over a Connect attachment.
func throughConnect(r tgwconnect.TGWRoute) bool {
	return r.Type == "propagated" && len(r.Via) > 0 && !slices.ContainsFunc(r.Via, func(v tgwconnect.RouteVia) bool { return v.ResourceType != "connect" })
}

func toPeering(r tgwconnect.TGWRoute) bool {
	return r.Type == "static" && slices.ContainsFunc(r.Via, func(v tgwconnect.RouteVia) bool { return v.ResourceType == "peering" })
}

// Row 18 [HOW]: static, prefix list, VPC and Direct Connect win over Connect.
func prefixLoses(f *Facts, t *tally) {
	f.eachAnnounced(t, func(p netip.Prefix, _ []api.Path) {
		found := false
		for _, r := range f.routes() {
			if r.Prefix != p || toPeering(r.TGWRoute) {
				found = found || r.Prefix == p
				continue
			}
			found = true
			if !throughConnect(r.TGWRoute) {
				t.bad(fmt.Sprintf("aws ec2 delete-transit-gateway-route --transit-gateway-route-table-id %s --destination-cidr-block %s if it is static; else announce another prefix", r.TableID, p),
					"%s: %s has a %s route by %s, which wins", p, r.TableID, r.Type, via(r.TGWRoute))
				continue
			}
			t.good("%s: %s has it by %s", p, r.TableID, via(r.TGWRoute))
		}
		if !found {
			t.warn("wgbgp neighbor; rows 1, 3 and 17 say why", "%s is announced and in no route table that was read", p)
		}
	})
}

// Row 19.
func moreSpecific(f *Facts, t *tally) {
	ours := f.announced()
	f.eachAnnounced(t, func(p netip.Prefix, _ []api.Path) {
		for _, r := range f.routes() {
			if !r.Prefix.IsValid() || r.Prefix.Bits() <= p.Bits() || !p.Overlaps(r.Prefix) || len(ours[r.Prefix]) > 0 || throughConnect(r.TGWRoute) {
				continue
			}
			t.warn(fmt.Sprintf("if it is not meant: aws ec2 delete-transit-gateway-route --transit-gateway-route-table-id %s --destination-cidr-block %s", r.TableID, r.Prefix),
				"%s: %s sends %s of it to %s", p, r.TableID, r.Prefix, via(r.TGWRoute))
		}
		t.good("%s was looked at", p)
	})
}

// Row 20 [CONNECT][HOW]: ECMP wants the same AS_PATH and ASN; MED decides before.
func noECMP(f *Facts, t *tally) {
	if !t.needs(f.AWS.Peers, f.AWS.Connects) {
		return
	}
	asns := map[string]map[uint32][]string{} // by TGW
	for _, p := range f.AWS.Peers.Values {
		if _, asn := peerASNs(p); live(p.State) && asn != 0 {
			g := f.connectOf(p).TransitGatewayID
			if asns[g] == nil {
				asns[g] = map[uint32][]string{}
			}
			asns[g][asn] = append(asns[g][asn], p.ID)
		}
	}
	for _, c := range f.connects() {
		if m := asns[c.TransitGatewayID]; len(m) > 1 {
			t.bad("give all gateways one ASN: their Connect peers are made again with the same PeerAsn", "%s: Connect peers have different ASNs, so their AS_PATHs differ: %v", c.TransitGatewayID, m)
		} else {
			for asn, ids := range m {
				t.good("%s: %d Connect peers have ASN %d", c.TransitGatewayID, len(ids), asn)
			}
		}
	}
	f.ownPathsDiffer(t)
	f.partnersPathsDiffer(t)
	f.partnersUnseen(t)
	t.none("this host has no Connect peer in %s", f.Region)
}

func (f *Facts) ownPathsDiffer(t *tally) {
	all := f.announced()
	for _, p := range sortedPrefixes(all) {
		for _, o := range all[p][1:] {
			a := all[p][0]
			if !slices.Equal(a.Attrs.ASPath, o.Attrs.ASPath) {
				t.warn("wgbgp rib "+p.String(), "%s: AS_PATH %v to %s, %v to %s", p, []uint32(a.Attrs.ASPath), a.Neighbor, []uint32(o.Attrs.ASPath), o.Neighbor)
			} else if med(a) != med(o) {
				t.warn("wgbgp rib "+p.String(), "%s: MED %d to %s, %d to %s: one of them is standby", p, med(a), a.Neighbor, med(o), o.Neighbor)
			}
		}
	}
}

// med is what the TGW counts: a missing one is 100 [HOW].
func med(p api.Path) uint32 {
	if p.Attrs.MED == nil {
		return 100
	}
	return *p.Attrs.MED
}

// partnersPathsDiffer compares with what other hosts say over their own sessions:
// the ASes behind the fleet must be the same ones.
func (f *Facts) partnersPathsDiffer(t *tally) {
	all := f.announced()
	for _, n := range f.Daemon.Neighbors {
		if n.Kind != "fleet" {
			continue
		}
		for _, theirs := range f.Daemon.AdjIn[n.Name].Paths {
			ours := all[theirs.Prefix]
			if len(ours) == 0 {
				continue
			}
			a, b := f.behind(ours[0].Attrs.ASPath), f.behind(theirs.Attrs.ASPath)
			switch {
			case !slices.Equal(slices.Compact(slices.Clone(a)), slices.Compact(slices.Clone(b))):
				t.bad("make both hosts learn it from the same AS: wgbgp rib "+theirs.Prefix.String()+" on both", "%s: AS_PATH differs between hosts: %v here, %v at %s", theirs.Prefix, a, b, n.Name)
			case len(a) != len(b):
				t.warn("wgbgp rib "+theirs.Prefix.String()+" on both", "%s: AS_PATH is longer on one host: %v here, %v at %s; only the shorter one is used", theirs.Prefix, a, b, n.Name)
			}
		}
	}
}

// partnersUnseen: without a fleet session nobody here knows the paths of other
// hosts. SearchTransitGatewayRoutes does not help: it names attachments, and the
// Connect peers of one attachment look the same whether all of them are used or one.
func (f *Facts) partnersUnseen(t *tally) {
	if len(f.announced()) == 0 || slices.ContainsFunc(f.Daemon.Neighbors, func(n api.Neighbor) bool { return n.Kind == "fleet" && n.State == "Established" }) {
		return
	}
	for _, c := range f.connects() {
		n := 0
		for _, p := range f.AWS.Peers.Values {
			if p.AttachmentID == c.ID && live(p.State) && f.otherHost(p) {
				n++
			}
		}
		if n > 0 {
			t.add(Unknown, `give each host a [[neighbor]] with kind = "fleet" for every other one`,
				"%s has %d Connect peers of other hosts, and whether their AS_PATH and MED are those of this host is not visible: no session with a host of the fleet is up, and the Transit Gateway shows attachments, not Connect peers", c.ID, n)
		}
	}
}

// behind is a path without the fleet's own ASN at its front.
func (f *Facts) behind(path []uint32) []uint32 {
	for len(path) > 0 && path[0] == f.Daemon.Status.ASN {
		path = path[1:]
	}
	return path
}

// Limits of AWS [QUOTA], in prefixes.
const (
	limitOut = 1000
	limitIn  = 5000
	limitTGW = 10000
)

// Row 21.
func prefixLimits(f *Facts, t *tally) {
	judge := func(what string, n, limit int) {
		switch {
		case n > limit:
			t.bad("announce aggregates ([[aggregate]]); wgbgp status shows what is held back", "%s: %d of %d prefixes", what, n, limit)
		case n*10 >= limit*8:
			t.warn("announce aggregates ([[aggregate]]); wgbgp status shows what is held back", "%s: %d of %d prefixes", what, n, limit)
		default:
			t.good("%s: %d of %d prefixes", what, n, limit)
		}
	}
	for _, n := range f.tgwSessions() {
		limit := limitOut
		if n.AnnounceLimit > 0 {
			limit = int(n.AnnounceLimit)
		}
		judge(n.Name+" out", int(n.Announced), limit)
		judge(n.Name+" in", int(n.Received), limitIn)
	}
	for _, q := range f.Daemon.Status.Quotas {
		if q.Announced < q.Wanted {
			t.bad("announce aggregates ([[aggregate]])", "group %s: %d of %d wanted prefixes are announced", q.Group, q.Announced, q.Wanted)
		}
	}
	if f.AWS.Routes.Read && len(f.AWS.Routes.Values) > 0 {
		judge("routes of the Transit Gateway that were read", len(f.AWS.Routes.Values), limitTGW)
	}
	if t.verdict == "" && !t.lacks(f.daemonGap()) {
		t.needs(f.AWS.Routes)
	}
}

// Row 29: whether the TGW carries them is an open point; nobody can answer them.
func icmpSource(f *Facts, t *tally) {
	if t.lacks(f.daemonGap()) {
		return
	}
	linkLocal := netip.MustParsePrefix("169.254.0.0/16")
	for _, r := range f.Daemon.Routes {
		for _, h := range r.NextHops {
			if r.Foreign || !slices.ContainsFunc(f.tunnels(), func(x Tunnel) bool { return x.Name == h.Interface }) || !r.Prefix.Addr().Is4() {
				continue
			}
			if !r.Source.IsValid() || linkLocal.Contains(r.Source) {
				t.warn("set source4 under [fib] to an address of this host that others can reach", "%s by %s has no routable preferred source: errors would come from 169.254/16", r.Prefix, h.Interface)
			} else {
				t.good("%s: source %s", r.Prefix, r.Source)
			}
		}
	}
	t.none("no learned route leads into a tunnel")
}

// Row 32.
func routeNotInKernel(f *Facts, t *tally) {
	if t.lacks(f.daemonGap()) {
		return
	}
	for _, r := range f.Daemon.Routes {
		switch {
		case r.Foreign:
		case r.Status == api.RouteFailed:
			t.bad("wgbgp route "+r.Prefix.String(), "%s: the kernel refused it: %s", r.Prefix, r.Detail)
		case r.Status == api.RouteShadowed:
			t.bad("remove the other route, or set takeover = true under [fib]", "%s: a foreign route wins: %s", r.Prefix, r.Detail)
		}
	}
	for _, p := range f.Daemon.Kernel {
		if p.Object == "kernel routes" {
			t.bad("wgbgp check --kernel; the daemon repairs it at its next comparison", "%s", p.Text)
		}
	}
	t.good("%d routes were compared", len(f.Daemon.Routes))
}

// Row 51: the TGW has no graceful restart [CONNECT].
func restartCuts(f *Facts, t *tally) {
	f.eachAnnounced(t, func(p netip.Prefix, _ []api.Path) {
		others, fleet, same := 0, 0, false
		for _, r := range f.routes() {
			if r.Prefix != p {
				continue
			}
			for _, v := range r.Via {
				for _, x := range f.AWS.Peers.Values {
					if x.AttachmentID == v.AttachmentID && f.otherHost(x) && slices.ContainsFunc(x.Sessions, func(s tgwconnect.PeerSession) bool { return s.Up }) {
						others++
					}
				}
			}
		}
		for _, n := range f.Daemon.Neighbors {
			if n.Kind == "fleet" {
				fleet++
				same = same || slices.ContainsFunc(f.Daemon.AdjIn[n.Name].Paths, func(o api.Path) bool { return o.Prefix == p })
			}
		}
		switch {
		case others == 0 || fleet > 0 && !same:
			t.warn("let a second gateway announce it, or restart in a maintenance window: wgbgp drain", "%s: only this host announces it; a restart would cut it off", p)
		default:
			t.good("%s: %d Connect peers of other hosts are up", p, others)
		}
	})
}

func (f *Facts) otherHost(p tgwconnect.Peer) bool {
	return !slices.ContainsFunc(f.peers(), func(o tgwconnect.Peer) bool { return o.ID == p.ID })
}

// Row 54 [HOW]: a backup over peering must be a shorter prefix.
func staticBeats(f *Facts, t *tally) {
	f.eachAnnounced(t, func(p netip.Prefix, _ []api.Path) {
		for _, r := range f.routes() {
			if r.Prefix == p && toPeering(r.TGWRoute) {
				t.bad(fmt.Sprintf("replace it by a shorter prefix: aws ec2 delete-transit-gateway-route --transit-gateway-route-table-id %s --destination-cidr-block %s", r.TableID, p),
					"%s: %s has a static route by %s, which always wins", p, r.TableID, via(r.TGWRoute))
			}
		}
		t.good("%s was looked at", p)
	})
}

// Row 55: recursive routing.
func underlayMoves(f *Facts, t *tally) {
	if t.lacks(f.daemonGap()) {
		return
	}
	inTunnel := func(device string) bool {
		return slices.ContainsFunc(f.tunnels(), func(x Tunnel) bool { return x.Name == device }) ||
			slices.ContainsFunc(f.Daemon.Peers, func(p api.Peer) bool { return p.Interface == device })
	}
	for _, l := range f.Host.Lookups {
		if l.What == LookupMetadata {
			continue // row 33
		}
		if l.Device != "" && inTunnel(l.Device) {
			t.bad("wgbgp explain "+l.To.String()+"; keep the prefix out with allow of the [[tgw-connect]]", "%s %s is routed into %s", l.What, l.To, l.Device)
		} else {
			t.good("%s %s leaves by %s", l.What, l.To, listOr(nonEmpty(l.Device), l.Err))
		}
	}
	for _, n := range f.tgwSessions() {
		for _, p := range f.Daemon.AdjIn[n.Name].Paths {
			for _, l := range f.Host.Lookups {
				if p.Prefix.Bits() > 0 && l.What != LookupMetadata && p.Prefix.Contains(l.To) {
					t.warn("keep the prefix out with allow of the [[tgw-connect]]", "%s sends %s, which covers %s %s", n.Name, p.Prefix, l.What, l.To)
				}
			}
			if p.Prefix.Bits() == 0 {
				t.warn("keep the default route out with allow of the [[tgw-connect]], or be sure that it is meant", "%s sends %s, and it is accepted", n.Name, p.Prefix)
			}
		}
	}
	if t.verdict == "" && !t.lacks(f.hostGap()) {
		t.none("there is no endpoint and no path from a Transit Gateway")
	}
}
