package gre

import (
	"fmt"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Check compares the tunnels as they are with want, changes nothing, and
// describes each difference in a line. With complete also interfaces of ours
// that want does not name count.
func (m *Manager) Check(want []tgwconnect.Tunnel, complete bool) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, t := range want {
		t.Local, t.Remote = t.Local.Unmap(), t.Remote.Unmap()
		l, err := linkByName(t.Name)
		if err != nil {
			return out, fmt.Errorf("check tunnel %s: %w", t.Name, err)
		}
		lines, err := m.checkOne(t, l)
		if err != nil {
			return out, fmt.Errorf("check tunnel %s: %w", t.Name, err)
		}
		out = append(out, lines...)
	}
	if !complete {
		return out, nil
	}
	links, err := allLinks()
	if err != nil {
		return out, err
	}
	for _, l := range links {
		wanted := func(name string) bool {
			for i := range want {
				if want[i].Name == name {
					return true
				}
			}
			return false
		}
		if l.ours() && !wanted(l.name) {
			out = append(out, "not wanted: tunnel "+l.name)
		}
	}
	return out, nil
}

func (m *Manager) checkOne(t tgwconnect.Tunnel, l *link) ([]string, error) {
	switch {
	case l == nil:
		return []string{"missing: tunnel " + t.Name}, nil
	case !l.ours():
		return []string{"missing: tunnel " + t.Name + ": an interface of that name is not ours"}, nil
	case !fits(t, l) || l.isGRE() && l.gre != wantedAttrs(t):
		return []string{"differs: tunnel " + t.Name + ": outer addresses, backend or TTL"}, nil
	}
	var out []string
	differs := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("differs: tunnel "+t.Name+": "+format, args...))
	}
	if u := m.user[t.Name]; l.kind == kindTUN && (u == nil || u.ended.Load() || !u.serves(t)) {
		differs("nobody forwards for it")
	}
	path, err := 0, error(nil)
	if t.MTU == 0 {
		path, err = pathMTU(t)
	}
	if mtu := tunnelMTU(t, path); err == nil && mtu != l.mtu {
		differs("MTU is %d, want %d", l.mtu, mtu)
	}
	if master, err := vrfIndex(t.VRF); err != nil || master != l.master {
		differs("is not in VRF %q", t.VRF)
	}
	if !l.up {
		differs("is down")
	}
	have, err := addresses(l.handle())
	if err != nil {
		return nil, err
	}
	add, remove := addressDiff(have, t.Addresses)
	for _, p := range add {
		out = append(out, fmt.Sprintf("missing: address %s on tunnel %s", p, t.Name))
	}
	for _, a := range remove {
		out = append(out, fmt.Sprintf("not wanted: address %s on tunnel %s", a.IPNet, t.Name))
	}
	return out, nil
}
