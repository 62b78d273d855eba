package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	wgdev "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/wgbgp/wgbgp/wg"
)

// userBackend is an embedded wireguard-go device. It ends with the process.
type userBackend struct {
	dev  *wgdev.Device
	tun  *tunDevice
	uapi net.Listener // nil: the socket could not be had
	buf  []byte
}

// newUserBackend makes the TUN interface and the device on it. Warnings name
// what is missing without stopping it from forwarding.
func newUserBackend(name string, mtu int, w *watcher, log *slog.Logger) (b *userBackend, warning string, err error) {
	t, err := openTUN(name)
	if err != nil {
		return nil, "", fmt.Errorf("make TUN interface %s: %w", name, err)
	}
	b = &userBackend{tun: t, dev: wgdev.NewDevice(t, &bind{watcher: w}, userLogger(log.With("device", name)))}
	// The socket is what wg(8) talks to. Its directory is shared by all
	// network namespaces of a machine, so a name may be taken.
	if b.uapi, err = listenUAPI(name); err != nil {
		return b, "no UAPI socket, wg(8) will not see the interface: " + err.Error(), nil
	}
	serveUAPI(b.uapi, b.dev)
	return b, "", nil
}

// uapiDir is where wg(8) looks for userspace devices.
const uapiDir = "/var/run/wireguard"

// listenUAPI makes the socket, for root only. One that nobody answers is the
// leftover of a killed process and is replaced.
func listenUAPI(name string) (net.Listener, error) {
	if err := os.MkdirAll(uapiDir, 0o755); err != nil {
		return nil, translate(err)
	}
	path := filepath.Join(uapiDir, name+".sock")
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("another process answers on %s", path)
	}
	_ = os.Remove(path)
	old := unix.Umask(0o077) // chmod afterwards would be too late
	defer unix.Umask(old)
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, translate(err)
	}
	return l, nil
}

func (b *userBackend) kind() wg.Backend { return wg.BackendUserspace }

func (b *userBackend) alive() bool {
	select {
	case <-b.dev.Wait():
		return false
	case <-b.tun.closed:
		return false
	default:
		return true
	}
}

// up opens the UDP sockets. It is safe to call again.
func (b *userBackend) up() error { return translate(b.dev.Up()) }

func (b *userBackend) read(full bool) (dump, error) {
	p := uapiParser{full: full, err: errUAPI}
	if err := b.dev.IpcGetOperation(&p); err != nil {
		return dump{}, translate(err)
	}
	return p.dump, p.err
}

// uapiParser reads the answer in place: wireguard-go hands it over in one Write.
type uapiParser struct {
	full bool
	dump dump
	err  error
}

func (p *uapiParser) Write(b []byte) (int, error) {
	p.dump, p.err = parseUAPI(b, p.full)
	return len(b), nil
}

func (b *userBackend) configure(c deviceConfig) error {
	return b.set(deviceLines(b.buf[:0], c))
}

func (b *userBackend) apply(ops []wg.Op) error {
	return b.set(opLines(b.buf[:0], ops))
}

func (b *userBackend) set(lines []byte) error {
	err := b.dev.IpcSet(string(lines))
	clear(lines) // may hold keys
	b.buf = lines[:0]
	return translate(err)
}

func (b *userBackend) peer(k wg.Key) *wgdev.Peer { return b.dev.LookupPeer(wgdev.NoisePublicKey(k)) }

// greet starts a handshake with peers that know their endpoint and would not
// send by themselves, so that a restart costs them a round trip and not the
// 15 s after which the far end notices.
func (b *userBackend) greet(keys []wg.Key) {
	for _, k := range keys {
		if p := b.peer(k); p != nil {
			p.SendKeepalive()
		}
	}
}

// shake starts a handshake with peers that are elsewhere now. They may have
// started anew there; WireGuard itself would find that out 15 s after the first
// packet without an answer (KeepaliveTimeout + RekeyTimeout), and only then. The
// kernel offers no such order.
func (b *userBackend) shake(keys []wg.Key) {
	for _, k := range keys {
		if p := b.peer(k); p != nil {
			_ = p.SendHandshakeInitiation(false) // sent again by its own timer
		}
	}
}

// drop throws away what waits for a handshake with peers that are known to be
// dead. wireguard-go keeps 128 packets for each, in buffers of 64 KiB, until its
// tries are over, and every packet, such as a probe's, starts them anew.
func (b *userBackend) drop(keys []wg.Key) {
	for _, k := range keys {
		if p := b.peer(k); p != nil {
			p.FlushStagedPackets()
		}
	}
}

func (b *userBackend) mtuChanged() { b.tun.notify(tun.EventMTUUpdate) }

func (b *userBackend) close() {
	if b.uapi != nil {
		_ = b.uapi.Close()
	}
	b.dev.Close()
}

// tunDevice is wireguard-go's TUN with offloads, without its netlink monitor:
// that monitor ends the device when its socket overflows (ENOBUFS), and takes
// the sockets down with the link, in whatever namespace its thread is in. We
// watch links ourselves.
type tunDevice struct {
	tun.Device
	events chan tun.Event
	closed chan struct{}
	once   sync.Once
}

func openTUN(name string) (*tunDevice, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, translate(err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, translate(err)
	}
	d, _, err := tun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, translate(err)
	}
	lengthenQueue(ifr)
	return &tunDevice{Device: d, events: make(chan tun.Event, 4), closed: make(chan struct{})}, nil
}

// queueLength is how many packets wait for this process to read them. Linux
// gives a TUN 500 (drivers/net/tun.c, TUN_READQ_SIZE) and drops what finds no
// room: at 10,000 packets per second a process that did not run for 50 ms has
// lost some.
const queueLength = 2000

// lengthenQueue may fail without more harm than that.
func lengthenQueue(ifr *unix.Ifreq) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(s) }()
	ifr.SetUint32(queueLength)
	_ = unix.IoctlIfreq(s, unix.SIOCSIFTXQLEN, ifr)
}

func (t *tunDevice) Events() <-chan tun.Event { return t.events }

func (t *tunDevice) notify(e tun.Event) {
	select {
	case <-t.closed:
	case t.events <- e:
	default: // full: an earlier one has not been read yet, and it reads the MTU itself
	}
}

// Read ends the device when the interface is gone, and says so at once; the
// rest of the device takes its time.
func (t *tunDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n, err := t.Device.Read(bufs, sizes, offset)
	if err != nil && !errors.Is(err, tun.ErrTooManySegments) {
		t.once.Do(func() { close(t.closed) })
	}
	return n, err
}

func (t *tunDevice) Close() error {
	t.once.Do(func() { close(t.closed) })
	return t.Device.Close()
}

// noise lists what wireguard-go calls errors although it is the normal life of
// a peer that is away.
var noise = []string{"Failed to send handshake initiation", "Failed to send data packets", "no known endpoint", "Failed to read packet from TUN"}

// userLogger sends wireguard-go's log to slog. Peers appear there shortened;
// anything that could be a whole key is blanked.
func userLogger(log *slog.Logger) *wgdev.Logger {
	ctx := context.Background()
	l := &wgdev.Logger{Verbosef: wgdev.DiscardLogf}
	if log.Enabled(ctx, slog.LevelDebug) {
		l.Verbosef = func(f string, args ...any) { log.Debug("wireguard-go", "text", redact(fmt.Sprintf(f, args...))) }
	}
	l.Errorf = func(f string, args ...any) {
		if mentions(f, noise) && !log.Enabled(ctx, slog.LevelDebug) {
			return // thousands of peers that are away say it every few seconds
		}
		text := redact(fmt.Sprintf(f, args...))
		if strings.Contains(text, "failed to parse line") {
			text = "a client of the UAPI socket sent something unreadable"
		}
		level := slog.LevelWarn
		if mentions(text, noise) || errors.Is(firstError(args), os.ErrClosed) {
			level = slog.LevelDebug
		}
		log.Log(ctx, level, "wireguard-go", "text", text)
	}
	return l
}

func mentions(text string, any []string) bool {
	return slices.ContainsFunc(any, func(s string) bool { return strings.Contains(text, s) })
}

func firstError(args []any) error {
	for _, a := range args {
		if err, ok := a.(error); ok {
			return err
		}
	}
	return nil
}
