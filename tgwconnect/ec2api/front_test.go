package ec2api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

func TestTargetsAreOnePortOfAnInstance(t *testing.T) {
	s := start(t, world.ExampleOptions{NoPeers: true, Services: true}, ec2api.Options{})
	for _, port := range []int{51820, 51821} {
		if err := s.RegisterTargets(t.Context(), s.TargetGroup, s.Instances[0], port); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeregisterTargets(t.Context(), s.TargetGroup, s.Instances[0], 51821); err != nil {
		t.Fatal(err)
	}
	got, err := s.DescribeTargetHealth(t.Context(), s.TargetGroup)
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, x := range got {
		if x.Group != s.TargetGroup || x.ID != s.Instances[0] || x.State == "" || (x.State == tgwconnect.TargetDraining) != (x.Port == 51821) {
			t.Errorf("target %+v", x)
		}
	}
	_, err = s.DescribeTargetHealth(t.Context(), strings.Replace(s.TargetGroup, "wireguard", "nothing", 1))
	if !ec2api.IsNotFound(err) {
		t.Errorf("a group that is not there: %v", err)
	}
}

// What Route 53 gives back must be just what it was given: a record can only be
// deleted by all that it is.
func TestRecordsComeBackAsTheyWere(t *testing.T) {
	const check = "01234567-89ab-cdef-0123-456789abcdef"
	s := start(t, world.ExampleOptions{NoPeers: true, Services: true}, ec2api.Options{})
	s.World().Do(func(w *world.State) { w.HealthChecks[check] = true })
	for i, r := range []tgwconnect.RecordSet{
		{Type: "A", TTL: 60, Values: []string{"203.0.113.1", "203.0.113.2"}},
		{Type: "A", TTL: 60, SetID: "gw 1", Policy: tgwconnect.PolicyWeighted, Weight: 100, Values: []string{"203.0.113.1"}},
		{Type: "AAAA", TTL: 60, SetID: "gw-1", Policy: tgwconnect.PolicyWeighted, Values: []string{"2001:db8::1"}},
		{Type: "A", TTL: 60, SetID: "gw-1", Policy: tgwconnect.PolicyMultivalue, HealthCheck: check, Values: []string{"203.0.113.1"}},
		{Type: "A", TTL: 60, SetID: "gw-1", Policy: tgwconnect.PolicyFailover, HealthCheck: check, Values: []string{"203.0.113.1"}},
		{Type: "A", TTL: 60, SetID: "gw-2", Policy: tgwconnect.PolicyFailover, Secondary: true, Values: []string{"203.0.113.2"}},
		{Type: "TXT", TTL: 300, SetID: "gw-1", Policy: tgwconnect.PolicyWeighted, Weight: 1, Values: []string{`"wgbgp-owner=gw-1"`}},
	} {
		r.Name = fmt.Sprintf("_x%d.example.net", i)
		change := func(remove bool) error {
			return s.ChangeResourceRecordSets(t.Context(), s.Zone, []tgwconnect.RecordChange{{Delete: remove, Set: r}})
		}
		if err := change(false); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		got, err := s.ListResourceRecordSets(t.Context(), s.Zone, r.Name)
		if err != nil || len(got) != 1 || fmt.Sprint(got[0]) != fmt.Sprint(r) {
			t.Errorf("got %+v, %v, want %+v", got, err, r)
		}
		if err := change(false); ec2api.Code(err) != "InvalidChangeBatch" {
			t.Errorf("%+v made twice: %v", r, err)
		}
		if err := change(true); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestRecordsThatAreNeverOursAreMarked(t *testing.T) {
	s := start(t, world.ExampleOptions{NoPeers: true, Services: true}, ec2api.Options{})
	ttl := int64(60)
	s.World().Do(func(w *world.State) {
		z := w.HostedZones[s.Zone]
		z.Records = append(z.Records,
			world.Record{Name: "wg.example.net.", Type: "A", Alias: &world.Alias{ZoneID: s.Zone, Name: "other.example.net."}},
			world.Record{Name: "wg.example.net.", Type: "AAAA", SetID: "near", Region: "eu-central-1", TTL: &ttl, Values: []string{"2001:db8::1"}},
			world.Record{Name: "b.wg.example.net.", Type: "A", TTL: &ttl, Values: []string{"203.0.113.9"}})
		slices.SortFunc(z.Records, world.CompareRecords)
	})
	got, err := s.ListResourceRecordSets(t.Context(), s.Zone, "wg.example.net")
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got[0].Other == "" || got[1].Other == "" || got[1].Policy != tgwconnect.PolicyOther {
		t.Errorf("got %+v", got)
	}
}

// The names of a fleet's hosts can be many, and pages small.
func TestAllRecordsOfANameOverAllPages(t *testing.T) {
	s := start(t, world.ExampleOptions{NoPeers: true, Services: true}, ec2api.Options{})
	var want []string
	for i := range 7 {
		id := fmt.Sprint("gw-", i)
		r := tgwconnect.RecordSet{Name: "wg.example.net", Type: "A", TTL: 60, SetID: id, Policy: tgwconnect.PolicyWeighted, Values: []string{fmt.Sprint("203.0.113.", i+1)}}
		if err := s.ChangeResourceRecordSets(t.Context(), s.Zone, []tgwconnect.RecordChange{{Set: r}}); err != nil {
			t.Fatal(err)
		}
		want = append(want, id)
	}
	s.SetFaults(tgwsim.Faults{PageSize: 2})
	got, err := s.ListResourceRecordSets(t.Context(), s.Zone, "wg.example.net")
	var ids []string
	for _, r := range got {
		ids = append(ids, r.SetID)
	}
	if err != nil || !slices.Equal(ids, want) {
		t.Errorf("got %q, %v, want %q", ids, err, want)
	}
}

// A lost answer is told, and what is counted is counted for all clients that share
// their counters.
func TestChangesOfRecordsAreNotMadeTwice(t *testing.T) {
	counters := &ec2api.Counters{}
	s := start(t, world.ExampleOptions{NoPeers: true, Services: true}, ec2api.Options{Counters: counters})
	s.SetFaults(tgwsim.Faults{Plan: []tgwsim.Fault{{Operations: []string{"ChangeResourceRecordSets"}, Kind: tgwsim.CutAfter, Count: 1}}})
	r := tgwconnect.RecordSet{Name: "wg.example.net", Type: "A", TTL: 60, Values: []string{"203.0.113.1"}}
	err := s.ChangeResourceRecordSets(t.Context(), s.Zone, []tgwconnect.RecordChange{{Set: r}})
	if !ec2api.IsUnknownOutcome(err) {
		t.Errorf("got %v, want an unknown outcome", err)
	}
	if n := len(s.Calls("ChangeResourceRecordSets")); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	if c := counters.Read(); c.Requests != 1 || c.Failed != 1 {
		t.Errorf("counted %+v", c)
	}
}
