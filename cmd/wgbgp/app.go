package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/wgbgp/wgbgp/internal/api"
)

// stdio is the outside of one run.
type stdio struct {
	Out, Err io.Writer
	Getenv   func(string) string
	// Check validates a configuration file without a daemon.
	Check func(path string) api.ConfigReport
}

// app is one run of the program.
type app struct {
	stdio
	root   *cobra.Command
	client *api.Client

	target  string
	json    string // "", "compact", "pretty"
	timeout time.Duration
	quiet   bool
	noColor bool
	dump    bool
}

// run is the program apart from the process: arguments in, exit code out.
func run(ctx context.Context, args []string, io stdio) int {
	a := &app{stdio: io}
	a.root = a.tree()
	a.root.SetOut(io.Out)
	a.root.SetErr(io.Err)
	args, err := a.expand(args)
	if err == nil {
		a.root.SetArgs(args)
		err = a.root.ExecuteContext(ctx)
	}
	if err != nil && a.json == "" {
		// Parsing may have stopped before -j, which decides even how that is said.
		_ = a.root.PersistentFlags().Parse(flagsOf(args))
	}
	if a.client != nil {
		a.client.Close()
	}
	if err == nil {
		return 0
	}
	return a.fail(err)
}

// fail prints the error where errors belong and returns its exit code.
func (a *app) fail(err error) int {
	e := api.AsError(err)
	e.Schema, e.Exit = api.Schema, e.Code.Exit()
	if a.json != "" {
		_ = a.encode(a.Err, e)
		return e.Exit
	}
	fmt.Fprintf(a.Err, "wgbgp: %s\n", e.Text)
	if e.Hint != "" {
		fmt.Fprintf(a.Err, "hint: %s\n", e.Hint)
	}
	return e.Exit
}

// ask connects lazily and bounds the question by --timeout.
func (a *app) ask(ctx context.Context, f func(context.Context, *api.Client) error) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return f(ctx, c)
}

func (a *app) connect() (*api.Client, error) {
	if a.client == nil {
		c, err := api.NewClient(a.target)
		if err != nil {
			return nil, err
		}
		a.client = c
	}
	return a.client, nil
}

// query asks one question and prints the answer. render is pure.
func query[T any](ctx context.Context, a *app, get func(context.Context, *api.Client) (T, error), render func(T) document) error {
	return a.ask(ctx, func(ctx context.Context, c *api.Client) error {
		v, err := get(ctx, c)
		if err != nil {
			return err
		}
		return a.print(v, render(v))
	})
}

// print writes the answer as JSON or the document as text.
func (a *app) print(v any, d document) error {
	if a.quiet {
		return nil
	}
	if a.json != "" {
		return a.encode(a.Out, v)
	}
	_, err := io.WriteString(a.Out, d.render(style{Dump: a.dump, Color: a.color()}))
	if err != nil {
		return api.Errorf(api.CodeFailed, "write: %v", err)
	}
	return nil
}

func (a *app) encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if a.json == "pretty" {
		e.SetIndent("", "  ")
	}
	if err := e.Encode(v); err != nil {
		return api.Errorf(api.CodeFailed, "write: %v", err)
	}
	return nil
}

// color reports whether output goes to a person who wants colors
// (https://no-color.org).
func (a *app) color() bool {
	if a.noColor || a.dump || a.Getenv("NO_COLOR") != "" || a.Getenv("TERM") == "dumb" {
		return false
	}
	f, ok := a.Out.(*os.File)
	if !ok {
		return false
	}
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}
