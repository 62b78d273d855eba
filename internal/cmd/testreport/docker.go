package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// dockerTests stands in the account for tests that could not be started at all.
var dockerTests = key{module + "/labs/docker", "tests in Docker"}

// runDocker builds the images and containerlab, each only if something changed,
// and runs the tests that need them. A machine without Docker skips them, which
// -strict makes a failure.
func runDocker(r *results, w io.Writer, timeout time.Duration) error {
	fmt.Fprintln(w, "== labs in Docker, by the real containerlab")
	start := time.Now()
	if out, err := exec.Command("docker", "version", "-f", "{{.Server.Version}}").CombinedOutput(); err != nil {
		r.reasons[dockerTests] = fmt.Sprintf("Docker does not answer: %v %s", err, strings.TrimSpace(string(out)))
		r.set(dockerTests, skipped)
		return nil
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	for _, script := range []string{"labs/images/build", "labs/containerlab"} {
		cmd := exec.Command(filepath.Join(strings.TrimSpace(string(root)), script))
		cmd.Stdout, cmd.Stderr = w, os.Stderr
		if err := cmd.Run(); err != nil {
			r.set(dockerTests, failed)
			fmt.Fprintf(w, "FAIL %s: %v\n", script, err)
			return nil
		}
	}
	err = goTest(r, "WGBGP_TEST_DOCKER=1", "-count=1", "-timeout", timeout.String(), "-run", "InDocker$", module+"/labs/docker")
	fmt.Fprintf(w, "%.0f s, images and containerlab included\n", time.Since(start).Seconds())
	return err
}
