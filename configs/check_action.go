package configs

import (
	"fmt"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// checkActions judges what neighbors may ask for by community.
func (l *loader) checkActions() {
	seen := map[bgp.Community]*actionDoc{}
	groups := l.audiences()
	for _, a := range l.doc.Action {
		if !a.ok("community") || !a.has("community") {
			continue
		}
		c := a.Community.Community
		if slices.Contains(wellKnown, c) {
			l.wrong(&a.meta, "community", fmt.Sprintf("%s has a meaning of its own (RFC 1997, RFC 7999, RFC 8326), which is heeded without an action", c), "use a community of your own, such as \"65010:50\"")
		}
		if first := seen[c]; first != nil {
			l.wrong(&a.meta, "community", fmt.Sprintf("%s has an action already at %s", c, where(first.at("community"))), "join the two")
		} else {
			seen[c] = a
		}
		if a.LocalPref == 0 && a.Prepend == 0 && len(a.NoAnnounce) == 0 && a.ok("local-pref", "prepend", "no-announce") {
			l.wrong(&a.meta, "", fmt.Sprintf("nothing happens for community %s", c), "add local-pref, prepend or no-announce")
		}
		l.checkGroups(&a.meta, "no-announce", a.NoAnnounce, groups)
	}
	if len(l.doc.Action) > 0 && !l.heeded() {
		a := l.doc.Action[0]
		l.warn("W-UNUSED", a.problem("", "no neighbor may ask for anything", "add actions = true to the [site.neighbor] or [[neighbor]] that may"))
	}
}

func (l *loader) heeded() bool {
	return slices.ContainsFunc(l.doc.Site, func(s *siteDoc) bool { return s.Neighbor != nil && s.Neighbor.Actions }) ||
		slices.ContainsFunc(l.doc.Neighbor, func(n *neighborDoc) bool { return n.Actions })
}
