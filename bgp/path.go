package bgp

import (
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Origin is the ORIGIN attribute (RFC 4271 section 5.1.1).
type Origin uint8

// Origin codes; lower is preferred.
const (
	OriginIGP Origin = iota
	OriginEGP
	OriginIncomplete
)

// Community is an RFC 1997 community, high 16 bits ASN.
type Community uint32

// Communities this gateway knows by name.
const (
	GracefulShutdown Community = 0xFFFF0000 // RFC 8326
	Blackhole        Community = 0xFFFF029A // RFC 7999
	NoExport         Community = 0xFFFFFF01 // RFC 1997
	NoAdvertise      Community = 0xFFFFFF02 // RFC 1997
)

// String is the customary form, or the name of a well-known one.
func (c Community) String() string {
	switch c {
	case GracefulShutdown:
		return "graceful-shutdown"
	case Blackhole:
		return "blackhole"
	case NoExport:
		return "no-export"
	case NoAdvertise:
		return "no-advertise"
	}
	return strconv.Itoa(int(c>>16)) + ":" + strconv.Itoa(int(c&0xffff))
}

// LargeCommunity is an RFC 8092 large community.
type LargeCommunity struct{ Global, Data1, Data2 uint32 }

// Attrs are the path attributes that survive a crossing of the gateway.
// A value is immutable once shared, so that many paths can point to one.
type Attrs struct {
	Origin      Origin
	ASPath      []ASN // AS_SEQUENCE, nearest first; sets are flattened behind it
	MED         uint32
	HasMED      bool
	LocalPref   uint32 // as given by import policy
	Communities []Community
	Large       []LargeCommunity
}

// Path is one way to a prefix as received from one neighbor, after its import
// policy.
type Path struct {
	Prefix   netip.Prefix // masked
	Neighbor string       // Neighbor.Name
	ID       uint32       // path identifier (RFC 7911), 0 where the session has none
	NextHop  netip.Addr   // as received; forwarding resolves by neighbor, not by this
	Attrs    *Attrs       // shared between paths; nil only in a withdrawal
	Since    time.Time    // when this neighbor first gave this prefix without interruption
	Stale    bool         // kept under graceful restart (RFC 4724)
}

// Rejected is a path that import policy refused, kept for "why".
type Rejected struct {
	Prefix   netip.Prefix
	Neighbor string
	ID       uint32 // path identifier (RFC 7911)
	Reason   string // one of the Reject words
}

// PathChange is one step of a neighbor's Adj-RIB-In after policy. Withdrawn
// true means that the neighbor no longer has the path Path.ID to Path.Prefix;
// then only Path.Prefix, Path.Neighbor and Path.ID are meaningful.
type PathChange struct {
	Path      Path
	Withdrawn bool
}

// Announcement is a path we originate toward neighbors. It carries the learned
// attributes of the path it stands for; each Export adds what one group sees.
type Announcement struct {
	Prefix netip.Prefix // masked
	Attrs  *Attrs       // learned attributes carried over, never nil; LocalPref and MED here are not sent to eBGP
	To     []Export     // sorted by Group, no duplicates, never empty
	Except []string     // neighbor names (sorted) that must not be sent this although in a group
}

// Export is what one neighbor group sees of an announcement.
type Export struct {
	Group       string
	MED         uint32 // always sent
	Prepend     uint8  // extra copies of our own ASN
	LocalPref   uint32 // iBGP only; 0: 100
	Communities []Community
	Large       []LargeCommunity
}

// AnnounceApplied is the speaker's report after an attempt: what is true now.
type AnnounceApplied struct {
	// Gen is the plan generation this answers.
	Gen uint64
	// Failed lists prefixes that could not be announced or withdrawn.
	Failed map[netip.Prefix]string
	// NeighborErrors lists neighbors that could not be configured, by name.
	NeighborErrors map[string]string
}

// Equal compares attributes by value.
func (a *Attrs) Equal(b *Attrs) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil {
		return false
	}
	return a.Origin == b.Origin && a.MED == b.MED && a.HasMED == b.HasMED && a.LocalPref == b.LocalPref &&
		slices.Equal(a.ASPath, b.ASPath) && slices.Equal(a.Communities, b.Communities) && slices.Equal(a.Large, b.Large)
}
