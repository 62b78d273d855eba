package main

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
)

// alarmQuota is the name of the alarm that a limit of announced prefixes is near
// or reached.
const alarmQuota = "prefix-quota"

// quotas lists the limits of the plan, and those that somebody should look at:
// near is a warning, what is held back an error.
func quotas(p *ha.Plan, now time.Time) (list []api.Quota, alarms []api.Alarm) {
	if p == nil {
		return nil, nil
	}
	for _, q := range p.Quotas {
		list = append(list, api.Quota{Group: q.Group, Limit: q.Limit, Wanted: q.Wanted, Announced: min(q.Wanted, q.Limit)})
		if q.Level == ha.QuotaBelow {
			continue
		}
		a := api.Alarm{
			Name: alarmQuota, Severity: api.SeverityWarning, Object: "group " + q.Group, Text: quotaText(q), Since: api.At(q.Since, now),
			Cure: "announce fewer, larger prefixes ([[aggregate]] with suppress), or raise announce-limit where AWS has raised the quota",
		}
		if q.Level == ha.QuotaOver {
			a.Severity = api.SeverityError
		}
		alarms = append(alarms, a)
	}
	return list, alarms
}

func quotaText(q ha.Quota) string {
	if q.Wanted > q.Limit {
		return fmt.Sprintf("%d of %d prefixes are announced, %d are held back", q.Limit, q.Limit, q.Wanted-q.Limit)
	}
	return fmt.Sprintf("%d of %d prefixes are announced", q.Wanted, q.Limit)
}

// quotas reports every limit that came near, was exceeded, or is neither any more.
func (j *journal) quotas(old, p *ha.Plan) {
	level := map[string]string{}
	if old != nil {
		for _, q := range old.Quotas {
			level[q.Group] = q.Level
		}
	}
	say := func(l slog.Level, reason string, q ha.Quota) {
		j.event(l, api.Event{Kind: api.EventAlarm, Reason: reason, Detail: "group " + q.Group + ": " + quotaText(q), Gen: p.Gen})
	}
	for _, q := range p.Quotas {
		was := level[q.Group]
		delete(level, q.Group)
		switch {
		case q.Level == was:
		case q.Level == ha.QuotaOver:
			say(slog.LevelError, "quota", q)
		case was == ha.QuotaOver:
			say(slog.LevelInfo, "quota-kept", q)
			if q.Level == ha.QuotaNear {
				say(slog.LevelWarn, "quota-near", q)
			}
		case q.Level == ha.QuotaNear:
			say(slog.LevelWarn, "quota-near", q)
		default:
			say(slog.LevelInfo, "quota-far", q)
		}
	}
	var gone []string
	for g, l := range level {
		if l != ha.QuotaBelow {
			gone = append(gone, g)
		}
	}
	slices.Sort(gone)
	for _, g := range gone {
		j.event(slog.LevelInfo, api.Event{Kind: api.EventAlarm, Reason: "quota-kept", Detail: "group " + g + " has no limit any more", Gen: p.Gen})
	}
}
