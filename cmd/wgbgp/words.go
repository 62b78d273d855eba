package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wgbgp/wgbgp/internal/api"
)

// expand writes shortened words in full and drops a leading "show" (vtysh and
// gobgp habits). Names of objects are never touched: only words that the tree
// fixes are.
func (a *app) expand(args []string) ([]string, error) {
	out := slices.Clone(args)
	end, completing := len(out), false
	words := a.words(out)
	if len(words) > 0 && (out[words[0]] == cobra.ShellCompRequestCmd || out[words[0]] == cobra.ShellCompNoDescRequestCmd) {
		completing, words = true, words[1:]
		if n := len(words); n > 0 && words[n-1] == end-1 {
			words = words[:n-1] // the word being typed
		}
	}
	drop := -1
	if len(words) > 0 && len(out[words[0]]) > 1 && strings.HasPrefix("show", out[words[0]]) {
		drop, words = words[0], words[1:]
		if len(words) == 0 && !completing {
			return out, api.Usagef("show what? one of %s", strings.Join(names(a.root), ", "))
		}
	}
	c := a.root
	for len(words) > 0 && c.HasSubCommands() {
		w, err := match(c, "command", out[words[0]], names(c))
		if err != nil {
			return out, err
		}
		out[words[0]] = w
		c, words = child(c, w), words[1:]
	}
	if v := verbsOf(c); len(v) > 0 {
		for i, at := range words {
			// The name of an object comes first, except where words are all there is.
			if i == 0 && c.Name() != "monitor" && c.Name() != "completion" {
				continue
			}
			w, err := match(c, "word", out[at], v)
			if err != nil {
				return out, err
			}
			out[at] = w
		}
	}
	if drop >= 0 {
		out = slices.Delete(out, drop, drop+1)
	}
	return out, nil
}

// words lists the places of arguments that are neither flags nor their values.
func (a *app) words(args []string) []int {
	var at []int
	for i := 0; i < len(args); i++ {
		switch w := args[i]; {
		case w == "--":
			for i++; i < len(args); i++ {
				at = append(at, i)
			}
		case len(w) > 1 && w[0] == '-':
			if name, ok := strings.CutPrefix(w, "--"); ok && takesValue(a.root, name) {
				i++
			}
		default:
			at = append(at, i)
		}
	}
	return at
}

// takesValue reports whether the next argument belongs to the flag. All flags
// with a value have long names only.
func takesValue(root *cobra.Command, name string) bool {
	if f := root.PersistentFlags().Lookup(name); f != nil {
		return f.NoOptDefVal == ""
	}
	for _, c := range root.Commands() {
		if f := c.Flags().Lookup(name); f != nil {
			return f.NoOptDefVal == ""
		}
	}
	return false
}

// match finds the one word that begins with the given letters.
func match(c *cobra.Command, kind, word string, all []string) (string, error) {
	where := strings.TrimPrefix(c.CommandPath()+": ", "wgbgp: ")
	if slices.Contains(all, word) {
		return word, nil
	}
	var found []string
	for _, w := range all {
		if strings.HasPrefix(w, word) {
			found = append(found, w)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		err := api.Usagef("%sunknown %s %q", where, kind, word)
		if s := api.Closest(word, all); s != "" {
			return "", err.WithHint("did you mean %q?", s)
		}
		return "", err.WithHint("one of %s", strings.Join(all, ", "))
	default:
		return "", api.Usagef("%s%q is ambiguous: %s", where, word, strings.Join(found, ", "))
	}
}

func child(c *cobra.Command, name string) *cobra.Command {
	for _, s := range c.Commands() {
		if s.Name() == name {
			return s
		}
	}
	return c
}

// verbsOf are the fixed words of a noun of the table.
func verbsOf(c *cobra.Command) []string {
	for _, t := range commands() {
		if n, _, _ := strings.Cut(t.use, " "); n == c.Name() && c.HasParent() && !c.Parent().HasParent() {
			return t.verbs
		}
	}
	return nil
}

// flagsOf keeps what looks like a flag of ours, to learn how errors are to be
// printed although the rest makes no sense.
func flagsOf(args []string) []string {
	var out []string
	for _, a := range args {
		if a == "-j" || strings.HasPrefix(a, "--json") {
			out = append(out, a)
		}
	}
	return out
}
