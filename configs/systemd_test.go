package configs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func unit(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("systemd/wgbgpd.service")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestUnitKeepsItsPromises(t *testing.T) {
	text := unit(t)
	for line, why := range map[string]string{
		"Type=notify":                  "ready means ready",
		"RuntimeDirectoryPreserve=yes": "the next process adopts what is in /run",
		"ProtectKernelTunables=no":     "[fib] sysctl = \"set\" is the default",
		"LimitCORE=0":                  "a core dump holds keys",
		"RestartPreventExitStatus=2 6": "an invalid configuration does not heal by repetition",
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%s is missing: %s", line, why)
		}
	}
	if !regexp.MustCompile(`\nWatchdogSec=\d+s\n`).MatchString(text) {
		t.Error("WatchdogSec= is missing")
	}
	var doc document
	doc.setDefaults()
	for _, p := range []string{doc.StateDir, filepath.Dir(doc.API.Socket)} {
		if dir := strings.TrimPrefix(p, "/run/"); !regexp.MustCompile(`\nRuntimeDirectory=.*\b` + dir + `\b`).MatchString(text) {
			t.Errorf("%s is a default and no RuntimeDirectory=", p)
		}
	}
}

// systemd's own opinion, with /bin/true in place of binaries not installed.
func TestSystemdAcceptsTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze")
	}
	text := regexp.MustCompile(`/usr/bin/wgbgpd?\b`).ReplaceAllString(unit(t), "/bin/true")
	p := filepath.Join(t.TempDir(), "wgbgpd.service")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", p).CombinedOutput()
	if err != nil || strings.Contains(string(out), "wgbgpd.service") {
		t.Errorf("verify: %v\n%s", err, out)
	}
	if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=30", "--no-pager", p).CombinedOutput(); err != nil {
		t.Errorf("security exposure above 3.0: %v\n%s", err, out)
	}
}
