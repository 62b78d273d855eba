// Command wgbgpd is the gateway daemon: it wires configuration, core, edges and
// the control API together, and nothing else. Start reading at loop.go (who
// decides when) and edges.go (who is told).
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/internal/version"
)

// Exit codes, as in the command line's.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitInvalid = 6

	replace = -1 // by the program as it is on disk now
)

func main() {
	code := run(os.Args[1:], os.Stdout, os.Stderr)
	if code == replace {
		program, err := os.Executable()
		if err == nil {
			err = syscall.Exec(program, os.Args, os.Environ())
		}
		_, _ = fmt.Fprintf(os.Stderr, "wgbgpd: %v\n", err)
		code = exitFailed // a supervisor tries again
	}
	os.Exit(code)
}

func run(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("wgbgpd", flag.ContinueOnError)
	fs.SetOutput(stderr)
	file := fs.String("f", "/etc/wgbgp/wgbgpd.toml", "configuration `file`")
	check := fs.Bool("check", false, "check the configuration, print every problem and exit (0 or 6)")
	profiles := fs.String("profile", "", "write profiles of this process to files in `directory` (for developers)")
	show := fs.Bool("version", false, "print the version and exit")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	if fs.NArg() > 0 {
		_, _ = fmt.Fprintf(stderr, "wgbgpd: unexpected argument %q\n", fs.Arg(0))
		return exitUsage
	}
	if *show {
		v := version.Get()
		_, _ = fmt.Fprintf(stdout, "wgbgpd %s %s %s %s\n", v.Version, v.Revision, v.Go, v.Platform)
		return exitOK
	}
	stores := &stores{}
	cfg, warnings, err := configs.Load(*file, configs.Options{CheckOnly: *check, Stores: stores.resolver})
	if *check || err != nil {
		for _, w := range warnings {
			_, _ = fmt.Fprintf(stderr, "warning: %s\n", w)
		}
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		var ps configs.Problems
		if errors.As(err, &ps) && ps.Temporary() {
			return exitFailed // a supervisor tries again
		}
		return exitInvalid
	}
	if *check {
		_, _ = fmt.Fprintf(stdout, "%s: ok\n", *file)
		return exitOK
	}
	if *profiles != "" {
		stop, err := profile(*profiles)
		if err != nil {
			_, _ = fmt.Fprintf(stderr, "wgbgpd: %v\n", err)
			return exitFailed
		}
		defer func() {
			if err := stop(); err != nil {
				_, _ = fmt.Fprintf(stderr, "wgbgpd: profile: %v\n", err)
			}
		}()
	}
	switch err := serve(*file, cfg, stores, warnings, stderr); {
	case errors.Is(err, errReplace):
		return replace
	case err != nil && !errors.Is(err, errHandOver):
		_, _ = fmt.Fprintf(stderr, "wgbgpd: %v\n", err)
		return exitFailed
	}
	return exitOK
}
