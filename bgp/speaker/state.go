package speaker

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	api "github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/wgbgp/wgbgp/bgp"
)

// Every pollEvery the counters of some neighbors are read from GoBGP and its idea
// of their sessions is compared with ours; after pollRounds of that it was done
// for all.
//
// GoBGP answers from the one goroutine that also carries out withdrawals, and
// counts a neighbor's table for it shard by shard: half a millisecond for an
// empty one. A question about 200 neighbors at once held up withdrawals for
// 100 ms, hence one neighbor at a time.
const (
	pollEvery  = 5 * time.Second
	pollRounds = 12
	pollLeast  = 16
)

// observed is the state with its counters; mu held.
func (n *session) observed() bgp.NeighborState {
	st := n.state
	st.Accepted = uint32(len(n.adjIn))
	st.Received = uint32(len(n.adjIn) + len(n.refused))
	for _, c := range n.count {
		st.Counted = max(st.Counted, uint32(c.own))
	}
	return st
}

// States returns every configured neighbor, sorted by name. Message counters
// are fresh; while the engine does not answer they are the last known.
func (s *Speaker) States() []bgp.NeighborState {
	s.poll(s.names())
	s.countRefusals()
	s.op.Lock()
	told := s.countAnnounced()
	s.op.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]bgp.NeighborState, 0, len(s.byName))
	for name, n := range s.byName {
		st := n.observed()
		if n.up {
			st.Announced = told[name]
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b bgp.NeighborState) int { return compareNames(a.Name, b.Name) })
	return out
}

// countAnnounced says how many announcements each neighbor with an audience is
// sent, in one pass over them: by group first, then less what is excluded by
// name or by an ASN in the path.
func (s *Speaker) countAnnounced() map[string]uint32 {
	type cell struct {
		group string
		ipv6  bool
	}
	byGroup, out := map[cell]uint32{}, map[string]uint32{}
	less := map[string]uint32{}
	byASN := map[bgp.ASN][]string{}
	s.mu.Lock()
	for name := range s.model.audience {
		if n := s.byName[name]; n != nil {
			byASN[n.spec.RemoteASN] = append(byASN[n.spec.RemoteASN], name)
		}
	}
	s.mu.Unlock()
	for i := range s.have {
		a := &s.have[i]
		v6 := a.Prefix.Addr().Is6()
		for _, e := range a.To {
			byGroup[cell{e.Group, v6}]++
		}
		var not []string
		exclude := func(name string) {
			au, ok := s.model.audience[name]
			if !ok || v6 && !au.ipv6 || !v6 && !au.ipv4 || slices.Contains(not, name) {
				return
			}
			if slices.ContainsFunc(a.To, func(e bgp.Export) bool { return e.Group == au.group }) {
				not = append(not, name)
				less[name]++
			}
		}
		for _, name := range a.Except {
			exclude(name)
		}
		for _, as := range a.Attrs.ASPath {
			for _, name := range byASN[as] {
				exclude(name)
			}
		}
	}
	for name, au := range s.model.audience {
		var c uint32
		if au.ipv4 {
			c += byGroup[cell{au.group, false}]
		}
		if au.ipv6 {
			c += byGroup[cell{au.group, true}]
		}
		out[name] = c - less[name]
	}
	return out
}

// names lists the neighbors that have a record, sorted.
func (s *Speaker) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.byName), compareNames)
}

// share returns those whose turn it is to be polled.
func (s *Speaker) share() []string {
	names := s.names()
	n := min(len(names), max(pollLeast, (len(names)+pollRounds-1)/pollRounds))
	if n == 0 {
		return nil
	}
	at, _ := slices.BinarySearchFunc(names, s.polled, compareNames)
	if at < len(names) && names[at] == s.polled {
		at++
	}
	names = slices.Concat(names[at:], names[:at])[:n]
	s.polled = names[n-1]
	return names
}

// poll reads counters and negotiated values of the named neighbors. Others may
// change GoBGP in between; op must be free.
func (s *Speaker) poll(names []string) {
	for _, name := range names {
		if !s.pollOne(name) {
			return
		}
	}
}

func (s *Speaker) pollOne(name string) bool {
	s.op.Lock()
	defer s.op.Unlock()
	ses := s.session(name)
	switch {
	case !s.started || s.stopped:
		return false
	case ses == nil || !ses.inEngine || ses.spec.Range.IsValid():
		return true
	}
	var peers []*api.Peer
	if s.call("ListPeer", func() error {
		var l []*api.Peer
		r := &api.ListPeerRequest{Address: ses.spec.Address.String()}
		err := s.server.ListPeer(context.Background(), r, func(p *api.Peer) { l = append(l, p) })
		peers = l
		return err
	}) != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range peers {
		if ses.readCounters(p) {
			s.out.state(name)
			s.notify()
		}
		s.compare(ses, p)
		ses.countOpens(p.GetState().GetMessages().GetSent().GetOpen(), time.Now())
		if a, err := netip.ParseAddr(p.GetTransport().GetLocalAddress()); err == nil {
			s.localKnown(ses, a)
		}
	}
	return true
}

// localKnown notes our end of an established session whose configuration leaves
// it to the kernel: no next hop may be ours (RFC 4271 section 6.3). GoBGP tells it
// only when asked, so what came in between is judged again; mu held.
func (s *Speaker) localKnown(n *session, a netip.Addr) {
	if a = a.WithZone(""); !n.up || a == n.local {
		return
	}
	n.local = a
	n.frame = s.frame(n)
	for p, e := range n.adjIn {
		if why := n.spec.Import.Evaluate(n.frame, p.prefix, e.shared.nextHop, e.shared.attrs.ASPath); why != "" {
			s.unlearn(n, p)
			n.refuse(p, denial{why: why})
			n.state.Rejected++
			s.out.reject(bgp.Rejected{Prefix: p.prefix, Neighbor: n.spec.Name, Reason: why})
		}
	}
	s.notify()
}

// compare is the audit of session states. GoBGP reports every step, but a
// neighbor removed and added again can leave a late event of its former self.
// Lasting disagreement ends in the safe state: down, nothing learned. mu held.
func (s *Speaker) compare(n *session, p *api.Peer) {
	up := p.GetState().GetSessionState() == api.PeerState_SESSION_STATE_ESTABLISHED
	now := time.Now()
	switch {
	case up == n.up:
		n.disagree = time.Time{}
		return
	case n.disagree.IsZero():
		n.disagree = now
		return
	case now.Sub(n.disagree) < 3*pollEvery: // the event is on its way
		return
	}
	n.disagree = time.Time{}
	s.log.Error("session state is not what was reported", "neighbor", n.spec.Name, "established", up)
	if !up {
		n.up = false
		n.state.State, n.state.Since, n.state.Reason = bgp.StateIdle, now, "unknown"
		s.flush(n)
		s.out.state(n.spec.Name)
		s.notify()
	}
}

// readCounters reports whether the negotiated hold time became known.
func (n *session) readCounters(p *api.Peer) bool {
	in, out := p.GetState().GetMessages().GetReceived(), p.GetState().GetMessages().GetSent()
	grow := func(base, last *uint64, now uint64) uint64 {
		if now < *last { // GoBGP started counting anew
			*base += *last
		}
		*last = now
		return *base + now
	}
	n.state.MessagesIn = grow(&n.baseIn, &n.lastIn, in.GetTotal())
	n.state.MessagesOut = grow(&n.baseOut, &n.lastOut, out.GetTotal())
	n.state.UpdatesOut = grow(&n.baseUpdates, &n.lastUpdates, out.GetUpdate())
	hold := time.Duration(p.GetTimers().GetState().GetNegotiatedHoldTime()) * time.Second
	if !n.up || hold == n.state.HoldTime {
		return false
	}
	n.state.HoldTime = hold
	return true
}

// ResetMode is how a session is reset.
type ResetMode string

// Ways to reset.
const (
	ResetSoft ResetMode = "soft" // judge everything again in both directions; the session stays
	ResetHard ResetMode = "hard" // Cease 6/4 (RFC 4486), then connect again
)

// Reset resets one neighbor on an operator's behalf.
func (s *Speaker) Reset(name string, mode ResetMode) error {
	s.op.Lock()
	defer s.op.Unlock()
	ses := s.session(name)
	switch {
	case ses == nil:
		return fmt.Errorf("reset neighbor %s: no such neighbor", name)
	case !ses.inEngine:
		return fmt.Errorf("reset neighbor %s: it is not configured: %s", name, s.retry[name])
	}
	if ses.spec.Range.IsValid() {
		return fmt.Errorf("reset neighbor %s: it is a range: name one of its sessions", name)
	}
	s.log.Info("neighbor reset", "neighbor", name, "reason", "operator", "mode", string(mode))
	if mode == ResetSoft {
		if err := s.rejudge(ses); err != nil {
			return err
		}
		return s.softOut(ses)
	}
	s.mu.Lock()
	idle := !ses.state.IdleUntil.IsZero()
	ses.pause, ses.state.IdleUntil = 0, time.Time{}
	s.mu.Unlock()
	if idle && ses.spec.Dynamic != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.departed(ses)
		return nil
	}
	if idle { // the operator overrules the pause
		return s.enable(ses)
	}
	return s.call("ResetPeer", func() error {
		return s.server.ResetPeer(context.Background(), &api.ResetPeerRequest{Address: ses.spec.Address.String()})
	})
}

// bury ends a session whose neighbor BFD found dead. What it brought is gone at
// once, also with graceful restart: a NOTIFICATION of ours ends that (RFC 4724
// section 4).
func (s *Speaker) bury(ses *session) error {
	s.mu.Lock()
	standing := ses.state.State == bgp.StateEstablished
	s.mu.Unlock()
	if !standing {
		return nil // nothing to lose, and whoever tries to connect may go on
	}
	s.log.Info("neighbor reset", "neighbor", ses.spec.Name, "reason", "bfd-down")
	return s.call("ResetPeer", func() error {
		return s.server.ResetPeer(context.Background(), &api.ResetPeerRequest{Address: ses.spec.Address.String(), Communication: "BFD down"})
	})
}

func (s *Speaker) enable(ses *session) error {
	return s.call("EnablePeer", func() error {
		return s.server.EnablePeer(context.Background(), &api.EnablePeerRequest{Address: ses.spec.Address.String()})
	})
}

// rejudge applies the present import policy to everything the neighbor has
// sent, from GoBGP's Adj-RIB-In: nothing is asked of the neighbor.
func (s *Speaker) rejudge(ses *session) error {
	s.mu.Lock()
	ses.touched = map[nlri]struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		ses.touched = nil
		s.mu.Unlock()
		s.notify()
	}()
	for _, f := range families(&ses.spec) {
		var all []*apiutil.Path
		err := s.call("ListPath", func() error {
			var l []*apiutil.Path
			err := s.server.ListPath(apiutil.ListPathRequest{
				TableType: api.TableType_TABLE_TYPE_ADJ_IN, Name: ses.spec.Address.String(), Family: f,
			}, func(_ packet.NLRI, paths []*apiutil.Path) { l = append(l, paths...) })
			all = l
			return err
		})
		if err != nil {
			return fmt.Errorf("read paths of neighbor %s: %w", ses.spec.Name, err)
		}
		s.mu.Lock()
		s.relearn(ses, all)
		s.mu.Unlock()
	}
	return nil
}

// relearn judges a copy of the Adj-RIB-In; mu held. Events taken since the copy
// was asked for are newer and have been judged by the present policy, so their
// prefixes are left alone; a prefix we do not know has its event still to come.
func (s *Speaker) relearn(ses *session, all []*apiutil.Path) {
	var buf []byte
	now := time.Now()
	for _, p := range all {
		r, ok := decode(p)
		if !ok || r.withdrawn {
			continue
		}
		if _, newer := ses.touched[r.nlri]; newer {
			continue
		}
		_, refused := ses.refused[r.nlri]
		e, have := ses.adjIn[r.nlri]
		if !refused && !have {
			continue
		}
		stale := have && e.stale
		buf = s.learn(ses, r, now, buf)
		if e, ok := ses.adjIn[r.nlri]; ok && stale {
			e.stale = true
			ses.adjIn[r.nlri] = e
		}
	}
}

func families(n *bgp.Neighbor) []packet.Family {
	var out []packet.Family
	if n.IPv4 {
		out = append(out, packet.RF_IPv4_UC)
	}
	if n.IPv6 {
		out = append(out, packet.RF_IPv6_UC)
	}
	return out
}

// AdjOut returns what the named neighbor is sent, as it sees it, sorted by
// prefix. It is worked out by the policies in force, not a record of messages.
func (s *Speaker) AdjOut(name string) ([]bgp.Path, error) {
	s.op.Lock()
	defer s.op.Unlock()
	ses := s.session(name)
	if ses == nil {
		return nil, fmt.Errorf("neighbor %s: no such neighbor", name)
	}
	if s.mu.Lock(); !ses.up {
		s.mu.Unlock()
		return nil, nil
	}
	s.mu.Unlock()
	found := map[netip.Prefix]bgp.Path{}
	for _, f := range families(&ses.spec) {
		var all []*apiutil.Path
		if err := s.call("ListPath", func() error {
			var l []*apiutil.Path
			err := s.server.ListPath(apiutil.ListPathRequest{
				TableType: api.TableType_TABLE_TYPE_ADJ_OUT, Name: ses.spec.Address.String(), Family: f,
			}, func(_ packet.NLRI, paths []*apiutil.Path) { l = append(l, paths...) })
			all = l
			return err
		}); err != nil {
			return nil, fmt.Errorf("read what neighbor %s is sent: %w", name, err)
		}
		for _, p := range all {
			if r, ok := decode(p); ok && !r.withdrawn {
				found[r.prefix] = bgp.Path{Prefix: r.prefix, Neighbor: name, NextHop: r.nextHop, Attrs: &r.attrs}
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b bgp.Path) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) }), nil
}
