package gre

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// ensure makes one tunnel true and returns its interface as it is afterwards,
// with or without an error.
func (m *Manager) ensure(t tgwconnect.Tunnel) (*link, error) {
	l, err := linkByName(t.Name)
	if err != nil {
		return nil, err
	}
	if l != nil && !l.ours() {
		return nil, fmt.Errorf("interface %s exists and is not ours", t.Name)
	}
	if l != nil && !fits(t, l) {
		m.log.Info("tunnel is made anew", "tunnel", t.Name, "local", t.Local, "remote", t.Remote)
		m.stopUser(t.Name)
		if err := deleteLink(l); err != nil {
			return l, err
		}
		l = nil
	}
	if l == nil {
		m.stopUser(t.Name) // somebody deleted its device
	}
	if err := m.ensureBackend(t, l); err != nil {
		l, _ = linkByName(t.Name)
		return l, err
	}
	if l, err = linkByName(t.Name); err != nil || l == nil {
		return nil, errors.Join(err, errors.New("interface is gone again"))
	}
	wrote, err := configure(t, l)
	if wrote {
		if again, readErr := linkByName(t.Name); readErr == nil && again != nil {
			l = again
		}
	}
	if err == nil && !isLocal(t.Local) {
		err = errNoLocal(t.Local)
	}
	return l, err
}

// fits says whether an interface of ours can become the wanted tunnel by
// changes in place. Auto keeps the backend that is there: changing it would
// interrupt a working tunnel.
func fits(t tgwconnect.Tunnel, l *link) bool {
	if l.kind == kindTUN {
		return t.Backend != tgwconnect.BackendKernel
	}
	w := wantedAttrs(t)
	return t.Backend != tgwconnect.BackendUserspace && l.kind == w.kind() && l.gre.sameEnds(w)
}

func (m *Manager) ensureBackend(t tgwconnect.Tunnel, l *link) error {
	if l != nil && l.isGRE() {
		if w := wantedAttrs(t); l.gre != w {
			return changeKernel(l, w)
		}
		return nil
	}
	if l == nil && t.Backend != tgwconnect.BackendUserspace {
		err := createKernel(t.Name, wantedAttrs(t))
		if !errors.Is(err, errNoKernelGRE) || t.Backend == tgwconnect.BackendKernel {
			return err
		}
	}
	return m.ensureUser(t)
}

// ensureUser runs the userspace data path, attached to the standing device of
// an earlier process if there is one.
func (m *Manager) ensureUser(t tgwconnect.Tunnel) error {
	if u := m.user[t.Name]; u != nil {
		if !u.ended.Load() && u.serves(t) && u.off.right() {
			return nil
		}
		m.stopUser(t.Name)
	}
	// The socket first: without a local address nothing is made.
	outer, err := openOuter(t)
	if err != nil {
		return err
	}
	dev, err := openTUN(t.Name)
	if err != nil {
		outer.discard()
		return err
	}
	index := 0
	if err := func() error {
		l, err := linkByName(t.Name)
		if err != nil {
			return err
		}
		if l == nil {
			return errors.New("TUN is gone again")
		}
		index = l.index
		if l.alias == alias {
			return nil // adopted
		}
		if err := markOurs(l); err != nil {
			return err
		}
		return setPersistent(dev)
	}(); err != nil {
		outer.discard()
		_ = dev.Close()
		return err
	}
	off, err := openOffload(t, outer, index, m.plain)
	if err != nil {
		m.log.Info("tunnel works packet by packet", "tunnel", t.Name, "reason", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	u := newUserTunnel(t, dev, outer, off, m.log, m.poke)
	m.user[t.Name] = u
	u.start()
	return nil
}

// serves says whether the running socket is the one t needs.
func (u *userTunnel) serves(t tgwconnect.Tunnel) bool {
	return u.t.Local == t.Local && u.t.Remote == t.Remote && ttlOf(u.t) == ttlOf(t) && u.t.Mark == t.Mark
}

func (m *Manager) stopUser(name string) {
	if u := m.user[name]; u != nil {
		u.stop()
		delete(m.user, name)
	}
}

// configure writes what differs: MTU, VRF, up, addresses.
func configure(t tgwconnect.Tunnel, l *link) (wrote bool, err error) {
	var errs []error
	try := func(what string, err error) {
		wrote = true
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	h := l.handle()
	path, pathErr := 0, error(nil)
	switch {
	case t.MTU != 0:
	case !isLocal(t.Local):
		pathErr = errNoLocal(t.Local) // a route from it can not be asked for
	default:
		path, pathErr = pathMTU(t)
	}
	if pathErr != nil {
		errs = append(errs, pathErr) // the MTU stays as it is
	} else if mtu := tunnelMTU(t, path); mtu != l.mtu {
		try(fmt.Sprintf("set MTU %d", mtu), netlink.LinkSetMTU(h, mtu))
	}
	if master, err := vrfIndex(t.VRF); err != nil {
		errs = append(errs, err)
	} else if master != l.master {
		try("set VRF", netlink.LinkSetMasterByIndex(h, master))
	}
	if !l.up {
		try("set up", netlink.LinkSetUp(h))
	}
	have, err := addresses(h)
	if err != nil {
		return wrote, errors.Join(append(errs, err)...)
	}
	add, remove := addressDiff(have, t.Addresses)
	for _, p := range add {
		a := &netlink.Addr{IPNet: toIPNet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD // a point-to-point link has nobody to ask
		}
		try("add address "+p.String(), netlink.AddrAdd(h, a))
	}
	for _, a := range remove {
		try("remove address "+a.IPNet.String(), netlink.AddrDel(h, &a))
	}
	return wrote, joined(errs)
}

// vrfIndex is 0 for no VRF.
func vrfIndex(name string) (int, error) {
	if name == "" {
		return 0, nil
	}
	l, err := linkByName(name)
	switch {
	case err != nil:
		return 0, err
	case l == nil || l.kind != "vrf":
		return 0, fmt.Errorf("VRF %s does not exist", name)
	}
	return l.index, nil
}

func addresses(h netlink.Link) (list []netlink.Addr, err error) {
	for range 5 {
		if list, err = netlink.AddrList(h, netlink.FAMILY_ALL); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	return list, nil
}

// sweep removes interfaces of ours that are not wanted.
func (m *Manager) sweep() {
	wanted := func(name string) bool {
		return slices.ContainsFunc(m.want, func(t tgwconnect.Tunnel) bool { return t.Name == name })
	}
	for name := range m.user {
		if !wanted(name) {
			m.stopUser(name)
		}
	}
	links, err := allLinks()
	if err != nil {
		m.log.Warn("sweep", "err", err)
		return
	}
	for _, l := range links {
		if !l.ours() || wanted(l.name) {
			continue
		}
		if err := deleteLink(l); err != nil {
			m.log.Warn("sweep", "tunnel", l.name, "err", err)
			continue
		}
		m.log.Info("tunnel removed", "tunnel", l.name, "reason", "not wanted")
	}
}

// joined puts several errors on one line, for states and logs.
func joined(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	texts := make([]string, len(errs))
	for i, e := range errs {
		texts[i] = e.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}
