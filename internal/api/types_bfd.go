package api

import "net/netip"

// BFD is one BFD session (RFC 5880).
type BFD struct {
	Name         string     `json:"name"`     // of the neighbor or site
	Neighbor     string     `json:"neighbor"` // BGP neighbor that it watches, empty: none
	Site         string     `json:"site"`     // site that it watches, empty: none
	Address      netip.Addr `json:"address"`
	LocalAddress netip.Addr `json:"local_address"`
	Interface    string     `json:"interface"` // empty: any
	State        string     `json:"state"`     // RFC 5880 name
	RemoteState  string     `json:"remote_state"`
	Since        Stamp      `json:"since,omitzero"`
	// Failed: it was up and ended without either side meaning it to.
	Failed              bool    `json:"failed"`
	Diagnostic          string  `json:"diagnostic"`
	RemoteDiagnostic    string  `json:"remote_diagnostic"`
	IntervalMS          float64 `json:"interval_ms"`        // sent, as negotiated; 0: the other end was not heard
	RemoteIntervalMS    float64 `json:"remote_interval_ms"` // expected, as negotiated
	DetectMS            float64 `json:"detect_ms"`
	Multiplier          uint8   `json:"multiplier"`
	RemoteMultiplier    uint8   `json:"remote_multiplier"`
	Discriminator       uint32  `json:"discriminator"`
	RemoteDiscriminator uint32  `json:"remote_discriminator"`
	Flaps               uint32  `json:"flaps"`
	Strict              bool    `json:"strict"`
	Note                string  `json:"note"` // why nothing can be sent
}

// BFDList answers for BFD sessions.
type BFDList struct {
	Schema   string    `json:"schema"`
	Sessions List[BFD] `json:"sessions"`
}
