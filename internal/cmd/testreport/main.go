package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
)

func main() {
	strict := flag.Bool("strict", os.Getenv("CI") == "true", "a skip that -skips does not expect is a failure (default: when CI=true)")
	skipsFile := flag.String("skips", "", "`file` with the skips that are expected")
	raceNS := flag.Bool("race-namespaces", false, "race detector in the namespace tests too")
	vm := flag.String("vm", "no", "tests on a Debian kernel in a virtual machine: no, also or only")
	timeout := flag.Duration("timeout", 15*time.Minute, "for the tests of one package")
	flag.Parse()
	packages := flag.Args()
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	switch *vm {
	case "no", "also", "only":
	default:
		fmt.Fprintf(os.Stderr, "testreport: -vm %q: want no, also or only\n", *vm)
		os.Exit(2)
	}
	ok, err := run(os.Stdout, options{*strict, *skipsFile, *raceNS, *vm, *timeout, packages})
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
	r := newResults(w)
	if o.vm != "only" {
		if err := runHere(r, w, o); err != nil {
			return false, err
		}
	}
	if o.vm != "no" {
		if err := runVM(r, w, o.timeout); err != nil {
			return false, err
		}
	}
	return r.report(o.strict, expected), nil
}

// runHere runs the first two passes.
func runHere(r *results, w io.Writer, o options) error {
	fmt.Fprintln(w, "== unit tests, race detector on")
	args := append([]string{"-race", "-timeout", o.timeout.String()}, o.packages...)
	if err := goTest(r, nstest.DeferEnv+"=1", args...); err != nil {
		return err
	}

	deferred := r.takeDeferred()
	if len(deferred) > 0 {
		fmt.Fprintln(w, "== tests in network namespaces")
	}
	for _, d := range deferred {
		args := []string{"-count=1", "-timeout", o.timeout.String(), "-run", exactly(d.tests)}
		if o.raceNamespaces {
			args = append(args, "-race")
		}
		if err := goTest(r, "", append(args, d.pkg)...); err != nil {
			return err
		}
		r.missing(d)
	}
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
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Env = os.Environ()
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
