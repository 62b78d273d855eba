package gre

import (
	"slices"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

func TestCheckNamesEveryDifference(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	underlay(t)
	m := newManager(t)
	tunnel := tunnel4()
	mustBeUp(t, apply(m, true, tunnel))
	check := func(want ...tgwconnect.Tunnel) []string {
		t.Helper()
		out, err := m.Check(want, true)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := check(tunnel); len(got) > 0 {
		t.Fatalf("right after Apply: got %q, want nothing", got)
	}
	// What is wanted is changed instead of the tunnel, which would repair itself.
	change := func(f func(*tgwconnect.Tunnel)) tgwconnect.Tunnel {
		c := tunnel4()
		f(&c)
		return c
	}
	for _, tt := range []struct {
		want []tgwconnect.Tunnel
		line string
	}{
		{[]tgwconnect.Tunnel{change(func(c *tgwconnect.Tunnel) { c.MTU = 1300 })}, "differs: tunnel gre1: MTU is "},
		{[]tgwconnect.Tunnel{change(func(c *tgwconnect.Tunnel) { c.Addresses = prefixes("169.254.100.1/29") })}, "not wanted: address fd00:100::1/125 on tunnel gre1"},
		{[]tgwconnect.Tunnel{change(func(c *tgwconnect.Tunnel) { c.Addresses = append(c.Addresses, prefixes("fd00:7::1/125")...) })}, "missing: address fd00:7::1/125 on tunnel gre1"},
		{[]tgwconnect.Tunnel{change(func(c *tgwconnect.Tunnel) { c.VRF = "red" })}, `differs: tunnel gre1: is not in VRF "red"`},
		{[]tgwconnect.Tunnel{change(func(c *tgwconnect.Tunnel) { c.Mark = 7 })}, "differs: tunnel gre1: "},
		{[]tgwconnect.Tunnel{change(func(c *tgwconnect.Tunnel) { c.Name = "gre2" })}, "missing: tunnel gre2"},
		{nil, "not wanted: tunnel gre1"},
	} {
		if got := check(tt.want...); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, tt.line) }) {
			t.Errorf("got %q, want %q among them", got, tt.line)
		}
	}
}
