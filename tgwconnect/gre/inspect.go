package gre

import (
	"fmt"
	"net/netip"
)

// Found is a GRE interface of the kernel, whoever made it.
type Found struct {
	Name          string
	Local, Remote netip.Addr
	InFlags       uint16 // of the header: checksum 0x8000, key 0x2000, sequence 0x1000
	OutFlags      uint16
	MTU           int
}

// Inspect lists the kernel's GRE interfaces with an end at both sides. It needs no
// rights.
func Inspect() ([]Found, error) {
	links, err := allLinks()
	if err != nil {
		return nil, fmt.Errorf("inspect tunnels: %w", err)
	}
	var out []Found
	for _, l := range links {
		if l.isGRE() && l.gre.remote.IsValid() && !l.gre.remote.IsUnspecified() {
			out = append(out, Found{l.name, l.gre.local.Unmap(), l.gre.remote.Unmap(), l.gre.iflags, l.gre.oflags, l.mtu})
		}
	}
	return out, nil
}
