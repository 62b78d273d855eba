package tgwconnect

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Entry is a configured place for Connect peers that AWS names.
type Entry struct {
	Name   string
	PeerID string // this Connect peer only; empty: every one whose PeerAddress is local
	ASN    uint32 // ours
}

// Unused is why what AWS has is not used.
type Unused string

// Reasons for not using a Connect peer or a Route Server peer.
const (
	UnusedForeign    Unused = "foreign"        // its PeerAddress is another host's
	UnusedAddress    Unused = "no-address"     // it is this instance's, but the kernel does not have it
	UnusedState      Unused = "not-available"  // pending, deleting, deleted
	UnusedASN        Unused = "wrong-asn"      // its PeerAsn is not this gateway's
	UnusedIBGP       Unused = "ibgp"           // its PeerAsn is the Transit Gateway's
	UnusedInside     Unused = "bad-inside"     // no inside block that can be used
	UnusedFamily     Unused = "bad-family"     // an IPv4 and an IPv6 address as ends of one session
	UnusedConfigured Unused = "configured"     // the file has this tunnel or neighbor already
	UnusedConflict   Unused = "conflict"       // it has a name, tunnel, block or endpoint of another one
	UnusedNoEntry    Unused = "not-configured" // only others are wanted
)

// Found is an object of AWS, as AWS describes it, and what is made of it.
type Found[P any] struct {
	Peer   P
	Entry  string // the entry of the configuration that it belongs to
	Name   string // of what is made of it; empty: it is not used
	Reason Unused
	Detail string
}

// Used reports whether anything is made of it.
func (f *Found[P]) Used() bool { return f.Reason == "" }

func (f Found[P]) unused(r Unused, format string, args ...any) Found[P] {
	f.Reason, f.Detail = r, fmt.Sprintf(format, args...)
	return f
}

// Candidate is a Connect peer. Name is that of the tunnel and, with /1 and /2, of
// the sessions.
type Candidate = Found[Peer]

// Local is what this host knows of its own addresses.
type Local struct {
	Kernel   []netip.Addr // usable as a source
	Metadata []netip.Addr // of the instance's interfaces, as far as known
}

// Has reports whether the kernel has the address.
func (l *Local) Has(a netip.Addr) bool { return slices.Contains(l.Kernel, a) }

// lacks says why an address that the kernel does not have is not used.
func (l *Local) lacks(a netip.Addr) (Unused, string) {
	if slices.Contains(l.Metadata, a) {
		return UnusedAddress, a.String() + " is this instance's, but on no interface of the kernel: add it, or run DHCP on that interface"
	}
	return UnusedForeign, a.String() + " is not this host's"
}

// Discover says which Connect peers are this host's, ordered by ID. It depends on
// its arguments only, so that the same answer is always the same tunnels.
func Discover(entries []Entry, static []ConnectPeer, local Local, peers []Peer) []Candidate {
	byID := func(a, b Peer) int { return cmp.Compare(a.ID, b.ID) }
	return judgeAll(peers, byID, func(p Peer) Candidate { return judge(entries, static, local, p) }, func(a, b *Candidate) string {
		if conflict(a, b) {
			return "shares its name, its tunnel or an inside block with " + b.Peer.ID
		}
		return ""
	})
}

// judgeAll judges each object by itself, and of those that can not be used
// together all but the first.
func judgeAll[P any](peers []P, order func(a, b P) int, judge func(P) Found[P], conflict func(a, b *Found[P]) string) []Found[P] {
	peers = slices.Clone(peers)
	slices.SortFunc(peers, order)
	var out []Found[P]
	for _, p := range peers {
		c := judge(p)
		for i := range out {
			if c.Used() && out[i].Used() {
				if why := conflict(&c, &out[i]); why != "" {
					c.Name, c.Reason, c.Detail = "", UnusedConflict, why
				}
			}
		}
		out = append(out, c)
	}
	return out
}

func judge(entries []Entry, static []ConnectPeer, local Local, p Peer) Candidate {
	c := Candidate{Peer: p}
	// A named peer belongs to the entry that names it.
	at := slices.IndexFunc(entries, func(e Entry) bool { return e.PeerID == p.ID })
	if at < 0 {
		at = slices.IndexFunc(entries, func(e Entry) bool { return e.PeerID == "" })
	}
	switch {
	case !local.Has(p.PeerAddress):
		return c.unused(local.lacks(p.PeerAddress))
	case at < 0:
		return c.unused(UnusedNoEntry, "no [[tgw-connect]] names it, and none has discover = true")
	}
	e := entries[at]
	c.Entry = e.Name
	for _, s := range static {
		if s.Local == p.PeerAddress && s.Remote == p.TransitGatewayAddress || overlap(p, s.Inside4, s.Inside6) {
			return c.unused(UnusedConfigured, "it is, or shares an inside block with, tgw-connect %s", s.Name)
		}
	}
	if p.State != "available" {
		return c.unused(UnusedState, "%s", p.State)
	}
	if p.PeerAddress.Is4() != p.TransitGatewayAddress.Is4() || !p.TransitGatewayAddress.IsValid() {
		return c.unused(UnusedInside, "its outer addresses are of different families")
	}
	if err := CheckInside4(p.Inside4); err != nil {
		return c.unused(UnusedInside, "%v", err)
	}
	if p.Inside6.IsValid() {
		if err := CheckInside6(p.Inside6); err != nil {
			return c.unused(UnusedInside, "%v", err)
		}
	}
	tgw, ours := p.ASNs()
	switch {
	case tgw == 0 || ours == 0:
		return c.unused(UnusedState, "EC2 does not show its ASNs yet")
	case tgw == ours:
		return c.unused(UnusedIBGP, "its PeerAsn %d is the Transit Gateway's own, which makes the sessions iBGP; make it again with PeerAsn %d", ours, e.ASN)
	case ours != e.ASN:
		return c.unused(UnusedASN, "its PeerAsn is %d and the gateway's is %d; make it again with PeerAsn %d", ours, e.ASN, e.ASN)
	}
	c.Name = e.Name
	if e.PeerID == "" {
		c.Name += "-" + suffix(p.ID)
	}
	return c
}

// ASNs are those of the Connect peer's sessions; 0: not shown.
func (p *Peer) ASNs() (tgw, ours uint32) {
	for _, s := range p.Sessions {
		if s.TransitGatewayASN != 0 && s.PeerASN != 0 {
			return s.TransitGatewayASN, s.PeerASN
		}
	}
	return 0, 0
}

// suffix is the end of an ID: 8 digits that tell the peers of one host apart and
// leave room in an interface name, which has 15 characters.
func suffix(id string) string {
	hex := id[strings.LastIndexByte(id, '-')+1:]
	return hex[max(0, len(hex)-8):]
}

// Device is the interface name of a discovered peer without a device of its own.
func (p *Peer) Device() string { return "gre-" + suffix(p.ID) }

func conflict(a, b *Candidate) bool {
	return a.Name == b.Name || suffix(a.Peer.ID) == suffix(b.Peer.ID) || overlap(a.Peer, b.Peer.Inside4, b.Peer.Inside6) ||
		a.Peer.PeerAddress == b.Peer.PeerAddress && a.Peer.TransitGatewayAddress == b.Peer.TransitGatewayAddress
}

func overlap(p Peer, four, six netip.Prefix) bool {
	return p.Inside4.IsValid() && four.IsValid() && p.Inside4.Overlaps(four) || p.Inside6.IsValid() && six.IsValid() && p.Inside6.Overlaps(six)
}
