package accept

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
)

const leakConfig = `
[gateway]
name = "gw"
asn = 65010
router-id = "192.0.2.1"

[secrets]
refresh = "10s"
aws-region = "us-east-1"
[secrets.vault]
address = %[1]q
auth = %[2]q
token = %[3]q
role-id = "gw-role"
secret-id = %[4]q

[log]
level = "debug"
format = %[5]q

[metrics]
listen = "127.0.0.1:9586"
[health]
listen = ["127.0.0.1:9587"]

[wireguard.wg0]
backend = "userspace"
private-key = %[6]q
address = ["10.255.0.1/24", "fd77::1/64"]
[wireguard.wg1]
backend = "userspace"
private-key = "aws-sm:gw#wg0"
listen-port = 51821
address = ["10.254.0.1/24"]

[[site]]
name = "tell-tale-5150"
interface = "wg0"
public-key = %[7]q
preshared-key = "ssm:/gw/paris"
endpoint = "127.0.0.1:51821"
address = ["10.255.0.2"]
prefixes = ["10.101.0.0/16"]
[[site]]
name = "berlin"
interface = "wg1"
public-key = %[8]q
preshared-key = "vault:kv/gw#berlin"
endpoint = "127.0.0.1:51820"
address = ["10.254.0.2"]
allow = ["10.102.0.0/16 le 24"]
[site.neighbor]
asn = 65101
password = %[9]q

[[neighbor]]
name = "core"
address = "127.0.0.2"
asn = 65020
allow = ["10.0.0.0/8 le 24"]
password = %[9]q
`

// leaky is a daemon with a secret in each place that has one.
type leaky struct {
	*solo
	*keeping
	hidden
}

func newLeaky(t *testing.T) *leaky {
	t.Helper()
	k := newKeeping(t)
	s := newSolo(t, nil, "")
	h := map[string]string{
		"BGP password": "tower-of-babel-5", "Vault token": "hvs.CAESIJ2nBvault", "secret ID": "5ec12e71d-approle", "AWS secret key": "wJalrXUtnFEMI/K7MDENG",
		"AWS session token": "IQoJb3JpZ2luX2VjSESSION",
	}
	for _, name := range []string{"wg0", "wg1", "paris", "berlin", "bad"} {
		h["key "+name], _ = newKey(t)
	}
	s.env = append(s.env, k.sim.Env("")...)
	s.env = append(s.env, "AWS_SECRET_ACCESS_KEY="+h["AWS secret key"], "AWS_SESSION_TOKEN="+h["AWS session token"],
		"AWS_ENDPOINT_URL_CLOUDWATCH=http://127.0.0.1:9") // the emulator has none
	k.vault.Token(h["Vault token"], time.Hour)
	k.vault.AppRole("gw-role", h["secret ID"], time.Hour)
	k.put(h["key wg1"], h["key paris"], h["key berlin"])
	h["planted"] = planted
	return &leaky{s, k, hidden{secrets: h, told: map[string]bool{}}}
}

// text is the configuration with a way to log in to the Vault and a log format.
func (l *leaky) configure(t *testing.T, auth, format string) {
	t.Helper()
	public := func() string { _, p := newKey(t); return p }
	token, id := l.secretFile(t, "token", l.secrets["Vault token"]), l.secretFile(t, "secret-id", l.secrets["secret ID"])
	l.write(t, fmt.Sprintf(leakConfig, l.url, auth, token, id, format, l.secretFile(t, "wg0", l.secrets["key wg0"]), public(), public(),
		l.secretFile(t, "md5", l.secrets["BGP password"])))
}

// TestNoOutputHoldsASecret makes the daemon do what it can, well and badly, and
// searches all that it and the command line print, answer and keep.
func TestNoOutputHoldsASecret(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	l := newLeaky(t)
	l.configure(t, "token", "json")
	l.start(t)
	nstest.Eventually(t, 60*time.Second, func() error {
		if got, err := interfaceKeys(); err != nil || got == "" {
			return fmt.Errorf("no interface: %v", err)
		}
		return nil
	})
	l.commands(t, "running")
	l.pages(t)

	// A change of each source, an outage, what is no key, and files that are wrong.
	l.secrets["key changed"], _ = newKey(t)
	l.put(l.secrets["key changed"], l.secrets["key paris"], l.secrets["key berlin"])
	l.reload(t, 0)
	l.configure(t, "approle", "json")
	l.reload(t, 0)
	l.outage(true)
	l.reload(t, 0)
	l.commands(t, "in an outage")
	l.outage(false)
	for _, bad := range []string{"no key at all", l.secrets["key bad"] + "x", l.secrets["key bad"] + "\n" + l.secrets["key bad"]} {
		l.secrets["a bad key"] = strings.TrimSpace(bad)
		l.secretFile(t, "wg0", bad)
		l.reload(t, 6)
	}
	delete(l.secrets, "a bad key")
	l.secretFile(t, "wg0", l.secrets["key wg0"])
	good, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{
		`private-key = "` + l.secrets["key wg0"] + `"`, `private-key = "file:` + l.secrets["key wg0"] + `"`, `private-key = "env:` + l.secrets["key wg0"] + `"`,
		`private-key = "vault:` + l.secrets["key wg0"] + `"`,
		`preshared-key = "` + l.secrets["key paris"] + `"`, `password = "` + l.secrets["BGP password"] + `"`, `token = "` + l.secrets["Vault token"] + `"`,
	} {
		key, _, _ := strings.Cut(wrong, " =")
		before, after, _ := strings.Cut(string(good), key+" = \"")
		_, after, _ = strings.Cut(after, "\n")
		if err := os.WriteFile(l.config, []byte(before+wrong+"\n"+after), 0o600); err != nil {
			t.Fatal(err)
		}
		l.reload(t, 6)
	}
	l.end(t, syscall.SIGTERM)

	// Once more with text logs, and to the worst end: all goroutines are dumped.
	l.configure(t, "token", "text")
	l.start(t)
	l.commands(t, "with text logs")
	l.end(t, syscall.SIGABRT)
	log := l.text(t)
	if !strings.Contains(log, "SIGABRT") || !strings.Contains(log, "goroutine ") {
		t.Error("the daemon left no dump on SIGABRT")
	}
	l.none(t, "the log with the dump", log)
	l.files(t)
	for _, where := range []string{
		"the log with the dump", "http://127.0.0.1:9586/metrics", "config diff",
		`running: wgbgp [] ["peer"]`, `running: wgbgp ["-j"] ["peer"]`, `running: wgbgp ["-T"] ["peer"]`, `in an outage: wgbgp ["-j"] ["monitor" "--since" "1"]`,
	} {
		if !l.told[where] {
			t.Errorf("%s: what was planted in it was not found", where)
		}
	}
	t.Logf("figure: %d bytes of output were searched for %d secrets in up to %d forms each", l.looked, len(l.secrets), len(forms(l.secrets["key wg0"])))
}

// reload must end with a code.
func (l *leaky) reload(t *testing.T, want int) {
	t.Helper()
	for _, flags := range [][]string{nil, {"-j"}} {
		out, stderr, code := l.cli(t, append(flags, "config", "reload")...)
		l.none(t, "config reload", out+stderr)
		if code != want {
			t.Errorf("config reload: exit %d, want %d", code, want)
		}
	}
	out, stderr, _ := l.cli(t, "config", "check", l.config)
	l.none(t, "config check", out+stderr)
	out, stderr, _ = l.cli(t, "config", "diff", l.config)
	l.none(t, "config diff", out+stderr)
}

// commands runs every command that --help lists, without arguments and with some,
// for people, as JSON and as a dump.
func (l *leaky) commands(t *testing.T, when string) {
	t.Helper()
	lines := [][]string{
		{"peer", planted},
		{"site", planted},
		{"site", planted, "disable"},
		{"site", planted, "enable"},
		{"neighbor", "core", "adj-in"},
		{"neighbor", "core", "adj-out"},
		{"neighbor", "core", "reset"},
		{"explain", "10.101.0.1"},
		{"rib", "10.101.0.0/16"},
		{"route", "10.101.0.0/16"},
		{"health", planted},
		{"mtu", planted},
		{"check", "--kernel"},
		{"check", "--host", "--sample", "0"},
		{"config", "check", l.config},
		{"config", "diff", l.config},
		{"config", "show"},
		{"monitor", "--since", "1"},
		{"tgw", "check", "--sample", "0"},
		{"tgw", "plan"},
		{"completion", "bash"},
	}
	lines = append(lines, l.leaves(t)...)
	for _, words := range lines {
		for _, flags := range [][]string{nil, {"-j"}, {"-T"}} {
			out, stderr, _ := l.cli(t, append(flags, words...)...)
			l.none(t, fmt.Sprintf("%s: wgbgp %q %q", when, flags, words), out+stderr)
		}
	}
	for _, must := range []string{"10.101.0.0/16", planted} { // what was searched is what there is
		if out, _, _ := l.cli(t, "-j", "config", "show"); !strings.Contains(out, must) {
			t.Errorf("%s: config show lacks %s", when, must)
		}
	}
}

// leaves are the paths of all commands, from their help.
func (l *leaky) leaves(t *testing.T, path ...string) (all [][]string) {
	t.Helper()
	out, _, _ := l.cli(t, append(slices.Clone(path), "--help")...)
	_, list, ok := strings.Cut(out, "Available Commands:\n")
	if !ok {
		if slices.Contains([]string{"monitor", "help"}, path[0]) { // commands has it, or it says nothing
			return nil
		}
		return [][]string{path}
	}
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		if len(f) == 0 {
			break
		}
		all = append(all, l.leaves(t, append(slices.Clone(path), f[0])...)...)
	}
	return all
}

// pages are what is asked over HTTP: metrics, health, and the API's own answers.
func (l *leaky) pages(t *testing.T) {
	t.Helper()
	for url, must := range map[string]string{"http://127.0.0.1:9586/metrics": "wgbgp_", "http://127.0.0.1:9587/healthz": "", "http://127.0.0.1:9587/none": ""} {
		r, err := http.Get(url)
		if err != nil {
			t.Error(err)
			continue
		}
		text, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		l.none(t, url, string(text)+fmt.Sprint(r.Header))
		if !strings.Contains(string(text), must) {
			t.Errorf("%s: %q is not in it", url, must)
		}
	}
	// A request that is none: its answer must not repeat what else the daemon has.
	c, err := net.Dial("unix", l.dir+"/api.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	_, _ = io.WriteString(c, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n{\"op\":\"none\"}\n")
	text, _ := io.ReadAll(c) // as far as it goes
	l.none(t, "the API's socket", string(text))
}

// files are what the daemon keeps.
func (l *leaky) files(t *testing.T) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(l.dir+"/state", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		n++
		l.none(t, path, string(text))
		return err
	})
	if err != nil || n == 0 {
		t.Errorf("%d files of the state were read: %v", n, err)
	}
}
