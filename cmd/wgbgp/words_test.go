package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/internal/api/apitest"
)

func TestWordsMayBeShortened(t *testing.T) {
	for typed, want := range map[string]string{
		"n":                         "neighbor",
		"sh nei":                    "neighbor",
		"show neighbor":             "neighbor",
		"sh":                        "ERROR show what?",
		"-j sh nei":                 "-j neighbor",
		"--timeout 3s sh p lyon":    "--timeout 3s peer lyon",
		"--timeout=3s st":           "--timeout=3s status",
		"--target unix:///s n":      "--target unix:///s neighbor",
		"n adj adj-i":               "neighbor adj adj-in", // the first word is a name
		"nei 10.0.0.1 rese":         "neighbor 10.0.0.1 reset",
		"site status dis":           "site status disable",
		"rib 10.0.0.0/8 l":          "rib 10.0.0.0/8 longer-prefixes",
		"conf rel":                  "config reload",
		"conf check sh":             "config check sh",
		"mon ann wit":               "monitor announce withdraw",
		"mon --since 4 ann":         "monitor --since 4 announce",
		"comp b":                    "completion bash",
		"peer -- show":              "peer -- show",
		"s":                         "ERROR ambiguous",
		"ri":                        "rib",
		"r":                         "ERROR ambiguous",
		"h":                         "ERROR ambiguous",
		"__complete sh nei ad":      "__complete neighbor ad",
		"__complete n adj-i adj-":   "__complete neighbor adj-i adj-",
		"__completeNoDesc n p adj-": "__completeNoDesc neighbor p adj-",
		"__complete s":              "__complete s",
	} {
		a := &app{stdio: stdio{Getenv: func(string) string { return "" }}}
		a.root = a.tree()
		got, err := a.expand(strings.Fields(typed))
		switch w, isErr := strings.CutPrefix(want, "ERROR "); {
		case isErr && (err == nil || !strings.Contains(err.Error(), w)):
			t.Errorf("%q: got %q and error %v, want error %q", typed, got, err, w)
		case !isErr && (err != nil || !slices.Equal(got, strings.Fields(want))):
			t.Errorf("%q: got %q and error %v, want %q", typed, got, err, want)
		}
	}
}

func TestCompletionKnowsNamesFromTheDaemon(t *testing.T) {
	socket := serve(t, apitest.New())
	for _, tt := range []struct{ typed, want string }{
		{"__complete site |", "lyon\tdown\nnice\tdisabled\nparis\tup\n:4\n"},
		{"__complete show site p|", "paris\tup\n:4\n"},
		{"__complete nei |", "paris\tEstablished\n10.255.0.2\tparis\ntgw-a/1\tEstablished\n169.254.6.2\ttgw-a/1\ntgw-a/2\tPolicy\n169.254.6.3\ttgw-a/2\n:4\n"},
		{"__complete site lyon |", "disable\nenable\n:4\n"},
		{"__complete neighbor paris adj|", "adj-in\nadj-out\n:4\n"},
		{"__complete config che|", "check\tValidate a file; needs no daemon\n:4\n"},
		{"__complete config check |", "toml\n:8\n"},
		{"__complete completion |", "bash\nzsh\nfish\n:4\n"},
		{"__complete show sta|", "status\tOne screen: sites, sessions, prefixes, alarms\n:4\n"},
	} {
		args := strings.Split(strings.TrimSuffix(tt.typed, "|"), " ")
		if r := wgbgp(t.Context(), socket, args...); r.code != 0 || r.out != tt.want {
			t.Errorf("%q: got exit %d and %q, want %q", args, r.code, r.out, tt.want)
		}
	}
}

func TestCompletionWithoutDaemonIsSilent(t *testing.T) {
	r := wgbgp(t.Context(), "/nonexistent/socket", "__complete", "site", "")
	if r.code != 0 || r.out != ":4\n" {
		t.Errorf("got %+v, want no suggestions", r)
	}
}
