package api

// PeerList answers for peers.
type PeerList struct {
	Schema string     `json:"schema"`
	Peers  List[Peer] `json:"peers"`
}

// SiteList answers for sites.
type SiteList struct {
	Schema string     `json:"schema"`
	Sites  List[Site] `json:"sites"`
}

// NeighborList answers for neighbors.
type NeighborList struct {
	Schema    string         `json:"schema"`
	Neighbors List[Neighbor] `json:"neighbors"`
}

// RIB answers for prefixes in the RIB.
type RIB struct {
	Schema   string         `json:"schema"`
	Prefixes List[RIBEntry] `json:"prefixes"`
}

// RouteList answers for kernel routes.
type RouteList struct {
	Schema string      `json:"schema"`
	Routes List[Route] `json:"routes"`
}

// HealthList answers for health.
type HealthList struct {
	Schema string       `json:"schema"`
	Health List[Health] `json:"health"`
}

// CheckReport answers for check.
type CheckReport struct {
	Schema   string        `json:"schema"`
	OK       bool          `json:"ok"` // no problem of severity error
	Problems List[Problem] `json:"problems"`
}

// Done answers for an action that has nothing else to say.
type Done struct {
	Schema string `json:"schema"`
	OK     bool   `json:"ok"`
	Text   string `json:"text"` // what was done
}

// Version says what runs.
type Version struct {
	Schema   string `json:"schema"`
	Version  string `json:"version"`
	Revision string `json:"revision"` // VCS commit, empty when unknown
	Modified bool   `json:"modified"` // built from a changed tree
	Built    string `json:"built"`    // commit time, RFC 3339
	Go       string `json:"go"`
	Platform string `json:"platform"` // "linux/amd64"
}

// order is the body of an action.
type order struct {
	Name   string `json:"name,omitempty"`
	Path   string `json:"path,omitempty"`
	Order  string `json:"order,omitempty"`
	Keep   bool   `json:"keep,omitempty"`   // over a restart
	Reason string `json:"reason,omitempty"` // of a drain
	Force  bool   `json:"force,omitempty"`  // of a restart
}
