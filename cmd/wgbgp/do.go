package main

import (
	"context"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
)

func doStatus(ctx context.Context, a *app, _ []string) error {
	return query(ctx, a, func(ctx context.Context, c *api.Client) (api.Status, error) { return c.Status(ctx) }, renderStatus)
}

// arg is the i-th argument or nothing.
func arg(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

// oneOr takes the detailed form when one object was named.
func oneOr[T any](name string, one, all func(T) document) func(T) document {
	if name != "" {
		return one
	}
	return all
}

func doPeer(ctx context.Context, a *app, args []string) error {
	name := arg(args, 0)
	return query(ctx, a, func(ctx context.Context, c *api.Client) (api.PeerList, error) { return c.Peers(ctx, name) },
		oneOr(name, renderPeer, renderPeers))
}

func doSite(ctx context.Context, a *app, args []string, keep bool) error {
	name := arg(args, 0)
	if verb := arg(args, 1); verb != "" {
		return query(ctx, a, func(ctx context.Context, c *api.Client) (api.Done, error) {
			return c.SetSite(ctx, name, verb == "disable", keep)
		}, renderDone)
	}
	return query(ctx, a, func(ctx context.Context, c *api.Client) (api.SiteList, error) { return c.Sites(ctx, name) },
		oneOr(name, renderSite, renderSites))
}

// drainLimit bounds --wait of a drain: more than the phases can take together.
const drainLimit = 15 * time.Minute

func doDrain(ctx context.Context, a *app, reason string, keep, await bool) error {
	if err := query(ctx, a, func(ctx context.Context, c *api.Client) (api.Done, error) {
		return c.Drain(ctx, reason, keep)
	}, renderDone); err != nil || !await {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	for {
		var s api.Status
		err := a.ask(ctx, func(ctx context.Context, c *api.Client) (err error) { s, err = c.Status(ctx); return err })
		switch {
		case err != nil:
			return err
		case s.Drain == nil:
			return api.Refused("the drain was called off")
		case s.Drain.Phase == api.Drained:
			return nil
		}
		t := time.NewTimer(200 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			return api.AsError(ctx.Err())
		}
	}
}

func doUndrain(ctx context.Context, a *app, _ []string) error {
	return query(ctx, a, func(ctx context.Context, c *api.Client) (api.Done, error) { return c.Undrain(ctx) }, renderDone)
}

func doNeighbor(ctx context.Context, a *app, args []string) error {
	name := arg(args, 0)
	switch arg(args, 1) {
	case "adj-in":
		return query(ctx, a, func(ctx context.Context, c *api.Client) (api.AdjIn, error) { return c.AdjIn(ctx, name) }, renderAdjIn)
	case "adj-out":
		return query(ctx, a, func(ctx context.Context, c *api.Client) (api.AdjOut, error) { return c.AdjOut(ctx, name) }, renderAdjOut)
	case "reset":
		return query(ctx, a, func(ctx context.Context, c *api.Client) (api.Done, error) { return c.ResetNeighbor(ctx, name) }, renderDone)
	}
	return query(ctx, a, func(ctx context.Context, c *api.Client) (api.NeighborList, error) { return c.Neighbors(ctx, name) },
		oneOr(name, renderNeighbor, renderNeighbors))
}

func doBFD(ctx context.Context, a *app, args []string) error {
	return query(ctx, a, func(ctx context.Context, c *api.Client) (api.BFDList, error) { return c.BFD(ctx, arg(args, 0)) }, renderBFD)
}

func prefixArgs(args []string) (q api.PrefixQuery, err error) {
	if len(args) > 0 {
		q.Prefix, err = api.ParsePrefix(args[0])
	}
	q.Longer = arg(args, 1) == "longer-prefixes"
	return q, err
}

func doRIB(ctx context.Context, a *app, args []string) error {
	q, err := prefixArgs(args)
	if err != nil {
		return err
	}
	render := renderRIB
	if len(args) == 1 {
		render = renderPrefix
	}
	return query(ctx, a, func(ctx context.Context, c *api.Client) (api.RIB, error) { return c.RIB(ctx, q) }, render)
}

func doRoute(ctx context.Context, a *app, args []string) error {
	q, err := prefixArgs(args)
	if err != nil {
		return err
	}
	return query(ctx, a, func(ctx context.Context, c *api.Client) (api.RouteList, error) { return c.Routes(ctx, q) }, renderRoutes)
}

func doHealth(ctx context.Context, a *app, args []string) error {
	return query(ctx, a, func(ctx context.Context, c *api.Client) (api.HealthList, error) { return c.Health(ctx, arg(args, 0)) },
		renderHealth)
}

func doMTU(ctx context.Context, a *app, args []string) error {
	name := arg(args, 0)
	return query(ctx, a, func(ctx context.Context, c *api.Client) (api.MTUList, error) { return c.MTU(ctx, name) },
		oneOr(name, renderMTU, renderMTUs))
}

func doExplain(ctx context.Context, a *app, args []string) error {
	q, err := api.ParseExplainQuery(args[0])
	if err != nil {
		return err
	}
	var e api.Explain
	err = query(ctx, a, func(ctx context.Context, c *api.Client) (api.Explain, error) {
		var err error
		e, err = c.Explain(ctx, q)
		return e, err
	}, renderExplain)
	if err == nil && !e.OK {
		err = api.Errorf(api.CodeDegraded, "%s: broken at %s", e.Query, e.Broken)
	}
	return err
}

func doCheck(ctx context.Context, a *app, kernel bool) error {
	var r api.CheckReport
	err := query(ctx, a, func(ctx context.Context, c *api.Client) (api.CheckReport, error) {
		var err error
		if kernel {
			r, err = c.CheckKernel(ctx)
		} else {
			r, err = c.Check(ctx)
		}
		return r, err
	}, renderCheck)
	if err == nil && !r.OK {
		n := 0
		for _, p := range r.Problems {
			if p.Severity == api.SeverityError {
				n++
			}
		}
		err = api.Errorf(api.CodeDegraded, "check: %s", plural(n, "error"))
	}
	return err
}

// doVersion needs no daemon: one that does not answer is left out.
func doVersion(ctx context.Context, a *app, _ []string) error {
	v := versions{Schema: api.Schema, Client: api.RunningVersion()}
	if c, err := a.connect(); err == nil {
		ctx, cancel := context.WithTimeout(ctx, min(a.timeout, time.Second))
		defer cancel()
		if d, err := c.Version(ctx); err == nil {
			v.Daemon = &d
		}
	}
	return a.print(v, renderVersions(v))
}

func doCompletion(_ context.Context, a *app, args []string) error {
	var err error
	switch args[0] {
	case "bash":
		err = a.root.GenBashCompletionV2(a.Out, true)
	case "zsh":
		err = a.root.GenZshCompletion(a.Out)
	case "fish":
		err = a.root.GenFishCompletion(a.Out, true)
	}
	if err != nil {
		return api.Errorf(api.CodeFailed, "write: %v", err)
	}
	return nil
}

// completionTimeout bounds what a press of the tab key may cost.
const completionTimeout = time.Second

func completeSites(ctx context.Context, a *app, _ []string) []string {
	return complete(ctx, a, func(ctx context.Context, c *api.Client) ([]string, error) {
		l, err := c.Sites(ctx, "")
		var out []string
		for _, s := range l.Sites {
			out = append(out, s.Name+"\t"+siteWord(s))
		}
		return out, err
	})
}

func completeNeighbors(ctx context.Context, a *app, _ []string) []string {
	return complete(ctx, a, func(ctx context.Context, c *api.Client) ([]string, error) {
		l, err := c.Neighbors(ctx, "")
		var out []string
		for _, n := range l.Neighbors {
			out = append(out, n.Name+"\t"+n.State, addr(n.Address)+"\t"+n.Name)
		}
		return out, err
	})
}

// complete asks quietly: no daemon means no suggestions, never an error on
// the operator's prompt.
func complete(ctx context.Context, a *app, get func(context.Context, *api.Client) ([]string, error)) []string {
	c, err := a.connect()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	out, err := get(ctx, c)
	if err != nil {
		return nil
	}
	return out
}
