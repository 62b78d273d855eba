package topologies

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/labs/play"
)

var update = flag.Bool("update", false, "write ../CATALOGUE.md")

// catalogue are the scenarios that must be shown. Each is a scenario file of the
// same name in some lab, or one of tests.
var catalogue = []string{
	"s01-ebgp-site-basic", "s02-ebgp-requires-policy", "s03-ibgp-hub-rr", "s04-mpbgp-v6-over-v4", "s05-link-local-twins", "s06-rfc8950",
	"s07-md5-ttl", "s08-withdraw-restores", "s09-path-selection", "s10-communities-actions", "s11-max-prefix-in", "s12-max-prefix-out-tgw",
	"s13-malformed-update", "s14-dynamic-neighbor",
	"k01-ecmp-three", "k02-ecmp-stale-member", "k03-addpath-two-hubs", "k04-link-flap", "k05-external-flush", "k06-enobufs",
	"k07-vrf-isolation", "k08-blackhole-aggregate", "k09-recursive-endpoint", "k10-suppress-until-fib",
	"w01-covering-prefix", "w02-move-atomic", "w03-foreign-allowedip", "w04-duplicate-refused", "w05-add-peer-under-load",
	"w06-200-peers-2000-prefixes", "w07-dead-endpoint-dns", "w08-roaming-kept",
	"h01-silent-drop", "h02-rx-stall", "h03-idle-peer", "h04-probe-behind-peer", "h05-probe-no-leak", "h06-flap-damping",
	"h07-recovery-hold-no-preempt", "h08-drain-zero-loss", "h09-conditional-advertise", "h10-all-down-then-one-back",
	"r01-upgrade-gr", "r02-kill-9", "r03-cold-start-one-peer-dead", "r05-bad-config", "r07-gr-plus-bfd", "r08-notification-kinds",
	"a01-connect-two-sessions", "a02-connect-ibgp-trap", "a03-ecmp-two-hosts", "a04-session-owner", "a05-host-dies", "a06-asn-loop",
	"a07-route-server-bfd", "a08-routetable-owner-race", "a09-region-preference", "a10-nlb-health",
	"aws-discover", "aws-sessions", "aws-route-server", "cloud-wan",
	"m01-mtu-chain", "m02-rpfilter-all",
}

// tests show scenarios that need a counterpart which no real software is, or
// measure what no word of a scenario does.
var tests = map[string]struct{ file, function, shows string }{
	"s03-ibgp-hub-rr":         {"labs/accept/fleet_test.go", "TestS03_HubsOfOneFleet", "two hubs speak iBGP: a site of one is reached by the other with the right next hop, and nothing loops."},
	"s05-link-local-twins":    {"labs/accept/linklocal_test.go", "TestAC19_LinkLocalTwins", "two sites have the same fe80 address on two interfaces, and both routes are on the right device (AC-19)."},
	"s06-rfc8950":             {"labs/accept/linklocal_test.go", "TestAC19_LinkLocalTwins", "IPv4 prefixes with IPv6 next hops through WireGuard: packets are forwarded."},
	"s09-path-selection":      {"labs/accept/routers_test.go", "TestK02_K03_S09_PathsOfRouters", "explain and rib name the step that decided between paths; every step is in ha.TestEveryStepOfPathSelectionIsNamed."},
	"s10-communities-actions": {"labs/accept/community_test.go", "TestS10_CommunitiesAskForActions", "communities of a site set local preference, prepend and no-announce, once it may ask; BLACKHOLE is not announced on."},
	"s12-max-prefix-out-tgw":  {"labs/accept/share_test.go", "TestSharedOutToTheTGW", "the prefix above the Transit Gateway's 1,000 is held back with an alarm, and the session stays."},
	"s13-malformed-update":    {"labs/hostile/hostile_test.go", "TestHostileNeighbor", "malformed messages, the published crashes of GoBGP and seeded mutations cost a prefix or a session, never the daemon."},
	"s14-dynamic-neighbor":    {"labs/accept/visitor_test.go", "TestS14_DynamicNeighbor", "a neighbor of a range comes, goes, and leaves nothing."},
	"k02-ecmp-stale-member":   {"labs/accept/routers_test.go", "TestK02_K03_S09_PathsOfRouters", "a stale path is never in a next-hop group beside a fresh one (AC-25)."},
	"k03-addpath-two-hubs":    {"labs/accept/routers_test.go", "TestK02_K03_S09_PathsOfRouters", "both paths of one neighbor come with identifiers, and the withdrawal of one takes only that."},
	"r02-kill-9":              {"labs/accept/restart_test.go", "TestR02_KillNineLeavesTheKernelAndTheNextProcessAdoptsIt", ""},
	"r07-gr-plus-bfd":         {"labs/accept/bfd_test.go", "TestAC24_BFDWinsOverGracefulRestart", "with both on one neighbor `check` warns (W-BFD-GR), and BFD takes away what graceful restart would keep (AC-24)."},
	"k08-blackhole-aggregate": {"labs/accept/share_test.go", "TestSharedOutToTheTGW", "what is in an aggregate of ours and in no more specific prefix is dropped here, never sent by the default route."},
}

const cataloguePage = "../CATALOGUE.md"

func TestCatalogue(t *testing.T) {
	all, err := play.All(".")
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	page.WriteString(`# Catalogue of scenarios

What the laboratory shows, by name; scenarios named after their lab come on top. Written by
` + "`go test ./labs/topologies -run TestCatalogue -update`" + `; the test fails when a line is not true any more, or a scenario is gone.
A file is played by ` + "`bin/wgbgp-lab run NAME`" + `, a Go test by ` + "`go test -run TEST ./FOLDER`" + `.

"VM" is a virtual machine with the kernel's own WireGuard, GRE and VRF; where it stands alone, they are needed. "Docker" is named where no
step starts or ends a node's program, which only namespaces can.

| scenario | where | shows | runs in |
|---|---|---|---|
`)
	for _, name := range catalogue {
		n := slices.IndexFunc(all, func(s *play.Scenario) bool { return s.Name == name })
		test, tested := tests[name]
		var where []string
		var shows, places string
		if tested {
			isTest(t, name, test.file, test.function)
			where, shows, places = append(where, fmt.Sprintf("[%s](%s)", test.function, strings.TrimPrefix(test.file, "labs/"))), test.shows, "namespaces"
		}
		if n >= 0 {
			s := all[n]
			where = append([]string{link(s)}, where...)
			shows, places = s.Title[len(name)+2:], runsIn(t, s)
		}
		for _, s := range all {
			if s.Name != name && plays(s, name) {
				where = append(where, link(s))
			}
		}
		if len(where) == 0 {
			t.Errorf("%s: neither a file in a lab nor one of tests", name)
			continue
		}
		fmt.Fprintf(&page, "| %s | %s | %s | %s |\n", name, strings.Join(where, ", "), shows, places)
	}
	if *update {
		if err := os.WriteFile(cataloguePage, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(cataloguePage)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != page.String() {
		t.Errorf("%s is out of date; cure: go test ./labs/topologies -run TestCatalogue -update", cataloguePage)
	}
}

func link(s *play.Scenario) string {
	return fmt.Sprintf("[%s](topologies/%s/%s)", s.Lab, s.Lab, filepath.Base(s.Path))
}

// plays reports whether a scenario of another name says in its title, in brackets,
// that it plays this one too.
func plays(s *play.Scenario, name string) bool {
	number, _, _ := strings.Cut(name, "-")
	return regexp.MustCompile(`\([^)]*\b` + number + `\b[^)]*\)`).MatchString(s.Title)
}

// programStep begins or ends a node's program, in namespaces and in Docker.
var programStep = regexp.MustCompile(`(?m)^(start|stop|kill) `)

func runsIn(t *testing.T, s *play.Scenario) string {
	t.Helper()
	text, err := os.ReadFile(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	places := "namespaces, VM"
	if s.Needs.Kernel {
		places = "VM"
	}
	if len(s.Needs.NotStarted) == 0 && !programStep.Match(text) {
		places += ", Docker"
	}
	return places
}

// isTest checks that the function is a test of the file, and that function, its
// comment, or what it says of its parts carries the scenario's number.
func isTest(t *testing.T, scenario, file, function string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", file), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(f.Decls, func(d ast.Decl) bool { fn, ok := d.(*ast.FuncDecl); return ok && fn.Name.Name == function }) {
		t.Errorf("%s: %s has no %s", scenario, file, function)
		return
	}
	number, _, _ := strings.Cut(scenario, "-")
	named := regexp.MustCompile(`(?i)(^|[^0-9a-z]|Test)` + number + `([^0-9a-z]|$)`)
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			found = found || n.Name.Name == function && named.MatchString(function)
		case *ast.BasicLit:
			found = found || n.Kind == token.STRING && named.MatchString(n.Value)
		}
		return true
	})
	for _, c := range f.Comments {
		found = found || named.MatchString(c.Text())
	}
	if !found {
		t.Errorf("%s: nothing in %s says that it shows %s", scenario, file, number)
	}
}
