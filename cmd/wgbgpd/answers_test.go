package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
)

func TestWithheldCountsPrefixesThatNobodyIsTold(t *testing.T) {
	a, b, c := netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.2.0.0/16"), netip.MustParsePrefix("10.3.0.0/16")
	p := &ha.Plan{
		Announcements: []bgp.Announcement{{Prefix: b}},
		Withheld:      []ha.Withheld{{Prefix: a, Site: "x"}, {Prefix: a, Site: "y"}, {Prefix: b, Site: "y"}, {Prefix: c}},
	}
	if got := withheld(p); got != 2 {
		t.Errorf("got %d, want 2 (%s and %s)", got, a, c)
	}
}

func TestNeighborThatIsToldNothingSaysWhy(t *testing.T) {
	const why = "nothing is announced: this host hands over"
	site := bgp.Neighbor{Name: "paris", Export: true, Import: &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: netip.MustParsePrefix("10.1.0.0/16")}}}}
	mute := site
	mute.Export = false
	for _, tt := range []struct {
		what  string
		n     *bgp.Neighbor
		state bgp.SessionState
		want  string
	}{
		{"its session is up", &site, bgp.StateEstablished, why},
		{"it is never told anything", &mute, bgp.StateEstablished, ""},
	} {
		if got := neighbor(tt.n, bgp.NeighborState{State: tt.state}, 65010, time.Time{}, "", why).Hint; got != tt.want {
			t.Errorf("%s: got hint %q, want %q", tt.what, got, tt.want)
		}
	}
}
