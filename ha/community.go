package ha

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/wgbgp/wgbgp/bgp"
)

// What a neighbor asks for by community. Some of it may only cost the neighbor
// itself and is always heeded: NO_ADVERTISE and NO_EXPORT (RFC 1997), BLACKHOLE as
// far as it is not passed on (RFC 7999 section 3.2), and GRACEFUL_SHUTDOWN
// (RFC 8326): its path is the last choice, and others are told it with rank drain.
// Everything else needs the neighbor's actions or accept-blackhole, because a
// remote site is not trusted.

// wish is what the communities of a path come to. Nil: nothing.
type wish struct {
	text      string   // for the operator
	nobody    string   // name of the community for which nobody is told
	noExport  bool     // only iBGP is told
	deny      []string // groups that are not told, sorted
	prepend   uint8    // toward every Transit Gateway
	drain     bool
	blackhole bool // packets for it are dropped here
	fromTGW   bool // a host of the fleet has it from its Transit Gateway
}

// heeder makes the wishes of paths. Paths come in batches that share attributes,
// so that the last answer is often the next one too.
type heeder struct {
	actions []CommunityAction  // by community
	mark    bgp.LargeCommunity // see markTGW
	key     heedKey
	attrs   *bgp.Attrs
	wish    *wish
}

type heedKey struct {
	attrs              *bgp.Attrs
	actions, blackhole bool
	host               bool
	marked             bool // from a host of the fleet, and it has the mark
}

// heed returns the attributes that count for the path, and what else is asked.
func (h *heeder) heed(p *bgp.Path, from *bgp.Neighbor) (*bgp.Attrs, *wish) {
	if p.Attrs == nil || len(p.Attrs.Communities)+len(p.Attrs.Large) == 0 {
		return p.Attrs, nil
	}
	key := heedKey{p.Attrs, from.Actions, from.AcceptBlackhole, p.Prefix.IsSingleIP(), from.Kind == bgp.KindFleet && slices.Contains(p.Attrs.Large, h.mark)}
	if h.key != key {
		h.key = key
		h.attrs, h.wish = h.work(key)
	}
	return h.attrs, h.wish
}

func (h *heeder) work(k heedKey) (*bgp.Attrs, *wish) {
	var w wish
	var said []string
	asked := uint32(math.MaxUint32)
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	for _, c := range k.attrs.Communities {
		switch c {
		case bgp.NoAdvertise:
			w.nobody = "NO_ADVERTISE"
			say("NO_ADVERTISE: told to nobody")
		case bgp.NoExport:
			w.noExport = true
			say("NO_EXPORT: told to iBGP only")
		case bgp.Blackhole:
			w.nobody = "BLACKHOLE"
			if w.blackhole = k.blackhole && k.host; w.blackhole {
				say("BLACKHOLE: dropped here")
			} else {
				say("BLACKHOLE: told to nobody")
			}
		}
		if a := h.action(c); a != nil && k.actions {
			if a.LocalPref != 0 {
				asked = min(asked, a.LocalPref)
				say("%s: local preference %d", c, a.LocalPref)
			}
			if a.Prepend != 0 {
				w.prepend = max(w.prepend, a.Prepend)
				say("%s: prepend %d", c, a.Prepend)
			}
			if len(a.NoAnnounce) > 0 {
				w.deny = append(w.deny, a.NoAnnounce...)
				say("%s: not to %s", c, strings.Join(a.NoAnnounce, ", "))
			}
		}
	}
	if w.fromTGW = k.marked; k.marked {
		say("from its Transit Gateway: told to none here")
	}
	pref := k.attrs.LocalPref
	if asked < math.MaxUint32 {
		pref = asked
	}
	// After the actions, whatever they say: who leaves is the last choice.
	if w.drain = slices.Contains(k.attrs.Communities, bgp.GracefulShutdown); w.drain {
		pref = 0
		say("GRACEFUL_SHUTDOWN: local preference 0")
	}
	if len(said) == 0 {
		return k.attrs, nil
	}
	slices.Sort(w.deny)
	w.deny, w.text = slices.Compact(w.deny), strings.Join(said, "; ")
	if pref == k.attrs.LocalPref && !k.marked {
		return k.attrs, &w
	}
	attrs := *k.attrs
	attrs.LocalPref = pref
	if k.marked { // it means something between us only
		attrs.Large = slices.DeleteFunc(slices.Clone(attrs.Large), func(c bgp.LargeCommunity) bool { return c == h.mark })
	}
	return &attrs, &w
}

func (h *heeder) action(c bgp.Community) *CommunityAction {
	i, ok := slices.BinarySearchFunc(h.actions, c, func(a CommunityAction, c bgp.Community) int { return int(int64(a.Community) - int64(c)) })
	if !ok {
		return nil
	}
	return &h.actions[i]
}

// heed gives a path that was received what its communities ask for.
func (l *learned) heed(h *heeder) {
	l.Path.Attrs = l.received
	l.wish = nil
	if l.from != nil {
		l.Path.Attrs, l.wish = h.heed(&l.Path, l.from.cfg)
	}
}

// fromTGW reports whether a host of the fleet has it from its Transit Gateway.
func (k *candidate) fromTGW() bool { return k.path != nil && k.path.wish != nil && k.path.wish.fromTGW }

// wish is what the candidate's neighbor asks for, nil if nothing.
func (k *candidate) wish() *wish {
	if k.path == nil {
		return nil
	}
	return k.path.wish
}

// audience is who is told of the candidate, by its rank and by what its neighbor
// asks for.
func (w *walker) audience(e *entry, k *candidate) []bgp.Export {
	t := &w.c.exports
	rank := w.rankAt(e, k)
	to := t.get(exportKey{k.kind(), k.fromTGW(), rank})
	if s := w.standsBy(e); s != nil && rank == RankRemote {
		to = t.second
		w.holdLess(s, "the fleet is told that it could")
	}
	if len(to) == 0 && k.site != nil {
		w.hold(e, k, ReasonNoAudience, "")
	}
	x := k.wish()
	if x == nil {
		return to
	}
	deny := func(group, detail string) {
		if len(to) > 0 && told(to, group) {
			to = t.without(to, group)
			w.hold(e, k, ReasonCommunity, detail)
			w.held[len(w.held)-1].Group = group
		}
	}
	for _, g := range x.deny {
		deny(g, x.text)
	}
	if x.noExport {
		for _, g := range t.external {
			deny(g, "NO_EXPORT")
		}
	}
	if x.prepend > 0 && len(to) > 0 {
		to = t.prepended(to, x.prepend)
	}
	return to
}
