package hatest

import (
	"flag"
	"os"
	"testing"
	"time"
)

var (
	seeds    = flag.Int("seeds", 60, "how many small worlds to run")
	first    = flag.Uint64("first", 1, "seed of the first of them")
	scenario = flag.String("scenario", "", "file with a scenario to run instead")
	big      = flag.Duration("big", 0, "run the big world too, for so long (24h: that of README.md)")
)

// explain prints a failing scenario as short as it can be made.
func explain(t *testing.T, s *Scenario, v *Violation) {
	t.Helper()
	if *brief {
		t.Errorf("seed %d: %s", s.Seed, v)
		return
	}
	short := Shrink(s, v.Invariant, 300)
	t.Errorf("seed %d: %s\n%d of %d faults are enough; go test ./ha/hatest -run TestScenario -scenario FILE with:\n%s# %s",
		s.Seed, v, len(short.Faults), len(s.Faults), short, Run(short).Violation)
}

func TestSmallWorldsKeepTheInvariants(t *testing.T) {
	var sum Result
	for n := range uint64(*seeds) {
		s := Small(*first + n)
		s.Only = Invariant(*only)
		r := Run(s)
		sum.Events, sum.Planned, sum.Plans, sum.Facts = sum.Events+r.Events, sum.Planned+r.Planned, sum.Plans+r.Plans, sum.Facts+r.Facts
		if r.Violation != nil {
			explain(t, s, r.Violation)
			return
		}
	}
	t.Logf("%d seeds: %d events, %d facts, %d times planned, %d plans", *seeds, sum.Events, sum.Facts, sum.Planned, sum.Plans)
}

// A world in which nothing goes wrong reaches every site from every region: the
// invariants are not kept by a world that does nothing.
func TestAQuietWorldReachesEverySite(t *testing.T) {
	for seed := range uint64(5) {
		s := Small(seed)
		s.Faults = nil
		w := newWorld(s)
		w.run()
		for p, id := range w.siteOf {
			for _, r := range w.regions {
				if id >= 0 && w.fromVPC(r, int32(p)) != arrives {
					t.Errorf("seed %d: %s is not reached from region %d", seed, w.prefixes[p], r.id)
				}
			}
		}
	}
}

// The faults are felt: sites are lost and come back.
func TestFaultsAreFelt(t *testing.T) {
	outages := uint64(0)
	for seed := range uint64(5) {
		outages += Run(Small(seed)).Outages
	}
	if outages < 100 {
		t.Errorf("5 seeds: got %d outages, want at least 100", outages)
	}
	t.Logf("%d outages", outages)
}

func TestEqualSeedsGiveEqualTraces(t *testing.T) {
	for seed := range uint64(3) {
		a, b := Run(Small(seed)), Run(Small(seed))
		if a.Trace != b.Trace || a.Events != b.Events {
			t.Errorf("seed %d: got %x after %d events and %x after %d", seed, a.Trace, a.Events, b.Trace, b.Events)
		}
		if other := Run(Small(seed + 100)); other.Trace == a.Trace {
			t.Errorf("seeds %d and %d have one trace", seed, seed+100)
		}
	}
}

// A scenario that was printed plays: that of -scenario, or a small world's.
func TestScenario(t *testing.T) {
	text := []byte(Small(*first).String())
	if *scenario != "" {
		var err error
		if text, err = os.ReadFile(*scenario); err != nil {
			t.Fatal(err)
		}
	}
	s, err := ParseScenario(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if r := Run(s); r.Violation != nil {
		t.Error(r.Violation)
	}
}

func TestBigWorldKeepsTheInvariants(t *testing.T) {
	if *big <= 0 {
		t.Skip("no -big")
	}
	s := Big(*first, *big, int(*big*10000/(24*time.Hour)))
	began := time.Now()
	r := Run(s)
	t.Logf("%v simulated in %v: %d events, %d facts, %d times planned, %d plans", s.Length, time.Since(began), r.Events, r.Facts, r.Planned, r.Plans)
	if r.Violation != nil {
		t.Error(r.Violation)
	}
}
