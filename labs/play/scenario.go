// Package play runs scenario files: steps a person can read, played on a lab
// (package stage). A file is a txtar archive whose comment is the script and
// whose files change the lab before it starts, or hold expected output.
//
//	# s01-ebgp-site-basic: a site announces two prefixes, and they arrive everywhere.
//	routes tgw 10.101.0.0/16 via gw1
//	cut gw1 paris
//	routes -t 4.5s tgw 10.101.0.0/16 none
//	-- gw1/wgbgpd.toml+ --
//	# these lines are appended to the lab's file
//
// Start reading at Load, then Run, then commands.go for the words of the script.
package play

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
)

// Suffix ends the name of every scenario file.
const Suffix = ".txtar"

// Scenario is a scenario file.
type Scenario struct {
	Name   string // of the file, without suffix
	Lab    string // folder of its lab
	Path   string
	Title  string // its first comment
	Needs  Needs
	script string
	files  []txtar.File
}

// Needs is what a scenario's lines of the form "#: WORD..." ask for.
type Needs struct {
	// Kernel wants the kernel's own WireGuard, GRE and VRF.
	Kernel bool
	// Alone wants no other scenario beside it on the machine, because it measures.
	Alone bool
	// NotStarted names nodes whose program is started by the script.
	NotStarted []string
	// Unchecked leaves out the last check (finish).
	Unchecked bool
}

// Load reads a scenario file, which lies in its lab's folder.
func Load(path string) (*Scenario, error) {
	a, err := txtar.ParseFile(path)
	if err != nil {
		return nil, err
	}
	s := &Scenario{
		Name: strings.TrimSuffix(filepath.Base(path), Suffix), Lab: filepath.Base(filepath.Dir(path)), Path: path,
		script: string(a.Comment), files: a.Files,
	}
	for n, line := range strings.Split(s.script, "\n") {
		if words, ok := strings.CutPrefix(line, "#:"); ok {
			if err := s.Needs.set(strings.Fields(words)); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", path, n+1, err)
			}
		} else if title, ok := strings.CutPrefix(line, "# "); ok && s.Title == "" {
			s.Title = title
		}
	}
	if !strings.HasPrefix(s.Title, s.Name+": ") {
		return nil, fmt.Errorf("%s:1: its first line says nothing of the form # %s: WHAT IT SHOWS", path, s.Name)
	}
	return s, nil
}

func (n *Needs) set(words []string) error {
	switch {
	case slices.Equal(words, []string{"kernel"}):
		n.Kernel = true
	case slices.Equal(words, []string{"alone"}):
		n.Alone = true
	case slices.Equal(words, []string{"unchecked"}):
		n.Unchecked = true
	case len(words) > 1 && words[0] == "not-started":
		n.NotStarted = words[1:]
	default:
		return fmt.Errorf("%q: want kernel, alone, unchecked, or not-started with nodes", strings.Join(words, " "))
	}
	return nil
}

// All are the scenarios below a directory of labs, sorted by lab and name.
func All(labs string) ([]*Scenario, error) {
	files, err := filepath.Glob(filepath.Join(labs, "*", "*"+Suffix))
	if err != nil {
		return nil, err
	}
	var all []*Scenario
	for _, f := range files {
		s, err := Load(f)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// change puts the scenario's files into the copy of the lab's folder. A name that
// ends in + is appended to. Files outside of the nodes' folders stay with the
// script.
func (s *Scenario) change(dir string) error {
	for _, f := range s.files {
		name, appends := strings.CutSuffix(f.Name, "+")
		if !strings.Contains(name, "/") && !strings.HasSuffix(name, ".clab.yml") {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		flags := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
		if appends {
			flags = os.O_APPEND | os.O_WRONLY
		}
		out, err := os.OpenFile(path, flags, 0o644)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Path, err)
		}
		_, err = out.Write(f.Data)
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file is one of the scenario's files, as expected output.
func (s *Scenario) file(name string) (*txtar.File, error) {
	n := slices.IndexFunc(s.files, func(f txtar.File) bool { return f.Name == name })
	if n < 0 {
		return nil, fmt.Errorf("%s has no file %q", s.Path, name)
	}
	return &s.files[n], nil
}

// save writes the file again, with expected output as it was found.
func (s *Scenario) save() error {
	return os.WriteFile(s.Path, txtar.Format(&txtar.Archive{Comment: []byte(s.script), Files: s.files}), 0o644)
}

// path is a file in the copy of the lab's folder.
func (p *player) path(name string) (string, error) {
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("%q: want a file of the lab", name)
	}
	return filepath.Join(p.Dir, name), nil
}
