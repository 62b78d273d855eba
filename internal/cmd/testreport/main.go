package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

func main() {
	strict := flag.Bool("strict", os.Getenv("CI") == "true", "a skip that -skips does not expect is a failure (default: when CI=true)")
	skipsFile := flag.String("skips", "", "`file` with the skips that are expected")
	raceNS := flag.Bool("race-namespaces", false, "race detector in the namespace tests too")
	vm := flag.String("vm", "no", "tests on a Debian kernel in a virtual machine: no, also or only")
	docker := flag.String("docker", "no", "labs in Docker by the real containerlab: no, also or only")
	timeout := flag.Duration("timeout", 15*time.Minute, "for the tests of one package")
	flag.Parse()
	packages := flag.Args()
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	for name, word := range map[string]string{"vm": *vm, "docker": *docker} {
		switch word {
		case "no", "also", "only":
		default:
			fmt.Fprintf(os.Stderr, "testreport: -%s %q: want no, also or only\n", name, word)
			os.Exit(2)
		}
	}
	ok, err := run(os.Stdout, options{*strict, *skipsFile, *raceNS, *vm, *docker, *timeout, packages})
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

type options struct {
	strict         bool
	skipsFile      string
	raceNamespaces bool
	vm             string // no, also or only
	docker         string // likewise
	timeout        time.Duration
	packages       []string
}

func run(w io.Writer, o options) (ok bool, err error) {
	var expected expectations
	if o.skipsFile != "" {
		if expected, err = readExpectations(o.skipsFile); err != nil {
			return false, err
		}
	}
	r := newResults(&wholeLines{w: w})
	if o.vm != "only" && o.docker != "only" {
		if err := runHere(r, w, o); err != nil {
			return false, err
		}
	}
	if o.vm != "no" {
		if err := runVM(r, w, o.timeout); err != nil {
			return false, err
		}
	}
	if o.docker != "no" {
		if err := runDocker(r, w, o.timeout); err != nil {
			return false, err
		}
	}
	return r.report(o.strict, expected), nil
}

// runHere runs the first two passes.
func runHere(r *results, w io.Writer, o options) error {
	programs, err := os.MkdirTemp("", "wgbgp-programs-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(programs) }()
	// Once for all packages that run them; each would build its own.
	daemon, cli, err := gwlab.BuildPrograms(programs)
	if err != nil {
		return err
	}
	for name, path := range map[string]string{gwlab.EnvDaemon: daemon, gwlab.EnvCLI: cli} {
		if err := os.Setenv(name, path); err != nil {
			return err
		}
	}
	raced, pure, err := splitPure(o.packages)
	if err != nil {
		return err
	}
	for _, pass := range []struct {
		what     string
		packages []string
		args     []string
	}{
		{"unit tests of what starts no goroutine", pure, nil},
		{"unit tests, race detector on", raced, []string{"-race"}},
	} {
		if len(pass.packages) == 0 {
			continue
		}
		fmt.Fprintln(w, "== "+pass.what)
		args := slices.Concat(pass.args, []string{"-timeout", o.timeout.String()}, pass.packages)
		if err := goTest(r, nstest.DeferEnv+"=1", args...); err != nil {
			return err
		}
	}

	deferred := r.takeDeferred()
	if len(deferred) > 0 {
		fmt.Fprintln(w, "== tests in network namespaces")
	}
	beside, after := schedule(deferred)
	inNamespaces := newResults(r.w)
	if err := sideBySide(inNamespaces, places, o, beside); err != nil {
		return err
	}
	if err := sideBySide(inNamespaces, 1, o, after); err != nil {
		return err
	}
	err = inNamespaces.repeat(w, func(own *results, units []key) error {
		for _, u := range units {
			if err := goTest(own, "", "-count=1", "-parallel=1", "-timeout", o.timeout.String(), "-run", subtest(u.test), u.pkg); err != nil {
				return err
			}
		}
		return nil
	})
	r.merge(inNamespaces)
	return err
}

// pure packages start no goroutine (internal/rules sees to it), so there is no race
// to detect in their thousands of seeded worlds.
var pure = []string{"ha", "ha/hatest"}

// splitPure lists the packages by whether the race detector is of use.
func splitPure(patterns []string) (raced, plain []string, err error) {
	out, err := exec.Command("go", append([]string{"list", "-e"}, patterns...)...).Output()
	if err != nil {
		return nil, nil, fmt.Errorf("list the packages: %w", err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		if slices.Contains(pure, strings.TrimPrefix(pkg, module+"/")) {
			plain = append(plain, pkg)
		} else {
			raced = append(raced, pkg)
		}
	}
	return raced, plain, nil
}

// places is how many packages are tested side by side: tests in namespaces wait
// most of the time. A long one takes two places, for it runs many tests side by side.
const places = 4

// long are packages that take longest: they come first, so that none is left alone
// at the end.
var long = []string{"labs/accept", "labs/topologies"}

func isLong(pkg string) bool {
	return slices.ContainsFunc(long, func(p string) bool { return strings.HasSuffix(pkg, "/"+p) })
}

// alone are packages, or tests of one by the beginning of their names, that measure
// or load the machine: no other beside them.
var alone = []struct{ pkg, tests string }{
	{"labs/bench", "Test"}, {"bgp/bfd", "Test"}, {"labs/accept", "TestSameKey"}, {"labs/accept", "TestAC02_"},
}

// schedule says what runs side by side, in which order, and what runs alone afterwards.
func schedule(deferred []deferredTests) (beside, after []deferredTests) {
	for _, d := range deferred {
		for _, a := range alone {
			if !strings.HasSuffix(d.pkg, "/"+a.pkg) {
				continue
			}
			mine, others := deferredTests{pkg: d.pkg}, deferredTests{pkg: d.pkg}
			for _, t := range d.tests {
				if strings.HasPrefix(t, a.tests) {
					mine.tests = append(mine.tests, t)
				} else {
					others.tests = append(others.tests, t)
				}
			}
			if len(mine.tests) > 0 {
				after = append(after, mine)
			}
			d = others
		}
		if len(d.tests) > 0 {
			beside = append(beside, d)
		}
	}
	rank := func(d deferredTests) int {
		return slices.IndexFunc(long, func(p string) bool { return strings.HasSuffix(d.pkg, "/"+p) })
	}
	slices.SortStableFunc(beside, func(a, b deferredTests) int {
		return cmp.Or(cmp.Compare(rank(b), rank(a)), cmp.Compare(len(b.tests), len(a.tests)))
	})
	return beside, after
}

// sideBySide tests each package, as many at a time as have a place, and returns the
// first error.
func sideBySide(r *results, n int64, o options, packages []deferredTests) error {
	var g errgroup.Group
	free := semaphore.NewWeighted(n)
	for _, d := range packages {
		takes := int64(1)
		if isLong(d.pkg) {
			takes = min(2, n)
		}
		if err := free.Acquire(context.Background(), takes); err != nil {
			return err
		}
		g.Go(func() error {
			defer free.Release(takes)
			own := newResults(r.w)
			err := namespaceTests(own, o, d)
			r.merge(own)
			return err
		})
	}
	return g.Wait()
}

// namespaceTests runs what one package put off.
func namespaceTests(r *results, o options, d deferredTests) error {
	// Those that say so run side by side, more than there are processors.
	args := []string{"-count=1", "-parallel=4", "-timeout", o.timeout.String(), "-run", exactly(d.tests)}
	if o.raceNamespaces {
		args = append(args, "-race")
	}
	if err := goTest(r, "", append(args, d.pkg)...); err != nil {
		return err
	}
	r.missing(d)
	return nil
}

// exactly is a pattern for -run that matches just these top-level tests.
func exactly(tests []string) string {
	quoted := make([]string, len(tests))
	for i, t := range tests {
		quoted[i] = regexp.QuoteMeta(t)
	}
	return "^(" + strings.Join(quoted, "|") + ")$"
}

// goTest feeds the events of one `go test -json` into r. That tests fail is no
// error here; that go could not be run is one.
func goTest(r *results, env string, args ...string) error {
	cmd := exec.Command("go", append([]string{"test", "-json", "-vet=off", "-ldflags=-w"}, args...)...) // make lint vets all; nobody debugs these
	cmd.Env = os.Environ()
	if slices.Contains(args, "-race") {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=1")
	}
	if env != "" {
		cmd.Env = append(cmd.Env, env)
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run go test: %w", err)
	}
	lines := bufio.NewReaderSize(out, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if err != nil {
			break
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.exited(strings.Join(args, " "))
		return nil
	}
	return err
}
