package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/wgbgp/wgbgp/internal/api"
)

// haCommand is who speaks for the sites.
func haCommand() command {
	var keep bool
	steer := func(order string, max int, short string) command {
		flags := func(f *pflag.FlagSet) { f.BoolVar(&keep, "keep", false, "also after a restart of the daemon") }
		if order == api.OrderFailback {
			flags = nil // the rule needs no keeping
		}
		use := order + " [SITE]"
		low := 0
		if order == api.OrderTakeover {
			use, low = order+" SITE", 1
		}
		return command{
			use: use, short: short, min: low, max: max, complete: completeSites,
			do: func(ctx context.Context, a *app, args []string) error {
				return query(ctx, a, func(ctx context.Context, c *api.Client) (api.Done, error) {
					return c.Steer(ctx, arg(args, 0), order, keep)
				}, renderDone)
			},
			flags: flags,
		}
	}
	return command{use: "ha", short: "Who speaks for the sites, and orders about it", sub: []command{
		{
			use: "status [SITE]", short: "This host's rank for each site, who else speaks for it, since when and why", max: 1, complete: completeSites,
			do: func(ctx context.Context, a *app, args []string) error {
				return query(ctx, a, func(ctx context.Context, c *api.Client) (api.HAList, error) { return c.HA(ctx, arg(args, 0)) }, renderHA)
			},
		},
		steer(api.OrderFailover, 1, "Let the other host that holds the site speak for it"),
		steer(api.OrderFailback, 1, "Speak for the site as configured again"),
		steer(api.OrderTakeover, 1, "Outbid every other host for the site, until failback"),
	}}
}

func renderHA(l api.HAList) document {
	t := block{head: []string{"Site", "Verdict", "Since", "Role", "Rank", "Other host", "Heard elsewhere", "Why"}}
	for _, s := range l.Sites {
		why, heard := "", ""
		if x := s.Elsewhere; x != nil {
			heard = fmt.Sprintf("%s %s ago at %s", x.Host, ago(x.Heard, "-"), x.Endpoint) + word(x.Greeting != "", ", greeted", "")
		}
		switch {
		case s.Order != "":
			why = fmt.Sprintf("%s ordered %s ago by %s", s.Order, ago(s.Given, "-"), dash(s.By))
		case s.OutbidSeconds > 0:
			why = fmt.Sprintf("outbids the routes of a dead host for %.0fs", s.OutbidSeconds)
		case s.Waits:
			why = "came back and does not preempt: wgbgp ha failback " + s.Site
		}
		t.add(s.Site, s.Verdict, ago(s.Since, "-"), s.Role, dash(s.Rank), dash(s.Holder), dash(heard), why)
	}
	d := document{t}
	for _, more := range []block{renderTold(l.Sites), renderHosts(l.Hosts)} {
		if len(more.rows) > 0 {
			d = append(d, more)
		}
	}
	return d
}

// renderTold lists the hosts that tell prefixes of a site.
func renderTold(sites []api.HASite) block {
	t := block{head: []string{"Site", "Told by", "Region", "Rank", "Since", "State"}}
	for _, s := range sites {
		for _, o := range s.Others {
			t.add(s.Site, o.Host, dash(o.Region), dash(o.Rank), ago(o.Since, "-"), word(o.Dead, "believed dead", "alive"))
		}
	}
	return t
}

// renderHosts lists the fleet by region.
func renderHosts(hosts []api.HAHost) block {
	t := block{head: []string{"Host", "Region", "Session", "Since", "Tells", "Carries", "Why not"}}
	for _, h := range hosts {
		why := because(h.Reason, h.Detail)
		if h.Died != (api.Stamp{}) {
			why = fmt.Sprintf("believed dead for %s: %s", ago(h.Died, "-"), why)
		}
		t.add(h.Host, dash(h.Region), h.State, ago(h.Since, "-"), strconv.Itoa(h.Told), strconv.Itoa(h.Carries), why)
	}
	return t
}
