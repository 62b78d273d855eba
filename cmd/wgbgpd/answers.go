package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/version"
	"github.com/wgbgp/wgbgp/wg"
)

// Status is the one-screen summary.
func (b *backend) Status(ctx context.Context) (api.Status, error) {
	s, err := read(ctx, b, b.status)
	if err != nil {
		return s, err
	}
	b.mu.Lock()
	s.Config = api.ConfigStatus{
		File: b.file, Loaded: api.At(b.loaded, time.Now()), Attempted: api.At(b.attempted, time.Now()), Error: b.failed,
	}
	b.mu.Unlock()
	for _, n := range b.gateway.speaker.States() {
		s.Prefixes.Learned += int(n.Accepted)
	}
	for _, e := range b.gateway.edges() {
		s.Edges = append(s.Edges, api.Edge{Name: e.name, Gen: e.gen.Load(), OK: e.failure() == "", Error: e.failure()})
		if e == b.gateway.fibEdge {
			c := b.gateway.fib.Counters()
			s.Edges[len(s.Edges)-1].Counters = &api.RouteCounters{
				Writes: c.Writes.Load(), Errors: c.Errors.Load(), Resyncs: c.Resyncs.Load(), Overflows: c.Overflows.Load(), Events: c.Events.Load(),
			}
		}
	}
	r := &b.gateway.greeter
	i := slices.IndexFunc(s.Edges, func(e api.Edge) bool { return e.Name == b.gateway.greetEdge.name })
	s.Edges[i].Greetings = &api.Greetings{Takeover: r.takeover.Load(), Sighted: r.sighted.Load()}
	// These two follow no plan, and so are never behind.
	if d := b.discovery; d != nil && d.wanted() {
		s.Edges = append(s.Edges, api.Edge{Name: "aws", Gen: s.Gen, OK: d.failure() == "", Error: d.failure()})
	}
	if text, used := b.entrance.failure(); used {
		s.Edges = append(s.Edges, api.Edge{Name: "front", Gen: s.Gen, OK: text == "", Error: text})
	}
	n := b.requests.Read()
	s.AWS = api.AWSRequests{Requests: n.Requests, Throttled: n.Throttled, Denied: n.Unauthorized, Failed: n.Failed}
	for _, x := range b.gateway.sysctlProblems() {
		s.Sysctls = append(s.Sysctls, api.Sysctl{Name: x.Key, Have: x.Have, Want: x.Want, Text: x.Why})
	}
	for _, t := range b.gateway.gre.Observe() {
		s.Tunnels = append(s.Tunnels, b.tunnel(ctx, t.Name, api.Tunnel{
			Name: t.Name, Backend: string(t.Backend), Up: t.Up, MTU: t.MTU, Rx: t.Rx, Tx: t.Tx, Dropped: t.Dropped, Error: t.Err,
		}))
	}
	return s, nil
}

// tunnel adds what only the plan knows.
func (b *backend) tunnel(ctx context.Context, name string, t api.Tunnel) api.Tunnel {
	_, _ = read(ctx, b, func(c *ha.Core, _ time.Time) bool {
		for _, p := range c.Config().Connect {
			if p.Device == name {
				t.Local, t.Remote = p.Local, p.Remote
			}
		}
		return true
	})
	return t
}

func (b *backend) status(c *ha.Core, now time.Time) api.Status {
	g := c.Config().Gateway
	s := api.Status{
		Schema: api.Schema, Host: g.Name, Version: version.Get().Version, ASN: uint32(g.ASN), RouterID: g.RouterID, Region: g.Region,
		Started: api.At(b.started, now), Draining: c.Drain() != ha.DrainNone, Drain: b.drainer.state(),
	}
	if p := b.loop.plan; p != nil {
		s.Gen = p.Gen
		s.Prefixes = api.PrefixCounts{Announced: len(p.Announcements), Withheld: withheld(p)}
		for i := range p.FIB.Routes {
			if p.FIB.Routes[i].Type == bgp.Unicast {
				s.Prefixes.Routes++
			}
		}
	}
	s.Quotas, s.Alarms = quotas(b.loop.plan, now)
	if u := c.Underlay(); !u.Since.IsZero() {
		s.Alarms = append(s.Alarms, api.Alarm{
			Name: "underlay-down", Object: "gateway", Text: "this host has stepped down as a whole: " + u.Why, Since: api.At(u.Since, now),
			Cure: "restore its way to the internet; it comes back by itself",
		})
	}
	c.Verdicts(func(_ *ha.Site, disabled bool, v ha.Verdict) {
		s.Sites.Total++
		switch {
		case disabled:
			s.Sites.Disabled++
		case v == ha.Up:
			s.Sites.Up++
		case v == ha.Suspect:
			s.Sites.Suspect++
		case v == ha.Idle:
			s.Sites.Idle++
		case v == ha.Suppressed:
			s.Sites.Suppressed++
		default:
			s.Sites.Down++
		}
	})
	c.Sessions(func(n *bgp.Neighbor, st bgp.NeighborState) {
		if n.Range.IsValid() {
			return
		}
		s.Sessions.Total++
		if st.State == bgp.StateEstablished {
			if mute(n) {
				s.Sessions.Policy++
			} else {
				s.Sessions.Established++
			}
		}
	})
	return s
}

// withheld counts the prefixes that nobody is told. The lesser claims on a
// prefix that is announced are no trouble.
func withheld(p *ha.Plan) int {
	n, ann := 0, p.Announcements
	for i := range p.Withheld {
		prefix := p.Withheld[i].Prefix
		if i > 0 && p.Withheld[i-1].Prefix == prefix {
			continue
		}
		for len(ann) > 0 && bgp.ComparePrefix(ann[0].Prefix, prefix) < 0 {
			ann = ann[1:]
		}
		if len(ann) == 0 || ann[0].Prefix != prefix {
			n++
		}
	}
	return n
}

// mute reports whether a session can exchange nothing for lack of a policy
// (RFC 8212).
func mute(n *bgp.Neighbor) bool { return n.Import == nil || len(n.Import.Allow) == 0 }

// Neighbors lists the BGP sessions by name.
func (b *backend) Neighbors(ctx context.Context) ([]api.Neighbor, error) {
	fresh := b.sessions()
	errs := b.gateway.neighborErrors()
	return read(ctx, b, func(c *ha.Core, now time.Time) []api.Neighbor {
		var out []api.Neighbor
		watched, found := map[string]string{}, c.Origins()
		for _, v := range c.BFD() {
			watched[v.Config.Name] = string(cmp.Or(v.Seen.State, bgp.BFDDown))
		}
		c.Sessions(func(n *bgp.Neighbor, s bgp.NeighborState) {
			if f, ok := fresh[n.Name]; ok {
				s = f // with counters of this moment
			}
			a := neighbor(n, s, c.Config().Gateway.ASN, now, errs[n.Name], c.Untold(n.Name))
			a.BFD, a.Origin = watched[n.Name], origin(n, found)
			out = append(out, a)
		})
		return out
	})
}

// sessions is every session with the counters of this moment, by name: the core
// hears only of changes of state.
func (b *backend) sessions() map[string]bgp.NeighborState {
	out := map[string]bgp.NeighborState{}
	for _, s := range b.gateway.speaker.States() {
		out[s.Name] = s
	}
	return out
}

func neighbor(n *bgp.Neighbor, s bgp.NeighborState, own bgp.ASN, now time.Time, failure, untold string) api.Neighbor {
	a := api.Neighbor{
		Name: n.Name, Kind: string(n.Kind), Group: n.Group, Site: n.Site, Address: n.Address, LocalAddress: n.LocalAddress,
		RouterID: s.RouterID, ASN: uint32(n.RemoteASN), LocalASN: uint32(cmp.Or(n.LocalASN, own)), State: string(s.State),
		Since: api.At(s.Since, now), LossReason: s.Reason,
		HoldTimeSeconds: int(s.HoldTime / time.Second), KeepaliveSeconds: int(n.Keepalive / time.Second),
		EndOfRIB4: s.EndOfRIB4, EndOfRIB6: s.EndOfRIB6, MaxPrefixes: n.MaxPrefixes, AnnounceLimit: n.AnnounceLimit,
		Received: s.Received, Accepted: s.Accepted, Counted: s.Counted, Rejected: s.Rejected, Announced: s.Announced,
		MessagesIn: s.MessagesIn, MessagesOut: s.MessagesOut, UpdatesOut: s.UpdatesOut, Error: failure,
		Refused: api.Refusals(s.Refused),
	}
	if a.State == "" {
		a.State = string(bgp.StateIdle)
	}
	if n.Range.IsValid() {
		a.Range, a.MaxSessions, a.State = n.Range, n.MaxSessions, string(bgp.StateActive)
	}
	a.Dynamic = n.Dynamic
	if n.IPv4 {
		a.Families = append(a.Families, "ipv4")
	}
	if n.IPv6 {
		a.Families = append(a.Families, "ipv6")
	}
	if s.State == bgp.StateEstablished && mute(n) {
		a.State = api.StatePolicy
		a.Hint = "nothing may be learned: give this neighbor an `allow` list (RFC 8212)"
	}
	if s.NoIPv4 && a.Hint == "" {
		a.Hint = "nothing of IPv4 is announced: it does not take IPv6 next hops for it (RFC 8950); switch that on there or set `next-hop4`"
	}
	switch {
	case a.Hint != "":
	case s.State == bgp.StateEstablished && n.Export:
		a.Hint = untold
	case s.State != bgp.StateEstablished && !n.Range.IsValid() && n.Dynamic == "":
		a.Hint = connectHint(n, s)
	}
	return a
}

// connectHint says what to look at when a session does not come up and neither
// side gave a reason: TCP MD5 and TTL security fail without a word.
func connectHint(n *bgp.Neighbor, s bgp.NeighborState) string {
	if why := dropHint(n, s.Refused); why != "" {
		return why
	}
	var why string
	switch {
	case s.Reason != "" && s.Reason != "no-answer" && s.Reason != "hold-timer-expired":
		return ""
	case s.State == bgp.StateOpenSent, s.State == bgp.StateOpenConfirm, s.Reason == "no-answer":
		why = "it takes the connection and says nothing that arrives: is its session to us configured"
	default:
		why = "no connection to " + n.Address.String() + ": is it reachable, and does it listen"
	}
	if n.Password != "" {
		why += "; is the password the same at both ends (TCP MD5)"
	}
	if n.TTLSecurity {
		why += "; does it send with TTL 255 (RFC 5082)"
	}
	return why + "?"
}

// dropHint says what the kernel dropped since the session is down. The counters
// belong to the host: what this session has no part in is left out.
func dropHint(n *bgp.Neighbor, r bgp.Refusals) string {
	const here = "the kernel dropped %d segments here since the session is down: "
	switch {
	case n.Password != "" && r.MD5Wrong > 0:
		return fmt.Sprintf(here+"wrong TCP MD5 password; make it the same at both ends", r.MD5Wrong)
	case n.Password != "" && r.MD5Missing > 0:
		return fmt.Sprintf(here+"without TCP MD5 signature; give the other end the password", r.MD5Missing)
	case n.Password == "" && r.MD5Unexpected > 0:
		return fmt.Sprintf(here+"signed with TCP MD5; if this neighbor sends them, set `password`", r.MD5Unexpected)
	case n.TTLSecurity && r.LowTTL > 0:
		return fmt.Sprintf(here+"TTL below 255 (RFC 5082); switch TTL security on at the other end, which must be directly connected", r.LowTTL)
	}
	return ""
}

// Peers lists WireGuard peers by name, foreign ones last.
func (b *backend) Peers(ctx context.Context) ([]api.Peer, error) {
	sessions := b.sessions()
	return read(ctx, b, func(c *ha.Core, now time.Time) []api.Peer {
		devices := map[string]ha.DeviceView{}
		var foreign []api.Peer
		for _, d := range c.Devices() {
			devices[d.Config.Name] = d
			for _, f := range d.Applied.Foreign {
				if !f.AllowedIP.IsValid() {
					foreign = append(foreign, api.Peer{PublicKey: f.Key.String(), Interface: d.Config.Name, State: api.PeerForeign})
				}
			}
		}
		var out []api.Peer
		for _, v := range c.Sites(now, "") {
			p := peer(v, devices[v.Config.Device], now)
			st := sessions[v.Config.Neighbor]
			p.PrefixesIn, p.PrefixesOut = int(st.Accepted), int(st.Announced)
			out = append(out, p)
		}
		return append(out, foreign...)
	})
}

func peer(v ha.SiteView, d ha.DeviceView, now time.Time) api.Peer {
	s := v.Config
	p := api.Peer{
		Name: s.Name, PublicKey: s.Peer.Key.String(), Interface: s.Device, Backend: string(d.Applied.Backend), Mode: string(s.Mode),
		KeepaliveSeconds: int(s.Peer.Keepalive / time.Second), State: v.Judged.PeerState, Since: api.At(v.Judged.Since, now),
		Reason: string(v.Judged.Reason), Detail: v.Judged.Detail, Error: d.Applied.PeerErrors[s.Peer.Key],
	}
	if s.Peer.Endpoint.Host != "" {
		p.Configured = joinHostPort(s.Peer.Endpoint)
	}
	if v.Disabled {
		p.State = api.PeerDisabled
	}
	if v.Peer != nil {
		p.RxBytes, p.TxBytes = v.Peer.Rx, v.Peer.Tx
		switch {
		case v.Peer.Endpoint == wg.Parked:
			p.Detail = cmp.Or(p.Detail, "let go of until it is heard again, because other hosts have the interface's key")
		case v.Peer.Endpoint.IsValid():
			p.Endpoint = v.Peer.Endpoint.String()
		}
		if v.Peer.Handshake > 0 {
			p.Handshake = api.At(time.Unix(0, v.Peer.Handshake), now)
		}
	}
	p.Elsewhere = elsewhere(&v, now)
	for _, k := range v.Checks {
		if k.RTT > 0 {
			p.RTTMillis = float64(k.RTT) / float64(time.Millisecond)
		}
	}
	for _, x := range v.Prefixes {
		a := api.AllowedIP{Prefix: x.Prefix, Source: source(x.Learned), InPlace: x.InPlace}
		if !x.InPlace {
			a.Reason, a.Detail = string(x.Reason), x.Detail
		}
		p.AllowedIPs = append(p.AllowedIPs, a)
	}
	for _, f := range d.Applied.Foreign {
		if f.Key == s.Peer.Key && f.AllowedIP.IsValid() {
			p.AllowedIPs = append(p.AllowedIPs, api.AllowedIP{
				Prefix: f.AllowedIP, Source: api.SourceForeign, InPlace: true, Reason: "foreign", Detail: "set by somebody else, left alone",
			})
		}
	}
	return p
}

// elsewhere is where another host of the fleet heard a site; nil: none has.
func elsewhere(v *ha.SiteView, now time.Time) *api.Elsewhere {
	if !v.Elsewhere.Endpoint.IsValid() {
		return nil
	}
	return &api.Elsewhere{Host: v.By, Endpoint: v.Elsewhere.Endpoint.String(), Heard: api.At(v.Elsewhere.Heard, now), Greeting: v.Greeting}
}

func joinHostPort(e wg.Endpoint) string {
	host := e.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(e.Port))
}

func source(isLearned bool) string {
	if isLearned {
		return api.SourceLearned
	}
	return api.SourceConfigured
}

// Sites lists the sites by name.
func (b *backend) Sites(ctx context.Context) ([]api.Site, error) {
	return read(ctx, b, func(c *ha.Core, now time.Time) []api.Site {
		var out []api.Site
		for _, v := range c.Sites(now, "") {
			s := v.Config
			a := api.Site{
				Name: s.Name, Description: s.Description, Interface: s.Device, PublicKey: s.Peer.Key.String(), Neighbor: s.Neighbor,
				Role: string(s.Role), Group: s.Group, Disabled: v.Disabled, Verdict: string(v.Judged.Verdict),
				Since: api.At(v.Judged.Since, now), Reason: string(v.Judged.Reason), Detail: v.Judged.Detail,
			}
			for _, p := range v.Prefixes {
				a.Prefixes = append(a.Prefixes, api.SitePrefix{
					Prefix: p.Prefix, Source: source(p.Learned), Announced: p.Announced, Rank: string(p.Rank),
					Reason: string(p.Reason), Detail: p.Detail,
				})
			}
			out = append(out, a)
		}
		return out
	})
}

// Health lists the evidence about every site.
func (b *backend) Health(ctx context.Context) ([]api.Health, error) {
	return read(ctx, b, func(c *ha.Core, now time.Time) []api.Health {
		var out []api.Health
		for _, v := range c.Sites(now, "") {
			h := api.Health{
				Site: v.Config.Name, Verdict: string(v.Judged.Verdict), Since: api.At(v.Judged.Since, now),
				Reason: string(v.Judged.Reason), Detail: v.Judged.Detail, Rule: ruleName(v.Config.Rules),
				HoldDownSeconds: v.HoldLeft.Seconds(),
				Flaps:           v.Damping.Flaps, Penalty: math.Round(v.Damping.Penalty),
			}
			if v.Damping.Suppressed {
				h.ReuseSeconds = max(0, v.Damping.Reuse.Sub(now).Seconds())
			}
			for i, k := range v.Checks {
				cfg := v.Config.Checks[i]
				h.Checks = append(h.Checks, api.Check{
					Name: k.Name, Kind: string(k.Kind), Method: method(cfg), Target: k.Target, IntervalSeconds: cfg.Probe.Interval.Seconds(),
					Up: k.OK, Measured: k.State != "" && !(k.Kind == ha.CheckBFD && k.State == ha.Idle), OK: k.Fails == 0 && k.State != "", Last: api.At(k.LastOK, now),
					RTTMillis: float64(k.RTT) / float64(time.Millisecond), Reason: strings.TrimSpace(string(k.Reason) + " " + k.Note),
					Rise: k.Rise, Fall: k.Fall, Successes: k.Oks, Failures: k.Fails,
					Counts: counts(v.Config, cfg), Prefixes: cfg.Prefixes,
				})
			}
			out = append(out, h)
		}
		return out
	})
}

func method(k ha.Check) string {
	if k.Kind == ha.CheckProbe {
		return string(k.Probe.Kind)
	}
	return ""
}

func counts(s *ha.Site, k ha.Check) bool {
	if len(s.Rules.Of) > 0 {
		return slices.Contains(s.Rules.Of, k.Name)
	}
	return len(k.Prefixes) == 0
}

func ruleName(r ha.Rule) string {
	switch {
	case r.Name != "":
		return r.Name
	case r.Any:
		return "any"
	}
	return "all"
}
