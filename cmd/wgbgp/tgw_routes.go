package main

import (
	"context"
	"fmt"

	"github.com/wgbgp/wgbgp/internal/api"
)

func routesCommand() command {
	return command{
		use: "routes", short: "Entries of AWS route tables that follow the sites, as the daemon last read them",
		do: func(ctx context.Context, a *app, _ []string) error {
			return query(ctx, a, func(ctx context.Context, c *api.Client) (api.AWSRouteList, error) { return c.AWSRoutes(ctx) }, renderAWSRoutes)
		},
	}
}

func renderAWSRoutes(l api.AWSRouteList) document {
	t := block{head: []string{"Rule", "Table", "Prefix", "Leads to", "Carried by", "Action", "Read", "Written", "Why"}}
	for _, e := range l.Entries {
		target := word(e.Present, dash(e.Target), "-")
		if e.Blackhole {
			target += " (blackhole)"
		}
		action := e.Action
		if e.Problem {
			action = "PROBLEM"
		}
		t.add(e.Rule, e.Table, e.Prefix.String(), target, e.Holder, action, ago(e.Read, "-"), ago(e.Written, "-"), e.Why)
	}
	d := document{t}
	if l.Error != "" {
		b := block{pairs: true}
		b.add("Error", l.Error)
		if l.RetrySeconds > 0 {
			b.add("Next try", fmt.Sprintf("in %.0fs", l.RetrySeconds))
		}
		d = append(d, b)
	}
	return d
}
