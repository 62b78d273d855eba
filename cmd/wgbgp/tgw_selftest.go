package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/version"
	"github.com/wgbgp/wgbgp/tgwconnect/selftest"
)

// selftestFlags are the flags of "tgw selftest".
type selftestFlags struct {
	yes, dryRun  bool
	clean        bool
	region, site string
	out          string
	asn          uint32
	budget       time.Duration
	poll         time.Duration
}

func selftestCommand() command {
	var o selftestFlags
	return command{
		use: "selftest TRANSPORT-ATTACHMENT", short: "Ask a sandbox account what AWS's documentation leaves open",
		long: "Makes a Connect attachment on a VPC attachment that you name, and two Connect peers, asks the open questions, and\n" +
			"deletes them again, also after an interrupt (the first one; cleaning up takes some minutes). AWS bills a Connect\n" +
			"attachment by the hour. Everything it makes has the tag " + selftest.TagKey + " with the run's name; nothing without that tag\n" +
			"is changed. Credentials and region are those of the AWS SDK. What only packets can show is read from the daemon here,\n" +
			"or said not to be measured, with how to do it.",
		min: 1, max: 1,
		do: func(ctx context.Context, a *app, args []string) error { return doSelftest(ctx, a, args[0], o) },
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&o.yes, "yes-create-billable-resources", false, "do it, in this account")
			f.BoolVar(&o.dryRun, "dry-run", false, "read, and say what would be done")
			f.BoolVar(&o.clean, "clean", false, "only delete what earlier runs, that were killed, left behind on this Transit Gateway")
			f.StringVar(&o.region, "region", "", "AWS region; not given: that of the SDK's configuration")
			f.Uint32Var(&o.asn, "asn", 65010, "ASN of the Connect peers; must differ from the Transit Gateway's")
			f.StringVar(&o.site, "site", "", "a site of the daemon that may be withdrawn for some seconds, to measure how long that takes")
			f.DurationVar(&o.budget, "budget", 30*time.Minute, "give up after so long, and clean up")
			f.DurationVar(&o.poll, "poll", 5*time.Second, "pause between two looks at a state")
			f.StringVarP(&o.out, "out", "o", "", "write the report as JSON to this file, too")
		},
	}
}

// peerAddresses are for documentation only (RFC 5737): nobody answers there.
var peerAddresses = [2]netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, 1}), netip.AddrFrom4([4]byte{203, 0, 113, 2})}

func doSelftest(ctx context.Context, a *app, transport string, o selftestFlags) error {
	if !o.clean && o.yes == o.dryRun {
		return &api.Error{
			Code: api.CodeUsage, Text: "selftest makes things that AWS bills",
			Hint: "look first with --dry-run, then say --yes-create-billable-resources, in a sandbox account",
		}
	}
	account, region, err := selftestAccount(ctx, o.region)
	if err != nil {
		return err
	}
	opt := selftest.Options{
		Run: rand.Text(), Region: region, Version: version.Get().Version, Transport: transport, DryRun: o.dryRun, Leftovers: o.clean, PeerASN: o.asn,
		PeerAddresses: peerAddresses, Site: o.site, Budget: o.budget, Clean: 15 * time.Minute, Poll: o.poll, Daemon: selftestDaemon(ctx, a),
	}
	if a.json == "" && !a.quiet {
		opt.Log = func(step string) { fmt.Fprintf(a.Err, "%s %s ...\n", time.Now().Format(time.TimeOnly), step) }
	}
	if opt.Site != "" && opt.Daemon == nil {
		return api.Errorf(api.CodeUnreachable, "--site %s: no daemon answers at %s", o.site, a.target)
	}
	r := selftest.Run(ctx, account, opt)
	if o.out != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = os.WriteFile(o.out, append(text, '\n'), 0o644)
		}
		if err != nil {
			fmt.Fprintf(a.Err, "wgbgp: write the report: %v\n", err)
		}
	}
	if err := a.print(r, document{text(strings.Split(strings.TrimSuffix(r.Text(), "\n"), "\n")...)}); err != nil {
		return err
	}
	switch {
	case len(r.Left) > 0:
		return api.Errorf(api.CodePartial, "not deleted: %v", r.Left)
	case r.Error != "":
		return api.Errorf(api.CodeFailed, "%s", r.Error)
	}
	return nil
}

// daemonFacts reads the daemon for the self-test.
type daemonFacts struct{ a *app }

// selftestDaemon is nil when no daemon answers.
func selftestDaemon(ctx context.Context, a *app) selftest.Daemon {
	d := daemonFacts{a}
	if _, err := d.Sessions(ctx); err != nil {
		return nil
	}
	return d
}

func (d daemonFacts) Sessions(ctx context.Context) (out []selftest.Session, err error) {
	err = d.a.ask(ctx, func(ctx context.Context, c *api.Client) error {
		all, err := c.Neighbors(ctx, "")
		for _, n := range all.Neighbors {
			if n.Kind == "tgw" {
				out = append(out, selftest.Session{
					Name: n.Name, LocalAddress: n.LocalAddress, Established: n.State == "Established", HoldTimeSeconds: n.HoldTimeSeconds,
					Announced: int(n.Announced), Limit: int(n.AnnounceLimit),
				})
			}
		}
		return err
	})
	return out, err
}

func (d daemonFacts) SetSite(ctx context.Context, site string, disabled bool) error {
	return d.a.ask(ctx, func(ctx context.Context, c *api.Client) error {
		_, err := c.SetSite(ctx, site, disabled, false)
		return err
	})
}

func (d daemonFacts) SitePrefixes(ctx context.Context, site string) (out []netip.Prefix, err error) {
	err = d.a.ask(ctx, func(ctx context.Context, c *api.Client) error {
		all, err := c.Sites(ctx, site)
		for _, s := range all.Sites {
			for _, p := range s.Prefixes {
				if p.Announced {
					out = append(out, p.Prefix)
				}
			}
		}
		return err
	})
	return out, err
}
