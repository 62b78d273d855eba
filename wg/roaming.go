package wg

import (
	"net/netip"
	"slices"
	"time"
)

// Hosts of a fleet that have one private key tell each other where they heard
// their peers last. A peer has one session, with one of them; when that host dies
// another one can start the next session itself, if it knows where the peer is.

// FleetPort is the UDP port by which they do, on every host. It belongs to no
// service and needs to be open between the hosts of a fleet only.
const FleetPort = 51819

// Whereabouts is what a host knows of a peer that finds it: where it was heard
// last, and when.
type Whereabouts struct {
	Key      Key
	Endpoint netip.AddrPort
	Heard    time.Time // to the precision of a poll
}

// Roster is what another host of the fleet said about the peers of an interface
// whose private key both have.
type Roster struct {
	Host   string        // our name for it
	Device string        // our interface
	Peers  []Whereabouts // sorted by Key
	// Polled is when that host last looked: a peer that was not Heard then was not
	// heard since the look before.
	Polled time.Time
	// Silent says that the host tells nothing any more.
	Silent bool
}

// Find returns what the roster says about a peer; zero: nothing.
func (r *Roster) Find(k Key) Whereabouts {
	i, ok := slices.BinarySearchFunc(r.Peers, k, func(w Whereabouts, k Key) int { return w.Key.Compare(k) })
	if !ok {
		return Whereabouts{}
	}
	return r.Peers[i]
}

// Greeting is the order to start a session with a peer that had one with another
// host.
type Greeting struct {
	Device   string
	Key      Key
	Endpoint netip.AddrPort
	Why      string // for people and metrics
	Try      uint64 // another number: once more
}
