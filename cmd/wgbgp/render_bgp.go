package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/internal/api"
)

// renderNeighbors has gobgp's columns, then ours.
func renderNeighbors(l api.NeighborList) document {
	t := block{
		head:  []string{"Peer", "AS", "Up/Down", "State", "AF", "BFD", "|#Received", "Accepted", "Announced", "Name", "Reason"},
		right: "lrrlllrrrll",
	}
	d := document{t}
	var hints []string
	for _, n := range l.Neighbors {
		d[0].add(neighborAddress(n), asn(n.ASN), ago(n.Since, "never"), n.State, dash(families(n.Families)), dash(n.BFD),
			fmt.Sprintf("|%9d", n.Received), fmt.Sprint(n.Accepted), fmt.Sprint(n.Announced), n.Name, neighborReason(n))
		if n.Hint != "" {
			hints = append(hints, n.Name+": "+n.Hint)
		}
	}
	if len(hints) > 0 {
		d = append(d, text(hints...))
	}
	return d
}

// neighborAddress is a range for one that accepts whoever dials from there.
func neighborAddress(n api.Neighbor) string {
	if n.Range.IsValid() {
		return n.Range.String()
	}
	return addr(n.Address)
}

// neighborReason is why the session is not up; a session that is up has none.
func neighborReason(n api.Neighbor) string {
	switch {
	case n.Error != "":
		return n.Error
	case n.State == "Established" || n.State == api.StatePolicy:
		return ""
	}
	return n.LossReason
}

func asn(v uint32) string { return strconv.FormatUint(uint64(v), 10) }

func families(l []string) string {
	out := make([]string, len(l))
	for i, f := range l {
		out[i] = strings.TrimPrefix(f, "ip")
	}
	return strings.Join(out, "+")
}

func renderNeighbor(l api.NeighborList) document {
	var d document
	for _, n := range l.Neighbors {
		b := block{pairs: true}
		b.add("Neighbor", n.Name)
		b.add("Kind", n.Kind+word(n.Group != "", ", group "+n.Group, ""))
		if n.Site != "" {
			b.add("Site", n.Site)
		}
		b.add("Address", neighborAddress(n)+", AS "+word(n.ASN == 0, "any", asn(n.ASN)))
		if n.Range.IsValid() {
			b.add("Sessions", fmt.Sprintf("at most %d", n.MaxSessions))
		}
		b.add("Origin", origin(n))
		b.add("Local", dash(addr(n.LocalAddress))+", AS "+asn(n.LocalASN))
		b.add("Router ID", dash(addr(n.RouterID)))
		b.add("State", n.State)
		b.add("Since", ago(n.Since, "never"))
		b.add("Last loss", dash(n.LossReason))
		b.add("Timers", fmt.Sprintf("hold %ds, keepalive %ds", n.HoldTimeSeconds, n.KeepaliveSeconds))
		b.add("Families", dash(strings.Join(n.Families, ", ")))
		b.add("End-of-RIB", "ipv4 "+yes(n.EndOfRIB4)+", ipv6 "+yes(n.EndOfRIB6))
		b.add("BFD", dash(n.BFD))
		b.add("Prefixes", fmt.Sprintf("%d received, %d accepted, %d rejected, %d announced", n.Received, n.Accepted, n.Rejected, n.Announced))
		b.add("Max prefixes", word(n.MaxPrefixes > 0, fmt.Sprintf("%d per family", n.MaxPrefixes), "-"))
		b.add("Announce limit", word(n.AnnounceLimit > 0, fmt.Sprint(n.AnnounceLimit), "-"))
		b.add("Messages", fmt.Sprintf("%d in, %d out, %d updates out", n.MessagesIn, n.MessagesOut, n.UpdatesOut))
		if n.Error != "" {
			b.add("Error", n.Error)
		}
		if n.Hint != "" {
			b.add("Hint", n.Hint)
		}
		d = append(d, b)
	}
	return d
}

// origin says who named the neighbor: the file, whoever dialled, or AWS.
func origin(n api.Neighbor) string {
	o := n.Origin
	switch o.Source {
	case api.OriginRange:
		return "it dialled, in the range of " + n.Dynamic
	case api.OriginConnectPeer:
		return fmt.Sprintf("discovered: Connect peer %s of %s, for tgw-connect %s", o.ID, o.Parent, o.Entry)
	case api.OriginRouteServer:
		return fmt.Sprintf("discovered: Route Server peer %s of %s, for neighbor %s", o.ID, o.Parent, o.Entry)
	}
	return o.Source
}

func renderAdjIn(v api.AdjIn) document {
	d := document{pathTable(v.Paths)}
	if len(v.Rejected) > 0 {
		t := block{title: "Rejected by policy:", head: []string{"", "Network", "Reason"}}
		for _, r := range v.Rejected {
			t.add("!", r.Prefix.String(), r.Reason)
		}
		d = append(d, t)
	}
	return d
}

func renderAdjOut(v api.AdjOut) document { return document{pathTable(v.Paths)} }

func pathTable(l []api.Path) block {
	t := block{head: []string{"", "Network", "Next Hop", "AS_PATH", "Age", "Attrs"}}
	for _, p := range l {
		t.add("*"+word(p.Stale, "S", ""), p.Prefix.String(), dash(addr(p.NextHop)), asPath(p.Attrs), ago(p.Since, "-"), attrs(p.Attrs))
	}
	return t
}

// renderRIB has gobgp's columns and marks (* usable, > best, S stale), then
// where a path is from and why it is or is not best.
func renderRIB(v api.RIB) document {
	t := block{head: []string{"", "Network", "Next Hop", "AS_PATH", "Age", "Attrs", "From", "Why"}}
	for _, e := range v.Prefixes {
		if len(e.Paths) == 0 {
			t.add("", e.Prefix.String(), "-", "-", "-", "-", "-", because(e.Reason, e.Detail))
		}
		for _, p := range e.Paths {
			mark := word(p.Usable, "*", "") + word(p.Stale, "S", "") + word(p.Best, ">", "")
			t.add(mark, e.Prefix.String(), dash(addr(p.NextHop)), asPath(p.Attrs), ago(p.Since, "-"), attrs(p.Attrs),
				dash(from(p)), because(because(p.Reason, p.Detail), p.Asked))
		}
	}
	return document{t}
}

// renderPrefix adds who is told to the table.
func renderPrefix(v api.RIB) document {
	d := renderRIB(v)
	t := block{head: []string{"Prefix", "Announced to", "Rank", "Reason"}}
	for _, e := range v.Prefixes {
		t.add(e.Prefix.String(), dash(strings.Join(e.AnnouncedTo, " ")), dash(e.Rank), because(e.Reason, e.Detail))
		if len(e.AnnouncedTo) == 0 {
			continue
		}
		for _, h := range e.HeldBack {
			t.add("", "not to "+h.Group, "", because(h.Reason, h.Detail))
		}
	}
	return append(d, t)
}

func from(p api.RIBPath) string {
	switch {
	case p.Site != "" && p.Source == api.SourceConfigured:
		return "site " + p.Site + " (configured)"
	case p.Site != "":
		return "site " + p.Site
	case p.Neighbor != "":
		return p.Neighbor
	}
	return p.Source
}

func asPath(a api.Attrs) string {
	if len(a.ASPath) == 0 {
		return "-"
	}
	s := make([]string, len(a.ASPath))
	for i, n := range a.ASPath {
		s[i] = asn(n)
	}
	return strings.Join(s, " ")
}

// attrs is written as gobgp writes it.
func attrs(a api.Attrs) string {
	var out []string
	add := func(k, v string) { out = append(out, "{"+k+": "+v+"}") }
	if a.Origin != "" {
		o := map[string]string{"igp": "i", "egp": "e", "incomplete": "?"}[a.Origin]
		add("Origin", dash(o))
	}
	if a.MED != nil {
		add("Med", asn(*a.MED))
	}
	if a.LocalPref != 0 {
		add("LocalPref", asn(a.LocalPref))
	}
	if len(a.Communities) > 0 {
		add("Communities", strings.Join(a.Communities, ", "))
	}
	if len(a.LargeCommunities) > 0 {
		add("LargeCommunity", strings.Join(a.LargeCommunities, ", "))
	}
	return "[" + strings.Join(out, " ") + "]"
}

func renderRoutes(v api.RouteList) document {
	t := block{head: []string{"Prefix", "Type", "Table", "Metric", "Proto", "Status", "Next hops", "Site", "Detail"}, right: "llrrr"}
	for _, r := range v.Routes {
		status := r.Status
		if r.Foreign {
			status = "foreign"
		}
		table := asn(r.Table)
		if r.VRF != "" {
			table = r.VRF
		}
		t.add(r.Prefix.String(), r.Type, table, asn(r.Metric), fmt.Sprint(r.Protocol), status, dash(nextHops(r.NextHops)), dash(r.Site), r.Detail)
	}
	return document{t}
}

func nextHops(l []api.NextHop) string {
	out := make([]string, len(l))
	for i, n := range l {
		var s []string
		if n.Gateway.IsValid() && n.Gateway != (netip.Addr{}) {
			s = append(s, "via "+n.Gateway.String())
		}
		if n.Interface != "" {
			s = append(s, "dev "+n.Interface)
		}
		if n.Weight > 1 {
			s = append(s, fmt.Sprintf("weight %d", n.Weight))
		}
		if n.Backup {
			s = append(s, "backup")
		}
		out[i] = strings.Join(s, " ")
	}
	return strings.Join(out, ", ")
}
