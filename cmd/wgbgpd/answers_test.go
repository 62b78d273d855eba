package main

import (
	"net/netip"
	"testing"

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
