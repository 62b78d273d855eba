package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/api/apitest"
)

var update = flag.Bool("update", false, "write golden files")

func TestMain(m *testing.M) {
	if os.Getenv("WGBGP_TEST_MAIN") == "1" {
		main()
	}
	os.Exit(m.Run())
}

// serve runs a real server with the backend on a real socket and returns its
// path.
func serve(t *testing.T, b api.Backend) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wgbgp") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	start(t, b, path)
	return path
}

// start runs a server until the test ends or stop is called.
func start(t *testing.T, b api.Backend, path string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := api.NewServer(b, api.Options{SocketPath: path})
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatalf("server: %v", err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

type result struct {
	code     int
	out, err string
}

// wgbgp runs the program as a shell would, apart from the process.
func wgbgp(ctx context.Context, socket string, args ...string) result {
	var out, errw bytes.Buffer
	code := run(ctx, args, stdio{Out: &out, Err: &errw, Check: checkFile, Getenv: func(k string) string {
		if k == "WGBGP_TARGET" {
			return "unix://" + socket
		}
		return ""
	}})
	return result{code, out.String(), errw.String()}
}

// golden compares a run with its file.
func golden(t *testing.T, file, socket string, args []string, r result) {
	t.Helper()
	text := fmt.Sprintf("$ wgbgp %s\n%s", strings.Join(args, " "), r.out)
	if r.err != "" {
		text += "--- stderr\n" + r.err
	}
	text += fmt.Sprintf("--- exit %d\n", r.code)
	text = strings.ReplaceAll(text, socket, "SOCKET")
	path := filepath.Join("testdata", file+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), text); d != "" {
		t.Errorf("%v: (-want +got)\n%s", args, d)
	}
}

func TestEveryCommandPrintsItsGoldenTextAndJSON(t *testing.T) {
	socket := serve(t, apitest.New())
	for file, args := range map[string]string{
		"status":            "status",
		"peers":             "peer",
		"peer":              "peer paris",
		"sites":             "site",
		"site":              "site lyon",
		"site-disable":      "site lyon disable",
		"site-enable":       "site lyon enable",
		"neighbors":         "neighbor",
		"tgw-peers":         "tgw peers",
		"neighbor":          "neighbor 169.254.6.3",
		"bfd":               "bfd",
		"bfd-one":           "bfd 10.255.0.2",
		"adj-in":            "neighbor paris adj-in",
		"adj-out":           "neighbor tgw-a/1 adj-out",
		"neighbor-reset":    "neighbor tgw-a/1 reset",
		"rib":               "rib",
		"rib-prefix":        "rib 10.1.0.0/16",
		"rib-longer":        "rib 10.0.0.0/8 longer-prefixes",
		"routes":            "route",
		"route":             "route 10.2.0.0/16",
		"mtu":               "mtu",
		"mtu-site":          "mtu paris",
		"mtu-fragments":     "mtu lyon",
		"mtu-none":          "mtu oslo",
		"ha":                "ha status",
		"restart-cost":      "restart --check",
		"restart-refused":   "restart",
		"restart":           "restart --force",
		"tgw-routes":        "tgw routes",
		"tgw-front":         "tgw front",
		"health":            "health",
		"health-site":       "health paris",
		"explain":           "explain 10.1.2.3",
		"explain-broken":    "explain 10.2.3.4",
		"explain-tgw":       "explain 172.16.0.0/12",
		"explain-none":      "explain 192.0.2.7",
		"explain-aggregate": "explain 10.0.0.0/8",
		"explain-hole":      "explain 10.99.1.2",
		"check":             "check",
		"config-show":       "config show",
		"config-reload":     "config reload",
		"config-diff":       "config diff /dev/null",
	} {
		t.Run(file, func(t *testing.T) {
			a := strings.Fields(args)
			golden(t, file, socket, a, wgbgp(t.Context(), socket, a...))
			j := append(a, "--json=pretty")
			golden(t, file+".json", socket, j, wgbgp(t.Context(), socket, j...))
		})
	}
}

func TestDumpIsTabsWithoutHeader(t *testing.T) {
	socket := serve(t, apitest.New())
	for _, noun := range []string{"peer", "neighbor", "rib", "route"} {
		a := []string{noun, "-T"}
		golden(t, "dump-"+noun, socket, a, wgbgp(t.Context(), socket, a...))
	}
}

func TestHelpStatesExitCodes(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"help"}, {"neighbor", "--help"}} {
		r := wgbgp(t.Context(), "/nowhere", args...)
		if r.code != 0 {
			t.Errorf("%v: got exit %d, want 0", args, r.code)
		}
		for _, want := range []string{"  5    a check found a problem", "  124  no answer in time", "-j, --json"} {
			if !strings.Contains(r.out, want) {
				t.Errorf("%v: help lacks %q:\n%s", args, want, r.out)
			}
		}
	}
}

func TestProcessExitsWithTheCode(t *testing.T) {
	c := exec.Command(os.Args[0], "frobnicate")
	c.Env = append(os.Environ(), "WGBGP_TEST_MAIN=1")
	var out, errw bytes.Buffer
	c.Stdout, c.Stderr = &out, &errw
	_ = c.Run()
	if c.ProcessState.ExitCode() != 2 || out.Len() != 0 || !strings.Contains(errw.String(), "unknown command") {
		t.Errorf("got exit %d, stdout %q, stderr %q; want 2, nothing, unknown command", c.ProcessState.ExitCode(), out.String(), errw.String())
	}
}

func TestQuietPrintsOnlyErrors(t *testing.T) {
	socket := serve(t, apitest.New())
	if r := wgbgp(t.Context(), socket, "status", "-q"); r != (result{}) {
		t.Errorf("status -q: got %+v, want exit 0 and no output", r)
	}
	if r := wgbgp(t.Context(), socket, "check", "-q"); r.code != 5 || r.out != "" || r.err == "" {
		t.Errorf("check -q: got %+v, want exit 5 and only an error", r)
	}
}

func TestNoCommandWritesColorsIntoAFile(t *testing.T) {
	socket := serve(t, apitest.New())
	if r := wgbgp(t.Context(), socket, "peer"); strings.Contains(r.out, "\x1b") {
		t.Errorf("got color codes in %q", r.out)
	}
}

// within fails the test when f takes longer than d.
func within(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("%s: not done within %v", what, d)
	}
}
