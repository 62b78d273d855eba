package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/apply"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

// applyFlags are the flags of "tgw plan", "tgw apply" and "tgw destroy".
type applyFlags struct {
	file, region string
	yes          bool
	poll, settle time.Duration
}

// applied is what one [[tgw-apply]] comes to.
type applied struct {
	Schema    string                        `json:"schema"`
	Name      string                        `json:"name"`
	Steps     api.List[appliedStep]         `json:"steps"`
	Obstacles api.List[tgwconnect.Obstacle] `json:"obstacles"`
	Done      bool                          `json:"done"` // nothing was to do, or all of it is done
}

type appliedStep struct {
	Kind tgwconnect.StepKind `json:"kind"`
	Text string              `json:"text"`
}

func applyCommands() []command {
	verb := func(use, short, long string, destroy, act bool) command {
		var o applyFlags
		return command{
			use: use + " [NAME]", short: short, long: long, max: 1,
			do: func(ctx context.Context, a *app, args []string) error {
				return doApply(ctx, a, arg(args, 0), o, destroy, act)
			},
			flags: func(f *pflag.FlagSet) {
				f.StringVarP(&o.file, "file", "f", "/etc/wgbgp/wgbgpd.toml", "configuration with the [[tgw-apply]] tables")
				f.StringVar(&o.region, "region", "", "AWS region; not given: that of [aws], or of the SDK's configuration")
				if act {
					f.BoolVar(&o.yes, "yes", false, "do not ask")
					f.DurationVar(&o.poll, "poll", 3*time.Second, "pause between two looks at a state")
					f.DurationVar(&o.settle, "settle", 10*time.Second, "how long EC2 may not show what an interrupted run has made")
				}
			},
		}
	}
	const owned = "Credentials are those of the AWS SDK. What was made carries a tag wgbgp:owner, or is marked by one where it is; nothing\n" +
		"else is changed, except what the configuration names. A run that was killed is completed by the next one."
	return []command{
		verb("plan", "What apply would make on the AWS side", owned, false, false),
		verb("apply", "Make Connect attachment, Connect peers and what lets GRE reach them", owned, false, true),
		verb("destroy", "Take back what apply made for this gateway", owned, true, true),
	}
}

func doApply(ctx context.Context, a *app, name string, o applyFlags, destroy, act bool) error {
	cfg, _, err := configs.Load(o.file, configs.Options{CheckOnly: true})
	if err != nil {
		return &api.Error{Code: api.CodeInvalid, Text: err.Error(), Hint: "wgbgp config check " + o.file}
	}
	var wants []tgwconnect.Want
	for _, w := range cfg.Wants {
		if name == "" || w.Name == name {
			wants = append(wants, w)
		}
	}
	if len(wants) == 0 {
		return api.NotFound("[[tgw-apply]]", name).WithHint("add one to %s", o.file)
	}
	if o.region == "" {
		o.region = cfg.AWS.Region
	}
	client, err := ec2api.New(ctx, ec2api.Options{Region: o.region})
	if err != nil {
		return api.Errorf(api.CodeUnreachable, "%v", err)
	}
	for i := range wants {
		if err := a.applyOne(ctx, &wants[i], ec2api.Applier{Client: client}, o, destroy, act); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) applyOne(ctx context.Context, w *tgwconnect.Want, client ec2api.Applier, o applyFlags, destroy, act bool) error {
	inv, err := client.Inventory(ctx, w)
	if err != nil {
		return api.Errorf(api.CodeFailed, "%s: %v", w.Name, err)
	}
	plan, run := w.Plan, apply.Apply
	if destroy {
		plan, run = w.Unplan, apply.Destroy
	}
	steps, obstacles := plan(&inv)
	r := applied{Schema: api.Schema, Name: w.Name, Obstacles: obstacles, Done: len(steps)+len(obstacles) == 0}
	for _, s := range steps {
		r.Steps = append(r.Steps, appliedStep{s.Kind, s.Text})
	}
	if !act || r.Done || len(obstacles) > 0 {
		if err := a.print(r, renderApplied(r)); err != nil || len(obstacles) == 0 {
			return err
		}
		return &api.Error{Code: api.CodeRefused, Text: w.Name + ": " + obstacles[0].Text, Hint: obstacles[0].Cure}
	}
	if !o.yes {
		fmt.Fprint(a.Err, renderApplied(r).render(style{}))
		if err := a.confirm(); err != nil {
			return err
		}
	}
	err = run(ctx, w, apply.Options{API: client, Poll: o.poll, Settle: o.settle, Progress: func(s tgwconnect.Step, err error) {
		if a.json != "" || a.quiet {
			return
		}
		line := time.Now().Format(time.TimeOnly) + " " + s.Text
		if err != nil {
			line += ": " + err.Error() + ", will look again"
		}
		fmt.Fprintln(a.Err, line)
	}})
	var blocked *apply.Blocked
	switch {
	case errors.As(err, &blocked):
		return &api.Error{Code: api.CodeRefused, Text: w.Name + ": " + blocked.Error(), Hint: blocked.Obstacles[0].Cure}
	case err != nil:
		return api.Errorf(api.CodeFailed, "%s: %v", w.Name, err).WithHint("run it again: it goes on where it stopped")
	}
	r.Done = true
	return a.print(r, document{block{pairs: true, rows: [][]string{{w.Name, "done"}}}})
}

// confirm asks a person; without one there must be --yes.
func (a *app) confirm() error {
	if _, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS); err != nil {
		return api.Refused("nobody is there to ask").WithHint("--yes does it without asking")
	}
	fmt.Fprint(a.Err, "Do this? Only \"yes\" is accepted: ")
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if strings.TrimSpace(line) != "yes" {
		return api.Refused("not confirmed")
	}
	return nil
}

func renderApplied(r applied) document {
	t := block{head: []string{"Name", "Step"}}
	for _, s := range r.Steps {
		t.add(r.Name, s.Text)
	}
	for _, o := range r.Obstacles {
		t.add(r.Name, "CAN NOT: "+o.Text)
	}
	if r.Done {
		t.add(r.Name, "nothing to do")
	}
	return document{t}
}
