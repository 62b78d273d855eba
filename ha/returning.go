package ha

import (
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// A site hears our table as soon as its session is back, and sends by it at once.
// Its own table may be a second behind (FRR waits for company before the first
// update: bgp coalesce-time), and until that is here its packets come from addresses
// that are no allowed IPs of it. So what a site had when its session ended stays with
// its peer where another host of the fleet, or another link of the site, carries it
// meanwhile: routes decide where packets go. Where nobody does, the prefix leaves with
// its route, see leave.

// returnWait is how long the session of a site may be gone before it is not expected
// to come back as it was: the Restart Time that most use (RFC 4724 section 3).
const returnWait = 2 * time.Minute

// parted notes that a session has ended, be it that the next one stands already.
func (n *neighborState) parted(now time.Time, was *bgp.NeighborState) {
	if was.State == bgp.StateEstablished && (n.seen.State != bgp.StateEstablished || !n.seen.Since.Equal(was.Since)) {
		n.left = now
	}
}

// returning is until when the site may tell again what it told in a session that has
// ended. Zero: what it does not tell now it does not have.
func (s *siteState) returning() time.Time {
	n := s.neighbor
	switch {
	case n == nil || n.left.IsZero() || n.heardAll() && !n.losesSession():
		return time.Time{}
	case n.seen.State != bgp.StateEstablished || n.losesSession():
		return n.left.Add(returnWait)
	}
	return later(n.left, n.seen.Since).Add(quietAfter)
}

// stays reports whether the prefix must stay with its peer although nothing claims
// it for the site now.
func (w *walker) stays(p *placing) bool {
	if p.needed(w.routesGen) {
		return true
	}
	until := p.site.returning()
	if !w.now.Before(until) || slices.ContainsFunc(w.cands, p.site.givesWay) {
		return false
	}
	w.lingering = true
	w.c.wake(until)
	return true
}

// givesWay reports whether nothing is kept for the site beside that claim: another
// site's, or its own, which is blocked then.
func (s *siteState) givesWay(k candidate) bool {
	return k.site != nil && (k.site == s || s.cfg.Group == "" || k.site.cfg.Group != s.cfg.Group)
}
