// Command wgbgp-lab builds the labs of labs/topologies and plays their scenarios:
// in namespaces, in a virtual machine with a Debian kernel (--vm), or by the real
// containerlab in Docker (--docker).
//
// Start reading at commands; run.go plays scenarios, hold.go keeps a lab standing.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wgbgp/wgbgp/labs/clab"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/play"
	"github.com/wgbgp/wgbgp/labs/stage"
)

func main() {
	stage.Init()
	err := commands().Execute()
	var exit exitCode
	switch {
	case errors.As(err, &exit):
		os.Exit(int(exit))
	case err != nil:
		fmt.Fprintln(os.Stderr, "wgbgp-lab:", err)
		os.Exit(1)
	}
}

// exitCode ends the program with a status and without words.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// flags are those of all commands.
type flags struct {
	labs     string
	programs string
	vm       bool
	docker   bool
}

func commands() *cobra.Command {
	var f flags
	root := &cobra.Command{
		Use: "wgbgp-lab", Short: "Build labs and play their scenarios", SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.PersistentFlags().StringVar(&f.labs, "labs", "", "folder of the labs (default: labs/topologies, here or beside the program)")
	root.PersistentFlags().StringVar(&f.programs, "programs", "", "folder of wgbgpd, wgbgp and wgbgp-lab (default: where this program is, else they are built)")
	root.PersistentFlags().BoolVar(&f.docker, "docker", false, "by the real containerlab, in Docker")
	sub := func(use, short string, args cobra.PositionalArgs, do func(*cobra.Command, []string) error) *cobra.Command {
		c := &cobra.Command{Use: use, Short: short, Args: args, RunE: do}
		root.AddCommand(c)
		return c
	}
	sub("list", "Labs and their scenarios", cobra.NoArgs, func(c *cobra.Command, _ []string) error { return list(c.OutOrStdout(), f) })
	run := runner{flags: &f}
	c := sub("run LAB[/SCENARIO]...", "Play scenarios, each on a lab of its own", cobra.MinimumNArgs(1), run.run)
	c.Flags().BoolVar(&f.vm, "vm", false, "in a virtual machine with a Debian kernel, whose WireGuard, GRE and VRF are used")
	c.Flags().BoolVar(&run.update, "update", false, "write expected output as it is found")
	c.Flags().BoolVar(&run.stop, "break", false, "open a shell where the script says break, and after a failure")
	c.Flags().IntVarP(&run.times, "times", "n", 1, "play each so often, whatever comes of it, and say how many times it passed")
	c.Flags().BoolVarP(&run.verbose, "verbose", "v", false, "show every step with its output, not only of failures")
	sub("up LAB", "Make a lab stand and leave it", cobra.ExactArgs(1), func(c *cobra.Command, a []string) error { return up(c.OutOrStdout(), f, a[0]) })
	sub("shell LAB NODE [COMMAND...]", "A shell on a node of a standing lab", cobra.MinimumNArgs(2), func(_ *cobra.Command, a []string) error {
		return shell(a[0], a[1], a[2:])
	}).Flags().SetInterspersed(false)
	sub("down LAB", "Take a lab away", cobra.ExactArgs(1), func(_ *cobra.Command, a []string) error { return down(f, a[0]) })
	var form string
	c = sub("graph LAB", "Draw a lab's topology", cobra.ExactArgs(1), func(c *cobra.Command, a []string) error {
		t, err := f.topology(a[0])
		if err != nil {
			return err
		}
		return t.Graph(c.OutOrStdout(), form)
	})
	c.Flags().StringVar(&form, "form", "text", "text, mermaid, dot or svg")
	sub("keys LAB", "Write the lab's key files into its folder, for containerlab without this program", cobra.ExactArgs(1), func(c *cobra.Command, a []string) error {
		return keys(c.OutOrStdout(), f, a[0])
	})
	sub("words", "The words of scenario files", cobra.NoArgs, func(c *cobra.Command, _ []string) error { return play.Words(c.OutOrStdout()) })
	node := sub("node tgw|site|swarm FILE", "Play a part of a lab that is no real software", cobra.ExactArgs(2), playPart)
	node.Hidden = true
	hold := sub("hold LAB DIRECTORY", "", cobra.ExactArgs(2), func(_ *cobra.Command, a []string) error { return holdLab(f, a[0], a[1]) })
	hold.Hidden = true
	return root
}

// dir is the folder of the labs.
func (f *flags) dir() (string, error) {
	if f.labs != "" {
		return f.labs, nil
	}
	candidates := []string{"labs/topologies"}
	if exe, err := os.Executable(); err == nil {
		candidates = append(candidates, filepath.Join(filepath.Dir(exe), "../labs/topologies"))
	}
	for _, d := range candidates {
		if _, err := os.Stat(d); err == nil {
			return filepath.Abs(d)
		}
	}
	return "", fmt.Errorf("no folder labs/topologies here; say where with --labs")
}

func (f *flags) topology(lab string) (*clab.Topology, error) {
	dir, err := f.dir()
	if err != nil {
		return nil, err
	}
	file, err := clab.Find(filepath.Join(dir, lab))
	if err != nil {
		return nil, err
	}
	return clab.Load(file, os.Getenv)
}

// binaries is where the programs are; they are built if they are not there.
func (f *flags) binaries() (dir string, cleanup func(), err error) {
	cleanup = func() {}
	if f.programs != "" {
		return f.programs, cleanup, nil
	}
	if exe, err := os.Executable(); err == nil {
		dir = filepath.Dir(exe)
		if _, err := os.Stat(filepath.Join(dir, "wgbgpd")); err == nil {
			return dir, cleanup, nil
		}
	}
	if dir, err = os.MkdirTemp("", "wgbgp-programs-"); err != nil {
		return "", cleanup, err
	}
	cleanup = func() { _ = os.RemoveAll(dir) }
	if _, _, err := gwlab.BuildPrograms(dir); err != nil {
		return "", cleanup, err
	}
	return dir, cleanup, os.Chmod(dir, 0o755)
}

func list(w io.Writer, f flags) error {
	dir, err := f.dir()
	if err != nil {
		return err
	}
	all, err := play.All(dir)
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(out, "LAB/SCENARIO\tNEEDS\tSHOWS")
	for _, s := range all {
		needs := ""
		if s.Needs.Kernel {
			needs = "kernel"
		}
		fmt.Fprintf(out, "%s/%s\t%s\t%s\n", s.Lab, s.Name, needs, s.Title[len(s.Name)+2:])
	}
	return out.Flush()
}

func keys(w io.Writer, f flags, lab string) error {
	t, err := f.topology(lab)
	if err != nil {
		return err
	}
	if err := stage.WriteKeys(t, t.Dir); err != nil {
		return err
	}
	for _, name := range stage.KeyNames(t) {
		_, public, err := stage.Key(t.Name, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%-44s %s\n", public, name)
	}
	return stage.FillKeys(t, t.Dir)
}
