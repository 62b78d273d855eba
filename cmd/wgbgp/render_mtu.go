package main

import (
	"fmt"
	"strings"

	"github.com/wgbgp/wgbgp/internal/api"
)

func renderMTUs(l api.MTUList) document {
	t := block{head: []string{"Site", "MTU", "Limited by", "MSS IPv4", "MSS IPv6", "Note"}, right: "lrlrr"}
	for _, c := range l.Chains {
		t.add(c.Site, octets(c.MTU), dash(c.Limit), octets(c.MSS4), octets(c.MSS6), strings.Join(c.Notes, "; "))
	}
	return document{t}
}

// renderMTU has one line per link, the limiting one marked as the best path is.
func renderMTU(l api.MTUList) document {
	var d document
	for _, c := range l.Chains {
		t := block{head: []string{"", "Link", "Carries", "Around", "Packet", "From"}, right: "llrrr"}
		for _, x := range c.Links {
			t.add(word(x.Name == c.Limit, ">", ""), x.Name, octets(x.MTU), octets(x.Overhead), octets(x.Packet), x.Source)
		}
		b := block{pairs: true}
		b.add("Site", c.Site)
		b.add("Largest packet", word(c.MTU > 0, fmt.Sprintf("%d, limited by %s", c.MTU, c.Limit), "unknown"))
		b.add("TCP segments", word(c.MSS4 > 0, fmt.Sprintf("clamped to %d over IPv4, %d over IPv6", c.MSS4, c.MSS6), "not clamped"))
		for _, n := range c.Notes {
			b.add("Note", n)
		}
		d = append(d, t, b)
	}
	return d
}

// octets is a size in bytes, where 0 means that there is none.
func octets(n int) string { return word(n > 0, fmt.Sprint(n), "-") }
