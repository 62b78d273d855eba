package ha

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

func limited(n int, sites ...Site) *Config {
	cfg := config(sites...)
	for i := range cfg.Neighbors {
		if cfg.Neighbors[i].Group == "tgw" {
			cfg.Neighbors[i].AnnounceLimit = uint32(n)
		}
	}
	return cfg
}

// atTGW lists what the TGW is told, in order.
func atTGW(p *Plan) []string {
	var out []string
	for _, a := range p.Announcements {
		if told(a.To, "tgw") {
			out = append(out, a.Prefix.String())
		}
	}
	return out
}

func wantAtTGW(t *testing.T, what string, p *Plan, want ...string) {
	t.Helper()
	if got := atTGW(p); !slices.Equal(got, want) {
		t.Errorf("%s: the TGW is told %v, want %v\n%s", what, got, want, text(p))
	}
}

func TestWhatExceedsTheLimitIsHeldBack(t *testing.T) {
	w := newWorld(t, limited(2, site("a", 1)))
	w.session("a", true)
	w.learn("a", 0, "10.5.0.0/16", "10.6.0.0/16")
	wantAtTGW(t, "at the limit", w.settle(), "10.5.0.0/16", "10.6.0.0/16")
	w.now = w.now.Add(time.Second)
	w.learn("a", 0, "10.1.0.0/16", "10.9.0.0/16")
	p := w.settle()
	wantAtTGW(t, "newcomers move nobody", p, "10.5.0.0/16", "10.6.0.0/16")
	h, ok := heldFrom(p, "10.1.0.0/16", "tgw")
	if want := (Withheld{
		Prefix: pfx("10.1.0.0/16"), Site: "a", From: "a", Group: "tgw", Reason: ReasonQuota, Detail: "group tgw is told 2 prefixes at most",
	}); !ok || h != want {
		t.Errorf("withheld: got %+v, want %+v", h, want)
	}
	if q := p.Quotas; len(q) != 1 || q[0].Wanted != 4 || q[0].Level != QuotaOver || !q[0].Since.Equal(w.now) {
		t.Errorf("quota: got %+v", q)
	}
	if got := toldTo(p, "10.1.0.0/16"); !slices.Equal(got, []string{"sites"}) {
		t.Errorf("groups without a limit are told everything: got %v", got)
	}
	w.unlearn("a", "10.5.0.0/16")
	wantAtTGW(t, "the first who waits takes the place", w.settle(), "10.1.0.0/16", "10.6.0.0/16")
	w.now = w.now.Add(time.Second)
	w.learn("a", 0, "10.5.0.0/16")
	wantAtTGW(t, "who returns waits", w.settle(), "10.1.0.0/16", "10.6.0.0/16")
}

func TestFlappingSiteMovesNobodyElse(t *testing.T) {
	w := newWorld(t, limited(2, site("a", 1, "10.1.0.0/16"), site("b", 2, "10.2.0.0/16"), site("c", 3, "10.3.0.0/16")))
	for _, s := range []string{"a", "b", "c"} {
		w.session(s, true)
		w.settle()
	}
	wantAtTGW(t, "first come", w.settle(), "10.1.0.0/16", "10.2.0.0/16")
	w.session("a", false)
	wantAtTGW(t, "a fails", w.settle(), "10.2.0.0/16", "10.3.0.0/16")
	w.session("a", true)
	p := w.settle()
	for range 5 {
		w.session("a", false)
		w.session("a", true)
		p = w.settle()
	}
	wantAtTGW(t, "a flaps", p, "10.2.0.0/16", "10.3.0.0/16")
	w.c.Reconfigure(w.now, w.c.cfg)
	wantAtTGW(t, "a reload moves nobody", w.settle(), "10.2.0.0/16", "10.3.0.0/16")
}

func TestLearnedPrefixesDoNotPushOutConfiguredOnes(t *testing.T) {
	w := newWorld(t, limited(2, site("a", 1), site("b", 2, "10.9.0.0/16")))
	w.session("a", true)
	w.learn("a", 0, "10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16")
	wantAtTGW(t, "a alone", w.settle(), "10.1.0.0/16", "10.2.0.0/16")
	w.session("b", true)
	wantAtTGW(t, "and b's configured one", w.settle(), "10.1.0.0/16", "10.9.0.0/16")
}

func TestCoveredPrefixesAreHeldBackBeforeOthers(t *testing.T) {
	cfg := limited(2, site("a", 1), site("b", 2, "192.168.0.0/16"))
	cfg.Aggregates = []Aggregate{{Prefix: pfx("10.0.0.0/8"), To: []string{"tgw"}}}
	w := newWorld(t, cfg)
	w.session("a", true)
	w.learn("a", 0, "10.1.0.0/16", "10.2.0.0/16")
	w.settle()
	w.learn("a", 0, "172.16.0.0/16")
	wantAtTGW(t, "aggregate and what it does not cover", w.settle(), "10.0.0.0/8", "172.16.0.0/16")
	w.session("b", true)
	wantAtTGW(t, "configured before learned", w.settle(), "10.0.0.0/8", "192.168.0.0/16")
}

// AWS counts both families of a Connect peer together; a family that a session
// does not carry does not count.
func TestLimitCountsTheFamiliesThatAreSent(t *testing.T) {
	for _, six := range []bool{true, false} {
		cfg := limited(3, site("a", 1, "10.1.0.0/16", "10.2.0.0/16", "fd01::/48", "fd02::/48"))
		for i := range cfg.Neighbors {
			cfg.Neighbors[i].IPv6 = six && cfg.Neighbors[i].Kind == bgp.KindTGW
		}
		w := newWorld(t, cfg)
		w.session("a", true)
		p := w.settle()
		want := Quota{Group: "tgw", Limit: 3, Wanted: 2, Since: w.now}
		if six {
			want.Wanted, want.Level = 4, QuotaOver
		}
		if len(p.Quotas) != 1 || p.Quotas[0] != want {
			t.Errorf("IPv6 %t: got %+v, want %+v", six, p.Quotas, want)
		}
	}
}

func TestQuotaIsNearAtEightyPercent(t *testing.T) {
	w := newWorld(t, limited(10, site("a", 1)))
	w.session("a", true)
	for i := range 11 {
		w.now = w.now.Add(time.Second)
		w.learn("a", 0, fmt.Sprintf("10.%d.0.0/16", i))
		q := w.settle().Quotas[0]
		want := QuotaBelow
		switch {
		case i+1 > 10:
			want = QuotaOver
		case i+1 >= 8:
			want = QuotaNear
		}
		if q.Level != want || q.Wanted != i+1 {
			t.Errorf("%d prefixes: got %+v, want level %q", i+1, q, want)
		}
	}
	if q := w.settle().Quotas[0]; !q.Since.Equal(w.now) {
		t.Errorf("since: got %v, want %v", q.Since, w.now)
	}
}

// BenchmarkPlanBelowTheLimit is BenchmarkPlanOneSiteChanges with a limit that is
// not reached; BenchmarkPlanOverTheLimit has one that is.
func BenchmarkPlanBelowTheLimit(b *testing.B) { benchmarkLimit(b, 100_000, nil) }

func BenchmarkPlanOverTheLimit(b *testing.B) { benchmarkLimit(b, 1000, nil) }

func BenchmarkPlanAggregates(b *testing.B) {
	var a []Aggregate
	for i := range 40 {
		a = append(a, Aggregate{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{20 + byte(i)}), 8), Suppress: true, To: []string{"tgw"}})
	}
	benchmarkLimit(b, 1000, a)
}

func benchmarkLimit(b *testing.B, limit uint32, aggregates []Aggregate) {
	cfg := bigConfig(10000)
	cfg.Aggregates = aggregates
	for i := range cfg.Neighbors {
		if cfg.Neighbors[i].Group == "tgw" {
			cfg.Neighbors[i].AnnounceLimit = limit
		}
	}
	w := newWorld(b, cfg)
	for i := range cfg.Sites {
		w.session(cfg.Sites[i].Name, true)
	}
	w.now = w.now.Add(time.Minute)
	w.settle()
	up := false
	for b.Loop() {
		w.session("site05000", up)
		up = !up
		if p := w.c.Plan(w.now); len(p.Announcements) == 0 {
			b.Fatal("empty plan")
		}
	}
}

// A learned prefix takes no place toward a group of which nobody is sent it: the
// only member sent it itself, or has its ASN in the path.
func TestWhatNobodyIsSentTakesNoPlace(t *testing.T) {
	cfg := config(site("a", 1, "10.1.0.0/16", "10.2.0.0/16"))
	for _, n := range []string{"edge-1", "edge-2"} {
		cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{
			Name: n, Kind: bgp.KindRouter, Group: "edge", Device: "eth1", RemoteASN: 64999, IPv4: true, Export: true, AnnounceLimit: 2,
		})
	}
	slices.SortFunc(cfg.Neighbors, func(a, b bgp.Neighbor) int { return strings.Compare(a.Name, b.Name) })
	w := newWorld(t, cfg)
	w.session("edge-1", true)
	w.learn("edge-1", 0, "10.50.0.0/16", "10.51.0.0/16", "10.52.0.0/16") // by 64999
	w.session("a", true)
	p := w.settle()
	if q := p.Quotas; len(q) != 1 || q[0].Wanted != 2 || q[0].Level != QuotaNear {
		t.Errorf("quota: got %+v, want 2 of 2", q)
	}
	if got := toldTo(p, "10.1.0.0/16"); !slices.Contains(got, "edge") {
		t.Errorf("the site's prefix is told to %v, want edge too", got)
	}
	cfg.Neighbors[slices.IndexFunc(cfg.Neighbors, func(n bgp.Neighbor) bool { return n.Name == "edge-2" })].RemoteASN = 64998
	w.c.Reconfigure(w.now, cfg)
	if q := w.settle().Quotas; len(q) != 1 || q[0].Wanted != 5 || q[0].Level != QuotaOver {
		t.Errorf("quota: got %+v, want 5 of 2: another AS is sent what the first one sent", q)
	}
}
