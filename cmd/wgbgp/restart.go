package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/wgbgp/wgbgp/internal/api"
)

func doRestart(ctx context.Context, a *app, checkOnly, force bool) error {
	if !checkOnly {
		return query(ctx, a, func(ctx context.Context, c *api.Client) (api.Done, error) { return c.Restart(ctx, force) }, renderDone)
	}
	var r api.Restart
	err := query(ctx, a, func(ctx context.Context, c *api.Client) (_ api.Restart, err error) {
		r, err = c.RestartCost(ctx)
		return r, err
	}, renderRestart)
	if err == nil && r.Refused != "" {
		err = api.Errorf(api.CodeDegraded, "a restart would cost traffic")
	}
	return err
}

func renderRestart(r api.Restart) document {
	b := block{pairs: true}
	b.add("Program", r.Program)
	b.add("Forwarding", word(r.Forwards, "goes on: the kernel has all tunnels", "ends with the process: embedded tunnels"))
	b.add("Keep routes", dash(strings.Join(r.Keep, ", ")))
	b.add("Lose routes", dash(strings.Join(r.Lose, ", ")))
	b.add("Takes over", dash(r.Partner))
	b.add("Nobody else has", fmt.Sprintf("%d prefixes", r.Alone))
	b.add("Verdict", word(r.Refused == "", "costs nothing", r.Refused))
	return document{b}
}
