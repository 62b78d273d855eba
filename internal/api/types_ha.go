package api

// HAList is who speaks for each site, and the hosts of the fleet.
type HAList struct {
	Schema string       `json:"schema"`
	Region string       `json:"region"` // of this host
	Hosts  List[HAHost] `json:"hosts"`  // this region's first, then the nearest
	Sites  List[HASite] `json:"sites"`
}

// HAHost is a host of the fleet as this one sees it.
type HAHost struct {
	Host    string `json:"host"`
	Region  string `json:"region"`
	State   string `json:"state"` // of the BGP session
	Since   Stamp  `json:"since,omitzero"`
	Died    Stamp  `json:"died,omitzero"` // believed dead since
	Told    int    `json:"told"`          // prefixes that it tells
	Carries int    `json:"carries"`       // of these, the ones that this host sends its way
	Reason  string `json:"reason"`        // why nothing is sent its way
	Detail  string `json:"detail"`
}

// HAOther is a host that tells a prefix of a site.
type HAOther struct {
	Host   string `json:"host"`
	Region string `json:"region"`
	Rank   string `json:"rank"` // how strongly it speaks for it; empty: not known
	Since  Stamp  `json:"since,omitzero"`
	Dead   bool   `json:"dead"` // believed dead
}

// HASite says who speaks for a site and why.
type HASite struct {
	Site    string `json:"site"`
	Verdict string `json:"verdict"`
	Since   Stamp  `json:"since,omitzero"` // of the verdict
	Role    string `json:"role"`
	Rank    string `json:"rank"`   // how strongly this host speaks for it; empty: not at all
	Holder  string `json:"holder"` // the host of the fleet that speaks for it too
	// Others are all hosts that tell a prefix of it, the nearest first.
	Others List[HAOther] `json:"others"`
	Waits  bool          `json:"waits"` // it came back and does not preempt
	Order  string        `json:"order"` // "failover", "takeover", or empty
	By     string        `json:"by"`    // who gave the order
	Given  Stamp         `json:"given,omitzero"`
	// OutbidSeconds is how long a dead host's routes are still outbid.
	OutbidSeconds float64 `json:"outbid_seconds"`
	// Elsewhere is where another host of the fleet heard the site's peer.
	Elsewhere *Elsewhere `json:"elsewhere,omitempty"`
}

// Orders on who speaks for a site.
const (
	OrderFailover = "failover"
	OrderFailback = "failback"
	OrderTakeover = "takeover"
)

// Steer is such an order, about one site or, without a name, about all.
type Steer struct {
	Site, Order, By string
	Keep            bool // over a restart of the daemon
}
