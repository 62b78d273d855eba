// Command failover measures how long traffic from a Transit Gateway is interrupted
// when the tunnel to a site dies, or one of two gateways, and prints one table: by
// wgbgpd, without its takeover, and by FRR with BFD. Without takeover and with FRR
// a dead gateway takes the hold time of 30 s, so these are measured less often. It
// exits with 1 if something could not be measured, and with -strict also if a
// promise was missed.
//
// It needs root, or user namespaces, and Debian's FRR and WireGuard (labs/setup).
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/labs/failover"
	"github.com/wgbgp/wgbgp/labs/node"
)

// options are the command line's.
type options struct {
	tunnels, hosts, slow int
	only                 string
	bin                  string
	verbose              bool
}

func main() {
	node.Main()
	var o options
	flag.IntVar(&o.tunnels, "runs", 50, "how often a site tunnel dies")
	flag.IntVar(&o.hosts, "host-runs", 30, "how often a host dies")
	flag.IntVar(&o.slow, "slow-runs", 3, "how often a host dies where that takes the hold time")
	flag.StringVar(&o.only, "only", "", "measure only what has this `text` in \"FAILURE, GATEWAYS\"")
	flag.StringVar(&o.bin, "bin", "bin", "`directory` of wgbgpd and wgbgp")
	flag.BoolVar(&o.verbose, "v", false, "print every run")
	strict := flag.Bool("strict", false, "exit with 1 if a promise was missed")
	flag.Parse()
	inside, code, err := netlab.Reexec()
	if inside && err == nil {
		var missed int
		missed, err = run(o)
		if missed > 0 && *strict {
			code = 1
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(o options) (missed int, err error) {
	if m := daemons.Missing(); len(m) > 0 {
		return 0, fmt.Errorf("needs %v (make setup)", m)
	}
	daemon, cli := filepath.Join(o.bin, "wgbgpd"), filepath.Join(o.bin, "wgbgp")
	for _, p := range []string{daemon, cli} {
		if _, err := os.Stat(p); err != nil {
			return 0, fmt.Errorf("%w (make build)", err)
		}
	}
	before := load()
	var cases []failover.Case
	var errs []error
	for _, s := range []failover.Subject{failover.Ours, failover.NoTakeover, failover.FRR} {
		list, err := measure(o, s, daemon, cli)
		cases = append(cases, list...)
		errs = append(errs, err)
	}
	fmt.Printf("\n%s, load average before %s, after %s\n\n", time.Now().Format(time.DateTime), before, load())
	missed, err = failover.Table(os.Stdout, byFailure(cases))
	return missed, errors.Join(append(errs, err)...)
}

func byFailure(cases []failover.Case) (out []failover.Case) {
	for _, f := range []failover.Failure{failover.SiteTunnel, failover.Host} {
		for _, c := range cases {
			if c.Failure == f {
				out = append(out, c)
			}
		}
	}
	return out
}

// measure brings about all failures of one subject in one lab.
func measure(o options, s failover.Subject, daemon, cli string) (cases []failover.Case, err error) {
	runs := map[failover.Failure]int{failover.SiteTunnel: o.tunnels, failover.Host: o.hosts}
	if s != failover.Ours {
		runs[failover.Host] = o.slow
	}
	if s == failover.NoTakeover {
		runs[failover.SiteTunnel] = 0 // takeover has no part in it
	}
	var l *failover.Lab
	for _, f := range []failover.Failure{failover.SiteTunnel, failover.Host} {
		if runs[f] == 0 || !strings.Contains(fmt.Sprintf("%s, %s", f, s), o.only) {
			continue
		}
		if l == nil {
			if l, err = failover.Start(s, daemon, cli); err != nil {
				return cases, fmt.Errorf("%s: %w", s, err)
			}
			defer func() { err = errors.Join(err, l.Close(false)) }()
		}
		c := failover.Case{Failure: f, Subject: s}
		for i := range runs[f] {
			t, err := l.Measure(f)
			if err != nil {
				return append(cases, c), fmt.Errorf("%s, %s, run %d: %w", f, s, i+1, err)
			}
			if o.verbose {
				fmt.Printf("%s  %s, %s, run %d: old way gone after %d ms, traffic back after %d ms, sessions held: %v\n",
					time.Now().Format(time.TimeOnly), f, s, i+1, t.Route.Milliseconds(), t.Traffic.Milliseconds(), t.Held)
			}
			c.Times = append(c.Times, t)
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// load is the load average of the last minute.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}
