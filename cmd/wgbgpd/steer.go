package main

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
)

// steered remembers who gave the orders in force, by site.
type steered struct {
	mu sync.Mutex
	by map[string]given
}

type given struct {
	order, by string
	at        time.Time
}

// note remembers an order; mu held, or nobody else is there yet.
func (s *steered) note(site, order, by string, at time.Time) {
	if s.by == nil {
		s.by = map[string]given{}
	}
	s.by[site] = given{order, by, at}
}

// Steer carries out an operator's order on who speaks for a site, or all.
func (b *backend) Steer(ctx context.Context, o api.Steer) error {
	sites, err := read(ctx, b, func(c *ha.Core, now time.Time) []ha.Speech { return c.Speeches(now) })
	if err != nil {
		return err
	}
	order, now := ha.Steer(o.Order), time.Now()
	b.orders.mu.Lock()
	defer b.orders.mu.Unlock()
	for _, s := range sites {
		if o.Site != "" && s.Site != o.Site {
			continue
		}
		if order == ha.SteerFailover && s.Holder == "" && o.Site != "" {
			return api.Refused("site %s: no other host of the fleet speaks for it", s.Site).WithHint("wgbgp ha status")
		}
		b.orders.note(s.Site, o.Order, o.By, now)
	}
	if err := b.kept.steer(o, now); err != nil {
		return err
	}
	b.loop.inbox.put(ha.SiteSteered{Site: o.Site, Order: order})
	return nil
}

// HA lists who speaks for each site, and the fleet.
func (b *backend) HA(ctx context.Context) (api.HAList, error) {
	return read(ctx, b, func(c *ha.Core, now time.Time) api.HAList {
		b.orders.mu.Lock()
		defer b.orders.mu.Unlock()
		out := api.HAList{Region: c.Config().Gateway.Region}
		for _, p := range c.Partners() {
			out.Hosts = append(out.Hosts, api.HAHost{
				Host: p.Host, Region: p.Region, State: string(cmp.Or(p.State, bgp.StateIdle)), Since: api.At(p.Since, now), Died: api.At(p.Died, now),
				Told: p.Told, Carries: p.Carries, Reason: string(p.Reason), Detail: p.Detail,
			})
		}
		speeches := c.Speeches(now)
		for i, v := range c.Sites(now, "") {
			if v.Config.Link {
				continue
			}
			s := speeches[i]
			x := api.HASite{
				Site: s.Site, Verdict: string(v.Judged.Verdict), Since: api.At(v.Judged.Since, now), Role: string(v.Config.Role),
				Rank: string(s.Rank), Holder: s.Holder, Waits: s.Waits && (s.Rank == ha.RankIndirect || s.Rank == ha.RankRemote), Order: string(s.Steer),
			}
			if g := b.orders.by[s.Site]; g.order == x.Order && x.Order != "" {
				x.By, x.Given = g.by, api.At(g.at, now)
			}
			x.Elsewhere = elsewhere(&v, now)
			if !s.Until.IsZero() {
				x.OutbidSeconds = s.Until.Sub(now).Seconds()
			}
			for _, o := range s.Others {
				x.Others = append(x.Others, api.HAOther{Host: o.Host, Region: cmp.Or(o.Region, out.Region), Rank: string(o.Rank), Since: api.At(o.Since, now), Dead: o.Dead})
			}
			out.Sites = append(out.Sites, x)
		}
		return out
	})
}
