package speaker

import (
	"context"
	"time"

	api "github.com/osrg/gobgp/v4/api"

	"github.com/wgbgp/wgbgp/bgp"
)

// After a restart a neighbor with graceful restart still has what an earlier
// process told it, until our End-of-RIB. So that must not leave before everything
// was said again, and when that is the case only the core knows: it ends
// bgp.Neighbor.Restarting. GoBGP has its own idea. It is silent to a neighbor that
// was added with LocalRestarting, and tells it all, with End-of-RIB, when every
// neighbor with graceful restart has sent its own End-of-RIB, or deferral after the
// session came up (RFC 4724 section 4.1). The first is too early, since routes
// that came with these tables are announced only when the kernel has them, and a
// placeholder among its neighbors, which never comes up, keeps it from happening.
// The second only bounds it. What the core releases is told by a soft reset, which
// GoBGP carries out for silent neighbors too. It stays silent about later changes
// until its deferral ends, so each of them takes a soft reset as well.

// deferral is longer than any core waits, and shorter than helpers keep stale
// paths of a session that came back: FRR 360 s, BIRD 120 s.
const deferral = 60 * time.Second

// placeholder is an address of the discard prefix (RFC 6666), which no neighbor
// can have.
const placeholder = "100::1"

// deferring keeps GoBGP from ending the deferral by itself, as long as a neighbor
// restarts or is about to be added so; op held.
func (s *Speaker) deferring(todo []bgp.NeighborDiff) error {
	want := s.restarting(time.Now())
	for _, d := range todo {
		want = want || d.Want != nil && d.Want.Restarting
	}
	var err error
	switch {
	case want == s.placed:
		return nil
	case want:
		err = s.call("AddPeer", func() error {
			return s.server.AddPeer(context.Background(), &api.AddPeerRequest{Peer: placeholderPeer(s.cfg.ASN)})
		})
	default:
		err = s.call("DeletePeer", func() error {
			return s.server.DeletePeer(context.Background(), &api.DeletePeerRequest{Address: placeholder})
		})
	}
	if err == nil {
		s.placed = want
	}
	return err
}

func placeholderPeer(asn bgp.ASN) *api.Peer {
	return &api.Peer{
		Conf:            &api.PeerConf{NeighborAddress: placeholder, PeerAsn: uint32(asn), AdminDown: true},
		Transport:       &api.Transport{PassiveMode: true, LocalAddress: "::"},
		GracefulRestart: &api.GracefulRestart{Enabled: true, RestartTime: 1},
		AfiSafis: []*api.AfiSafi{{
			Config:            &api.AfiSafiConfig{Family: &api.Family{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST}, Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}},
		}},
	}
}

// restarting reports whether GoBGP is silent to anybody.
func (s *Speaker) restarting(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.byName {
		if n.silent(now) {
			return true
		}
	}
	return false
}

// silent reports whether GoBGP holds back what the neighbor should be told; mu
// held. One second more than the deferral, because GoBGP counts in whole ones.
func (n *session) silent(now time.Time) bool {
	return n.restarting && !(n.up && now.After(n.upSince.Add(deferral+time.Second)))
}

// release tells a neighbor everything, now that it can be; op held.
func (s *Speaker) release(ses *session) error {
	s.mu.Lock()
	restarting, up, opening := ses.restarting, ses.up, ses.opening()
	s.mu.Unlock()
	switch {
	case !restarting || opening: // an opening session is told when it is up, see cameUp
		return nil
	case up:
		return s.softOut(ses)
	}
	// Whoever comes now has nothing of ours any more, or will not for long.
	if err := s.deletePeer(&ses.spec); err != nil {
		return err
	}
	ses.inEngine = false
	return s.pushNeighbor(ses)
}

// tellSilent repeats what changed to neighbors that GoBGP is silent to; op held.
func (s *Speaker) tellSilent(errs map[string]string) {
	if !s.placed {
		return
	}
	now := time.Now()
	s.mu.Lock()
	var tell []*session
	for _, n := range s.byName {
		if n.silent(now) && n.up && n.inEngine && !n.spec.Restarting {
			tell = append(tell, n)
		}
	}
	s.mu.Unlock()
	for _, n := range tell {
		if err := s.softOut(n); err != nil {
			errs[n.spec.Name] = err.Error()
		}
	}
}
