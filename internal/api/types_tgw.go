package api

import (
	"net/http"
	"net/netip"
)

// Discovered is a TGW Connect peer or a peer of a VPC Route Server, as AWS has
// listed it, and what is made of it.
type Discovered struct {
	ID     string     `json:"id"`
	Parent string     `json:"of"`     // the Connect attachment, or the Route Server
	State  string     `json:"state"`  // AWS's
	Name   string     `json:"name"`   // of its neighbor, or with /1 and /2 of both; empty: not used
	Entry  string     `json:"entry"`  // [[tgw-connect]] or [[neighbor]] that it belongs to
	Local  netip.Addr `json:"local"`  // PeerAddress
	Remote netip.Addr `json:"remote"` // TransitGatewayAddress, or EndpointEniAddress
	Reason string     `json:"reason"` // why it is not used
	Detail string     `json:"detail"`
}

// DiscoverySource is the last answer of AWS about objects of one kind.
type DiscoverySource struct {
	Name     string           `json:"name"`              // connect-peers, route-server-peers
	Wanted   bool             `json:"wanted"`            // the configuration asks for them
	Answered Stamp            `json:"answered,omitzero"` // zero: never
	Error    string           `json:"error"`             // of the last question, empty: it was answered
	Found    List[Discovered] `json:"found"`
}

// Discovery is what AWS says of this host's tunnels and sessions.
type Discovery struct {
	Schema  string                `json:"schema"`
	Sources List[DiscoverySource] `json:"sources"`
}

func getDiscovery(s *Server, r *http.Request, _ order) (any, error) {
	d, err := s.backend.Discovery(r.Context())
	d.Schema = Schema
	return d, err
}

// Sources of a neighbor.
const (
	OriginConfigured  = "configured"
	OriginConnectPeer = "connect-peer"
	OriginRouteServer = "route-server-peer"
	OriginRange       = "range"
)

// Origin is where a neighbor comes from.
type Origin struct {
	Source string `json:"source"`
	ID     string `json:"id,omitempty"`    // AWS's, of the Connect peer or Route Server peer
	Parent string `json:"of,omitempty"`    // the Connect attachment, or the Route Server
	Entry  string `json:"entry,omitempty"` // [[tgw-connect]] or [[neighbor]] that asked for it
}
