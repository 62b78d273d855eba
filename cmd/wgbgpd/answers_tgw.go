package main

import (
	"context"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
)

// Discovery is the last answers of AWS, and what is made of them.
func (b *backend) Discovery(context.Context) (api.Discovery, error) {
	if b.discovery == nil {
		return api.Discovery{}, nil
	}
	return b.discovery.view(time.Now()), nil
}

func (d *discovery) view(now time.Time) api.Discovery {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out api.Discovery
	for _, s := range d.sources {
		out.Sources = append(out.Sources, s.view(now))
	}
	return out
}

// failure is what is wrong with the last questions, as of an edge.
func (d *discovery) failure() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var texts []string
	for _, s := range d.sources {
		if t := s.failure(); t != "" && s.wanted() {
			texts = append(texts, t)
		}
	}
	return strings.Join(texts, "; ")
}

func origin(n *bgp.Neighbor, found map[string]ha.Origin) api.Origin {
	o, ok := found[n.Name]
	switch {
	case n.Dynamic != "":
		return api.Origin{Source: api.OriginRange, Entry: n.Dynamic}
	case !ok:
		return api.Origin{Source: api.OriginConfigured}
	case o.Server:
		return api.Origin{Source: api.OriginRouteServer, ID: o.ID, Parent: o.Parent, Entry: o.Entry}
	}
	return api.Origin{Source: api.OriginConnectPeer, ID: o.ID, Parent: o.Parent, Entry: o.Entry}
}
