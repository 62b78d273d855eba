package device

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/wgbgp/wgbgp/wg"
)

// kernel is the connection to the kernel's WireGuard that all its devices
// share. One message at a time: the sockets are not safe for more, and the
// kernel takes one global lock for each anyway.
type kernel struct {
	mu  sync.Mutex
	ctl *wgctrl.Client
	nl  *genl
}

// probe finds out what this machine can do. It makes a scratch interface in
// our network namespace and deletes it at once.
func probe(l links) (*kernel, Capabilities) {
	var c Capabilities
	if fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
		_ = unix.Close(fd)
		c.Userspace = true
	}
	k, err := openKernel(l, &c)
	if err != nil {
		c.Detail = err.Error()
	}
	return k, c
}

func openKernel(l links, c *Capabilities) (*kernel, error) {
	name := fmt.Sprintf("wgprobe%d", os.Getpid()%100000000)
	scratch := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: name}, LinkType: "wireguard"}
	// Making one loads the module; the family alone may exist without rights.
	if err := l.h.LinkAdd(scratch); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			return nil, errNoWireGuard
		}
		return nil, fmt.Errorf("make a WireGuard interface: %w", translate(err))
	}
	defer func() { _ = l.h.LinkDel(scratch) }()
	nl, err := dialGenl()
	if err != nil {
		return nil, err
	}
	ctl, err := wgctrl.New()
	if err != nil {
		nl.close()
		return nil, translate(err)
	}
	c.Kernel = true
	k := &kernel{ctl: ctl, nl: nl}
	c.RemovePrefix = k.probeRemove(name)
	return k, nil
}

// probeRemove tries the remove flag on a peer that exists (for an unknown one
// old kernels do not read that far) and believes only the outcome. Linux 6.1
// answers EINVAL.
func (k *kernel) probeRemove(scratch string) bool {
	peer, p := randomKey(), netip.MustParsePrefix("192.0.2.1/32")
	b := &kernelBackend{k: k, name: scratch, removeFlag: true}
	if b.apply([]wg.Op{{Kind: wg.OpAddPeer, Peer: peer}, {Kind: wg.OpMovePrefix, Peer: peer, Prefix: p}}) != nil {
		return false
	}
	if b.apply([]wg.Op{{Kind: wg.OpDelPrefix, Peer: peer, Prefix: p}}) != nil {
		return false
	}
	d, err := b.read(true)
	return err == nil && len(d.Peers) == 1 && len(d.Peers[0].AllowedIPs) == 0
}

func randomKey() (k wg.Key) {
	_, _ = rand.Read(k[:]) // never fails, crypto/rand
	return k
}

func (k *kernel) close() {
	_ = k.ctl.Close()
	k.nl.close()
}

// create makes an interface marked as ours. The kernel's devices have no
// link-local address by themselves.
func (k *kernel) create(l links, name string) error {
	link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: name}, LinkType: "wireguard"}
	if err := l.h.LinkAdd(link); err != nil {
		return fmt.Errorf("make interface: %w", translate(err))
	}
	made, err := l.find(name)
	if err != nil || made == nil {
		return err
	}
	if err := l.h.LinkSetAlias(made, linkMark); err != nil {
		return fmt.Errorf("mark interface as ours: %w", translate(err))
	}
	return nil
}

func (k *kernel) device(name string, removeFlag bool) *kernelBackend {
	return &kernelBackend{k: k, name: name, removeFlag: removeFlag}
}

// kernelBackend is one device of the kernel. It outlives us.
type kernelBackend struct {
	k          *kernel
	name       string
	removeFlag bool
}

func (b *kernelBackend) kind() wg.Backend { return wg.BackendKernel }
func (b *kernelBackend) alive() bool      { return true }
func (b *kernelBackend) mtuChanged()      {}
func (b *kernelBackend) close()           {}

func (b *kernelBackend) read(full bool) (dump, error) {
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	return b.k.nl.dump(b.name, full)
}

func (b *kernelBackend) configure(c deviceConfig) error {
	return b.set(kernelConfig(c))
}

func (b *kernelBackend) set(c wgtypes.Config) error {
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	return translate(b.k.ctl.ConfigureDevice(b.name, c))
}

// apply splits by phase, because each kind of removal has a form of its own.
func (b *kernelBackend) apply(ops []wg.Op) error {
	for _, part := range batches(ops) {
		var err error
		switch {
		case part[0].Kind != wg.OpDelPrefix:
			err = b.set(peersConfig(part))
		case b.removeFlag:
			b.k.mu.Lock()
			err = translate(b.k.nl.set(removePrefixes(b.name, part)))
			b.k.mu.Unlock()
		default:
			err = b.set(parkingConfig(randomKey(), part))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func kernelConfig(c deviceConfig) wgtypes.Config {
	var out wgtypes.Config
	if c.PrivateKey != nil {
		k := wgtypes.Key(c.PrivateKey.Reveal())
		out.PrivateKey = &k
	}
	if c.ListenPort != nil {
		n := int(*c.ListenPort)
		out.ListenPort = &n
	}
	if c.Mark != nil {
		n := int(*c.Mark)
		out.FirewallMark = &n
	}
	return out
}

// peersConfig encodes additions and changes, or removals of peers, of at most
// one call. Neither ReplacePeers nor ReplaceAllowedIPs is ever set.
func peersConfig(ops []wg.Op) wgtypes.Config {
	var c wgtypes.Config
	for i := range ops {
		op := &ops[i]
		if n := len(c.Peers); n == 0 || c.Peers[n-1].PublicKey != wgtypes.Key(op.Peer) {
			c.Peers = append(c.Peers, wgtypes.PeerConfig{PublicKey: wgtypes.Key(op.Peer), UpdateOnly: op.Kind != wg.OpAddPeer})
		}
		p := &c.Peers[len(c.Peers)-1]
		switch op.Kind {
		case wg.OpAddPeer:
			if !op.PresharedKey.IsZero() {
				p.PresharedKey = psk(op.PresharedKey)
			}
			if op.Endpoint.IsValid() {
				p.Endpoint = net.UDPAddrFromAddrPort(op.Endpoint)
			}
			if op.Keepalive > 0 {
				p.PersistentKeepaliveInterval = &op.Keepalive
			}
		case wg.OpMovePrefix:
			p.AllowedIPs = append(p.AllowedIPs, ipNet(op.Prefix))
		case wg.OpSetPresharedKey:
			p.PresharedKey = psk(op.PresharedKey)
		case wg.OpSetEndpoint:
			p.Endpoint = net.UDPAddrFromAddrPort(op.Endpoint)
		case wg.OpSetKeepalive:
			p.PersistentKeepaliveInterval = &op.Keepalive
		case wg.OpDelPeer:
			p.Remove = true
		}
	}
	return c
}

func psk(p wg.PresharedKey) *wgtypes.Key {
	k := wgtypes.Key(p.Reveal())
	return &k
}

// parkingConfig removes single prefixes on kernels without the remove flag: in
// one message a peer with a random key takes them and is removed. In between
// it shadows a covering prefix of another peer for some microseconds, so it
// must never be left alive. One for the whole batch: a removal costs an RCU
// grace period.
func parkingConfig(park wg.Key, ops []wg.Op) wgtypes.Config {
	p := wgtypes.PeerConfig{PublicKey: wgtypes.Key(park)}
	for i := range ops {
		p.AllowedIPs = append(p.AllowedIPs, ipNet(ops[i].Prefix))
	}
	return wgtypes.Config{Peers: []wgtypes.PeerConfig{p, {PublicKey: wgtypes.Key(park), Remove: true}}}
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
