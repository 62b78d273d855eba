package ha

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

func TestSteadyHealthChangesNothingAndAllocatesNothing(t *testing.T) {
	p := netip.MustParsePrefix("10.9.0.0/16")
	site := heartbeatSite()
	site.Checks = append(site.Checks, probeCheck("a"), probeCheck("lan", p), Check{Name: "bgp", Kind: CheckBGP})
	h := newHealth(site)
	now := epoch
	var ps wg.PeerState
	up := bgp.NeighborState{State: bgp.StateEstablished}
	second := 0
	tick := func() Judgement {
		second++
		now = now.Add(sec)
		if second%10 == 0 {
			ps.Rx += 32
		}
		if second%120 == 2 {
			ps.Handshake, ps.Rx = now.UnixNano(), ps.Rx+92
		}
		ps.Tx += 64
		h.peer(now, &ps)
		h.session(now, up)
		h.probe(now, wg.ProbeResult{ID: "s/a", At: now, OK: true, RTT: sec / 1000})
		h.probe(now, wg.ProbeResult{ID: "s/lan", At: now, OK: second < 100})
		if second%5 == 0 {
			h.probe(now, wg.ProbeResult{ID: "s/hb", At: now, OK: true})
		}
		_ = h.next(now)
		return h.judge(now)
	}
	var first Judgement
	for range 110 {
		first = tick()
	}
	if first.Verdict != Up || len(first.FailedPrefixes) != 1 {
		t.Fatalf("got %+v, want up with one failed prefix", first)
	}
	for range 3600 {
		if j := tick(); !reflect.DeepEqual(j, first) {
			t.Fatalf("at %s: got %+v, want %+v", now.Sub(epoch), j, first)
		}
	}
	if n := testing.AllocsPerRun(1000, func() { tick() }); n != 0 {
		t.Errorf("%.1f allocations per second of health, want 0", n)
	}
}

// TestOrderOfFactsAboutDifferentChecksDoesNotMatter delivers the same facts in
// different orders. Facts about one check keep theirs; between checks a fact may
// be late by up to a second, less than a check needs to fall and rise.
func TestOrderOfFactsAboutDifferentChecksDoesNotMatter(t *testing.T) {
	type fact struct {
		at, arrives time.Duration
		check       int
		ok          bool
	}
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		rule := Rule{Any: seed%2 == 0}
		names := []string{"a", "b", "c"}
		var facts []fact
		for c := range names {
			ok := true
			for s := range 60 {
				if rnd.IntN(8) == 0 {
					ok = !ok
				}
				d := time.Duration(s)*sec + time.Duration(rnd.IntN(300))*time.Millisecond
				facts = append(facts, fact{at: d, check: c, ok: ok})
			}
		}
		final := func(shuffle bool) Judgement {
			var late [3]time.Duration
			f := slices.Clone(facts)
			for i := range f {
				f[i].arrives = f[i].at
				if shuffle {
					f[i].arrives = max(late[f[i].check]+1, f[i].at+time.Duration(rnd.IntN(1000))*time.Millisecond)
					late[f[i].check] = f[i].arrives
				}
			}
			slices.SortFunc(f, func(a, b fact) int { return int(a.arrives - b.arrives) })
			h := newHealth(probeSite(rule, names...))
			for _, x := range f {
				h.probe(at(x.arrives), wg.ProbeResult{ID: "s/" + names[x.check], At: at(x.at), OK: x.ok})
			}
			j := h.judge(at(61 * sec))
			j.Since = time.Time{} // nobody asked on the way
			return j
		}
		want := final(false)
		for range 5 {
			if got := final(true); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, rule %+v: got %+v, want %+v", seed, rule, got, want)
			}
		}
	}
}

// TestNextNamesEveryMomentOfChange asks often and expects no change that next
// did not announce.
func TestNextNamesEveryMomentOfChange(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		site := probeSite(Rule{Any: seed%2 == 0}, "a", "b")
		site.Checks = append(site.Checks, probeCheck("lan", netip.MustParsePrefix("10.0.0.0/8")))
		h := newHealth(site)
		d := time.Duration(0)
		for range 200 {
			h.feed(d, []string{"a", "b", "lan"}[rnd.IntN(3)], rnd.IntN(3) > 0)
			quiet := time.Duration(rnd.IntN(4000)) * time.Millisecond
			if rnd.IntN(20) == 0 {
				quiet *= 5
			}
			last, next := h.judge(at(d)), h.next(at(d))
			for end := d + quiet; d < end; d += 50 * time.Millisecond {
				j := h.judge(at(d))
				if !reflect.DeepEqual(j, last) {
					if next.IsZero() || at(d).Before(next) {
						t.Fatalf("seed %d: changed at %s, next said %s\ngot  %+v\nwant %+v", seed, d, next.Sub(epoch), j, last)
					}
					last, next = j, h.next(at(d))
				}
			}
		}
	}
}

func BenchmarkHealthSecond(b *testing.B) {
	site := heartbeatSite()
	site.Checks = append(site.Checks, probeCheck("a"))
	h := newHealth(site)
	now := epoch
	ps := wg.PeerState{Handshake: 1}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(sec)
		ps.Rx += 128
		h.peer(now, &ps)
		h.probe(now, wg.ProbeResult{ID: "s/a", At: now, OK: true})
		_, _ = h.judge(now), h.next(now)
	}
}
