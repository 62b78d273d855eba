package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"

	"golang.org/x/sys/unix"
	wgdev "golang.zx2c4.com/wireguard/device"
)

// ErrInterrupted says that a dump was overtaken by a change and is not
// consistent. It is normal; read again.
var ErrInterrupted = errors.New("dump interrupted by a concurrent change")

// ErrNoDevice says that the interface does not exist or is not managed.
var ErrNoDevice = errors.New("no such WireGuard interface")

// translate turns what libraries and the kernel say into short texts of our
// own. Library errors are never passed on: those of configuration calls may
// repeat the line they failed at, and that line may hold a key.
func translate(err error) error {
	if err == nil {
		return nil
	}
	var ipc *wgdev.IPCError
	if errors.As(err, &ipc) {
		err = unix.Errno(-ipc.ErrorCode())
	}
	for _, known := range []error{ErrInterrupted, ErrNoDevice, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	var errno unix.Errno
	switch {
	case errors.Is(err, os.ErrNotExist) && !errors.As(err, &errno):
		return ErrNoDevice // what wgctrl makes of ENODEV and EOPNOTSUPP
	case !errors.As(err, &errno):
		return errors.New("refused for a reason that is not repeated here, because it may hold a key")
	}
	switch errno {
	case unix.ENODEV:
		return ErrNoDevice
	case unix.EPERM, unix.EACCES:
		return errors.New("not permitted: needs CAP_NET_ADMIN")
	case unix.EADDRINUSE:
		return errors.New("the listen port is in use")
	case unix.EOPNOTSUPP:
		return errors.New("not supported by this kernel")
	case unix.EBUSY:
		return errors.New("busy: another process holds the interface")
	}
	return fmt.Errorf("%s", errno.Error())
}

// keyLike matches anything long enough to be a key in base64 or hex.
var keyLike = regexp.MustCompile(`[A-Za-z0-9+/]{40,}={0,2}`)

// redact blanks whatever might be a key in text that is not our own.
func redact(s string) string { return keyLike.ReplaceAllString(s, "[redacted]") }
