package network

import (
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/labs/router"
	"github.com/wgbgp/wgbgp/labs/tgwsim/routing"
)

// write appends what changed to the event file. Of routes it tells those that
// are not a VPC's own.
func (n *Network) write(spec *Spec, events []Event, decisions []*routing.Decision) {
	if n.events == nil {
		return
	}
	now := time.Now()
	ways := map[string][]string{}
	for i, d := range decisions {
		for _, t := range d.Tables {
			table := ""
			if len(spec.TGWs[i].Tables) > 1 || len(decisions) > 1 {
				table = t.ID
			}
			for _, r := range t.Routes {
				if via := names(r); len(via) > 0 {
					ways[table+" "+r.Prefix.String()] = via
				}
			}
		}
	}
	event := func(key string, via []string) {
		i := slices.Index([]byte(key), ' ')
		events = append(events, Event{At: now, Prefix: netip.MustParsePrefix(key[i+1:]), Table: key[:i], Via: via})
	}
	for key := range n.written {
		if ways[key] == nil {
			event(key, nil)
		}
	}
	for key, via := range ways {
		if !slices.Equal(via, n.written[key]) {
			event(key, via)
		}
	}
	n.written = ways
	if err := router.WriteEvents(n.events, events); err != nil {
		n.log.Error("events", "err", err)
	}
}

// names are the peers and attachments a route leads to.
func names(r routing.Route) (via []string) {
	for _, v := range r.Via {
		switch {
		case v.Peer != "":
			via = append(via, v.Peer)
		case v.Type != routing.VPC:
			via = append(via, v.Attachment)
		}
	}
	return via
}
