// Package topologies holds the labs: a folder each with a topology file, the
// configuration files of its nodes and scenarios. Its test plays them all.
package topologies

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/clab"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/play"
	"github.com/wgbgp/wgbgp/labs/stage"
)

// beside is how many scenarios are played side by side: they wait most of the
// time. Those that measure (#: alone) come after them, two by two: the machine has two
// processors, and one that fails is played alone by internal/cmd/testreport.
const (
	beside = 6
	calm   = 2
)

// kernelEnv chooses the scenarios that need the kernel's own WireGuard, GRE and
// VRF: set in the virtual machine, where the others are not played again.
const kernelEnv = "WGBGP_LAB_VM"

// TestMain permits as many tests side by side as there are places: go test's own
// limit is meant for tests that work, not for tests that wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(beside)); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestScenarios(t *testing.T) {
	if os.Getenv(nstest.DeferEnv) != "" {
		t.Skip(nstest.DeferReason)
	}
	all, err := play.All(".")
	if err != nil {
		t.Fatal(err)
	}
	programs := programs(t)
	t.Run("beside", func(t *testing.T) {
		for _, s := range all {
			if !s.Needs.Alone && !s.Needs.Kernel {
				t.Run(s.Name, func(t *testing.T) {
					t.Parallel()
					run(t, programs, s)
				})
			}
		}
	})
	t.Run("alone", func(t *testing.T) {
		places := make(chan struct{}, calm)
		for _, s := range all {
			if s.Needs.Alone && !s.Needs.Kernel {
				t.Run(s.Name, func(t *testing.T) {
					t.Parallel()
					places <- struct{}{}
					defer func() { <-places }()
					run(t, programs, s)
				})
			}
		}
	})
}

// TestKernelScenarios is played in the virtual machine.
func TestKernelScenarios(t *testing.T) {
	if os.Getenv(kernelEnv) == "" && !stage.KernelWireGuard() {
		t.Skip("this kernel has no interfaces of kind wireguard")
	}
	all, err := play.All(".")
	if err != nil {
		t.Fatal(err)
	}
	programs := programs(t)
	for _, s := range all {
		if s.Needs.Kernel {
			t.Run(s.Name, func(t *testing.T) { run(t, programs, s) })
		}
	}
}

// programs is the folder of wgbgpd, wgbgp and wgbgp-lab.
func programs(t *testing.T) string {
	t.Helper()
	if daemon := os.Getenv(gwlab.EnvDaemon); daemon != "" {
		return filepath.Dir(daemon)
	}
	dir := t.TempDir()
	if _, _, err := gwlab.BuildPrograms(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// run plays one scenario in a process of its own, which isolates itself.
func run(t *testing.T, programs string, s *play.Scenario) {
	t.Helper()
	out, err := exec.Command(filepath.Join(programs, "wgbgp-lab"), "run", "--labs", ".", "--programs", programs, "-v", s.Lab+"/"+s.Name).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == 3:
		t.Skipf("%s", out)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case !strings.Contains(string(out), "1 played, 0 failed, 0 skipped"):
		t.Fatalf("it was not played:\n%s", out)
	default:
		t.Logf("%s", out)
	}
}

// Every public key in a lab's configurations is the one of a key file there is.
func TestPublicKeysAreThoseOfTheKeyFiles(t *testing.T) {
	for _, dir := range labs(t) {
		top := load(t, dir)
		known := map[string]bool{}
		for _, name := range stage.KeyNames(top) {
			_, public, err := stage.Key(top.Name, name)
			if err != nil {
				t.Fatal(err)
			}
			known[public] = true
		}
		for _, pattern := range []string{"*/*.toml", "*/*.conf"} {
			files, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(string(b)) {
					key, value, ok := strings.Cut(line, "=")
					if strings.HasPrefix(line, "PostUp = wg set ") && strings.Contains(line, " peer ") {
						_, value, _ = strings.Cut(line, " peer ")
						key, value = "public-key", strings.Fields(value)[0]
					}
					key = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(key), "-", ""))
					value = strings.Trim(strings.TrimSpace(value), `"`)
					if ok && key == "publickey" && !known[value] {
						t.Errorf("%s: public key %s belongs to no file of keys/; wgbgp-lab keys %s shows all", f, value, top.Name)
					}
				}
			}
		}
	}
}

// Every lab is a topology that the runner understands, with a README and at
// least one scenario.
func TestLabsAreComplete(t *testing.T) {
	for _, dir := range labs(t) {
		load(t, dir)
		if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
			t.Error(err)
		}
		if found, err := filepath.Glob(filepath.Join(dir, "*"+play.Suffix)); err != nil || len(found) == 0 {
			t.Errorf("%s: no scenario (%v)", dir, err)
		}
	}
}

func labs(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*/*" + clab.Suffix)
	if err != nil || len(files) == 0 {
		t.Fatalf("no labs here (%v)", err)
	}
	for i := range files {
		files[i] = filepath.Dir(files[i])
	}
	return files
}

func load(t *testing.T, dir string) *clab.Topology {
	t.Helper()
	file, err := clab.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	top, err := clab.Load(file, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return top
}
