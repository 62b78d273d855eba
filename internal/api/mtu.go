package api

import "net/http"

// MTUList answers for mtu.
type MTUList struct {
	Schema string         `json:"schema"`
	Chains List[MTUChain] `json:"chains"`
}

// MTUChain is how large a packet between the transit gateway and a site may be.
type MTUChain struct {
	Site  string        `json:"site"`
	Links List[MTULink] `json:"links"` // from the transit gateway to the site
	// MTU is the largest packet that passes in one piece, 0: unknown; Limit is the
	// link that sets it.
	MTU   int    `json:"mtu"`
	Limit string `json:"limited_by"`
	// MSS4 and MSS6 are the largest TCP segments that the clamp leaves in a SYN; 0:
	// no clamp.
	MSS4  int          `json:"mss_ipv4"`
	MSS6  int          `json:"mss_ipv6"`
	Notes List[string] `json:"notes"` // what does not fit together
}

// MTULink is one link of the chain. All sizes are in bytes.
type MTULink struct {
	Name     string `json:"name"`     // "tgw", an interface, or "path to ADDRESS"
	MTU      int    `json:"mtu"`      // what the link carries, 0: unknown
	Overhead int    `json:"overhead"` // of it put around the packet
	Packet   int    `json:"packet"`   // what is left for the packet
	Source   string `json:"source"`   // who says so: "aws", "route", "configured", "derived"
}

// Words of MTULink.Source.
const (
	MTUFromAWS    = "aws"        // a quota of AWS
	MTUFromRoute  = "route"      // the kernel: a route, a device, or a path MTU it learned
	MTUConfigured = "configured" // of an interface
	MTUDerived    = "derived"    // of an interface, from the path under it
)

func getMTU(s *Server, r *http.Request, _ order) (any, error) {
	name := r.URL.Query().Get("site")
	l, err := s.backend.MTU(r.Context(), name)
	if err == nil && len(l) == 0 && name != "" {
		err = NotFound("site", name)
	}
	return MTUList{Schema, l}, err
}
