package configs

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/wgbgp/wgbgp/ha"
)

// conditionalDoc makes announcements depend on what else is there.
type conditionalDoc struct {
	meta
	Name     string       `toml:"name" class:"live" req:"name = \"backup-line\""`
	Prefixes []prefixRule `toml:"prefixes" class:"live" opt:"set" req:"prefixes = [\"10.9.0.0/16\"]"`
	Unless   []subject    `toml:"unless" class:"live" opt:"set"`
	OnlyIf   []subject    `toml:"only-if" class:"live" opt:"set"`
	To       []string     `toml:"to" class:"live" opt:"set"`
}

// subject is what a condition asks for: a prefix, or a neighbor or group by name.
type subject struct{ ha.Subject }

func (s *subject) parse(text string) error {
	if _, err := netip.ParsePrefix(text); err == nil {
		return parsePrefix(text, &s.Prefix, false)
	}
	s.Neighbor = text
	return nil
}

func (s *subject) text() string { return cmp.Or(s.Neighbor, s.Prefix.String()) }

func (l *loader) buildConditions() []ha.Condition {
	var out []ha.Condition
	for _, c := range l.doc.Conditional {
		to := c.To
		if !c.has("to") {
			to = l.audiences()
		}
		x := ha.Condition{Name: c.Name, To: l.doc.allParts(to)}
		for _, r := range c.Prefixes {
			x.Prefixes = append(x.Prefixes, r.PrefixRule)
		}
		for _, s := range c.Unless {
			x.Unless = append(x.Unless, s.Subject)
		}
		for _, s := range c.OnlyIf {
			x.OnlyIf = append(x.OnlyIf, s.Subject)
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b ha.Condition) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (l *loader) checkConditionals() {
	groups, neighbors := l.audiences(), l.sessionNames()
	for _, c := range l.doc.Conditional {
		if len(c.Unless)+len(c.OnlyIf) == 0 && c.ok("unless", "only-if") {
			l.wrong(&c.meta, "", "there is no condition", "add unless or only-if")
		}
		l.checkSubjects(c, "unless", c.Unless, neighbors, groups)
		l.checkSubjects(c, "only-if", c.OnlyIf, neighbors, groups)
		for i, s := range c.Unless {
			if slices.Contains(c.OnlyIf, s) && c.ok("unless", "only-if") {
				l.wrong(&c.meta, "unless", s.text()+" is in only-if too, so that nothing is ever announced", "keep one of them", i)
			}
		}
		if len(c.To) == 0 && c.has("to") && c.ok("to") {
			l.wrong(&c.meta, "to", "nobody is meant", "name neighbor groups, or leave it out for all")
		}
		l.checkGroups(&c.meta, "to", c.To, groups)
	}
}

func (l *loader) checkSubjects(c *conditionalDoc, key string, all []subject, neighbors, groups []string) {
	if !c.ok(key) {
		return
	}
	for i, s := range all {
		if s.Prefix.IsValid() {
			if c.ok("prefixes") && slices.ContainsFunc(c.Prefixes, func(r prefixRule) bool { return r.Matches(s.Prefix) }) {
				l.wrong(&c.meta, key, s.text()+" is one of its own prefixes", "name another prefix, or the neighbor that has it", i)
			}
			for _, a := range l.doc.Aggregate {
				if a.Prefix == s.Prefix && a.ok("prefix") {
					l.wrong(&c.meta, key, fmt.Sprintf("%s is an aggregate (%s), which is there as long as it is configured", s.text(), where(a.at("prefix"))), "name a prefix inside it", i)
				}
			}
			continue
		}
		if slices.Contains(neighbors, s.Neighbor) || slices.Contains(groups, s.Neighbor) {
			continue
		}
		known := slices.Concat(neighbors, groups)
		cure := `write a prefix as "10.1.0.0/16", or name a neighbor`
		if near := nearest(s.Neighbor, known); near != "" {
			cure = fmt.Sprintf("did you mean %q?", near)
		} else if len(known) > 0 && len(known) < 10 {
			cure = "there are " + strings.Join(known, ", ")
		}
		l.wrong(&c.meta, key, fmt.Sprintf("%s is no prefix, and no neighbor or group has this name", quote(s.Neighbor)), cure, i)
	}
}

// sessionNames lists the neighbors of the configuration.
func (l *loader) sessionNames() []string {
	var out []string
	for _, s := range l.doc.Site {
		if s.Neighbor != nil {
			out = append(out, s.Name)
		}
	}
	for _, n := range l.doc.Neighbor {
		out = append(out, n.Name)
	}
	for _, c := range l.doc.Connect {
		if !c.discovers() {
			out = append(out, c.Name+"/1", c.Name+"/2")
		}
	}
	return out
}
