package play

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/pmezard/go-difflib/difflib"
	"rsc.io/script"

	"github.com/wgbgp/wgbgp/labs/stage"
)

// patience is how long an expectation waits to come true when the step does not
// say it.
const patience = 45 * time.Second

// word is a command of the script: it gets the step's arguments and returns what
// the step printed.
type word struct {
	args, summary string
	do            func(p *player, args []string) (string, error)
}

func (p *player) commands() map[string]script.Cmd {
	defaults := script.DefaultCmds()
	cmds := map[string]script.Cmd{}
	for _, name := range []string{"echo", "help", "stderr", "stdout"} {
		cmds[name] = defaults[name]
	}
	all := maps.Clone(vocabulary)
	maps.Copy(all, networkWords)
	maps.Copy(all, noteWords)
	for name, w := range all {
		cmds[name] = script.Command(script.CmdUsage{Summary: w.summary, Args: w.args}, func(_ *script.State, args ...string) (script.WaitFunc, error) {
			out, err := w.do(p, args)
			return func(*script.State) (string, string, error) { return out, "", err }, nil
		})
	}
	return cmds
}

// Words describes the vocabulary, for help.
func Words(w io.Writer) error {
	p := &player{}
	return (&script.Engine{Cmds: p.commands()}).ListCmds(w, true)
}

// vocabulary is what concerns programs; networkWords what concerns packets;
// noteWords what was before.
var vocabulary = map[string]word{
	"on": {"NODE COMMAND...", "run a command on a node", func(p *player, args []string) (string, error) {
		if len(args) < 2 {
			return "", script.ErrUsage
		}
		n, err := p.Node(args[0])
		if err != nil {
			return "", err
		}
		return n.Run(args[1:]...)
	}},
	"expect":  {"[-t TIME] NODE 'COMMAND' REGEXP|!REGEXP...", "run a command until its output matches every REGEXP and no !REGEXP", (*player).expect},
	"exit":    {"[-t TIME] CODE NODE COMMAND...", "run a command until it ends with this exit code", (*player).exit},
	"compare": {"[-t TIME] NODE 'COMMAND' FILE", "run a command until its output is the FILE of this scenario; times and blanks do not count", (*player).compare},
	"start": {"NODE...", "start the nodes' programs, again or at last", eachNode(func(p *player, n *stage.Node) error {
		delete(p.stopped, n.Name())
		return n.Start()
	})},
	"stop": {"NODE...", "end the nodes' programs in an orderly way (SIGTERM)", eachNode(func(p *player, n *stage.Node) error {
		return p.end(n, func() error { return n.Main.Stop(20 * time.Second) })
	})},
	"kill": {"NODE...", "end the nodes' programs without a word (SIGKILL)", eachNode(func(p *player, n *stage.Node) error {
		return p.end(n, n.Main.Kill)
	})},
	"append": {"FILE LINE...", "append lines to a file of the lab", func(p *player, args []string) (string, error) {
		if len(args) < 2 {
			return "", script.ErrUsage
		}
		path, err := p.path(args[0])
		if err != nil {
			return "", err
		}
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return "", err
		}
		_, err = f.WriteString(strings.Join(args[1:], "\n") + "\n")
		return "", errors.Join(err, f.Close())
	}},
	"edit": {"FILE OLD NEW", "replace a text in a file of the lab, which must be there just once", (*player).edit},
	"break": {"", "leave the lab standing and open a shell, when asked to (--break)", func(p *player, _ []string) (string, error) {
		if p.options.Break == nil {
			return "", nil
		}
		return "", p.options.Break(p.Stage)
	}},
}

func eachNode(f func(*player, *stage.Node) error) func(*player, []string) (string, error) {
	return func(p *player, args []string) (string, error) {
		if len(args) == 0 {
			return "", script.ErrUsage
		}
		for _, name := range args {
			n, err := p.Node(name)
			if err != nil {
				return "", err
			}
			if err := f(p, n); err != nil {
				return "", err
			}
		}
		return "", nil
	}
}

func (p *player) end(n *stage.Node, how func() error) error {
	if n.Main == nil {
		return fmt.Errorf("%s runs no program of its own, or the lab is in Docker", n.Name())
	}
	p.stopped[n.Name()] = true
	return how()
}

// within takes the -t option from the arguments.
func within(args []string) (time.Duration, []string, error) {
	f := flag.NewFlagSet("", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	t := f.Duration("t", patience, "")
	if err := f.Parse(args); err != nil {
		return 0, nil, errors.Join(script.ErrUsage, err)
	}
	return *t, f.Args(), nil
}

// nodeStep takes the -t option and the node from the arguments of a step of the
// form [-t TIME] NODE WORD WORD..., and leaves the others where they are.
func (p *player) nodeStep(args []string) (time.Duration, *stage.Node, []string, error) {
	limit, args, err := within(args)
	if err != nil || len(args) < 3 {
		return 0, nil, nil, errors.Join(script.ErrUsage, err)
	}
	n, err := p.Node(args[0])
	return limit, n, args, err
}

// took notes how long a step needed; it is the figure of a measured line.
func took(began time.Time, limit time.Duration) string {
	return fmt.Sprintf("after %.2f s (limit %s)\n", time.Since(began).Seconds(), limit)
}

func (p *player) expect(args []string) (string, error) {
	limit, n, args, err := p.nodeStep(args)
	if err != nil {
		return "", err
	}
	command, err := stage.Words(args[1])
	if err != nil {
		return "", err
	}
	type pattern struct {
		re  *regexp.Regexp
		not bool
	}
	var patterns []pattern
	for _, a := range args[2:] {
		text, not := strings.CutPrefix(a, "!")
		re, err := regexp.Compile("(?m)" + text)
		if err != nil {
			return "", err
		}
		patterns = append(patterns, pattern{re, not})
	}
	began := time.Now()
	err = p.eventually(limit, func() error {
		stdout, stderr, _, err := n.Output(command...)
		if err != nil {
			return err
		}
		out := stdout + stderr
		for _, pat := range patterns {
			switch {
			case pat.not && pat.re.MatchString(out):
				return fmt.Errorf("%s: %s: %q is in the output:\n%s", n.Name(), args[1], pat.re, out)
			case !pat.not && !pat.re.MatchString(out):
				return fmt.Errorf("%s: %s: no %q in the output:\n%s", n.Name(), args[1], pat.re, out)
			}
		}
		return nil
	})
	return took(began, limit), err
}

func (p *player) exit(args []string) (string, error) {
	limit, args, err := within(args)
	if err != nil || len(args) < 3 {
		return "", errors.Join(script.ErrUsage, err)
	}
	n, err := p.Node(args[1])
	if err != nil {
		return "", err
	}
	began := time.Now()
	var out string
	err = p.eventually(limit, func() error {
		stdout, stderr, code, err := n.Output(args[2:]...)
		out = stdout + stderr
		if err == nil && fmt.Sprint(code) != args[0] {
			err = fmt.Errorf("%s: %s: exit code %d, want %s\n%s", n.Name(), strings.Join(args[2:], " "), code, args[0], out)
		}
		return err
	})
	return out + took(began, limit), err
}

// volatile is what differs between two runs: times, ages, and the widths of
// columns.
var volatile = regexp.MustCompile(`\b\d+d\d{2}h\b|\b\d{2}:\d{2}:\d{2}\b|\b\d+(\.\d+)?(ns|µs|ms|s)\b`)

func normal(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		line = volatile.ReplaceAllString(line, "TIME")
		b.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	return b.String()
}

func (p *player) compare(args []string) (string, error) {
	limit, args, err := within(args)
	if err != nil || len(args) != 3 {
		return "", errors.Join(script.ErrUsage, err)
	}
	n, err := p.Node(args[0])
	if err != nil {
		return "", err
	}
	command, err := stage.Words(args[1])
	if err != nil {
		return "", err
	}
	f, err := p.scenario.file(args[2])
	if err != nil {
		return "", err
	}
	began := time.Now()
	want := normal(string(f.Data))
	var out string
	err = p.eventually(limit, func() error {
		stdout, stderr, _, err := n.Output(command...)
		if err != nil {
			return err
		}
		out = stdout + stderr
		if have := normal(out); have != want {
			diff, _ := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
				A: difflib.SplitLines(want), B: difflib.SplitLines(have), FromFile: "want", ToFile: "have", Context: 2,
			})
			return fmt.Errorf("%s: %s\n%s", n.Name(), args[1], diff)
		}
		return nil
	})
	if err != nil && p.options.Update {
		f.Data, p.updated = []byte(out), true
		return "updated\n", nil
	}
	return took(began, limit), err
}
