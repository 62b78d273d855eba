package routing

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

var noAttrs = &bgp.Attrs{}

// Decide says what follows from the configuration and the learned paths.
func Decide(t *TGW, paths []Path) *Decision {
	d := &Decision{
		Told: map[string][]Route{}, Excess: map[string]int{},
		index: map[string]int{}, attachments: map[string]Attachment{},
	}
	for _, a := range t.Attachments {
		d.attachments[a.ID] = a
	}
	// What each attachment propagates, wherever that goes.
	brings := map[string]map[netip.Prefix][]candidate{}
	for _, a := range t.Attachments {
		of := map[netip.Prefix][]candidate{}
		for _, n := range a.Networks {
			of[n.Masked()] = []candidate{{via: Via{Attachment: a.ID, ResourceID: a.ResourceID, Type: a.Type}, attrs: noAttrs}}
		}
		brings[a.ID] = of
	}
	for _, p := range t.Peers {
		a, ok := d.attachments[p.Attachment]
		if !ok {
			continue
		}
		merged, excess := t.learned(p, a, paths)
		if excess > 0 {
			d.Excess[p.ID] = excess
		}
		for prefix, c := range merged {
			brings[a.ID][prefix] = append(brings[a.ID][prefix], c)
		}
	}
	left := t.limits().All
	for i, table := range t.Tables {
		d.index[table.ID] = i
		routes := d.table(t, table, brings)
		if n := len(routes); n > left { // assumed: the table is full, and what is there stays
			d.Beyond += n - left
			routes = routes[:left]
		}
		left -= len(routes)
		d.Tables = append(d.Tables, TableRoutes{ID: table.ID, Routes: routes})
	}
	for _, p := range t.Peers {
		d.Told[p.ID] = d.told(t, p)
	}
	return d
}

// table chooses for every prefix of one table. Static routes enter their own
// table only, propagated ones those that the attachment propagates to [HOW].
func (d *Decision) table(t *TGW, table Table, brings map[string]map[netip.Prefix][]candidate) []Route {
	all := map[netip.Prefix][]candidate{}
	for _, s := range table.Static {
		a, ok := d.attachments[s.Attachment]
		c := candidate{static: true, prefixList: s.PrefixList, blackhole: s.Blackhole || !ok, attrs: noAttrs}
		if ok && !s.Blackhole { // the route of an attachment that is gone is a blackhole [API, state]
			c.via = Via{Attachment: a.ID, ResourceID: a.ResourceID, Type: a.Type}
		}
		all[s.Prefix.Masked()] = append(all[s.Prefix.Masked()], c)
	}
	for _, a := range t.Attachments {
		if !slices.Contains(a.Propagates, table.ID) {
			continue
		}
		for prefix, cs := range brings[a.ID] {
			all[prefix] = append(all[prefix], cs...)
		}
	}
	routes := make([]Route, 0, len(all))
	for _, prefix := range slices.SortedFunc(maps.Keys(all), bgp.ComparePrefix) {
		best := winners(all[prefix])
		r := Route{Prefix: prefix, Static: best[0].static, Blackhole: best[0].blackhole, PrefixList: best[0].prefixList, Attrs: best[0].attrs}
		if !r.Blackhole {
			for _, c := range best {
				r.Via = append(r.Via, c.via)
			}
		}
		routes = append(routes, r)
	}
	return routes
}

// told is what a Connect peer's sessions are told: every route of the table that
// is associated with its attachment [HOW], unless the attachment has a policy
// table, which stops all advertisement [PBR-LIM]. Routes of other Connect peers
// are among them, also those that the appliance must drop because its own ASN is
// in their AS_PATH. Assumed: a route does not go back to the peer that it is
// from, and neither do blackholes go out.
func (d *Decision) told(t *TGW, p Peer) []Route {
	a, ok := d.attachments[p.Attachment]
	if !ok || a.PolicyTable || a.Table == "" {
		return nil
	}
	var told []Route
	for _, r := range d.Table(a.Table) {
		if r.Blackhole || r.Via[0].Peer == p.ID {
			continue
		}
		told = append(told, r)
	}
	if limit := t.limits().ToPeer; len(told) > limit { // [QUOTA]; assumed: which ones
		told = told[:limit]
	}
	return told
}
