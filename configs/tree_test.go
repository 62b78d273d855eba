package configs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// places prints every key and element of a tree with its line.
func places(n *node, path string, out *[]string) {
	switch n.kind {
	case tableNode:
		for _, k := range n.keys {
			at := join(path, k)
			*out = append(*out, fmt.Sprintf("%s %d", at, n.kids[k].line))
			places(n.kids[k], at, out)
		}
	case arrayNode:
		for i, it := range n.items {
			at := fmt.Sprintf("%s[%d]", path, i)
			*out = append(*out, fmt.Sprintf("%s %d", at, it.line))
			places(it, at, out)
		}
	}
}

func TestEveryKeyAndElementHasItsLine(t *testing.T) {
	text := `a = 1 # first
b.c.d = """
two # no comment
"""" # three quotes and one
"e f".'g"h' = [ # items
  1,
  # "not this"
  "two, ] }", 'three\',

  [ 4, 5 ], { x = 1, y.z = [
    6 ] },
]
[t]
k = 1979-05-27 07:32:00
[[s]]
n = 1
[s.u]
v = 2
[[s.w]]
q = 1
[[s.w]]
q = 2
[[s]]
u.v = 3
  [[s.w]]
  q = '''
]]
'''
[t.sub."dotted.key"]
z = "\"#"
[s.late]
y = 1
`
	want := `a 1
b 2
b.c 2
b.c.d 2
"e f" 5
"e f"."g\"h" 5
"e f"."g\"h"[0] 6
"e f"."g\"h"[1] 8
"e f"."g\"h"[2] 8
"e f"."g\"h"[3] 10
"e f"."g\"h"[3][0] 10
"e f"."g\"h"[3][1] 10
"e f"."g\"h"[4] 10
"e f"."g\"h"[4].x 10
"e f"."g\"h"[4].y 10
"e f"."g\"h"[4].y.z 10
"e f"."g\"h"[4].y.z[0] 11
t 13
t.k 14
t.sub 29
t.sub."dotted.key" 29
t.sub."dotted.key".z 30
s 15
s[0] 15
s[0].n 16
s[0].u 17
s[0].u.v 18
s[0].w 19
s[0].w[0] 19
s[0].w[0].q 20
s[0].w[1] 21
s[0].w[1].q 22
s[1] 23
s[1].u 24
s[1].u.v 24
s[1].w 25
s[1].w[0] 25
s[1].w[0].q 26
s[1].late 31
s[1].late.y 32`
	for _, nl := range []string{"\n", "\r\n"} {
		n, p := parse("x.toml", []byte(strings.ReplaceAll(text, "\n", nl)))
		if p != nil {
			t.Fatal(p)
		}
		var got []string
		places(n, "", &got)
		if strings.Join(got, "\n") != want {
			t.Errorf("line ends %q: got\n%s\nwant\n%s", nl, strings.Join(got, "\n"), want)
		}
	}
}

func TestByteOrderMarkDoesNotMoveLines(t *testing.T) {
	n, p := parse("x.toml", []byte("\xef\xbb\xbf\na = 1\n"))
	if p != nil || n.kids["a"].line != 2 {
		t.Errorf("got %v, %v, want line 2", n, p)
	}
}

// FuzzPlaces holds the scanner against the TOML library: whatever the library
// accepts has a place for everything.
func FuzzPlaces(f *testing.F) {
	seed(f)
	f.Add([]byte("a=[{b=1},{b=2}]\n[c]\nd.e=1\n[[c.f]]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, p := parse("x.toml", data)
		if p != nil {
			if p.Line < 1 || p.Line > 1+bytes.Count(data, []byte("\n")) || p.File == "" {
				t.Errorf("problem without a place: %#v", p)
			}
			if strings.Contains(p.Text, "line index") {
				t.Errorf("the library accepts what the scanner does not: %v\n%q", p, data)
			}
			return
		}
		lines := 1 + bytes.Count(data, []byte("\n"))
		var check func(n *node)
		check = func(n *node) {
			if n.line < 1 || n.line > lines || n.file != "x.toml" {
				t.Errorf("line %d of %d", n.line, lines)
			}
			for _, k := range n.keys {
				check(n.kids[k])
			}
			for _, it := range n.items {
				check(it)
			}
		}
		check(n)
	})
}

// FuzzLoad: no text makes Load panic, every problem has a place and a cure, and
// what loads can be shown and loaded again with the same meaning.
func FuzzLoad(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		load := func(text []byte) (*Config, Problems, error) {
			l := &loader{
				read: func(p string) ([]byte, error) {
					if p == "x.toml" {
						return text, nil
					}
					return nil, os.ErrNotExist
				},
				glob: func(string) ([]string, error) { return nil, nil },
				opt:  Options{Secrets: testOptions().Secrets, CheckOnly: true},
			}
			return l.load("x.toml")
		}
		cfg, warnings, err := load(data)
		lines := 1 + bytes.Count(data, []byte("\n"))
		all := warnings
		if err != nil {
			all = append(all, err.(Problems)...) // Load documents it
			if len(err.(Problems)) == 0 {        // as above
				t.Error("an error without a problem")
			}
		}
		for _, p := range all {
			if p.File != "x.toml" || p.Line < 1 || p.Line > lines || p.Text == "" || p.Cure == "" {
				t.Errorf("incomplete problem %#v", p)
			}
			if strings.ContainsAny(p.String(), "\n\r") {
				t.Errorf("a problem of more than one line: %q", p.String())
			}
		}
		if err != nil {
			return
		}
		again, _, err := load([]byte(Show(cfg)))
		if err != nil {
			t.Fatalf("what Show prints does not load: %v\n%s", err, Show(cfg))
		}
		if changes := Diff(cfg, again); len(changes) > 0 {
			t.Errorf("Diff after Show: %v", changes)
		}
	})
}

func seed(f *testing.F) {
	f.Helper()
	for _, pattern := range []string{"testdata/*/*.toml", "examples/*.toml", "reference.toml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %v", pattern, err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
}
