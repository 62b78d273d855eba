package router

import (
	"net/netip"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// Config is fixed for the life of a Router, except for Networks.
type Config struct {
	ASN      bgp.ASN
	RouterID netip.Addr
	Speakers []Speaker
	// Networks are announced to every neighbor.
	Networks []netip.Prefix
	// Reflect announces what was learned from one way to the others, as a
	// Transit Gateway does between attachments of one route table.
	Reflect bool
	// Table is the kernel table for learned routes.
	Table uint32
	// Events is a file that gets one JSON line (Event) per change, empty: none.
	Events string
}

// Speaker is one BGP speaker of the router. Several of them can have sessions
// with the same remote address, from different addresses of their own.
type Speaker struct {
	Listen    []netip.Addr
	Neighbors []Neighbor
}

// Neighbor is one session.
type Neighbor struct {
	Name        string // unique in the router
	Via         string // name of the way in events; sessions of one way share it
	Device      string
	Address     netip.Addr
	Local       netip.Addr
	NextHop6    netip.Addr // announced for IPv6, invalid: no IPv6 on this session
	ASN         bgp.ASN
	Passive     bool
	MultihopTTL uint8
	Hold        int    // seconds, 0: 30
	MED         uint32 // of announcements
}

func (n Neighbor) neighbor() bgp.Neighbor {
	hold := time.Duration(n.Hold) * time.Second
	if hold == 0 {
		hold = 30 * time.Second
	}
	return bgp.Neighbor{
		Name: n.Name, Kind: bgp.KindRouter, Group: n.Name,
		Address: n.Address, LocalAddress: n.Local, Device: n.Device, RemoteASN: n.ASN,
		Passive: n.Passive, MultihopTTL: n.MultihopTTL,
		HoldTime: hold, Keepalive: hold / 3, ConnectRetry: time.Second,
		IPv4: true, IPv6: n.NextHop6.IsValid(), NextHop6: n.NextHop6,
		Import: &bgp.ImportPolicy{
			Allow: []bgp.PrefixRule{
				{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), LE: 32},
				{Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), LE: 128},
			},
			LocalPref: 100,
		},
		Export: true,
	}
}
