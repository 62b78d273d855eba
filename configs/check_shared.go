package configs

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/wg"
)

// checkShared judges a site on an interface whose key other hosts have too.
func (l *loader) checkShared(s *siteDoc, w *wireguardDoc) {
	if !w.SharedKey || !w.ok("shared-key") {
		return
	}
	if s.Endpoint.Endpoint != (wg.Endpoint{}) && s.ok("endpoint") {
		l.warn("W-SHARED", s.problem("endpoint", "every host with the key of interface "+w.name+" speaks to the site first, so that they take its one session from each other",
			"leave endpoint out and let the site dial, or give each host a key of its own"))
	}
	if !s.Heartbeat && s.ok("heartbeat") {
		l.warn("W-SHARED", s.problem("heartbeat", "without it this host does not notice that the site left for another one, and takes its session back", "set heartbeat = true"))
	}
}

// checkFleetPort keeps WireGuard off the port by which hosts with one key talk.
func (l *loader) checkFleetPort(w *wireguardDoc) {
	if w.SharedKey && w.ListenPort == wg.FleetPort && w.ok("listen-port") {
		l.wrong(&w.meta, "listen-port", fmt.Sprintf("by port %d hosts with one private key tell each other where peers are", wg.FleetPort),
			"set another port, such as 51820")
	}
}

// checkTarget finds probes that do not measure their own site: on a shared
// interface the longest allowed IP decides whom a packet goes to.
func (l *loader) checkTarget(s *siteDoc, w *wireguardDoc, p *probeDoc) {
	t := p.Target
	if w.Mode != "synced" || !t.IsGlobalUnicast() || !p.ok("target") || !s.ok("address", "prefixes", "allow") || slices.Contains(s.Address, t) {
		return
	}
	holds := func(x netip.Prefix) bool { return x.Contains(t) }
	learns := s.Neighbor != nil && slices.ContainsFunc(s.Allow, func(r prefixRule) bool { return r.Prefix.Contains(t) })
	if !slices.ContainsFunc(s.Prefixes, holds) && !learns {
		l.warn("W-TARGET", p.problem("target", fmt.Sprintf("%s is neither an address of site %s nor inside its prefixes, so that no packet for it goes to this site", t, s.Name),
			"probe an address of the site or behind it"))
		return
	}
	for _, o := range l.doc.Site {
		if o != s && o.Interface == s.Interface && s.Group != "" && o.Group == s.Group && slices.ContainsFunc(o.Prefixes, holds) {
			l.warn("W-TARGET", p.problem("target", fmt.Sprintf("while site %s holds the prefix, %s is asked by way of %s and says nothing about %s", o.Name, t, o.Name, s.Name),
				"probe an address of the site, or give the sites interfaces of their own"))
			return
		}
	}
}
