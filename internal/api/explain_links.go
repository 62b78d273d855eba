package api

import (
	"fmt"
	"slices"
	"strings"
)

func (x *explainer) tunnelStep() {
	if x.site != nil || x.route == nil {
		x.skip(StepTunnel, "no GRE tunnel on the way")
		return
	}
	var names, down []string
	for _, h := range x.route.NextHops {
		for _, t := range x.view.Status.Tunnels {
			if t.Name != h.Interface || h.Backup {
				continue
			}
			names = append(names, fmt.Sprintf("%s up, %s to %s", t.Name, t.Local, t.Remote))
			if !t.Up {
				names[len(names)-1] = join(t.Name+" is down", t.Error)
				down = append(down, t.Name)
			}
		}
	}
	switch {
	case len(names) == 0:
		x.skip(StepTunnel, "no GRE tunnel on the way")
	case len(down) == len(names):
		x.step(StepTunnel, false, "tunnel-down", strings.Join(names, "; "))
	default:
		x.step(StepTunnel, true, "", strings.Join(names, "; "))
	}
}

// allowedIP looks in the ledger, which for a shared interface is a second
// routing table: the longest match over all peers of the interface decides.
func (x *explainer) allowedIP() {
	if x.out.Site == "" {
		x.skip(StepAllowedIP, "not behind a WireGuard peer")
		return
	}
	if x.peer == nil {
		x.step(StepAllowedIP, false, "no-peer", "site "+x.out.Site+" has no peer on any interface")
		return
	}
	a := covering(x.peer, x.entry.Prefix)
	for i := range x.view.Peers {
		o := &x.view.Peers[i]
		if o == x.peer || o.Interface != x.peer.Interface {
			continue
		}
		if b := covering(o, x.entry.Prefix); b != nil && b.InPlace && (a == nil || b.Prefix.Bits() > a.Prefix.Bits()) {
			x.step(StepAllowedIP, false, "overlap", fmt.Sprintf("%s on %s belongs to peer %s (%s)", b.Prefix, x.peer.Interface, first(o.Name, o.PublicKey), b.Source))
			return
		}
	}
	switch {
	case x.path.Site == "" && x.neighbor != nil && x.neighbor.Kind == "fleet":
		x.step(StepAllowedIP, true, "", fmt.Sprintf("link %s on %s takes everything", x.peer.Name, x.peer.Interface))
	case a == nil:
		x.step(StepAllowedIP, false, first(x.blame(), "allowed-ip-missing"), "peer "+x.peer.Name+" has no allowed IP for it"+why(x.blame()))
	case !a.InPlace:
		x.step(StepAllowedIP, false, first(a.Reason, "allowed-ip-pending"), join(a.Prefix.String()+" is not in place at peer "+x.peer.Name, a.Reason, a.Detail))
	default:
		x.step(StepAllowedIP, true, "", fmt.Sprintf("%s on %s at peer %s (%s)", a.Prefix, x.peer.Interface, x.peer.Name, a.Source))
	}
}

func (x *explainer) peerStep() {
	if x.peer == nil {
		x.skip(StepPeer, "no WireGuard peer on the way")
		return
	}
	p := x.peer
	ev := []string{fmt.Sprintf("rx %d bytes, tx %d bytes", p.RxBytes, p.TxBytes)}
	if p.Endpoint == "" {
		ev = append(ev, "endpoint unknown: the peer was never heard of")
	} else {
		ev = append(ev, "endpoint "+p.Endpoint)
	}
	session := "handshake never"
	if !p.Handshake.IsZero() {
		session = "handshake " + short(p.Handshake) + " ago"
	}
	switch {
	case x.site != nil && x.site.Disabled, p.State == PeerDisabled:
		x.step(StepPeer, false, "disabled", "disabled by the operator", ev...)
	case p.Error != "":
		x.step(StepPeer, false, "peer-failed", p.Error, ev...)
	case p.State == PeerDown || p.State == PeerStalled || p.State == PeerSuppressed:
		x.step(StepPeer, false, first(p.Reason, p.State), join(p.State+", "+session, p.Reason, p.Detail), ev...)
	default:
		x.step(StepPeer, true, p.Reason, p.State+", "+session, ev...)
	}
}

func short(s Stamp) string { return FormatAge(s.Age()) }

// neighborStep judges the session the path was learned over.
func (x *explainer) neighborStep() {
	n := x.neighbor
	if n == nil && x.site != nil && x.site.Neighbor != "" {
		n = find(x.view.Neighbors, func(n *Neighbor) bool { return n.Name == x.site.Neighbor })
	}
	switch {
	case n == nil:
		x.skip(StepNeighbor, "not learned by BGP")
	case n.State == "Established" && x.bfdDown(n):
		x.step(StepNeighbor, false, "bfd-down", n.Name+" is Established and dead by BFD", "BFD session "+n.BFD, "wgbgp bfd "+n.Name)
	case n.State == "Established":
		var ev []string
		if n.BFD != "" {
			ev = append(ev, "BFD session "+n.BFD)
		}
		x.step(StepNeighbor, true, "", fmt.Sprintf("%s (%s, AS %d) Established for %s", n.Name, n.Address, n.ASN, short(n.Since)), ev...)
	case n.State == StatePolicy:
		x.step(StepNeighbor, false, "policy", n.Name+" is up and exchanges nothing (RFC 8212)", n.Hint)
	default:
		x.step(StepNeighbor, false, "bgp-down", join(n.Name+" is in state "+n.State, n.LossReason), n.Error, n.Hint)
	}
}

// bfdDown reports whether what is asked about fails because BFD found the
// neighbor dead, and not only the session.
func (x *explainer) bfdDown(n *Neighbor) bool {
	return n.BFD != "" && n.BFD != "Up" && (x.path != nil && x.path.Reason == "bfd-down" || x.health != nil && x.health.Reason == "bfd-down")
}

// probeStep shows the verdict with the checks under it. A failing check that
// names prefixes matters to these only.
func (x *explainer) probeStep() {
	if x.health == nil {
		x.skip(StepProbe, "no site, no probes")
		return
	}
	h := x.health
	var ev []string
	failed := ""
	for _, c := range h.Checks {
		ev = append(ev, checkEvidence(c))
		if c.Measured && !c.Up && slices.Contains(c.Prefixes, x.entry.Prefix) && failed == "" {
			failed = c.Name
		}
	}
	verdict := "site " + h.Site + " is " + h.Verdict
	if !h.Since.IsZero() {
		verdict += " for " + short(h.Since)
	}
	switch {
	case h.Verdict == "down" || h.Verdict == "suppressed":
		x.step(StepProbe, false, first(h.Reason, "site-down"), join(verdict, h.Reason, h.Detail), ev...)
	case failed != "":
		x.step(StepProbe, false, "probe-failed", "check "+failed+" fails, which stands for this prefix", ev...)
	case h.HoldDownSeconds > 0:
		x.step(StepProbe, false, "hold-down", fmt.Sprintf("%s, trusted again in %.0fs", verdict, h.HoldDownSeconds), ev...)
	default:
		x.step(StepProbe, true, h.Reason, join(verdict, h.Reason, h.Detail), ev...)
	}
}

func checkEvidence(c Check) string {
	s := c.Name + " (" + strings.TrimSpace(c.Kind+" "+c.Method)
	if c.Target != "" {
		s += " " + c.Target
	}
	s += ") "
	switch {
	case !c.Measured:
		return s + "not measured yet"
	case c.Up && c.RTTMillis > 0:
		return s + fmt.Sprintf("up, %.1f ms", c.RTTMillis)
	case c.Up:
		return s + "up"
	default:
		return s + join(fmt.Sprintf("down, %d failures in a row", c.Failures), c.Reason)
	}
}

// announced says who is told, and whether anybody is there to listen.
func (x *explainer) announced() {
	to := x.entry.AnnouncedTo
	if h := find(x.entry.HeldBack, func(h *HeldBack) bool { return h.Reason == "quota" }); h != nil {
		x.step(StepAnnounced, false, h.Reason, join("not told to group "+h.Group, h.Reason, h.Detail), "announced to "+first(strings.Join(to, ", "), "nobody"))
		return
	}
	if h := find(x.entry.HeldBack, func(h *HeldBack) bool { return h.Reason == "aggregated" }); h != nil && len(to) == 0 {
		x.step(StepAnnounced, true, h.Reason, fmt.Sprintf("group %s is told the aggregate: %s", h.Group, h.Detail))
		return
	}
	// What comes from the TGW or a router may have nobody behind us to tell.
	if len(to) == 0 && x.out.Site == "" && (x.entry.Reason == "" || x.entry.Reason == "no-audience") {
		x.skip(StepAnnounced, "there is no neighbor to tell")
		return
	}
	if len(to) == 0 {
		reason := first(x.entry.Reason, x.blame(), "not-announced")
		x.step(StepAnnounced, false, reason, join("announced to nobody", because(reason, x.entry.Detail)))
		return
	}
	var ev []string
	for _, h := range x.entry.HeldBack {
		ev = append(ev, join("not told to group "+h.Group, because(h.Reason, h.Detail)))
	}
	listening := 0
	tgw, tgwListens := false, false
	for _, name := range to {
		n := find(x.view.Neighbors, func(n *Neighbor) bool { return n.Name == name })
		isTGW := n != nil && n.Kind == "tgw"
		tgw = tgw || isTGW
		if n != nil && n.State == "Established" {
			listening++
			tgwListens = tgwListens || isTGW
		} else if n != nil {
			ev = append(ev, join(name+" is in state "+n.State, n.LossReason))
		}
	}
	text := "announced to " + strings.Join(to, ", ")
	if x.entry.Rank != "" {
		text += " with rank " + x.entry.Rank
	}
	if listening == 0 {
		x.step(StepAnnounced, false, "no-audience", text+", and none of them is Established", ev...)
		return
	}
	if tgw && !tgwListens { // other sites may hear it, those behind the TGW do not
		x.step(StepAnnounced, false, "no-audience", text+", and no session to the TGW is Established", ev...)
		return
	}
	x.step(StepAnnounced, true, "", text, ev...)
}

// finish tells causes from consequences and names the first broken link.
func (x *explainer) finish() {
	broken := map[string]bool{}
	for _, s := range x.out.Steps {
		broken[s.Name] = !s.OK
	}
	for i := range x.out.Steps {
		s := &x.out.Steps[i]
		if s.OK {
			continue
		}
		c := causes[s.Reason]
		if s.Reason == "bfd-down" && broken[StepProbe] {
			c = StepProbe // a site's: its session is evidence about it
		}
		if c != s.Name && broken[c] {
			s.CausedBy = c
		}
	}
	x.out.OK = !slices.Contains(values(broken), true)
	if x.out.OK {
		x.out.Verdict = "every link is in place"
		return
	}
	for _, s := range x.out.Steps {
		if !s.OK && s.CausedBy == "" {
			x.out.Broken, x.out.Verdict = s.Name, s.Text
			return
		}
	}
	// Links that accuse each other in a circle: the first one stands.
	for _, s := range x.out.Steps {
		if !s.OK {
			x.out.Broken, x.out.Verdict = s.Name, s.Text
			return
		}
	}
}

func values(m map[string]bool) []bool {
	out := make([]bool, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	return out
}
