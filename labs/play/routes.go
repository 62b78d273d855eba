package play

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/labs/stage"
)

// hop is one next hop of a route.
type hop struct {
	Gateway string `json:"gateway"`
	Via     struct {
		Host string `json:"host"`
	} `json:"via"` // of the other family
	Device string `json:"dev"`
}

func (h hop) gateway() netip.Addr {
	text := h.Gateway
	if text == "" {
		text = h.Via.Host
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// kroute and nextHop are what ip -j prints of routes and next-hop objects.
type kroute struct {
	hop
	Type     string `json:"type"`
	Prefix   string `json:"dst"`
	Table    string `json:"table"`
	Metric   uint32 `json:"metric"`
	NextHops []hop  `json:"nexthops"`
	Object   uint32 `json:"nhid"`
}

type nextHop struct {
	hop
	ID    uint32 `json:"id"`
	Group []struct {
		ID uint32 `json:"id"`
	} `json:"group"`
	Blackhole bool `json:"blackhole"`
}

// nextHops asks the node's kernel for the route with the lowest metric to exactly
// this prefix, in any table, and follows it to its next hops. The ip program is
// this machine's, because a node need not have one.
func nextHops(n *stage.Node, prefix netip.Prefix) (hops []hop, blackhole bool, err error) {
	family := "-4"
	if prefix.Addr().Is6() {
		family = "-6"
	}
	var routes []kroute
	if err := ip(n, &routes, family, "route", "show", "table", "all"); err != nil {
		return nil, false, err
	}
	var best []kroute
	for _, r := range routes {
		if r.Table == "local" || !same(r.Prefix, prefix) {
			continue
		}
		switch {
		case len(best) == 0 || r.Metric < best[0].Metric:
			best = []kroute{r}
		case r.Metric == best[0].Metric: // ECMP of IPv6 may be listed as several routes
			best = append(best, r)
		}
	}
	var objects []nextHop
	for _, r := range best {
		switch {
		case r.Type == "blackhole" || r.Type == "unreachable":
			blackhole = true
		case r.Object != 0:
			if objects == nil {
				if err := ip(n, &objects, "nexthop", "show"); err != nil {
					return nil, false, err
				}
			}
			found, drops := follow(objects, r.Object)
			hops, blackhole = append(hops, found...), blackhole || drops
		case len(r.NextHops) > 0:
			hops = append(hops, r.NextHops...)
		default:
			hops = append(hops, r.hop)
		}
	}
	return hops, blackhole && len(hops) == 0, nil
}

func follow(objects []nextHop, id uint32) (hops []hop, blackhole bool) {
	for _, o := range objects {
		switch {
		case o.ID != id:
		case o.Blackhole:
			blackhole = true
		case len(o.Group) == 0:
			hops = append(hops, o.hop)
		}
		if o.ID == id {
			for _, member := range o.Group {
				h, b := follow(objects, member.ID)
				hops, blackhole = append(hops, h...), blackhole || b
			}
		}
	}
	return hops, blackhole
}

// same compares a prefix as ip(8) writes it.
func same(text string, p netip.Prefix) bool {
	if text == "default" {
		return p.Bits() == 0
	}
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		return err == nil && p.IsSingleIP() && a == p.Addr()
	}
	q, err := netip.ParsePrefix(text)
	return err == nil && p == q
}

func ip(n *stage.Node, to any, args ...string) error {
	cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(n.PID), "-n", "ip", "-j"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: ip %s: %w", n.Name(), strings.Join(args, " "), err)
	}
	if len(strings.TrimSpace(string(out))) == 0 {
		return nil
	}
	return json.Unmarshal(out, to)
}
