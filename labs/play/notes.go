package play

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pmezard/go-difflib/difflib"
	"rsc.io/script"

	"github.com/wgbgp/wgbgp/labs/stage"
)

// noteWords compare what is with what was, and ask wg(8).
var noteWords = map[string]word{
	"note":  {"NAME NODE 'COMMAND' [REGEXP]", "keep a command's output, or only its lines with REGEXP, for same", (*player).note},
	"same":  {"[-t TIME] NAME...", "wait until the output is as it was noted, byte for byte", (*player).same},
	"stays": {"TIME NODE 'COMMAND' REGEXP|!REGEXP...", "as expect, but true at once and for all of this time", (*player).stays},
	"held":  {"[-t TIME] NODE PREFIX SITE...|none", "wait until wg(8) on NODE says that just these sites' peers hold the allowed IP", (*player).held},
}

// note is a command's output at some moment.
type note struct {
	node    *stage.Node
	command []string
	only    *regexp.Regexp // nil: all lines
	output  string
}

func (n *note) now() (string, error) {
	stdout, stderr, _, err := n.node.Output(n.command...)
	if err != nil || n.only == nil {
		return stdout + stderr, err
	}
	var b strings.Builder
	for line := range strings.Lines(stdout + stderr) {
		if n.only.MatchString(line) {
			b.WriteString(line)
		}
	}
	return b.String(), nil
}

func (p *player) note(args []string) (string, error) {
	if len(args) != 3 && len(args) != 4 {
		return "", script.ErrUsage
	}
	n, err := p.Node(args[1])
	if err != nil {
		return "", err
	}
	command, err := stage.Words(args[2])
	if err != nil {
		return "", err
	}
	kept := &note{node: n, command: command}
	if len(args) == 4 {
		if kept.only, err = regexp.Compile(args[3]); err != nil {
			return "", err
		}
	}
	if kept.output, err = kept.now(); err != nil {
		return "", err
	}
	if strings.TrimSpace(kept.output) == "" {
		return "", fmt.Errorf("%s: %s printed nothing to note", n.Name(), args[2])
	}
	p.notes[args[0]] = kept
	return kept.output, nil
}

func (p *player) same(args []string) (string, error) {
	limit, args, err := within(args)
	if err != nil || len(args) == 0 {
		return "", errors.Join(script.ErrUsage, err)
	}
	began := time.Now()
	for _, name := range args {
		kept := p.notes[name]
		if kept == nil {
			return "", fmt.Errorf("nothing noted as %q", name)
		}
		err := p.eventually(limit, func() error {
			now, err := kept.now()
			if err != nil || now == kept.output {
				return err
			}
			diff, _ := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
				A: difflib.SplitLines(kept.output), B: difflib.SplitLines(now), FromFile: "noted", ToFile: "now", Context: 2,
			})
			return fmt.Errorf("%s on %s:\n%s", name, kept.node.Name(), diff)
		})
		if err != nil {
			return "", err
		}
	}
	return took(began, limit), nil
}

func (p *player) stays(args []string) (string, error) {
	if len(args) < 4 {
		return "", script.ErrUsage
	}
	long, err := time.ParseDuration(args[0])
	if err != nil {
		return "", errors.Join(script.ErrUsage, err)
	}
	once := append([]string{"-t", "0s"}, args[1:]...)
	looks := 0
	for end := time.Now().Add(long); time.Now().Before(end); looks++ {
		if _, err := p.expect(once); err != nil {
			return "", err
		}
		time.Sleep(100 * time.Millisecond) // between looks, for as long as the step says
	}
	return fmt.Sprintf("looked %d times\n", looks), nil
}

// held asks wg(8), which knows keys: a site's is that of its key file.
func (p *player) held(args []string) (string, error) {
	limit, n, args, err := p.nodeStep(args)
	if err != nil {
		return "", err
	}
	prefix, err := netip.ParsePrefix(args[1])
	if err != nil {
		return "", err
	}
	names := map[string]string{} // by key
	for _, file := range stage.KeyNames(p.Topology) {
		_, public, err := stage.Key(p.Topology.Name, file)
		if err != nil {
			return "", err
		}
		names[public] = strings.TrimSuffix(file, ".key")
	}
	want := slices.DeleteFunc(slices.Clone(args[2:]), func(s string) bool { return s == "none" })
	slices.Sort(want)
	began := time.Now()
	err = p.eventually(limit, func() error {
		out, err := n.Run("wg", "show", "all", "allowed-ips")
		if err != nil {
			return err
		}
		var have []string
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) > 2 && slices.Contains(f[2:], prefix.String()) {
				name := names[f[1]]
				if name == "" {
					name = f[1]
				}
				have = append(have, name)
			}
		}
		slices.Sort(have)
		if !slices.Equal(have, want) {
			return fmt.Errorf("%s: %s is an allowed IP of %q, want %q", n.Name(), prefix, have, want)
		}
		return nil
	})
	return took(began, limit), err
}
