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

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/internal/version"
)

// Exit codes, as in the command line's.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitInvalid = 6
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("wgbgpd", flag.ContinueOnError)
	fs.SetOutput(stderr)
	file := fs.String("f", "/etc/wgbgp/wgbgpd.toml", "configuration `file`")
	check := fs.Bool("check", false, "check the configuration, print every problem and exit (0 or 6)")
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
	cfg, warnings, err := configs.Load(*file, configs.Options{CheckOnly: *check})
	if *check || err != nil {
		for _, w := range warnings {
			_, _ = fmt.Fprintf(stderr, "warning: %s\n", w)
		}
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitInvalid
	}
	if *check {
		_, _ = fmt.Fprintf(stdout, "%s: ok\n", *file)
		return exitOK
	}
	if err := serve(*file, cfg, warnings, stderr); err != nil {
		_, _ = fmt.Fprintf(stderr, "wgbgpd: %v\n", err)
		return exitFailed
	}
	return exitOK
}
