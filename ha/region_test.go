package ha

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// regionWorld is gateway eu1 of region eu with site paris. Gateway eu2 is in the
// same region, us1 and us2 in the next one, each by a link, and ap1 farther away.
// A router speaks iBGP, another one eBGP.
func regionWorld(t *testing.T, edit func(*Config)) *world {
	cfg := config(site("paris", 1, "10.1.0.0/16"))
	cfg.Gateway.Region, cfg.Gateway.Prefer = "eu", []string{"us"}
	cfg.Sites[0].Preempt = true
	for i := range cfg.Neighbors {
		if cfg.Neighbors[i].Kind == bgp.KindTGW {
			cfg.Neighbors[i].HoldTime = 30 * time.Second
		}
	}
	for host, region := range map[string]string{"eu2": "eu", "us1": "us", "us2": "us", "ap1": "ap"} {
		cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{Name: host, Kind: bgp.KindFleet, Group: "fleet", Region: region, IPv4: true, Export: true, Device: "to-" + host})
	}
	cfg.Neighbors = append(cfg.Neighbors,
		bgp.Neighbor{Name: "inside", Kind: bgp.KindRouter, Group: "inside", RemoteASN: 65000, IPv4: true, Export: true},
		bgp.Neighbor{Name: "outside", Kind: bgp.KindRouter, Group: "outside", RemoteASN: 65020, IPv4: true, Export: true})
	cfg.BFD = []bgp.BFDSession{{Name: "eu2"}, {Name: "us1"}}
	if edit != nil {
		edit(cfg)
	}
	w := newWorld(t, cfg)
	for i := range cfg.Neighbors {
		w.session(cfg.Neighbors[i].Name, true)
	}
	for i := range cfg.BFD {
		w.bfd(cfg.BFD[i].Name, bfdUp)
	}
	return w
}

// tells has a host tell a prefix with the MED of a rank.
func (w *world) tells(host string, r Rank, prefix string, large ...bgp.LargeCommunity) {
	w.step(PathsChanged{[]bgp.PathChange{{Path: bgp.Path{
		Prefix: pfx(prefix), Neighbor: host, Since: w.now,
		Attrs: &bgp.Attrs{LocalPref: 100, MED: DefaultRanks()[r].MED, HasMED: true, Large: large},
	}}}})
}

// toward is what the group is told of the prefix, or false.
func (w *world) toward(group, prefix string) (bgp.Export, bool) {
	w.t.Helper()
	return export(w.settle(), prefix, group)
}

func TestOtherRegionsPrefixHasRankRemote(t *testing.T) {
	for _, prefix := range []string{"10.3.0.0/16", "2001:db8:3::/48"} {
		w := regionWorld(t, nil)
		w.tells("us1", RankDirect, prefix)
		if x, ok := w.toward("tgw", prefix); !ok || x.MED != 150 || x.Prepend != 2 {
			t.Errorf("%s toward the Transit Gateway: %+v (told: %t), want MED 150 and 2 prepends", prefix, x, ok)
		}
		w.tells("eu2", RankDirect, prefix)
		if x, ok := w.toward("tgw", prefix); !ok || x.MED != 120 || x.Prepend != 1 {
			t.Errorf("%s, since a host of this region has it too: %+v (told: %t), want MED 120 and 1 prepend", prefix, x, ok)
		}
	}
}

// RFC 4271 section 9.2.1: what an iBGP neighbor tells is told to no other one.
func TestWhatTheFleetTellsGoesToNoIBGPNeighbor(t *testing.T) {
	w := regionWorld(t, nil)
	for _, host := range []string{"eu2", "us1"} {
		w.tells(host, RankDirect, "10.3.0.0/16")
		if got, want := toldTo(w.settle(), "10.3.0.0/16"), []string{"outside", "sites", "tgw"}; !slices.Equal(got, want) {
			t.Errorf("what %s tells goes to %v, want %v", host, got, want)
		}
		w.unlearn(host, "10.3.0.0/16")
	}
	if got, want := toldTo(w.settle(), "10.1.0.0/16"), []string{"fleet", "inside", "outside", "sites", "tgw"}; len(got) != 0 && !slices.Equal(got, want) {
		t.Errorf("a site's prefix goes to %v, want %v", got, want)
	}
}

func TestWhatATransitGatewayToldGoesToNoOtherOne(t *testing.T) {
	w := regionWorld(t, nil)
	mark := bgp.LargeCommunity{Global: 65000, Data1: 1}
	w.learn("tgw/1", 0, "10.200.0.0/16")
	x, ok := w.toward("fleet", "10.200.0.0/16")
	if !ok || !slices.Equal(x.Large, []bgp.LargeCommunity{mark}) {
		t.Errorf("the fleet is told %+v (told: %t), want mark %v", x, ok, mark)
	}
	if x, _ := w.toward("sites", "10.200.0.0/16"); len(x.Large) > 0 {
		t.Errorf("sites are told the mark %v, which is between gateways", x.Large)
	}

	other := bgp.LargeCommunity{Global: 65000, Data1: 7}
	w.tells("us1", RankDirect, "10.201.0.0/16", other, mark)
	if got, want := toldTo(w.settle(), "10.201.0.0/16"), []string{"outside", "sites"}; !slices.Equal(got, want) {
		t.Errorf("what us1 has from its Transit Gateway goes to %v, want %v", got, want)
	}
	for _, a := range w.settle().Announcements {
		if a.Prefix == pfx("10.201.0.0/16") && !slices.Equal(a.Attrs.Large, []bgp.LargeCommunity{other}) {
			t.Errorf("told with %v, want %v alone", a.Attrs.Large, other)
		}
	}
	w.learn("paris", 0, "10.202.0.0/16")
	w.step(PathsChanged{[]bgp.PathChange{{Path: bgp.Path{Prefix: pfx("10.202.0.0/16"), Neighbor: "paris", Attrs: &bgp.Attrs{LocalPref: 100, Large: []bgp.LargeCommunity{mark}}}}}})
	if _, ok := w.toward("tgw", "10.202.0.0/16"); !ok && withheld(w.settle(), "10.202.0.0/16") == ReasonNone {
		t.Error("the mark of a site is heeded")
	}
}

func TestNearerRegionIsPreferred(t *testing.T) {
	w := regionWorld(t, nil)
	for _, step := range []struct{ host, via string }{{"ap1", "to-ap1"}, {"us2", "to-us2"}, {"eu2", "to-eu2"}} {
		w.tells(step.host, RankDirect, "10.3.0.0/16")
		if got, want := routed(w.settle(), "10.3.0.0/16"), "[{invalid IP "+step.via+" 0 false}]"; got != want {
			t.Errorf("with %s: by %s, want %s", step.host, got, want)
		}
	}
	e := w.c.Entries(func(p netip.Prefix) bool { return p == pfx("10.3.0.0/16") })
	if len(e) != 1 || len(e[0].Paths) != 3 || e[0].Paths[1].Decided != StepRegion || e[0].Paths[2].From != "ap1" {
		t.Errorf("shown: %+v, want eu2, us2 and ap1, decided by the region", e)
	}
}

// RFC 4271 section 9.1.2.2 c: for what iBGP neighbors originate themselves, the
// neighboring AS is the local one.
func TestStrongerHostOfARegionIsPreferred(t *testing.T) {
	w := regionWorld(t, nil)
	w.tells("us1", RankBackup, "10.3.0.0/16")
	w.tells("us2", RankDirect, "10.3.0.0/16")
	if got := routed(w.settle(), "10.3.0.0/16"); got != "[{invalid IP to-us2 0 false}]" {
		t.Errorf("routed by %s, want us2 alone", got)
	}
	w.tells("us1", RankDirect, "10.3.0.0/16")
	if got := routed(w.settle(), "10.3.0.0/16"); got != "[{invalid IP to-us1 0 false} {invalid IP to-us2 0 false}]" {
		t.Errorf("routed by %s, want both", got)
	}
}

func TestDeathOfARegionOutbidsNobodyHere(t *testing.T) {
	w := regionWorld(t, nil)
	w.tells("us1", RankDirect, "10.1.0.0/16")
	w.wantMED("both regions live", 50)
	w.bfd("us1", bfdFailed)
	w.session("us1", false)
	w.wantMED("us1 is dead, and is at another Transit Gateway", 50)
	w.unlearn("us1", "10.1.0.0/16")
	w.wantMED("its paths are gone", 50)
	w.tells("eu2", RankDirect, "10.1.0.0/16")
	w.settle()
	w.bfd("eu2", bfdFailed)
	w.wantMED("the other host of this region is dead", 10)
}

// A region that returns does not preempt: traffic goes on by the other one until an
// operator says so, or that one loses the site.
func TestReturningRegionWaits(t *testing.T) {
	for name, end := range map[string]func(*world){
		"failback":                func(w *world) { w.step(SiteSteered{Site: "paris", Order: SteerFailback}) },
		"the other withdraws":     func(w *world) { w.unlearn("us1", "10.1.0.0/16") },
		"the other dies":          func(w *world) { w.bfd("us1", bfdFailed) },
		"the other yields itself": func(w *world) { w.tells("us1", RankRemote, "10.1.0.0/16") },
	} {
		t.Run(name, func(t *testing.T) {
			w := regionWorld(t, func(cfg *Config) { cfg.Sites[0].Preempt = false })
			w.tells("us1", RankBackup, "10.1.0.0/16")
			w.settle()
			w.step(SiteSteered{Order: SteerFailback})
			w.wantMED("at first", 50)
			w.session("paris", false)
			w.wantMED("the site is lost here", 150)
			there := routed(w.settle(), "10.1.0.0/16")
			w.session("paris", true)
			for range 2 {
				w.wantMED("the site returned", 150)
				if got := routed(w.settle(), "10.1.0.0/16"); got != there {
					t.Errorf("routed by %s, want still %s", got, there)
				}
				if v := w.c.Speeches(w.now)[0]; !v.Waits || v.Holder != "us1" || v.Rank != RankRemote {
					t.Errorf("shown %+v, want it to wait for us1", v)
				}
				w.now = w.now.Add(time.Hour)
			}
			if e := w.c.Entries(func(p netip.Prefix) bool { return p == pfx("10.1.0.0/16") }); e[0].Paths[1].Decided != StepWaits {
				t.Errorf("decided by %q, want %q", e[0].Paths[1].Decided, StepWaits)
			}
			end(w)
			w.wantMED("afterwards", 50)
			if got := routed(w.settle(), "10.1.0.0/16"); got == there {
				t.Errorf("afterwards still routed by %s", got)
			}
		})
	}
}

func TestSiteThatNamesUsItsBackupIsToldSo(t *testing.T) {
	w := regionWorld(t, func(cfg *Config) {
		cfg.Sites[0].Role = RoleBackup
		for i := range cfg.Neighbors {
			if cfg.Neighbors[i].Name == "paris" {
				cfg.Neighbors[i].Group = BackupGroup("sites")
			}
		}
	})
	w.learn("tgw/1", 0, "10.200.0.0/16")
	if x, ok := w.toward("sites/backup", "10.200.0.0/16"); !ok || x.MED != 80 {
		t.Errorf("the site is told %+v (told: %t), want MED 80", x, ok)
	}
	w.tells("us1", RankDirect, "10.3.0.0/16")
	if x, ok := w.toward("sites/backup", "10.3.0.0/16"); !ok || x.MED != 150 {
		t.Errorf("of another region it is told %+v (told: %t), want MED 150", x, ok)
	}
}

func TestEveryRankHasItsOwnMeaningPerGroup(t *testing.T) {
	for i, r := range ranks {
		own := RankAttrs{MED: 1000 + uint32(i), Prepend: uint8(i), LocalPref: 2000 + uint32(i), Communities: []bgp.Community{bgp.Community(i + 1)}}
		cfg := regionWorld(t, func(cfg *Config) { cfg.GroupRanks = []GroupRank{{Group: "outside", Rank: r, RankAttrs: own}} }).c.cfg
		t.Run(string(r), func(t *testing.T) {
			table := newExportTable(cfg)
			for _, x := range table.get(exportKey{bgp.KindSite, false, r}) {
				want := cfg.Ranks[r]
				if x.Group == "outside" {
					want = own
				}
				if x.MED != want.MED || x.Prepend != want.Prepend || x.LocalPref != want.LocalPref || !slices.Equal(x.Communities, want.Communities) {
					t.Errorf("group %s is told %+v, want %+v", x.Group, x, want)
				}
			}
		})
	}
}

// linkWorld has the session with us1 in a WireGuard link of its own.
func linkWorld(t *testing.T) *world {
	return regionWorld(t, func(cfg *Config) {
		cfg.Devices = append([]wg.Device{{Name: "to-us1", Mode: wg.ModeOpen}}, cfg.Devices...)
		link := site("link", 2)
		link.Device, link.Mode, link.Neighbor, link.Link = "to-us1", wg.ModeOpen, "", true
		link.Checks = []Check{{Name: "ping", Kind: CheckProbe, Rise: 1, Fall: 1, Probe: wg.Probe{ID: "link/ping", Site: "link"}}}
		cfg.Sites = append([]Site{link}, cfg.Sites...)
		for i := range cfg.Neighbors {
			if cfg.Neighbors[i].Name == "us1" {
				cfg.Neighbors[i].Site = "link"
			}
		}
		cfg.BFD = nil
		cfg.Health.Sites = CountAll
	})
}

func (w *world) ping(id string, ok bool) {
	w.step(ProbeObserved{wg.ProbeResult{ID: id, At: w.now, OK: ok}})
}

func TestLinkToAGatewayIsNoSite(t *testing.T) {
	w := linkWorld(t)
	w.see("to-us1")
	w.ping("link/ping", true)
	w.session("paris", false)
	w.settle()
	for _, s := range w.settle().Sources {
		if s.Device == "to-us1" {
			t.Errorf("packets of the link are checked for %v, while a gateway may send from anywhere", s.Prefixes)
		}
	}
	if f := w.c.Forwarding(); f.OK {
		t.Error("with no site up this host says that it forwards: a link counts as a site")
	}
}

func TestPathsOverADeadLinkAreNotUsed(t *testing.T) {
	w := linkWorld(t)
	w.ping("link/ping", true)
	w.tells("us1", RankDirect, "10.3.0.0/16")
	if _, ok := w.toward("tgw", "10.3.0.0/16"); !ok {
		t.Fatal("not announced over a living link")
	}
	w.now = w.now.Add(time.Second)
	w.ping("link/ping", false)
	if !w.c.Urgent() {
		t.Error("the death of a link is not urgent")
	}
	p := w.settle()
	if got := withheld(p, "10.3.0.0/16"); announced(p, "10.3.0.0/16") || got != ReasonLinkDown {
		t.Errorf("announced over a dead link, withheld %q, want %q", got, ReasonLinkDown)
	}
}
