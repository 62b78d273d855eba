package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Lab is a set of hosts with their links and programs. Make it only in a
// process for which Setup has run.
type Lab struct {
	dir string

	mu    sync.Mutex
	hosts []*Host
	procs []*Process // in the order of their start
}

// New makes an empty lab that keeps its files (logs, configurations) in a new
// directory under the system's temporary directory.
func New() (*Lab, error) {
	dir, err := os.MkdirTemp("", "wgbgp-lab-")
	if err != nil {
		return nil, err
	}
	// Daemons with users of their own must reach their files; secrets among the
	// files have their own modes (Host.File).
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	return &Lab{dir: dir}, nil
}

// Dir is where the lab keeps its files.
func (l *Lab) Dir() string { return l.dir }

// Close kills every program, the latest first, removes the hosts and, unless
// keepFiles is set, the lab's directory. Programs whose orderly end matters are
// stopped before (Process.Stop).
func (l *Lab) Close(keepFiles bool) error {
	l.mu.Lock()
	procs, hosts := slices.Clone(l.procs), l.hosts
	l.procs, l.hosts = nil, nil
	l.mu.Unlock()
	var errs []error
	for _, p := range slices.Backward(procs) {
		errs = append(errs, p.Kill())
	}
	for _, h := range hosts {
		errs = append(errs, h.close())
	}
	if !keepFiles {
		errs = append(errs, os.RemoveAll(l.dir))
	}
	return errors.Join(errs...)
}

// Host makes a host with a network namespace and a /run of its own.
func (l *Lab) Host(name string) (*Host, error) {
	h, err := NewHost(name, true)
	if err != nil {
		return nil, err
	}
	h.lab, h.dir = l, filepath.Join(l.dir, name)
	if err := os.Mkdir(h.dir, 0o755); err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.hosts = append(l.hosts, h)
	l.mu.Unlock()
	return h, nil
}

// End is one end of a link. A nil Host is the isolated namespace itself.
type End struct {
	Host   *Host
	Device string
	// Addresses are in CIDR form; IPv6 ones are usable at once (no duplicate
	// address detection).
	Addresses []string
	MTU       int // 0: 1500
}

// Link joins two hosts by a veth pair.
func Link(a, b End) error {
	what := fmt.Sprintf("link %s %s - %s %s", a.Host.Name(), a.Device, b.Host.Name(), b.Device)
	nsA, err := a.Host.netns()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = nsA.Close() }()
	nsB, err := b.Host.netns()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = nsB.Close() }()

	err = a.Host.Netlink(func(nl *netlink.Handle) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = a.Device
		return nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: b.Device, PeerNamespace: netlink.NsFd(int(nsB.Fd()))})
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, step := range []func(End) error{End.configure, End.awaitCarrier} {
		for _, e := range []End{b, a} {
			if err := step(e); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
	}
	return nil
}

func (e End) configure() error {
	return e.Host.Netlink(func(nl *netlink.Handle) error {
		link, err := nl.LinkByName(e.Device)
		if err != nil {
			return err
		}
		if e.MTU != 0 {
			if err := nl.LinkSetMTU(link, e.MTU); err != nil {
				return fmt.Errorf("mtu %d: %w", e.MTU, err)
			}
		}
		// Up first: the route of an IPv6 address that was added before is made
		// when the link comes up, and sometimes was not when both ends did at once.
		if err := nl.LinkSetUp(link); err != nil {
			return err
		}
		for _, s := range e.Addresses {
			if err := addAddress(nl, link, s); err != nil {
				return err
			}
		}
		return nil
	})
}

// carrierWithin is ample: the kernel needs milliseconds, on a busy machine more.
const carrierWithin = 10 * time.Second

// awaitCarrier waits until the kernel has noted that the other end is up. That is
// the work of a thread of its own (net/core/link_watch.c), and before it the end
// that came up first drops what it should send, without a word. Newer kernels do
// that work when they are asked (rtnl_getlink).
func (e End) awaitCarrier() error {
	return e.Host.Netlink(func(nl *netlink.Handle) error {
		for end := time.Now().Add(carrierWithin); ; time.Sleep(time.Millisecond) { // between tries of a bounded wait
			link, err := nl.LinkByName(e.Device)
			if err != nil {
				return err
			}
			state := link.Attrs().OperState
			if state == netlink.OperUp {
				return nil
			}
			if time.Now().After(end) {
				return fmt.Errorf("%s is %s for %s", e.Device, state, carrierWithin)
			}
		}
	})
}

func addAddress(nl *netlink.Handle, link netlink.Link, cidr string) error {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(cidr)
	if err != nil {
		return err
	}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	} else {
		a.Broadcast = nil
	}
	if err := nl.AddrAdd(link, a); err != nil {
		return fmt.Errorf("address %s: %w", cidr, err)
	}
	return nil
}
