package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/api/apitest"
)

func TestExitCodes(t *testing.T) {
	healthy := apitest.New()
	socket := serve(t, healthy)
	refused := apitest.New()
	refused.Fault = map[string]error{
		"SetSite":       api.Refused("site lyon: 1000 prefixes would exceed the quota"),
		"ResetNeighbor": fmt.Errorf("the speaker is gone"),
		"Reload":        api.Errorf(api.CodePartial, "2 of 3 hosts reloaded"),
		"Status":        api.Errorf(api.CodeFailed, "status: nothing known yet"),
	}
	refusing := serve(t, refused)
	invalid := apitest.New()
	invalid.Report.Errors = api.List[api.ConfigProblem]{{File: "/etc/wgbgp/wgbgp.toml", Line: 3, Key: "gateway.asn", Problem: "missing", Cure: "add it"}}
	wrong := serve(t, invalid)
	apart := apitest.New()
	apart.Kernel = []api.Problem{{Severity: api.SeverityError, Object: "kernel routes", Reason: "kernel-differs", Text: "missing: 10.2.0.0/16 metric 100"}}
	torn := serve(t, apart)
	dead := filepath.Join(t.TempDir(), "nobody")
	bad := filepath.Join(t.TempDir(), "bad.toml")
	if err := os.WriteFile(bad, []byte("[gateway]\nnonsense = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   string
		socket string
		want   int
		stderr string
	}{
		{"status", socket, 0, ""},
		{"peer paris", socket, 0, ""},
		{"show neighbor", socket, 0, ""},
		{"version", dead, 0, ""},
		{"completion bash", dead, 0, ""},
		{"config reload", socket, 0, "W-IDLE"},
		{"site lyon disable", socket, 0, ""},

		{"neighbor paris reset", refusing, 1, "the speaker is gone"},
		{"status", refusing, 1, "nothing known yet"},

		{"frobnicate", socket, 2, `unknown command "frobnicate"`},
		{"s", socket, 2, "ambiguous"},
		{"show", socket, 2, "show what"},
		{"neighbour", socket, 2, `did you mean "neighbor"`},
		{"status --nonsense", socket, 2, "unknown flag"},
		{"status extra", socket, 2, "wrong number of arguments"},
		{"explain", socket, 2, "wrong number of arguments"},
		{"explain paris", socket, 2, "neither an address nor a prefix"},
		{"rib 10.0.0.0/33", socket, 2, "neither an address nor a prefix"},
		{"site lyon destroy", socket, 2, `unknown word "destroy"`},
		{"neighbor paris adj", socket, 2, "ambiguous"},
		{"config", socket, 2, "which?"},
		{"config frob", socket, 2, "unknown command"},
		{"monitor nonsense", socket, 2, "unknown word"},
		{"status --target tcp://127.0.0.1:1", socket, 2, "unix:///path"},
		{"status --timeout 0s", socket, 2, "more than 0"},
		{"completion tcsh", socket, 2, "unknown word"},
		{"status --json=yaml", socket, 2, "compact or pretty"},

		{"peer rome", socket, 3, "peer rome: no such peer"},
		{"site rome", socket, 3, "site rome: no such site"},
		{"site rome disable", socket, 3, "site rome: no such site"},
		{"neighbor 192.0.2.99", socket, 3, "no such neighbor"},
		{"neighbor rome adj-in", socket, 3, "no such neighbor"},
		{"neighbor rome adj-out", socket, 3, "no such neighbor"},
		{"neighbor rome reset", socket, 3, "no such neighbor"},
		{"health rome", socket, 3, "no such site"},
		{"rib 192.0.2.0/24", socket, 3, "not in the RIB"},
		{"route 192.0.2.0/24", socket, 3, "no route"},
		{"config check /nonexistent.toml", socket, 3, "no such file"},
		{"config diff /nonexistent.toml", socket, 3, "no such file"},

		{"status", dead, 4, "no such socket"},
		{"monitor", dead, 4, "no such socket"},
		{"config reload", dead, 4, "no such socket"},

		{"check", socket, 5, "check: 3 errors"},
		{"check --kernel", socket, 0, ""},
		{"check --kernel", torn, 5, "check: 1 error"},
		{"explain 10.2.3.4", socket, 5, "broken at peer"},

		{"config reload", wrong, 6, "/etc/wgbgp/wgbgp.toml:3: gateway.asn: missing; add it"},
		{"config diff " + bad, wrong, 6, "1 error"},
		{"config check " + bad, dead, 6, bad + ":2: "},

		{"site lyon disable", refusing, 7, "quota"},
		{"config reload", refusing, 8, "2 of 3 hosts"},
	} {
		args := strings.Fields(tt.args)
		r := wgbgp(t.Context(), tt.socket, args...)
		if r.code != tt.want || !strings.Contains(r.err, tt.stderr) {
			t.Errorf("%s: got exit %d and stderr %q, want %d and %q", tt.args, r.code, r.err, tt.want, tt.stderr)
		}
		if tt.want != 0 && tt.want != 5 && tt.want != 6 && r.out != "" {
			t.Errorf("%s: got stdout %q, want errors on stderr only", tt.args, r.out)
		}
		if args[0] == "completion" || strings.Contains(tt.args, "--json") {
			continue
		}
		checkJSON(t, tt.args, wgbgp(t.Context(), tt.socket, append(args, "-j")...), tt.want)
	}
}

// checkJSON wants JSON on both outputs and the same exit code.
func checkJSON(t *testing.T, args string, r result, want int) {
	t.Helper()
	if r.code != want {
		t.Errorf("%s -j: got exit %d, want %d", args, r.code, want)
	}
	for _, line := range strings.Split(strings.TrimSpace(r.out), "\n") {
		if line != "" && !json.Valid([]byte(line)) {
			t.Errorf("%s -j: stdout is not JSON: %q", args, line)
		}
	}
	if want == 0 {
		if r.err != "" {
			t.Errorf("%s -j: got stderr %q, want none", args, r.err)
		}
		return
	}
	var e struct {
		Schema, Error, Code string
		Exit                int
	}
	if err := json.Unmarshal([]byte(r.err), &e); err != nil || e.Schema != api.Schema || e.Error == "" || e.Code == "" || e.Exit != want {
		t.Errorf("%s -j: got stderr %q, want a JSON error with exit %d", args, r.err, want)
	}
}

func TestHangingDaemonIsATimeout(t *testing.T) {
	b := apitest.New()
	b.Hang = map[string]bool{"Status": true, "Sites": true}
	socket := serve(t, b)
	for _, args := range []string{"status", "site", "site lyon disable"} {
		a := append(strings.Fields(args), "--timeout", "50ms")
		within(t, 5*time.Second, args, func() {
			r := wgbgp(t.Context(), socket, a...)
			if r.code != 124 || !strings.Contains(r.err, "no answer in time") {
				t.Errorf("%s: got exit %d and %q, want 124 and no answer in time", args, r.code, r.err)
			}
			checkJSON(t, args, wgbgp(t.Context(), socket, append(a, "-j")...), 124)
		})
	}
}

func TestSocketThatNeverAnswersIsATimeout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	within(t, 5*time.Second, "status", func() {
		if r := wgbgp(t.Context(), path, "status", "--timeout", "50ms"); r.code != 124 {
			t.Errorf("got exit %d and %q, want 124", r.code, r.err)
		}
	})
}

func TestStaleSocketIsUnreachable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if r := wgbgp(t.Context(), path, "status"); r.code != 4 || !strings.Contains(r.err, "nobody listens") {
		t.Errorf("got exit %d and %q, want 4 and nobody listens", r.code, r.err)
	}
}

func TestOtherSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/peers" {
			fmt.Fprint(w, "hello")
			return
		}
		if r.URL.Path == "/v1/sites" {
			w.WriteHeader(http.StatusTeapot)
		}
		fmt.Fprint(w, `{"schema":"wgbgp/2","host":"gw"}`)
	})}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	for args, want := range map[string]string{"status": `speaks schema "wgbgp/2"`, "site": `speaks schema "wgbgp/2"`, "peer": "not JSON"} {
		if r := wgbgp(t.Context(), path, args); r.code != 1 || !strings.Contains(r.err, want) {
			t.Errorf("%s: got exit %d and %q, want 1 and %q", args, r.code, r.err, want)
		}
	}
}
