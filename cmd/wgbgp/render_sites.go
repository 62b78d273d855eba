package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/wgbgp/wgbgp/internal/api"
)

func addr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func renderPeers(l api.PeerList) document {
	t := block{head: []string{"Peer", "State", "Since", "Handshake", "RTT", "Rx/Tx", "Pfx in/out", "Reason"}}
	for _, p := range l.Peers {
		name := p.Name
		if name == "" {
			name = p.PublicKey
		}
		t.add(name, p.State, ago(p.Since, "-"), ago(p.Handshake, "never"), millis(p.RTTMillis),
			size(p.RxBytes)+"/"+size(p.TxBytes), fmt.Sprintf("%d/%d", p.PrefixesIn, p.PrefixesOut), p.Reason)
	}
	return document{t}
}

func renderPeer(l api.PeerList) document {
	var d document
	for _, p := range l.Peers {
		b := block{pairs: true}
		b.add("Peer", dash(p.Name))
		b.add("Public key", p.PublicKey)
		b.add("Interface", p.Interface+" ("+p.Backend+", "+p.Mode+")")
		b.add("Endpoint", dash(p.Endpoint))
		b.add("Configured", dash(p.Configured))
		if x := p.Elsewhere; x != nil {
			text := fmt.Sprintf("%s, heard %s ago by %s", x.Endpoint, ago(x.Heard, "-"), x.Host)
			b.add("Elsewhere", text+word(x.Greeting != "", ", greeted: "+x.Greeting, ""))
		}
		b.add("Keepalive", word(p.KeepaliveSeconds > 0, fmt.Sprintf("%ds", p.KeepaliveSeconds), "off"))
		b.add("Handshake", ago(p.Handshake, "never"))
		b.add("Rx/Tx", size(p.RxBytes)+"/"+size(p.TxBytes))
		b.add("RTT", millis(p.RTTMillis))
		b.add("State", p.State)
		b.add("Since", ago(p.Since, "-"))
		b.add("Reason", dash(because(p.Reason, p.Detail)))
		b.add("Prefixes", fmt.Sprintf("%d in, %d out", p.PrefixesIn, p.PrefixesOut))
		if p.Error != "" {
			b.add("Error", p.Error)
		}
		t := block{head: []string{"Allowed IP", "Source", "In place", "Reason"}}
		for _, a := range p.AllowedIPs {
			t.add(a.Prefix.String(), a.Source, yes(a.InPlace), because(a.Reason, a.Detail))
		}
		d = append(d, b, t)
	}
	return d
}

func renderSites(l api.SiteList) document {
	t := block{head: []string{"Site", "Verdict", "Since", "Role", "Group", "Neighbor", "Announced", "Reason"}}
	for _, s := range l.Sites {
		n := 0
		for _, p := range s.Prefixes {
			if p.Announced {
				n++
			}
		}
		t.add(s.Name, siteWord(s), ago(s.Since, "-"), dash(s.Role), dash(s.Group), dash(s.Neighbor),
			fmt.Sprintf("%d/%d", n, len(s.Prefixes)), because(s.Reason, s.Detail))
	}
	return document{t}
}

func siteWord(s api.Site) string {
	if s.Disabled {
		return "disabled"
	}
	return s.Verdict
}

func renderSite(l api.SiteList) document {
	var d document
	for _, s := range l.Sites {
		b := block{pairs: true}
		b.add("Site", s.Name)
		if s.Description != "" {
			b.add("Description", s.Description)
		}
		b.add("Interface", s.Interface)
		b.add("Public key", s.PublicKey)
		b.add("Neighbor", dash(s.Neighbor))
		b.add("Role", dash(s.Role))
		b.add("Group", dash(s.Group))
		b.add("Verdict", siteWord(s))
		b.add("Since", ago(s.Since, "-"))
		b.add("Reason", dash(because(s.Reason, s.Detail)))
		t := block{head: []string{"Prefix", "Source", "State", "Rank", "Reason"}}
		for _, p := range s.Prefixes {
			t.add(p.Prefix.String(), p.Source, word(p.Announced, "announced", "withheld"), dash(p.Rank), because(p.Reason, p.Detail))
		}
		d = append(d, b, t)
	}
	return d
}

func renderHealth(l api.HealthList) document {
	sites := block{head: []string{"Site", "Verdict", "Since", "Rule", "Hold-down", "Penalty", "Reason"}}
	checks := block{head: []string{"Site", "Check", "Kind", "Target", "State", "Last", "RTT", "Rise", "Fall", "Counts", "Prefixes", "Reason"}}
	for _, h := range l.Health {
		left := "-"
		if h.HoldDownSeconds > 0 {
			left = fmt.Sprintf("%.0fs", h.HoldDownSeconds)
		}
		penalty := "-"
		if h.Penalty > 0 {
			penalty = fmt.Sprintf("%.0f", h.Penalty)
		}
		if h.ReuseSeconds > 0 {
			penalty += fmt.Sprintf(", reuse in %.0fs", h.ReuseSeconds)
		}
		sites.add(h.Site, h.Verdict, ago(h.Since, "-"), dash(h.Rule), left, penalty, because(h.Reason, h.Detail))
		for _, c := range h.Checks {
			checks.add(h.Site, c.Name, strings.TrimSpace(c.Kind+" "+c.Method), dash(c.Target), checkWord(c), ago(c.Last, "-"), millis(c.RTTMillis),
				fmt.Sprintf("%d/%d", min(c.Successes, c.Rise), c.Rise), fmt.Sprintf("%d/%d", min(c.Failures, c.Fall), c.Fall),
				yes(c.Counts), dash(prefixes(c.Prefixes)), c.Reason)
		}
	}
	return document{sites, checks}
}

func checkWord(c api.Check) string {
	switch {
	case !c.Measured:
		return "unknown"
	case c.Up:
		return "up"
	}
	return "down"
}

func prefixes(l []netip.Prefix) string {
	var out []string
	for _, p := range l {
		out = append(out, p.String())
	}
	return strings.Join(out, ",")
}
