package api_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/api/apitest"
)

// world is the small gateway with accessors for breaking it.
type world struct{ api.View }

func (w *world) peer(name string) *api.Peer {
	return &w.Peers[slices.IndexFunc(w.Peers, func(p api.Peer) bool { return p.Name == name })]
}

func (w *world) neighbor(name string) *api.Neighbor {
	return &w.Neighbors[slices.IndexFunc(w.Neighbors, func(n api.Neighbor) bool { return n.Name == name })]
}

func (w *world) health(name string) *api.Health {
	return &w.Health[slices.IndexFunc(w.Health, func(h api.Health) bool { return h.Site == name })]
}

func (w *world) rib(p string) *api.RIBEntry {
	return &w.RIB[slices.IndexFunc(w.RIB, func(e api.RIBEntry) bool { return e.Prefix.String() == p })]
}

func (w *world) route(p string) *api.Route {
	return &w.Routes[slices.IndexFunc(w.Routes, func(r api.Route) bool { return r.Prefix.String() == p })]
}

// withheld is what the core makes of a prefix whose only path may not be used.
func (w *world) withheld(p, reason string) {
	e := w.rib(p)
	e.AnnouncedTo, e.Rank, e.Reason = nil, "", reason
	for i := range e.Paths {
		e.Paths[i].Best, e.Paths[i].Usable, e.Paths[i].Reason = false, false, reason
	}
	r := w.route(p)
	r.Type, r.NextHops = api.RouteBlackhole, nil
}

// TestExplainNamesTheFirstBrokenLink breaks one link at a time of the way to
// 10.1.2.3 behind paris, with the consequences it has elsewhere.
func TestExplainNamesTheFirstBrokenLink(t *testing.T) {
	for _, tt := range []struct {
		name  string
		query string
		edit  func(*world)
		want  string // first broken link, empty: none
		text  string // part of the verdict
	}{
		{"nothing", "10.1.2.3", func(*world) {}, "", "every link"},
		{"over the link to a gateway", "10.1.2.3", func(w *world) {
			w.rib("10.1.0.0/16").Paths[0].Site = ""
			w.neighbor("paris").Kind = "fleet"
			w.peer("paris").AllowedIPs = nil
		}, "", "every link"},
		{"unknown prefix", "192.0.2.1", func(*world) {}, api.StepRIB, "no neighbor has sent it"},
		{"refused by policy", "192.0.2.1", func(w *world) {
			w.Refused = []api.RefusedPath{{Neighbor: "paris", Rejected: api.Rejected{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Reason: "not-allowed"}}}
		}, api.StepRIB, "neighbor paris sent 192.0.2.0/24 and policy refused it: not-allowed"},
		{"our own echo is no answer", "192.0.2.1", func(w *world) {
			w.Refused = []api.RefusedPath{{Neighbor: "paris", Rejected: api.Rejected{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Reason: "own-asn"}}}
		}, api.StepRIB, "no neighbor has sent it"},
		{"TGW away, another site listens", "10.1.2.3", func(w *world) {
			for i := range w.Neighbors {
				if w.Neighbors[i].Kind == "tgw" {
					w.Neighbors[i].State = "Active"
				}
			}
			w.rib("10.1.0.0/16").AnnouncedTo = append(w.rib("10.1.0.0/16").AnnouncedTo, "paris")
		}, api.StepAnnounced, "TGW"},
		{"aggregate", "10.0.0.0/8", func(*world) {}, "", "every link"},
		{"hole of an aggregate", "10.99.1.2", func(*world) {}, api.StepRoute, "10.99.1.2 is in a part of the aggregate that nobody here has: dropped by blackhole 10.0.0.0/8"},
		{"aggregate without its blackhole", "10.0.0.0/8", func(w *world) { w.route("10.0.0.0/8").Status = api.RoutePending }, api.StepRoute, "pending"},
		{"aggregate without contributors", "10.0.0.0/8", func(w *world) {
			e := w.rib("10.0.0.0/8")
			e.AnnouncedTo, e.Rank, e.Reason, e.Detail = nil, "", "aggregate-empty", "0 of 1 contributors"
		}, api.StepAnnounced, "aggregate-empty: 0 of 1 contributors"},
		{"an aggregate stands for it", "10.1.2.3", func(w *world) {
			e := w.rib("10.1.0.0/16")
			e.AnnouncedTo, e.Rank, e.Reason = nil, "", "aggregated"
			e.HeldBack = []api.HeldBack{{Group: "tgw-a", Reason: "aggregated", Detail: "in 10.0.0.0/8"}}
		}, "", "every link"},
		{"held back by the quota", "10.1.2.3", func(w *world) {
			e := w.rib("10.1.0.0/16")
			e.AnnouncedTo = []string{"paris"}
			e.HeldBack = []api.HeldBack{{Group: "tgw-a", Reason: "quota", Detail: "group tgw-a is told 1000 prefixes at most"}}
		}, api.StepAnnounced, "not told to group tgw-a: quota"},
		{"blackhole on request", "10.1.2.3", func(w *world) {
			w.withheld("10.1.0.0/16", "community")
			p := &w.rib("10.1.0.0/16").Paths[0]
			p.Best, p.Usable, p.Blackhole, p.Reason, p.Asked = true, true, true, "", "BLACKHOLE: dropped here"
		}, api.StepRoute, "dropped here, as neighbor paris asks"},
		{"other length", "10.1.0.0/17", func(*world) {}, api.StepRIB, "no neighbor has sent it"},
		{"route missing", "10.1.2.3", func(w *world) { w.Routes = nil }, api.StepRoute, "no unicast route"},
		{"route failed", "10.1.2.3", func(w *world) {
			r := w.route("10.1.0.0/16")
			r.Status, r.Detail = api.RouteFailed, "no such device"
		}, api.StepRoute, "no such device"},
		{"route shadowed", "10.1.2.3", func(w *world) {
			w.route("10.1.0.0/16").Status = api.RouteShadowed
			w.Routes = append(w.Routes, api.Route{Prefix: netip.MustParsePrefix("10.1.0.0/16"), Foreign: true, Protocol: 3, Type: api.RouteUnicast})
		}, api.StepRoute, "shadowed"},
		{"route pending holds the announcement", "10.1.2.3", func(w *world) {
			w.route("10.1.0.0/16").Status = api.RoutePending
			e := w.rib("10.1.0.0/16")
			e.AnnouncedTo, e.Reason = nil, "route-pending"
		}, api.StepRoute, "pending"},
		{"allowed IP not in place", "10.1.2.3", func(w *world) {
			w.peer("paris").AllowedIPs[0].InPlace = false
			w.rib("10.1.0.0/16").AnnouncedTo, w.rib("10.1.0.0/16").Reason = nil, "allowed-ip-pending"
		}, api.StepAllowedIP, "not in place"},
		{"allowed IP missing", "10.1.2.3", func(w *world) { w.peer("paris").AllowedIPs = nil }, api.StepAllowedIP, "no allowed IP"},
		{"a longer match on another peer", "10.1.2.0/24", func(w *world) {
			e := *w.rib("10.1.0.0/16")
			e.Prefix = netip.MustParsePrefix("10.1.2.0/24")
			r := *w.route("10.1.0.0/16")
			r.Prefix = e.Prefix
			w.RIB, w.Routes = append(w.RIB, e), append(w.Routes, r)
			p := w.peer("lyon")
			p.AllowedIPs = append(p.AllowedIPs, api.AllowedIP{Prefix: e.Prefix, Source: api.SourceForeign, InPlace: true})
		}, api.StepAllowedIP, "belongs to peer lyon"},
		{"silent tunnel", "10.1.2.3", func(w *world) {
			w.withheld("10.1.0.0/16", "rx-stall")
			p, h := w.peer("paris"), w.health("paris")
			p.State, p.Reason = api.PeerDown, "rx-stall"
			h.Verdict, h.Reason = "down", "rx-stall"
		}, api.StepPeer, "rx-stall"},
		{"disabled", "10.1.2.3", func(w *world) {
			w.withheld("10.1.0.0/16", "disabled")
			w.Sites[2].Disabled, w.peer("paris").State = true, api.PeerDisabled
		}, api.StepPeer, "disabled by the operator"},
		{"probe of the site", "10.1.2.3", func(w *world) {
			w.withheld("10.1.0.0/16", "probe-failed")
			p, h := w.peer("paris"), w.health("paris")
			p.State, p.Reason = api.PeerDown, "probe-failed"
			h.Verdict, h.Reason = "down", "probe-failed"
		}, api.StepProbe, "probe-failed"},
		{"probe of the prefix alone", "10.1.2.3", func(w *world) {
			w.withheld("10.1.0.0/16", "probe-failed")
			w.health("paris").Checks[2].Up = false
		}, api.StepProbe, "check lan fails"},
		{"hold-down", "10.1.2.3", func(w *world) {
			w.withheld("10.1.0.0/16", "hold-down")
			w.health("paris").HoldDownSeconds = 7
		}, api.StepProbe, "trusted again in 7s"},
		{"session lost", "10.1.2.3", func(w *world) {
			w.withheld("10.1.0.0/16", "bgp-down")
			n := w.neighbor("paris")
			n.State, n.LossReason = "Active", "hold-timer-expired"
		}, api.StepNeighbor, "hold-timer-expired"},
		{"nobody listens", "10.1.2.3", func(w *world) { w.neighbor("tgw-a/1").State = "Active" }, api.StepAnnounced, "none of them"},
		{"draining", "10.1.2.3", func(w *world) {
			e := w.rib("10.1.0.0/16")
			e.AnnouncedTo, e.Reason = nil, "draining"
		}, api.StepAnnounced, "draining"},
		{"overlap", "10.1.2.3", func(w *world) { w.withheld("10.1.0.0/16", "overlap") }, api.StepRIB, "overlap"},
		{"GRE tunnel", "172.16.5.5", func(w *world) {
			w.Status.Tunnels[0].Up, w.Status.Tunnels[0].Error = false, "no route to the TGW"
		}, api.StepTunnel, "no route to the TGW"},
		{"learned from the TGW, nobody behind us", "172.16.5.5", func(w *world) {
			w.rib("172.16.0.0/12").AnnouncedTo, w.rib("172.16.0.0/12").Reason = nil, "no-audience"
		}, "", "every link"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{apitest.New().View}
			tt.edit(w)
			q, err := api.ParseExplainQuery(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			e := api.ExplainFrom(q, w.View)
			if e.Broken != tt.want || e.OK != (tt.want == "") || !strings.Contains(e.Verdict, tt.text) {
				t.Errorf("got first broken %q (%s), want %q (%s)\n%s", e.Broken, e.Verdict, tt.want, tt.text, chain(e))
			}
		})
	}
}

func chain(e api.Explain) string {
	var out []string
	for _, s := range e.Steps {
		out = append(out, fmt.Sprintf("%s ok=%v caused_by=%q %s", s.Name, s.OK, s.CausedBy, s.Text))
	}
	return strings.Join(out, "\n")
}

func TestExplainWalksTheLinksInOrder(t *testing.T) {
	q, _ := api.ParseExplainQuery("10.1.2.3")
	var got []string
	for _, s := range api.ExplainFrom(q, apitest.New().View).Steps {
		got = append(got, s.Name)
	}
	want := "rib route tunnel allowed-ip peer neighbor probe announced"
	if strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExplainTakesTheLongestMatch(t *testing.T) {
	v := apitest.New().View
	v.RIB = append(v.RIB, api.RIBEntry{Prefix: netip.MustParsePrefix("10.1.2.0/24")}, api.RIBEntry{Prefix: netip.MustParsePrefix("10.0.0.0/8")},
		api.RIBEntry{Prefix: netip.MustParsePrefix("fd00::/8")})
	for query, want := range map[string]string{"10.1.2.3": "10.1.2.0/24", "10.1.3.3": "10.1.0.0/16", "10.9.9.9": "10.0.0.0/8", "fd00::1": "fd00::/8", "10.1.0.0/16": "10.1.0.0/16"} {
		q, err := api.ParseExplainQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := api.ExplainFrom(q, v).Prefix.String(); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
}

// TestCheckFindsWhatIsWrong starts from a healthy gateway and breaks one thing
// at a time.
func TestCheckFindsWhatIsWrong(t *testing.T) {
	healthy := func() *world {
		w := &world{apitest.New().View}
		w.Status.Sysctls = nil
		w.Sites = w.Sites[2:]
		w.Neighbors = w.Neighbors[:2]
		w.Peers = w.Peers[2:3]
		return w
	}
	if got := api.Problems(healthy().View); len(got) != 0 {
		t.Fatalf("healthy gateway: got %v, want no problem", got)
	}
	for _, tt := range []struct {
		name string
		edit func(*world)
		want string // "severity object reason", empty: nothing
	}{
		{"draining", func(w *world) { w.Status.Draining = true }, "warning gateway draining"},
		{"reload failed", func(w *world) { w.Status.Config.Error = "3 errors" }, "error config reload-failed"},
		{"edge", func(w *world) { w.Status.Edges[0].OK = false }, "error edge fib edge-failed"},
		{"tunnel", func(w *world) { w.Status.Tunnels[0].Up = false }, "error tunnel tgw-a tunnel-down"},
		{"sysctl", func(w *world) {
			w.Status.Sysctls = append(w.Status.Sysctls, api.Sysctl{Name: "net.ipv4.ip_forward", Have: "0", Want: "1"})
		}, "error sysctl net.ipv4.ip_forward sysctl"},
		{"alarm", func(w *world) { w.Status.Alarms = append(w.Status.Alarms, api.Alarm{Name: "prefix-quota"}) }, "error alarm prefix-quota prefix-quota"},
		{"site down", func(w *world) { w.Sites[0].Verdict, w.Sites[0].Reason = "down", "rx-stall" }, "error site paris rx-stall"},
		{"site suspect", func(w *world) { w.Sites[0].Verdict, w.Sites[0].Reason = "suspect", "probe-failed" }, "warning site paris probe-failed"},
		{"site idle by policy", func(w *world) { w.Sites[0].Verdict, w.Sites[0].Reason = "idle", "idle" }, ""},
		{"site disabled", func(w *world) { w.Sites[0].Disabled, w.Sites[0].Verdict = true, "down" }, "warning site paris disabled"},
		{"overlap", func(w *world) { w.Sites[0].Prefixes[0].Announced, w.Sites[0].Prefixes[0].Reason = false, "overlap" }, "error site paris overlap"},
		{"session without policy", func(w *world) { w.Neighbors[1].State = api.StatePolicy }, "error neighbor tgw-a/1 policy"},
		{"session down", func(w *world) { w.Neighbors[1].State, w.Neighbors[1].LossReason = "Idle", "max-prefix" }, "error neighbor tgw-a/1 max-prefix"},
		{"session never up", func(w *world) { w.Neighbors[1].State = "Active" }, "error neighbor tgw-a/1 session-down"},
		{"session of a disabled site", func(w *world) { w.Sites[0].Disabled, w.Neighbors[0].State = true, "Idle" }, "warning site paris disabled"},
		{"near max-prefix", func(w *world) { w.Neighbors[0].Counted = 80 }, "warning neighbor paris max-prefix"},
		{"foreign allowed IP", func(w *world) { w.Peers[0].AllowedIPs[1].Source = api.SourceForeign }, "warning peer paris foreign"},
		{"allowed IP pending", func(w *world) { w.Peers[0].AllowedIPs[1].InPlace = false }, "warning peer paris allowed-ip-pending"},
		{"peer failed", func(w *world) { w.Peers[0].Error = "no such device" }, "error peer paris peer-failed"},
		{"route failed", func(w *world) { w.route("10.1.0.0/16").Status = api.RouteFailed }, "error route 10.1.0.0/16 route-failed"},
		{"route shadowed", func(w *world) { w.route("10.1.0.0/16").Status = api.RouteShadowed }, "error route 10.1.0.0/16 shadowed"},
	} {
		w := healthy()
		tt.edit(w)
		var got []string
		for _, p := range api.Problems(w.View) {
			got = append(got, p.Severity+" "+p.Object+" "+p.Reason)
			if p.Text == "" && !strings.HasPrefix(p.Object, "edge") && !strings.HasPrefix(p.Object, "alarm") {
				t.Errorf("%s: %s has no text", tt.name, p.Object)
			}
		}
		if strings.Join(got, "; ") != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
