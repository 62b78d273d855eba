package play

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func scenario(t *testing.T, text string) (*Scenario, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x01-thing"+Suffix)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

const title = "# x01-thing: what it shows.\n"

func TestDirectives(t *testing.T) {
	for _, c := range []struct {
		lines string
		want  Needs
		err   string
	}{
		{lines: "", want: Needs{}},
		{lines: "#: kernel\n", want: Needs{Kernel: true}},
		{lines: "#: alone\n#: unchecked\n", want: Needs{Alone: true, Unchecked: true}},
		{lines: "#: not-started gw1 gw2\n", want: Needs{NotStarted: []string{"gw1", "gw2"}}},
		{lines: "#: not-started\n", err: `x01-thing.txtar:2: "not-started": want kernel, alone, unchecked, or not-started with nodes`},
		{lines: "on gw1 true\n#: kernal\n", err: `x01-thing.txtar:3: "kernal": want`},
		{lines: "#: kernel alone\n", err: `x01-thing.txtar:2: "kernel alone": want`},
	} {
		s, err := scenario(t, title+c.lines)
		switch {
		case c.err == "" && err != nil:
			t.Errorf("%q: %v", c.lines, err)
		case c.err == "" && !reflect.DeepEqual(s.Needs, c.want):
			t.Errorf("%q: got %+v, want %+v", c.lines, s.Needs, c.want)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%q: got %v, want %s", c.lines, err, c.err)
		}
	}
}

func TestFirstLineNamesTheScenario(t *testing.T) {
	for text, ok := range map[string]bool{
		title:                          true,
		"#: kernel\n" + title:          true,
		"# x02-other: what it shows\n": false,
		"on gw1 true\n":                false,
	} {
		if s, err := scenario(t, text); (err == nil) != ok {
			t.Errorf("%q: got %+v and %v, want it accepted: %v", text, s, err, ok)
		}
	}
}

// Files in folders of nodes replace the lab's, or are appended to them; what has
// no folder is expected output.
func TestFilesChangeTheLab(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("gw1/a.toml", "a = 1\n")
	write("gw1/b.toml", "b = 1\n")
	write("x.clab.yml", "name: x\n")
	s, err := scenario(t, title+"-- gw1/a.toml+ --\nmore = 2\n-- gw1/b.toml --\nb = 2\n-- new/c/d --\nd\n-- x.clab.yml+ --\n# more\n-- rib --\nexpected\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.change(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"gw1/a.toml": "a = 1\nmore = 2\n", "gw1/b.toml": "b = 2\n", "new/c/d": "d\n", "x.clab.yml": "name: x\n# more\n",
	} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: got %q and %v, want %q", name, got, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "rib")); err == nil {
		t.Error("rib is expected output, and was put into the lab")
	}
	f, err := s.file("rib")
	if err != nil || string(f.Data) != "expected\n" {
		t.Errorf("rib: got %v and %v", f, err)
	}
	if _, err := s.file("fib"); err == nil {
		t.Error("fib: want an error, there is no such file")
	}
}

func TestAppendingNeedsAFileOfTheLab(t *testing.T) {
	s, err := scenario(t, title+"-- gw1/missing.toml+ --\nx\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.change(t.TempDir()); err == nil || !strings.Contains(err.Error(), "missing.toml") {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

// What --update writes is the file that was read, but for expected output.
func TestSaveKeepsTheScript(t *testing.T) {
	text := title + "#: alone\ncompare gw1 'wgbgp rib' rib\n-- rib --\nold\n-- gw1/a.toml+ --\na = 1\n"
	s, err := scenario(t, text)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.file("rib")
	if err != nil {
		t.Fatal(err)
	}
	f.Data = []byte("new\n")
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(s.Path); err != nil || string(got) != strings.Replace(text, "old", "new", 1) {
		t.Errorf("got %v and\n%s", err, got)
	}
}

func TestAllFindsScenariosOfLabsInOrder(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b/b1", "a/a2", "a/a1"} {
		path := filepath.Join(dir, name+Suffix)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("# "+filepath.Base(name)+": x\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all, err := All(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range all {
		got = append(got, s.Lab+"/"+s.Name)
	}
	if want := []string{"a/a1", "a/a2", "b/b1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Times, ages and widths of columns do not count when output is compared.
func TestCompareIgnoresTimesAndWidths(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"x  00:00:07  y\n", "x 01:12:59 y\n", true},
		{"after 1.25s\n", "after 900ms\n", true},
		{"up 3d04h\n", "up 00:00:01\n", true},
		{"10.1.0.0/16\n", "10.1.0.0/17\n", false},
		{"a\nb\n", "a\n", false},
	} {
		if (normal(c.a) == normal(c.b)) != c.same {
			t.Errorf("%q and %q: want the same: %v; they become %q and %q", c.a, c.b, c.same, normal(c.a), normal(c.b))
		}
	}
}
