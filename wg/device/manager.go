package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/wg"
)

// recheckEvery bounds how long an interface is believed to be as we left it
// when no event says otherwise.
const recheckEvery = 30 * time.Second

// Options configure a Manager.
type Options struct {
	Logger *slog.Logger // nil: slog.Default()
	// StateDir holds, per interface, what is ours and what a userspace device
	// would lose with the process. It is made if missing and belongs on tmpfs
	// (/run). Empty: nothing is remembered, and after a restart everything on
	// a kernel device looks foreign.
	StateDir string
	Resolver Resolver // of endpoint names, nil: the system's
	// OnSight is told of data from a peer that had a session with another host; see
	// Watch. It must not block.
	OnSight func(device string, k wg.Key, from netip.AddrPort)
}

// Manager owns the WireGuard interfaces of this host. Its methods may be
// called from several goroutines; calls for one interface wait for each other,
// so that our writes never interrupt our dumps.
type Manager struct {
	log     *slog.Logger
	dir     string
	links   links
	kernel  *kernel // nil: this kernel has no WireGuard
	caps    Capabilities
	names   *names
	lookNow chan struct{}
	events  chan struct{}
	onSight func(device string, k wg.Key, from netip.AddrPort)
	tasks   tasks

	mu   sync.Mutex
	devs map[string]*dev
}

// Capabilities tell what this machine can do.
type Capabilities struct {
	Kernel       bool // the kernel has WireGuard
	RemovePrefix bool // and can remove one allowed IP (Linux 6.16); else a parking peer does
	Userspace    bool // /dev/net/tun can be opened
	Detail       string
}

// New opens what is needed to talk to the kernel and probes what it can do. It
// changes nothing that lasts; a scratch interface exists for a moment.
func New(o Options) (*Manager, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.StateDir != "" {
		if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
			return nil, fmt.Errorf("make state directory: %w", err)
		}
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", translate(err))
	}
	if o.OnSight == nil {
		o.OnSight = func(string, wg.Key, netip.AddrPort) {}
	}
	m := &Manager{
		onSight: o.OnSight,
		log:     o.Logger.With("edge", "wireguard"), dir: o.StateDir, links: links{h},
		lookNow: make(chan struct{}, 1), events: make(chan struct{}, 1), devs: map[string]*dev{},
	}
	m.names = newNames(o.Resolver, m.signal)
	m.kernel, m.caps = probe(m.links)
	m.tasks.ctx, m.tasks.cancel = context.WithCancel(context.Background())
	m.tasks.start(m.resolveTask)
	m.tasks.start(m.linkTask)
	m.tasks.start(m.saveTask)
	return m, nil
}

// Capabilities reports what New found.
func (m *Manager) Capabilities(context.Context) Capabilities { return m.caps }

// Events says "look again": an interface of ours was deleted, set down or
// recreated behind our back, or a name has another address. The receiver calls
// Apply with the latest plan. Signals are merged; they carry nothing.
func (m *Manager) Events() <-chan struct{} { return m.events }

func (m *Manager) signal() {
	select {
	case m.events <- struct{}{}:
	default:
	}
}

// Close ends the background work and the userspace devices. Kernel devices and
// everything on them stay.
func (m *Manager) Close() error {
	m.tasks.stop()
	m.saveAll(context.Background())
	for _, d := range m.all() {
		d.lock()
		d.tap.close()
		d.tap = nil
		if d.be != nil {
			d.be.close()
			d.be = nil
		}
		d.unlock()
	}
	if m.kernel != nil {
		m.kernel.close()
	}
	m.links.h.Close()
	return nil
}

// dev is one interface and what we know about it.
type dev struct {
	name  string
	sem   chan struct{} // held during any use
	dirty atomic.Bool   // an event says that it may not be as we left it

	be      backend // nil: not open
	own     *ownership
	want    wg.Device // as last applied, without peers
	gen     uint64
	table   *wg.Table // nil: must be read
	dead    []wg.Key  // wanted peers that are known to be dead (userspace)
	checked time.Time
	index   int
	mtu     int
	// restored are endpoints from before our restart (userspace).
	restored saved
	warnings []string // of opening, for as long as it is open
	problems []string // of the last check
	applied  wg.Applied
	kept     []byte // last content of the saved file
	keptAt   time.Time

	port      uint16 // it listens on
	watcher   *watcher
	tap       *tap // nil: none
	tapFailed bool // the last attempt, which was logged

	// watch is what the link events told last; guarded by Manager.mu.
	watch struct {
		index int
		up    bool
	}
}

func (d *dev) lock()   { d.sem <- struct{}{} }
func (d *dev) unlock() { <-d.sem }

func (d *dev) lockCtx(ctx context.Context) error {
	select {
	case d.sem <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// device finds or makes the record of an interface.
func (m *Manager) device(name string) *dev {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.devs[name]
	if d == nil {
		d = &dev{name: name, sem: make(chan struct{}, 1), own: openOwnership(m.dir, name), watcher: newWatcher(name, m.onSight)}
		m.devs[name] = d
	}
	return d
}

func (m *Manager) existing(name string) *dev {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.devs[name]
}

func (m *Manager) all() []*dev {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]*dev, 0, len(m.devs))
	for _, d := range m.devs {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *dev) int { return strings.Compare(a.name, b.name) })
	return out
}

// setWatch tells the link events what is right.
func (m *Manager) setWatch(d *dev, index int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d.watch.index, d.watch.up = index, true
}

// linkSeen handles one link event.
func (m *Manager) linkSeen(name string, index int, present, up bool) {
	m.mu.Lock()
	d := m.devs[name]
	look := d != nil && d.watch.index != 0 && (!present && index == d.watch.index || present && (index != d.watch.index || !up))
	if look {
		d.dirty.Store(true)
	}
	m.mu.Unlock()
	if look {
		m.signal()
	}
}

// addressLost handles an address that went away.
func (m *Manager) addressLost(index int) {
	m.mu.Lock()
	look := false
	for _, d := range m.devs {
		if d.watch.index == index {
			d.dirty.Store(true)
			look = true
		}
	}
	m.mu.Unlock()
	if look {
		m.signal()
	}
}

func (m *Manager) suspectAll() {
	for _, d := range m.all() {
		d.dirty.Store(true)
	}
}

// saveAll keeps what userspace devices would lose with the process, less often
// the more peers they have.
func (m *Manager) saveAll(ctx context.Context) {
	if m.dir == "" {
		return
	}
	for _, d := range m.all() {
		if d.lockCtx(ctx) != nil {
			return
		}
		m.save(d, ctx.Err() == nil && ctx != context.Background())
		d.unlock()
	}
}

func (m *Manager) save(d *dev, routine bool) {
	if d.be == nil || d.be.kind() != wg.BackendUserspace || !d.be.alive() {
		return
	}
	if routine && d.table != nil && time.Since(d.keptAt) < saveEvery*time.Duration(len(d.table.Peers()))/2000 {
		return
	}
	full, err := d.be.read(true)
	if err != nil {
		return
	}
	d.keptAt = time.Now()
	b := collectSaved(full, d.own).encode()
	if bytes.Equal(b, d.kept) {
		return
	}
	if err := writeFile(savedPath(m.dir, d.name), b); err != nil {
		m.log.Warn("endpoints could not be kept for a restart", "device", d.name, "err", err)
		return
	}
	d.kept = b
}

// errUnmanaged is the answer to questions about interfaces Apply never saw.
func errUnmanaged(name string) error { return fmt.Errorf("interface %s: %w", name, ErrNoDevice) }

var errNoWireGuard = errors.New("this kernel has no WireGuard; use backend auto or userspace")
