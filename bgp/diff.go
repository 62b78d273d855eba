package bgp

import (
	"slices"
	"strings"
)

// Equal compares exports by value.
func (e Export) Equal(o Export) bool {
	return e.Group == o.Group && e.MED == o.MED && e.Prepend == o.Prepend && e.LocalPref == o.LocalPref &&
		slices.Equal(e.Communities, o.Communities) && slices.Equal(e.Large, o.Large)
}

// Equal reports whether two announcements put the same on the wire. LocalPref
// and MED of the learned attributes are never sent, so they do not count.
func (a *Announcement) Equal(b *Announcement) bool {
	return a.Prefix == b.Prefix && (a.Attrs == b.Attrs || a.Attrs.sameOnWire(b.Attrs)) &&
		(sameMemory(a.To, b.To) || slices.EqualFunc(a.To, b.To, Export.Equal)) &&
		(sameMemory(a.Except, b.Except) || slices.Equal(a.Except, b.Except))
}

// sameMemory is the quick answer for slices that successive plans share.
func sameMemory[T any](a, b []T) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

func (a *Attrs) sameOnWire(b *Attrs) bool {
	return a != nil && b != nil && a.Origin == b.Origin && slices.Equal(a.ASPath, b.ASPath) &&
		slices.Equal(a.Communities, b.Communities) && slices.Equal(a.Large, b.Large)
}

// DiffAnnouncements compares two sets, both sorted by ComparePrefix without
// duplicates, in one pass. set lists indexes into want of what is new or
// changed, gone indexes into have of what is no longer wanted. Equal sets cost
// no allocation.
func DiffAnnouncements(have, want []Announcement) (set, gone []int) {
	i, j := 0, 0
	for i < len(have) || j < len(want) {
		c := 0
		switch {
		case i == len(have):
			c = 1
		case j == len(want):
			c = -1
		case have[i].Prefix == want[j].Prefix:
		default:
			c = ComparePrefix(have[i].Prefix, want[j].Prefix)
		}
		switch {
		case c < 0:
			gone = append(gone, i)
			i++
		case c > 0:
			set = append(set, j)
			j++
		default:
			if !have[i].Equal(&want[j]) {
				set = append(set, j)
			}
			i++
			j++
		}
	}
	return set, gone
}

// NeighborChange is what applying a new version of a neighbor costs. Several
// may hold at once.
type NeighborChange uint8

// Kinds of change. ChangeReset includes all others.
const (
	ChangeCosmetic    NeighborChange = 1 << iota // only what nobody else sees
	ChangeImport                                 // re-evaluate what it sent; session untouched
	ChangeExport                                 // re-evaluate what it is sent; session untouched
	ChangeNextSession                            // negotiated in OPEN: counts from the next session on
	ChangeMaxPrefixes                            // the limit on received prefixes
	ChangeFlush                                  // the session starts over, its settings stay
	ChangeReset                                  // the session is another one
	ChangeRelease                                // Restarting ends: tell everything, and End-of-RIB
)

// Compare classifies the step from n to o. Zero means equal.
func (n *Neighbor) Compare(o *Neighbor) NeighborChange {
	var c NeighborChange
	if n.Description != o.Description || n.Kind != o.Kind || n.Site != o.Site || n.Region != o.Region || n.MaxSessions != o.MaxSessions || n.Device != o.Device && !n.BindDevice && !o.BindDevice {
		c |= ChangeCosmetic
	}
	if !n.Import.Equal(o.Import) {
		c |= ChangeImport
	}
	if n.Export != o.Export || n.Group != o.Group || n.NextHop4 != o.NextHop4 || n.NextHop6 != o.NextHop6 {
		c |= ChangeExport
	}
	if n.HoldTime != o.HoldTime || n.Keepalive != o.Keepalive || n.ConnectRetry != o.ConnectRetry {
		c |= ChangeNextSession
	}
	if n.MaxPrefixes != o.MaxPrefixes {
		c |= ChangeMaxPrefixes
	}
	if n.Flush != o.Flush {
		c |= ChangeFlush
	}
	if n.Restarting != o.Restarting {
		c |= ChangeRelease
	}
	if n.Name != o.Name || n.Address != o.Address || n.Range != o.Range || n.Dynamic != o.Dynamic || n.LocalAddress != o.LocalAddress ||
		n.BindDevice != o.BindDevice || n.BindDevice && n.Device != o.Device ||
		n.LocalASN != o.LocalASN || n.RemoteASN != o.RemoteASN || n.Passive != o.Passive || n.Port != o.Port ||
		n.MultihopTTL != o.MultihopTTL || n.TTLSecurity != o.TTLSecurity || n.Password != o.Password ||
		n.IPv4 != o.IPv4 || n.IPv6 != o.IPv6 || n.GracefulRestart != o.GracefulRestart || n.AddPaths != o.AddPaths || n.RestartTime != o.RestartTime || n.TellLoops != o.TellLoops {
		c |= ChangeReset
	}
	return c
}

// NeighborDiff is one difference between two sets of neighbors.
type NeighborDiff struct {
	Have, Want *Neighbor      // Have nil: new. Want nil: gone
	Change     NeighborChange // set when both are there
}

// DiffNeighbors compares two sets, both sorted by Name without duplicates, in
// one pass. Equal sets cost no allocation.
func DiffNeighbors(have, want []Neighbor) []NeighborDiff {
	var out []NeighborDiff
	i, j := 0, 0
	for i < len(have) || j < len(want) {
		c := 0
		switch {
		case i == len(have):
			c = 1
		case j == len(want):
			c = -1
		default:
			c = strings.Compare(have[i].Name, want[j].Name)
		}
		switch {
		case c < 0:
			out = append(out, NeighborDiff{Have: &have[i]})
			i++
		case c > 0:
			out = append(out, NeighborDiff{Want: &want[j]})
			j++
		default:
			if ch := have[i].Compare(&want[j]); ch != 0 {
				out = append(out, NeighborDiff{Have: &have[i], Want: &want[j], Change: ch})
			}
			i++
			j++
		}
	}
	return out
}
