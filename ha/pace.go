package ha

import (
	"cmp"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// A heartbeat costs WireGuard more the less comes of it. To a living peer it is
// one packet. To a silent one it is a handshake (two Diffie-Hellman operations)
// that starts anew every 5 s as long as heartbeats go on, and every heartbeat is
// kept in case the handshake succeeds: 128 of them, 100 KB in the kernel, 8 MB
// in the embedded device, for each silent peer. One heartbeat alone does as much:
// WireGuard repeats the handshake for 100 s (MAX_TIMER_HANDSHAKES) and then
// forgets the packet. Hence
//
//   - a peer whose outer address is not known, or that is parked, gets none: it
//     could go nowhere;
//   - a dead peer gets one every deadEvery, more rarely when many are dead;
//   - every other peer gets them as configured, and so does one whose heartbeat
//     check stands: it may only fall by what it asked.
//
// A check that fell is healed by what is received, not by what is sent, and what
// a peer that comes back sends first brings its heartbeats back with the next
// poll. So only a dead peer that never speaks by itself may be found later: by
// the pause between the last retry and the next heartbeat.
const (
	// deadEvery lets WireGuard's retries end first: MAX_TIMER_HANDSHAKES+2 tries
	// REKEY_TIMEOUT and up to 334 ms apart are 107 s.
	deadEvery = 120 * time.Second
	// deadPerSecond bounds the heartbeats to all dead peers together: each is 20
	// handshakes. It is kept by doubling deadEvery, so that the pace seldom changes.
	deadPerSecond = 20
)

// pace is how often a site's heartbeat goes out.
type pace uint8

const (
	paceFull pace = iota
	paceSlow
	paceNone
)

// pacing decides, after an observation of the site's peer, on its heartbeat.
func (c *Core) pacing(s *siteState, p *wg.PeerState) {
	to := paceFull
	switch {
	case p == nil:
		to = s.firstPace() // about to be created
	case !p.Endpoint.IsValid() && !s.health.stands():
		to = paceNone
	case p.Endpoint == wg.Parked && s.health.fallen():
		to = paceNone
	case s.dead && s.health.fallen():
		to = paceSlow
	}
	if to == s.pace {
		return
	}
	if s.beats {
		c.probesOld, c.dirty = true, true
	}
	s.pace = to
}

// firstPace is that of a peer of which nothing is known: one without an endpoint
// in the configuration will have no address either. Ten thousand heartbeats at
// start would be handshakes for the next 100 s.
func (s *siteState) firstPace() pace {
	if s.cfg.Peer.Endpoint == (wg.Endpoint{}) {
		return paceNone
	}
	return paceFull
}

// stands reports whether a heartbeat check is up, or is taken to be.
func (h *health) stands() bool {
	return slices.ContainsFunc(h.list, func(c check) bool {
		return c.cfg.Kind == CheckHeartbeat && (c.level == levelUp || c.neutral)
	})
}

// fallen reports whether every heartbeat check is down.
func (h *health) fallen() bool {
	return !slices.ContainsFunc(h.list, func(c check) bool { return c.cfg.Kind == CheckHeartbeat && c.level != levelDown })
}

// siteProbe is a probe as configured and whose it is.
type siteProbe struct {
	site *siteState
	wg.Probe
}

// listProbes sorts the probes of all sites, once per configuration.
func (c *Core) listProbes() {
	c.allProbes = c.allProbes[:0:0]
	for _, s := range c.sites {
		s.beats = false
		for _, k := range s.cfg.Checks {
			if k.Probe.ID != "" {
				c.allProbes = append(c.allProbes, siteProbe{s, k.Probe})
				s.beats = s.beats || k.Probe.Kind == wg.ProbeHeartbeat
			}
		}
	}
	for i := range c.cfg.Confirms {
		if p := c.cfg.Confirms[i].Probe; p.ID != "" {
			c.allProbes = append(c.allProbes, siteProbe{nil, p})
		}
	}
	for _, p := range c.cfg.Guard.Anchors {
		c.allProbes = append(c.allProbes, siteProbe{Probe: p})
	}
	slices.SortFunc(c.allProbes, func(a, b siteProbe) int { return cmp.Compare(a.ID, b.ID) })
	c.probesOld = true
}

// refreshProbes lists the probes that are to be sent: not those of sites that the
// configuration disables. A site that only an order disabled goes on being
// measured, so that it is known what enabling it will bring.
func (c *Core) refreshProbes() {
	if !c.probesOld {
		return
	}
	c.probesOld = false
	dead := 0
	for _, s := range c.sites {
		if s.beats && s.pace == paceSlow {
			dead++
		}
	}
	slow := deadEvery
	for time.Duration(dead)*time.Second > slow*deadPerSecond {
		slow *= 2
	}
	out := make([]wg.Probe, 0, len(c.allProbes))
	for i := range c.allProbes {
		p := &c.allProbes[i]
		if p.site != nil && p.site.cfg.Disabled && p.site.disabled {
			continue
		}
		if p.Kind == wg.ProbeHeartbeat {
			switch p.site.pace {
			case paceNone:
				continue
			case paceSlow:
				q := p.Probe
				q.Interval = max(q.Interval, slow)
				out = append(out, q)
				continue
			}
		}
		out = append(out, p.Probe)
	}
	if !slices.Equal(out, c.probes) {
		c.probes = out
	}
}
