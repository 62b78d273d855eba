package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Adopt makes a host of the namespaces that a process lives in, such as the
// first process of a container. Programs started on the host join its network,
// mounts, host name and process IDs. The process belongs to somebody else: Close
// does not end it.
func (l *Lab) Adopt(name string, pid int) (*Host, error) {
	h := &Host{name: name, lab: l, dir: filepath.Join(l.dir, name), adopted: true}
	for _, ns := range []struct {
		name string
		to   **os.File
	}{{"net", &h.net}, {"mnt", &h.mnt}, {"uts", &h.uts}, {"pid", &h.pid}} {
		var err error
		if *ns.to, err = os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, ns.name)); err != nil {
			return nil, fmt.Errorf("host %s: %w", name, errors.Join(err, h.close()))
		}
	}
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		return nil, errors.Join(err, h.close())
	}
	l.mu.Lock()
	l.hosts = append(l.hosts, h)
	l.mu.Unlock()
	return h, nil
}

// AdoptProcess makes a Process of a program that somebody else started on the
// host. How it ended can not be known: Err stays nil. Log is where its output
// goes. Closing the lab ends it, as any other.
func (h *Host) AdoptProcess(name string, pid int, log string) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", h.name, name, err)
	}
	found, err := os.FindProcess(pid)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	p := &Process{Name: h.name + "/" + name, Log: log, cmd: &exec.Cmd{Process: found}, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer func() { _ = unix.Close(fd) }()
		for { // readable when the process has ended (pidfd_open(2))
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if n > 0 || (err != nil && !errors.Is(err, unix.EINTR)) {
				return
			}
		}
	}()
	h.lab.mu.Lock()
	h.lab.procs = append(h.lab.procs, p)
	h.lab.mu.Unlock()
	return p, nil
}

// findProgram looks for a program as execvp(3) does, in the mounts of the
// calling thread, which are not those of this process.
func findProgram(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := os.Getenv("PATH")
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if unix.Access(file, unix.X_OK) == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("no program %q in %s", name, path)
}
