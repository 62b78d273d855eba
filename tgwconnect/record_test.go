package tgwconnect

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func recordRule() RecordRule {
	return RecordRule{
		Record: "wg.example.net", SetID: "gw-a", Owner: "gw-a", Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8::1")},
		Policy: PolicyWeighted, Weight: 100, TTL: time.Minute, WhenDown: WithdrawZero, AtDrain: WithdrawRemove, DownAfter: time.Second, UpAfter: time.Second,
	}
}

// short writes a batch: what is deleted and what is created, in the order of names.
func short(changes []RecordChange) string {
	var out []string
	for _, c := range changes {
		verb := "+"
		if c.Delete {
			verb = "-"
		}
		w := ""
		if c.Set.Policy == PolicyWeighted && c.Set.Type != "TXT" {
			w = "/" + map[int64]string{0: "0", 50: "50", 100: "100"}[c.Set.Weight]
		}
		out = append(out, verb+c.Set.Type+w)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestDecisionsAboutRecords(t *testing.T) {
	known := func(up bool) Steady {
		var s Steady
		s.See(time.Unix(0, 0), true, 0, 0)
		s.See(time.Unix(1, 0), up, 0, 0)
		return s
	}
	up, down := known(true), known(false)
	rule := recordRule()
	a := RecordSet{Name: "wg.example.net", Type: "A", SetID: "gw-a", Policy: PolicyWeighted, Weight: 100, TTL: 60, Values: []string{"203.0.113.1"}}
	aaaa := a
	aaaa.Type, aaaa.Values = "AAAA", []string{"2001:db8:0:0:0:0:0:1"} // another form of the same address
	txt := RecordSet{Name: "_wgbgp-owner.wg.example.net", Type: "TXT", SetID: "gw-a", Policy: PolicyWeighted, Weight: 1, TTL: 300, Values: []string{`"wgbgp-owner=gw-a"`}}
	all := []RecordSet{a, aaaa, txt}
	other := func(s RecordSet) RecordSet {
		s.SetID, s.Values = "gw-b", []string{"203.0.113.2"}
		return s
	}
	with := func(s RecordSet, f func(*RecordSet)) RecordSet { f(&s); return s }
	zero := func(s *RecordSet) { s.Weight = 0 }
	foreign := with(txt, func(s *RecordSet) { s.Values = []string{`"wgbgp-owner=gw-z"`} })
	simple := RecordSet{Name: "wg.example.net", Type: "A", TTL: 300, Values: []string{"198.51.100.1"}}
	leaving := Presence{Leave: Leaving}
	edit := func(f func(*RecordRule)) RecordRule { r := rule; f(&r); return r }
	adopt := edit(func(r *RecordRule) { r.Adopt = true })
	for _, tt := range []struct {
		what    string
		rule    RecordRule
		found   []RecordSet
		p       Presence
		s       Steady
		want    string
		problem bool
	}{
		{"new", rule, nil, Presence{}, up, "+A/100 +AAAA/100 +TXT", false},
		{"new, beside another host's", rule, []RecordSet{other(a), other(aaaa), other(txt)}, Presence{}, up, "+A/100 +AAAA/100 +TXT", false},
		{"as it should be", rule, all, Presence{}, up, "", false},
		{"nothing known yet: what is there stays", rule, all, Presence{}, Steady{}, "", false},
		{"nothing known yet: nothing is made", rule, nil, Presence{}, Steady{}, "", false},
		{"another weight", rule, []RecordSet{with(a, func(s *RecordSet) { s.Weight = 50 }), aaaa, txt}, Presence{}, up, "+A/100 +AAAA/100 +TXT -A/50 -AAAA/100 -TXT", false},
		{"another address", rule, []RecordSet{with(a, func(s *RecordSet) { s.Values = []string{"203.0.113.9"} }), aaaa, txt}, Presence{}, up, "+A/100 +AAAA/100 +TXT -A/100 -AAAA/100 -TXT", false},
		{"no IPv6 any more", edit(func(r *RecordRule) { r.Addresses = r.Addresses[:1] }), all, Presence{}, up, "+A/100 +TXT -A/100 -AAAA/100 -TXT", false},
		{"half of it was removed", rule, []RecordSet{txt}, Presence{}, up, "+A/100 +AAAA/100 +TXT -TXT", false},

		{"down: weight zero", rule, all, Presence{}, down, "+A/0 +AAAA/0 +TXT -A/100 -AAAA/100 -TXT", false},
		{"down, zero already", rule, []RecordSet{with(a, zero), with(aaaa, zero), txt}, Presence{}, down, "", false},
		{"down and not there: nothing is made", rule, nil, Presence{}, down, "", false},
		{"down: remove", edit(func(r *RecordRule) { r.WhenDown = WithdrawRemove }), all, Presence{}, down, "-A/100 -AAAA/100 -TXT", false},
		{"down: leave", edit(func(r *RecordRule) { r.WhenDown = WithdrawLeave }), all, Presence{}, down, "", false},
		{"up again", rule, []RecordSet{with(a, zero), with(aaaa, zero), txt}, Presence{}, up, "+A/100 +AAAA/100 +TXT -A/0 -AAAA/0 -TXT", false},

		{"leaving: removed at once", rule, append(all, other(a), other(txt)), leaving, up, "-A/100 -AAAA/100 -TXT", false},
		{"left: nothing more", rule, []RecordSet{other(a)}, Presence{Leave: Left}, up, "", false},
		{"leaving: weight zero", edit(func(r *RecordRule) { r.AtDrain = WithdrawZero }), all, leaving, up, "+A/0 +AAAA/0 +TXT -A/100 -AAAA/100 -TXT", false},
		{"leaving: leave", edit(func(r *RecordRule) { r.AtDrain = WithdrawLeave }), all, leaving, up, "", false},

		{"of another owner", rule, []RecordSet{a, aaaa, foreign}, Presence{}, up, "", true},
		{"of another owner, adopt", adopt, []RecordSet{a, aaaa, foreign}, Presence{}, up, "", true},
		{"of another owner, leaving", rule, []RecordSet{a, aaaa, foreign}, leaving, up, "", false},
		{"without an owner", rule, []RecordSet{a}, Presence{}, up, "", true},
		{"without an owner, leaving", rule, []RecordSet{a}, leaving, up, "", false},
		{"without an owner, leaving, adopt", adopt, []RecordSet{a}, leaving, up, "", false},
		{"without an owner, down, adopt", adopt, []RecordSet{a}, Presence{}, down, "", false},
		{"without an owner, adopt", adopt, []RecordSet{a}, Presence{}, up, "+A/100 +AAAA/100 +TXT -A/100", false},
		{"a simple record", rule, []RecordSet{simple}, Presence{}, up, "", true},
		{"a simple record, adopt", adopt, []RecordSet{simple}, Presence{}, up, "+A/100 +AAAA/100 +TXT -A", false},
		{"ours beside a simple record of the other family, leaving, adopt", adopt, []RecordSet{with(simple, func(s *RecordSet) { s.Type = "AAAA" }), a, txt}, leaving, up, "-A/100 -TXT", false},
		{"an alias, adopt", adopt, []RecordSet{with(a, func(s *RecordSet) { s.Values, s.Other = nil, "an alias target" })}, Presence{}, up, "", true},
		{"another policy", rule, []RecordSet{with(other(a), func(s *RecordSet) { s.Policy = PolicyFailover })}, Presence{}, up, "", true},
		{"a CNAME", rule, []RecordSet{{Name: "wg.example.net", Type: "CNAME", Values: []string{"x"}}}, Presence{}, up, "", true},
	} {
		got := tt.rule.Decide(tt.found, tt.p, tt.s)
		if s := short(got.Changes); s != tt.want || got.Problem != tt.problem || got.Why == "" {
			t.Errorf("%s: got %q (problem %t, %s), want %q (%t)", tt.what, s, got.Problem, got.Why, tt.want, tt.problem)
		}
		if (got.Verb == RecordLeave) != (len(got.Changes) == 0) {
			t.Errorf("%s: %s with %d changes", tt.what, got.Verb, len(got.Changes))
		}
		for _, c := range got.Changes {
			if c.Set.SetID != "gw-a" && c.Set.SetID != "" || c.Delete && !slices.ContainsFunc(tt.found, func(f RecordSet) bool { return f.equal(&c.Set) && slices.Equal(f.Values, c.Set.Values) }) {
				t.Errorf("%s: touches %+v", tt.what, c.Set)
			}
		}
	}
}

func TestPoliciesOfRecords(t *testing.T) {
	for _, tt := range []struct {
		edit func(*RecordRule)
		want RecordSet
	}{
		{func(*RecordRule) {}, RecordSet{Policy: PolicyWeighted, Weight: 100}},
		{func(r *RecordRule) { r.Policy, r.Weight = PolicyMultivalue, 0 }, RecordSet{Policy: PolicyMultivalue}},
		{func(r *RecordRule) { r.Policy, r.Weight, r.HealthCheck = PolicyFailover, 0, "hc" }, RecordSet{Policy: PolicyFailover, HealthCheck: "hc"}},
		{func(r *RecordRule) { r.Policy, r.Weight, r.Secondary = PolicyFailover, 0, true }, RecordSet{Policy: PolicyFailover, Secondary: true}},
	} {
		r := recordRule()
		tt.edit(&r)
		tt.want.Name, tt.want.Type, tt.want.SetID, tt.want.TTL, tt.want.Values = "wg.example.net", "A", "gw-a", 60, []string{"203.0.113.1"}
		if got := r.want(false)[0]; !got.equal(&tt.want) {
			t.Errorf("got %+v, want %+v", got, tt.want)
		}
	}
}
