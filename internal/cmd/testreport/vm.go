package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// module is this module's path.
const module = "github.com/wgbgp/wgbgp"

// suite is a package whose tests run once more in a VM with a Debian kernel,
// which has the WireGuard, GRE and VRF that the machine at hand may lack.
type suite struct {
	dir  string   // of the package, in the module
	env  []string // chooses the kernel's data plane
	run  string   // -test.run
	name string   // of the test binary
}

var suites = []suite{
	{"wg/device", []string{"WGBGP_TEST_BACKEND=kernel"}, ".", "device.test"},
	{"tgwconnect/gre", []string{"WGBGP_KERNEL_GRE=1"}, ".", "gre.test"},
	{"bgp/fib", nil, "VRF|RoutesReachTheKernel|PacketsFollow|TunnelPacket|SegmentSize", "fib.test"}, // the rest asks ip(8) too often for emulation
	{"cmd/wgbgp", nil, "KernelGRE", "wgbgp.test"},
	{"labs/gwlab", nil, "Kernel", "gwlab.test"},
	{"labs/topologies", []string{"WGBGP_LAB_VM=1"}, "KernelScenarios", "topologies.test"},
}

// vmTests stands in the account for tests that could not be started at all.
var vmTests = key{module + "/labs/vm", "tests on a Debian kernel"}

// Lines by which the script in the VM tells what it is at.
const (
	markKernel = "testreport-kernel: " // the VM's kernel release
	markBegin  = "testreport-begin: "  // index of the suite
	markEnd    = "testreport-end: "    // exit status of the suite
)

// runVM builds the suites, runs them all in one boot of labs/vm/run, and counts
// their tests like those of go test.
func runVM(r *results, w io.Writer, timeout time.Duration) error {
	fmt.Fprintln(w, "== tests on a Debian kernel in a virtual machine")
	found, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	dir, err := os.MkdirTemp("", "wgbgp-vm-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	root := strings.TrimSpace(string(found))
	if err := build(root, dir); err != nil {
		return err
	}
	inVM := newResults(r.w)
	defer func() { r.merge(inVM) }()
	if err := boot(inVM, w, root, dir, timeout, suites); err != nil {
		return err
	}
	return inVM.repeat(w, func(own *results, units []key) error {
		for _, u := range units {
			n := slices.IndexFunc(suites, func(s suite) bool { return u.pkg == module+"/"+s.dir })
			if n < 0 {
				continue
			}
			one := suites[n]
			one.run = subtest(u.test)
			if err := boot(own, w, root, dir, timeout, []suite{one}); err != nil {
				return err
			}
		}
		return nil
	})
}

// boot runs suites in one boot of labs/vm/run.
func boot(r *results, w io.Writer, root, dir string, timeout time.Duration, suites []suite) error {
	script, err := write(root, dir, timeout, suites)
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(root, "labs/vm/run"), "/bin/sh", script)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "VM_SHARE="+root+" "+dir, fmt.Sprintf("VM_TIMEOUT=%.0f", timeout.Seconds()))
	var said bytes.Buffer
	cmd.Stderr = io.MultiWriter(os.Stderr, &said)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the virtual machine: %w", err)
	}
	v := vmReader{r: r, w: w, suites: suites}
	v.read(out)
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == 3:
		r.reasons[vmTests] = strings.TrimSpace(said.String())
		r.set(vmTests, skipped)
		return nil
	case err != nil && !errors.As(err, &exit):
		return err
	case err != nil || v.ended < len(suites):
		r.set(vmTests, failed)
		fmt.Fprintf(w, "FAIL the virtual machine ended after %d of %d packages (%v)\n%s", v.ended, len(suites), err, indent(said.String()))
	}
	fmt.Fprintf(w, "%d packages in %.0f s, boot included\n", v.ended, time.Since(start).Seconds())
	return nil
}

// build makes in dir what the VM runs.
func build(root, dir string) error {
	if _, _, err := gwlab.BuildPrograms(dir); err != nil {
		return err
	}
	args := []string{"test", "-c", "-o", dir + "/"}
	for _, s := range suites {
		args = append(args, "./"+s.dir)
	}
	build := exec.Command("go", args...)
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the tests for the virtual machine: %w\n%s", err, out)
	}
	return nil
}

// write makes the script that runs suites in the VM.
func write(root, dir string, timeout time.Duration, suites []suite) (script string, err error) {
	var b strings.Builder
	fmt.Fprintf(&b, "export WGBGP_TEST_DAEMON='%s' WGBGP_TEST_CLI='%s'\necho \"%s$(uname -r)\"\n",
		filepath.Join(dir, "wgbgpd"), filepath.Join(dir, "wgbgp"), markKernel)
	for n, s := range suites {
		fmt.Fprintf(&b, "cd '%s' || exit\necho '%s%d'\nenv %s '%s' -test.v=test2json -test.timeout=%s -test.run='%s'\necho \"%s$?\"\n",
			filepath.Join(root, s.dir), markBegin, n, strings.Join(s.env, " "), filepath.Join(dir, s.name), timeout, s.run, markEnd)
	}
	script = filepath.Join(dir, "all.sh")
	return script, os.WriteFile(script, []byte(b.String()), 0o600)
}

// vmReader cuts the VM's output into that of the suites.
type vmReader struct {
	r      *results
	w      io.Writer
	suites []suite // in the order of the script
	ended  int     // that came to their end
	test   *converter
}

func (v *vmReader) read(out io.Reader) {
	lines := bufio.NewReaderSize(out, 1<<16)
	for {
		line, err := lines.ReadString('\n')
		v.line(line)
		if err != nil {
			break
		}
	}
	if v.test != nil {
		pkg := v.test.pkg
		v.stop()
		v.r.exited(pkg + " in the virtual machine: cut off")
	}
}

func (v *vmReader) line(line string) {
	switch {
	case strings.HasPrefix(line, markKernel):
		fmt.Fprintf(v.w, "Linux %s", strings.TrimPrefix(line, markKernel))
	case strings.HasPrefix(line, markBegin):
		v.stop()
		if n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, markBegin))); err == nil && n < len(v.suites) {
			v.test = convert(v.r, module+"/"+v.suites[n].dir)
		}
	case strings.Contains(line, markEnd): // after a crash it may follow text without a newline
		before, status, _ := strings.Cut(line, markEnd)
		pkg := ""
		if v.test != nil {
			v.test.write(before)
			pkg = v.test.pkg
		}
		v.stop()
		v.ended++
		if status = strings.TrimSpace(status); status != "0" {
			v.r.exited(pkg + " in the virtual machine, exit status " + status)
		}
	case v.test != nil:
		v.test.write(line)
	case strings.TrimSpace(line) != "":
		fmt.Fprint(v.w, line) // the VM's own words
	}
}

func (v *vmReader) stop() {
	if v.test != nil {
		v.test.close()
		v.test = nil
	}
}

// converter turns the output of one test binary into events.
type converter struct {
	pkg  string
	in   io.WriteCloser
	cmd  *exec.Cmd
	done chan struct{}
}

func convert(r *results, pkg string) *converter {
	c := &converter{pkg: pkg, cmd: exec.Command("go", "tool", "test2json", "-t", "-p", pkg), done: make(chan struct{})}
	c.cmd.Stderr = os.Stderr
	in, errIn := c.cmd.StdinPipe()
	out, errOut := c.cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, c.cmd.Start()); err != nil {
		r.set(key{pkg: pkg}, failed)
		close(c.done)
		c.cmd = nil
		return c
	}
	c.in = in
	go func() { // sole user of r until close returns
		defer close(c.done)
		lines := bufio.NewReaderSize(out, 1<<16)
		for {
			line, err := lines.ReadBytes('\n')
			if len(line) > 0 {
				r.line(line)
			}
			if err != nil {
				return
			}
		}
	}()
	return c
}

func (c *converter) write(s string) {
	if c.in != nil {
		_, _ = io.WriteString(c.in, s)
	}
}

// close waits until all events are counted.
func (c *converter) close() {
	if c.cmd == nil {
		return
	}
	_ = c.in.Close()
	<-c.done
	_ = c.cmd.Wait()
}
