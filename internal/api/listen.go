package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listen makes the socket with its final mode from the first moment: it is
// bound inside a directory of our own that nobody else may enter and then
// renamed into place, so that neither the umask nor a race can open it wider.
func listen(o Options) (net.Listener, error) {
	path := o.SocketPath
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	private, err := os.MkdirTemp(filepath.Dir(path), ".w")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	tmp := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: tmp, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	u := &listener{UnixListener: l, path: path, slots: make(chan struct{}, maxConns)}
	if u.made, err = os.Lstat(tmp); err == nil {
		err = permit(tmp, o)
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return u, nil
}

func permit(path string, o Options) error {
	if o.Group != "" {
		gid, err := lookupGroup(o.Group)
		if err != nil {
			return err
		}
		if err := os.Chown(path, -1, gid); err != nil {
			return err
		}
	}
	return os.Chmod(path, o.Mode.Perm())
}

func lookupGroup(name string) (int, error) {
	if gid, err := strconv.Atoi(name); err == nil {
		return gid, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("group %s: no such group", name)
	}
	return strconv.Atoi(g.Gid)
}

// removeStale removes a socket on which nobody answers. Anything that is not a
// socket is left alone.
func removeStale(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("%s: another daemon answers there", path)
	}
	// Only a refusal proves that nobody listens: a full backlog gives EAGAIN,
	// and then somebody does.
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s: can not tell whether another daemon runs: %w", path, err)
	}
	return os.Remove(path)
}

// listener bounds the number of connections and asks the kernel who calls.
type listener struct {
	*net.UnixListener
	path  string
	made  fs.FileInfo
	slots chan struct{}
	once  sync.Once
}

// Accept closes callers beyond the limit at once: they learn it now, instead
// of waiting behind event readers for nobody knows how long.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &conn{UnixConn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
		default:
			_ = c.Close()
		}
	}
}

// Close removes the socket, but only the one made here: a newer daemon may
// have put its own in place.
func (l *listener) Close() error {
	l.once.Do(func() {
		if fi, err := os.Lstat(l.path); err == nil && os.SameFile(fi, l.made) {
			_ = os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}

type conn struct {
	*net.UnixConn
	free func()
}

func (c *conn) Close() error {
	c.free()
	return c.UnixConn.Close()
}

type callerKey struct{}

// withCaller notes who is at the other end (SO_PEERCRED, unix(7)): for the
// record of orders, and for what may be read on the caller's behalf.
func withCaller(ctx context.Context, nc net.Conn) context.Context {
	c, ok := nc.(*conn)
	if !ok {
		return ctx
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return ctx
	}
	var who *unix.Ucred
	if raw.Control(func(fd uintptr) { who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, who)
}

// caller is who called, for logs.
func caller(ctx context.Context) string {
	if u, ok := ctx.Value(callerKey{}).(*unix.Ucred); ok {
		return fmt.Sprintf("uid %d pid %d", u.Uid, u.Pid)
	}
	return ""
}

// mayRead reports whether the caller could read the file without us: the
// daemon is root and its complaints about a file quote it. Supplementary
// groups are not known here and count as others.
func mayRead(ctx context.Context, path string) error {
	u, ok := ctx.Value(callerKey{}).(*unix.Ucred)
	if ok && (u.Uid == 0 || int(u.Uid) == os.Geteuid()) {
		return nil
	}
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return NotFound("file", path)
	}
	if err != nil {
		return Errorf(CodeFailed, "file %s: can not be examined", path)
	}
	if st, isUnix := fi.Sys().(*syscall.Stat_t); ok && isUnix {
		switch {
		case u.Uid == st.Uid && fi.Mode()&0o400 != 0, u.Gid == st.Gid && fi.Mode()&0o040 != 0, fi.Mode()&0o004 != 0:
			return nil
		}
	}
	return Refused("file %s: not readable by you", path)
}
