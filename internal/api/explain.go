package api

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Names of the links of the chain, in the order in which they are walked.
const (
	StepRIB       = "rib"
	StepRoute     = "route"
	StepTunnel    = "tunnel"
	StepAllowedIP = "allowed-ip"
	StepPeer      = "peer"
	StepNeighbor  = "neighbor"
	StepProbe     = "probe"
	StepAnnounced = "announced"
)

// causes says which link a reason word accuses. A reason that is missing here
// accuses the link where it was met.
var causes = map[string]string{
	"rx-stall": StepPeer, "handshake": StepPeer, "no-device": StepPeer, "disabled": StepPeer,
	"probe-failed": StepProbe, "site-down": StepProbe, "idle": StepProbe, "not-measured-yet": StepProbe,
	"not-measurable": StepProbe, "hold-down": StepProbe,
	"bgp-down": StepNeighbor, "bfd-down": StepNeighbor,
	"allowed-ip-pending": StepAllowedIP,
	"route-pending":      StepRoute, "route-failed": StepRoute, "shadowed": StepRoute,
	"tunnel-down": StepTunnel, "link-down": StepPeer,
	"no-audience": StepAnnounced, "draining": StepAnnounced,
	"aggregate-empty": StepAnnounced, "aggregated": StepAnnounced, "quota": StepAnnounced, "condition": StepAnnounced, "community": StepAnnounced,
	"overlap": StepRIB, "not-best": StepRIB, "reserved": StepRIB, "covers-endpoint": StepRIB,
}

// ExplainFrom follows a prefix, or the longest match of an address, from the
// RIB to the probe and to those it is announced to. The first broken link is
// the first that fails for a reason of its own: one that fails only because of
// another names that one in CausedBy.
func ExplainFrom(q ExplainQuery, v View) Explain {
	x := &explainer{view: v, host: q.Host, out: Explain{Schema: Schema, Query: q.Text()}}
	x.entry = v.lookup(q)
	if x.entry == nil {
		x.unknown(q)
		return x.out
	}
	x.out.Prefix = x.entry.Prefix
	x.choose()
	x.rib()
	x.routeStep()
	x.tunnelStep()
	x.allowedIP()
	x.peerStep()
	x.neighborStep()
	x.probeStep()
	x.announced()
	x.finish()
	return x.out
}

// lookup finds the entry of a prefix, or the longest match of an address.
func (v View) lookup(q ExplainQuery) *RIBEntry {
	var best *RIBEntry
	for i := range v.RIB {
		e := &v.RIB[i]
		switch {
		case !q.Host && e.Prefix != q.Prefix:
		case q.Host && !e.Prefix.Contains(q.Prefix.Addr()):
		case best == nil || e.Prefix.Bits() > best.Prefix.Bits():
			best = e
		}
	}
	return best
}

type explainer struct {
	view     View
	out      Explain
	host     bool // an address was asked for
	entry    *RIBEntry
	path     *RIBPath // best, else the first candidate; nil: none
	site     *Site
	peer     *Peer
	health   *Health
	neighbor *Neighbor // the path was learned from
	route    *Route    // unicast
}

func (x *explainer) step(name string, ok bool, reason, text string, evidence ...string) {
	x.out.Steps = append(x.out.Steps, Step{Name: name, OK: ok, Reason: reason, Text: text, Evidence: slices.DeleteFunc(evidence, empty)})
}

func (x *explainer) skip(name, text string) {
	x.out.Steps = append(x.out.Steps, Step{Name: name, OK: true, Skipped: true, Text: text})
}

func empty(s string) bool { return s == "" }

// unknown ends the chain at its first link, with what may help: it was sent and
// refused, something near it is known, or who might have sent it is away.
func (x *explainer) unknown(q ExplainQuery) {
	if r := find(x.view.Refused, func(r *RefusedPath) bool {
		return r.Reason != "own-asn" && (r.Prefix == q.Prefix || q.Host && r.Prefix.Contains(q.Prefix.Addr()))
	}); r != nil {
		x.step(StepRIB, false, r.Reason, fmt.Sprintf("neighbor %s sent %s and policy refused it: %s", r.Neighbor, r.Prefix, r.Reason),
			"what it may send is its `allow` list")
		x.finish()
		return
	}
	const most = 5
	var near []string
	for _, e := range x.view.RIB {
		if e.Prefix.Overlaps(q.Prefix) && len(near) < most {
			near = append(near, e.Prefix.String()+" is in the RIB")
		}
	}
	for _, s := range x.view.Sites {
		for _, p := range s.Prefixes {
			if p.Prefix.Overlaps(q.Prefix) && len(near) < most {
				near = append(near, fmt.Sprintf("site %s has %s: %s", s.Name, p.Prefix, because(p.Reason, p.Detail)))
			}
		}
	}
	for _, n := range x.view.Neighbors {
		if n.State != "Established" && len(near) < most {
			state := n.State
			if n.BFD != "" && n.BFD != "Up" {
				state += ", its BFD session " + n.BFD
			}
			near = append(near, join("neighbor "+n.Name+" might send it and is in state "+state, n.LossReason))
		}
	}
	x.step(StepRIB, false, "not-known", "no neighbor has sent it and no site is configured with it", near...)
	x.finish()
}

// choose finds what the prefix depends on.
func (x *explainer) choose() {
	for i := range x.entry.Paths {
		if p := &x.entry.Paths[i]; x.path == nil || p.Best {
			x.path = p
		}
		if x.path.Best {
			break
		}
	}
	for i := range x.view.Routes {
		r := &x.view.Routes[i]
		if r.Prefix == x.entry.Prefix && r.Type == RouteUnicast && !r.Foreign && (x.route == nil || r.Metric < x.route.Metric) {
			x.route = r
		}
	}
	if x.path == nil {
		return
	}
	x.neighbor = find(x.view.Neighbors, func(n *Neighbor) bool { return x.path.Neighbor != "" && n.Name == x.path.Neighbor })
	name := x.path.Site
	if name == "" && x.neighbor != nil {
		name = x.neighbor.Site
	}
	if name == "" {
		return
	}
	x.out.Site = name
	x.site = find(x.view.Sites, func(s *Site) bool { return s.Name == name })
	x.peer = find(x.view.Peers, func(p *Peer) bool { return p.Name == name })
	x.health = find(x.view.Health, func(h *Health) bool { return h.Site == name })
}

func find[T any](l []T, is func(*T) bool) *T {
	for i := range l {
		if is(&l[i]) {
			return &l[i]
		}
	}
	return nil
}

func (x *explainer) rib() {
	if x.path == nil {
		x.step(StepRIB, false, first(x.entry.Reason, "no-path"), join("known, but there is no path to it", x.entry.Detail))
		return
	}
	var ev []string
	for _, p := range x.entry.Paths {
		ev = append(ev, pathEvidence(p))
	}
	if x.aggregate() {
		x.step(StepRIB, true, "", "an aggregate, made from "+x.path.Detail, ev...)
		return
	}
	if x.path.Best {
		x.step(StepRIB, true, x.path.Reason, fmt.Sprintf("best of %s is from %s", plural(len(x.entry.Paths), "path"), origin(*x.path)), ev...)
		return
	}
	x.step(StepRIB, false, first(x.path.Reason, x.entry.Reason, "not-usable"),
		"no path is usable: "+because(first(x.path.Reason, x.entry.Reason), first(x.path.Detail, x.entry.Detail)), ev...)
}

func origin(p RIBPath) string {
	switch {
	case p.Source == SourceAggregate:
		return "an aggregate"
	case p.Site != "" && p.Source == SourceConfigured:
		return "the configuration of site " + p.Site
	case p.Neighbor != "":
		return "neighbor " + p.Neighbor
	case p.Site != "":
		return "site " + p.Site
	}
	return p.Source
}

func pathEvidence(p RIBPath) string {
	s := origin(p)
	if p.NextHop.IsValid() {
		s += " next hop " + p.NextHop.String()
	}
	if len(p.Attrs.ASPath) > 0 {
		s += " AS_PATH " + strings.Trim(fmt.Sprint([]uint32(p.Attrs.ASPath)), "[]")
	}
	state := "not best"
	switch {
	case p.Best:
		state = "best"
	case !p.Usable:
		state = "not usable"
	}
	return join(s+", "+state, because(p.Reason, p.Detail), p.Asked)
}

// aggregate reports whether the prefix is an aggregate of our own.
func (x *explainer) aggregate() bool { return x.path != nil && x.path.Source == SourceAggregate }

// hole is the route step of an aggregate: its blackhole. A packet whose longest
// match is that is dropped.
func (x *explainer) hole() {
	sink := find(x.view.Routes, func(r *Route) bool { return r.Prefix == x.entry.Prefix && r.Type == RouteBlackhole && !r.Foreign })
	switch {
	case sink == nil:
		x.step(StepRoute, false, "route-missing", "there is no blackhole under the aggregate")
	case sink.Status != RouteInstalled:
		x.step(StepRoute, false, "route-"+sink.Status, join(routeText(*sink), sink.Detail))
	case x.host:
		x.step(StepRoute, false, "aggregate-hole", x.out.Query+" is in a part of the aggregate that nobody here has: dropped by "+routeText(*sink))
	default:
		x.step(StepRoute, true, "", routeText(*sink)+"; what lies inside has routes of its own")
	}
}

func (x *explainer) routeStep() {
	if x.aggregate() {
		x.hole()
		return
	}
	var ev []string
	var foreign *Route
	for i := range x.view.Routes {
		r := &x.view.Routes[i]
		if r.Prefix != x.entry.Prefix || r == x.route {
			continue
		}
		ev = append(ev, routeText(*r))
		if r.Foreign {
			foreign = r
		}
	}
	switch {
	case x.route == nil && x.path != nil && x.path.Blackhole:
		x.step(StepRoute, false, "blackhole", "dropped here, as "+origin(*x.path)+" asks (RFC 7999)", ev...)
	case x.route == nil && foreign != nil:
		x.step(StepRoute, false, "shadowed", "only a foreign route is there: "+routeText(*foreign), ev...)
	case x.route == nil:
		x.step(StepRoute, false, first(x.blame(), "route-missing"), "no unicast route is wanted for it"+why(x.blame()), ev...)
	case x.route.Status == RouteInstalled:
		x.step(StepRoute, true, "", routeText(*x.route), ev...)
	default:
		reason := map[string]string{RouteShadowed: "shadowed", RouteFailed: "route-failed", RoutePending: "route-pending"}[x.route.Status]
		x.step(StepRoute, false, reason, join(routeText(*x.route), x.route.Detail), ev...)
	}
}

// blame is the reason word under which the prefix is held back.
func (x *explainer) blame() string {
	if x.path != nil && !x.path.Best && x.path.Reason != "" {
		return x.path.Reason
	}
	if x.entry.Reason != "" && len(x.entry.AnnouncedTo) == 0 {
		return x.entry.Reason
	}
	return ""
}

func why(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func routeText(r Route) string {
	s := r.Prefix.String()
	if r.Type == RouteBlackhole {
		s = "blackhole " + s
	}
	for _, h := range r.NextHops {
		if h.Backup {
			continue
		}
		if h.Gateway.IsValid() {
			s += " via " + h.Gateway.String()
		}
		if h.Interface != "" {
			s += " dev " + h.Interface
		}
	}
	s += fmt.Sprintf(" table %d metric %d", r.Table, r.Metric)
	if r.Foreign {
		return s + fmt.Sprintf(" proto %d (foreign)", r.Protocol)
	}
	return s + " " + r.Status
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// covering is the longest allowed IP of a peer that holds the prefix.
func covering(p *Peer, prefix netip.Prefix) *AllowedIP {
	var best *AllowedIP
	for i := range p.AllowedIPs {
		a := &p.AllowedIPs[i]
		if a.Prefix.Bits() <= prefix.Bits() && a.Prefix.Contains(prefix.Addr()) && (best == nil || a.Prefix.Bits() > best.Prefix.Bits()) {
			best = a
		}
	}
	return best
}

func because(reason, detail string) string { return join(reason, detail) }
