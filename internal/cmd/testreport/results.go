package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/wgbgp/wgbgp/internal/nstest"
)

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output and build failures
	Test       string
	Output     string
	Elapsed    float64
}

type outcome uint8

// Outcomes, worse last: a test that ran in both passes failed if one failed.
const (
	skipped outcome = iota
	passed
	failed
)

// key names a test; Test is empty for a package that failed as a whole.
type key struct{ pkg, test string }

type results struct {
	mu       sync.Mutex // of outcomes and reasons, for merge
	w        io.Writer
	outcomes map[key]outcome
	reasons  map[key]string // of skips
	deferred map[string][]string
	output   map[key]*strings.Builder
	build    map[string]*strings.Builder // build output by import path
	ran      map[string]int              // tests finished by package in this pass
	bad      int                         // failures seen in this pass
	unsteady []key                       // failed beside others, passed alone
	took     map[key]float64             // seconds
}

func newResults(w io.Writer) *results {
	return &results{
		w:        w,
		outcomes: map[key]outcome{},
		reasons:  map[key]string{},
		deferred: map[string][]string{},
		output:   map[key]*strings.Builder{},
		build:    map[string]*strings.Builder{},
		ran:      map[string]int{},
		took:     map[key]float64{},
	}
}

// line takes one line of output of `go test -json`.
func (r *results) line(b []byte) {
	var e event
	if json.Unmarshal(b, &e) != nil || e.Action == "" {
		fmt.Fprintf(r.w, "%s", b) // not from test2json: show it as it is
		return
	}
	k := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		appendTo(r.build, e.ImportPath, e.Output)
	case "output":
		appendTo(r.output, k, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.packageDone(e)
		} else {
			r.testDone(k, e.Action)
			r.took[k] = e.Elapsed
		}
		delete(r.output, k)
	}
}

func appendTo[K comparable](m map[K]*strings.Builder, k K, s string) {
	b := m[k]
	if b == nil {
		b = &strings.Builder{}
		m[k] = b
	}
	b.WriteString(s)
}

func (r *results) testDone(k key, action string) {
	r.ran[k.pkg]++
	text := ""
	if b := r.output[k]; b != nil {
		text = b.String()
	}
	switch action {
	case "skip":
		reason := skipReason(text)
		if strings.Contains(reason, nstest.DeferReason) {
			r.deferred[k.pkg] = append(r.deferred[k.pkg], k.test)
			r.ran[k.pkg]--
			return
		}
		r.reasons[k] = reason
		r.set(k, skipped)
	case "pass":
		r.set(k, passed)
		if strings.Contains(text, nstest.SeedsReason) {
			r.deferred[k.pkg] = append(r.deferred[k.pkg], k.test)
		}
	case "fail":
		r.bad++
		r.set(k, failed)
		fmt.Fprintf(r.w, "FAIL %s %s\n%s", k.pkg, k.test, indent(text))
	}
}

func (r *results) set(k key, o outcome) {
	if old, ok := r.outcomes[k]; !ok || o > old {
		r.outcomes[k] = o
	}
}

// packageDone notes failures that belong to no test: a package that does not
// build, a panic outside of tests, a TestMain that gives up.
func (r *results) packageDone(e event) {
	if e.Action == "fail" && !r.anyFailed(e.Package) {
		r.bad++
		r.set(key{pkg: e.Package}, failed)
		text := ""
		if b := r.output[key{pkg: e.Package}]; b != nil {
			text = b.String()
		}
		for path, b := range r.build {
			if path == e.Package || strings.HasPrefix(path, e.Package+" [") || strings.HasPrefix(path, e.Package+"_test [") {
				text = b.String() + text
				delete(r.build, path)
			}
		}
		fmt.Fprintf(r.w, "FAIL %s as a whole\n%s", e.Package, indent(text))
	}
	if n := r.ran[e.Package]; n > 0 {
		fmt.Fprintf(r.w, "%-4s %s: %d tests in %.1f s\n", map[string]string{"pass": "ok", "fail": "FAIL", "skip": "-"}[e.Action], e.Package, n, e.Elapsed)
	}
	r.ran[e.Package] = 0
	// A test that never finished (panic, timeout) has output and no outcome.
	for k, b := range r.output {
		if k.pkg == e.Package && k.test != "" && e.Action == "fail" {
			if _, done := r.outcomes[k]; !done {
				r.set(k, failed)
				fmt.Fprintf(r.w, "FAIL %s %s did not finish\n%s", k.pkg, k.test, indent(b.String()))
			}
		}
		if k.pkg == e.Package {
			delete(r.output, k)
		}
	}
}

func (r *results) anyFailed(pkg string) bool {
	for k, o := range r.outcomes {
		if k.pkg == pkg && o == failed {
			return true
		}
	}
	return false
}

// exited notes that go test itself ended with an error. Without any failed test
// that is one more failure: an unknown package, for example.
func (r *results) exited(what string) {
	if r.bad == 0 {
		k := key{pkg: "go test " + what}
		r.set(k, failed)
		for path, b := range r.build {
			fmt.Fprintf(r.w, "%s\n%s", path, indent(b.String()))
		}
		fmt.Fprintf(r.w, "FAIL %s\n", k.pkg)
	}
	r.bad = 0
}

// merge takes over what a run beside others came to.
func (r *results) merge(other *results) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, o := range other.outcomes {
		r.set(k, o)
	}
	maps.Copy(r.reasons, other.reasons)
	maps.Copy(r.took, other.took)
	r.unsteady = append(r.unsteady, other.unsteady...)
}

// wholeLines lets several runs write to one place: each Write is a whole text.
type wholeLines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *wholeLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// deferredTests are the tests of one package that wait for the second pass.
type deferredTests struct {
	pkg   string
	tests []string
}

// takeDeferred returns what the first pass put off, by package.
func (r *results) takeDeferred() []deferredTests {
	var ds []deferredTests
	for pkg, tests := range r.deferred {
		slices.Sort(tests)
		ds = append(ds, deferredTests{pkg, tests})
	}
	slices.SortFunc(ds, func(a, b deferredTests) int { return strings.Compare(a.pkg, b.pkg) })
	clear(r.deferred)
	return ds
}

// missing fails deferred tests that the second pass did not run, so that no
// test can fall between the two.
func (r *results) missing(d deferredTests) {
	for _, test := range d.tests {
		k := key{d.pkg, test}
		if _, ok := r.outcomes[k]; !ok {
			r.set(k, failed)
			fmt.Fprintf(r.w, "FAIL %s %s: put off by the first pass and not run by the second\n", k.pkg, k.test)
		}
	}
}

// report prints the account and says whether all is well.
func (r *results) report(strict bool, expected expectations) bool {
	var count [3]int
	var skips, fails []key
	for k, o := range r.outcomes {
		count[o]++
		switch o {
		case skipped:
			skips = append(skips, k)
		case failed:
			fails = append(fails, k)
		}
	}
	slices.SortFunc(skips, byName)
	slices.SortFunc(fails, byName)

	unexpected := 0
	for _, k := range skips {
		why, ok := expected.match(k, r.reasons[k])
		note := "expected: " + why
		if !ok {
			note = "NOT EXPECTED on this machine"
			unexpected++
		}
		fmt.Fprintf(r.w, "skipped: %s %s: %s (%s)\n", k.pkg, k.test, r.reasons[k], note)
	}
	r.slowest()
	for _, k := range r.unsteady {
		fmt.Fprintf(r.w, "unsteady: %s %s: failed beside others, passed alone\n", k.pkg, k.test)
	}
	for _, k := range fails {
		fmt.Fprintf(r.w, "failed: %s %s\n", k.pkg, k.test)
	}
	good := count[failed] == 0
	if strict && unexpected > 0 {
		fmt.Fprintf(r.w, "%d tests were skipped that this machine should run; cure the reason, or list them with theirs in the file given by -skips\n", unexpected)
		good = false
	}
	fmt.Fprintf(r.w, "%d passed, %d failed, %d skipped\n", count[passed], count[failed], count[skipped])
	return good
}

// slowest names what the time went into: top-level tests, and single scenarios.
func (r *results) slowest() {
	const most, least = 12, 10 // tests, seconds
	groups := map[key]bool{}   // of scenarios
	for k := range r.took {
		for up := k.test; scenarios.MatchString(k.test) && strings.Contains(up, "/"); {
			up = up[:strings.LastIndex(up, "/")]
			groups[key{k.pkg, up}] = true
		}
	}
	var ks []key
	for k, s := range r.took {
		if s >= least && !groups[k] && (!strings.Contains(k.test, "/") || scenarios.MatchString(k.test)) {
			ks = append(ks, k)
		}
	}
	slices.SortFunc(ks, func(a, b key) int { return cmp.Or(cmp.Compare(r.took[b], r.took[a]), byName(a, b)) })
	for _, k := range ks[:min(len(ks), most)] {
		fmt.Fprintf(r.w, "slow: %s %s: %.0f s\n", k.pkg, k.test, r.took[k])
	}
}

func byName(a, b key) int { return strings.Compare(a.pkg+" "+a.test, b.pkg+" "+b.test) }

// skipReason is what a skipped test said, without the frame go test puts around
// it.
func skipReason(text string) string {
	var said []string
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "=== ") || strings.HasPrefix(l, "--- SKIP") {
			continue
		}
		said = append(said, l)
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, " ")
}

func indent(s string) string {
	if s == "" {
		return ""
	}
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ") + "\n"
}
