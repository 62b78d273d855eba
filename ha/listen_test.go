package ha

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// listener is a host that has just started, with a site that may announce.
func listener(t *testing.T) *world {
	cfg := config(site("paris", 1))
	for i := range cfg.Neighbors {
		if n := &cfg.Neighbors[i]; n.Kind == bgp.KindSite {
			n.Import = &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: pfx("10.1.0.0/16"), LE: 24}}}
		}
	}
	return newWorld(t, cfg)
}

func tells(p *Plan, neighbor string) bool {
	return slices.ContainsFunc(p.Neighbors, func(n bgp.Neighbor) bool { return n.Name == neighbor && n.Export })
}

func (w *world) wantTold(what string, want bool) {
	w.t.Helper()
	p := w.settle()
	if got := tells(p, "paris"); got != want {
		w.t.Errorf("%s: paris is told something: %t, want %t", what, got, want)
	}
	if why := w.c.Untold("paris"); (why == "") != want {
		w.t.Errorf("%s: told %t, and the reason why not is %q", what, want, why)
	}
	if !tells(p, "tgw/1") {
		w.t.Errorf("%s: the Transit Gateway is not told anything", what)
	}
}

func (w *world) comes(eor bool) {
	w.step(NeighborObserved{bgp.NeighborState{Name: "paris", State: bgp.StateEstablished, Since: w.now, EndOfRIB4: eor}})
}

// What a site sends by our routes would be dropped before its prefixes are allowed
// IPs of its peer.
func TestSiteIsToldNothingBeforeItsPrefixesAreAllowedIPs(t *testing.T) {
	w := listener(t)
	w.wantTold("at first", false)
	w.comes(false)
	w.wantTold("its session is up", false)
	w.now = w.now.Add(time.Second)
	w.learn("paris", 0, "10.1.0.0/24")
	w.wantTold("its first path is here", false)
	if due := w.c.Due(); due.After(w.now.Add(listenMore)) {
		t.Errorf("due in %s, want within %s", due.Sub(w.now), listenMore)
	}
	w.now = w.now.Add(listenMore)
	w.wantTold("its table is here", true)
	w.session("paris", false)
	w.wantTold("its session ends", true)
	w.now = w.now.Add(time.Second)
	w.comes(false)
	w.wantTold("it comes again", true) // see returning.go
}

func TestSiteThatTellsNothingIsToldInTheEnd(t *testing.T) {
	w := listener(t)
	w.comes(false)
	w.wantTold("its session is up", false)
	w.now = w.now.Add(quietAfter)
	w.wantTold("it has been waited for", true)

	w = listener(t)
	w.comes(true)
	w.wantTold("it has said that it has nothing", true)
}

func TestSiteIsToldOnlyOnceItsAllowedIPsAreApplied(t *testing.T) {
	w := listener(t)
	w.settle()
	w.comes(false)
	w.learn("paris", 0, "10.1.0.0/24")
	w.now = w.now.Add(quietAfter)
	p := w.c.Plan(w.now)
	if tells(p, "paris") {
		t.Error("told before the allowed IP was applied")
	}
	w.now = w.now.Add(listenLimit)
	if p = w.c.Plan(w.now); !tells(p, "paris") {
		t.Error("not told although an allowed IP was waited for long enough")
	}
}

// However many sites come at once, the export policy changes a few times a second.
func TestSitesAreLetInTogether(t *testing.T) {
	cfg := config(site("paris", 1), site("lyon", 2), site("nice", 3))
	for i := range cfg.Neighbors {
		if n := &cfg.Neighbors[i]; n.Kind == bgp.KindSite {
			n.Import = &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: pfx("10.1.0.0/16"), LE: 24}}}
		}
	}
	w := newWorld(t, cfg)
	told := func() (n int) {
		p := w.settle()
		for _, s := range cfg.Sites {
			if tells(p, s.Name) {
				n++
			}
		}
		return n
	}
	for i, s := range cfg.Sites {
		w.step(NeighborObserved{bgp.NeighborState{Name: s.Name, State: bgp.StateEstablished, Since: w.now, EndOfRIB4: true}})
		if got := told(); got != 1 {
			t.Errorf("%d sites have come within some milliseconds: %d are told, want 1", i+1, got)
		}
		w.now = w.now.Add(time.Millisecond)
	}
	if due := w.c.Due(); due.After(w.now.Add(listenPace)) {
		t.Errorf("due in %s, want within %s", due.Sub(w.now), listenPace)
	}
	w.now = w.now.Add(listenPace)
	if got := told(); got != 3 {
		t.Errorf("%s later %d are told, want all 3", listenPace, got)
	}
}

// Where the tunnels outlive the process, so do the allowed IPs.
func TestSiteOfAnEarlierProcessIsToldAtOnce(t *testing.T) {
	w := listener(t)
	w.c = New(w.now, w.c.cfg)
	w.step(Resumed{Neighbors: []string{"paris"}})
	w.see("wg0")
	w.wantTold("after the restart", true)
}

func TestReloadRemembersWhoWasHeard(t *testing.T) {
	w := listener(t)
	w.comes(true)
	w.wantTold("it is heard", true)
	cfg := *w.c.cfg
	w.c.Reconfigure(w.now, &cfg)
	w.wantTold("after a reload", true)
}

// The speaker refuses twins, on two interfaces with one link-local address, that are
// told differently, and one that is refused is never heard.
func TestSitesWithOneLinkLocalAddressAreToldAlike(t *testing.T) {
	cfg := config(site("paris", 1), site("lyon", 2))
	for i := range cfg.Neighbors {
		if n := &cfg.Neighbors[i]; n.Kind == bgp.KindSite {
			n.Address = netip.MustParseAddr("fe80::2%wg-" + n.Name)
			n.Import = &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: pfx("10.1.0.0/16"), LE: 24}}}
		}
	}
	w := newWorld(t, cfg)
	w.comes(true)
	if p := w.settle(); !tells(p, "paris") || !tells(p, "lyon") {
		t.Errorf("paris has told its table, lyon not: told are paris %t, lyon %t; want both", tells(p, "paris"), tells(p, "lyon"))
	}
}
