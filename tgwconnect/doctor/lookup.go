package doctor

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// addresses are those that are known to be on this host.
func (f *Facts) addresses() []netip.Addr {
	var out []netip.Addr
	for _, i := range f.Host.Interfaces {
		for _, p := range i.Addresses {
			out = append(out, p.Addr())
		}
	}
	for _, s := range f.AWS.Self.Values {
		for _, i := range s.Interfaces {
			out = append(out, i.Addresses...)
		}
	}
	return out
}

// knowsHost says whether "ours" can be told from others'.
func (f *Facts) knowsHost() bool {
	return len(f.Host.Interfaces) > 0 || len(f.AWS.Self.Values) > 0 || f.Daemon.Config != nil
}

// configured is the [[tgw-connect]] that means this Connect peer. An inside block
// alone does not: other Transit Gateways may use the same.
func (f *Facts) configured(p tgwconnect.Peer) *tgwconnect.ConnectPeer {
	if f.Daemon.Config == nil {
		return nil
	}
	for i, c := range f.Daemon.Config.Connect {
		outer := c.Remote == p.TransitGatewayAddress || c.Local == p.PeerAddress || c.Local == p.TransitGatewayAddress
		if outer && (c.Inside4 == p.Inside4 || c.Remote == p.TransitGatewayAddress && c.Local == p.PeerAddress) {
			return &f.Daemon.Config.Connect[i]
		}
	}
	return nil
}

func live(state string) bool { return state != "deleted" && state != "deleting" }

// peers are the Connect peers of this host; of all hosts where nothing is known of
// this one, as on an operator's own machine.
func (f *Facts) peers() []tgwconnect.Peer {
	var out []tgwconnect.Peer
	addrs := f.addresses()
	for _, p := range f.AWS.Peers.Values {
		if !live(p.State) {
			continue
		}
		if !f.knowsHost() || slices.Contains(addrs, p.PeerAddress) || f.configured(p) != nil {
			out = append(out, p)
		}
	}
	return out
}

// connectOf is the attachment of a Connect peer; transport is its VPC attachment.
func (f *Facts) connectOf(p tgwconnect.Peer) tgwconnect.Connect {
	return find(f.AWS.Connects.Values, func(c tgwconnect.Connect) bool { return c.ID == p.AttachmentID })
}

func (f *Facts) gatewayOf(p tgwconnect.Peer) tgwconnect.TransitGateway {
	id := f.connectOf(p).TransitGatewayID
	return find(f.AWS.Gateways.Values, func(g tgwconnect.TransitGateway) bool { return g.ID == id })
}

// connects are the Connect attachments of this host's peers.
func (f *Facts) connects() []tgwconnect.Connect {
	var out []tgwconnect.Connect
	for _, p := range f.peers() {
		if c := f.connectOf(p); c.ID != "" && !slices.ContainsFunc(out, func(o tgwconnect.Connect) bool { return o.ID == c.ID }) {
			out = append(out, c)
		}
	}
	return out
}

// interfaceOf is the network interface that holds an address.
func (f *Facts) interfaceOf(a netip.Addr) tgwconnect.Interface {
	return find(f.AWS.Interfaces.Values, func(i tgwconnect.Interface) bool { return slices.Contains(i.Addresses, a) })
}

// interfaces are this host's network interfaces.
func (f *Facts) interfaces() []tgwconnect.Interface {
	addrs := f.addresses()
	var out []tgwconnect.Interface
	for _, i := range f.AWS.Interfaces.Values {
		mine := slices.ContainsFunc(i.Addresses, func(a netip.Addr) bool { return slices.Contains(addrs, a) })
		mine = mine || slices.ContainsFunc(f.peers(), func(p tgwconnect.Peer) bool { return slices.Contains(i.Addresses, p.PeerAddress) })
		if mine {
			out = append(out, i)
		}
	}
	return out
}

// tunnels are the kernel's GRE interfaces and those that the daemon runs itself.
func (f *Facts) tunnels() []Tunnel {
	out := slices.Clone(f.Host.Tunnels)
	for _, t := range f.Daemon.Status.Tunnels {
		if slices.ContainsFunc(out, func(o Tunnel) bool { return o.Name == t.Name }) {
			continue
		}
		i := find(f.Host.Interfaces, func(i Interface) bool { return i.Name == t.Name })
		out = append(out, Tunnel{Name: t.Name, Local: t.Local, Remote: t.Remote, MTU: t.MTU, Addresses: i.Addresses})
	}
	return out
}

// tunnelsGap says why tunnels can not be judged.
func (f *Facts) tunnelsGap() string {
	if len(f.tunnels()) > 0 {
		return ""
	}
	if f.Host.Gap != "" {
		return "this host: " + f.Host.Gap
	}
	if f.Host.TunnelsGap != "" && f.Daemon.Gap != "" {
		return "tunnels: " + f.Host.TunnelsGap
	}
	return ""
}

// sessions are the daemon's sessions with a Connect peer, by its hosts 2 and 3.
func (f *Facts) sessions(p tgwconnect.Peer) []api.Neighbor {
	var out []api.Neighbor
	for _, n := range f.Daemon.Neighbors {
		if p.Inside4.IsValid() && p.Inside4.Contains(n.Address) {
			out = append(out, n)
		}
	}
	return out
}

// tgwSessions are all of the daemon's sessions with a Transit Gateway.
func (f *Facts) tgwSessions() []api.Neighbor {
	var out []api.Neighbor
	for _, n := range f.Daemon.Neighbors {
		if n.Kind == "tgw" {
			out = append(out, n)
		}
	}
	return out
}

// announced are the paths that Transit Gateways are sent, by prefix.
func (f *Facts) announced() map[netip.Prefix][]api.Path {
	out := map[netip.Prefix][]api.Path{}
	for _, n := range f.tgwSessions() {
		for _, p := range f.Daemon.AdjOut[n.Name].Paths {
			p.Neighbor = n.Name
			out[p.Prefix] = append(out[p.Prefix], p)
		}
	}
	return out
}

// tables are the TGW route tables that this host's attachments propagate to; all
// that were read where that is not known.
func (f *Facts) routes() []TableRoute {
	var tables []string
	for _, p := range f.AWS.Propagations.Values {
		if slices.ContainsFunc(f.connects(), func(c tgwconnect.Connect) bool { return c.ID == p.AttachmentID }) {
			tables = append(tables, p.RouteTableID)
		}
	}
	if len(tables) == 0 {
		return f.AWS.Routes.Values
	}
	var out []TableRoute
	for _, r := range f.AWS.Routes.Values {
		if slices.Contains(tables, r.TableID) {
			out = append(out, r)
		}
	}
	return out
}

func via(r tgwconnect.TGWRoute) string {
	var out []string
	for _, v := range r.Via {
		out = append(out, v.ResourceType+" "+v.AttachmentID)
	}
	if r.PrefixListID != "" {
		out = append(out, "prefix list "+r.PrefixListID)
	}
	if len(out) == 0 {
		return r.State
	}
	return strings.Join(out, ", ")
}

func find[T any](list []T, ok func(T) bool) (zero T) {
	for _, v := range list {
		if ok(v) {
			return v
		}
	}
	return zero
}

func sortedPrefixes[V any](m map[netip.Prefix]V) []netip.Prefix {
	var out []netip.Prefix
	for p := range m {
		out = append(out, p)
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out
}

func covers(p netip.Prefix, a netip.Addr) bool { return p.IsValid() && p.Contains(a) }

// delta is how far a counter moved between both readings; since is its value now.
func (h *Host) delta(name string) (moved, since uint64, read bool) {
	after, ok := h.After[name]
	if !ok {
		return 0, 0, false
	}
	before, ok := h.Before[name]
	if !ok || before > after {
		return 0, after, true
	}
	return after - before, after, true
}

func (f *Facts) hostGap() string {
	if f.Host.Gap != "" {
		return "this host: " + f.Host.Gap
	}
	return ""
}

func (f *Facts) daemonGap() string {
	if f.Daemon.Gap != "" {
		return "the daemon: " + f.Daemon.Gap
	}
	return ""
}

func (f *Facts) configGap() string {
	if f.Daemon.Config == nil {
		if f.Daemon.ConfigGap != "" {
			return "the configuration: " + f.Daemon.ConfigGap
		}
		return "the configuration was not read"
	}
	return ""
}
