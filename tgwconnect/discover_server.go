package tgwconnect

import (
	"cmp"
	"net/netip"
	"slices"
)

// EveryServer as ServerEntry.ServerID stands for all Route Servers.
const EveryServer = ""

// LivenessBFD is RouteServerPeer.Liveness where AWS expects BFD.
const LivenessBFD = "bfd"

// ServerEntry is a configured place for sessions with VPC Route Servers.
type ServerEntry struct {
	Name     string
	ServerID string // only with this Route Server, or EveryServer
	ASN      uint32 // ours
}

// ServerCandidate is a peer of a Route Server. Name is that of the session.
type ServerCandidate = Found[RouteServerPeer]

// DiscoverServers says which peers of Route Servers are this host, ordered by ID.
// Each of them is one session with one endpoint. configured are the addresses of
// neighbors that the file has. As Discover it depends on its arguments only.
func DiscoverServers(entries []ServerEntry, configured []netip.Addr, local Local, peers []RouteServerPeer) []ServerCandidate {
	byID := func(a, b RouteServerPeer) int { return cmp.Compare(a.ID, b.ID) }
	return judgeAll(peers, byID, func(p RouteServerPeer) ServerCandidate { return judgeServer(entries, configured, local, p) },
		func(a, b *ServerCandidate) string {
			if a.Name == b.Name || a.Peer.EndpointAddress == b.Peer.EndpointAddress {
				return "shares its name or its endpoint with " + b.Peer.ID
			}
			return ""
		})
}

func judgeServer(entries []ServerEntry, configured []netip.Addr, local Local, p RouteServerPeer) ServerCandidate {
	c := ServerCandidate{Peer: p}
	at := slices.IndexFunc(entries, func(e ServerEntry) bool { return e.ServerID == p.ServerID })
	if at < 0 {
		at = slices.IndexFunc(entries, func(e ServerEntry) bool { return e.ServerID == EveryServer })
	}
	switch {
	case !local.Has(p.PeerAddress):
		return c.unused(local.lacks(p.PeerAddress))
	case at < 0:
		return c.unused(UnusedNoEntry, "no [[neighbor]] has route-server = %q, and none has \"all\"", p.ServerID)
	}
	e := entries[at]
	c.Entry = e.Name
	switch {
	case slices.Contains(configured, p.EndpointAddress):
		return c.unused(UnusedConfigured, "the file has a [[neighbor]] with its endpoint's address %s", p.EndpointAddress)
	case p.State != "available":
		return c.unused(UnusedState, "%s", cmp.Or(p.FailureReason, p.State))
	case !p.EndpointAddress.IsValid() || p.ServerASN == 0 || p.PeerASN == 0:
		return c.unused(UnusedState, "EC2 does not show its endpoint's address or its ASNs yet")
	case p.EndpointAddress.Is4() != p.PeerAddress.Is4():
		return c.unused(UnusedFamily, "its endpoint %s is of another family than %s", p.EndpointAddress, p.PeerAddress)
	case p.PeerASN != e.ASN:
		return c.unused(UnusedASN, "its PeerAsn is %d and the gateway's is %d; make it again with PeerAsn %d", p.PeerASN, e.ASN, e.ASN)
	}
	c.Name = e.Name + "-" + suffix(p.ID)
	return c
}
