package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// prefix begins the names of containerlab's containers, clab-LAB-NODE.
const prefix = "clab"

// Lab is a topology that containerlab deployed.
type Lab struct {
	name         string
	file         string
	containerlab string
	api          *unprivileged // nil where the engine gives every privilege
}

// Options say what is deployed, and by what.
type Options struct {
	Name string // of the lab, as its file says
	File string // the topology file
	// Containerlab is the program; empty: containerlab from the PATH.
	Containerlab string
	// Log gets what containerlab prints; nil: only errors tell it.
	Log *bytes.Buffer
}

// Ready says why labs in Docker can not stand here, or nothing.
func Ready(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("labs in Docker need root: containerlab makes links between the containers' network namespaces")
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return errors.New("labs in Docker need the program docker (Debian package docker.io)")
	}
	if _, err := docker(ctx, "version", "-f", "{{.Server.Version}}"); err != nil {
		return fmt.Errorf("the Docker engine does not answer: %w", err)
	}
	return nil
}

// Deploy makes the lab stand. A command of the file's exec lines that fails is an
// error, unlike in containerlab itself. On failure nothing is left.
func Deploy(ctx context.Context, o Options) (*Lab, error) {
	if err := Ready(ctx); err != nil {
		return nil, err
	}
	l := &Lab{name: o.Name, file: o.File, containerlab: o.Containerlab}
	if l.containerlab == "" {
		l.containerlab = "containerlab"
	}
	standing, err := docker(ctx, "ps", "-a", "-q", "--filter", "label=containerlab="+o.Name)
	if err != nil {
		return nil, err
	}
	if standing != "" {
		return nil, fmt.Errorf("lab %s stands in Docker already; `containerlab destroy --cleanup --name %s` takes it away", o.Name, o.Name)
	}
	if l.api, err = newUnprivileged(); err != nil {
		return nil, err
	}
	out, err := l.run(ctx, "deploy", "-t", l.file)
	if o.Log != nil {
		o.Log.WriteString(out)
	}
	if err == nil {
		err = failedCommands(out)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("deploy lab %s: %w\n%s", o.Name, err, l.ended(ctx)), l.Destroy())
	}
	return l, nil
}

// ended tells what the nodes printed that are no more: containerlab itself only
// misses their links.
func (l *Lab) ended(ctx context.Context) string {
	names, err := docker(ctx, "ps", "-a", "--filter", "label=containerlab="+l.name, "--filter", "status=exited", "--format", "{{.Names}}")
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, name := range strings.Fields(names) {
		fmt.Fprintf(&b, "--- %s ended:\n%s\n", name, logs(ctx, name))
	}
	return b.String()
}

// failedCommand begins containerlab's note of an exec line that failed.
var failedCommand = regexp.MustCompile(`(?m)^.*ERRO Failed to execute command.*$`)

func failedCommands(out string) error {
	if lines := failedCommand.FindAllString(out, -1); len(lines) > 0 {
		return errors.New(strings.Join(lines, "\n"))
	}
	return nil
}

// PID is a node's first process, as this machine counts them.
func (l *Lab) PID(ctx context.Context, node string) (int, error) {
	out, err := docker(ctx, "inspect", "-f", "{{.State.Pid}} {{.State.Running}}", l.Container(node))
	if err != nil {
		return 0, err
	}
	pid, running, _ := strings.Cut(out, " ")
	if running != "true" {
		return 0, fmt.Errorf("node %s ended:\n%s", node, l.Logs(ctx, node))
	}
	return strconv.Atoi(pid)
}

// Container is the name of a node's container.
func (l *Lab) Container(node string) string { return prefix + "-" + l.name + "-" + node }

// Logs are the last lines that a node's first process printed.
func (l *Lab) Logs(ctx context.Context, node string) string {
	return logs(ctx, l.Container(node))
}

func logs(ctx context.Context, container string) string {
	out, err := exec.CommandContext(ctx, "docker", "logs", "--tail", "40", container).CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// Destroy takes the lab away, with everything that containerlab made for it.
func (l *Lab) Destroy() error {
	_, err := l.run(context.Background(), "destroy", "--cleanup", "-t", l.file)
	if l.api != nil {
		err = errors.Join(err, l.api.close())
	}
	return err
}

// run runs containerlab and returns all that it printed.
func (l *Lab) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, l.containerlab, args...)
	cmd.Dir = filepath.Dir(l.file) // its folder of working files is made here
	cmd.Env = append(os.Environ(), "CLAB_VERSION_CHECK=disable")
	if l.api != nil {
		cmd.Env = append(cmd.Env, "DOCKER_HOST=unix://"+l.api.socket)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("containerlab %s: %w\n%s", args[0], err, out)
	}
	return string(out), err
}

func docker(ctx context.Context, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}
