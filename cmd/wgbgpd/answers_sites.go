package main

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/wg"
)

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
