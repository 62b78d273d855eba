// Command bench measures what the project promises about speed and cost and
// prints one table. It runs the benchmarks of the packages one after the other,
// so that they do not disturb each other, and says how busy the machine was with
// other things. It exits with 1 if something could not be measured, and with
// -strict also if a promise was missed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/labs/bench"
)

func main() {
	out := flag.String("o", "", "write the table and what the benchmarks printed to this `file` too")
	only := flag.String("only", "", "run only benchmarks whose package and name hold this `text`, such as BGP")
	strict := flag.Bool("strict", false, "exit with 1 if a promise was missed")
	flag.Parse()
	code, err := run(*out, *only, *strict)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = 1
	}
	os.Exit(code)
}

func run(out, only string, strict bool) (code int, err error) {
	file := io.Discard
	if out != "" {
		if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
			return 1, err
		}
		f, err := os.Create(out)
		if err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		file = f
	}
	results := bench.Results{}
	before, busy := load(), busy()
	for _, r := range bench.Runs {
		if !strings.Contains(r.Package+" "+r.Bench, only) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s  %s  %s\n", time.Now().Format(time.TimeOnly), r.Package, r.Bench)
		if err := measure(r, results, file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	table := io.MultiWriter(os.Stdout, file)
	if _, err := fmt.Fprintf(table, "\n%s, %d processors, load average before %s, after %s (this benchmark included)\n\n",
		time.Now().Format(time.DateTime), runtime.NumCPU(), before, load()); err != nil {
		return 1, err
	}
	if busy {
		_, _ = fmt.Fprintf(table, "Others are at work on this machine: judge figures in ms by a run on a quiet one.\n\n")
	}
	missed, absent, err := bench.Table(table, results, only == "")
	if missed > 0 && strict || absent > 0 && only == "" {
		code = 1
	}
	return code, err
}

// measure runs go test and reads what it prints. Benchmarks that go into
// namespaces of their own print there, hence -v.
func measure(r bench.Run, into bench.Results, log io.Writer) error {
	args := []string{"test", "-run", "^$", "-bench", r.Bench, "-benchtime", r.Time, "-timeout", "15m", "-v"}
	// The lowest real-time priority, of the test and not of its compiler.
	if alone := []string{"chrt", "--fifo", "1"}; r.Alone && exec.Command(alone[0], append(alone[1:], "true")...).Run() == nil {
		args = append(args, "-exec", strings.Join(alone, " "))
	}
	cmd := exec.Command("go", append(args, r.Package)...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var text strings.Builder
	if err := into.Read(io.TeeReader(pipe, io.MultiWriter(log, &text))); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", r.Package, err, text.String())
	}
	return nil
}

// busy reports whether others alone keep every processor at work.
func busy() bool {
	l, err := strconv.ParseFloat(load(), 64)
	return err == nil && l > float64(runtime.NumCPU())
}

// load is the load average of the last minute.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}
