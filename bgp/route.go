package bgp

import "net/netip"

// RouteType is the kernel's route type (RTN_*).
type RouteType uint8

// Route types in use.
const (
	Unicast RouteType = iota
	BlackholeRoute
)

// Route is what the kernel is told about a prefix. Key is (Table, Prefix,
// Metric).
type Route struct {
	Prefix   netip.Prefix // masked
	Type     RouteType
	Takeover bool       // permits replacing a foreign route on the same prefix
	Metric   uint32     // kernel priority, lower wins; IPv6 treats 0 as 1024, so never 0 there
	NextHops []NextHop  // sorted, unique, backups last, empty for blackholes
	Source   netip.Addr // preferred source (RTA_PREFSRC), invalid: kernel's choice
}

// NextHop is one way out. A point-to-point device needs no Gateway.
type NextHop struct {
	Gateway netip.Addr // invalid: on-link on Device
	Device  string     // empty: resolved by looking Gateway up in the underlay
	Weight  uint8      // 0 means 1
	// Backup: not used before all next hops of the route that are not backups are
	// lost (FIB.Lost).
	Backup bool
}

// Primary is the part of a route's next hops that is in use as long as one of
// them leads somewhere.
func Primary(hops []NextHop) []NextHop {
	for i := range hops {
		if hops[i].Backup {
			return hops[:i]
		}
	}
	return hops
}

// RouteStatus says what is true of a wanted route after an attempt.
type RouteStatus uint8

// Route states.
const (
	RouteInstalled RouteStatus = iota
	RouteFailed                // the kernel refused; Detail says why
	RouteShadowed              // a foreign route for the prefix wins; Detail shows it
	RouteNoDevice              // a next-hop device is missing or down
)

// RouteReport is the status of one wanted route that is not simply installed.
type RouteReport struct {
	Prefix netip.Prefix
	Metric uint32
	Status RouteStatus
	Detail string
}

// FIB is the whole set of wanted routes with the frame they live in.
type FIB struct {
	Table    uint32  // routing table number
	VRF      string  // VRF device that owns Table; empty: policy rules lead to Table
	Protocol uint8   // rtm_protocol mark, 186 (RTPROT_BGP) by default
	RulePref uint32  // first of the policy rule preferences used
	Mark     uint32  // firewall mark of tunnel packets: these use the underlay only
	Routes   []Route // sorted by ComparePrefix, then Metric
	// Lost are next hops that lead nowhere now, sorted: routes do without them as
	// long as they have others, and go by their backup after that.
	Lost []NextHop
	// Complete permits sweeping: configuration is loaded and every neighbor has
	// sent End-of-RIB or the deadline has passed (RFC 4724).
	Complete bool
}

// RoutesApplied is the FIB edge's report: every wanted route is installed
// except those listed.
type RoutesApplied struct {
	Gen     uint64
	Reports []RouteReport // sorted like FIB.Routes; empty: all installed
	Foreign []ForeignRoute
	Err     string // the edge as a whole failed (no netlink, no permission)
}

// ForeignRoute is a route of somebody else on a prefix we want.
type ForeignRoute struct {
	Prefix   netip.Prefix
	Table    uint32
	Protocol uint8
	Detail   string // as iproute2 would print it
}

// ComparePrefix orders prefixes: IPv4 before IPv6, then by address, then
// shorter first. It is the one order used in every plan, report and table.
func ComparePrefix(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// SourceCheck is the set of inner source prefixes accepted from one interface.
// A WireGuard peer with 0.0.0.0/0 as allowed IP has no cryptographic source
// check; this set replaces it in nftables.
type SourceCheck struct {
	Device   string
	Prefixes []netip.Prefix // sorted by ComparePrefix, no prefix inside another
}
