package network

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/bgp/speaker"
	"github.com/wgbgp/wgbgp/labs/tgwsim/routing"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// defaultHold is the hold time of both AWS speakers [CONNECT]; RS has the same
// (assumed).
const defaultHold = 30 * time.Second

// routerID is that of all speakers (assumed: AWS does not say).
var routerID = netip.MustParseAddr("10.255.255.1")

// everything is what AWS imports: it has no filters.
var everything = []bgp.PrefixRule{
	{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), LE: 32},
	{Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), LE: 128},
}

// session is one BGP session of a Connect peer with a speaker of its own: both
// sessions of a peer go to one address of the appliance, which one speaker can
// not have twice.
type session struct {
	name    string // "PEER/1"
	peer    string
	number  int // 1 or 2
	key     string
	speaker *speaker.Speaker
	started bool
	set     []bgp.Neighbor

	// Guarded by Network.mu.
	state bgp.NeighborState
	paths map[netip.Prefix]bgp.Path
}

// wantSessions makes the sessions of the Connect peers of one TGW.
func wantSessions(spec *Spec, t *routing.TGW) (want []*session) {
	hold := spec.Hold
	if hold == 0 {
		hold = defaultHold
	}
	for _, p := range t.Peers {
		c, ok := spec.Connect[p.ID]
		if !ok || spec.Bare {
			continue
		}
		for i, host := range []int{2, 3} {
			n := bgp.Neighbor{
				Kind: bgp.KindRouter, Device: c.Device,
				Address: tgwconnect.Host(c.Inside4, 1).Addr(), LocalAddress: tgwconnect.Host(c.Inside4, host).Addr(), RemoteASN: p.ASN,
				// The appliance dials and AWS answers (assumed); eBGP multihop with TTL 2 [CONNECT].
				Passive: true, MultihopTTL: 2,
				HoldTime: hold, Keepalive: hold / 3, ConnectRetry: time.Second,
				// No graceful restart, no BFD, no password [CONNECT][API].
				IPv4: true, Export: true, TellLoops: true, Import: &bgp.ImportPolicy{Allow: everything, LocalPref: 100},
			}
			if p.ASN == t.ASN {
				n.MultihopTTL = 0 // iBGP is multihop by itself
			}
			if c.Inside6.IsValid() { // IPv6 over the session of IPv4 [CONNECT]
				n.IPv6, n.NextHop6 = true, tgwconnect.Host(c.Inside6, host).Addr()
			}
			if t.Overflow == routing.Cease {
				n.MaxPrefixes = uint32(t.PeerLimit())
			}
			n.Name = fmt.Sprintf("%s/%d", p.ID, i+1)
			n.Group = n.Name
			s := &session{name: n.Name, peer: p.ID, number: i + 1, paths: map[netip.Prefix]bgp.Path{}}
			s.key = fmt.Sprint(t.ASN, n.LocalAddress)
			if !c.Closed[i] {
				s.set = []bgp.Neighbor{n}
			}
			want = append(want, s)
		}
	}
	return want
}

// syncSessions ends sessions that are not wanted any more or are other ones, and
// begins new ones. A speaker that can not listen yet, because its address is not
// there, is tried again with the next apply.
func (n *Network) syncSessions(ctx context.Context, spec *Spec) {
	want := map[string]*session{}
	asn := map[string]bgp.ASN{}
	for i := range spec.TGWs {
		for _, s := range wantSessions(spec, &spec.TGWs[i]) {
			want[s.name] = s
			asn[s.name] = spec.TGWs[i].ASN
		}
	}
	for name, s := range n.sessions {
		if w := want[name]; w == nil || w.key != s.key {
			n.forget(s)
			_ = s.speaker.Stop(true)
		}
	}
	for name, w := range want {
		s := n.sessions[name]
		if s == nil {
			var err error
			w.speaker, err = newSpeaker(asn[name], w.listen(spec), n.log, sessionSink{n, w})
			if err != nil {
				n.complain("session "+name, err)
				continue
			}
			n.mu.Lock()
			n.sessions[name] = w
			n.mu.Unlock()
			s = w
		}
		s.set = w.set
		if !s.started {
			if err := s.speaker.Start(ctx); err != nil {
				n.complain("session "+name, err)
				n.forget(s) // a speaker starts once
				_ = s.speaker.Stop(true)
				continue
			}
			s.started = true
			n.complain("session "+name, nil)
		}
	}
}

func (s *session) listen(spec *Spec) netip.Addr {
	return tgwconnect.Host(spec.Connect[s.peer].Inside4, s.number+1).Addr()
}

func newSpeaker(asn bgp.ASN, listen netip.Addr, log *slog.Logger, sink speaker.Sink) (*speaker.Speaker, error) {
	return speaker.New(speaker.Config{ASN: asn, RouterID: routerID, Listen: []netip.Addr{listen}, Logger: log, Sink: sink})
}

// forget removes a session and all it brought.
func (n *Network) forget(s *session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sessions[s.name] == s {
		delete(n.sessions, s.name)
	}
	if s.state.State == bgp.StateEstablished {
		n.pending = append(n.pending, Event{At: time.Now(), Neighbor: s.name, State: string(bgp.StateIdle), Reason: "deleted"})
	}
}

// announce tells the peers what their tables hold.
func (n *Network) announce(ctx context.Context, decisions []*routing.Decision) {
	for _, s := range n.sessions {
		if !s.started {
			continue
		}
		var ann []bgp.Announcement
		for _, d := range decisions {
			for _, r := range d.Told[s.peer] {
				ann = append(ann, bgp.Announcement{Prefix: r.Prefix, Attrs: r.Attrs, To: []bgp.Export{{Group: s.name}}})
			}
		}
		a := s.speaker.Apply(ctx, n.gen, s.set, ann)
		var err error
		if len(a.Failed) > 0 || len(a.NeighborErrors) > 0 {
			err = fmt.Errorf("%v %v", a.Failed, a.NeighborErrors)
		}
		n.complain("announcements of "+s.name, err)
	}
}

// learned are the paths of all sessions. The caller holds mu.
func (n *Network) learned() (paths []routing.Path) {
	for _, s := range n.sessions {
		for _, p := range s.paths {
			paths = append(paths, routing.Path{Peer: s.peer, Session: s.number, Prefix: p.Prefix, NextHop: p.NextHop, Attrs: p.Attrs, Since: p.Since})
		}
	}
	slices.SortFunc(paths, func(a, b routing.Path) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
	return paths
}

// sessionSink takes what a speaker reports.
type sessionSink struct {
	n *Network
	s *session
}

func (k sessionSink) Paths(changes []bgp.PathChange) {
	k.n.mu.Lock()
	for _, c := range changes {
		if c.Withdrawn {
			delete(k.s.paths, c.Path.Prefix)
		} else {
			k.s.paths[c.Path.Prefix] = c.Path
		}
	}
	k.n.mu.Unlock()
	k.n.signal()
}

func (k sessionSink) Neighbor(st bgp.NeighborState) {
	k.n.mu.Lock()
	defer k.n.mu.Unlock()
	was := k.s.state.State
	k.s.state = st
	if was == st.State || k.n.sessions[k.s.name] != k.s {
		return
	}
	if st.State == bgp.StateEstablished || was == bgp.StateEstablished {
		k.n.pending = append(k.n.pending, Event{At: time.Now(), Neighbor: st.Name, State: string(st.State), Reason: st.Reason})
		k.n.signal()
	}
}

func (sessionSink) Rejected(bgp.Rejected) {}
