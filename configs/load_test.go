package configs

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgbgp/wgbgp/internal/secret"
)

var update = flag.Bool("update", false, "rewrite the expected messages in testdata")

// testKeys are the secrets behind the references in testdata. They were made
// for these tests and open nothing.
var testKeys = map[string]string{
	"/etc/wgbgp/wg0.key":  "SJ/CI6u2lGxsGXq9Kr8CDcGSSGLFjFIBTYkgHi32XXQ=",
	"/etc/wgbgp/wg1.key":  "mGZHZIJTvx0yIhQTlkOeGeIMCLCtJCQjcD0A0gdHuWY=",
	"/etc/wgbgp/wg2.key":  "SJhRUWBFNjsTL12PQpTapUNXpMiiVazsIbK9A1Wb7GE=",
	"/etc/wgbgp/psk":      "Sm8Fg4QMbYxN9sVqmJ0xQv3S8l5PZbYDxJ6fGmB4J1c=",
	"/etc/wgbgp/md5":      "correct horse battery",
	"/etc/wgbgp/notakey":  "SECRETHALFAKEYSECRETHALFAKEY",
	"/etc/wgbgp/password": "SECRETPASSWORD",
}

// testFiles is a file scheme over testKeys; other paths go to the real one.
type testFiles struct{ secret.File }

func (f testFiles) Check(name string) ([]string, error) {
	if _, ok := testKeys[name]; ok {
		return nil, nil
	}
	return f.File.Check(name)
}

func (f testFiles) Open(name string) (secret.Value, error) {
	if s, ok := testKeys[name]; ok {
		return secret.NewValue(s + "\n"), nil
	}
	return f.File.Open(name)
}

// testStore is a store elsewhere that knows the documents of testdata.
type testStore struct{}

func (testStore) Fetch(_ context.Context, name string) (secret.Document, error) {
	doc, ok := map[string]string{
		"kv/wgbgp/gw-a": `{"wg0":"` + testKeys["/etc/wgbgp/wg0.key"] + `"}`,
		"arn:aws:secretsmanager:eu-central-1:123456789012:secret:wgbgp-AbCdEf": `{"paris":"` + testKeys["/etc/wgbgp/psk"] + `"}`,
		"/wgbgp/paris/bgp": testKeys["/etc/wgbgp/md5"],
	}[name]
	if !ok {
		return secret.Document{}, secret.ErrNotFound
	}
	return secret.Document{Text: secret.NewValue(doc)}, nil
}

func testOptions() Options {
	r := secret.Default()
	r.Register("file", testFiles{})
	env := map[string]string{"WG0_KEY": testKeys["/etc/wgbgp/wg0.key"]}
	r.Register("env", secret.Env{Lookup: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
	r.Register("credential", secret.Credential{Dir: "/nonexistent"})
	for _, scheme := range []string{secret.SchemeAWS, secret.SchemeSSM, secret.SchemeVault} {
		r.Register(scheme, &secret.Remote{Scheme: scheme, Fetcher: testStore{}})
	}
	return Options{Secrets: r}
}

// golden compares got with the file, or writes it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: messages differ (-want +got):\n%s", path, diff)
	}
}

// messages prints what an operator sees, with warnings first.
func messages(warnings Problems, err error) string {
	var lines []string
	for _, w := range warnings {
		lines = append(lines, w.String())
	}
	if err != nil {
		lines = append(lines, err.Error())
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestInvalidFilesGiveTheirMessages(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid/*.toml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			cfg, warnings, err := Load(f, testOptions())
			if err == nil || cfg != nil {
				t.Fatal("was accepted")
			}
			var ps Problems
			if !errors.As(err, &ps) {
				t.Fatalf("err is a %T, want Problems", err)
			}
			for _, p := range ps {
				if p.File == "" || p.Line < 1 || p.Text == "" || p.Cure == "" {
					t.Errorf("incomplete: %#v", p)
				}
			}
			golden(t, strings.TrimSuffix(f, ".toml")+".txt", messages(warnings, err))
		})
	}
}

// A secret in the wrong place must not reach the terminal or a log.
func TestMessagesNeverHoldSecrets(t *testing.T) {
	files, _ := filepath.Glob("testdata/*/*.txt")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"SECRET", "yAnz5", "SJ/CI6u2"} {
			if strings.Contains(string(b), bad) {
				t.Errorf("%s holds %q", f, bad)
			}
		}
	}
}

func TestValidFilesLoadWithTheirWarnings(t *testing.T) {
	files, err := filepath.Glob("testdata/valid/*.toml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			cfg, warnings, err := Load(f, testOptions())
			if err != nil {
				t.Fatal(err)
			}
			base := strings.TrimSuffix(f, ".toml")
			golden(t, base+".txt", messages(warnings, nil))
			golden(t, base+".shown", Show(cfg))
			reload(t, cfg)
		})
	}
}

// reload proves that what Show prints means the same.
func reload(t *testing.T, cfg *Config) {
	t.Helper()
	p := filepath.Join(t.TempDir(), "shown.toml")
	if err := os.WriteFile(p, []byte(Show(cfg)), 0o600); err != nil {
		t.Fatal(err)
	}
	again, _, err := Load(p, testOptions())
	if err != nil {
		t.Fatalf("what Show prints does not load: %v\n%s", err, Show(cfg))
	}
	if diff := cmp.Diff(cfg.Core, again.Core, cmpOptions); diff != "" {
		t.Errorf("what Show prints means something else:\n%s", diff)
	}
	if changes := Diff(cfg, again); len(changes) > 0 {
		t.Errorf("Diff after Show: %v", changes)
	}
	if a, b := Show(cfg), Show(again); a != b {
		t.Errorf("Show is no fixed point:\n%s", cmp.Diff(a, b))
	}
}

func TestUnreadableMainFileIsAProblemToo(t *testing.T) {
	for path, want := range map[string]string{
		"testdata":         "testdata:1: can not read testdata: not a regular file; name an existing file that the daemon may read",
		"nowhere/at/all":   "nowhere/at/all:1: can not read nowhere/at/all: no such file or directory; name an existing file that the daemon may read",
		"/dev/null/x.toml": "/dev/null/x.toml:1: can not read /dev/null/x.toml: not a directory; name an existing file that the daemon may read",
	} {
		_, _, err := Load(path, testOptions())
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
