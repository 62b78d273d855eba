package hatest

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	mutations = flag.Int("mutations", 0, "plant a bug for each invariant and look for it in so many worlds (0: do not)")
	only      = flag.Int("only", 0, "check no other invariant")
	brief     = flag.Bool("brief", false, "do not shrink what fails")
)

// planted are bugs, one in the area of each invariant, as changes of one line of
// the product.
var planted = []struct {
	finds    Invariant
	what     string
	file     string
	old, bug string
}{
	{DeadWithdrawn, "BFD's failure does not take its site down", "ha/health.go", "c.fallTo(now, ReasonBFD, bfdDetail(&s))", "c.oks = 0"},
	{Reachable, "a hold-down never ends", "ha/health_judge.go", "if now.Before(h.hold) {", "if !h.hold.IsZero() {"},
	{OneOwner, "two sites of a redundancy group get a prefix on one interface", "ha/allowed.go", "return p.site == k.site || (p.site.synced() && p.site.dev == k.site.dev)", "return p.site == k.site"},
	{AppliedFirst, "a prefix is announced without a confirmed route", "ha/announce.go", "w.forwarding(e, old, report); reason != ReasonNone {", "w.forwarding(e, old, report); reason != ReasonNone && reason != ReasonRoute && reason != ReasonAllowedIP {"},
	{Idempotent, "the keepalive of a dead peer is written every time", "wg/diff.go", "if w.Keepalive/time.Second != h.Keepalive/time.Second {", "if w.Dead || w.Keepalive/time.Second != h.Keepalive/time.Second {"},
	{Commutes, "the speaker's report counts only behind that of the routes", "ha/core.go", "c.ann = appliedAnnouncements{f.Plan, f.AnnounceApplied}", "if c.routes.plan == f.Plan {\n\t\t\tc.ann = appliedAnnouncements{f.Plan, f.AnnounceApplied}\n\t\t}"},
	{FewFlaps, "damping suppresses nothing", "ha/damping.go", "case v >= d.Suppress:", "case v >= 1000*d.Suppress:"},
	{RestartKeeps, "a new process does not wait for End-of-RIB", "ha/plan.go", "deadline := c.started.Add(c.cfg.Gateway.EndOfRIBWait)", "deadline := c.started"},
	{Reasoned, "a hold-down is no reason", "ha/withhold.go", "h := Withheld{", "if r == ReasonHoldDown {\n\t\treturn\n\t}\n\th := Withheld{"},
	{NoLoop, "iBGP passes on what it has from iBGP", "ha/export.go", "fromTGW || k.from == bgp.KindFleet && (f.kind == bgp.KindFleet || f.ibgp) {", "fromTGW {"},
	{BoundedInbox, "every reading of an interface is a thing of its own", "ha/inbox.go", "return deviceKey(f.State.Name)", "return new(int)"},
	{OneSpeaker, "a host does not let go of a site that has roamed away", "ha/park.go", "const parkSilence = 12 * time.Second", "const parkSilence = 12 * time.Hour"},
}

// plant writes the overlay with which the go command builds the product with a
// bug in it.
func plant(t *testing.T, file, old, bug string) (overlay string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	from := filepath.Join(root, file)
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), old); n != 1 {
		t.Fatalf("%s holds %d times what is to be changed, want once: %s", file, n, old)
	}
	to := filepath.Join(t.TempDir(), "planted.go")
	if err := os.WriteFile(to, []byte(strings.Replace(string(text), old, bug, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{from: to}})
	if err != nil {
		t.Fatal(err)
	}
	overlay = filepath.Join(filepath.Dir(to), "overlay.json")
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}

// Every planted bug is where the table says, so that it can be looked for at any
// time.
func TestPlantedBugsFitTheSource(t *testing.T) {
	seen := map[Invariant]bool{}
	for _, m := range planted {
		plant(t, m.file, m.old, m.bug)
		seen[m.finds] = true
	}
	for i := DeadWithdrawn; i <= OneSpeaker; i++ {
		if !seen[i] {
			t.Errorf("no bug is planted for invariant %d", i)
		}
	}
}

var found = regexp.MustCompile(`seed (\d+): invariant (\d+) at (\S+): (.*)`)

// The simulation finds a bug in the area of each invariant by that invariant. It
// builds the product 12 times, so it runs only when asked: -mutations 200.
func TestPlantedBugsAreFound(t *testing.T) {
	if *mutations == 0 {
		t.Skip("no -mutations")
	}
	table := "| invariant | planted bug | file | found by seed |\n|---|---|---|---|\n"
	for _, m := range planted {
		t.Run(m.what, func(t *testing.T) {
			out, err := exec.Command("go", "test", "-vet=off", "-overlay", plant(t, m.file, m.old, m.bug), "-run", "TestSmallWorlds", ".",
				"-seeds", fmt.Sprint(*mutations), "-only", fmt.Sprint(int(m.finds)), "-brief").CombinedOutput()
			hit := found.FindStringSubmatch(string(out))
			if err == nil || hit == nil {
				t.Fatalf("not found in %d worlds:\n%s", *mutations, out)
			}
			t.Log(hit[0])
			table += fmt.Sprintf("| %d | %s | `%s` | %s |\n", m.finds, m.what, m.file, hit[1])
		})
	}
	t.Logf("\n%s", table)
}
