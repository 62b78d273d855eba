package ha

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// A roaming site sends to an address that several hosts may have. When that moves
// to another host, the site goes on in a session of which that host knows nothing,
// and there is no message that says so: WireGuard notices by itself 15 s later
// (KEEPALIVE_TIMEOUT + REKEY_TIMEOUT). The host may begin a session too, if it knows
// where the site is, and the hosts of a fleet tell each other (Roster). So this host
// greets a site, which is to send one handshake initiation,
//
//   - when the host that had it is believed dead, and nobody but us may follow: if
//     there are several, they would take the site from each other, and only the one
//     that its packets reach has the address;
//   - when its packets arrive here (PeerSighted), unless the host that had it goes
//     on hearing it: then somebody else sent them, in its name.
//
// Who can send in the name of others wins one initiation to an address that is known
// anyway, a few times in ten seconds.
const (
	// greetFor is how long a greeting is tried. Packets of the site begin another.
	greetFor = 10 * time.Second
	// greetAgain is the first pause between two tries, long enough for an answer
	// from nearly everywhere; each pause is twice the one before.
	greetAgain = 250 * time.Millisecond
	// greetSighted is the longest pause while packets of the site arrive.
	greetSighted = time.Second
	// kernelPatience is how long the packets of a site may take to arrive at a
	// host whose kernel runs WireGuard: that sends no second initiation for 5 s
	// (REKEY_TIMEOUT), so the first one must not come before the address does.
	kernelPatience = time.Second
	// sightingGap is a silence after which packets are news again.
	sightingGap = 3 * time.Second
	// quiet is for how long the host that had a site must not have heard it while
	// its packets arrive here: a poll, with allowance for the way.
	quiet = 900 * time.Millisecond
)

// Reasons to greet.
const (
	GreetTakeover = "takeover"
	GreetSighted  = "sighted"
)

type rosterKey struct{ device, host string }

// greeting is the present one of a site.
type greeting struct {
	endpoint netip.AddrPort
	why      string
	heard    time.Time // by the host that had it
	begun    time.Time // zero: there is none
	until    time.Time
	next     time.Time     // try
	last     time.Time     // try
	pause    time.Duration // after the next try
	try      uint64        // counts on in the next greeting
}

// sighting is since when packets of the site arrive that are not of a session here.
type sighting struct{ first, last time.Time }

// lastKnown is what the host says that heard the site last; nil: none has.
func (c *Core) lastKnown(s *siteState) (r *wg.Roster, w wg.Whereabouts) {
	for k, x := range c.rosters {
		if k.device != s.cfg.Device {
			continue
		}
		f := x.Find(s.cfg.Peer.Key)
		if f.Endpoint.IsValid() && (r == nil || f.Heard.After(w.Heard) || f.Heard.Equal(w.Heard) && x.Host < r.Host) {
			r, w = x, f
		}
	}
	return r, w
}

// heard is when this host has heard the site in a session; zero: never.
func (s *siteState) heard() time.Time { return later(s.health.tunnel.rxAt, s.health.tunnel.tokenAt) }

// inherit greets the sites that a dead host had.
func (c *Core) inherit(now time.Time, n *neighborState) {
	for _, s := range c.sites {
		if !s.cfg.Roams || s.disabled || s.dev == nil {
			continue
		}
		r, w := c.lastKnown(s)
		if r == nil || r.Host != n.cfg.Name || !w.Heard.After(s.heard()) || c.coheir(r) {
			continue
		}
		c.beginGreeting(now, s, w, GreetTakeover)
		if s.dev.seen.Backend == wg.BackendKernel {
			s.greeting.next = now.Add(kernelPatience)
		}
	}
}

// coheir reports whether another host is there that may follow a dead one.
func (c *Core) coheir(dead *wg.Roster) bool {
	for k, r := range c.rosters {
		if k.device == dead.Device && r.Host != dead.Host && c.speaks(r) {
			return true
		}
	}
	return false
}

// speaks reports whether the host of a roster is there and says so.
func (c *Core) speaks(r *wg.Roster) bool {
	n := c.neighbors[r.Host]
	return !r.Silent && n != nil && n.died.IsZero()
}

// stepSighted judges a packet of the site that belongs to no session of ours.
func (c *Core) stepSighted(now time.Time, f PeerSighted) {
	s := c.siteOf(f.Device, f.Key)
	if s == nil || !s.cfg.Roams || s.disabled || c.drain != DrainNone {
		return
	}
	r, w := c.lastKnown(s)
	if r == nil || w.Endpoint != f.From || !w.Heard.After(s.heard()) {
		return // it moved on, or has a session with us
	}
	if now.Sub(s.sighted.last) > sightingGap {
		s.sighted.first = now
	}
	s.sighted.last = now
	switch {
	case c.speaks(r) && r.Polled.Sub(later(w.Heard, s.sighted.first)) < quiet:
		// The host that had it still has it, or has not looked since.
	case s.greeting.begun.IsZero():
		c.beginGreeting(now, s, w, GreetSighted)
	default:
		if soon := s.greeting.last.Add(greetSighted); soon.Before(s.greeting.next) || s.greeting.last.IsZero() {
			s.greeting.next = later(soon, now)
			c.wake(s.greeting.next)
		}
	}
}

func (c *Core) siteOf(device string, k wg.Key) *siteState {
	d := c.devices[device]
	if d == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(d.sites, k, func(s *siteState, k wg.Key) int { return s.cfg.Peer.Key.Compare(k) })
	if !ok {
		return nil
	}
	return d.sites[i]
}

func (c *Core) beginGreeting(now time.Time, s *siteState, w wg.Whereabouts, why string) {
	if s.greeting.begun.IsZero() {
		c.greeted = append(c.greeted, s)
	}
	s.greeting = greeting{
		endpoint: w.Endpoint, why: why, heard: w.Heard, begun: now, until: now.Add(greetFor), next: now, pause: greetAgain, try: s.greeting.try,
	}
	s.parked, s.dev.peersOld = false, true
	c.dirty, c.urgent = true, true
}

// greet lists whom to greet, those first that were heard last. One that was heard
// here is greeted no more.
func (c *Core) greet(old []wg.Greeting) []wg.Greeting {
	now := c.now
	c.greeted = slices.DeleteFunc(c.greeted, func(s *siteState) bool {
		g := &s.greeting
		if s.heard().After(g.begun) || !now.Before(g.until) || s.disabled || s.dev == nil || !s.cfg.Roams {
			*g = greeting{try: g.try}
			return true
		}
		if !now.Before(g.next) {
			g.try, g.last, g.next, g.pause = g.try+1, now, now.Add(g.pause), 2*g.pause
		}
		if g.next.Before(g.until) {
			c.wake(g.next)
		} else {
			c.wake(g.until)
		}
		return false
	})
	slices.SortFunc(c.greeted, func(a, b *siteState) int {
		return cmp.Or(b.greeting.heard.Compare(a.greeting.heard), cmp.Compare(a.cfg.Name, b.cfg.Name))
	})
	var out []wg.Greeting
	for _, s := range c.greeted {
		if g := &s.greeting; !g.last.IsZero() {
			out = append(out, wg.Greeting{Device: s.cfg.Device, Key: s.cfg.Peer.Key, Endpoint: g.endpoint, Why: g.why, Try: g.try})
		}
	}
	if slices.Equal(old, out) {
		return old
	}
	return out
}

// forgetRosters drops what was said by hosts, or of interfaces, that are no more.
func (c *Core) forgetRosters() {
	for k := range c.rosters {
		n, d := c.neighbors[k.host], c.devices[k.device]
		if n == nil || n.cfg.Kind != bgp.KindFleet || d == nil || !d.cfg.SharedKey {
			delete(c.rosters, k)
		}
	}
}
