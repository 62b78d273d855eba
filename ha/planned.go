package ha

import (
	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// Plan is everything that should be true now. It is immutable once returned;
// edges compare it with the kernel or with what they applied last. Every slice
// has one fixed order.
type Plan struct {
	Gen           uint64
	Devices       []wg.Device         // with peers; by name
	Tunnels       []tgwconnect.Tunnel // by name
	Neighbors     []bgp.Neighbor      // by name
	Announcements []bgp.Announcement  // by prefix
	FIB           bgp.FIB             // routes by prefix, then metric
	Sources       []AcceptedSources   // source check of open devices; by device
	Probes        []wg.Probe          // by ID
	BFD           []bgp.BFDSession    // by name
	Withheld      []Withheld          // by prefix, then site, then neighbor, then group
	Quotas        []Quota             // by group, of those with a limit
	Claims        []tgwconnect.Claim  // who carries Config.Watched
	Greetings     []wg.Greeting       // peers that left a dead host, those heard last first
}

// AcceptedSources is the set of inner source prefixes that one open device may
// deliver; it replaces the cryptographic source check that 0.0.0.0/0 gives up.
type AcceptedSources = bgp.SourceCheck
