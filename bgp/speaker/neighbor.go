package speaker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	api "github.com/osrg/gobgp/v4/api"

	"github.com/wgbgp/wgbgp/bgp"
)

// defaultConnectRetry is the pause between dials in seconds. GoBGP's own
// default of 120 would leave a session down for minutes after its tunnel came
// up; it raises anything smaller than 2 to 2.
const defaultConnectRetry = 2

// check says what is wrong with a neighbor, in the operator's words.
func (s *Speaker) check(n *bgp.Neighbor) error {
	local := n.LocalASN
	if local == 0 {
		local = s.cfg.ASN
	}
	secs := func(d time.Duration) bool { return d == d.Truncate(time.Second) && d >= 0 && d <= 65535*time.Second }
	if n.Range.IsValid() {
		if err := s.checkRange(n); err != nil {
			return err
		}
	}
	switch {
	case n.Range.IsValid(): // address and ASN are judged
	case !n.Address.IsValid() || n.Address.IsUnspecified() || n.Address.IsMulticast() || n.Address.Is4In6():
		return fmt.Errorf("address %s can not be a neighbor's", n.Address)
	case n.Address.IsLinkLocalUnicast() && n.Address.Is6() && n.Address.Zone() == "":
		return fmt.Errorf("link-local address %s needs an interface (%s%%IFACE)", n.Address, n.Address)
	case n.LocalAddress.IsValid() && n.LocalAddress.Is4() != n.Address.Is4():
		return fmt.Errorf("local address %s is of another family than %s", n.LocalAddress, n.Address)
	case n.RemoteASN == 0 || n.RemoteASN == 23456:
		return fmt.Errorf("remote ASN %d can not be used", n.RemoteASN)
	}
	switch {
	case !n.IPv4 && !n.IPv6:
		return errors.New("no address family")
	case n.MultihopTTL > 0 && n.TTLSecurity:
		return errors.New("multihop and TTL security exclude each other")
	case n.TTLSecurity && local == n.RemoteASN:
		return errors.New("TTL security is for eBGP")
	case n.HoldTime != 0 && n.HoldTime < 3*time.Second || !secs(n.HoldTime) || !secs(n.Keepalive) || !secs(n.ConnectRetry):
		return errors.New("timers are whole seconds, hold time at least 3 s (RFC 4271 section 4.2)")
	case n.BindDevice && n.Device == "":
		return errors.New("bound to a device but none is named")
	case n.NextHop4.IsValid() && n.NextHop4.IsUnspecified() || n.NextHop6.IsValid() && (!n.NextHop6.Is6() || n.NextHop6.Is4In6() || n.NextHop6.IsUnspecified()):
		return errors.New("next hop is not a usable address")
	case n.Passive && s.cfg.ListenPort < 0:
		return errors.New("passive, but this host does not listen")
	case len(n.Password) > 80: // TCP_MD5SIG_MAXKEYLEN, linux/tcp.h
		return errors.New("MD5 password is longer than 80 bytes")
	case n.GracefulRestart && n.Kind == bgp.KindTGW:
		return errors.New("a transit gateway does not support graceful restart")
	case n.RestartTime > 4095*time.Second: // 12 bits, RFC 4724 section 3
		return errors.New("restart time is at most 4095 s")
	}
	return nil
}

// usable returns the neighbors that can be configured, and why others can not.
func (s *Speaker) usable(neighbors []bgp.Neighbor, errs map[string]string) []bgp.Neighbor {
	owner := map[netip.Addr]string{}
	twins := map[netip.Addr]*bgp.Neighbor{}
	bad := false
	out := make([]bgp.Neighbor, 0, len(neighbors))
	for i := range neighbors {
		n := &neighbors[i]
		if i > 0 && neighbors[i-1].Name >= n.Name {
			bad = true
		}
		if err := s.check(n); err != nil {
			errs[n.Name] = err.Error()
			continue
		}
		if o := overlapping(out, n); o != "" {
			errs[n.Name] = fmt.Sprintf("range of addresses overlaps neighbor %s", o)
			continue
		}
		if n.Range.IsValid() {
			out = append(out, *n)
			continue
		}
		if o, taken := owner[n.Address]; taken {
			errs[n.Name] = fmt.Sprintf("address %s belongs to neighbor %s already", n.Address, o)
			continue
		}
		// Policies see link-local addresses without their interface.
		if t := twins[n.Address.WithZone("")]; t != nil {
			a, aok := audienceOf(s.cfg.ASN, t)
			b, bok := audienceOf(s.cfg.ASN, n)
			if a != b || aok != bok {
				errs[n.Name] = fmt.Sprintf("address %s is also neighbor %s's on another interface: both need the same group and next hops", n.Address, t.Name)
				continue
			}
		}
		owner[n.Address], twins[n.Address.WithZone("")] = n.Name, n
		out = append(out, *n)
	}
	if bad {
		slices.SortFunc(out, func(a, b bgp.Neighbor) int { return compareNames(a.Name, b.Name) })
	}
	return out
}

// overlapping names the neighbor before n whose addresses are also n's, where one
// of them has a range.
func overlapping(before []bgp.Neighbor, n *bgp.Neighbor) string {
	for i := range before {
		o := &before[i]
		switch {
		case o.Range.IsValid() && (n.Range.IsValid() && o.Range.Overlaps(n.Range) || !n.Range.IsValid() && o.Range.Contains(n.Address)),
			n.Range.IsValid() && !o.Range.IsValid() && n.Range.Contains(o.Address):
			return o.Name
		}
	}
	return ""
}

func compareNames(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// enginePeer translates a neighbor. It must be a pure function of its argument:
// GoBGP resets the session on any difference.
func enginePeer(n *bgp.Neighbor) *api.Peer {
	retry := uint64(n.ConnectRetry / time.Second)
	if retry == 0 {
		retry = defaultConnectRetry
	}
	p := &api.Peer{
		Conf: &api.PeerConf{
			NeighborAddress: n.Address.String(), PeerAsn: uint32(n.RemoteASN), LocalAsn: uint32(n.LocalASN),
			AuthPassword: string(n.Password),
			// Our ASN in a path is judged by import policy. Left to GoBGP, such a
			// path would be dropped unseen, and the one it replaces would stay.
			AllowOwnAsn:          math.MaxUint8,
			AllowAspathLoopLocal: n.TellLoops,
		},
		Timers: &api.Timers{Config: &api.TimersConfig{
			ConnectRetry: retry, HoldTime: uint64(n.HoldTime / time.Second), KeepaliveInterval: uint64(n.Keepalive / time.Second),
			IdleHoldTimeAfterReset: 2, // GoBGP's default is 30
		}},
		Transport: &api.Transport{PassiveMode: n.Passive, RemotePort: uint32(n.Port), LocalAddress: localAddress(n)},
	}
	if n.BindDevice {
		p.Transport.BindInterface = n.Device
	}
	if n.MultihopTTL > 0 {
		p.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(n.MultihopTTL)}
	}
	if n.TTLSecurity {
		p.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 255} // RFC 5082 section 3
	}
	if n.GracefulRestart {
		p.GracefulRestart = &api.GracefulRestart{
			Enabled: true, RestartTime: uint32(restartTime(n) / time.Second), DeferralTime: uint32(deferral / time.Second),
			LocalRestarting: n.Restarting,
		}
	}
	for _, f := range []struct {
		on  bool
		afi api.Family_Afi
	}{{n.IPv4, api.Family_AFI_IP}, {n.IPv6, api.Family_AFI_IP6}} {
		if !f.on {
			continue
		}
		fam := &api.Family{Afi: f.afi, Safi: api.Family_SAFI_UNICAST}
		af := &api.AfiSafi{Config: &api.AfiSafiConfig{Family: fam, Enabled: true}}
		if n.MaxPrefixes > 0 {
			af.PrefixLimits = &api.PrefixLimit{Family: fam, MaxPrefixes: hardLimit(n.MaxPrefixes)}
		}
		if n.AddPaths {
			af.AddPaths = &api.AddPaths{Config: &api.AddPathsConfig{Receive: true}}
		}
		if n.GracefulRestart {
			af.MpGracefulRestart = &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}}
		}
		p.AfiSafis = append(p.AfiSafis, af)
	}
	return p
}

// localAddress is never left to GoBGP, which would look the interface of a
// link-local neighbor up at once and fail while it does not exist.
func localAddress(n *bgp.Neighbor) string {
	switch {
	case n.LocalAddress.IsValid() && n.LocalAddress.IsLinkLocalUnicast() && n.LocalAddress.Is6() && n.LocalAddress.Zone() == "":
		return n.LocalAddress.WithZone(n.Address.Zone()).String()
	case n.LocalAddress.IsValid():
		return n.LocalAddress.String()
	case n.Is6():
		return "::"
	}
	return "0.0.0.0"
}

// addNeighbor makes the record and hands the neighbor to GoBGP.
func (s *Speaker) addNeighbor(n bgp.Neighbor) error {
	ses := &session{
		spec:  n,
		state: bgp.NeighborState{Name: n.Name, Address: n.Address, State: bgp.StateIdle, Since: time.Now()},
		adjIn: map[nlri]entry{}, refused: map[nlri]denial{},
	}
	s.mu.Lock()
	ses.frame = s.frame(ses)
	s.byName[n.Name] = ses
	if n.Range.IsValid() {
		ses.state.State = bgp.StateActive // RFC 4271 section 8.2.2: waiting for connections
	} else {
		s.byAddr[n.Address] = ses
	}
	s.out.state(n.Name)
	s.mu.Unlock()
	s.notify()
	return s.pushNeighbor(ses)
}

func (s *Speaker) pushNeighbor(ses *session) error {
	if ses.spec.Range.IsValid() {
		return s.pushRange(ses)
	}
	err := s.call("AddPeer", func() error {
		return s.server.AddPeer(context.Background(), &api.AddPeerRequest{Peer: enginePeer(&ses.spec)})
	})
	if err != nil {
		return fmt.Errorf("add neighbor %s: %w", ses.spec.Name, err)
	}
	ses.inEngine = true
	s.mu.Lock()
	ses.restarting = ses.spec.Restarting
	s.mu.Unlock()
	s.log.Info("neighbor added", "neighbor", ses.spec.Name)
	return nil
}

// removeNeighbor ends a session and forgets what it sent. Others are untouched.
func (s *Speaker) removeNeighbor(ses *session) error {
	if ses.spec.Range.IsValid() {
		if err := s.dropRange(ses); err != nil {
			return fmt.Errorf("remove neighbors of %s: %w", ses.spec.Name, err)
		}
	}
	if ses.inEngine {
		if err := s.deletePeer(&ses.spec); err != nil {
			return fmt.Errorf("remove neighbor %s: %w", ses.spec.Name, err)
		}
		ses.inEngine = false
	}
	s.mu.Lock()
	s.flush(ses)
	if s.byName[ses.spec.Name] == ses {
		delete(s.byName, ses.spec.Name)
	}
	if s.byAddr[ses.spec.Address] == ses {
		delete(s.byAddr, ses.spec.Address)
	}
	st := ses.observed()
	st.State, st.Reason, st.Since = bgp.StateIdle, "removed", time.Now()
	st.HoldTime, st.EndOfRIB4, st.EndOfRIB6, st.Received, st.Accepted, st.Announced = 0, false, false, 0, 0, 0
	s.out.gone[ses.spec.Name] = st
	s.mu.Unlock()
	s.notify()
	s.log.Info("neighbor removed", "neighbor", ses.spec.Name)
	return nil
}

// deletePeer removes the MD5 key from the listener before the neighbor: GoBGP
// leaves it there otherwise, and an address once protected could never connect
// without a password again. In between the neighbor is administratively down.
func (s *Speaker) deletePeer(n *bgp.Neighbor) error {
	if n.Password != "" {
		p := enginePeer(n)
		p.Conf.AuthPassword, p.Conf.AdminDown = "", true
		if err := s.call("UpdatePeer", func() error {
			_, err := s.server.UpdatePeer(context.Background(), &api.UpdatePeerRequest{Peer: p})
			return err
		}); err != nil {
			return err
		}
	}
	return s.call("DeletePeer", func() error {
		return s.server.DeletePeer(context.Background(), &api.DeletePeerRequest{Address: n.Address.String()})
	})
}

// updateNeighbor pushes timers and limit, which GoBGP takes over without
// touching the session. While a session with graceful restart stands, that
// would make GoBGP forget that it was negotiated, so it waits for the next loss.
func (s *Speaker) updateNeighbor(ses *session) error {
	s.mu.Lock()
	up := ses.up
	s.mu.Unlock()
	if ses.spec.GracefulRestart && up {
		ses.deferred = true
		return nil
	}
	ses.deferred = false
	err := s.call("UpdatePeer", func() error {
		_, err := s.server.UpdatePeer(context.Background(), &api.UpdatePeerRequest{Peer: enginePeer(&ses.spec)})
		return err
	})
	if err != nil {
		return fmt.Errorf("change neighbor %s: %w", ses.spec.Name, err)
	}
	return nil
}

// softOut makes GoBGP judge again what a neighbor is told: withdrawals for what
// it may no longer have, and the rest once more.
func (s *Speaker) softOut(ses *session) error {
	return s.call("ResetPeer", func() error {
		return s.server.ResetPeer(context.Background(), &api.ResetPeerRequest{
			Address: ses.spec.Address.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT,
		})
	})
}

// frame collects what import policy must know; mu held.
func (s *Speaker) frame(ses *session) bgp.ImportFrame {
	n := &ses.spec
	f := bgp.ImportFrame{LocalASNs: []bgp.ASN{s.cfg.ASN}, RemoteASN: n.RemoteASN}
	if n.LocalASN != 0 && n.LocalASN != s.cfg.ASN {
		// RFC 7705: the session's ASN is ours. iBGP by a local ASN counts as
		// internal by the same token.
		f.LocalASNs = append(f.LocalASNs, n.LocalASN)
	}
	for _, a := range []netip.Addr{n.LocalAddress, ses.local, n.NextHop4, n.NextHop6} {
		if a.IsValid() && !a.IsUnspecified() && !a.IsLinkLocalUnicast() && !slices.Contains(f.Own, a) {
			f.Own = append(f.Own, a)
		}
	}
	return f
}
