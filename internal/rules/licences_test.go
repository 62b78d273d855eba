package rules

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// weakCopyleft lists the modules under MPL-2.0. It is copyleft file by file: we
// may link and ship them under our licence as long as their own files, which we
// do not change, stay under theirs.
var weakCopyleft = map[string]string{}

func TestLinkedModulesAreFreeToShip(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	dirs := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if path, dir, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			dirs[path] = dir
		}
	}
	if len(dirs) < 5 {
		t.Fatalf("go list names only %d modules: this test looks in the wrong place", len(dirs))
	}
	for path, dir := range dirs {
		licence := licenceOf(t, dir)
		switch licence {
		case "MIT", "BSD", "Apache-2.0", "ISC":
		case "MPL-2.0":
			if weakCopyleft[path] == "" {
				t.Errorf("%s is under MPL-2.0 and not listed here: add it, and say why it is worth it", path)
			}
		default:
			t.Errorf("%s (%s): licence %q, want a permissive one", path, dir, licence)
		}
	}
	for path := range weakCopyleft {
		if dirs[path] == "" {
			t.Errorf("%s is listed under MPL-2.0 and no longer linked: remove it from the list", path)
		}
	}
}

func licenceOf(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	verdict := "none found"
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(name, "LICENSE") && !strings.HasPrefix(name, "LICENCE") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if verdict = classify(string(text)); verdict == "unknown" {
			return verdict // one file that is not understood is enough
		}
	}
	return verdict
}

// classify recognises a licence by sentences that its other relatives lack.
// The strict ones come first: a text that mentions the GPL is never permissive.
func classify(text string) string {
	words := strings.ToLower(strings.Join(strings.Fields(text), " "))
	for _, l := range []struct{ name, sentence string }{
		{"MPL-2.0", "mozilla public license version 2.0"},
		{"MPL-2.0", "mozilla public license, version 2.0"},
		{"GPL family", "general public license"},
		{"Apache-2.0", "apache license version 2.0"},
		{"Apache-2.0", "apache license, version 2.0"},
		{"ISC", "permission to use, copy, modify, and/or distribute this software for any purpose with or without fee"},
		{"ISC", "permission to use, copy, modify, and distribute this software for any purpose with or without fee"},
		{"MIT", "permission is hereby granted, free of charge, to any person obtaining a copy"},
		{"BSD", "redistribution and use in source and binary forms, with or without modification, are permitted provided that"},
	} {
		if strings.Contains(words, l.sentence) {
			return l.name
		}
	}
	return "unknown"
}

func TestLicencesAreToldApart(t *testing.T) {
	for text, want := range map[string]string{
		"The MIT License\n\nPermission is hereby granted, free of charge, to any\nperson obtaining a copy": "MIT",
		"GNU GENERAL PUBLIC LICENSE\nVersion 3":                                                      "GPL family",
		"GNU LESSER GENERAL PUBLIC LICENSE":                                                          "GPL family",
		"Mozilla Public License Version 2.0 ... may be combined with the GNU General Public License": "MPL-2.0",
		"All rights reserved.":                                                                       "unknown",
	} {
		if got := classify(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
