package rules

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// pure packages decide; they reach the outside through nothing but arguments
// and results. Their same inputs give the same outputs.
var pure = []string{"bgp", "wg", "tgwconnect", "tgwconnect/doctor", "ha"}

// pureImports is all that the pure packages may import from outside of this
// module. None of it can open, send, wait or remember.
var pureImports = []string{
	"bytes", "cmp", "encoding/base64", "encoding/binary", "encoding/hex", "encoding/json", "errors", "fmt",
	"hash/fnv", "iter", "maps", "math", "math/bits", "net/netip", "slices", "sort", "strconv", "strings",
	"time", "unicode", "unicode/utf8",
	"crypto/ecdh",              // a public key is computed from a private one
	"math/rand/v2",             // sources given by the caller; the global one is caught below
	"github.com/gaissmai/bart", // a prefix table, memory only
}

func TestPurePackagesImportNothingThatReachesOut(t *testing.T) {
	for _, f := range pureFiles(t) {
		for imp, pos := range f.imports {
			if strings.HasPrefix(imp, module+"/") || slices.Contains(pureImports, imp) {
				continue // TestImportsFollowTheLayers judges our own packages
			}
			t.Errorf("%s: %s is pure and may not import %s", fset.Position(pos), f.pkg, imp)
		}
	}
}

// clock lists what reads the clock or waits for it. Time comes in as an
// argument (design section 2).
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// seeded lists what of math/rand/v2 does not use the global source.
var seeded = []string{"New", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "Source", "PCG", "ChaCha8", "Zipf"}

func TestPurePackagesReadNoClockAndNoDiceAndStartNothing(t *testing.T) {
	for _, f := range pureFiles(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: %s is pure and may not start a goroutine", fset.Position(n.Pos()), f.pkg)
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if !ok {
					return true
				}
				if x.Name == "time" && slices.Contains(clock, n.Sel.Name) {
					t.Errorf("%s: %s is pure and may not call time.%s: take the time as an argument", fset.Position(n.Pos()), f.pkg, n.Sel.Name)
				}
				if x.Name == "rand" && !slices.Contains(seeded, n.Sel.Name) {
					t.Errorf("%s: %s is pure and may not use the global rand.%s", fset.Position(n.Pos()), f.pkg, n.Sel.Name)
				}
			}
			return true
		})
	}
}

// The simulated world decides by its seed alone, and is tested without the race
// detector (internal/cmd/testreport) as the pure packages are.
func TestTheSimulatedWorldStartsNothing(t *testing.T) {
	seen := false
	for _, f := range files(t) {
		if f.pkg != "ha/hatest" {
			continue
		}
		seen = true
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if n, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: %s may not start a goroutine", fset.Position(n.Pos()), f.pkg)
			}
			return true
		})
	}
	if !seen {
		t.Error("no file of ha/hatest was seen")
	}
}

func pureFiles(t *testing.T) []file {
	t.Helper()
	var fs []file
	seen := map[string]bool{}
	for _, f := range files(t) {
		if !f.test && slices.Contains(pure, f.pkg) {
			fs = append(fs, f)
			seen[f.pkg] = true
		}
	}
	for _, p := range pure {
		if !seen[p] {
			t.Fatalf("package %s was not found: this test looks in the wrong place", p)
		}
	}
	return fs
}
