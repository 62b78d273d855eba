package speaker

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	api "github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"

	"github.com/wgbgp/wgbgp/bgp"
)

// Neighbors that come by themselves. A neighbor with a Range is a template: GoBGP
// makes a session of its own for whoever dials from there and forgets it with the
// session. We follow its events: a record is made with the first word of a
// session and goes with its last, so that nothing is left. To everything else the
// record is a neighbor like others; its name is TEMPLATE/ADDRESS.
//
// What GoBGP would keep is taken out of it (evict): a visitor that never became a
// neighbor, one beyond MaxSessions, one that is paused for its limit.

// visitor is an address to be taken out of GoBGP. Unless forced, it stays if it
// has a record again, for then it came back.
type visitor struct {
	addr  netip.Addr
	force bool
}

func groupName(n *bgp.Neighbor) string { return "wgbgp-" + n.Name }

// enginePeerGroup is enginePeer for those who come.
func enginePeerGroup(n *bgp.Neighbor) *api.PeerGroup {
	p := enginePeer(n)
	p.Transport.PassiveMode = true // GoBGP lets the group overrule what it knows itself
	return &api.PeerGroup{
		Conf: &api.PeerGroupConf{
			PeerGroupName: groupName(n), PeerAsn: p.Conf.PeerAsn, LocalAsn: p.Conf.LocalAsn, AuthPassword: p.Conf.AuthPassword,
			AllowOwnAsn: p.Conf.AllowOwnAsn,
		},
		Timers: p.Timers, Transport: p.Transport, EbgpMultihop: p.EbgpMultihop, TtlSecurity: p.TtlSecurity, AfiSafis: p.AfiSafis,
	}
}

// pushRange makes GoBGP accept whoever dials from the range; op held.
func (s *Speaker) pushRange(ses *session) error {
	n := &ses.spec
	if err := s.call("AddPeerGroup", func() error {
		return s.server.AddPeerGroup(context.Background(), &api.AddPeerGroupRequest{PeerGroup: enginePeerGroup(n)})
	}); err != nil {
		return fmt.Errorf("add neighbors of %s: %w", n.Name, err)
	}
	if err := s.call("AddDynamicNeighbor", func() error {
		return s.server.AddDynamicNeighbor(context.Background(), &api.AddDynamicNeighborRequest{
			DynamicNeighbor: &api.DynamicNeighbor{Prefix: n.Range.String(), PeerGroup: groupName(n)},
		})
	}); err != nil {
		_ = s.deleteGroup(n)
		return fmt.Errorf("accept neighbors of %s: %w", n.Name, err)
	}
	ses.inEngine = true
	s.log.Info("neighbors accepted", "neighbor", n.Name, "range", n.Range)
	return nil
}

func (s *Speaker) deleteGroup(n *bgp.Neighbor) error {
	return s.call("DeletePeerGroup", func() error {
		return s.server.DeletePeerGroup(context.Background(), &api.DeletePeerGroupRequest{Name: groupName(n)})
	})
}

// updateRange hands over what counts from the next session on; op held.
func (s *Speaker) updateRange(ses *session) error {
	return s.call("UpdatePeerGroup", func() error {
		_, err := s.server.UpdatePeerGroup(context.Background(), &api.UpdatePeerGroupRequest{PeerGroup: enginePeerGroup(&ses.spec)})
		return err
	})
}

// dropRange ends the sessions of a range and accepts no more; op held. GoBGP may
// have some that no event has told us of yet, so it is asked.
func (s *Speaker) dropRange(ses *session) error {
	n := &ses.spec
	if ses.inEngine {
		// GoBGP panics if the group does not exist, which inEngine rules out.
		if err := s.call("DeleteDynamicNeighbor", func() error {
			return s.server.DeleteDynamicNeighbor(context.Background(), &api.DeleteDynamicNeighborRequest{
				Prefix: n.Range.String(), PeerGroup: groupName(n),
			})
		}); err != nil {
			return err
		}
		var addrs []string
		if err := s.call("ListPeer", func() error {
			var l []string
			err := s.server.ListPeer(context.Background(), &api.ListPeerRequest{}, func(p *api.Peer) {
				if p.GetConf().GetPeerGroup() == groupName(n) {
					l = append(l, p.GetState().GetNeighborAddress())
				}
			})
			addrs = l
			return err
		}); err != nil {
			return err
		}
		for _, a := range addrs { // one that just left by itself is no error
			_ = s.deleteAddress(a)
		}
		if err := s.deleteGroup(n); err != nil {
			return err
		}
		ses.inEngine = false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.visitors(n.Name) {
		v.state.Reason = "removed"
		s.departed(v)
	}
	return nil
}

func (s *Speaker) deleteAddress(a string) error {
	return s.call("DeletePeer", func() error {
		return s.server.DeletePeer(context.Background(), &api.DeletePeerRequest{Address: a})
	})
}

// visitors are the sessions of a range, by name; mu held.
func (s *Speaker) visitors(name string) []*session {
	var out []*session
	for _, n := range s.byName {
		if n.spec.Dynamic == name {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b *session) int { return compareNames(a.spec.Name, b.spec.Name) })
	return out
}

// arrived makes the record of a session that GoBGP has just made, if it is one of
// a range; mu held.
func (s *Speaker) arrived(a netip.Addr, st *apiutil.PeerState, at time.Time) *session {
	switch stateName(st.SessionState) {
	case bgp.StateOpenSent, bgp.StateOpenConfirm, bgp.StateEstablished:
	default:
		return nil // the last words of one that is gone
	}
	var t *session
	for _, n := range s.byName {
		if n.spec.Range.IsValid() && n.spec.Range.Contains(a) {
			t = n
		}
	}
	if t == nil {
		return nil
	}
	if n := len(s.visitors(t.spec.Name)); n >= int(t.spec.MaxSessions) {
		s.evict(a, true)
		if t.state.Reason != reasonMaxSessions {
			s.log.Warn("neighbor refused", "neighbor", t.spec.Name, "reason", reasonMaxSessions, "address", a, "sessions", n)
		}
		t.state.Reason = reasonMaxSessions
		s.out.state(t.spec.Name)
		return nil
	}
	spec := t.spec
	spec.Name, spec.Address, spec.Dynamic = t.spec.Name+"/"+a.String(), a, t.spec.Name
	spec.Range, spec.MaxSessions = netip.Prefix{}, 0
	n := &session{
		spec: spec, inEngine: true, adjIn: map[nlri]entry{}, refused: map[nlri]denial{},
		state: bgp.NeighborState{
			Name: spec.Name, Address: a, Dynamic: spec.Dynamic, RemoteASN: spec.RemoteASN, State: bgp.StateIdle, Since: at,
		},
	}
	n.frame = s.frame(n)
	s.byName[spec.Name], s.byAddr[a] = n, n
	s.visited = true
	s.wakeTimers()
	s.log.Info("neighbor came", "neighbor", spec.Name)
	return n
}

// reasonMaxSessions is the NeighborState.Reason of a range that is full.
const reasonMaxSessions = "max-sessions"

// follow is the part of stateChanged for a session of a range; mu held.
func (s *Speaker) follow(n *session, st *apiutil.PeerState) {
	switch {
	case n.state.State == bgp.StateIdle && n.state.IdleUntil.IsZero():
		s.departed(n)
		s.evict(n.spec.Address, false)
	case n.state.State != bgp.StateIdle && !n.state.IdleUntil.IsZero(): // it is paused
		s.evict(n.spec.Address, true)
	case n.up && n.spec.RemoteASN == 0:
		n.spec.RemoteASN = bgp.ASN(st.PeerASN)
		n.frame = s.frame(n)
		n.state.RemoteASN = n.spec.RemoteASN
		s.visited = true
		s.out.state(n.spec.Name)
		if n.frame.Internal() { // whoever may come is not of the house
			s.log.Warn("neighbor refused", "neighbor", n.spec.Name, "reason", "own-asn")
			s.evict(n.spec.Address, true)
		}
	}
}

// departed forgets a session of a range and all it brought; mu held.
func (s *Speaker) departed(n *session) {
	n.up = false
	s.flush(n)
	if s.byName[n.spec.Name] == n {
		delete(s.byName, n.spec.Name)
	}
	if s.byAddr[n.spec.Address] == n {
		delete(s.byAddr, n.spec.Address)
	}
	s.out.gone[n.spec.Name] = bgp.NeighborState{
		Name: n.spec.Name, Address: n.spec.Address, Dynamic: n.spec.Dynamic, RemoteASN: n.spec.RemoteASN, Gone: true,
		State: bgp.StateIdle, Since: time.Now(), Reason: n.state.Reason,
	}
	if t := s.byName[n.spec.Dynamic]; t != nil && t.state.Reason == reasonMaxSessions {
		t.state.Reason = ""
		s.out.state(n.spec.Dynamic)
	}
	s.visited = true
	s.wakeTimers()
	s.log.Info("neighbor left", "neighbor", n.spec.Name, "reason", n.state.Reason)
}

// evict plans to take a visitor out of GoBGP; mu held.
func (s *Speaker) evict(a netip.Addr, force bool) {
	if v := (visitor{a, force}); !slices.Contains(s.evicting, v) {
		s.evicting = append(s.evicting, v)
	}
	s.wakeTimers()
}

// tend carries out what the watcher found about visitors, and about what sessions
// allow to be told (extended.go); op held.
func (s *Speaker) tend() {
	s.mu.Lock()
	evicting := s.evicting
	s.evicting = nil
	visited := s.visited
	s.mu.Unlock()
	for _, v := range evicting {
		s.mu.Lock()
		n := s.byAddr[v.addr]
		stays := n != nil && (!v.force || n.spec.Dynamic == "")
		s.mu.Unlock()
		if !stays {
			_ = s.deleteAddress(v.addr.String()) // it may have left by itself
		}
	}
	if !visited || s.stopped {
		return
	}
	s.nameAudiences(s.use)
	if s.model.changed {
		if err := s.setPolicies(); err != nil { // the next Apply tries again
			s.log.Error("can not tell neighbors apart", "err", err)
			return
		}
	}
	s.tellMoved(func(name string, err error) {
		s.log.Error("can not tell a neighbor anew", "neighbor", name, "err", err)
	})
}

// nameAudiences tells the policies who there is: the usable neighbors and those
// that came; op held.
func (s *Speaker) nameAudiences(use []bgp.Neighbor) {
	s.mu.Lock()
	s.use, s.visited = use, false
	all := slices.Clone(use)
	for _, n := range s.byName {
		if n.spec.Dynamic != "" {
			all = append(all, n.spec)
		}
	}
	for i := range all {
		n := s.byName[all[i].Name]
		if n != nil && n.retell {
			n.retell = false
			s.moved[n.spec.Name] = struct{}{}
		}
		if needsExtended(&all[i]) && (n == nil || !n.extended) {
			all[i].IPv4 = false
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b bgp.Neighbor) int { return compareNames(a.Name, b.Name) })
	for _, name := range s.model.setAudiences(s.cfg.ASN, all) {
		s.moved[name] = struct{}{}
	}
}

// changeVisitors gives the sessions of a range what changed in its
// configuration without ending them; op held.
func (s *Speaker) changeVisitors(t *bgp.Neighbor, again bool) error {
	s.mu.Lock()
	all := s.visitors(t.Name)
	for _, n := range all {
		spec := *t
		spec.Name, spec.Address, spec.Dynamic, spec.RemoteASN = n.spec.Name, n.spec.Address, n.spec.Dynamic, n.spec.RemoteASN
		spec.Range, spec.MaxSessions = netip.Prefix{}, 0
		n.spec = spec
		n.frame = s.frame(n)
		s.checkLimit(n)
	}
	s.mu.Unlock()
	if !again {
		return nil
	}
	for _, n := range all {
		if err := s.rejudge(n); err != nil {
			return err
		}
	}
	return nil
}

// checkRange says what is wrong with a neighbor that has a range.
func (s *Speaker) checkRange(n *bgp.Neighbor) error {
	r := n.Range
	local := n.LocalASN
	if local == 0 {
		local = s.cfg.ASN
	}
	switch {
	case n.Address.IsValid():
		return fmt.Errorf("address %s and range %s exclude each other", n.Address, r)
	case r != r.Masked() || r.Addr().Is4In6() || r.Addr().IsMulticast() || r.Addr().IsLinkLocalUnicast():
		return fmt.Errorf("range %s can not be that of neighbors", r)
	case n.LocalAddress.IsValid() && n.LocalAddress.Is4() != r.Addr().Is4():
		return fmt.Errorf("local address %s is of another family than %s", n.LocalAddress, r)
	case n.MaxSessions == 0:
		return fmt.Errorf("range %s without a limit of sessions", r)
	case n.GracefulRestart || n.BindDevice:
		return fmt.Errorf("neighbors of a range have no graceful restart and no device to bind to")
	case n.RemoteASN == local || n.RemoteASN == 23456:
		return fmt.Errorf("remote ASN %d can not be used with a range", n.RemoteASN)
	case s.cfg.ListenPort < 0:
		return fmt.Errorf("range %s, but this host does not listen", r)
	}
	return nil
}
