package gwlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BuildPrograms builds wgbgpd, wgbgp, wgbgp-lab and tgwsim from the working tree into dir, for
// tests that run them, as `make build` does.
func BuildPrograms(dir string) (daemon, cli string, err error) {
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}")
	root, err := cmd.Output()
	if err != nil {
		return "", "", fmt.Errorf("find the module: %w", err)
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", "./cmd/wgbgpd", "./cmd/wgbgp", "./labs/cmd/wgbgp-lab", "./labs/cmd/tgwsim")
	build.Dir = string(root[:len(root)-1])
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return filepath.Join(dir, "wgbgpd"), filepath.Join(dir, "wgbgp"), nil
}

// What tests that run the programs, and their isolated copies, find them by.
const (
	EnvDaemon = "WGBGP_TEST_DAEMON"
	EnvCLI    = "WGBGP_TEST_CLI"
)

// Main runs the tests of a package that need the programs, with their paths in
// EnvDaemon and EnvCLI. Unless whoever started it has built them already, it builds
// them, for as long as the tests run.
func Main(run func() int) int {
	if os.Getenv(EnvDaemon) != "" {
		return run()
	}
	dir, err := os.MkdirTemp("", "wgbgp-programs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	daemon, cli, err := BuildPrograms(dir)
	if err == nil {
		err = errors.Join(os.Setenv(EnvDaemon, daemon), os.Setenv(EnvCLI, cli))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return run()
}
