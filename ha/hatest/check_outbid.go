package hatest

import (
	"time"

	"github.com/wgbgp/wgbgp/ha"
)

// outbids watches a prefix that two hosts of a region both outbid the dead for.
func (c *checker) outbids(r *region, p int32, at int) {
	two := 0
	for i := range r.paths[p] {
		if a := r.paths[p][i].attrs; a.HasMED && a.MED == ha.DefaultRanks()[ha.RankTakeover].MED {
			two++
		}
	}
	s := &c.outbid[at]
	if two < 2 {
		*s = -1
		return
	}
	if *s < 0 {
		*s = c.w.now
		c.outbidStill(r, p, s)
	}
}

// outbidStill comes back to such a prefix. Each death of a host is outbid for its
// own time.
func (c *checker) outbidStill(r *region, p int32, s *time.Duration) {
	w, since := c.w, *s
	from := func() time.Duration { return max(since, c.lastDeath(r), c.lastTrouble()) }
	w.after(from()+outbidBound-w.now, func() {
		switch {
		case *s != since:
		case w.now-from() < outbidBound:
			c.outbidStill(r, p, s)
		default:
			c.fail(OneSpeaker, "two hosts of region %d outbid others for %s since %v", r.id, w.prefixes[p], since)
		}
	})
}

// lastDeath is when a host of the region was last lost to another one.
func (c *checker) lastDeath(r *region) time.Duration {
	t := time.Duration(0)
	for _, h := range c.w.hosts {
		if h.region == r {
			t = max(t, h.died)
		}
	}
	for _, x := range c.w.fleet {
		if x.ends[0].region == r && x.ends[1].region == r && !x.works {
			t = max(t, x.since)
		}
	}
	return t
}
