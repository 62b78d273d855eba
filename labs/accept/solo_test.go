package accept

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

// solo is the shipped daemon alone in the test's own namespace, with a file and an
// environment: for tests of what it does without other hosts.
type solo struct {
	dir, config, log string
	env              []string
	cmd              *exec.Cmd
	done             chan struct{} // closed when the daemon has ended
}

// newSolo prepares a daemon whose configuration is text and the places of its
// socket and state.
func newSolo(t *testing.T, env []string, text string) *solo {
	t.Helper()
	s := &solo{dir: t.TempDir(), env: append(os.Environ(), env...)}
	s.config, s.log = filepath.Join(s.dir, "wgbgpd.toml"), filepath.Join(s.dir, "wgbgpd.log")
	s.write(t, text)
	return s
}

func (s *solo) write(t *testing.T, text string) {
	t.Helper()
	text = "state-dir = \"" + s.dir + "/state\"\n" + text + "\n[api]\nsocket = \"" + s.dir + "/api.sock\"\n"
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// secretFile puts a secret into a file of its own and returns the reference.
func (s *solo) secretFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file:" + path
}

// start starts the daemon and waits until its API answers.
func (s *solo) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	s.cmd = exec.Command(daemon, "-f", s.config)
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env, log, log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.done = make(chan struct{})
	cmd, done := s.cmd, s.done
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}()
	t.Cleanup(func() { s.end(t, syscall.SIGKILL) })
	nstest.Eventually(t, 60*time.Second, func() error {
		if !s.running() {
			t.Fatalf("the daemon has ended:\n%s", s.text(t))
		}
		if _, _, code := s.cli(t, "status"); code == 4 {
			return errors.New("its API does not answer")
		}
		return nil
	})
}

func (s *solo) running() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// end sends a signal and waits for the daemon's end.
func (s *solo) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if !s.running() {
		return
	}
	_ = s.cmd.Process.Signal(sig) // it may have ended by itself
	select {
	case <-s.done:
	case <-time.After(60 * time.Second):
		t.Errorf("the daemon did not end after %v", sig)
	}
}

// cli runs the command line; monitor, which does not end, for 2 s.
func (s *solo) cli(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	within := 20 * time.Second
	if slices.Contains(args, "monitor") {
		within = 2 * time.Second
	}
	ctx, stop := context.WithTimeout(t.Context(), within)
	defer stop()
	c := exec.CommandContext(ctx, cli, append([]string{"--target", "unix://" + s.dir + "/api.sock"}, args...)...)
	var out, err bytes.Buffer
	c.Env, c.Stdout, c.Stderr = s.env, &out, &err
	failed := c.Run()
	var exit *exec.ExitError
	if failed != nil && !errors.As(failed, &exit) && ctx.Err() == nil {
		t.Fatal(failed)
	}
	return out.String(), err.String(), c.ProcessState.ExitCode()
}

// text is the log so far.
func (s *solo) text(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// newKey is a private or preshared key in the form of wg genkey, with its public key.
func newKey(t *testing.T) (text, public string) {
	t.Helper()
	var b [wg.KeyLen]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b[:]), wg.NewPrivateKey(b).Public().String()
}
