package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxSecret bounds what is read from one source, in bytes: a key is 44.
const maxSecret = 64 << 10

// File reads secrets from files that nobody else can read: owner root or the
// user of this process, mode 0600 or stricter. One exception is made for
// packages that run the daemon under a group: mode 0640 with owner root is
// accepted with a warning. The name is an absolute path.
type File struct {
	// UID is the user besides root who may own a key file; zero value: the
	// user of this process.
	UID *int
}

// Check says whether Open would succeed, without reading the content.
func (f File) Check(name string) ([]string, error) {
	h, warnings, err := f.open(name)
	if err != nil {
		return nil, err
	}
	return warnings, h.Close()
}

// Open reads the file.
func (f File) Open(name string) (Value, error) {
	h, _, err := f.open(name)
	if err != nil {
		return Value{}, err
	}
	defer h.Close()
	b, err := io.ReadAll(io.LimitReader(h, maxSecret+1))
	if err != nil {
		return Value{}, fmt.Errorf("secret file %s: %w", name, bare(err))
	}
	if len(b) > maxSecret {
		return Value{}, fmt.Errorf("secret file %s: larger than %d bytes", name, maxSecret)
	}
	return Value{string(b)}, nil
}

// open judges the file by its open handle, so that what was judged is what is
// read. O_NONBLOCK keeps a FIFO from hanging the daemon.
func (f File) open(name string) (*os.File, []string, error) {
	if !filepath.IsAbs(name) {
		return nil, nil, errors.New("secret file: the path must be absolute, such as file:/etc/wgbgp/wg0.key")
	}
	h, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, nil, fmt.Errorf("secret file %s: %w; run this as root or as the daemon's user, or correct its owner", name, bare(err))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("secret file %s: %w", name, bare(err))
	}
	st, err := h.Stat()
	if err == nil {
		var warnings []string
		if warnings, err = f.judge(name, st); err == nil {
			return h, warnings, nil
		}
	}
	_ = h.Close()
	return nil, nil, err
}

func (f File) judge(name string, st fs.FileInfo) ([]string, error) {
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("secret file %s: not a regular file", name)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fmt.Errorf("secret file %s: the owner can not be read", name)
	}
	self := os.Geteuid()
	if f.UID != nil {
		self = *f.UID
	}
	mode := st.Mode().Perm()
	switch {
	case sys.Uid != 0 && int(sys.Uid) != self:
		return nil, fmt.Errorf("secret file %s: owned by user %d, who is neither root nor the daemon; chown root %s", name, sys.Uid, name)
	case mode&0o077 == 0:
		return nil, nil
	case mode&0o037 == 0 && sys.Uid == 0:
		return []string{fmt.Sprintf("secret file %s: group %d may read it (mode %04o); chmod 0600 %s unless that group runs the daemon", name, sys.Gid, mode, name)}, nil
	}
	return nil, fmt.Errorf("secret file %s: mode %04o lets others at it; chmod 0600 %s", name, mode, name)
}

// bare drops the path from an error that is going to be wrapped with it.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// Credential reads what systemd's LoadCredential= or LoadCredentialEncrypted=
// put into $CREDENTIALS_DIRECTORY (systemd.exec(5)). systemd guards the
// directory, so the mode of the file is not judged again.
type Credential struct {
	// Dir replaces $CREDENTIALS_DIRECTORY.
	Dir string
}

func (c Credential) path(name string) (string, error) {
	if name == "." || name == ".." || strings.ContainsRune(name, '/') {
		return "", errors.New("credential: the name must not be a path; use the ID given to LoadCredential=")
	}
	dir := c.Dir
	if dir == "" {
		dir = os.Getenv("CREDENTIALS_DIRECTORY")
	}
	if dir == "" {
		return "", fmt.Errorf("credential %s: $CREDENTIALS_DIRECTORY is not set, only a systemd unit has it: %w", name, ErrNotHere)
	}
	return filepath.Join(dir, name), nil
}

// Check says whether Open would succeed, without reading the content.
func (c Credential) Check(name string) ([]string, error) {
	p, err := c.path(name)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(p); err != nil {
		return nil, fmt.Errorf("credential %s: %w; add LoadCredential=%s:PATH to the unit", name, bare(err), name)
	}
	return nil, nil
}

// Open reads the credential.
func (c Credential) Open(name string) (Value, error) {
	p, err := c.path(name)
	if err != nil {
		return Value{}, err
	}
	b, err := os.ReadFile(p)
	if err != nil {
		return Value{}, fmt.Errorf("credential %s: %w; add LoadCredential=%s:PATH to the unit", name, bare(err), name)
	}
	return Value{string(b)}, nil
}

// Env reads environment variables. They show in /proc and in unit files, so
// every use carries a warning.
type Env struct {
	// Lookup replaces os.LookupEnv.
	Lookup func(string) (string, bool)
}

func (e Env) lookup(name string) (string, error) {
	get := e.Lookup
	if get == nil {
		get = os.LookupEnv
	}
	v, ok := get(name)
	if !ok || v == "" {
		return "", fmt.Errorf("environment variable %s is not set: %w", name, ErrNotHere)
	}
	return v, nil
}

// Check says whether the variable is set.
func (e Env) Check(name string) ([]string, error) {
	warnings := []string{fmt.Sprintf("environment variable %s shows in /proc and in unit files; use file: or credential:", name)}
	_, err := e.lookup(name)
	return warnings, err
}

// Open reads the variable.
func (e Env) Open(name string) (Value, error) {
	v, err := e.lookup(name)
	return Value{v}, err
}
