package secret

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const key = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="

func TestValueNeverPrintsItself(t *testing.T) {
	v := NewValue(key)
	type holder struct {
		V Value
		P *Value
	}
	j, err := json.Marshal(map[string]any{"v": v, "h": holder{v, &v}})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v, "h", holder{v, &v})
	out := fmt.Sprintf("%v %+v %#v %s %q %x %d %v %+v %#v", v, v, v, v, v, v, v, holder{v, &v}, &v, holder{V: v}) + string(j) + log.String()
	for _, bad := range []string{key, key[:12], fmt.Sprintf("%x", key[:6])} {
		if strings.Contains(out, bad) {
			t.Errorf("output holds %q: %s", bad, out)
		}
	}
	if v.Reveal() != key {
		t.Error("Reveal lost the secret")
	}
}

func TestParseRef(t *testing.T) {
	for in, want := range map[string]Ref{
		"file:/etc/k":       {"file", "/etc/k"},
		"env:A":             {"env", "A"},
		"aws-sm:arn:x#f":    {"aws-sm", "arn:x#f"},
		"credential:wg.key": {"credential", "wg.key"},
	} {
		got, err := ParseRef(in)
		if err != nil || got != want || got.String() != in {
			t.Errorf("ParseRef(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", key, "file:" + key, "env:" + key, "vault:" + key, "file:", ":x", "File:/x", "9a:x", "pass word:x"} {
		_, err := ParseRef(in)
		if !errors.Is(err, ErrLiteral) {
			t.Errorf("ParseRef(%q): %v, want ErrLiteral", in, err)
		} else if in != "" && strings.Contains(err.Error(), in) {
			t.Errorf("error repeats the input: %v", err)
		}
	}
}

func TestUnknownSchemeListsTheKnownOnesAndNotTheInput(t *testing.T) {
	_, err := Default().Open(Ref{"hunter2", "geheim"})
	want := "unknown secret scheme; this build knows aws-sm, credential, env, file, ssm, vault"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRegisterOpensTheRegistry(t *testing.T) {
	r := Default()
	r.Register("env", Env{Lookup: func(string) (string, bool) { return "v\n", true }})
	v, err := r.Open(Ref{"env", "A"})
	if err != nil || v.Reveal() != "v" {
		t.Errorf("got %q, %v", v.Reveal(), err)
	}
}

func write(t *testing.T, mode os.FileMode) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "k")
	if err := os.WriteFile(p, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p, mode); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFileModes(t *testing.T) {
	root := os.Geteuid() == 0
	for mode, want := range map[os.FileMode]string{
		0o600: "ok", 0o400: "ok", 0o640: "warn", 0o440: "warn",
		0o644: "refused", 0o660: "refused", 0o604: "refused", 0o620: "refused", 0o610: "refused", 0o777: "refused",
	} {
		if !root && want == "warn" {
			want = "refused" // the exception is for files of root
		}
		p := write(t, mode)
		warnings, err := File{}.Check(p)
		got := "ok"
		if len(warnings) > 0 {
			got = "warn"
		}
		if err != nil {
			got = "refused"
			if !strings.Contains(err.Error(), "chmod 0600 "+p) {
				t.Errorf("mode %04o: no cure in %v", mode, err)
			}
		}
		if got != want {
			t.Errorf("mode %04o: got %s (%v), want %s", mode, got, err, want)
		}
		_, err = Default().Open(Ref{"file", p})
		if (err == nil) != (want != "refused") {
			t.Errorf("mode %04o: Open disagrees with Check: %v", mode, err)
		}
	}
}

func TestFileOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make a file of somebody else")
	}
	p := write(t, 0o600)
	if err := os.Chown(p, 4711, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := (File{}).Open(p); err == nil || !strings.Contains(err.Error(), "owned by user 4711") {
		t.Errorf("stranger's file: got %v, want a refusal", err)
	}
	uid := 4711
	if _, err := (File{UID: &uid}).Open(p); err != nil {
		t.Errorf("own file: got %v, want it read", err)
	}
}

func TestFileRefusesWhatIsNoPlainFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		dir:                     "not a regular file",
		fifo:                    "not a regular file",
		filepath.Join(dir, "x"): "no such file",
		"relative":              "must be absolute",
	} {
		_, err := File{}.Open(name)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

func TestCredential(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "wg.key"), []byte(key), 0o400); err != nil {
		t.Fatal(err)
	}
	c := Credential{Dir: dir}
	if v, err := c.Open("wg.key"); err != nil || v.Reveal() != key {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"../wg.key", "/etc/passwd", "..", "missing"} {
		if _, err := c.Open(bad); err == nil {
			t.Errorf("Open(%q) succeeded", bad)
		}
		if _, err := c.Check(bad); err == nil {
			t.Errorf("Check(%q) succeeded", bad)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := (Credential{}).Check("wg.key"); !errors.Is(err, ErrNotHere) {
		t.Errorf("without systemd: got %v, want ErrNotHere", err)
	}
}

func TestEnvAlwaysWarns(t *testing.T) {
	t.Setenv("WGBGP_TEST_SECRET", "s")
	w, err := Env{}.Check("WGBGP_TEST_SECRET")
	if err != nil || len(w) != 1 {
		t.Errorf("got %v, %v, want one warning", w, err)
	}
	if _, err := (Env{}).Check("WGBGP_TEST_UNSET"); !errors.Is(err, ErrNotHere) {
		t.Errorf("got %v, want ErrNotHere", err)
	}
}

func TestEmptySecretIsAnError(t *testing.T) {
	p := filepath.Join(t.TempDir(), "k")
	if err := os.WriteFile(p, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Default().Open(Ref{"file", p}); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("got %v", err)
	}
}
