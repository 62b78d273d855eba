package fib

import (
	"context"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// A fresh process does not know yet what sites will teach it: what the one
// before let pass goes on passing until the set is complete.
func TestGrowingSourcesKeepsThoseOfAnEarlierProcess(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "nft")
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect := func(set string, want map[string]bool) {
		t.Helper()
		got := nstest.Run(t, "nft", "list", "set", "inet", "wgbgp", set)
		for p, in := range want {
			if strings.Contains(got, p) != in {
				t.Errorf("%s in %s: want %v, got %s", p, set, in, got)
			}
		}
	}
	first := newFIB(t, Options{})
	must(first.ApplySources(ctx, []bgp.SourceCheck{{Device: "wg0", Prefixes: prefixes("10.1.0.0/16", "10.9.0.0/16", "2001:db8:9::/48")}}))
	f := newFIB(t, Options{})
	set := []bgp.SourceCheck{{Device: "wg0", Prefixes: prefixes("10.1.0.0/16", "10.2.0.0/16", "10.9.1.0/24")}, {Device: "wg1"}}
	must(f.GrowSources(ctx, set))
	must(f.GrowSources(ctx, set)) // and again, which writes nothing
	expect("src4_wg0", map[string]bool{"10.1.0.0/16": true, "10.2.0.0/16": true, "10.9.0.0/16": true})
	expect("src6_wg0", map[string]bool{"2001:db8:9::/48": true})
	must(f.ApplySources(ctx, set))
	expect("src4_wg0", map[string]bool{"10.1.0.0/16": true, "10.2.0.0/16": true, "10.9.0.0/16": false, "10.9.1.0/24": true})
	expect("src6_wg0", map[string]bool{"2001:db8:9::/48": false})
}
