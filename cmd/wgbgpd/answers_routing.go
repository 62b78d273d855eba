package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
)

// AdjIn is what one neighbor sent.
func (b *backend) AdjIn(_ context.Context, name string) (api.AdjIn, error) {
	now := time.Now()
	paths, rejected := b.gateway.speaker.AdjIn(name)
	a := api.AdjIn{Schema: api.Schema, Neighbor: name}
	for i := range paths {
		a.Paths = append(a.Paths, path(&paths[i], now))
	}
	for _, r := range rejected {
		a.Rejected = append(a.Rejected, api.Rejected{Prefix: r.Prefix, PathID: r.ID, Reason: r.Reason})
	}
	return a, nil
}

// AdjOut is what one neighbor is sent.
func (b *backend) AdjOut(_ context.Context, name string) (api.AdjOut, error) {
	now := time.Now()
	a := api.AdjOut{Schema: api.Schema, Neighbor: name}
	paths, err := b.gateway.speaker.AdjOut(name)
	if err != nil {
		return a, err
	}
	for i := range paths {
		a.Paths = append(a.Paths, path(&paths[i], now))
	}
	return a, nil
}

func path(p *bgp.Path, now time.Time) api.Path {
	return api.Path{
		Prefix: p.Prefix, NextHop: p.NextHop, Neighbor: p.Neighbor, PathID: p.ID, Attrs: attrs(p.Attrs), Since: api.At(p.Since, now), Stale: p.Stale,
	}
}

func attrs(a *bgp.Attrs) api.Attrs {
	if a == nil {
		return api.Attrs{}
	}
	out := api.Attrs{Origin: [...]string{"igp", "egp", "incomplete"}[min(a.Origin, 2)], LocalPref: a.LocalPref}
	for _, n := range a.ASPath {
		out.ASPath = append(out.ASPath, uint32(n))
	}
	if a.HasMED {
		out.MED = &a.MED
	}
	for _, c := range a.Communities {
		out.Communities = append(out.Communities, c.String())
	}
	for _, c := range a.Large {
		out.LargeCommunities = append(out.LargeCommunities, fmt.Sprintf("%d:%d:%d", c.Global, c.Data1, c.Data2))
	}
	return out
}

// RIB lists the prefixes that q selects.
func (b *backend) RIB(ctx context.Context, q api.PrefixQuery) ([]api.RIBEntry, error) {
	return b.entries(ctx, q.Matches)
}

func (b *backend) entries(ctx context.Context, wanted func(netip.Prefix) bool) ([]api.RIBEntry, error) {
	return read(ctx, b, func(c *ha.Core, now time.Time) []api.RIBEntry {
		groups := map[string][]string{}
		c.Sessions(func(n *bgp.Neighbor, _ bgp.NeighborState) {
			if n.Export && !n.Range.IsValid() && c.Untold(n.Name) == "" {
				groups[n.Group] = append(groups[n.Group], n.Name)
			}
		})
		var out []api.RIBEntry
		for _, e := range c.Entries(wanted) {
			out = append(out, ribEntry(e, groups, now))
		}
		return out
	})
}

func ribEntry(e ha.EntryView, groups map[string][]string, now time.Time) api.RIBEntry {
	a := api.RIBEntry{Prefix: e.Prefix}
	for _, p := range e.Paths {
		x := api.RIBPath{
			Source: source(p.Path != nil), Site: p.Site, Neighbor: p.From, Best: p.Best, Usable: p.Usable, Reason: string(p.Reason), Detail: p.Detail,
		}
		if !p.Best {
			x.DecidedBy = string(p.Decided)
		}
		if p.Reason == "" && x.DecidedBy != "" {
			x.Reason, x.Detail = string(ha.ReasonNotBest), "decided by "+p.Decided.Text()
		}
		x.Asked, x.Blackhole = p.Asked, p.Blackhole
		if p.Aggregate {
			x.Source = api.SourceAggregate
		}
		if p.Path != nil {
			x.PathID = p.Path.ID
			x.NextHop, x.Attrs, x.Since, x.Stale = p.Path.NextHop, attrs(p.Path.Attrs), api.At(p.Path.Since, now), p.Path.Stale
		}
		a.Paths = append(a.Paths, x)
	}
	for _, h := range e.Withheld {
		if h.Group != "" {
			a.HeldBack = append(a.HeldBack, api.HeldBack{Group: h.Group, Reason: string(h.Reason), Detail: h.Detail})
		}
	}
	if e.Announced != nil {
		for _, x := range e.Announced.To {
			for _, n := range groups[x.Group] {
				if !slices.Contains(e.Announced.Except, n) {
					a.AnnouncedTo = append(a.AnnouncedTo, n)
				}
			}
		}
		slices.Sort(a.AnnouncedTo)
		a.Rank = string(e.Rank)
		return a
	}
	if len(e.Withheld) > 0 {
		a.Reason, a.Detail = string(e.Withheld[0].Reason), e.Withheld[0].Detail
	}
	return a
}

// Routes lists the kernel routes that q selects, wanted and foreign.
func (b *backend) Routes(ctx context.Context, q api.PrefixQuery) ([]api.Route, error) {
	return b.routes(ctx, q.Matches)
}

func (b *backend) routes(ctx context.Context, wanted func(netip.Prefix) bool) ([]api.Route, error) {
	return read(ctx, b, func(c *ha.Core, _ time.Time) []api.Route {
		routes, foreign := c.Routes(wanted)
		sites := map[string]string{}
		for i := range c.Config().Sites {
			s := &c.Config().Sites[i]
			if _, shared := sites[s.Device]; shared {
				sites[s.Device] = "" // several peers: the device alone does not tell
			} else {
				sites[s.Device] = s.Name
			}
		}
		f := c.Config().FIB
		var out []api.Route
		for _, r := range routes {
			out = append(out, route(r, f, sites))
		}
		for _, x := range foreign {
			out = append(out, api.Route{
				Prefix: x.Prefix, Table: x.Table, Type: api.RouteUnicast, Protocol: x.Protocol, Status: api.RouteInstalled, Detail: x.Detail, Foreign: true,
			})
		}
		slices.SortStableFunc(out, func(a, b api.Route) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
		return out
	})
}

func route(r ha.RouteView, f ha.FIB, sites map[string]string) api.Route {
	a := api.Route{
		Prefix: r.Prefix, Table: f.Table, VRF: f.VRF, Type: api.RouteUnicast, Metric: r.Metric, Protocol: f.Protocol, Source: r.Source,
		Status: api.RouteInstalled,
	}
	if r.Type == bgp.BlackholeRoute {
		a.Type = api.RouteBlackhole
	}
	for _, h := range r.NextHops {
		a.NextHops = append(a.NextHops, api.NextHop{Gateway: h.Gateway, Interface: h.Device, Weight: max(h.Weight, 1), Site: sites[h.Device], Backup: h.Backup})
	}
	switch {
	case r.Pending:
		a.Status = api.RoutePending
	case r.Report != nil:
		a.Status, a.Detail = api.RouteFailed, r.Report.Detail
		if r.Report.Status == bgp.RouteShadowed {
			a.Status = api.RouteShadowed
		}
	}
	return a
}

// Explain follows one prefix, or the longest match of an address, through the
// gateway. Only what overlaps the question is looked at.
func (b *backend) Explain(ctx context.Context, q api.ExplainQuery) (api.Explain, error) {
	near := func(p netip.Prefix) bool { return p.Overlaps(q.Prefix) }
	var v api.View
	var err error
	gather := func(fn func() error) {
		if err == nil {
			err = fn()
		}
	}
	gather(func() (e error) { v.Status, e = b.Status(ctx); return e })
	gather(func() (e error) { v.RIB, e = b.entries(ctx, near); return e })
	gather(func() (e error) { v.Routes, e = b.routes(ctx, near); return e })
	gather(func() (e error) { v.Sites, e = b.Sites(ctx); return e })
	gather(func() (e error) { v.Peers, e = b.Peers(ctx); return e })
	gather(func() (e error) { v.Neighbors, e = b.Neighbors(ctx); return e })
	gather(func() (e error) { v.Health, e = b.Health(ctx); return e })
	if err != nil {
		return api.Explain{}, err
	}
	for _, r := range b.gateway.speaker.Refused(near) {
		v.Refused = append(v.Refused, api.RefusedPath{Neighbor: r.Neighbor, Rejected: api.Rejected{Prefix: r.Prefix, PathID: r.ID, Reason: r.Reason}})
	}
	return api.ExplainFrom(q, v), nil
}
