package ha

import (
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// backupWorld has site backup with a prefix of each family, told unless primary's
// prefix is there, and another condition of a neighbor.
func backupWorld(t *testing.T, x Condition) *world {
	cfg := config(site("backup", 1, "10.9.0.0/16", "2001:db8:9::/48"), site("primary", 2, "10.1.0.0/16"))
	cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{Name: "core", Kind: bgp.KindRouter, Group: "routers", IPv4: true, Export: true})
	x.Name = "line"
	x.Prefixes = []bgp.PrefixRule{{Prefix: pfx("10.9.0.0/16")}, {Prefix: pfx("2001:db8:9::/48")}}
	if x.To == nil {
		x.To = []string{"routers", "sites", "tgw"}
	}
	cfg.Conditions = []Condition{x}
	w := newWorld(t, cfg)
	for _, n := range []string{"backup", "primary", "tgw/1", "tgw/2", "core"} {
		w.session(n, true)
	}
	w.settle()
	return w
}

func (w *world) wantBackup(what string, want bool) {
	w.t.Helper()
	p := w.settle()
	for _, s := range []string{"10.9.0.0/16", "2001:db8:9::/48"} {
		if got := announced(p, s); got != want {
			w.t.Errorf("%s: %s announced %t, want %t", what, s, got, want)
		}
		if got := withheld(p, s); (got == ReasonCondition) == want {
			w.t.Errorf("%s: %s withheld %q", what, s, got)
		}
	}
}

func TestBackupIsToldOnlyWhileThePrimaryPrefixIsGone(t *testing.T) {
	w := backupWorld(t, Condition{Unless: []Subject{{Prefix: pfx("10.1.0.0/16")}}})
	w.wantBackup("primary is there", false)
	for _, h := range w.settle().Withheld {
		if h.Reason == ReasonCondition && !strings.Contains(h.Detail, "line: 10.1.0.0/16 is there") {
			t.Errorf("detail %q does not say what is there", h.Detail)
		}
	}
	w.session("primary", false)
	w.wantBackup("primary is dead", true)
	w.session("primary", true)
	w.wantBackup("primary is back", false)
	w.step(SiteSet{Site: "primary", Disabled: true})
	w.wantBackup("primary is disabled", true)
	w.learn("core", 0, "10.1.0.0/16")
	w.wantBackup("the prefix is there by another way", false)
	w.unlearn("core", "10.1.0.0/16")
	w.wantBackup("and gone", true)
}

func TestBackupIsToldOnlyWhileTheNeighborIsGone(t *testing.T) {
	for name, who := range map[string]string{"by name": "core", "by group": "routers"} {
		t.Run(name, func(t *testing.T) {
			w := backupWorld(t, Condition{Unless: []Subject{{Neighbor: who}}})
			w.wantBackup("its session stands", false)
			w.session("core", false)
			w.wantBackup("it is gone", true)
			w.session("core", true)
			w.wantBackup("it is back", false)
		})
	}
}

func TestNeighborOfARangeIsThereByTheNameOfTheRange(t *testing.T) {
	_, cfg := rangeWorld(t)
	cfg.Conditions = []Condition{{Name: "x", Prefixes: []bgp.PrefixRule{{Prefix: pfx("10.200.0.0/16")}}, OnlyIf: []Subject{{Neighbor: "lab"}}, To: []string{"lab"}}}
	w := newWorld(t, cfg)
	w.learn("tgw/1", 0, "10.200.0.0/16")
	if h, ok := heldFrom(w.settle(), "10.200.0.0/16", "lab"); !ok || h.Reason != ReasonCondition {
		t.Errorf("nobody has come yet, withheld %+v, want reason %s", h, ReasonCondition)
	}
	w.visits(bgp.StateEstablished, false)
	if h, ok := heldFrom(w.settle(), "10.200.0.0/16", "lab"); ok {
		t.Errorf("somebody has come, yet withheld: %+v", h)
	}
	w.visits(bgp.StateIdle, true)
	if _, ok := heldFrom(w.settle(), "10.200.0.0/16", "lab"); !ok {
		t.Error("he has left, yet not withheld")
	}
}

func TestOnlyIfAsksForAllOfItsSubjects(t *testing.T) {
	w := backupWorld(t, Condition{OnlyIf: []Subject{{Neighbor: "tgw"}, {Prefix: pfx("10.1.0.0/16")}}})
	w.wantBackup("all are there", true)
	w.session("tgw/1", false)
	w.wantBackup("one session of the group is enough", true)
	w.session("tgw/2", false)
	w.wantBackup("none of the group stands", false)
	w.session("tgw/2", true)
	w.session("primary", false)
	w.wantBackup("the prefix is gone", false)
}

func TestOtherGroupsAreToldWhateverTheCondition(t *testing.T) {
	w := backupWorld(t, Condition{Unless: []Subject{{Neighbor: "core"}}, To: []string{"tgw"}})
	if got := toldTo(w.settle(), "10.9.0.0/16"); len(got) != 2 || got[0] != "routers" || got[1] != "sites" {
		t.Errorf("told to %v, want routers and sites", got)
	}
}

// At the start a primary that has not been heard of yet is not gone.
func TestNothingIsGoneBeforeTheTablesAreComplete(t *testing.T) {
	cfg := backupWorld(t, Condition{Unless: []Subject{{Prefix: pfx("10.7.0.0/16")}}}).c.cfg
	w := newWorld(t, cfg)
	for _, n := range []string{"backup", "primary", "tgw/1", "tgw/2"} {
		w.session(n, true)
	}
	w.wantBackup("core has not sent its table", false)
	w.now = w.now.Add(31 * time.Second)
	w.wantBackup("it has been waited for", true)
}

func TestWhatAConditionHoldsBackContributesToNoAggregate(t *testing.T) {
	cfg := backupWorld(t, Condition{Unless: []Subject{{Neighbor: "core"}}}).c.cfg
	with := *cfg
	with.Aggregates = []Aggregate{{Prefix: pfx("10.8.0.0/15"), To: []string{"tgw"}}}
	w := newWorld(t, &with)
	for _, n := range []string{"backup", "primary", "tgw/1", "tgw/2", "core"} {
		w.session(n, true)
	}
	if p := w.settle(); announced(p, "10.8.0.0/15") || withheld(p, "10.8.0.0/15") != ReasonAggregateEmpty {
		t.Errorf("the aggregate of what is held back is announced, or withheld %q", withheld(p, "10.8.0.0/15"))
	}
	w.session("core", false)
	if p := w.settle(); !announced(p, "10.8.0.0/15") {
		t.Errorf("not announced, withheld %q, while its contributor is", withheld(p, "10.8.0.0/15"))
	}
}

func TestAnAggregateMayDependOnACondition(t *testing.T) {
	cfg := backupWorld(t, Condition{Unless: []Subject{{Neighbor: "core"}}}).c.cfg
	with := *cfg
	with.Aggregates = []Aggregate{{Prefix: pfx("10.0.0.0/15"), To: []string{"tgw"}}}
	with.Conditions[0].Prefixes = []bgp.PrefixRule{{Prefix: pfx("10.0.0.0/15")}}
	w := newWorld(t, &with)
	for _, n := range []string{"backup", "primary", "tgw/1", "tgw/2", "core"} {
		w.session(n, true)
	}
	if h, ok := heldFrom(w.settle(), "10.0.0.0/15", "tgw"); !ok || h.Reason != ReasonCondition {
		t.Errorf("withheld %+v, want reason %s", h, ReasonCondition)
	}
	w.session("core", false)
	if p := w.settle(); !announced(p, "10.0.0.0/15") {
		t.Error("not announced while core is gone")
	}
}
