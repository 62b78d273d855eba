package tgwconnect

import (
	"strings"
	"testing"
	"time"
)

func TestSteadyFollowsSlowly(t *testing.T) {
	type step struct {
		after    time.Duration
		forwards bool
		up       bool
		known    bool
	}
	for _, tt := range []struct {
		what  string
		steps []step
	}{
		{"the first up counts at once", []step{{0, false, false, false}, {20 * time.Second, true, true, true}}},
		{"never up: known after the grace", []step{{0, false, false, false}, {59 * time.Second, false, false, false}, {time.Second, false, false, true}}},
		{"down late", []step{{0, true, true, true}, {time.Second, false, true, true}, {9 * time.Second, false, true, true}, {time.Second, false, false, true}}},
		{"a short down is none", []step{{0, true, true, true}, {time.Second, false, true, true}, {9 * time.Second, true, true, true}, {time.Second, false, true, true}, {9 * time.Second, false, true, true}}},
		{"up again late", []step{{0, true, true, true}, {0, false, true, true}, {10 * time.Second, false, false, true}, {time.Second, true, false, true}, {29 * time.Second, true, false, true}, {time.Second, true, true, true}}},
		{"flapping stays down", []step{
			{0, true, true, true},
			{0, false, true, true},
			{10 * time.Second, false, false, true},
			{20 * time.Second, true, false, true},
			{20 * time.Second, false, false, true},
			{20 * time.Second, true, false, true},
			{20 * time.Second, false, false, true},
		}},
	} {
		var s Steady
		now := time.Unix(0, 0)
		for i, x := range tt.steps {
			now = now.Add(x.after)
			s.See(now, x.forwards, 10*time.Second, 30*time.Second)
			if up, known := s.Up(); up != x.up || known != x.known {
				t.Errorf("%s, step %d: got up %t, known %t, want %t, %t", tt.what, i, up, known, x.up, x.known)
			}
		}
	}
}

func TestDecisionsAboutTargets(t *testing.T) {
	mine := func(state, reason string) TargetHealth {
		return TargetHealth{ID: "i-a", Port: 51820, State: state, Reason: reason}
	}
	others := []TargetHealth{
		{ID: "i-b", Port: 51820, State: "healthy"},
		{ID: "i-c", Port: 51820, State: "unhealthy"},
		{ID: "i-a", Port: 51821, State: "healthy"}, // another service of this host
	}
	on, off := Presence{Forwards: true}, Presence{}
	for _, tt := range []struct {
		what  string
		found []TargetHealth
		p     Presence
		keep  bool // deregister = false
		want  TargetVerb
	}{
		{"absent, forwarding", nil, on, false, TargetRegister},
		{"absent, not forwarding yet", nil, off, false, TargetLeave},
		{"asked for by name and absent", []TargetHealth{mine("unused", "Target.NotRegistered")}, on, false, TargetRegister},
		{"registered by somebody", []TargetHealth{mine("healthy", "")}, on, false, TargetLeave},
		{"registered, without a listener", []TargetHealth{mine("unused", "Target.NotInUse")}, on, false, TargetLeave},
		{"not forwarding: the health check is enough", []TargetHealth{mine("unhealthy", "Target.FailedHealthChecks")}, off, false, TargetLeave},
		{"deregistered before a restart", []TargetHealth{mine("draining", "Target.DeregistrationInProgress")}, on, false, TargetRegister},
		{"leaving: first the health check", []TargetHealth{mine("healthy", "")}, Presence{Leave: Leaving}, false, TargetLeave},
		{"leaving, never registered", nil, Presence{Forwards: true, Leave: Leaving}, false, TargetLeave},
		{"left", []TargetHealth{mine("unhealthy", "")}, Presence{Leave: Left}, false, TargetDeregister},
		{"left, while nobody noticed", []TargetHealth{mine("healthy", "")}, Presence{Leave: Left}, false, TargetDeregister},
		{"left, deregister = false", []TargetHealth{mine("unhealthy", "")}, Presence{Leave: Left}, true, TargetLeave},
		{"left, done already", []TargetHealth{mine("draining", "")}, Presence{Leave: Left}, false, TargetLeave},
		{"left, not there", nil, Presence{Leave: Left}, false, TargetLeave},
	} {
		r := TargetRule{ID: "i-a", Port: 51820, Deregister: !tt.keep}
		a := r.Decide(append(tt.found, others...), tt.p)
		if a.Verb != tt.want || a.Why == "" {
			t.Errorf("%s: got %+v, want %s", tt.what, a, tt.want)
		}
		if a.Others != 3 || a.Healthy != 2 {
			t.Errorf("%s: got %d of %d others healthy, want 2 of 3", tt.what, a.Healthy, a.Others)
		}
	}
	if a := (&TargetRule{Port: 51820}).Decide(nil, on); a.Verb != TargetLeave {
		t.Errorf("without an ID: got %s", a.Verb)
	}
}

// With no healthy target an NLB sends to all of them (facts/aws.md 3.6): the last
// host of a fleet can not leave unnoticed.
func TestTheLastHealthyTargetIsToldSo(t *testing.T) {
	r := TargetRule{ID: "i-a", Port: 51820, Deregister: true}
	mine := TargetHealth{ID: "i-a", Port: 51820, State: "healthy"}
	for state, want := range map[string]bool{"healthy": false, "unhealthy": true} {
		a := r.Decide([]TargetHealth{mine, {ID: "i-b", Port: 51820, State: state}}, Presence{Leave: Leaving})
		if got := strings.Contains(a.Why, "no other target is healthy"); got != want {
			t.Errorf("the other one is %s: %s", state, a.Why)
		}
	}
}

func TestOnlyAHealthyTargetGetsNewFlows(t *testing.T) {
	for state, want := range map[string]bool{"": true, "healthy": false, "unhealthy": true, "draining": true, "unused": true, "initial": true} {
		if a := (TargetAction{State: state}); a.Noticed() != want {
			t.Errorf("%q: got %t, want %t", state, !want, want)
		}
	}
}
