package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wgbgp/wgbgp/internal/api"
)

// command is one noun of the command line, or one word under a noun.
type command struct {
	use   string // with arguments, as in help
	short string
	long  string
	// min and max bound the number of arguments; verbs are the fixed words that
	// may follow the object's name, and may be shortened.
	min, max int
	verbs    []string
	do       func(ctx context.Context, a *app, args []string) error
	complete func(ctx context.Context, a *app, args []string) []string
	flags    func(*pflag.FlagSet)
	sub      []command
}

// commands is the whole tree.
func commands() []command {
	var since uint64
	var host checkFlags
	var kernel, keep, await, checkOnly, force bool
	var reason string
	all := []command{
		{use: "status", short: "One screen: sites, sessions, prefixes, alarms", do: doStatus},
		{use: "peer [NAME|KEY]", short: "WireGuard peers", max: 1, do: doPeer, complete: completeSites},
		{
			use: "site [NAME [disable|enable]]", short: "Sites and what is announced for them",
			max: 2, verbs: []string{"disable", "enable"}, complete: completeSites,
			do: func(ctx context.Context, a *app, args []string) error { return doSite(ctx, a, args, keep) },
			flags: func(f *pflag.FlagSet) {
				f.BoolVar(&keep, "keep", false, "disabled or enabled also after a restart of the daemon")
			},
		},
		{
			use: "neighbor [ADDR|NAME [adj-in|adj-out|reset]]", short: "BGP neighbors and their tables",
			max: 2, verbs: []string{"adj-in", "adj-out", "reset"}, do: doNeighbor, complete: completeNeighbors,
		},
		{use: "bfd [ADDR|NAME]", short: "BFD sessions: timers as negotiated, and why they are down", max: 1, do: doBFD, complete: completeBFD},
		{
			use: "rib [PREFIX [longer-prefixes]]", short: "Candidates for each prefix, best first, and why",
			max: 2, verbs: []string{"longer-prefixes"}, do: doRIB,
		},
		{
			use: "route [PREFIX [longer-prefixes]]", short: "Kernel routes and whether they are in place",
			max: 2, verbs: []string{"longer-prefixes"}, do: doRoute,
		},
		{
			use: "drain", short: "Leave the paths of others for maintenance; the daemon goes on",
			long: "The health check fails first, then this host is announced as the last choice, and when traffic has moved\n" +
				"everything is withdrawn. Routes and tunnels stay. wgbgp undrain takes it back.",
			do: func(ctx context.Context, a *app, _ []string) error { return doDrain(ctx, a, reason, keep, await) },
			flags: func(f *pflag.FlagSet) {
				f.StringVar(&reason, "reason", "", "shown by wgbgp status")
				f.BoolVar(&keep, "keep", false, "stay drained over a restart of the daemon")
				f.BoolVar(&await, "wait", false, "return when all is withdrawn")
			},
		},
		haCommand(),
		{
			use: "restart", short: "Start the daemon's program anew, such as after an upgrade; packets and routes stay where they can",
			long: "The new program must take the configuration first. Then another host of the fleet takes over what neighbors\n" +
				"without graceful restart would lose, and the program takes the place of the running one, which ends without a\n" +
				"word to the others. Refused where somebody would be left without a route; --check says what it would cost.",
			do: func(ctx context.Context, a *app, _ []string) error { return doRestart(ctx, a, checkOnly, force) },
			flags: func(f *pflag.FlagSet) {
				f.BoolVar(&checkOnly, "check", false, "only say what it would cost")
				f.BoolVar(&force, "force", false, "do it although somebody loses routes")
			},
		},
		{use: "undrain", short: "End a drain: announce again", do: doUndrain},
		{use: "health [SITE]", short: "Verdicts and the evidence for them", max: 1, do: doHealth, complete: completeSites},
		{
			use: "mtu [SITE]", short: "How large a packet may be between the transit gateway and a site, and what limits it",
			max: 1, do: doMTU, complete: completeSites,
		},
		{
			use: "explain ADDR|PREFIX", short: "Follow an address through the gateway to the first broken link",
			long: "Walks RIB, route, allowed IP, peer session, BGP session, probes and announcement.\n" +
				"Exit code 5 when a link is broken.",
			min: 1, max: 1, do: doExplain,
		},
		{use: "config", short: "Check, compare, show and reload the configuration", sub: []command{
			{use: "check FILE", short: "Validate a file; needs no daemon", min: 1, max: 1, do: doConfigCheck},
			{use: "diff FILE", short: "What a reload with FILE would change", min: 1, max: 1, do: doConfigDiff},
			{use: "show", short: "The running configuration; secrets are references", do: doConfigShow},
			{use: "reload", short: "Read the file again, all or nothing", do: doConfigReload},
		}},
		{
			use: "monitor [KIND...]", short: "Events as they happen",
			long: "One line per event, or one JSON object per line with -j. Survives a restart of the daemon\n" +
				"with a note on standard error. Kinds: " + strings.Join(api.EventKinds(), " "),
			max: -1, verbs: api.EventKinds(),
			do: func(ctx context.Context, a *app, args []string) error { return doMonitor(ctx, a, args, since) },
			flags: func(f *pflag.FlagSet) {
				f.Uint64Var(&since, "since", 0, "begin with the kept events after this number")
			},
		},
		{
			use: "check", short: "Is anything wrong? For monitoring systems",
			long: "Exit code 0 when nothing is wrong, 5 when something is. With --kernel it reads back interfaces, addresses,\n" +
				"peers, allowed IPs, routes, policy rules and filters and compares only these with what should be there.\n" +
				"With --host it looks for what is usually wrong with a gateway's host and kernel: wgbgp tgw check without AWS.",
			do: func(ctx context.Context, a *app, _ []string) error {
				if host.host {
					return doTGWCheck(ctx, a, host)
				}
				return doCheck(ctx, a, kernel)
			},
			flags: func(f *pflag.FlagSet) {
				f.BoolVar(&kernel, "kernel", false, "compare what should be with what the kernel holds")
				f.BoolVar(&host.host, "host", false, "look for what is usually wrong with a gateway's host")
				f.StringSliceVar(&host.rows, "row", nil, "with --host: only these checks, by number or name")
				f.DurationVar(&host.sample, "sample", time.Second, "with --host: time between two readings of counters")
			},
		},
		{use: "version", short: "Version of this program and of the daemon", do: doVersion},
		{
			use: "completion bash|zsh|fish", short: "Completion script for a shell",
			min: 1, max: 1, verbs: []string{"bash", "zsh", "fish"}, do: doCompletion,
		},
	}
	if tgw := tgwCommands(); len(tgw) > 0 {
		all = append(all, command{use: "tgw", short: "The AWS side: check, plan, apply and destroy", sub: tgw})
	}
	return all
}

const rootLong = `wgbgp asks the daemon wgbgpd what it does and why, and gives it orders.

Words may be shortened when they stay unique, and "show" in front of a noun is
accepted: "wgbgp n", "wgbgp sh nei 10.0.0.1 adj-in".`

const exitCodes = `
Exit codes:
  0    done
  1    the operation failed
  2    wrong usage or unknown command
  3    no object of that name
  4    the daemon can not be reached
  5    a check found a problem, or a link is broken
  6    the configuration is invalid
  7    refused by a guard
  8    done in part
  124  no answer in time
Errors go to standard error, with -j as JSON.
`

// tree makes the cobra tree from the table.
func (a *app) tree() *cobra.Command {
	root := &cobra.Command{
		Use: "wgbgp", Short: "Control wgbgpd", Long: rootLong,
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	target := a.Getenv("WGBGP_TARGET")
	if target == "" {
		target = "unix://" + api.DefaultSocket
	}
	f := root.PersistentFlags()
	f.StringVar(&a.target, "target", target, "socket of the daemon (environment: WGBGP_TARGET)")
	f.VarPF(&jsonFlag{&a.json}, "json", "j", `JSON on one line, or "--json=pretty"`).NoOptDefVal = "compact"
	f.DurationVar(&a.timeout, "timeout", 5*time.Second, "how long to wait for an answer")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print no answer, only errors")
	f.BoolVar(&a.noColor, "no-color", false, "no colors (environment: NO_COLOR)")
	f.BoolVarP(&a.dump, "dump", "T", false, "tab-separated values without headers")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return api.Usagef("%v", err).WithHint("see %s --help", c.CommandPath())
	})
	root.SetUsageTemplate(root.UsageTemplate() + exitCodes)
	for _, c := range commands() {
		root.AddCommand(a.build(c))
	}
	root.InitDefaultHelpCmd()
	return root
}

func (a *app) build(c command) *cobra.Command {
	cc := &cobra.Command{Use: c.use, Short: c.short, Long: c.long, DisableFlagsInUseLine: true}
	if c.flags != nil {
		c.flags(cc.Flags())
	}
	cc.Args = func(cc *cobra.Command, args []string) error {
		if len(args) < c.min || (c.max >= 0 && len(args) > c.max) || (c.do == nil && len(args) > 0) {
			return api.Usagef("%s: wrong number of arguments", cc.Name()).WithHint("usage: wgbgp %s", strings.TrimPrefix(cc.UseLine(), "wgbgp "))
		}
		return nil
	}
	if c.do != nil {
		cc.RunE = func(cc *cobra.Command, args []string) error {
			if a.timeout <= 0 {
				return api.Usagef("--timeout: want more than 0")
			}
			return c.do(cc.Context(), a, args)
		}
		cc.ValidArgsFunction = func(cc *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			all, d := c.completions(cc.Context(), a, args)
			if d != cobra.ShellCompDirectiveFilterFileExt {
				all = slices.DeleteFunc(slices.Clone(all), func(w string) bool { return !strings.HasPrefix(w, typed) })
			}
			return all, d
		}
	} else {
		cc.RunE = func(cc *cobra.Command, _ []string) error {
			return api.Usagef("%s: which? one of %s", cc.Name(), strings.Join(names(cc), ", "))
		}
	}
	for _, s := range c.sub {
		cc.AddCommand(a.build(s))
	}
	return cc
}

// completions offers names first, then verbs, or files.
func (c command) completions(ctx context.Context, a *app, args []string) ([]string, cobra.ShellCompDirective) {
	switch {
	case strings.HasSuffix(c.use, " FILE"):
		return []string{"toml"}, cobra.ShellCompDirectiveFilterFileExt
	case len(args) == 0 && c.complete != nil:
		return c.complete(ctx, a, args), cobra.ShellCompDirectiveNoFileComp
	case (len(args) == 1 && c.max == 2) || c.max < 0 || (len(args) == 0 && c.min == 1):
		return c.verbs, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func names(c *cobra.Command) []string {
	var out []string
	for _, s := range c.Commands() {
		out = append(out, s.Name())
	}
	return out
}

// jsonFlag takes no value (compact) or one of two words.
type jsonFlag struct{ v *string }

func (j *jsonFlag) String() string {
	if j.v == nil {
		return ""
	}
	return *j.v
}
func (j *jsonFlag) Type() string { return "style" }
func (j *jsonFlag) Set(s string) error {
	if s != "compact" && s != "pretty" {
		return api.Usagef("want compact or pretty")
	}
	*j.v = s
	return nil
}
