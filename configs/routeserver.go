package configs

import (
	"regexp"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// allServers is the value of route-server that stands for all of them.
const allServers = "all"

var routeServer = regexp.MustCompile(`^rs-[0-9a-f]{8,17}$`)

// routeServerLimit is what a Route Server takes from a peer, and in all.
// https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
const routeServerLimit = 100

// deriveRouteServer gives what the operator's own AWS account runs the defaults of a
// Connect peer, and an audience of its own for the limit.
func (n *neighborDoc) deriveRouteServer() {
	if n.RouteServer == "" {
		return
	}
	if n.Group == "" {
		n.Group = n.Name
	}
	if !n.has("allow") {
		n.Allow = allowEverything()
	}
	if !n.has("export") {
		n.Export = true
	}
	if !n.has("connect-retry") {
		n.ConnectRetry = 2 * time.Second
	}
	if !n.has("announce-limit") {
		n.AnnounceLimit = routeServerLimit
	}
}

// amazons are the groups that aggregates are told to when nothing is said.
func (d *document) amazons() (groups []string) {
	for _, c := range d.Connect {
		groups = append(groups, c.Name)
	}
	for _, n := range d.Neighbor {
		if n.RouteServer != "" {
			groups = append(groups, n.Group)
		}
	}
	return groups
}

func (l *loader) checkRouteServer(n *neighborDoc) {
	m := &n.meta
	if n.RouteServer != allServers && n.ok("route-server") && !routeServer.MatchString(n.RouteServer) {
		l.wrong(m, "route-server", quote(n.RouteServer)+" is no ID of a VPC Route Server", `copy it: route-server = "rs-0123456789abcdef0", or write "all" for every one that has this host as a peer`)
	}
	l.saidByAWS(m, "route-server", map[string]bool{
		"address": n.Address.IsValid(), "range": n.Range.IsValid(), "local-address": n.LocalAddress.IsValid(), "asn": n.ASN != 0, "bfd": n.BFD,
	})
	if n.Kind == string(bgp.KindFleet) {
		l.wrong(m, "kind", "a Route Server is no host of the fleet", "remove it")
	}
	if n.Passive {
		l.wrong(m, "passive", "a Route Server waits for its peers to dial", "remove it")
	}
	for _, o := range l.doc.Neighbor {
		if o == n {
			break
		}
		if o.RouteServer == n.RouteServer {
			l.wrong(m, "route-server", "neighbor "+o.Name+" ("+where(o.at("route-server"))+") has it already", "keep one of them")
		}
	}
}

func (n *neighborDoc) servers(asn uint32) ha.ServerDiscovery {
	d := ha.ServerDiscovery{
		Entry:    tgwconnect.ServerEntry{Name: n.Name, ServerID: n.RouteServer, ASN: asn},
		Neighbor: n.build(),
		BFD:      bgp.BFDSession{Device: n.Device, Interval: n.BFDInterval, Multiplier: n.BFDMultiplier, Strict: n.BFDStrict},
	}
	if n.RouteServer == allServers {
		d.Entry.ServerID = tgwconnect.EveryServer
	}
	if n.LocalASN != 0 {
		d.Entry.ASN = n.LocalASN
	}
	return d
}
