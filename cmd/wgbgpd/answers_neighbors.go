package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
)

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
