package interop

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/node"
)

const (
	envUpdate = "WGBGP_INTEROP_UPDATE"
	envOnly   = "WGBGP_INTEROP_ONLY"

	pageFile = "../INTEROP.md"
)

func TestMain(m *testing.M) {
	node.Main()
	// The isolated copy of a test reads its flags from the environment.
	update := flag.Bool("update", os.Getenv(envUpdate) != "", "write the page anew")
	only := flag.String("only", os.Getenv(envOnly), "run only columns whose title holds this `text`, and compare nothing")
	flag.Parse()
	if *update {
		_ = os.Setenv(envUpdate, "1")
	}
	_ = os.Setenv(envOnly, *only)
	os.Exit(gwlab.Main(m.Run))
}

func TestMatrix(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	lab, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(false); err != nil {
			t.Error(err)
		}
	})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tools, err := filepath.Abs("../../.tools")
	if err != nil {
		t.Fatal(err)
	}
	all := columns(tools)
	for _, c := range all {
		nstest.Need(t, c.needs...) // those in .tools are built by make tools
	}
	begin := time.Now()
	results := make([]result, len(all))
	var wg sync.WaitGroup
	for i, c := range all {
		if !strings.Contains(c.title(), os.Getenv(envOnly)) {
			continue
		}
		wg.Go(func() {
			short := strings.ToLower(strings.ReplaceAll(c.name, " ", "")) + "-" + strings.ToLower(c.role)
			r, err := newRig(lab, c, os.Getenv(gwlab.EnvDaemon), exe, short)
			if err != nil {
				t.Errorf("%s: %v", c.title(), err)
				return
			}
			defer r.client.Close()
			p, err := c.start(r)
			if err != nil {
				t.Errorf("%s: %v", c.title(), err)
				return
			}
			v, err := p.version()
			if err != nil {
				t.Errorf("%s: %v", c.title(), err)
			}
			results[i] = result{c, v, r.run(p)}
			for _, row := range rows {
				if cell := results[i].cells[row]; cell.Verdict == Fails && cell.Note == "" {
					t.Errorf("%s %s: %s: %s", c.title(), v, row, cell.Detail)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("figure: the matrix took %.1f s", time.Since(begin).Seconds())
	switch {
	case os.Getenv(envOnly) != "":
	case os.Getenv(envUpdate) != "":
		if err := os.WriteFile(pageFile, []byte(page(results)), 0o644); err != nil {
			t.Error(err)
		}
	default:
		have, err := os.ReadFile(pageFile)
		if err != nil {
			t.Fatal(err)
		}
		if want := page(results); withoutVersions(string(have)) != withoutVersions(want) {
			t.Errorf("labs/INTEROP.md is not what the programs do (cure: make interop, and look at the difference):\n%s", want)
		}
	}
}
