package tgwconnect

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
)

// Tag keys of what Plan makes. Nothing without TagOwner, with the value of the
// configuration, is ever deleted. What has no tags of its own (a route, a CIDR
// block, a switch) is marked on what it is part of just before it is made, by a
// key of TagMade and the thing, so that Unplan takes back only that.
const (
	TagOwner   = "wgbgp:owner"   // Want.Name, on the Connect attachment and on peers
	TagGateway = "wgbgp:gateway" // Want.Gateway, on peers
	TagMade    = "wgbgp:made:"   // on a TGW, VPC route table or interface
)

// markKinds begin the keys of marks, a prefix follows.
var markKinds = map[StepKind]string{
	StepForward: TagMade + "no-source-dest-check", StepAddCIDR: TagMade + "cidr:", StepCreateRoute: TagMade + "route:",
}

// mark is the tag that says who made the thing. A switch of an interface belongs
// to one gateway, what is around a Transit Gateway to all of the name.
func (w *Want) mark(kind StepKind, p netip.Prefix) Tags {
	if kind == StepForward {
		return Tags{markKinds[kind]: w.Name + " " + w.Gateway}
	}
	return Tags{markKinds[kind] + p.String(): w.Name}
}

// marked reports whether the tags of a container have the mark.
func marked(have, mark Tags) bool {
	for k, v := range mark {
		if have[k] != v {
			return false
		}
	}
	return true
}

// Want is what there should be on the AWS side for one gateway.
type Want struct {
	Name, Gateway    string
	TransitGatewayID string
	TransportID      string // the VPC attachment that the Connect attachment rides on
	PeerASN          uint32
	Addresses        []netip.Addr // outer addresses of this gateway, one Connect peer each
	CIDR             netip.Prefix // to be added if the TGW has no CIDR block of that family; invalid: never
	RouteTable       string       // TGW route table to be associated with and propagated to; empty: as the TGW does by default
	VPCRouteTables   []string     // that must lead the TGW's CIDR blocks to it
	Interfaces       []string     // whose source/destination check must be off
	IPv6             bool         // inside /125 blocks too
}

// Inventory is what Plan and Unplan look at.
type Inventory struct {
	TransitGateway TransitGateway
	Transport      Attachment
	Connects       []Connect    // of the TGW
	Attachments    []Attachment // those Connect attachments once more, with their associations
	Peers          []Peer       // of all of them
	Propagations   []Propagation
	VPCTables      []VPCRouteTable // Want.VPCRouteTables
	Interfaces     []Interface     // Want.Interfaces
}

// StepKind is what a step does. A step that waits does nothing.
type StepKind string

// Steps. Each may be done again without harm, after a look.
const (
	StepWait          StepKind = "wait"
	StepCreateConnect StepKind = "create Connect attachment"
	StepDeleteConnect StepKind = "delete Connect attachment"
	StepCreatePeer    StepKind = "create Connect peer"
	StepDeletePeer    StepKind = "delete Connect peer"
	StepAddCIDR       StepKind = "add TGW CIDR block"
	StepRemoveCIDR    StepKind = "remove TGW CIDR block"
	StepAssociate     StepKind = "associate route table"
	StepDisassociate  StepKind = "disassociate route table"
	StepPropagate     StepKind = "enable propagation"
	StepCreateRoute   StepKind = "create VPC route"
	StepDeleteRoute   StepKind = "delete VPC route"
	StepForward       StepKind = "switch source/destination check off"
	StepCheckAgain    StepKind = "switch source/destination check on"
	StepMark          StepKind = "mark as made by us"
	StepUnmark        StepKind = "take the mark away"
)

// Step is one change, or what has to be waited for. Only what the kind needs is set.
type Step struct {
	Kind   StepKind
	ID     string // attachment, peer or interface
	Table  string
	Prefix netip.Prefix // CIDR block or route
	Tags   Tags
	Peer   NewPeer
	Text   string // for people
	// Marked is what the step makes, in words of a mark on the object On; empty:
	// what it makes has tags of its own.
	Marked Tags
	On     string
}

// Unmark is the step that takes back the mark of a step which turned out not to
// have made the thing.
func (s *Step) Unmark() Step {
	return Step{Kind: StepUnmark, ID: s.On, Tags: s.Marked, Text: "take our mark from " + s.On + ": somebody else has made it"}
}

// made is a step in two: first the mark, then the thing.
func made(have Tags, s Step) Step {
	if marked(have, s.Marked) {
		return s
	}
	return Step{Kind: StepMark, ID: s.On, Tags: s.Marked, Text: "mark " + s.On + ", then " + s.Text}
}

// Obstacle is why something wanted can not be had.
type Obstacle struct {
	Text string `json:"text"`
	Cure string `json:"cure"`
}

// gone reports whether an object of that state is on its way out.
func gone(state string) bool {
	switch state {
	case "deleting", "deleted", "failed", "failing", "rejected", "rejecting", "rollingBack":
		return true
	}
	return false
}

// mine are the Connect attachments of the configuration: the one that is used
// first, then duplicates, which a lost answer or two hosts at once may have made.
func (inv *Inventory) mine(w *Want) []Connect {
	var out []Connect
	for _, c := range inv.Connects {
		if c.Tags[TagOwner] == w.Name && c.TransportID == w.TransportID && !gone(c.State) {
			out = append(out, c)
		}
	}
	// One with peers stays; then the older one, the same for everybody who looks.
	slices.SortFunc(out, func(a, b Connect) int {
		return cmp.Or(-cmp.Compare(min(inv.living(a.ID), 1), min(inv.living(b.ID), 1)), a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	return out
}

// living counts the peers of an attachment that are not deleted yet.
func (inv *Inventory) living(attachmentID string) (n int) {
	for _, p := range inv.Peers {
		if p.AttachmentID == attachmentID && p.State != "deleted" {
			n++
		}
	}
	return n
}

// own reports whether a peer is one that this gateway made.
func (w *Want) own(p *Peer) bool {
	return p.Tags[TagOwner] == w.Name && p.Tags[TagGateway] == w.Gateway
}

// fits reports whether a peer is as the configuration wants it now. A Connect peer
// can not be modified [API].
func (w *Want) fits(p *Peer) bool {
	for _, s := range p.Sessions {
		if s.PeerASN != w.PeerASN {
			return false
		}
	}
	return slices.Contains(w.Addresses, p.PeerAddress) && p.Inside6.IsValid() == w.IPv6
}

// mostPeers is how many Connect peers one Connect attachment takes [QUOTA].
const mostPeers = 4

// allocate finds inside blocks that no Connect peer of the TGW has and nothing
// forbids. Every gateway begins its search at a place of its own, so that two that
// choose at the same time seldom choose the same; AWS refuses the second one then.
func (inv *Inventory) allocate(w *Want, seed string) (four, six netip.Prefix, ok bool) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(w.Name + " " + w.Gateway + " " + seed))
	const blocks = 1 << (16 - 3) // /29s in 169.254.0.0/16
	start := h.Sum32() % blocks
	for i := range uint32(blocks) {
		n := (start + i) % blocks * 8
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254, byte(n >> 8), byte(n)}), 29)
		if CheckInside4(p) == nil && !slices.ContainsFunc(inv.Peers, func(x Peer) bool { return x.State != "deleted" && x.Inside4.IsValid() && x.Inside4.Overlaps(p) }) {
			four, ok = p, true
			break
		}
	}
	if !ok || !w.IPv6 {
		return four, netip.Prefix{}, ok
	}
	h64 := fnv.New64a()
	for i := range byte(100) {
		h64.Reset()
		_, _ = h64.Write([]byte(w.Name + " " + w.Gateway + " " + seed + string(rune('a'+i))))
		v := h64.Sum64()
		a := [16]byte{0xfd, byte(v >> 56), byte(v >> 48), byte(v >> 40), byte(v >> 32), byte(v >> 24)}
		a[14], a[15] = byte(v>>8), byte(v)&^7
		p := netip.PrefixFrom(netip.AddrFrom16(a), 125)
		// fd00:ec2::/32 holds the metadata and time services of EC2.
		if CheckInside6(p) == nil && !netip.MustParsePrefix("fd00:ec2::/32").Contains(p.Addr()) &&
			!slices.ContainsFunc(inv.Peers, func(x Peer) bool { return x.State != "deleted" && x.Inside6.IsValid() && x.Inside6.Overlaps(p) }) {
			return four, p, true
		}
	}
	return four, netip.Prefix{}, false
}
