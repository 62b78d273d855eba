package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/wgbgp/wgbgp/internal/api"
)

func frontCommand() command {
	return command{
		use: "front", short: "Where clients find this host: targets of load balancers and DNS records, as the daemon last read them",
		do: func(ctx context.Context, a *app, _ []string) error {
			return query(ctx, a, func(ctx context.Context, c *api.Client) (api.AWSFront, error) { return c.AWSFront(ctx) }, renderAWSFront)
		},
	}
}

func renderAWSFront(f api.AWSFront) document {
	b := block{pairs: true}
	b.add("Read", word(f.Read.IsZero(), "never", ago(f.Read, "")+" ago"))
	if f.Error != "" {
		b.add("Error", f.Error)
		b.add("Next try", fmt.Sprintf("in %.0fs", f.RetrySeconds))
	}
	d := document{b}
	if len(f.Targets) > 0 {
		t := block{head: []string{"Target group", "Target", "Port", "State", "Others healthy", "Action", "Why"}}
		for _, x := range f.Targets {
			state := dash(x.State)
			if x.Reason != "" {
				state += " (" + x.Reason + ")"
			}
			t.add(x.Name, dash(x.ID), fmt.Sprint(x.Port), state, fmt.Sprintf("%d of %d", x.Healthy, x.Others), x.Action, x.Why)
		}
		d = append(d, t)
	}
	if len(f.Records) > 0 {
		t := block{head: []string{"Record", "Name", "Set identifier", "Present", "Action", "Why"}}
		for _, x := range f.Records {
			var present []string
			for _, p := range x.Present {
				present = append(present, p.Type+" "+strings.Join(p.Values, ",")+word(p.Policy == "weighted", fmt.Sprintf(" weight %d", p.Weight), ""))
			}
			t.add(x.Name, x.Record, x.SetID, dash(strings.Join(present, "; ")), word(x.Problem, "PROBLEM", x.Action), x.Why)
		}
		d = append(d, t)
	}
	return d
}
