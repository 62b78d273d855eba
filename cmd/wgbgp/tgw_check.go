package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/doctor"
	"github.com/wgbgp/wgbgp/tgwconnect/doctor/gather"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

// checkFlags are the flags of "tgw check".
type checkFlags struct {
	rows   []string
	region string
	sample time.Duration
	host   bool // "check --host": nothing of AWS
}

// checkBudget bounds a run: some twenty questions to AWS.
const checkBudget = 2 * time.Minute

func tgwCheckCommand() command {
	var o checkFlags
	return command{
		use: "check", short: "What is usually wrong between a gateway and AWS: 55 checks with evidence and cure",
		long: "Reads AWS with the credentials of the AWS SDK, this host, and the daemon here as far as it answers; changes\n" +
			"nothing. What can not be read makes its checks unknown, with the missing permission. Exit code 5 when there is a\n" +
			"problem, 0 when there are warnings only, 4 when AWS can not be reached.",
		do: func(ctx context.Context, a *app, _ []string) error { return doTGWCheck(ctx, a, o) },
		flags: func(f *pflag.FlagSet) {
			f.StringSliceVar(&o.rows, "row", nil, "only these checks, by number or name: 9,14 or source-dest-check")
			f.StringVar(&o.region, "region", "", "AWS region; not given: that of the SDK's configuration")
			f.DurationVar(&o.sample, "sample", time.Second, "time between two readings of counters")
		},
	}
}

// checkup is the answer of "tgw check" and "check --host".
type checkup struct {
	Schema  string                 `json:"schema"`
	Region  string                 `json:"region"`
	OK      bool                   `json:"ok"`
	Counts  map[doctor.Verdict]int `json:"counts"`
	Results []doctor.Result        `json:"results"`
}

// wantedRows is the filter of --row.
func wantedRows(o checkFlags) (func(doctor.Row) bool, error) {
	names := map[string]bool{}
	for _, w := range o.rows {
		found := false
		for _, r := range doctor.Rows() {
			if w == strconv.Itoa(r.Number) || w == r.Slug || w == r.ID() {
				names[r.ID()], found = true, true
			}
		}
		if !found {
			return nil, api.NotFound("check", w).WithHint("wgbgp tgw check without --row shows all")
		}
	}
	return func(r doctor.Row) bool { return (len(names) == 0 || names[r.ID()]) && (r.Host || !o.host) }, nil
}

func doTGWCheck(ctx context.Context, a *app, o checkFlags) error {
	wanted, err := wantedRows(o)
	if err != nil {
		return err
	}
	if o.sample < 0 || o.sample > time.Minute {
		return api.Usagef("--sample: want 0 to 1m")
	}
	ctx, cancel := context.WithTimeout(ctx, checkBudget)
	defer cancel()
	f := &doctor.Facts{Now: time.Now()}
	f.Daemon = daemonFactsOf(ctx, a)
	f.Host = hostFactsOf(ctx, f.Daemon)
	first := time.Now()
	var unreachable error
	if !o.host {
		unreachable = askAWS(ctx, f, o.region)
	}
	sampleAgain(ctx, a, f, first, o.sample)
	f.Now = time.Now()
	c := checkup{Schema: api.Schema, Region: f.Region, OK: true, Counts: map[doctor.Verdict]int{}, Results: doctor.Examine(f, wanted)}
	for _, r := range c.Results {
		c.Counts[r.Verdict]++
		c.OK = c.OK && r.Verdict != doctor.Problem
	}
	if err := a.print(c, renderCheckup(c)); err != nil {
		return err
	}
	switch {
	case unreachable != nil:
		return api.Errorf(api.CodeUnreachable, "AWS: %v", unreachable).WithHint("look at region, credentials and the way to the endpoints; wgbgp check --host needs no AWS")
	case !c.OK:
		return api.Errorf(api.CodeDegraded, "check: %s", plural(c.Counts[doctor.Problem], "problem"))
	}
	return nil
}

// askAWS fills in what AWS says. The error says that AWS can not be asked at all.
func askAWS(ctx context.Context, f *doctor.Facts, region string) error {
	client, err := ec2api.New(ctx, ec2api.Options{Region: region, Attempts: 3, Budget: 20 * time.Second})
	if err != nil {
		return err
	}
	f.Region = client.Region()
	opt := gather.Options{Now: f.Now, Metadata: true}
	if c := f.Daemon.Config; c != nil && len(c.TargetGroups) > 0 {
		opt.TargetHealth = func(ctx context.Context) (all []tgwconnect.TargetHealth, err error) {
			for _, g := range c.TargetGroups {
				found, err := client.DescribeTargetHealth(ctx, g)
				if err != nil {
					return nil, err
				}
				all = append(all, found...)
			}
			return all, nil
		}
	}
	for _, i := range f.Host.Interfaces {
		for _, p := range i.Addresses {
			opt.Addresses = append(opt.Addresses, p.Addr())
		}
	}
	f.AWS = gather.AWS(ctx, awsReader{client}, opt)
	if g := f.AWS.Gateways; !g.Read && g.Code == "" {
		return fmt.Errorf("%s", g.Message)
	}
	return nil
}

// awsReader is the client in the words of gather.API.
type awsReader struct{ *ec2api.Client }

func (r awsReader) TransitGatewayRoutes(ctx context.Context, table string) ([]tgwconnect.TGWRoute, error) {
	routes, err := r.SearchTransitGatewayRoutes(ctx, table, tgwconnect.Query{})
	return routes.Routes, err
}

func (r awsReader) Code(err error) string { return ec2api.Code(err) }
func (r awsReader) Denied(err error) bool { return ec2api.IsUnauthorized(err) }
func (r awsReader) Throttled() uint64     { return r.Stats().Throttled }

// renderCheckup groups by verdict, problems first. A dump has a line per check.
func renderCheckup(c checkup) document {
	var d document
	for _, g := range []struct {
		verdict doctor.Verdict
		title   string
	}{
		{doctor.Problem, "Problems"}, {doctor.Warning, "Warnings"}, {doctor.Unknown, "Unknown"}, {doctor.OK, "Fine"}, {doctor.NotApplicable, "Does not apply"},
	} {
		t := block{}
		var lines []string
		for _, r := range c.Results {
			if r.Verdict != g.verdict {
				continue
			}
			t.add(r.ID, string(r.Verdict), strings.Join(r.Evidence, "; "), r.Missing, strings.Join(r.Cure, "; "))
			lines = append(lines, checkLines(r)...)
		}
		if len(t.rows) > 0 {
			d = append(d, block{title: fmt.Sprintf("%s (%d)", g.title, len(t.rows)), lines: lines, rows: t.rows, dumpOnly: true})
		}
	}
	return d
}

func checkLines(r doctor.Result) []string {
	clean := cellText.Replace
	switch r.Verdict {
	case doctor.OK, doctor.NotApplicable:
		return []string{clean(fmt.Sprintf("  %s: %s", r.ID, first(r.Evidence)))}
	case doctor.Unknown:
		return []string{clean(fmt.Sprintf("  %s: %s", r.ID, strings.Join(r.Evidence, "; ")))}
	}
	lines := []string{clean(fmt.Sprintf("  %s: %s", r.ID, r.Title))}
	for _, e := range r.Evidence {
		lines = append(lines, clean("      "+e))
	}
	for _, x := range r.Cure {
		lines = append(lines, clean("    > "+x))
	}
	return lines
}

// first is the first line, and how many there are more.
func first(l []string) string {
	switch len(l) {
	case 0:
		return "-"
	case 1:
		return l[0]
	}
	return fmt.Sprintf("%s (and %d more)", l[0], len(l)-1)
}
