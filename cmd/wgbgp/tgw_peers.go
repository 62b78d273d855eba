package main

import (
	"context"

	"github.com/wgbgp/wgbgp/internal/api"
)

func doTGWPeers(ctx context.Context, a *app, _ []string) error {
	return query(ctx, a, func(ctx context.Context, c *api.Client) (api.Discovery, error) { return c.Discovery(ctx) }, renderDiscovery)
}

// renderDiscovery shows what AWS said last, how old that is, and why a Connect peer
// or Route Server peer is not used.
func renderDiscovery(v api.Discovery) document {
	var d document
	for _, s := range v.Sources {
		if !s.Wanted {
			continue
		}
		server := s.Name == "route-server-peers"
		head := block{pairs: true}
		head.add("Discovery of", word(server, "Route Server peers", "Connect peers"))
		head.add("Last answer of AWS", ago(s.Answered, "never"))
		head.add("Last question", word(s.Error == "", "answered", s.Error))
		t := block{head: []string{
			word(server, "Route Server peer", "Connect peer"), "Of", "State", "PeerAddress", word(server, "Endpoint", "TGW address"), "Name", "Not used because",
		}}
		for _, p := range s.Found {
			why := p.Reason
			if p.Detail != "" {
				why += ": " + p.Detail
			}
			t.add(p.ID, p.Parent, p.State, addr(p.Local), addr(p.Remote), dash(p.Name), dash(why))
		}
		d = append(d, head, t)
	}
	if d == nil {
		return document{text("Discovery is off: no [[tgw-connect]] has discover or peer, and no [[neighbor]] has route-server.")}
	}
	return d
}
