package doctor_test

import (
	"testing"

	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/doctor"
)

// IPv4 and IPv6 clients need a target group each: the same hosts, and each fails
// open for itself.
func TestTargetGroupsAreJudgedOneByOne(t *testing.T) {
	const four, six = "arn:aws:x:y:1:targetgroup/four/1", "arn:aws:x:y:1:targetgroup/six/2"
	target := func(group, id, state string) tgwconnect.TargetHealth {
		return tgwconnect.TargetHealth{Group: group, ID: id, Port: 51820, State: state}
	}
	for _, tt := range []struct {
		what    string
		targets []tgwconnect.TargetHealth
		row     int
		want    doctor.Verdict
	}{
		{"one host in two groups needs no shared key", []tgwconnect.TargetHealth{target(four, "i-1", "healthy"), target(six, "i-1", "healthy")}, 42, doctor.OK},
		{"two hosts in one group need one", []tgwconnect.TargetHealth{target(four, "i-1", "healthy"), target(four, "i-2", "healthy")}, 42, doctor.Problem},
		{"one group is all unhealthy", []tgwconnect.TargetHealth{target(four, "i-1", "healthy"), target(six, "i-1", "unhealthy")}, 41, doctor.Problem},
		{"each group has a healthy target", []tgwconnect.TargetHealth{
			target(four, "i-1", "healthy"), target(four, "i-2", "unhealthy"), target(six, "i-1", "unhealthy"), target(six, "i-2", "healthy"),
		}, 41, doctor.OK},
	} {
		f := &doctor.Facts{AWS: doctor.AWS{Targets: doctor.Part[tgwconnect.TargetHealth]{Values: tt.targets, Read: true, Action: "x"}}}
		f.Daemon.Config = &doctor.Config{Ports: map[string]uint16{"wg0": 51820}, Sites: []doctor.SiteConfig{{Name: "paris", Device: "wg0"}}}
		got := doctor.Examine(f, func(r doctor.Row) bool { return r.Number == tt.row })
		if len(got) != 1 || got[0].Verdict != tt.want {
			t.Errorf("%s: got %+v, want %s", tt.what, got, tt.want)
		}
	}
}
