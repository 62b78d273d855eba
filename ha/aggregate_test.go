package ha

import (
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

func aggregated(suppress bool, least int, sites ...Site) *Config {
	cfg := config(sites...)
	cfg.Aggregates = []Aggregate{{Prefix: pfx("10.0.0.0/8"), Min: least, Suppress: suppress, To: []string{"tgw"}}}
	return cfg
}

// toldTo lists the groups that are told a prefix.
func toldTo(p *Plan, s string) []string {
	var out []string
	for _, a := range p.Announcements {
		if a.Prefix == pfx(s) {
			for _, x := range a.To {
				out = append(out, x.Group)
			}
		}
	}
	return out
}

func export(p *Plan, s, group string) (bgp.Export, bool) {
	for _, a := range p.Announcements {
		for _, x := range a.To {
			if a.Prefix == pfx(s) && x.Group == group {
				return x, true
			}
		}
	}
	return bgp.Export{}, false
}

func heldFrom(p *Plan, s, group string) (Withheld, bool) {
	for _, h := range p.Withheld {
		if h.Prefix == pfx(s) && h.Group == group {
			return h, true
		}
	}
	return Withheld{}, false
}

func sunk(p *Plan, s string) bool {
	return slices.ContainsFunc(p.FIB.Routes, func(r bgp.Route) bool { return r.Prefix == pfx(s) && r.Type == bgp.BlackholeRoute && r.Metric == 4000 })
}

func TestAggregateStandsWhileEnoughContributorsLive(t *testing.T) {
	w := newWorld(t, aggregated(false, 2, site("a", 1, "10.1.0.0/16"), site("b", 2, "10.2.0.0/16"), site("c", 3, "192.168.0.0/16")))
	for step, up := range []string{"", "c", "a", "b"} {
		if up != "" {
			w.session(up, true)
		}
		p := w.settle()
		if !sunk(p, "10.0.0.0/8") {
			t.Errorf("the blackhole stands as long as the aggregate is configured:\n%s", text(p))
		}
		h, _ := heldFrom(p, "10.0.0.0/8", "")
		if want := step == 3; announced(p, "10.0.0.0/8") != want || want == (h.Reason == ReasonAggregateEmpty) {
			t.Errorf("with %q up: announced %t, withheld %+v, want announced %t", up, !want, h, want)
		}
		if step == 2 && h.Detail != "1 of 2 contributors" {
			t.Errorf("got detail %q", h.Detail)
		}
	}
	p := w.settle()
	if got := toldTo(p, "10.0.0.0/8"); !slices.Equal(got, []string{"tgw"}) {
		t.Errorf("the aggregate is told to %v, want tgw", got)
	}
	if got := toldTo(p, "10.1.0.0/16"); !slices.Equal(got, []string{"sites", "tgw"}) {
		t.Errorf("its contributor is told to %v, want sites and tgw", got)
	}
	w.session("a", false)
	p = w.c.Plan(w.now)
	if announced(p, "10.0.0.0/8") || !sunk(p, "10.0.0.0/8") {
		t.Errorf("with one of two contributors:\n%s", text(p))
	}
}

// Nobody may be without a way while one is exchanged for the other.
func TestContributorsGoOnlyWhenTheAggregateIsOut(t *testing.T) {
	w := newWorld(t, aggregated(true, 1, site("a", 1, "10.1.0.0/16"), site("b", 2, "10.2.0.0/16")))
	w.session("a", true)
	w.session("b", true)
	var p *Plan
	for range 20 {
		p = w.c.Plan(w.now)
		if announced(p, "10.0.0.0/8") {
			break
		}
		w.applyWG(p)
		w.applyRoutes(p)
	}
	if got := toldTo(p, "10.1.0.0/16"); !slices.Contains(got, "tgw") || !announced(p, "10.0.0.0/8") {
		t.Fatalf("before the aggregate is known to be out its contributor is told to %v\n%s", got, text(p))
	}
	w.applyAnn(p)
	p = w.settle()
	if got := toldTo(p, "10.1.0.0/16"); !slices.Equal(got, []string{"sites"}) {
		t.Errorf("then it is told to %v, want the sites alone", got)
	}
	if h, ok := heldFrom(p, "10.1.0.0/16", "tgw"); !ok || h.Reason != ReasonAggregated || h.Site != "a" || h.Detail != "in 10.0.0.0/8" {
		t.Errorf("withheld: got %+v", h)
	}
	w.step(AnnounceApplied{Plan: p, AnnounceApplied: bgp.AnnounceApplied{Failed: map[netip.Prefix]string{pfx("10.0.0.0/8"): "no"}}})
	if got := toldTo(w.c.Plan(w.now), "10.1.0.0/16"); !slices.Contains(got, "tgw") {
		t.Errorf("the aggregate could not be announced, and its contributor is told to %v", got)
	}
}

func TestAggregateIsNotAnnouncedBeforeItsBlackhole(t *testing.T) {
	w := newWorld(t, aggregated(false, 1, site("a", 1, "10.1.0.0/16")))
	w.session("a", true)
	p := w.settle()
	if !announced(p, "10.0.0.0/8") {
		t.Fatalf("at rest:\n%s", text(p))
	}
	w.step(RoutesApplied{Plan: p, RoutesApplied: bgp.RoutesApplied{Reports: []bgp.RouteReport{
		{Prefix: pfx("10.0.0.0/8"), Metric: 4000, Status: bgp.RouteFailed, Detail: "no"},
	}}})
	p = w.c.Plan(w.now)
	if h, _ := heldFrom(p, "10.0.0.0/8", ""); announced(p, "10.0.0.0/8") || h.Reason != ReasonRouteFailed || h.Detail != "no" {
		t.Errorf("without its blackhole: %+v\n%s", h, text(p))
	}
}

func TestAggregateSpeaksWithItsStrongestContributor(t *testing.T) {
	a, b := site("a", 1, "10.1.0.0/16"), site("b", 2, "10.2.0.0/16")
	b.Role = RoleBackup
	w := newWorld(t, aggregated(false, 1, a, b))
	med := func(want uint32, what string) {
		t.Helper()
		if x, _ := export(w.settle(), "10.0.0.0/8", "tgw"); x.MED != want {
			t.Errorf("%s: MED %d, want %d", what, x.MED, want)
		}
	}
	w.session("b", true)
	med(80, "a backup alone")
	w.session("a", true)
	med(50, "a primary too")
	w.step(Draining{Phase: DrainPrefer})
	med(200, "leaving")
	w.step(Draining{Phase: DrainWithdraw})
	p := w.settle()
	if h, _ := heldFrom(p, "10.0.0.0/8", ""); h.Reason != ReasonDraining || announced(p, "10.0.0.0/8") {
		t.Errorf("withdrawn: %+v\n%s", h, text(p))
	}
}

// What neighbors offer for our own aggregate would bring packets for a hole back.
func TestAggregateShadowsTheSamePrefixOfOthers(t *testing.T) {
	cfg := aggregated(false, 1, site("a", 1))
	w := newWorld(t, cfg)
	w.session("a", true)
	w.session("tgw/1", true)
	w.learn("tgw/1", 0, "10.0.0.0/8", "10.200.0.0/16")
	p := w.settle()
	shadowed := func(h Withheld) bool {
		return h.Prefix == pfx("10.0.0.0/8") && h.From == "tgw/1" && h.Reason == ReasonOverlap
	}
	if routed(p, "10.0.0.0/8") != "" || !slices.ContainsFunc(p.Withheld, shadowed) || !sunk(p, "10.0.0.0/8") {
		t.Errorf("the TGW's own 10.0.0.0/8:\n%s", text(p))
	}
	if announced(p, "10.0.0.0/8") || routed(p, "10.200.0.0/16") == "" {
		t.Errorf("what comes from the TGW is no contributor to what the TGW is told:\n%s", text(p))
	}
	cfg2 := *cfg
	cfg2.Aggregates = nil
	w.c.Reconfigure(w.now, &cfg2)
	if p = w.settle(); routed(p, "10.0.0.0/8") == "" || sunk(p, "10.0.0.0/8") {
		t.Errorf("without the aggregate the TGW's is taken:\n%s", text(p))
	}
}

// Its withdrawal goes out first, then the blackhole goes.
func TestRemovedAggregateLeavesInOrder(t *testing.T) {
	cfg := aggregated(true, 1, site("a", 1, "10.1.0.0/16"))
	plain := *cfg
	plain.Aggregates = nil
	w := newWorld(t, &plain)
	w.session("a", true)
	before := text(w.settle())
	w.c.Reconfigure(w.now, cfg)
	w.settle()
	w.c.Reconfigure(w.now, &plain)
	p := w.c.Plan(w.now)
	if announced(p, "10.0.0.0/8") || !sunk(p, "10.0.0.0/8") || !slices.Contains(toldTo(p, "10.1.0.0/16"), "tgw") {
		t.Errorf("first the withdrawal:\n%s", text(p))
	}
	w.applyAnn(p)
	if p = w.c.Plan(w.now); sunk(p, "10.0.0.0/8") {
		t.Errorf("then the blackhole:\n%s", text(p))
	}
	if after := text(w.settle()); after != before {
		t.Errorf("nothing may be left over; want\n%s\ngot\n%s", before, after)
	}
	if w.c.rib.byPrefix[pfx("10.0.0.0/8")] != nil {
		t.Error("the entry is still there")
	}
}

func TestAggregateInsideAnotherIsNoContributor(t *testing.T) {
	cfg := aggregated(true, 1, site("a", 1, "10.1.0.0/16"), site("b", 2, "10.200.0.0/16"))
	cfg.Aggregates = append(cfg.Aggregates, Aggregate{Prefix: pfx("10.0.0.0/10"), Min: 1, Suppress: true, To: []string{"tgw"}})
	w := newWorld(t, cfg)
	w.session("b", true)
	p := w.settle()
	if !announced(p, "10.0.0.0/8") || announced(p, "10.0.0.0/10") {
		t.Errorf("b lies in the outer one only:\n%s", text(p))
	}
	w.session("a", true)
	w.session("b", false)
	p = w.settle()
	if !announced(p, "10.0.0.0/8") || !announced(p, "10.0.0.0/10") || slices.Contains(toldTo(p, "10.1.0.0/16"), "tgw") {
		t.Errorf("a lies in both:\n%s", text(p))
	}
	w.session("a", false)
	if p = w.settle(); announced(p, "10.0.0.0/8") || announced(p, "10.0.0.0/10") {
		t.Errorf("nobody lives:\n%s", text(p))
	}
}

func TestAggregateIsSeenInTheRIB(t *testing.T) {
	w := newWorld(t, aggregated(false, 1, site("a", 1, "10.1.0.0/16")))
	w.session("a", true)
	w.settle()
	es := w.c.Entries(func(p netip.Prefix) bool { return p == pfx("10.0.0.0/8") })
	if len(es) != 1 || len(es[0].Paths) != 1 || !es[0].Paths[0].Aggregate || es[0].Paths[0].Detail != "1 contributor" || es[0].Rank != RankDirect {
		t.Errorf("got %+v", es)
	}
}

// With aggregates and limits, too, the order of facts does not matter as long as
// nothing has to be held back, and every plan keeps what it promises.
func TestSharingOutKeepsItsPromises(t *testing.T) {
	for seed := range int64(200) {
		r := rand.New(rand.NewSource(seed))
		cfg := randomConfig(r)
		for i := range 4 {
			if r.Intn(2) == 0 {
				cfg.Aggregates = append(cfg.Aggregates, Aggregate{
					Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10}), 8+i), Min: r.Intn(4), Suppress: r.Intn(2) == 0, To: []string{"tgw"},
				})
			}
		}
		limit := 100
		if r.Intn(2) == 0 {
			limit = 1 + r.Intn(4)
		}
		for i := range cfg.Neighbors {
			if cfg.Neighbors[i].Group == "tgw" {
				cfg.Neighbors[i].AnnounceLimit = uint32(limit)
			}
		}
		mayAsk(r, cfg)
		w := newWorld(t, cfg)
		var facts []Fact
		for range 30 {
			next := randomFacts(r, w, cfg)
			f := next[r.Intn(len(next))]
			if r.Intn(3) == 0 {
				f = PathsChanged{[]bgp.PathChange{randomTablePath(r, w.now, cfg.Neighbors[r.Intn(len(cfg.Neighbors))].Name)}}
			}
			facts = append(facts, f)
			w.step(f)
			w.now = w.now.Add(time.Duration(r.Intn(1500)) * time.Millisecond)
			p := w.c.Plan(w.now)
			checkShares(t, seed, w, p, limit)
			switch r.Intn(4) {
			case 0:
				w.applyWG(p)
			case 1:
				w.applyRoutes(p)
			case 2:
				w.applyAnn(p)
			}
		}
		w.now = w.now.Add(time.Minute)
		got := w.settle()
		checkShares(t, seed, w, got, limit)
		if limit < 100 {
			continue
		}
		ref := newWorld(t, cfg)
		for _, f := range facts {
			ref.step(f)
		}
		ref.now = w.now
		if want := text(ref.settle()); text(got) != want {
			t.Fatalf("seed %d: planned at once\n%s\nstep by step\n%s", seed, want, text(got))
		}
	}
}

func checkShares(t *testing.T, seed int64, w *world, p *Plan, limit int) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("seed %d: %s\n%s", seed, fmt.Sprintf(format, args...), text(p))
	}
	n := 0
	for i, a := range p.Announcements {
		if i > 0 && bgp.ComparePrefix(p.Announcements[i-1].Prefix, a.Prefix) >= 0 {
			fail("announcements are not sorted at %s", a.Prefix)
		}
		if len(a.To) == 0 {
			fail("%s is announced to nobody", a.Prefix)
		}
		if told(a.To, "tgw") {
			n++
		}
		if e := w.c.rib.byPrefix[a.Prefix]; e.agg == nil && routed(p, a.Prefix.String()) == "" || e.agg != nil && !sunk(p, a.Prefix.String()) {
			fail("%s is announced and neither routed nor sunk", a.Prefix)
		}
	}
	if n > limit {
		fail("%d prefixes for a limit of %d", n, limit)
	}
	for i := 1; i < len(p.Withheld); i++ {
		if compareWithheld(p.Withheld[i-1], p.Withheld[i]) > 0 {
			fail("withheld are not sorted at %+v", p.Withheld[i])
		}
	}
	for _, h := range p.Withheld {
		if h.Group != "" && slices.Contains(toldTo(p, h.Prefix.String()), h.Group) {
			fail("%+v, and it is told", h)
		}
		if h.Reason == ReasonAggregated && n == limit {
			continue // the aggregate itself may be one too many
		}
		if h.Reason == ReasonAggregated && !slices.ContainsFunc(p.Announcements, func(a bgp.Announcement) bool {
			return a.Prefix.Bits() < h.Prefix.Bits() && a.Prefix.Contains(h.Prefix.Addr()) && told(a.To, "tgw")
		}) {
			fail("%+v, and no aggregate stands for it", h)
		}
	}
	for _, e := range w.c.rib.sorted() {
		if e.agg != nil && !sunk(p, e.prefix.String()) {
			fail("no blackhole under %s", e.prefix)
		}
	}
	for _, q := range p.Quotas {
		if q.Wanted <= limit && q.Wanted != n || q.Wanted > limit && n != limit {
			fail("%d told, quota %+v", n, q)
		}
	}
}
