package ha

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// A group may have a limit of distinct prefixes, both families together: AWS takes
// 1,000 from a Connect peer and does not say what becomes of more. What exceeds the
// limit is held back, and the session stays. Who is in is decided in this order:
//
//  1. aggregates, which carry most for one place;
//  2. configured prefixes, then learned ones (what a remote site sends must not
//     push out what the operator wrote), that no aggregate told to the group covers;
//  3. then those that one covers, in the same order: their packets come anyway;
//  4. within each of these, first come, first served: since when the prefix could
//     be announced without interruption; prefix order between those of one plan.
//
// So a new prefix moves no other of its kind, one that recovers queues behind
// those that took its place, and when one goes, the one that waits longest takes
// its place. That the past counts here is deliberate: any order that looks at the
// present alone would let a newcomer push another prefix out.

// Levels of a quota.
const (
	QuotaBelow = ""
	QuotaNear  = "near" // 80 % or more
	QuotaOver  = "over" // something is held back
)

// Quota is how far the limit of one group is used.
type Quota struct {
	Group  string
	Limit  int
	Wanted int // prefixes that would be announced without the limit
	Level  string
	Since  time.Time // when Level became what it is
}

// groupLimit is the limit of one group and which families its members are told.
type groupLimit struct {
	group      string
	limit      int
	ipv4, ipv6 bool
	members    []*bgp.Neighbor
	detail     string // of what is held back
}

// hears reports whether any member is sent the announcement: not the one that it
// came from, and none whose ASN is in its path.
func (l *groupLimit) hears(a *bgp.Announcement) bool {
	if len(a.Except) == 0 && len(a.Attrs.ASPath) == 0 {
		return true
	}
	return slices.ContainsFunc(l.members, func(n *bgp.Neighbor) bool {
		return !slices.Contains(a.Except, n.Name) && (n.TellLoops || n.RemoteASN == 0 || !slices.Contains(a.Attrs.ASPath, n.RemoteASN))
	})
}

func (l *groupLimit) counts(e *entry) bool { return l.family(e.prefix.Addr().Is4()) }

func (l *groupLimit) family(four bool) bool {
	if four {
		return l.ipv4
	}
	return l.ipv6
}

// groupLimits finds the groups with a limit, by name. Members of a group are told
// the same, so the strictest of them decides.
func groupLimits(cfg *Config) []groupLimit {
	var out []groupLimit
	for i := range cfg.Neighbors {
		n := &cfg.Neighbors[i]
		if n.AnnounceLimit == 0 || !n.Export {
			continue
		}
		at := slices.IndexFunc(out, func(l groupLimit) bool { return l.group == n.Group })
		if at < 0 {
			at = len(out)
			out = append(out, groupLimit{group: n.Group, limit: int(n.AnnounceLimit)})
		}
		out[at].limit = min(out[at].limit, int(n.AnnounceLimit))
	}
	for i := range out {
		l := &out[i]
		l.detail = fmt.Sprintf("group %s is told %d prefixes at most", l.group, l.limit)
		for j := range cfg.Neighbors {
			if n := &cfg.Neighbors[j]; n.Group == l.group && n.Export {
				l.ipv4, l.ipv6 = l.ipv4 || n.IPv4, l.ipv6 || n.IPv6
				l.members = append(l.members, n)
			}
		}
	}
	slices.SortFunc(out, func(a, b groupLimit) int { return cmp.Compare(a.group, b.group) })
	return out
}

// count is the quotas when nothing needs to be held back, and whether that is so.
// Neighboring announcements share their audience, so that it costs little.
func (c *Core) count(ann []bgp.Announcement, last []Quota) (quotas []Quota, over bool) {
	if len(c.limits) == 0 {
		return nil, false
	}
	wanted := make([]int, len(c.limits))
	for i := 0; i < len(ann); {
		j := i + 1
		four := ann[i].Prefix.Addr().Is4()
		for j < len(ann) && same(ann[j].To, ann[i].To) && ann[j].Prefix.Addr().Is4() == four && ann[j].Attrs == ann[i].Attrs && same(ann[j].Except, ann[i].Except) {
			j++
		}
		for k := range c.limits {
			if l := &c.limits[k]; l.family(four) && told(ann[i].To, l.group) && l.hears(&ann[i]) {
				wanted[k] += j - i
				over = over || wanted[k] > l.limit
			}
		}
		i = j
	}
	return c.quotas(wanted, last), over
}

// quotas returns the last ones when nothing changed.
func (c *Core) quotas(wanted []int, last []Quota) []Quota {
	var out []Quota
	for i := range c.limits {
		l := &c.limits[i]
		q := Quota{Group: l.group, Limit: l.limit, Wanted: wanted[i], Since: c.now}
		switch {
		case q.Wanted > q.Limit:
			q.Level = QuotaOver
		case q.Wanted*10 >= q.Limit*8:
			q.Level = QuotaNear
		}
		for j := range last {
			if last[j].Group == q.Group && last[j].Level == q.Level {
				q.Since = last[j].Since
			}
		}
		out = append(out, q)
	}
	if slices.Equal(out, last) {
		return last
	}
	return out
}

// limit holds back what exceeds each group's limit.
func (s *sharing) limit(last []Quota) []Quota {
	c := s.w.c
	wanted := make([]int, len(c.limits))
	for k := range c.limits {
		l := &c.limits[k]
		s.keys = s.keys[:0]
		var cover *entry // an aggregate that the group is told
		var to []bgp.Export
		is := false // the group is told to
		for i := range s.offers {
			o := &s.offers[i]
			if !same(o.to, to) { // neighboring offers share their audience
				to, is = o.to, told(o.to, l.group)
			}
			if !is || !l.counts(o.e) || o.ann != nil && !l.hears(o.ann) {
				continue
			}
			covered := cover != nil && cover.prefix.Contains(o.e.prefix.Addr())
			if o.ann == nil && !covered {
				cover = o.e
			}
			s.keys = append(s.keys, s.place(o, covered)|uint64(i))
		}
		wanted[k] = len(s.keys)
		if len(s.keys) <= l.limit {
			continue
		}
		slices.Sort(s.keys)
		for _, key := range s.keys[l.limit:] {
			s.cut(&s.offers[key&placeMask], l.group, ReasonQuota, l.detail)
		}
	}
	return c.quotas(wanted, last)
}

// The place of an offer in the queue is a number: class, generation from which on
// it could be announced, and below placeBits its place in prefix order.
const (
	placeBits = 26
	placeMask = 1<<placeBits - 1
	genMask   = 1<<35 - 1
)

func (s *sharing) place(o *offer, covered bool) uint64 {
	if o.ann == nil {
		return 0
	}
	class := uint64(1)
	if len(o.e.paths) > 0 && s.w.c.claim(&s.cands, o.e).path != nil {
		class = 2
	}
	if covered {
		class += 2
	}
	return class<<61 | (o.e.out.from&genMask)<<placeBits
}
