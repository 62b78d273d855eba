package ha

import (
	"net/netip"
	"testing"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

func TestWhoCarriesAWatchedPrefix(t *testing.T) {
	w := preemptWorld(t, true)
	cfg := *w.c.cfg
	cfg.Watched = []netip.Prefix{pfx("10.1.0.0/16"), pfx("10.99.0.0/16")}
	cfg.Gateway.RouterID = netip.MustParseAddr("192.0.2.2")
	w.c.Reconfigure(w.now, &cfg)
	for _, n := range []string{"paris", "tgw/1", "tgw/2", "a"} {
		w.session(n, true)
	}
	partner := func(id string) {
		w.step(NeighborObserved{bgp.NeighborState{Name: "a", State: bgp.StateEstablished, Since: w.now, RouterID: netip.MustParseAddr(id), EndOfRIB4: true}})
	}
	partner("192.0.2.1")
	want := func(what string, hold tgwconnect.Hold) {
		t.Helper()
		c := w.settle().Claims
		if len(c) != 2 || c[0].Prefix != pfx("10.1.0.0/16") || c[0].Hold != hold || c[1].Hold != tgwconnect.HeldByNobody {
			t.Errorf("%s: got %v, want %v", what, c, hold)
		}
	}
	want("the other one is backup", tgwconnect.HeldHere)
	w.speak(RankDirect)
	want("equal ranks, and the other has the lower router ID", tgwconnect.HeldElsewhere)
	partner("192.0.2.3")
	want("equal ranks, and this host has the lower router ID", tgwconnect.HeldHere)
	w.step(Draining{DrainPrefer})
	want("this host leaves", tgwconnect.HeldElsewhere)
	w.speak(RankDrain)
	want("both leave, and this host has the lower router ID", tgwconnect.HeldHere)
	partner("192.0.2.1")
	want("both leave, and the other has the lower router ID", tgwconnect.HeldElsewhere)
	partner("192.0.2.3")
	w.step(Draining{DrainWithdraw})
	want("both leave, and this host has withdrawn", tgwconnect.HeldElsewhere)
	w.step(Draining{DrainPrefer})
	w.unlearn("a", "10.1.0.0/16")
	want("this host leaves and nobody else has it", tgwconnect.HeldHere)
	w.step(Draining{DrainNone})
	w.session("paris", false)
	want("nobody has it", tgwconnect.HeldByNobody)
	w.speak(RankDirect)
	want("only the other one has it", tgwconnect.HeldElsewhere)
	w.session("paris", true)
	w.bfd("a", bfdFailed)
	want("the other one died", tgwconnect.HeldHere)
}

// A host of another region is no target that an entry of this region may have.
func TestHostOfAnotherRegionCarriesNoWatchedPrefixHere(t *testing.T) {
	w := regionWorld(t, func(cfg *Config) { cfg.Watched = []netip.Prefix{pfx("10.1.0.0/16")} })
	w.tells("us1", RankTakeover, "10.1.0.0/16")
	if c := w.settle().Claims[0]; c.Hold != tgwconnect.HeldHere || c.Rival {
		t.Errorf("got %+v, want it held here without a rival", c)
	}
	w.session("paris", false)
	if c := w.settle().Claims[0]; c.Hold != tgwconnect.HeldByNobody {
		t.Errorf("with the site lost here got %+v, want nobody", c)
	}
}
