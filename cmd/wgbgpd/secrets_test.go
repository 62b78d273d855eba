package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAChangedSecretIsTakenOverAndTroubleIsToldOnce(t *testing.T) {
	b, write := reloading(t)
	b.gateway = &gateway{}
	file := filepath.Join(t.TempDir(), "md5")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	events := b.Events().Subscribe("", 0)
	put("first")
	write(strings.Replace(small, "[[neighbor]]", "[[neighbor]]\npassword = \"file:"+file+"\"", 1))
	if r, err := b.Reload(t.Context()); err != nil || !r.Applied {
		t.Fatalf("got %+v, %v", r, err)
	}
	password := func() string { return string(runningNow(t, b).Core.Neighbors[0].Password) }

	write("no TOML") // an edit that nobody ordered to be taken over
	put("second")
	b.renew(t.Context())
	if password() != "second" {
		t.Error("the changed secret is not in force")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	b.renew(t.Context())
	b.renew(t.Context())
	if password() != "second" {
		t.Error("the secret is gone with its file")
	}
	put("third")
	b.renew(t.Context())
	var got []string
	for len(events.C) > 0 {
		e := <-events.C
		if strings.HasPrefix(e.Reason, "secret") {
			got = append(got, e.Reason)
		}
		for _, s := range []string{"first", "second", "third"} {
			if strings.Contains(e.Detail, s) {
				t.Errorf("an event holds a secret: %+v", e)
			}
		}
	}
	if want := []string{"secret-changed", "secret-unreadable", "secret-readable", "secret-changed"}; !slices.Equal(got, want) {
		t.Errorf("got events %v, want %v", got, want)
	}
}

func TestHostsDoNotAskAtTheSameInstant(t *testing.T) {
	seen := map[time.Duration]bool{}
	for _, name := range []string{"gw-a", "gw-b", "gw-c"} {
		for n := range 5 {
			d := spread(5*time.Minute, name, n)
			if d < 4*time.Minute || d > 6*time.Minute {
				t.Errorf("%s: got %s", name, d)
			}
			seen[d] = true
		}
	}
	if len(seen) < 12 {
		t.Errorf("got %d different times of 15", len(seen))
	}
	if spread(0, "gw-a", 1) != 0 {
		t.Error("never is moved")
	}
}
