package api_test

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/api/apitest"
)

func TestSocketHasItsModeWhateverTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o077} {
		old := syscall.Umask(umask)
		path := socketPath(t)
		stop := serve(t, apitest.New(), api.Options{SocketPath: path, Group: "0"})
		syscall.Umask(old)
		fi, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode() != fs.ModeSocket|0o660 {
			t.Errorf("umask %o: got mode %v, want srw-rw----", umask, fi.Mode())
		}
		left, err := os.ReadDir(filepath.Dir(path))
		if err != nil || len(left) != 1 {
			t.Errorf("umask %o: got %v and %v beside the socket, want nothing", umask, left, err)
		}
		if err := stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("umask %o: the socket outlived the server", umask)
		}
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	serve(t, apitest.New(), api.Options{SocketPath: path})
	if _, err := client(t, path).Status(t.Context()); err != nil {
		t.Errorf("status: %v", err)
	}
}

func TestSecondDaemonDoesNotTakeTheSocket(t *testing.T) {
	path := socketPath(t)
	serve(t, apitest.New(), api.Options{SocketPath: path})
	err := serve(t, &apitest.Backend{}, api.Options{SocketPath: path})()
	if err == nil || !strings.Contains(err.Error(), "another daemon answers") {
		t.Errorf("got %v, want that another daemon answers", err)
	}
	if s, err := client(t, path).Status(t.Context()); err != nil || s.Host != "gw-a" {
		t.Errorf("got host %q and %v, want the first daemon to go on", s.Host, err)
	}
}

func TestFileInPlaceOfTheSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := serve(t, apitest.New(), api.Options{SocketPath: path})()
	if err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("got %v, want a refusal", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("got %q in the file, want it untouched", b)
	}
}

func TestOldDaemonLeavesTheSocketOfTheNewOne(t *testing.T) {
	path := socketPath(t)
	old := serve(t, apitest.New(), api.Options{SocketPath: path})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	serve(t, apitest.New(), api.Options{SocketPath: path})
	if err := old(); err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, path).Status(t.Context()); err != nil {
		t.Errorf("status of the new daemon: %v", err)
	}
}

func TestUnknownGroupIsAnError(t *testing.T) {
	err := serve(t, apitest.New(), api.Options{SocketPath: socketPath(t), Group: "no-such-group"})()
	if err == nil || !strings.Contains(err.Error(), "no-such-group") {
		t.Errorf("got %v, want the group named", err)
	}
}

// dialAs connects as another user, from a thread that dies with its goroutine.
func dialAs(t *testing.T, path string, id uintptr) net.Conn {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can call as somebody else")
	}
	type dialed struct {
		net.Conn
		err error
	}
	got := make(chan dialed)
	go func() {
		runtime.LockOSThread() // and never unlocked
		_, _, e1 := syscall.RawSyscall(syscall.SYS_SETRESGID, id, id, id)
		_, _, e2 := syscall.RawSyscall(syscall.SYS_SETRESUID, id, id, id)
		c, err := net.Dial("unix", path)
		if e1 != 0 || e2 != 0 {
			err = fmt.Errorf("change user: %v, %v", e1, e2)
		}
		got <- dialed{c, err}
	}()
	d := <-got
	if d.err != nil {
		t.Fatal(d.err)
	}
	return d.Conn
}

// TestDiffReadsNoFileOnBehalfOfAStranger calls as nobody: the daemon, which is
// root, must not read what the caller could not.
func TestDiffReadsNoFileOnBehalfOfAStranger(t *testing.T) {
	dir, err := os.MkdirTemp("", "wgbgp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	serve(t, apitest.New(), api.Options{SocketPath: socket, Mode: 0o666})
	const nobody = 65534
	for _, tt := range []struct {
		name  string
		mode  fs.FileMode
		owner int
		want  int
	}{
		{"private", 0o600, 0, 409},
		{"group", 0o640, 0, 409},
		{"public", 0o644, 0, 200},
		{"own", 0o600, nobody, 200},
	} {
		path := filepath.Join(dir, tt.name)
		if err := os.WriteFile(path, nil, tt.mode); err != nil {
			t.Fatal(err)
		}
		c := dialAs(t, socket, nobody)
		if err := os.Chown(path, tt.owner, tt.owner); err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprintf(`{"path":%q}`, path)
		fmt.Fprintf(c, "POST /v1/config/diff HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != tt.want {
			t.Errorf("%s: got %d %s, want %d", tt.name, resp.StatusCode, text, tt.want)
		}
		_ = c.Close()
	}
}
