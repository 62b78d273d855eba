package configs

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// Defaults that FRR has too: dead after 900 ms.
const (
	bfdInterval   = 300 * time.Millisecond
	bfdMultiplier = 3
)

// siteBFD is the BFD session of a site: that of its neighbor, or without BGP its
// own. It has the site's name in both cases.
func (d *document) siteBFD(s *siteDoc) (bgp.BFDSession, bool) {
	b := bgp.BFDSession{Name: s.Name, Device: s.Interface}
	switch n := s.Neighbor; {
	case n != nil && n.BFD:
		b.Address, b.LocalAddress = n.Address, n.LocalAddress
		b.Interval, b.Multiplier, b.Strict = n.BFDInterval, n.BFDMultiplier, n.BFDStrict
	case n == nil && s.BFD && len(s.Address) > 0:
		b.Address = zoned(s.Address[0], s.Interface)
		if w := d.WireGuard[s.Interface]; w != nil {
			b.LocalAddress = zoned(w.inner(b.Address), s.Interface)
		}
		b.Interval, b.Multiplier, b.Strict = s.BFDInterval, s.BFDMultiplier, s.BFDStrict
	default:
		return b, false
	}
	return b, true
}

// sessionsBFD lists all sessions by name.
func (d *document) sessionsBFD() []bgp.BFDSession {
	var out []bgp.BFDSession
	for _, s := range d.Site {
		if b, ok := d.siteBFD(s); ok {
			out = append(out, b)
		}
	}
	for _, n := range d.Neighbor {
		if n.BFD {
			out = append(out, bgp.BFDSession{
				Name: n.Name, Address: n.Address, LocalAddress: n.LocalAddress, Device: n.Device,
				Interval: n.BFDInterval, Multiplier: n.BFDMultiplier, Strict: n.BFDStrict,
			})
		}
	}
	slices.SortFunc(out, func(a, b bgp.BFDSession) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (l *loader) checkSiteBFD(s *siteDoc) {
	n := s.Neighbor
	if n != nil && n.BFD {
		l.checkGracefulBFD(&n.meta, n.GracefulRestart)
	}
	if !s.BFD || !s.ok("bfd") {
		return
	}
	switch {
	case n != nil:
		l.wrong(&s.meta, "bfd", "the site has a BGP neighbor, and one session watches both", "write it into [site.neighbor]")
	case len(s.Address) == 0 && s.ok("address"):
		l.wrong(&s.meta, "bfd", "the site has no address to have a session with", "add address to the site, such as address = [\"10.255.0.2\"]")
	}
}

func (l *loader) checkNeighborBFD(n *neighborDoc) {
	if !n.BFD || !n.ok("bfd") {
		return
	}
	if n.Range.IsValid() {
		l.wrong(&n.meta, "bfd", "BFD needs to know the neighbor's address, and this one is whoever dials from a range", "remove it, or give the neighbor a table of its own with address")
	}
	if n.MultihopTTL > 1 {
		l.wrong(&n.meta, "bfd", fmt.Sprintf("BFD is for directly connected neighbors (RFC 5881), and multihop-ttl is %d", n.MultihopTTL),
			"remove one of them; the hold time watches the session")
	}
	l.checkGracefulBFD(&n.meta, n.GracefulRestart)
}

// checkGracefulBFD: one keeps what the other takes away (AC-24).
func (l *loader) checkGracefulBFD(m *meta, graceful bool) {
	if graceful {
		l.warn("W-BFD-GR", m.problem("graceful-restart", "it keeps the neighbor's routes while its BGP restarts, and BFD takes them away when the neighbor falls silent: BFD wins, so that a restart which takes its BFD along costs the routes",
			"keep graceful-restart without bfd, or bfd alone"))
	}
}
