package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/wgbgp/wgbgp"

// file is one Go file of the module. Its package path is relative to the
// module, as in "bgp/speaker".
type file struct {
	path    string // relative to the module's root, with slashes
	pkg     string
	test    bool
	lines   int
	ast     *ast.File
	imports map[string]token.Pos // import path -> where
}

var (
	fset   = token.NewFileSet()
	source = sync.OnceValues(load)
)

// files returns every Go file of the module, sorted by path.
func files(t *testing.T) []file {
	t.Helper()
	fs, err := source()
	if err != nil {
		t.Fatal(err)
	}
	if len(fs) < 20 {
		t.Fatalf("found only %d Go files: this test looks in the wrong place", len(fs))
	}
	return fs
}

func load() ([]file, error) {
	var found []file
	root := "../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			n := d.Name()
			if path != root && (strings.HasPrefix(n, ".") || n == "bin" || n == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parse(root, path)
		found = append(found, f)
		return err
	})
	slices.SortFunc(found, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return found, err
}

func parse(root, path string) (file, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return file{}, err
	}
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return file{}, err
	}
	rel = filepath.ToSlash(rel)
	tree, err := parser.ParseFile(fset, rel, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	f := file{
		path:    rel,
		pkg:     strings.TrimSuffix(strings.TrimSuffix(rel, filepath.Base(rel)), "/"),
		test:    strings.HasSuffix(rel, "_test.go"),
		lines:   strings.Count(string(text), "\n"),
		ast:     tree,
		imports: map[string]token.Pos{},
	}
	for _, spec := range tree.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return file{}, err
		}
		f.imports[p] = spec.Pos()
	}
	return f, nil
}

// within reports whether pkg is dir or below it.
func within(pkg, dir string) bool {
	return pkg == dir || strings.HasPrefix(pkg, dir+"/")
}
