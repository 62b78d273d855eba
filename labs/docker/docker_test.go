package docker_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/clab"
	"github.com/wgbgp/wgbgp/labs/docker"
	"github.com/wgbgp/wgbgp/labs/stage"
)

// wanted is set by `make test-docker`, which builds images and containerlab first.
const wanted = "WGBGP_TEST_DOCKER"

const productImage = "ghcr.io/wgbgp/wgbgp:latest"

// inDocker skips the test unless Docker was asked for; then it must be there.
func inDocker(t *testing.T) {
	t.Helper()
	if os.Getenv(wanted) == "" {
		t.Skip("needs Docker and images: make test-docker")
	}
	if err := docker.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// engine runs docker(1).
func engine(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// fresh takes away what a run that was killed left of a lab.
func fresh(t *testing.T, lab string) {
	t.Helper()
	if left := strings.Fields(engine(t, "ps", "-a", "-q", "--filter", "label=containerlab="+lab)); len(left) > 0 {
		engine(t, append([]string{"rm", "-f"}, left...)...)
	}
}

// folder copies a lab's folder, with its keys.
func folder(t *testing.T, lab string, keys ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(lab)); err != nil {
		t.Fatal(err)
	}
	for _, name := range keys {
		private, _, err := stage.Key(filepath.Base(lab), name)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "keys", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(private+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const containerlab = "../containerlab"

// A fresh build finds nothing to do, quickly enough to come before every run.
func TestImagesAreBuiltOnceInDocker(t *testing.T) {
	inDocker(t)
	out, err := exec.Command("../images/build").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 7 {
		t.Errorf("want a line for each of 7 images, got %d:\n%s", len(lines), out)
	}
	for _, l := range lines {
		if !strings.Contains(l, " MB  unchanged ") {
			t.Errorf("want it unchanged, got: %s", l)
		}
	}
}

// The product's image holds two programs and no shell, and works read-only with
// the capabilities of the systemd unit; docker stop is an orderly leave.
func TestProductImageIsSelfContainedInDocker(t *testing.T) {
	inDocker(t)
	dir := t.TempDir()
	config := "[gateway]\nname = \"gw\"\nasn = 65010\nrouter-id = \"10.0.0.10\"\n"
	if err := os.WriteFile(filepath.Join(dir, "wgbgpd.toml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	name := "wgbgp-test-product"
	_ = exec.Command("docker", "rm", "-f", name).Run() // of a run that was killed
	engine(t, "run", "-d", "--name", name, "--network", "none", "--read-only", "--tmpfs", "/run",
		"--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW", "--cap-add", "NET_BIND_SERVICE", "--cap-add", "CHOWN",
		"--device", "/dev/net/tun", "-v", dir+":/etc/wgbgp:ro", productImage)
	defer engine(t, "rm", "-f", name)
	nstest.Eventually(t, 20*time.Second, func() error {
		out, err := exec.Command("docker", "exec", name, "wgbgp", "status").CombinedOutput()
		if err == nil && !strings.Contains(string(out), "gw") {
			t.Errorf("wgbgp status: want the gateway's name, got\n%s", out)
		}
		return err
	})
	if out, err := exec.Command("docker", "exec", name, "sh", "-c", "true").CombinedOutput(); err == nil {
		t.Errorf("want no shell in the image, got one: %s", out)
	}
	for _, f := range programs(t, name) {
		if f != "usr/bin/wgbgpd" && f != "usr/bin/wgbgp" {
			t.Errorf("want no other program in the image, got %s", f)
		}
	}
	engine(t, "stop", "-t", "30", name)
	if got := strings.TrimSpace(engine(t, "inspect", "-f", "{{.State.ExitCode}}", name)); got != "0" {
		t.Errorf("docker stop: want exit code 0, got %s\n%s", got, engine(t, "logs", "--tail", "20", name))
	}
	labels := engine(t, "inspect", "-f", "{{json .Config.Labels}}", productImage)
	for _, want := range []string{"title", "source", "licenses", "version", "revision"} {
		if !regexp.MustCompile(`"org\.opencontainers\.image\.` + want + `":"[^"]+"`).MatchString(labels) {
			t.Errorf("label %s: want it, got %s", want, labels)
		}
	}
}

// programs are the executable files of a container.
func programs(t *testing.T, container string) []string {
	t.Helper()
	cmd := exec.Command("docker", "export", container)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var found []string
	for files := tar.NewReader(out); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg && h.Size > 0 && h.Mode&0o111 != 0 { // Docker adds empty ones
			found = append(found, h.Name)
		}
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return found
}

// The product's image, as it is, in a lab of the real containerlab: a session
// with FRR inside a tunnel over IPv6, and packets of both families.
func TestProductImageInAContainerlabInDocker(t *testing.T) {
	inDocker(t)
	fresh(t, "product")
	ctx := context.Background() // Destroy comes after the test's own context
	dir := folder(t, "testdata/product", "gw.key", "paris.key")
	program, err := filepath.Abs(containerlab)
	if err != nil {
		t.Fatal(err)
	}
	lab, err := docker.Deploy(ctx, docker.Options{Name: "product", File: filepath.Join(dir, "product.clab.yml"), Containerlab: program})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Logf("gw:\n%s", lab.Logs(ctx, "gw"))
		}
		if err := lab.Destroy(); err != nil {
			t.Error(err)
		}
		if left := engine(t, "ps", "-a", "-q", "--filter", "label=containerlab=product"); left != "" {
			t.Errorf("containers are left: %s", left)
		}
	}()
	for _, want := range []struct {
		command string
		re      string
	}{
		{"gw wgbgp neighbor", `Established`},
		{"gw wgbgp route", `10\.101\.0\.0/16.*\n`},
		{"gw wgbgp route", `fd10:101::/48.*\n`},
		{"paris ping -c1 -W1 -I 10.101.0.1 172.20.1.1", ` 0% packet loss`},
		{"paris ping -c1 -W1 -I fd10:101::1 fd00:20::1", ` 0% packet loss`},
	} {
		node, command, _ := strings.Cut(want.command, " ")
		re := regexp.MustCompile(want.re)
		nstest.Eventually(t, 30*time.Second, func() error {
			out, err := exec.Command("docker", append([]string{"exec", lab.Container(node)}, strings.Fields(command)...)...).CombinedOutput()
			if err == nil && !re.Match(out) {
				return &lacks{want.command, want.re, string(out)}
			}
			return err
		})
	}
}

type lacks struct{ command, re, out string }

func (l *lacks) Error() string { return l.command + ": no " + l.re + " in:\n" + l.out }

// containerlab itself takes every topology file, and refuses a damaged one.
func TestContainerlabAcceptsEveryLabInDocker(t *testing.T) {
	inDocker(t)
	files, err := filepath.Glob("../topologies/*/*" + clab.Suffix)
	if err != nil || len(files) == 0 {
		t.Fatalf("no labs (%v)", err)
	}
	validate := func(file string) ([]byte, error) {
		cmd := exec.Command(containerlab, "validate", "-t", file)
		return cmd.CombinedOutput()
	}
	for _, f := range files {
		t.Run(filepath.Base(filepath.Dir(f)), func(t *testing.T) {
			top, err := clab.Load(f, os.Getenv)
			if err != nil {
				t.Fatal(err)
			}
			dir := folder(t, filepath.Dir(f), stage.KeyNames(top)...)
			copied := filepath.Join(dir, filepath.Base(f))
			if out, err := validate(copied); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			text, err := os.ReadFile(copied)
			if err != nil {
				t.Fatal(err)
			}
			damaged := strings.Replace(string(text), "endpoints: [\"", "endpoints: [\"nobody-", 1)
			if damaged == string(text) {
				t.Fatal("no link to damage")
			}
			if err := os.WriteFile(copied, []byte(damaged), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := validate(copied); err == nil {
				t.Errorf("a link to an unknown node: want it refused, got\n%s", out)
			}
		})
	}
}

// played are the labs whose scenarios pass in Docker too.
var played = []string{"quickstart", "two-hosts-ecmp"}

func TestScenariosInDocker(t *testing.T) {
	inDocker(t)
	programs, err := filepath.Abs("../../bin") // built by make test-docker
	if err != nil {
		t.Fatal(err)
	}
	for _, lab := range played {
		t.Run(lab, func(t *testing.T) {
			fresh(t, lab)
			out, err := exec.Command(filepath.Join(programs, "wgbgp-lab"), "run", "--docker", "-v",
				"--labs", "../topologies", "--programs", programs, lab+"/"+lab).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "1 played, 0 failed, 0 skipped") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
