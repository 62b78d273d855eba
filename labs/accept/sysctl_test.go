package accept

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// The kernel takes the stricter of conf.all.rp_filter and the interface's own:
// strict anywhere drops what comes back another way.
func TestAC30_StrictReversePathFilter(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	l := start(t, gwlab.Spec{
		Gateways: []gwlab.Gateway{
			{Name: "sets", NotStarted: true},
			{Name: "checks", NotStarted: true, TOML: "[fib]\nsysctl = \"check\"\n"},
		},
		Sites: []gwlab.Site{{Name: "paris", ReturnBy: []string{"sets"}}},
	})
	for _, g := range l.Gateways {
		err := g.Host.Sysctl("net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1")
		if err != nil {
			t.Fatal(err)
		}
		if err := l.StartGateway(g); err != nil {
			t.Fatal(err)
		}
	}
	sets, checks, s := l.Gateway("sets"), l.Gateway("checks"), l.Site("paris")
	filters := []string{"all", "wg0", "gre-tgw"}
	wantFilters := func(g *gwlab.GatewayHost, want string) {
		t.Helper()
		nstest.Eventually(t, 10*time.Second, func() error {
			for _, d := range filters {
				out, err := g.Host.Run("sysctl", "-n", "net.ipv4.conf."+d+".rp_filter")
				if err != nil {
					return err
				}
				if got := strings.TrimSpace(out); got != want {
					return fmt.Errorf("%s: rp_filter of %s: got %s, want %s", g.Name, d, got, want)
				}
			}
			return nil
		})
	}
	// problems asks `wgbgp check` for what is wrong with kernel settings.
	problems := func(g *gwlab.GatewayHost) (cures map[string]string, code int) {
		t.Helper()
		out, _, code, err := l.CLI(g, "-j", "check")
		var report api.CheckReport
		if err := errors.Join(err, json.Unmarshal([]byte(out), &report)); err != nil {
			t.Fatal(err)
		}
		cures = map[string]string{}
		for _, p := range report.Problems {
			if name, ok := strings.CutPrefix(p.Object, "sysctl "); ok && p.Severity == api.SeverityError {
				cures[name] = p.Cure
			}
		}
		return cures, code
	}

	wantFilters(sets, "2")
	atTGW(t, l, 20*time.Second, s.Net4, "checks", "sets")
	nstest.Eventually(t, 20*time.Second, func() error { return ping(l.VPCWorkload(), s.LAN4) })
	if cures, _ := problems(sets); len(cures) != 0 {
		t.Errorf("sysctl = set: check still reports %v", cures)
	}

	wantFilters(checks, "1")
	cures, code := problems(checks)
	if code != 5 {
		t.Errorf("sysctl = check: exit code of check: got %d, want 5", code)
	}
	for _, d := range filters {
		key := "net.ipv4.conf." + d + ".rp_filter"
		if got, want := cures[key], "sysctl -w "+key+"=2"; got != want {
			t.Errorf("sysctl = check: cure of %s: got %q, want %q", key, got, want)
		}
	}
	for _, cure := range cures { // the exact commands
		if _, err := checks.Host.Run(strings.Fields(cure)...); err != nil {
			t.Error(err)
		}
	}
	if cures, _ := problems(checks); len(cures) != 0 {
		t.Errorf("after the cures: check still reports %v", cures)
	}

	// Drift is seen at once.
	for _, g := range l.Gateways {
		if err := g.Host.Sysctl("net.ipv4.conf.all.rp_filter=1"); err != nil {
			t.Fatal(err)
		}
		if cures, code := problems(g); code != 5 || len(cures) != 1 {
			t.Errorf("%s: drift: got exit code %d, %v, want 5 and one problem", g.Name, code, cures)
		}
	}
	t.Logf("figure: AC-30 reported settings on the host that only checks %d, each cured by its command", len(cures))
}
