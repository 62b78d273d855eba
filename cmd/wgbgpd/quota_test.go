package main

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
)

func TestJournalTellsWhenHoldingBackBeginsAndEnds(t *testing.T) {
	out := api.NewEventLog(16)
	j := &journal{log: slog.New(slog.DiscardHandler), out: out}
	read := out.Subscribe("", 0)
	var old *ha.Plan
	for _, step := range []struct {
		wanted int
		want   []string
	}{
		{799, nil},
		{800, []string{"quota-near group tgw-a: 800 of 1000 prefixes are announced"}},
		{999, nil},
		{1001, []string{"quota group tgw-a: 1000 of 1000 prefixes are announced, 1 are held back"}},
		{1002, nil},
		{1000, []string{"quota-kept group tgw-a: 1000 of 1000 prefixes are announced", "quota-near group tgw-a: 1000 of 1000 prefixes are announced"}},
		{10, []string{"quota-far group tgw-a: 10 of 1000 prefixes are announced"}},
		{2000, []string{"quota group tgw-a: 1000 of 1000 prefixes are announced, 1000 are held back"}},
		{-1, []string{"quota-kept group tgw-a has no limit any more"}},
	} {
		p := &ha.Plan{Gen: 2}
		if q := (ha.Quota{Group: "tgw-a", Limit: 1000, Wanted: step.wanted}); step.wanted >= 0 {
			switch {
			case q.Wanted > q.Limit:
				q.Level = ha.QuotaOver
			case q.Wanted >= 800:
				q.Level = ha.QuotaNear
			}
			p.Quotas = []ha.Quota{q}
		}
		j.plan(old, p)
		old = p
		var got []string
		for len(read.C) > 0 {
			e := <-read.C
			if e.Kind == api.EventAlarm {
				got = append(got, e.Reason+" "+e.Detail)
			}
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("%d prefixes: got %q, want %q", step.wanted, got, step.want)
		}
	}
}

func TestQuotaAlarmIsAWarningUntilSomethingIsHeldBack(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		q    ha.Quota
		want string
	}{
		{ha.Quota{Group: "g", Limit: 10, Wanted: 7}, ""},
		{ha.Quota{Group: "g", Limit: 10, Wanted: 8, Level: ha.QuotaNear}, api.SeverityWarning},
		{ha.Quota{Group: "g", Limit: 10, Wanted: 11, Level: ha.QuotaOver}, api.SeverityError},
	} {
		c.q.Since = now
		list, alarms := quotas(&ha.Plan{Quotas: []ha.Quota{c.q}}, now)
		var problems []api.Problem
		for _, p := range api.Problems(api.View{Status: api.Status{Alarms: alarms}}) {
			if p.Object == "group g" && p.Reason == alarmQuota {
				problems = append(problems, p)
			}
		}
		if len(list) != 1 || list[0].Announced != min(c.q.Wanted, 10) || (c.want == "") != (len(problems) == 0) || c.want != "" && problems[0].Severity != c.want {
			t.Errorf("%+v: got %+v and problems %+v, want severity %q", c.q, list, problems, c.want)
		}
	}
}
