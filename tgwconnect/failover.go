package tgwconnect

import (
	"cmp"
	"net/netip"
	"slices"
)

// Without Connect there is no BGP on the AWS side: which host the VPC sends a
// prefix to stands in route tables, and the gateway that holds the prefix writes
// itself into them. Everything here is decided from what was read; it touches only
// tables and prefixes that a RouteRule names, and only entries that nobody else
// made.

// RouteRule says which entries of which tables follow which prefixes.
type RouteRule struct {
	Name      string
	VPCTables []string // route tables of VPCs
	TGWTables []string // route tables of Transit Gateways
	// Own is the target of this host: its network interface in VPC tables and the
	// VPC attachment in TGW tables.
	OwnInterface, OwnAttachment string
	// Targets are those of all hosts of the fleet, the preferred first, the same on
	// each: an entry that leads to one of them may be replaced. Hosts that share an
	// attachment share its TGW routes.
	Targets  []string
	Prefixes []netip.Prefix // sorted
	Unheld   Unheld
}

// Unheld is what becomes of an entry that leads here when nobody carries its prefix.
type Unheld string

// What may become of it. Deleted is the default: packets then take a less specific
// route or none at once, and nothing is left that leads nowhere. Left in place it
// is there the moment this host carries the prefix again. A blackhole, of which only
// Transit Gateways have one, keeps packets from a less specific route.
const (
	UnheldDelete    Unheld = "delete"
	UnheldLeave     Unheld = "leave"
	UnheldBlackhole Unheld = "blackhole"
)

// Hold says who carries a prefix.
type Hold uint8

// Holds: nobody, this host, another host of the fleet.
const (
	HeldByNobody Hold = iota
	HeldHere
	HeldElsewhere
)

func (h Hold) String() string {
	return [...]string{"nobody", "this host", "another host"}[h]
}

// Claim is who carries one prefix now.
type Claim struct {
	Prefix netip.Prefix
	Hold   Hold
	// Rival: this host holds it and has heard that another one does too, with less
	// right. Both then know who writes, and this one does not give way.
	Rival bool
}

// RouteEntry is what a table says about one prefix.
type RouteEntry struct {
	Table    string
	TGW      bool // it is a route table of a Transit Gateway
	Prefix   netip.Prefix
	Present  bool
	Target   string // interface or attachment; several: the first; empty: nothing we know
	Dead     bool   // it leads nowhere: the target is gone (state blackhole)
	Writable bool   // an entry made by CreateRoute; not propagated, local or advertised
}

// RouteVerb is what to do about an entry.
type RouteVerb string

// Verbs. Leave may have a reason that an operator should know.
const (
	RouteLeave   RouteVerb = "leave"
	RouteCreate  RouteVerb = "create"
	RouteReplace RouteVerb = "replace"
	RouteDelete  RouteVerb = "delete"
)

// RouteAction is the decision about one entry.
type RouteAction struct {
	Rule  string
	Entry RouteEntry
	Verb  RouteVerb
	To    string // of create and replace; empty: a blackhole
	Why   string
	// Problem: the entry should lead here, and must not be touched.
	Problem bool
}

// Decide says what to do about each entry of a rule. yielded are entries that this
// host lost to a preferred one although both held the prefix: it does not write
// them again.
func (r *RouteRule) Decide(entries []RouteEntry, claims []Claim, yielded func(table string, p netip.Prefix) bool) []RouteAction {
	out := make([]RouteAction, 0, len(entries))
	for _, e := range entries {
		c := Claim{}
		if i, ok := slices.BinarySearchFunc(claims, e.Prefix, func(c Claim, p netip.Prefix) int { return comparePrefix(c.Prefix, p) }); ok {
			c = claims[i]
		}
		a := r.decide(e, c.Hold, !c.Rival && yielded(e.Table, e.Prefix))
		a.Rule, a.Entry = r.Name, e
		out = append(out, a)
	}
	return out
}

func (r *RouteRule) decide(e RouteEntry, hold Hold, yielded bool) RouteAction {
	own := r.own(e.TGW)
	mine := e.Present && e.Target == own && own != ""
	switch {
	case own == "":
		return RouteAction{Verb: RouteLeave, Why: "this host's own target is not known yet"}
	case hold == HeldElsewhere:
		return RouteAction{Verb: RouteLeave, Why: "another host holds the prefix"}
	case hold == HeldByNobody && mine && e.Writable && r.Unheld != UnheldLeave && !r.shared(e.TGW, own):
		if r.Unheld == UnheldBlackhole && e.TGW {
			return RouteAction{Verb: RouteReplace, Why: "nobody holds the prefix, and the entry leads here"}
		}
		return RouteAction{Verb: RouteDelete, Why: "nobody holds the prefix, and the entry leads here"}
	case hold == HeldByNobody:
		return RouteAction{Verb: RouteLeave, Why: "nobody holds the prefix"}
	case mine && !e.Dead:
		return RouteAction{Verb: RouteLeave, Why: "it leads here"}
	case !e.Present:
		return RouteAction{Verb: RouteCreate, To: own, Why: "this host holds the prefix"}
	case !e.Writable:
		return RouteAction{Verb: RouteLeave, Problem: true, Why: "the entry is propagated, local or advertised: not ours to change"}
	case mine:
		return RouteAction{Verb: RouteLeave, Problem: true, Why: "it leads here and is a blackhole: the interface or attachment is not in use"}
	case r.Unheld == UnheldBlackhole && e.TGW && e.Dead && e.Target == "":
		return RouteAction{Verb: RouteReplace, To: own, Why: "this host holds the prefix, of which nobody did"}
	case !slices.Contains(r.Targets, e.Target):
		return RouteAction{Verb: RouteLeave, Problem: true, Why: "it leads to " + orNothing(e.Target) + ", which is none of the rule's targets"}
	case yielded && !e.Dead:
		return RouteAction{Verb: RouteLeave, Why: "a preferred host holds the prefix too"}
	}
	return RouteAction{Verb: RouteReplace, To: own, Why: "this host holds the prefix"}
}

// shared reports whether the target stands for several hosts: then one that does
// not hold a prefix can not know that nobody does.
func (r *RouteRule) shared(tgw bool, own string) bool {
	if !tgw {
		return false
	}
	n := 0
	for _, t := range r.Targets {
		if t == own {
			n++
		}
	}
	return n > 1
}

func (r *RouteRule) own(tgw bool) string {
	if tgw {
		return r.OwnAttachment
	}
	return r.OwnInterface
}

// Precedes reports whether a target is preferred to this host's own: of two hosts
// that hold a prefix and write at once, the preferred one stays.
func (r *RouteRule) Precedes(e RouteEntry) bool {
	theirs, mine := slices.Index(r.Targets, e.Target), slices.Index(r.Targets, r.own(e.TGW))
	return theirs >= 0 && (mine < 0 || theirs < mine)
}

func orNothing(target string) string {
	if target == "" {
		return "something else"
	}
	return target
}

// VPCEntries is what a VPC route table says about the rule's prefixes.
func (r *RouteRule) VPCEntries(t *VPCRouteTable) []RouteEntry {
	out := make([]RouteEntry, len(r.Prefixes))
	for i, p := range r.Prefixes {
		out[i] = RouteEntry{Table: t.ID, Prefix: p}
		for j := range t.Routes {
			if x := &t.Routes[j]; x.Prefix == p && x.PrefixListID == "" {
				out[i].Present, out[i].Dead = true, x.State == "blackhole"
				out[i].Writable = x.Origin == "CreateRoute"
				out[i].Target = cmp.Or(x.Target.InterfaceID, x.Target.TransitGatewayID, x.Target.GatewayID, x.Target.InstanceID, x.Target.CoreNetworkARN, x.Target.Other)
			}
		}
	}
	return out
}

// TGWEntries is what a TGW route table says about the rule's prefixes.
func (r *RouteRule) TGWEntries(table string, routes []TGWRoute) []RouteEntry {
	out := make([]RouteEntry, len(r.Prefixes))
	for i, p := range r.Prefixes {
		out[i] = RouteEntry{Table: table, TGW: true, Prefix: p}
		for j := range routes {
			x := &routes[j]
			if x.Prefix != p || x.PrefixListID != "" || x.State == "deleted" || x.State == "deleting" {
				continue
			}
			out[i].Present, out[i].Dead, out[i].Writable = true, x.State == "blackhole", x.Type == "static"
			if len(x.Via) > 0 {
				out[i].Target = x.Via[0].AttachmentID
			}
		}
	}
	return out
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
