package ha

import (
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// The allowed IPs of a site are the prefixes that the entries of the RIB have placed
// with it, and its link-local inner address. A pass collects for each site what it
// placed otherwise than the last one.

// own gives the prefix to one peer of each shared interface, and to the source
// check of each open one.
func (w *walker) own(e *entry) {
	if len(w.cands) == 1 && len(e.placed) == 1 && w.cands[0].site == e.placed[0].site && !w.cands[0].blocked {
		w.handOver(e)
		return // the ordinary case, without allocation
	}
	before := slices.Clone(e.placed)
	e.placed = e.placed[:0]
	keep := func(s *siteState) {
		p := placing{site: s, since: w.gen}
		for i := range before {
			switch b := &before[i]; {
			case b.site == s:
				p = *b
			case b.site.dev == s.dev && p.since == w.gen: // the route did not move
				p.via, p.left = b.via, b.left
				p.from, p.until = w.givers(b)
			}
		}
		e.placed = append(e.placed, p)
	}
	for i := range w.cands {
		k := &w.cands[i]
		if k.site == nil || k.blocked || k.site.dev == nil {
			continue
		}
		if slices.ContainsFunc(e.placed, func(p placing) bool {
			return p.site == k.site || (p.site.synced() && p.site.dev == k.site.dev)
		}) {
			continue
		}
		keep(k.site)
	}
	// A prefix that moves to another interface, or another host, stays with its peer
	// until the route has moved, and longer if its site may come back for it.
	for i := range before {
		s := before[i].site
		if s.dev == nil || slices.ContainsFunc(e.placed, func(p placing) bool { return p.site.dev == s.dev }) || !w.stays(&before[i]) {
			continue
		}
		keep(s)
	}
	w.handOver(e)
}

// reown tells sites what they gained and lost by the entry just planned, and
// reports whether any did.
func (w *walker) reown(e *entry) (moved bool) {
	for _, s := range w.owners {
		if e.placing(s) == nil {
			w.reallow(s, e.prefix, false)
			moved = true
		}
	}
	for i := range e.placed {
		if s := e.placed[i].site; !slices.Contains(w.owners, s) {
			w.reallow(s, e.prefix, true)
			moved = true
		}
	}
	return moved
}

// allowedChange is a prefix that a site gains or loses.
type allowedChange struct {
	prefix netip.Prefix
	gained bool
}

func (w *walker) reallow(s *siteState, p netip.Prefix, gained bool) {
	if len(s.changes) == 0 {
		w.moved = append(w.moved, s)
	}
	s.changes = append(s.changes, allowedChange{p, gained})
}

// takeChanges makes the allowed IPs those of the pass that ends.
func (w *walker) takeChanges() {
	for _, s := range w.moved {
		s.allowed = merged(s.allowed, s.changes, s.linkLocal())
		s.changes = s.changes[:0]
		if s.dev != nil {
			s.dev.peersOld = true
		}
		w.c.sourcesOld = w.c.sourcesOld || !s.synced()
	}
}

// merged is old with the changes, both by prefix. It never loses keep.
func merged(old []netip.Prefix, changes []allowedChange, keep netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(old)+len(changes))
	for _, c := range changes {
		n := 0
		for n < len(old) && bgp.ComparePrefix(old[n], c.prefix) < 0 {
			n++
		}
		out, old = append(out, old[:n]...), old[n:]
		if len(old) > 0 && old[0] == c.prefix {
			old = old[1:]
		}
		if c.gained || c.prefix == keep {
			out = append(out, c.prefix)
		}
	}
	return slices.Clip(append(out, old...))
}

func isLinkLocal(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }

// linkLocal is the link-local inner address of the site, invalid: none. These are no
// prefixes of the RIB: one address may belong to a site on each interface, and
// nothing is ever routed to it.
func (s *siteState) linkLocal() netip.Prefix {
	if a := s.cfg.Address6; isLinkLocal(a) && s.dev != nil {
		return netip.PrefixFrom(a.WithZone(""), a.BitLen())
	}
	return netip.Prefix{}
}

// inheritAllowed takes over the allowed IPs that the site had in the configuration
// before.
func (s *siteState) inheritAllowed(old *siteState) {
	now, was := s.linkLocal(), netip.Prefix{}
	if old != nil {
		s.allowed, was = old.allowed, old.linkLocal()
	}
	if now == was {
		return
	}
	for _, c := range []allowedChange{{was, false}, {now, true}} {
		if c.prefix.IsValid() {
			s.allowed = merged(s.allowed, []allowedChange{c}, netip.Prefix{})
		}
	}
}
