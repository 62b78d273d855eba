package rules

import (
	"slices"
	"strings"
	"testing"
)

func TestEveryPackageHasExactlyOnePackageComment(t *testing.T) {
	comments := map[string][]string{}
	var packages []string
	for _, f := range files(t) {
		if f.test {
			continue
		}
		if !slices.Contains(packages, f.pkg) {
			packages = append(packages, f.pkg)
		}
		if f.ast.Doc != nil {
			comments[f.pkg] = append(comments[f.pkg], f.path)
		}
	}
	for _, p := range packages {
		if n := len(comments[p]); n != 1 {
			t.Errorf("package %s has %d package comments, want 1: %s", p, n, strings.Join(comments[p], " "))
		}
	}
}

// long lists files that may have more than 700 lines, with the reason that
// convinced a review.
var long = map[string]string{}

func TestFilesAreShortEnoughToRead(t *testing.T) {
	const most = 700
	for _, f := range files(t) {
		if _, ok := long[f.path]; !ok && f.lines > most {
			t.Errorf("%s has %d lines, want at most %d: split it by responsibility", f.path, f.lines, most)
		}
	}
}
