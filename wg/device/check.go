package device

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/wg"
)

// Check compares the interfaces as they are with want, changes nothing, and
// describes each difference in a line: the interface itself, its addresses,
// peers and allowed IPs. Entries of others and endpoints, which belong to
// roaming, are no difference. With complete also what earlier processes of ours
// left counts. The error names interfaces that could not be read.
func (m *Manager) Check(ctx context.Context, want []wg.Device, complete bool) ([]string, error) {
	var out []string
	for i := range want {
		lines, err := m.checkOne(ctx, &want[i], complete)
		if err != nil {
			return out, fmt.Errorf("check interface %s: %w", want[i].Name, err)
		}
		out = append(out, lines...)
	}
	if !complete {
		return out, nil
	}
	list, err := m.links.h.LinkList()
	if err != nil {
		return out, fmt.Errorf("list interfaces: %w", translate(err))
	}
	for _, l := range list {
		a := l.Attrs()
		if a.Alias == linkMark && !slices.ContainsFunc(want, func(d wg.Device) bool { return d.Name == a.Name }) {
			out = append(out, "not wanted: interface "+a.Name)
		}
	}
	return out, nil
}

func (m *Manager) checkOne(ctx context.Context, want *wg.Device, complete bool) ([]string, error) {
	missing := []string{"missing: interface " + want.Name}
	d := m.existing(want.Name)
	if d == nil {
		return missing, nil
	}
	if err := d.lockCtx(ctx); err != nil {
		return nil, err
	}
	defer d.unlock()
	link, err := m.links.find(want.Name)
	if err != nil {
		return nil, err
	}
	if link == nil || d.be == nil || !d.be.alive() || d.table == nil {
		return missing, nil
	}
	now, err := m.readRetry(d, true)
	if err != nil {
		return nil, err
	}
	var out []string
	differs := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("differs: interface "+want.Name+": "+format, args...))
	}
	a := link.Attrs()
	if mtu := m.mtu(d, want, a.MTU); a.MTU != mtu {
		differs("MTU is %d, want %d", a.MTU, mtu)
	}
	if a.Flags&net.FlagUp == 0 {
		differs("is down")
	}
	if !want.PrivateKey.IsZero() && now.PublicKey != want.PrivateKey.Public() {
		differs("has another private key")
	}
	if want.ListenPort != 0 && now.ListenPort != want.ListenPort {
		differs("listens on port %d, want %d", now.ListenPort, want.ListenPort)
	}
	if now.Mark != want.FirewallMark {
		differs("firewall mark is %#x, want %#x", now.Mark, want.FirewallMark)
	}
	err = m.links.vrf(link, want.VRF, true, func(what string, _ error) { differs("must %s", what) })
	if err != nil {
		differs("%v", err)
	}
	have, err := m.links.have(link)
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", translate(err))
	}
	return append(append(out, checkAddresses(want, have, d.own)...), checkPeers(want, now, d.own, complete)...), nil
}

func checkAddresses(want *wg.Device, have map[netip.Prefix]bool, own *ownership) []string {
	var out []string
	for _, p := range want.Addresses {
		if !have[p] {
			out = append(out, fmt.Sprintf("missing: address %s on interface %s", p, want.Name))
		}
	}
	var extra []netip.Prefix
	for p := range own.addrs {
		if have[p] && !slices.Contains(want.Addresses, p) {
			extra = append(extra, p)
		}
	}
	slices.SortFunc(extra, wg.CompareAllowed)
	for _, p := range extra {
		out = append(out, fmt.Sprintf("not wanted: address %s on interface %s", p, want.Name))
	}
	return out
}

// checkPeers asks the same comparison that Apply uses what it would do.
func checkPeers(want *wg.Device, now dump, own *ownership, complete bool) []string {
	delta := wg.Diff(want.Peers, now.table(own), wg.DiffOptions{Sweep: complete})
	var out []string
	at := func(k wg.Key) string { return fmt.Sprintf("peer %s on interface %s", peerName(want, k), want.Name) }
	for _, op := range delta.Ops {
		switch op.Kind {
		case wg.OpAddPeer:
			out = append(out, "missing: "+at(op.Peer))
		case wg.OpMovePrefix:
			out = append(out, fmt.Sprintf("missing: allowed IP %s of %s", op.Prefix, at(op.Peer)))
		case wg.OpSetPresharedKey:
			out = append(out, fmt.Sprintf("differs: %s: preshared key", at(op.Peer)))
		case wg.OpSetKeepalive:
			out = append(out, fmt.Sprintf("differs: %s: keepalive, want %s", at(op.Peer), op.Keepalive))
		case wg.OpDelPrefix:
			out = append(out, fmt.Sprintf("not wanted: allowed IP %s of %s", op.Prefix, at(op.Peer)))
		case wg.OpDelPeer:
			out = append(out, "not wanted: "+at(op.Peer))
		case wg.OpSetEndpoint: // roaming decides
		}
	}
	for _, b := range delta.Blocked {
		out = append(out, fmt.Sprintf("missing: allowed IP %s of %s: held by %s", b.Prefix, at(b.Peer), at(b.Holder)))
	}
	return out
}
