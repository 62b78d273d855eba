package gwlab

import (
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
