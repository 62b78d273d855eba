package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wgbgp/wgbgp/internal/api"
)

// doConfigCheck needs no daemon. Secrets are looked for, not read.
func doConfigCheck(_ context.Context, a *app, args []string) error {
	if err := readable(args[0]); err != nil {
		return err
	}
	return a.report(a.Check(args[0]), renderReport)
}

// readable makes a missing file what it is, a wrong name, and not a wrong
// configuration.
func readable(path string) error {
	f, err := os.Open(path)
	var pe *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return api.NotFound("file", path)
	case errors.As(err, &pe):
		return api.Errorf(api.CodeFailed, "file %s: %v", path, pe.Err)
	case err != nil:
		return api.Errorf(api.CodeFailed, "file %s: %v", path, err)
	}
	return f.Close()
}

// doConfigDiff lets the daemon read the file, because only it knows what runs.
// Opening it here first keeps an operator from reading through the daemon what
// is not theirs to read.
func doConfigDiff(ctx context.Context, a *app, args []string) error {
	if err := readable(args[0]); err != nil {
		return err
	}
	path, err := filepath.Abs(args[0])
	if err != nil {
		return api.Errorf(api.CodeFailed, "file %s: %v", args[0], err)
	}
	return a.ask(ctx, func(ctx context.Context, c *api.Client) error {
		r, err := c.ConfigDiff(ctx, path)
		if err != nil {
			return err
		}
		return a.report(r, renderDiff)
	})
}

func doConfigShow(ctx context.Context, a *app, _ []string) error {
	return query(ctx, a, func(ctx context.Context, c *api.Client) (api.Config, error) { return c.Config(ctx) }, renderConfig)
}

func doConfigReload(ctx context.Context, a *app, _ []string) error {
	return a.ask(ctx, func(ctx context.Context, c *api.Client) error {
		r, err := c.Reload(ctx)
		if err != nil {
			return err
		}
		return a.report(r, renderReport)
	})
}

// report prints errors and warnings on standard error, the rest on standard
// output; errors make the exit code that of an invalid configuration.
func (a *app) report(r api.ConfigReport, render func(api.ConfigReport) document) error {
	if a.json == "" {
		for _, p := range append(append([]api.ConfigProblem{}, r.Errors...), r.Warnings...) {
			if p.Code == "" || !a.quiet {
				fmt.Fprintln(a.Err, problemLine(p))
			}
		}
	}
	if err := a.print(r, render(r)); err != nil {
		return err
	}
	if len(r.Errors) == 0 {
		return nil
	}
	return api.Errorf(api.CodeInvalid, "config %s: %s", r.File, plural(len(r.Errors), "error"))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
