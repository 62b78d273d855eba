package configs

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// checkAggregates judges aggregates. A blackhole may cover the outer address of a
// tunnel, whose packets are marked and never see our routes, but not what a host
// reaches by its default route.
func (l *loader) checkAggregates() {
	seen := map[netip.Prefix]*aggregateDoc{}
	groups := l.audiences()
	for _, a := range l.doc.Aggregate {
		l.checkAggregatePrefix(a)
		if first := seen[a.Prefix]; first != nil && a.ok("prefix") {
			l.wrong(&a.meta, "prefix", fmt.Sprintf("%s is an aggregate already at %s", a.Prefix, where(first.at("prefix"))), "remove one of them")
		} else {
			seen[a.Prefix] = a
		}
		switch {
		case len(a.To) == 0 && a.has("to"):
			l.wrong(&a.meta, "to", "nobody is told", "name neighbor groups, or leave it out for every tgw-connect and Route Server")
		case len(a.To) == 0 && a.ok("to"):
			l.wrong(&a.meta, "to", "there is no tgw-connect and no Route Server to tell", "name neighbor groups: to = [\"routers\"]")
		}
		l.checkGroups(&a.meta, "to", a.To, groups)
	}
}

func (l *loader) checkAggregatePrefix(a *aggregateDoc) {
	p := a.Prefix
	if !p.IsValid() || !a.ok("prefix") {
		return
	}
	if why := unroutable(p); why != "" && !slices.Contains(l.doc.FIB.Permit, p) {
		l.wrong(&a.meta, "prefix", fmt.Sprintf("%s %s, and the blackhole under it would take that", p, why), "use a longer prefix, or name exactly this prefix in permit of [fib] if it is meant")
	}
	if p.IsSingleIP() {
		l.wrong(&a.meta, "prefix", fmt.Sprintf("%s is one address, which nothing more specific can be in", p), "use a shorter prefix")
	}
	for _, s := range l.doc.Site {
		if i := slices.Index(s.Prefixes, p); i >= 0 && s.ok("prefixes") {
			l.wrong(&a.meta, "prefix", fmt.Sprintf("%s is a prefix of site %s (%s), which announces it itself", p, s.Name, where(s.at("prefixes", i))), "remove one of them")
		}
	}
}

// audiences lists the neighbor groups that there are, sorted.
func (l *loader) audiences() []string {
	var out []string
	for _, c := range l.doc.Connect {
		out = append(out, c.Name)
	}
	for _, s := range l.doc.Site {
		if s.Neighbor != nil {
			out = append(out, s.Neighbor.Group)
		}
	}
	for _, n := range l.doc.Neighbor {
		out = append(out, n.Group)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// checkGroups refuses the names of groups that have no neighbor.
func (l *loader) checkGroups(m *meta, key string, groups, known []string) {
	if !m.ok(key) {
		return
	}
	for i, g := range groups {
		l.checkOneGroup(m, key, g, known, i)
	}
}

func (l *loader) checkOneGroup(m *meta, key, group string, known []string, index ...int) {
	if slices.Contains(known, group) {
		return
	}
	cure := "there are " + strings.Join(known, ", ")
	if near := nearest(group, known); near != "" {
		cure = fmt.Sprintf("did you mean %q?", near)
	} else if len(known) == 0 {
		cure = "add a neighbor"
	}
	l.wrong(m, key, fmt.Sprintf("no neighbor is in group %s", quote(group)), cure, index...)
}
