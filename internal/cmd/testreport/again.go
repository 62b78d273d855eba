package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// A limit in seconds is a statement about a machine that has the time. Tests in
// namespaces and in the virtual machine run beside others, so one that failed
// there runs once more with the machine to itself. It counts by that run and
// is named in the account, with its first failure above. More than a few at once
// are no accident: nothing is repeated then. Unit tests are never repeated.
const mostRepeated = 5

// scenarios are tests whose subtests have nothing to do with each other, so that
// one can be repeated without the rest.
var scenarios = regexp.MustCompile(`^Test(Kernel)?Scenarios/`)

// failures are the tests to repeat: top-level tests, and scenarios.
func (r *results) failures() []key {
	var units []key
	for k, o := range r.outcomes {
		if o != failed || k.test == "" {
			continue
		}
		if scenarios.MatchString(k.test + "/") {
			if r.failedBelow(k) {
				continue // it failed because of that one
			}
		} else {
			k.test, _, _ = strings.Cut(k.test, "/")
		}
		if !slices.Contains(units, k) {
			units = append(units, k)
		}
	}
	slices.SortFunc(units, byName)
	return units
}

// failedBelow reports whether a subtest failed.
func (r *results) failedBelow(parent key) bool {
	for k, o := range r.outcomes {
		if o == failed && k.pkg == parent.pkg && strings.HasPrefix(k.test, parent.test+"/") {
			return true
		}
	}
	return false
}

// repeat runs what failed once more, by run, which gets all or one of it.
func (r *results) repeat(w io.Writer, run func(own *results, units []key) error) error {
	units := r.failures()
	for k, o := range r.outcomes {
		if o == failed && k.test == "" {
			return nil // a whole package: it did not build, panicked or ran out of time
		}
	}
	if len(units) == 0 || len(units) > mostRepeated {
		return nil
	}
	fmt.Fprintf(w, "== once more, alone: %d that failed\n", len(units))
	own := newResults(r.w)
	if err := run(own, units); err != nil {
		return err
	}
	for _, u := range units {
		if o, ran := own.outcomes[u]; !ran || o != passed || own.failedBelow(u) {
			continue
		}
		r.unsteady = append(r.unsteady, u)
		for k, o := range r.outcomes {
			within := k.pkg == u.pkg && (k.test == u.test || strings.HasPrefix(k.test, u.test+"/"))
			if within && o == failed {
				r.outcomes[k] = passed
			}
		}
		for up := u.test; strings.Contains(up, "/"); {
			up = up[:strings.LastIndex(up, "/")]
			if k := (key{u.pkg, up}); !r.failedBelow(k) && r.outcomes[k] == failed {
				r.outcomes[k] = passed
			}
		}
	}
	return nil
}

// subtest is a pattern for -run that matches just one test, at any depth.
func subtest(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}
