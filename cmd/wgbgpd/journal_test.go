package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
)

// Every withdrawal is told with its reason, also one from a part of the
// audience, and a rival's lesser claim is not taken for the reason.
func TestJournalTellsEveryWithdrawalWithItsReason(t *testing.T) {
	p := netip.MustParsePrefix("10.1.0.0/16")
	to := func(groups ...string) []bgp.Announcement {
		a := bgp.Announcement{Prefix: p}
		for _, g := range groups {
			a.To = append(a.To, bgp.Export{Group: g})
		}
		return []bgp.Announcement{a}
	}
	down := ha.Withheld{Prefix: p, Site: "b", Reason: ha.ReasonRxStall}
	rival := ha.Withheld{Prefix: p, Site: "a", From: "a", Reason: ha.ReasonOverlap}
	for _, c := range []struct {
		name     string
		old, new []bgp.Announcement
		withheld []ha.Withheld
		want     []string
	}{
		{"announced", nil, to("sites", "tgw"), nil, []string{"announce forwarding "}},
		{"nothing new", to("sites", "tgw"), to("sites", "tgw"), nil, nil},
		{"withdrawn", to("tgw"), nil, []ha.Withheld{rival, down}, []string{"withdraw rx-stall b"}},
		{"only a rival", to("tgw"), nil, []ha.Withheld{rival}, []string{"withdraw overlap a"}},
		{"gone", to("tgw"), nil, nil, []string{"withdraw no-path "}},
		{"the TGW has it now", to("sites", "tgw"), to("sites"), []ha.Withheld{down}, []string{"withdraw rx-stall b"}},
		{"the site has it again", to("sites"), to("sites", "tgw"), nil, []string{"announce forwarding "}},
		{
			"an aggregate stands for it", to("sites", "tgw"), to("sites"),
			[]ha.Withheld{rival, {Prefix: p, Site: "b", Group: "tgw", Reason: ha.ReasonAggregated}},
			[]string{"withdraw aggregated b"},
		},
		{"a group left the configuration", to("sites", "tgw"), to("sites"), nil, []string{"withdraw no-audience "}},
	} {
		out := api.NewEventLog(16)
		j := &journal{log: slog.New(slog.DiscardHandler), out: out}
		read := out.Subscribe("", 0)
		j.plan(&ha.Plan{Announcements: c.old}, &ha.Plan{Gen: 2, Announcements: c.new, Withheld: c.withheld})
		var got []string
		for len(read.C) > 0 {
			e := <-read.C
			got = append(got, fmt.Sprintf("%s %s %s", e.Kind, e.Reason, e.Site))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
