package speaker

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	api "github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/wgbgp/wgbgp/bgp"
)

// reasonMaxPrefix is the NeighborState.Reason of a neighbor that exceeded its
// limit (RFC 4486: Cease, Maximum Number of Prefixes Reached).
const reasonMaxPrefix = "max-prefix"

// watch subscribes to what neighbors do. All kinds share one queue of GoBGP,
// hence one total order: Established, paths, End-of-RIB, loss.
func (s *Speaker) watch(ctx context.Context) error {
	var buf []byte
	guarded := func(what string, fn func()) {
		defer func() { // whatever a neighbor managed to send, the others go on
			if r := recover(); r != nil {
				s.log.Error("panic while reading a BGP event", "event", what, "err", r)
			}
		}()
		defer s.seen.Add(1)
		s.mu.Lock()
		defer s.mu.Unlock()
		defer s.notify()
		fn()
	}
	cb := server.WatchEventMessageCallbacks{
		OnPathUpdate: func(paths []*apiutil.Path, at time.Time) {
			guarded("paths", func() {
				for _, p := range paths {
					if n := s.sessionOf(p); n != nil && n.up && !n.losing {
						if r, ok := decode(p); ok {
							if n.touched != nil {
								n.touched[r.nlri] = struct{}{}
							}
							buf = s.learn(n, r, at, buf)
						}
					}
				}
			})
		},
		OnPathEor: func(p *apiutil.Path, _ time.Time) {
			guarded("end-of-rib", func() {
				if n := s.sessionOf(p); n != nil && n.up {
					s.endOfRIB(n, p.Family)
				}
			})
		},
		OnPeerUpdate: func(e *apiutil.WatchEventMessage_PeerEvent, at time.Time) {
			guarded("state", func() {
				if e.Type != apiutil.PEER_EVENT_STATE {
					return
				}
				n := s.byAddr[e.Peer.Conf.NeighborAddress]
				if n == nil {
					n = s.arrived(e.Peer.Conf.NeighborAddress, &e.Peer.State, at)
				}
				if n != nil {
					s.stateChanged(n, &e.Peer.State, at)
				}
			})
		},
	}
	return s.call("WatchEvent", func() error {
		return s.server.WatchEvent(ctx, cb, server.WatchUpdate(false, "", ""), server.WatchEor(false), server.WatchPeer())
	})
}

func (s *Speaker) sessionOf(p *apiutil.Path) *session {
	if p == nil {
		return nil
	}
	return s.byAddr[p.PeerAddress]
}

func (s *Speaker) endOfRIB(n *session, f packet.Family) {
	is4 := f == packet.RF_IPv4_UC
	if is4 {
		n.state.EndOfRIB4 = true
	} else {
		n.state.EndOfRIB6 = true
	}
	s.sweepStale(n, func(p netip.Prefix) bool { return p.Addr().Is4() == is4 })
	s.out.state(n.spec.Name)
}

// stateChanged follows one step of GoBGP's state machine; mu held.
func (s *Speaker) stateChanged(n *session, st *apiutil.PeerState, at time.Time) {
	state := stateName(st.SessionState)
	switch {
	case state == bgp.StateEstablished:
		s.cameUp(n, st, at)
	case n.up:
		s.wentDown(n, st, at)
	case st.DisconnectReason == api.PeerState_DISCONNECT_REASON_RESTART_TIMER_EXPIRED:
		s.flush(n) // the helper's patience is over (RFC 4724 section 4.2)
	}
	if n.state.State != state {
		n.state.State, n.state.Since = state, at
		s.out.state(n.spec.Name)
	}
	if why := refusal(st); why != "" && !n.up && n.state.Reason != why && n.state.Reason != reasonMaxPrefix {
		n.state.Reason = why // never came up, and the other side said why
		s.out.state(n.spec.Name)
	}
	if n.spec.Dynamic != "" {
		s.follow(n, st)
		return
	}
	if state == bgp.StateIdle {
		s.hurry(n, st.DisconnectReason, at)
	}
}

// idleHold is how long GoBGP refuses a neighbor whose session ended.
const idleHold = 5 * time.Second

// hurry has a session tried again at once whose connection broke. GoBGP takes no
// connection of that neighbor for a while (RFC 4271 section 8.1.1, IdleHoldTime),
// lest sessions oscillate; but a neighbor that restarted, which is the common case,
// is there again in less, and its routes are missing until then. One that breaks
// again soon after has to wait. Where stale paths are kept nothing is missing, and
// GoBGP must remember why it keeps them; mu held.
func (s *Speaker) hurry(n *session, why api.PeerState_DisconnectReason, at time.Time) {
	switch why {
	case api.PeerState_DISCONNECT_REASON_READ_FAILED, api.PeerState_DISCONNECT_REASON_WRITE_FAILED,
		api.PeerState_DISCONNECT_REASON_HOLD_TIMER_EXPIRED:
	default:
		return
	}
	if !n.sweepAt.IsZero() || !n.state.IdleUntil.IsZero() || at.Sub(n.hurried) < idleHold {
		return
	}
	n.again, n.hurried = true, at
	s.wakeTimers()
}

// losing takes back what a neighbor sent as soon as GoBGP notes that its session
// ends. GoBGP drops all of its paths, one by one, before it tells its watchers:
// half a second for 100,000 of them, in which packets would go astray. So this
// goes by the line that it logs before. It is only a hint: the state follows with
// the event, and without the line the paths would go then.
func (s *Speaker) losing(neighbor netip.Addr, reason string) {
	s.mu.Lock()
	n := s.byAddr[neighbor]
	if n == nil || !n.up || n.losing || n.spec.GracefulRestart || reason == engineGraceful {
		s.mu.Unlock()
		return
	}
	n.losing = true
	name := n.spec.Name
	s.mu.Unlock()
	if s.cfg.OnLosing != nil {
		s.cfg.OnLosing(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.losing {
		s.flush(n)
		s.notify()
	}
}

// expired notes that the hold timer of a session has run out. With graceful
// restart GoBGP keeps the paths then as if the connection had been lost, and only
// logs the difference. But a neighbor that fell silent shows no sign of a restart,
// and RFC 8538 section 4 keeps paths over a NOTIFICATION, such as the one sent
// now, only where both ends have agreed to; we do not.
func (s *Speaker) expired(neighbor netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.byAddr[neighbor]; n != nil && n.up {
		n.expired = true
	}
}

func (s *Speaker) cameUp(n *session, st *apiutil.PeerState, at time.Time) {
	if n.up { // a loss was not seen; can not happen with one queue
		s.flush(n)
	}
	n.up, n.losing, n.expired, n.upSince, n.over = true, false, false, at, false
	s.setExtended(n, takesIPv6NextHops(st.RemoteCap))
	n.state.RouterID = st.RouterID
	n.state.IdleUntil = time.Time{}
	n.state.EndOfRIB4, n.state.EndOfRIB6 = false, false
	n.state.Rejected = 0
	n.unrefuseAll()
	if !n.sweepAt.IsZero() { // in case End-of-RIB never comes
		n.sweepAt = at.Add(restartTime(&n.spec))
	}
	n.missed = at.Add(50 * time.Millisecond)
	s.wakeTimers()
	s.log.Info("neighbor up", "neighbor", n.spec.Name)
}

func (s *Speaker) wentDown(n *session, st *apiutil.PeerState, at time.Time) {
	n.up, n.losing = false, false
	s.setExtended(n, false)
	n.state.Reason = downReason(st)
	if n.expired {
		n.state.Reason = "hold-timer-expired"
	}
	n.state.HoldTime = 0
	n.state.EndOfRIB4, n.state.EndOfRIB6 = false, false
	n.missed = time.Time{}
	// A session that was about to be ended may have ended by itself; GoBGP may then
	// hold it down all the same, which only the end of the pause undoes.
	maxed := st.AdminState == api.PeerState_ADMIN_STATE_PFX_CT || n.over
	n.over = false
	switch {
	case maxed:
		s.flush(n)
		s.pauseNeighbor(n, at)
	case st.DisconnectReason == api.PeerState_DISCONNECT_REASON_GRACEFUL_RESTART && n.spec.GracefulRestart && !n.expired:
		s.markStale(n)
		n.unrefuseAll()
		n.sweepAt = at.Add(staleLimit)
	default:
		s.flush(n)
	}
	s.wakeTimers()
	s.log.Warn("neighbor down", "neighbor", n.spec.Name, "reason", n.state.Reason)
}

// staleLimit bounds stale paths whatever a neighbor offered as restart time
// (12 bits of seconds, RFC 4724 section 3, would be over an hour).
const staleLimit = 10 * time.Minute

func restartTime(n *bgp.Neighbor) time.Duration {
	if n.RestartTime > 0 {
		return n.RestartTime
	}
	return 2 * time.Minute
}

// pauseNeighbor plans the next try after the limit was exceeded: the pause
// doubles each time, and starts over once a session has lasted as long as the
// longest pause.
func (s *Speaker) pauseNeighbor(n *session, at time.Time) {
	longest := 30 * s.cfg.MaxPrefixRetry
	switch {
	case n.pause == 0 || !n.upSince.IsZero() && at.Sub(n.upSince) > longest:
		n.pause = s.cfg.MaxPrefixRetry
	default:
		n.pause = min(2*n.pause, longest)
	}
	n.state.Reason = reasonMaxPrefix
	n.state.IdleUntil = at.Add(n.pause)
	s.out.state(n.spec.Name)
}

func stateName(f packet.FSMState) bgp.SessionState {
	switch f {
	case packet.BGP_FSM_CONNECT:
		return bgp.StateConnect
	case packet.BGP_FSM_ACTIVE:
		return bgp.StateActive
	case packet.BGP_FSM_OPENSENT:
		return bgp.StateOpenSent
	case packet.BGP_FSM_OPENCONFIRM:
		return bgp.StateOpenConfirm
	case packet.BGP_FSM_ESTABLISHED:
		return bgp.StateEstablished
	}
	return bgp.StateIdle
}

// downReason puts the loss of a session into machine words.
func downReason(st *apiutil.PeerState) string {
	if st.AdminState == api.PeerState_ADMIN_STATE_PFX_CT {
		return reasonMaxPrefix
	}
	switch st.DisconnectReason {
	case api.PeerState_DISCONNECT_REASON_ADMIN_DOWN:
		return "admin-down"
	case api.PeerState_DISCONNECT_REASON_HOLD_TIMER_EXPIRED:
		return "hold-timer-expired"
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_SENT:
		return "notification-sent " + notification(st.DisconnectMessage)
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_RECEIVED:
		return "notification-received " + notification(st.DisconnectMessage)
	case api.PeerState_DISCONNECT_REASON_READ_FAILED:
		return "connection-lost"
	case api.PeerState_DISCONNECT_REASON_WRITE_FAILED:
		return "write-failed"
	case api.PeerState_DISCONNECT_REASON_RESTART_TIMER_EXPIRED:
		return "restart-timer-expired"
	case api.PeerState_DISCONNECT_REASON_GRACEFUL_RESTART:
		return "graceful-restart"
	case api.PeerState_DISCONNECT_REASON_INVALID_MSG:
		return "invalid-message"
	case api.PeerState_DISCONNECT_REASON_HARD_RESET:
		return "hard-reset"
	case api.PeerState_DISCONNECT_REASON_DECONFIGURED:
		return "deconfigured"
	case api.PeerState_DISCONNECT_REASON_BAD_PEER_AS:
		return "bad-peer-asn"
	}
	return "unknown"
}

// refusal is why a session could not come up, if one side said so.
func refusal(st *apiutil.PeerState) string {
	switch st.DisconnectReason {
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_SENT, api.PeerState_DISCONNECT_REASON_NOTIFICATION_RECEIVED,
		api.PeerState_DISCONNECT_REASON_BAD_PEER_AS, api.PeerState_DISCONNECT_REASON_INVALID_MSG,
		api.PeerState_DISCONNECT_REASON_HOLD_TIMER_EXPIRED:
		return downReason(st)
	}
	return ""
}

// notification turns GoBGP's "notification-sent code 6(cease) subcode 2(...)"
// into "cease/6/2".
func notification(msg string) string {
	code, sub, ok := parseCodes(msg)
	if !ok {
		return strings.TrimSpace(msg)
	}
	names := map[int]string{1: "header", 2: "open", 3: "update", 4: "hold-timer", 5: "fsm", 6: "cease", 7: "refresh"}
	name := names[code]
	if name == "" {
		name = "unknown"
	}
	return fmt.Sprintf("%s/%d/%d", name, code, sub)
}

func parseCodes(msg string) (code, sub int, ok bool) {
	i := strings.Index(msg, "code ")
	if i < 0 {
		return 0, 0, false
	}
	if _, err := fmt.Sscanf(msg[i:], "code %d", &code); err != nil {
		return 0, 0, false
	}
	if j := strings.Index(msg, "subcode "); j >= 0 {
		_, _ = fmt.Sscanf(msg[j:], "subcode %d", &sub)
	}
	return code, sub, true
}
