package daemons

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/wgbgp/wgbgp/internal/netlab"
)

// ExaBGP is an ExaBGP on one host. It keeps no table: what it received is what
// it told its process.
type ExaBGP struct {
	Process  *netlab.Process
	received string // file of JSON lines
	commands string // named pipe
}

// ExaBGPProcess is the name of the process that a neighbor's api block names.
const ExaBGPProcess = "lab"

// StartExaBGP starts ExaBGP with these neighbors and returns when its process
// runs.
func StartExaBGP(h *netlab.Host, config string) (*ExaBGP, error) {
	dir, err := h.File("exabgp/.keep", "")
	if err != nil {
		return nil, err
	}
	dir = filepath.Dir(dir)
	e := &ExaBGP{received: filepath.Join(dir, "received.json"), commands: filepath.Join(dir, "commands")}
	if _, err := h.Run("mkfifo", e.commands); err != nil {
		return nil, err
	}
	// What ExaBGP prints to the process goes to a file; what is written into the
	// pipe, which is kept open, goes to ExaBGP. A program in the background is not
	// given the standard input, hence 3.
	script, err := h.File("exabgp/process.sh", fmt.Sprintf("#!/bin/sh\n: >%[1]s\nexec 3<&0\ncat <&3 >>%[1]s &\nexec cat <>%[2]s\n", e.received, e.commands))
	if err != nil {
		return nil, err
	}
	conf, err := h.File("exabgp/exabgp.conf", fmt.Sprintf("process %s {\n  run /bin/sh %s;\n  encoder json;\n}\n%s", ExaBGPProcess, script, config))
	if err != nil {
		return nil, err
	}
	env := []string{
		"exabgp_daemon_user=root", "exabgp_daemon_drop=false", "exabgp_api_cli=false", "exabgp_api_ack=false",
		"exabgp_log_destination=stdout", "exabgp_log_level=INFO",
	}
	if e.Process, err = h.StartEnv("exabgp", env, "exabgp", conf); err != nil {
		return nil, err
	}
	return e, waitFor(e.Process, func() error {
		_, err := os.Stat(e.received)
		return err
	})
}

// Received is every message that ExaBGP told its process, one JSON object a line.
func (e *ExaBGP) Received() (string, error) {
	b, err := os.ReadFile(e.received)
	return string(b), err
}

// Command gives ExaBGP one command of its API.
func (e *ExaBGP) Command(line string) error {
	f, err := os.OpenFile(e.commands, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	if errClose := f.Close(); err == nil {
		err = errClose
	}
	return err
}
