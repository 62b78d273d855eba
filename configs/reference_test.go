package configs

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// referenceTree parses reference.toml into places and documents.
func referenceTree(t *testing.T) (*node, *document, []string) {
	t.Helper()
	data, err := os.ReadFile("reference.toml")
	if err != nil {
		t.Fatal(err)
	}
	n, p := parse("reference.toml", data)
	if p != nil {
		t.Fatal(p)
	}
	var d decoder
	var doc document
	d.table(n, "", reflect.ValueOf(&doc).Elem())
	if len(d.problems) > 0 {
		t.Fatal(d.problems)
	}
	return n, &doc, strings.Split(string(data), "\n")
}

func TestReferenceDocumentsEveryKey(t *testing.T) {
	root, _, lines := referenceTree(t)
	effect := regexp.MustCompile(`#\s*(live|soft-reset|session-reset|restart)\b(; required)?`)
	for _, f := range Fields() {
		n := root
		for part := range strings.SplitSeq(strings.ReplaceAll(strings.ReplaceAll(f.Path, "[]", ""), "NAME", "wg0"), ".") {
			if n.kind == arrayNode && len(n.items) > 0 {
				n = n.items[0]
			}
			if n = n.kids[part]; n == nil {
				break
			}
		}
		if n == nil {
			t.Errorf("%s: not in reference.toml", f.Path)
			continue
		}
		m := effect.FindStringSubmatch(lines[n.line-1])
		if m == nil || Class(m[1]) != f.Class || (m[2] != "") != f.Required {
			t.Errorf("%s: reference.toml:%d says %q, the decoder knows effect %s, required %t", f.Path, n.line, m, f.Class, f.Required)
		}
		if f.Class == "" {
			t.Errorf("%s: no effect class", f.Path)
		}
	}
}

func TestReferenceValuesAreTheDefaults(t *testing.T) {
	_, doc, _ := referenceTree(t)
	compareDefaults(t, "", reflect.ValueOf(doc).Elem())
}

func compareDefaults(t *testing.T, path string, got reflect.Value) {
	t.Helper()
	want := reflect.New(got.Type())
	if d, ok := want.Interface().(defaulter); ok {
		d.setDefaults()
	} else if strings.HasPrefix(path, ".rank.") {
		return // the defaults of one rank belong to its parent
	}
	for _, f := range fieldsOf(got.Type()) {
		g, w, at := got.Field(f.index), want.Elem().Field(f.index), path+"."+f.key
		if _, table := below(g.Type()); table {
			switch g.Kind() {
			case reflect.Struct:
				if strings.HasPrefix(at, ".rank.") {
					for _, rf := range fieldsOf(g.Type()) {
						if a, b := encodeValue(g.Field(rf.index)), encodeValue(w.Field(rf.index)); a != b {
							t.Errorf("%s.%s: reference says %s, default is %s", at, rf.key, a, b)
						}
					}
					continue
				}
				compareDefaults(t, at, g)
			case reflect.Pointer:
				compareDefaults(t, at, g.Elem())
			case reflect.Slice:
				compareDefaults(t, at, g.Index(0).Elem())
			case reflect.Map:
				for _, k := range g.MapKeys() {
					compareDefaults(t, at, g.MapIndex(k).Elem())
				}
			}
			continue
		}
		if a, b := encodeValue(g), encodeValue(w); f.required == "" && a != b {
			t.Errorf("%s: reference says %s, default is %s", at, a, b)
		}
	}
}

func TestClassesAreKnownWords(t *testing.T) {
	for _, f := range Fields() {
		known := false
		for _, e := range classOrder {
			known = known || e == f.Class
		}
		if !known {
			t.Errorf("%s: effect %q", f.Path, f.Class)
		}
	}
}
